"""The ways in which objstress tells a caller that something is wrong with what it was given."""

import os
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used; the message is one line that names the thing and the way out."""


class OutsideDomainWarning(UserWarning):
    """A law was evaluated at strains outside those it was trained on."""


def check_writable(path: str | Path) -> None:
    """Refuse an output file that cannot be written, before long work rather than after it.

    Raises:
        InputError: `path` is a folder, or its folder cannot be made or written to.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: its folder cannot be made ({error.strerror})") from None
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: its folder is not writable")


def check_seed(seed: int) -> None:
    """Refuse a negative seed of random numbers."""
    if seed < 0:
        raise InputError(f"seed = {seed}: give a whole number that is not negative")
