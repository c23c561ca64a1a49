"""Output files: refused early or written whole."""

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from objstress.errors import InputError


def check_writable(path: str | Path, folder: bool = False) -> None:
    """Refuse an output file that cannot be written, before long work rather than after it.

    Args:
        folder: the output is a folder of its own, not a file.

    Raises:
        InputError: `path` is a folder (or a file where it should be one), or the folder around it
            cannot be made or written to.
    """
    path = Path(path)
    if path.is_dir() and not folder:
        raise InputError(f"{path}: is a folder; give a file name")
    if path.is_file() and folder:
        raise InputError(f"{path}: is a file; give the name of a new folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: its folder cannot be made ({error.strerror})") from None
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: its folder is not writable")


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write beside `path`, then rename: a reader sees the old file or the whole new one."""
    path = Path(path)
    check_writable(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)


def write_json(path: str | Path, content: Any) -> None:
    """JSON with an indent of one, whole or not at all; numbers that are not finite are refused."""
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_picture(figure: Any, path: str | Path, **options: Any) -> None:
    """A figure of matplotlib, whole or not at all, as the kind that the ending names (else PNG).

    Raises:
        InputError: an ending that is no kind of picture, and what `write_whole` refuses.
    """
    buffer, kind = io.BytesIO(), Path(path).suffix.lstrip(".") or "png"
    try:
        figure.savefig(buffer, format=kind, **options)
    except ValueError as error:
        raise InputError(f"{path}: not a kind of picture ({error})") from None
    write_whole(path, buffer.getvalue())


def on_first_rank[T](comm: Any, do: Callable[[], T]) -> T:
    """What `do` returns on rank 0, given to all ranks of an MPI communicator.

    Raises:
        InputError: on all ranks, where `do` raised one or an OSError: the others would wait for
            ever for a rank that failed alone.
    """
    result, refusal, cause = None, "", None
    if comm.rank == 0:
        try:
            result = do()
        except (InputError, OSError) as error:
            refusal, cause = str(error) or type(error).__name__, error
    result, refusal = comm.bcast((result, refusal))
    if refusal:
        raise InputError(refusal) from cause
    return result


def on_every_rank[T](comm: Any, do: Callable[[], T]) -> T:
    """What `do` returns, each rank its own.

    Raises:
        InputError: on all ranks, where `do` raised one on any of them, with the first text.
    """
    result, refusal = None, ""
    try:
        result = do()
    except InputError as error:
        refusal = str(error) or type(error).__name__
    refusals = [each for each in comm.allgather(refusal) if each]
    if refusals:
        raise InputError(refusals[0])
    return cast(T, result)


def all_arrive(comm: Any, seconds: float = 5.0) -> bool:
    """Whether all ranks call this within the time; one that fails alone must not wait for more."""
    request, begun = comm.Ibarrier(), time.monotonic()
    while not request.Test():
        if time.monotonic() - begun > seconds:
            return False
        time.sleep(0.01)
    return True


def begun_otherwise(pending: Path) -> InputError:
    """What to raise when a partial file does not fit the settings."""
    return InputError(
        f"{pending} was begun with other settings; finish it with those, or delete it"
    )
