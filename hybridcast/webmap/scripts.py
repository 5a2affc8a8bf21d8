"""Data for the page: JSON in a script, which a browser loads from a server and from a file alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hybridcast.core.files import atomic_write
from hybridcast.errors import ReadError

_BEFORE, _AFTER = "hybridcast.receive(", ");\n"


def write_script(path: Path, name: str, content: Any) -> None:
    """Write a script that hands the content to the page under a name."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))  # only ASCII, so any server's encoding is right
    with atomic_write(path) as part:
        part.write_text(f"{_BEFORE}{json.dumps(name)},{text}{_AFTER}", encoding="ascii")


def read_script(path: Path) -> Any:
    """Return the content of a script.

    Raises
    ------
    ReadError
        If there is no such file, or it is none that `write_script` wrote.
    """
    try:
        text = path.read_text(encoding="ascii")
        _, content = json.loads(f"[{text.removeprefix(_BEFORE).removesuffix(_AFTER)}]")
    except OSError as error:
        raise ReadError(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise ReadError(path, "no data of a map page. Write the page anew") from error
    return content
