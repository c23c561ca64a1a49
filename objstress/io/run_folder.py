"""The one rule of resuming: a run goes on from what another left only if it was asked the same."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from objstress.errors import InputError
from objstress.io.files import write_json, write_whole

MARK, LAST = "fingerprint.txt", "last.ckpt"
LONGEST = 40
"""Characters of a value that a message still shows."""


def fingerprint(parts: Iterable[np.ndarray | str | Path]) -> str:
    """SHA-256 of arrays (their bytes), texts and the contents of files, as hexadecimal digits."""
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
    """Refuse to go on from a run that was asked something else.

    Args:
        where: the file or folder that it left, for the message.
        before, now: what the two runs were asked, as JSON keeps it; {name: value}.
        remedy: what to do, the end of the message.

    Raises:
        InputError: a setting differs (all that do are named, short values shown).
    """
    asked = json.loads(json.dumps(dict(now)))
    told = []
    for name in before | asked:
        was, wanted = before.get(name), asked.get(name)
        if was == wanted:
            continue
        shown = f"{name} {was}, this one {wanted}"
        told.append(shown if len(shown) - len(name) <= LONGEST else name)
    if told:
        raise InputError(f"{where}: begun with other settings: {'; '.join(told)}; {remedy}")


def keep_settings(path: Path, settings: Mapping[str, Any], remedy: str) -> None:
    """Write what a run was asked into its folder, or refuse the folder of another run.

    Args:
        path: the JSON file.
        settings, remedy: see `check_same`.

    Raises:
        InputError: see `check_same`; a spoilt file.
    """
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise InputError(f"{path}: spoilt, no settings of a run in it; {remedy}") from None
        check_same(path.parent, before, settings, remedy)
    else:
        write_json(path, dict(settings))


@contextmanager
def work_folder(given: str | Path | None) -> Iterator[Path]:
    """The folder that was given; for None one that is thrown away."""
    if given is not None:
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix="objstress-fit-") as temporary:
        yield Path(temporary)


def resume_from(folder: Path, digest: str, stale: tuple[str, ...] = ()) -> Path | None:
    """The last checkpoint in a folder, if it was left by a fit of the same fingerprint.

    What another fit left, `stale` and the checkpoint, is removed, and the folder marked anew.
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
    """Remove checkpoints and marks below a folder once their result is saved; logs stay."""
    for leftover in (*folder.rglob("*.ckpt"), *folder.rglob(MARK)):
        leftover.unlink()
