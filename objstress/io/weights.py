"""Weights on disk: safetensors with a JSON description in its header; loading never runs code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from objstress.errors import InputError
from objstress.io.files import write_whole

FORMAT = 1


def write_tensors(
    path: str | Path, description: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write tensors and their description to one file, whole or not at all.

    Args:
        path: the file; `read_tensors` reads it.
        description: what JSON can hold.
        tensors: {name: tensor} (n, ...) of any shape and unit.
    """
    kept = _plain(tensors)
    content = {"format": FORMAT, "sha256": digest(kept)} | dict(description)
    write_whole(path, save(kept, metadata={"objstress": json.dumps(content)}))


def read_tensors(path: str | Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of a file that `write_tensors` wrote.

    Args:
        path: the file.
        what: what the file should hold, for messages: "law", "potential".

    Returns:
        The description, and {name: tensor} (n, ...) in the shapes and units that were written.

    Raises:
        InputError: no such file, a damaged one, one of another program, or one of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such {what} file")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("objstress")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged, or not a {what} file ({error})") from None
    if header is None:
        raise InputError(f"{path}: a safetensors file, but no objstress {what}")
    with rebuilding(path, what):
        description = json.loads(header)
        newer = description["format"] > FORMAT
        intact = newer or description["sha256"] == digest(tensors)
    if newer:
        raise InputError(
            f"{path}: written by a newer objstress (format {description['format']}, "
            f"this one reads up to {FORMAT}); update objstress"
        )
    if not intact:
        raise InputError(f"{path}: damaged {what} file (its numbers do not match their checksum)")
    return description, tensors


@contextmanager
def rebuilding(path: str | Path, what: str) -> Iterator[None]:
    """A context in which any error means that the file is damaged.

    Raises:
        InputError: in place of any other exception raised within.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: damaged {what} file ({type(error).__name__}: {error})") from None


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Checksum of tensors, as their file holds it.

    Args:
        tensors: {name: tensor} (n, ...) of any shape and unit.

    Returns:
        sha256 in hexadecimal digits.
    """
    found = hashlib.sha256()
    for name, value in _plain(tensors).items():
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}
