"""The one rule of resuming: a run resumes another only if the settings of both are the same."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from objstress.errors import InputError
from objstress.io.files import write_json, write_whole

MARK, LAST = "fingerprint.txt", "last.ckpt"
LONGEST = 40
"""Characters; messages name longer values without showing them."""


def fingerprint(parts: Iterable[np.ndarray | str | Path]) -> str:
    """The SHA-256 digest of arrays, texts and the contents of files.

    Args:
        parts: arrays (m, ...) of any shape and unit, whose bytes count, texts, and paths, whose
            files count.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            digest.update(part.read_bytes())
        elif isinstance(part, str):
            digest.update(part.encode())
        else:
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def check_same(where: Path, before: Mapping[str, Any], now: Mapping[str, Any], remedy: str) -> None:
    """Refuse to resume a run of other settings.

    Args:
        where: the file or folder that the run left, for the message.
        before: {name: value}, the settings of that run; numbers and arrays of NumPy as well.
        now: {name: value}, the settings of this run.
        remedy: what to do, the end of the message.

    Raises:
        InputError: a setting differs (all that do are named, short values shown).
    """
    left, wanted = json.loads(_json(before)), json.loads(_json(now))
    different = []
    for name in left | wanted:
        old, new = left.get(name), wanted.get(name)
        if old == new:
            continue
        shown = f"{name} {old}, this one {new}"
        different.append(shown if len(shown) - len(name) <= LONGEST else name)
    if different:
        raise InputError(f"{where}: started with other settings: {'; '.join(different)}; {remedy}")


def _json(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), default=lambda value: value.tolist())  # of NumPy


def keep_settings(
    path: Path,
    settings: Mapping[str, Any],
    remedy: str,
    completed: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Write the settings of a run into its folder, or refuse the folder of another run.

    Args:
        path: the JSON file.
        settings: {name: value} of this run, what JSON can hold.
        remedy: what to do, the end of the message.
        completed: adds to what an earlier version kept the settings that it did not know.

    Raises:
        InputError: a setting differs, or the file is damaged.
    """
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise InputError(f"{path}: damaged, it holds no settings of a run; {remedy}") from None
        check_same(path.parent, completed(before), settings, remedy)
    else:
        write_json(path, json.loads(_json(settings)))


@contextmanager
def work_folder(folder: str | Path | None) -> Iterator[Path]:
    """The folder of a fit's checkpoints; for None a temporary one."""
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="objstress-fit-") as temporary:
        yield Path(temporary)


def resume_from(folder: Path, digest: str, stale: tuple[str, ...] = ()) -> Path | None:
    """The last checkpoint in a folder, if a fit of the same fingerprint left it.

    The checkpoint and the `stale` files of another fit are removed, and the folder is marked with
    the new fingerprint.

    Args:
        folder: made where it does not exist.
        digest: fingerprint of this fit.
        stale: names of other files that belong to one fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark, last = folder / MARK, folder / LAST
    same = mark.exists() and mark.read_text() == digest
    if not same:
        for old in (last, *(folder / name for name in stale)):
            old.unlink(missing_ok=True)
        write_whole(mark, digest)
    return last if same and last.exists() else None


def forget(folder: Path) -> None:
    """Remove checkpoints and marks below a folder once the result is saved; logs are kept."""
    for leftover in (*folder.rglob("*.ckpt"), *folder.rglob(MARK)):
        leftover.unlink()
