"""Output files: refused before the work where they cannot be written, and written whole."""

import io
import json
import os
from pathlib import Path
from typing import Any

from objstress.errors import InputError


def check_writable(path: str | Path, folder: bool = False) -> None:
    """Refuse an output file that cannot be written, before the work rather than after it.

    Args:
        path: the file; the folder around it is made.
        folder: whether the output is a folder of its own, not a file.

    Raises:
        InputError: the path is a folder (or a file where a folder is wanted), or the folder around
            it cannot be made or written to.
    """
    path = Path(path)
    if path.is_dir() and not folder:
        raise InputError(f"{path}: is a folder; give a file name")
    if path.is_file() and folder:
        raise InputError(f"{path}: is a file; give the name of a new folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: its folder cannot be created ({error.strerror})") from None
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: its folder is not writable")


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file whole or not at all: a reader sees the old file or the whole new one.

    Args:
        path: the file; it is written beside and renamed.
        content: bytes, or text that is written in UTF-8.

    Raises:
        InputError: see `check_writable`.
    """
    path = Path(path)
    check_writable(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file with an indent of one, whole or not at all.

    Args:
        path: the file.
        content: what JSON can hold; numbers must be finite.

    Raises:
        InputError: see `check_writable`.
        ValueError: a number that is not finite.
    """
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_figure(figure: Any, path: str | Path, **options: Any) -> None:
    """Write a matplotlib figure, whole or not at all.

    Args:
        figure: the figure.
        path: the file; its ending names the format, PNG without one.
        options: of matplotlib's `savefig`.

    Raises:
        InputError: an ending that is no image format, and what `write_whole` refuses.
    """
    buffer, kind = io.BytesIO(), Path(path).suffix.lstrip(".") or "png"
    try:
        figure.savefig(buffer, format=kind, **options)
    except ValueError as error:
        raise InputError(f"{path}: not an image format ({error})") from None
    write_whole(path, buffer.getvalue())
