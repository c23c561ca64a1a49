"""Make the labels of gallium arsenide: `python data/gallium-arsenide/make_labels.py PRIOR.law`.

PRIOR.law is `objstress law gallium-arsenide.cif --out PRIOR.law`; the strains that correct it best
are labelled. Needs ABINIT (Debian: `apt install abinit abinit-data`, 9.6.2); rerun it to resume.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from pymatgen.io.cif import CifWriter
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from objstress.labels.labelling import label_strains
from objstress.labels.reading import read_labels
from objstress.labels.relaxation import relaxed_crystal
from objstress.training.laws.correction import correct_law
from objstress.training.laws.suggestions import suggest_strains

HERE = Path(__file__).parent
SUGGESTED, JUDGES = 5, 12
MAX_STRAIN = 0.05
STEP = 0.004
"""Green-Lagrange strain of the central differences."""


def main() -> None:
    """Relax, and label."""
    relaxed = HERE / "relaxed.cif"
    if not relaxed.is_file():
        crystal = relaxed_crystal(
            HERE / "gallium-arsenide.cif", "abinit", {"relax": False}, fmax=1e-3
        )
        # A CIF has no axes of its own: those of a cube are along x, y and z.
        cube = SpacegroupAnalyzer(crystal).get_conventional_standard_structure()
        CifWriter(cube, symprec=1e-3).write_file(relaxed)
    with tempfile.TemporaryDirectory() as folder:
        rest = Path(folder) / "rest.extxyz"
        label_strains(relaxed, "abinit", out=rest, strains=np.zeros((1, 3, 3)))
        start = correct_law(read_labels(rest, relaxed), sys.argv[1])
    strains = suggest_strains(start, SUGGESTED)
    label_strains(relaxed, "abinit", out=HERE / "suggested.extxyz", strains=strains)
    label_strains(
        relaxed,
        "abinit",
        out=HERE / "judges.extxyz",
        samples=JUDGES,
        max_strain=MAX_STRAIN,
        seed=1,
    )
    elastic = np.zeros((4, 3, 3))
    elastic[:2, 0, 0] = STEP, -STEP
    elastic[2:, 1, 2] = elastic[2:, 2, 1] = STEP, -STEP
    label_strains(relaxed, "abinit", out=HERE / "elastic.extxyz", strains=elastic)


if __name__ == "__main__":
    main()
