"""Potential files: weights with the settings that rebuild the network."""

from __future__ import annotations

from pathlib import Path

import torch

from objstress.errors import InputError
from objstress.models.potential import Potential, PotentialSettings
from objstress.tensor_files import read_tensors, rebuilding, write_tensors


def save_potential(potential: Potential, path: str | Path) -> None:
    """Write a potential to one file, whole or not at all."""
    description = {
        "kind": "potential",
        "dtype": str(potential.dtype).removeprefix("torch."),
        "settings": potential.describe(),
        "metadata": potential.metadata,
    }
    write_tensors(path, description, potential.state_dict())


def load_potential(path: str | Path, dtype: torch.dtype | None = None) -> Potential:
    """The potential in a file, ready to be evaluated.

    Args:
        dtype: of the weights; None keeps the one they were written in.

    Raises:
        InputError: no such file, damaged, not a potential, or of a newer format.
    """
    description, tensors = read_tensors(path, "potential")
    if description.get("kind") != "potential":
        raise InputError(f"{path}: a law, not a potential; load it with load_law")
    with rebuilding(path, "potential"):
        given = description["settings"]
        settings = PotentialSettings(**given | {k: tuple(given[k]) for k in ("elements", "heads")})
        potential = Potential(settings, getattr(torch, description["dtype"]))
        potential.load_state_dict(tensors)
        potential.metadata = description["metadata"]
    return potential.to(dtype or potential.dtype).eval()
