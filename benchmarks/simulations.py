"""What a user of finite elements asks first: elements, cycles, cells, waves, exports, ranks.

`python -m benchmarks.simulations` writes simulations.json; each claim is measured in a minute or
less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import objstress.fem as fe
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.orientations import orientation
from objstress.fem import Displacement, StaticProblem, Traction, meshes
from objstress.io.files import write_json
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
from objstress.reports import Claim, claims_table, environment

RESULTS = Path(__file__).parent / "results"
COPPER = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")

COOK = 4.7011
"""Vertical displacement of Cook's membrane's corner (48, 60): neo-Hooke, plane strain, E = 3,
nu = 1/2, traction 0.05. B. Mueller, Mixed least squares finite element methods based on inverse
stress-strain relations in hyperelasticity, thesis, Universitaet Duisburg-Essen, 2015."""


def cook(n: int, nu: float = 0.4999, **options: Any) -> float:
    """Vertical displacement of the corner (48, 60) on n x n quadrilaterals."""
    mesh = meshes.rectangle((1, 1), (n, n))
    s, t = mesh.geometry.x[:, 0].copy(), mesh.geometry.x[:, 1].copy()
    mesh.geometry.x[:, 0], mesh.geometry.x[:, 1] = 48 * s, 44 * s + t * (44 - 28 * s)
    law = NeoHooke(3 / (2 * (1 + nu)), 3 * nu / ((1 + nu) * (1 - 2 * nu)))
    ends = [Displacement("x=min", (0, 0)), Traction("x=max", (0, 0.05))]
    problem = StaticProblem(mesh, law, ends, **options)
    problem.solve(4, progress=False)
    corner = np.argmin(np.abs(problem.V.tabulate_dof_coordinates() - [48, 60, 0]).sum(axis=1))
    return float(problem.u.x.array[2 * corner + 1])


def plane_stress() -> dict[str, Any]:
    """A plate bent in its plane, copper's [110] along it: force on its end per thickness."""
    along = orientation((1, 1, 0), (1, 0, 0))

    def force(thickness: float | None) -> float:
        rest: tuple[None, ...] = () if thickness is None else (None,)
        ends = [
            Displacement("x=min", (0, 0, *rest)),
            Displacement("x=max", (0.1, 0.05, *rest), "end"),
        ]
        if thickness is None:
            mesh, more = meshes.rectangle((2, 1), (24, 12)), {"plane": "stress"}
        else:
            mesh, more = meshes.box((2, 1, thickness), (24, 12, 1)), {}
            ends.append(fe.symmetry_plane("z=min"))
        problem = StaticProblem(mesh, COPPER, ends, orientation=along, degree=2, **more)
        reaction = problem.solve(2, progress=False)[-1].reactions["end"]
        return float(np.linalg.norm(reaction)) / (thickness or 1.0)

    plane, plate = force(None), force(0.02)
    return {"plane stress": plane, "plate of thickness 0.02": plate, "relative": plane / plate - 1}


def cycle() -> dict[str, Any]:
    """Load, unload and reload a plate with a hole: work over the closed part of the path."""
    table = [(0, 0), (1, 1), (2, 0), (3, 1)]
    problem = StaticProblem(
        meshes.plate_with_hole(cells=(4, 4, 1)),
        COPPER,
        [
            Displacement("x=min", (0, 0, 0)),
            Displacement("x=max", (0.1, None, None), "end", amplitude=table),
        ],
    )
    history = problem.solve(24, until=3, progress=False)
    moved = np.interp([0, *(r.load for r in history)], *zip(*table, strict=True)) * 0.1
    force = np.array([0.0, *(r.reactions["end"][0] for r in history)])
    steps = 0.5 * (force[1:] + force[:-1]) * np.diff(moved)
    peak = float(steps[:8].sum())
    return {"work of loading": peak, "work of the cycle": float(steps[8:].sum())}


def ranks() -> float:
    """Largest relative difference of a curve on one rank and on two."""
    mpiexec = Path(sys.executable).with_name("mpiexec")
    curves = []
    for number in (1, 2):
        arguments = [str(mpiexec), "-n", str(number), sys.executable, "-m", "tests.runs", "cycle"]
        out = subprocess.run(
            [*arguments, "-", "0"], check=True, capture_output=True, text=True
        ).stdout
        history = json.loads(out)["cycle"]["history"]
        curves.append(np.array([h["reactions"]["end"] for h in history]))
    return float(np.abs(curves[0] - curves[1]).max() / np.abs(curves[0]).max())


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    tips = {
        "Q1": cook(32),
        "Q1/P0": {n: cook(n, element="mixed") for n in (8, 16, 32, 64)},
        "Q2/P1": {n: cook(n, degree=2, element="mixed") for n in (8, 16, 32)},
    }
    thin, closed = plane_stress(), cycle()
    claims = [
        Claim(
            "Cook's membrane, nu = 0.4999, Q2/P1, 32 x 32, against Mueller's 4.7011",
            100 * abs(tips["Q2/P1"][32] / COOK - 1),
            1.0,
            "%",
        ),
        Claim("the same, Q1/P0, 64 x 64", 100 * abs(tips["Q1/P0"][64] / COOK - 1), 1.0, "%"),
        Claim("plane stress against a thin plate", 100 * abs(thin["relative"]), 0.5, "%"),
        Claim(
            "work of unloading and reloading over that of loading",
            abs(closed["work of the cycle"]) / closed["work of loading"],
            1e-9,
        ),
        Claim("a curve on two ranks against one", ranks(), 1e-9),
    ]
    result = {
        "claims": [claim.to_dict() for claim in claims],
        "Cook's membrane": tips,
        "plane stress": thin,
        "cycle": closed,
        "environment": environment(),
    }
    write_json(RESULTS / "simulations.json", result)
    print(claims_table(claims))


if __name__ == "__main__":
    main()
