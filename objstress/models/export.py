"""A potential as a PyTorch program that runs without objstress, in Python or C++."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.io.files import check_writable, write_whole
from objstress.models.potential import Potential
from objstress.nn.products import ChannelProduct

ENDING = ".pt2"
FACTS = "objstress.json"
"""The file within the program's archive that says what it is of."""


def export_potential(potential: Potential, path: str | Path) -> None:
    r"""Write a potential's energies, forces and virial as a program of `torch.export`.

    .. math:: e_i, \qquad f_i = -\partial E / \partial r_i, \qquad
        V_{ab} = \sum_{ij} (r_{ij})_a \, \partial E / \partial (r_{ij})_b
        = \mathrm{volume} \times \sigma_{ab}

    `torch.export.load` reads it; PyTorch's AOTInductor compiles it for C++. Any numbers n and s
    from two on will do; nothing else of the program depends on a structure. It takes, in the
    potential's dtype,

    - positions (n, 3) in Angstrom, and the cell (3, 3), rows in Angstrom, zeros without one;
    - species (n,), places in the list of elements, int64;
    - neighbours in rows of their receivers i, padded to the longest row, where j + shift lies
      within the cutoff of i: sender j (n, s), int64; shift (n, s, 3) in lattice vectors; mask
      (n, s), bool, False on padding;

    and gives e (n,) in eV, f (n, 3) in eV/Angstrom and V (3, 3) in eV. Neighbours beyond the
    cutoff add nothing. Its archive holds elements, cutoff and dtype in `objstress.json`.

    Args:
        potential: with the head "energy"; others are left out.
        path: of the file, which ends in .pt2.

    Raises:
        InputError: a potential without energies, another ending, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ENDING:
        raise InputError(f"{path}: programs of PyTorch end in {ENDING}")
    if "energy" not in potential.settings.heads:
        raise InputError("this potential has no energy to export")
    check_writable(path)
    s = potential.settings
    facts = {
        "elements": s.elements,
        "cutoff_A": s.cutoff,
        "dtype": str(potential.dtype).removeprefix("torch."),
        "inputs": ["positions", "cell", "species", "sender", "shift", "mask"],
        "outputs": ["energies_eV", "forces_eV_A", "virial_eV"],
    }
    buffer = io.BytesIO()
    torch.export.save(_program(potential), buffer, extra_files={FACTS: json.dumps(facts)})
    write_whole(path, buffer.getvalue())


def _program(potential: Potential) -> Any:
    # What traces takes seconds to import.
    from torch.fx.experimental.proxy_tensor import make_fx

    # Of these only the shapes count: numbers that nothing else of the network has.
    n, s = 7, 5
    pos = torch.arange(3.0 * n).view(n, 3).to(potential.dtype)
    sender = torch.arange(n * s).view(n, s) % n
    example = (
        pos,
        pos.new_zeros(3, 3),
        torch.zeros(n, dtype=torch.int64),
        sender,
        pos.new_ones(n, s, 3),
        sender >= 0,
    )
    # Twice: torch.export does not trace a gradient that is taken inside, make_fx does.
    trace = make_fx(_evaluation(potential), tracing_mode="symbolic", _allow_non_fake_inputs=True)
    atoms, row = torch.export.Dim("atoms", min=2), torch.export.Dim("row", min=2)
    rows = {0: atoms, 1: row}
    shapes: Any = ({0: atoms}, {}, {0: atoms}, rows, rows, rows)
    return torch.export.export(trace(*example), example, dynamic_shapes=shapes, strict=False)


def _evaluation(potential: Potential) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """The energy part of a potential, at atoms whose neighbours are given."""
    part = deepcopy(potential).cpu().requires_grad_(False).eval()
    part.settings = replace(potential.settings, heads=("energy",))
    for module in part.modules():
        if isinstance(module, ChannelProduct):
            module.plain = True
    away = torch.tensor([2 * potential.settings.cutoff, 0.0, 0.0], dtype=potential.dtype)

    def evaluate(
        pos: Tensor, cell: Tensor, species: Tensor, sender: Tensor, shift: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        vectors = pos[sender] - pos[:, None] + shift @ cell
        vectors = torch.where(mask[..., None], vectors, away).detach().requires_grad_()
        graph: Any = SimpleNamespace(species=species)
        table: Any = SimpleNamespace(sender=sender, mask=mask)
        one = torch.zeros_like(species)
        energies = part._outputs(graph, vectors, table, one, 1, pos)["energies"]
        (g,) = torch.autograd.grad(energies.sum(), vectors)
        forces = g.sum(1).index_add(0, sender.flatten(), -g.flatten(0, 1))
        virial = torch.einsum("nsi,nsj->ij", vectors.detach(), g)
        return energies.detach(), forces, 0.5 * (virial + virial.T)

    return evaluate
