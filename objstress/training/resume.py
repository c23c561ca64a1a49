"""Whether an interrupted training may go on: only from the same data and settings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objstress.files import write_whole

MARK, LAST = "fingerprint.txt", "last.ckpt"


@contextmanager
def work_folder(given: str | Path | None) -> Iterator[Path]:
    """The folder that was given; for None one that is thrown away."""
    if given is not None:
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix="objstress-fit-") as temporary:
        yield Path(temporary)


def resume_from(folder: Path, digest: str, stale: tuple[str, ...] = ()) -> Path | None:
    """The last checkpoint in a folder, if it was left by a run of the same digest.

    What another run left, `stale` and the checkpoint, is removed, and the folder marked anew.
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
