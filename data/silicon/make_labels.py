"""Make the silicon data: `python data/silicon/make_labels.py [labels|elastic|third|convergence]`.

Needs ABINIT (Debian: `apt install abinit abinit-data`, 9.6.2). `labels` takes about 20 minutes on
two cores, the others a few minutes each; rerun it to resume.
"""

import sys
from pathlib import Path

import numpy as np
from ase.io import read
from ase.units import GPa

from objstress.labels.differences import third_order_strains
from objstress.labels.labelling import label_strains
from objstress.labels.strains import sample_strains

HERE = Path(__file__).parent
STEP = 0.004
"""Green-Lagrange strain of the central differences."""


def labels() -> None:
    # The whole ball: these were made before strains were drawn from one image of it alone.
    label_strains(
        HERE / "silicon.cif",
        "abinit",
        out=HERE / "labels.extxyz",
        strains=sample_strains(320),
        workers=2,
    )


def elastic() -> None:
    """+- STEP along E_11 and in E_23 = E_32: what C11, C12 and C44 are differenced from."""
    strains = np.zeros((4, 3, 3))
    strains[0, 0, 0], strains[1, 0, 0] = STEP, -STEP
    strains[2, 1, 2] = strains[2, 2, 1] = STEP
    strains[3] = -strains[2]
    for ions in ("relaxed", "clamped"):
        label_strains(
            HERE / "silicon.cif",
            "abinit",
            out=HERE / f"elastic-{ions}.extxyz",
            strains=strains,
            ions=ions,
            workers=2,
        )


def third() -> None:
    """What the third-order constants are differenced from: second differences, so tighter."""
    label_strains(
        HERE / "silicon.cif",
        "abinit",
        out=HERE / "third-relaxed.extxyz",
        strains=third_order_strains(0.015),
        arguments={"tolmxf": 1e-6, "tolvrs": 1e-14},
        workers=2,
    )


def convergence() -> None:
    """Stress of two strained cells (clamped ions) against cutoff and k-mesh, as a table."""
    strains = np.zeros((2, 3, 3))
    strains[0] = [[0.04, 0.01, 0.0], [0.01, -0.02, 0.02], [0.0, 0.02, 0.01]]
    strains[1, 1, 2] = strains[1, 2, 1] = 0.03
    rows = []
    for ecut, mesh in [(14, 3), (18, 3), (24, 3), (30, 3), (18, 4), (30, 4)]:
        out = HERE / "convergence.tmp.extxyz"
        label_strains(
            HERE / "silicon.cif",
            "abinit",
            out=out,
            strains=strains,
            ions="clamped",
            arguments={"ecut_hartree": ecut, "ngkpt": [mesh] * 3},
            workers=2,
        )
        rows.append((ecut, mesh, np.array([a.get_stress() / GPa for a in read(out, ":")])))
        out.unlink()
    best = rows[-1][2]
    print(
        "| ecut (Ha) | k mesh (4 shifts) | pressure at F = I (GPa) | largest stress error (GPa) |"
    )
    print("| --- | --- | --- | --- |")
    for ecut, mesh, stress in rows:
        print(
            f"| {ecut} | {mesh} x {mesh} x {mesh} | {-stress[0, :3].mean():.3f} "
            f"| {np.abs(stress - best).max():.3f} |"
        )


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["labels", "elastic", "third", "convergence"]
    for name in chosen:
        {"labels": labels, "elastic": elastic, "third": third, "convergence": convergence}[name]()
