"""The page on troubleshooting quotes messages of the package, not others."""

from __future__ import annotations

import re

import pytest

from helpers.paths import ROOT

PAGE = (ROOT / "notebooks" / "troubleshooting.md").read_text(encoding="utf-8")
#: Quoted messages of other programs.
FOREIGN = {"pip install", "error: command 'gcc' failed"}
QUOTED = sorted(
    {text for cell in re.findall(r"^\| ([^|]*) \|", PAGE, re.M) for text in re.findall(r"`([^`]+)`", cell)} - FOREIGN
)


@pytest.fixture(scope="module")
def code() -> str:
    """Return the code of the package with texts over several lines joined."""
    paths = [path for folder in ("hybridcast", "kernels") for path in sorted((ROOT / folder).rglob("*.py"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize("quoted", QUOTED)
def test_the_message_is_one_of_the_package(quoted, code):
    assert quoted in code or re.sub(r"\bradar\b", "{kind}", quoted) in code


def test_messages_are_quoted():
    assert len(QUOTED) >= 15
