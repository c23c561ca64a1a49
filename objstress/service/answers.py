"""Answers of the service in a folder, so that no crystal is computed twice."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from objstress.errors import InputError
from objstress.io.files import write_whole


def default_folder() -> Path:
    """The folder of answers in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "objstress" / "answers"


class Answers:
    """A bounded number of answers, each a file that begins with the hash of the rest.

    A folder that cannot be written to and files that are damaged are as if they were not there.

    Args:
        folder: made when the first answer is kept.
        most: number of answers; the one not asked for longest makes room.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most

    def find(self, key: str) -> str | None:
        """The answer under a key, if there is one.

        Args:
            key: a hash in hexadecimal digits.
        """
        path = self.folder / key
        try:
            digest, _, content = path.read_bytes().partition(b"\n")
            if digest != _digest(content):
                return None
            os.utime(path)
        except OSError:
            return None
        return content.decode()

    def keep(self, key: str, answer: str) -> None:
        """Keep an answer.

        Args:
            key: a hash in hexadecimal digits.
            answer: any text.
        """
        content = answer.encode()
        try:
            # Clients' crystals are nobody else's business.
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self.folder / key, _digest(content) + b"\n" + content)
            ages = {entry.path: entry.stat().st_mtime for entry in os.scandir(self.folder)}
            for path in sorted(ages, key=lambda p: ages[p])[: -self.most]:
                os.unlink(path)
        except (InputError, OSError):
            return


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
