"""Laws of strain and electric field, and bodies with electrodes: `python -m benchmarks.electric`.

Random polynomials of all 32 point groups; the AT-cut of Bechmann's constants of quartz (Phys. Rev.
110 (1958) 1060); a bimorph of PVDF against beam theory; the tangent against pure UFL; reciprocity;
and the time of a piezoelectric solution beside that of displacements alone. Writes electric.json
and electric.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import objstress.fem as fe
from benchmarks.stored import store
from objstress.fem import meshes
from objstress.laws import (
    EPS0,
    ElectricLaw,
    PolynomialLaw,
    RotatedLaw,
    check_law,
    linear_law,
    random_deformations,
)
from objstress.laws.check_electric import field_symmetry, random_fields, without_field
from objstress.models import ElectricPolynomial, InvariantPolynomial
from objstress.models.conformance import extra_operations, supergroups
from objstress.reports import Claim, claims_table
from objstress.symmetry import PointGroup

CELLS, REPEATS = 20, 3
TURN = -35.25
"""Degrees about x from the frame of an AT-cut plate, normal along y, to the crystal's."""


def quartz() -> ElectricLaw:
    c11, c12, c13, c14, c33, c44, c66 = 86.74, 6.99, 11.91, -17.91, 107.2, 57.94, 39.88
    c = np.zeros((6, 6))
    c[:3, :3] = [[c11, c12, c13], [c12, c11, c13], [c13, c13, c33]]
    c[3:, 3:] = np.diag([c44, c44, c66])
    for a, b, value in ((0, 3, c14), (1, 3, -c14), (4, 5, c14)):
        c[a, b] = c[b, a] = value
    e11, e14 = 0.171, -0.0406
    e = np.array([[e11, -e11, 0, e14, 0, 0], [0, 0, 0, 0, -e14, -e11], [0.0] * 6])
    return linear_law(c, e, np.diag([39.21, 39.21, 41.03]) * 1e-3 / EPS0, "32")


def groups(rng: np.random.Generator) -> tuple[float, float]:
    """Of all 32 groups: the largest violation of an operation, the least of a larger group's."""
    kept, broken = 0.0, np.inf
    for group in PointGroup.all():
        strain = InvariantPolynomial(group, 3)
        strain.set_coefficients(100 * rng.normal(size=len(strain.degrees)))
        field = ElectricPolynomial(group, (2, 1))
        field.set_coefficients(rng.normal(size=len(field.degrees)))
        law = ElectricLaw(PolynomialLaw(strain, group), field)
        f, e = random_deformations(10, 0.08, rng), random_fields(law, 10, rng)
        kept = max(kept, field_symmetry(law, f, e, group.operations))
        for larger in supergroups(group):
            broken = min(broken, field_symmetry(law, f, e, extra_operations(group, larger)))
    return kept, broken


def at_cut() -> dict[str, float]:
    """Stiffened c66 (GPa), e26 (C/m^2) and eps22 (pF/m) of the plate."""
    turn = np.radians(TURN)
    q = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    cut = RotatedLaw(quartz(), q)
    rest, none = np.eye(3), np.zeros(3)
    c66 = float(cut.tangent(rest, none)[0, 1, 0, 1])
    e26 = -float(cut.coupling(rest, none)[0, 1, 1])
    eps22 = float(cut.permittivity(rest, none)[1, 1])
    return {"c66": c66 + e26**2 / eps22, "e26": e26, "eps22": 1e3 * eps22}


def plate(cells: int = 16) -> tuple[float, float, float]:
    """Resonance, antiresonance and third open overtone of an AT-cut plate, frequency times
    thickness in Hz m.

    Of the infinite plate: nothing varies along x, and the modes shear along it.
    """
    turn = np.radians(TURN)
    q = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    mesh = meshes.rectangle((1 / cells, 1.0), (1, cells))
    problem = fe.StaticProblem(
        mesh,
        quartz(),
        [
            fe.Displacement(lambda x: x[0] > -1, (None, 0), "sheared"),
            fe.Displacement("y=min & x=min", (0, None), "pin"),
            fe.Electrode("y=min", 0.0, name="low"),
            fe.Electrode("y=max", 0.0, name="high"),
        ],
        orientation=q,
        degree=2,
    )
    problem.solve(1, progress=False)
    short = fe.natural_vibrations(problem, 2649.0, 4, released=["pin"])
    free = fe.natural_vibrations(problem, 2649.0, 4, released=["pin"], open_electrodes=["high"])
    return tuple(1e3 * float(f) for f in (short.frequencies[1], *free.frequencies[[1, 3]]))


def bimorph() -> float:
    """Deflection of the tip, m: 100 mm of two films of 0.5 mm of opposite polarity under 1 V."""
    e = np.zeros((3, 6))
    e[2, 0] = 0.046
    law = linear_law(np.diag([2.0, 2, 2, 1, 1, 1]), e, 12.0 * np.eye(3), "mm2")
    over = np.diag([1.0, -1.0, -1.0])
    layers = fe.Grains(lambda x: (x[:, 2] > 0.5).astype(int), [np.eye(3), over], law)
    low, high = fe.Electrode("z=min", 0.0), fe.Electrode("z=max", 1e-6)  # MV, as the mesh is in mm
    clamp = fe.Displacement("x=min", (0.0, 0.0, 0.0))
    mesh = meshes.box((100.0, 5.0, 1.0), (20, 1, 2))
    problem = fe.StaticProblem(mesh, layers, [clamp, low, high], degree=2)
    problem.solve(1, progress=False)
    tip = np.isclose(problem.V.tabulate_dof_coordinates()[:, 0], 100.0)
    return float(np.abs(problem.u.x.array.reshape(-1, 3)[tip, 2]).mean()) * 1e-3


def loaded(push: float, voltage: float) -> tuple[float, float, float]:
    """Force on the end of a cube of quartz, charge on an electrode on it, sum of all charges."""
    problem = fe.StaticProblem(
        meshes.box((1.0, 1.0, 1.0), (4, 4, 4), jitter=0.1),
        quartz(),
        [
            fe.Displacement("x=min", (0, 0, 0)),
            fe.Displacement("x=max", (push, 0, 0), "pushed"),
            fe.Electrode("x=min", 0.0),
            fe.Electrode("y=max & x=max", voltage, name="driven"),
        ],
    )
    record = problem.solve(1, progress=False)[-1]
    total = sum(record.charges.values()) / max(map(abs, record.charges.values()))
    return record.reactions["pushed"][0], record.charges["driven"], abs(total)


def reciprocity(h: float = 1e-5) -> tuple[float, float]:
    """Relative gap of dF/dV and -dQ/du, and the largest sum of charges over the largest."""
    runs = [loaded(*x) for x in ((0.0, h), (0.0, -h), (h, 0.0), (-h, 0.0))]
    force, charge = runs[0][0] - runs[1][0], runs[2][1] - runs[3][1]
    return abs(force + charge) / abs(force), max(run[2] for run in runs)


def flux() -> float:
    """Charge on an electrode against D0 . N times its area, in an even field, relative.

    A crystal of 4mm, stretched with its boundary, has D0 along its axis.
    """
    c = np.diag([220.0, 220.0, 150.0, 60.0, 60.0, 70.0])
    c[:3, :3] += 80.0 * (1 - np.eye(3))
    e = np.zeros((3, 6))
    e[2, :3], e[0, 4], e[1, 3] = (-3.0, -3.0, 12.0), 9.0, 9.0
    law = linear_law(c, e, np.diag([900.0, 900.0, 120.0]), "4mm")
    stretch = np.diag([0.01, 0.01, -0.02])
    problem = fe.StaticProblem(
        meshes.box((1.0, 2.0, 1.0), (4, 4, 4), jitter=0.1),
        law,
        [
            fe.Displacement("boundary", lambda x: stretch @ x),
            fe.Electrode("z=min", 0.0),
            fe.Electrode("z=max", 0.02),
        ],
    )
    record = problem.solve(1, progress=False)[-1]
    d = law.displacement(np.eye(3) + stretch, [0.0, 0.0, -0.02])
    return abs(record.charges["z=max"] / (-2.0 * float(d[2])) - 1)


def seconds(cells: int) -> dict[str, list[float]]:
    """Of solutions of a cube of quartz under shear, with a voltage and without a field."""
    law = quartz()
    mechanical = [
        fe.Displacement("z=min", (0, 0, 0)),
        fe.Displacement("z=max", (0.01, 0, 0)),
    ]
    electric = [fe.Electrode("z=min", 0.0), fe.Electrode("z=max", 1e-2)]
    found: dict[str, list[float]] = {"u": [], "u and phi": [], "iterations": []}
    for repeat in range(REPEATS + 1):
        for name, one, conditions in (
            ("u", law.law, mechanical),
            ("u and phi", law, mechanical + electric),
        ):
            mesh = meshes.box((1.0, 1.0, 1.0), (cells,) * 3)
            problem = fe.StaticProblem(mesh, one, conditions)
            began = time.perf_counter()
            record = problem.solve(1, progress=False)[-1]
            if repeat:  # the first compiles
                found[name].append(time.perf_counter() - began)
                found["iterations"].append(len(record.residuals))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="laws of strain and field, bodies with electrodes")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    kept, broken = groups(rng)
    promises = {claim.name: claim for claim in check_law(quartz())}
    cut, tip = at_cut(), bimorph()
    resonance, antiresonance, third = plate()
    gap, total = reciprocity()
    times = seconds(CELLS)
    ratio = float(np.median(times["u and phi"]) / np.median(times["u"]))
    law = quartz()
    claims = [
        Claim("32 groups: each operation kept, random polynomials", kept, 1e-12),
        Claim("32 groups: each larger group broken", broken, 1e-4, at_least=True),
        *(
            promises[f"under a field: {name}"]
            for name in (
                "objectivity",
                "P and D0 against differences of H",
                "tangents against differences of P and D0",
                "symmetry of dP/dF and dD0/dE0",
            )
        ),
        Claim(
            "H at E0 = 0 against the law of strain",
            without_field(law, random_deformations(100, 0.05, rng)),
            1e-14,
        ),
        Claim("AT-cut: c66' against 29.239 GPa, relative", abs(cut["c66"] / 29.239 - 1), 1e-4),
        Claim("AT-cut: e26' against -0.0949 C/m^2, relative", abs(cut["e26"] / -0.0949 - 1), 1e-4),
        Claim("AT-cut: eps22' against 39.82 pF/m, relative", abs(cut["eps22"] / 39.82 - 1), 1e-4),
        Claim(
            "AT-cut plate, FE: antiresonance against 1661.2 Hz m, relative",
            abs(antiresonance / 1661.2 - 1),
            2e-3,
        ),
        Claim(
            "AT-cut plate, FE: resonance against 1655.9 Hz m, relative",
            abs(resonance / 1655.9 - 1),
            2e-3,
        ),
        Claim(
            "AT-cut plate, FE: third open overtone against 3 x 1661.2 Hz m, relative",
            abs(third / (3 * 1661.2) - 1),
            5e-3,
        ),
        Claim("bimorph: tip against 3.45e-7 m, relative", abs(tip / 3.45e-7 - 1), 0.01),
        Claim("force by voltage against charge by displacement", gap, 1e-9),
        Claim("charge on an electrode against D0 . N over it, even field", flux(), 1e-9),
        Claim("sum of the charges on all electrodes over the largest", total, 1e-9),
        Claim(f"(u, phi) over u alone, {CELLS}^3 hexahedra, time", ratio, 2.5),
    ]
    rows: list[dict[str, Any]] = [
        {
            "at_cut": cut,
            "plate_Hz_m": [resonance, antiresonance, third],
            "tip_m": tip,
            "seconds": times,
        }
    ]
    settings = {"cells": CELLS, "repeats": REPEATS, "threads": torch.get_num_threads()}
    store(arguments.out / "electric.json", settings, rows, claims)
    table = claims_table(claims)
    (arguments.out / "electric.md").write_text(f"# Measured\n\n{table}\n")
    print(table)


if __name__ == "__main__":
    main()
