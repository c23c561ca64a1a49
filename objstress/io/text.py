"""Text files that other programs wrote: their encoding."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, in UTF-16 with its mark, or else in Latin-1.

    Args:
        path: of the file.
    """
    content = Path(path).read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
