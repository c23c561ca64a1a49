"""Make the octet-truss pairs: `python data/octet-truss/make_pairs.py [elastic|pairs]`.

Needs FEniCSx (the extra `fem`), no data and no network. `elastic` takes two minutes and 4 GB on one
core, `pairs` about ten minutes; rerun it to resume.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI
from tqdm import tqdm

from objstress.elasticity.moduli import cubic_stiffness, youngs_modulus
from objstress.elasticity.strain import right_stretch
from objstress.fem import PeriodicCell, meshes
from objstress.io.files import write_json
from objstress.labels.strains import sample_strains
from objstress.laws.analytic import NeoHooke

HERE = Path(__file__).parent
YOUNG, POISSON = 2.4, 0.35
"""A glassy polymer (printed resin); Young's modulus in GPa."""
MU, LAM = YOUNG / (2 + 2 * POISSON), YOUNG * POISSON / ((1 + POISSON) * (1 - 2 * POISSON))
VOXELS, RADIUS = 16, 0.08
"""Along the cell's edge; struts' radius in cell edges."""
SAMPLES, MAX_STRAIN, SEED = 120, 0.03, 0
SIZE = (1.0, 1.0, 1.0)


def cell(n: int, cut: int = 1) -> tuple[PeriodicCell, float]:
    """The cell with n voxels an edge, each cut into cut^3 elements, and its relative density."""
    solid = meshes.octet_truss(n, RADIUS)
    fine = solid.repeat(cut, 0).repeat(cut, 1).repeat(cut, 2)
    mesh = meshes.voxels(fine, SIZE, MPI.COMM_SELF)
    return PeriodicCell(mesh, NeoHooke(MU, LAM), SIZE, degree=2), float(solid.mean())


def constants(n: int, cut: int = 1) -> dict:
    made, density = cell(n, cut)
    c = made.stiffness()
    cubic = cubic_stiffness(c[0, 0], c[0, 1], c[3, 3])
    young = float(youngs_modulus(c, np.array([1, 0, 0])))
    return {
        "voxels": n,
        "elements_per_voxel_edge": cut,
        "density": density,
        "C11": c[0, 0],
        "C12": c[0, 1],
        "C44": c[3, 3],
        "E100": young,
        "9 E100 / (Es density)": 9 * young / (YOUNG * density),
        "cubic_violation": float(np.abs(c - cubic).max() / c.max()),
        "stiffness": c.tolist(),
    }


def elastic() -> None:
    """Constants of the cell at F = I, and how they change with elements and with voxels."""
    chosen = constants(VOXELS)
    others = [constants(*which) for which in ((VOXELS, 2), (24, 1))]
    for other in others:
        del other["stiffness"]
    write_json(
        HERE / "elastic.json",
        {
            "unit": "GPa; Voigt order xx yy zz yz xz xy; cube edges along x, y, z",
            "base": {"law": "neo-hooke", "E": YOUNG, "nu": POISSON, "mu": MU, "lambda": LAM},
            "radius": RADIUS,
            **chosen,
            "convergence": others,
        },
    )


def header(density: float) -> str:
    known = json.loads((HERE / "elastic.json").read_text())
    rows = [known, *known["convergence"]]
    lines = [
        "Octet truss: a periodic cubic cell homogenised at finite strain; cube edges along x y z.",
        f"Solid: W = mu/2 (tr F^T F - 3) - mu ln J + lambda/2 (ln J)^2, E = {YOUNG} GPa, "
        f"nu = {POISSON} (mu = {MU:.6g}, lambda = {LAM:.6g} GPa).",
        f"Struts along <110> of radius {RADIUS} cell edges in {VOXELS}^3 voxels, relative density "
        f"{density:.5f}; one quadratic hexahedron a voxel.",
        f"{SAMPLES} quasi-random strains, |E| <= {MAX_STRAIN} (Green-Lagrange), F = U without "
        "rotation; every state is stable against buckling within the cell.",
        "F: mean deformation gradient. P: mean first Piola-Kirchhoff stress, GPa, P_iJ = dW/dF_iJ. "
        "W: mean energy density, GPa. Means per volume of the whole cell, voids included.",
        "Elastic constants at F = I, GPa (stiffness in elastic.json), against mesh:",
        *(
            f"  {r['voxels']}^3 voxels, {r['elements_per_voxel_edge']}^3 elements in each, density "
            f"{r['density']:.4f}: C11 {r['C11']:.5f} C12 {r['C12']:.5f} C44 {r['C44']:.5f}"
            for r in rows
        ),
        "Made by data/octet-truss/make_pairs.py.",
    ]
    names = [f"{t}{i}{j}" for t in "FP" for i in range(1, 4) for j in range(1, 4)]
    return "".join(f"# {line}\n" for line in lines) + ",".join([*names, "W"]) + "\n"


def pairs() -> None:
    made, density = cell(VOXELS)
    head = header(density)
    target, partial = HERE / "pairs.csv", HERE / "pairs.csv.partial"
    text = partial.read_text() if partial.exists() else head
    if not text.startswith(head):
        sys.exit(f"{partial}: started with other settings; delete it to start over")
    rows = text[len(head) :].splitlines(keepends=True)
    if rows and not rows[-1].endswith("\n"):
        rows.pop()  # cut off in the middle of a row
    partial.write_text(head + "".join(rows))
    stretches = right_stretch(sample_strains(SAMPLES, MAX_STRAIN, SEED))
    with partial.open("a") as file:
        todo = tqdm(stretches[len(rows) :], desc="strains", total=SAMPLES, initial=len(rows))
        for F in todo:
            answer = made.solve(F, tangent=True)
            if answer.unstable_modes:
                sys.exit(f"the struts buckle at F = {F.tolist()}: lower MAX_STRAIN")
            numbers = [*F.ravel(), *answer.P.ravel(), answer.energy]
            file.write(",".join(f"{x:.12g}" for x in numbers) + "\n")
            file.flush()
    os.replace(partial, target)


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["elastic", "pairs"]
    for name in chosen:
        {"elastic": elastic, "pairs": pairs}[name]()
