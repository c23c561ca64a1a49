"""Inputs at the edge of what is admitted.

`python -m benchmarks.edges` writes edges.json: the deformation of rotated, rattled supercells.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase.build import make_supercell
from scipy.spatial.transform import Rotation

from objstress.elasticity.strain import right_stretch
from objstress.io.files import write_json
from objstress.labels.deformation import find_deformation
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.crystal import primitive_cell, read_structure

RESULTS = Path(__file__).parent / "results"
SILICON = Path(__file__).parents[1] / "data" / "silicon" / "silicon.cif"
CUBIC = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
"""The cube of a face-centred lattice, in its primitive vectors."""


def supercells(frames: int = 5) -> tuple[dict[str, Any], list[Claim]]:
    """Seconds a frame of 216 atoms of silicon, strained, rotated and rattled by 0.03 Angstrom."""
    silicon = primitive_cell(read_structure(SILICON))
    rows = []
    for k in range(frames):
        strain = np.random.default_rng(k).normal(size=(3, 3)) * 0.03
        f = right_stretch(0.5 * (strain + strain.T))
        atoms = make_supercell(silicon.to_ase_atoms(), 3 * CUBIC)
        atoms.rattle(0.03, seed=k)
        rotation = Rotation.random(random_state=k).as_matrix()
        atoms.set_cell(atoms.cell.array @ f.T @ rotation.T, scale_atoms=True)
        begun = time.perf_counter()
        F, _ = find_deformation(atoms, silicon)
        seconds = time.perf_counter() - begun
        error = np.abs(np.linalg.eigvalsh(F.T @ F) - np.linalg.eigvalsh(f.T @ f)).max()
        rows.append({"seconds": seconds, "error_of_C": float(error)})
    seconds = median(row["seconds"] for row in rows)
    return {"atoms": len(atoms), "rows": rows, "seconds_before": 77.0}, [
        Claim("deformation of a rotated cell of 216 atoms", seconds, 0.1, "s"),
        Claim("its principal values of C", max(row["error_of_C"] for row in rows), 1e-12),
    ]


def main() -> None:
    parts, claims = {}, []
    for measure in (supercells,):
        parts[measure.__name__], new = measure()
        claims += new
    result = {
        "claims": [claim.to_dict() for claim in claims],
        "parts": parts,
        "environment": environment(),
    }
    write_json(RESULTS / "edges.json", result)
    print(claims_table(claims))


if __name__ == "__main__":
    main()
