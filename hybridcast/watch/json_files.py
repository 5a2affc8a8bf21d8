"""JSON files of the loop: written whole or not at all, and read as missing if they are damaged."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from hybridcast.core.files import atomic_write


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all, even if the power fails; NaN becomes null."""
    text = json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n"
    with atomic_write(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file; None if there is none, or it is damaged; `OSError` if it cannot be read."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None
