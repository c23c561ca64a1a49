"""A network of strain as a C program: `python -m benchmarks.network_speed`.

The bcc lattice's law (`benchmarks.lattices` wrote it): points a second of energy, stress and
tangent, as it is and compiled, of eight perceptrons and of one of them; and a load step of 20^3
hexahedra over that of a plain UFL form. Writes network_speed.json.
"""

from __future__ import annotations

import argparse
from copy import copy
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.compiled import PlainUfl, medians, stretched_block
from objstress.elasticity.moduli import cubic_stiffness
from objstress.fem.solve import body
from objstress.io.files import write_json
from objstress.laws.analytic import SaintVenantKirchhoff
from objstress.laws.check import random_deformations
from objstress.laws.compile import compile_law
from objstress.laws.loading import load_law
from objstress.models.strain_network import StrainNetwork
from objstress.reports import Claim, claims_table, environment

CELLS = 20
POINTS = {"eight, as it is": 512, "eight, compiled": 16384, "one, compiled": 65536}


def main() -> None:
    parser = argparse.ArgumentParser(description="speed of a compiled network of strain")
    parser.add_argument("--law", type=Path, default=Path("benchmarks/results/lattices/BCC.law"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    law = load_law(arguments.law, outside="ignore")
    assert isinstance(law.network, StrainNetwork)
    one = copy(law)
    one.network = law.network.of_members([0])
    laws = dict(
        zip(
            POINTS,
            (law, compile_law(law, kind="torch"), compile_law(one, kind="torch")),
            strict=True,
        )
    )
    f = torch.tensor(random_deformations(max(POINTS.values()), 0.05, np.random.default_rng(0)))
    jobs = {
        name: (lambda name=name: laws[name].response(f[: POINTS[name]], 2) and None)
        for name in laws
    }
    rates = {name: POINTS[name] / float(np.median(s)) for name, s in medians(jobs, 5).items()}

    svk = SaintVenantKirchhoff(cubic_stiffness(160.0, 60.0, 50.0))
    with patch.object(body, "QuadratureMaterial", PlainUfl):
        problems = {"plain UFL": stretched_block(svk, "quadrature", CELLS)}
    problems["eight, compiled"] = stretched_block(laws["eight, compiled"], "quadrature", CELLS)
    problems["one, compiled"] = stretched_block(laws["one, compiled"], "quadrature", CELLS)

    def step(name: str) -> None:
        problem = problems[name]
        problem.u.x.array[:] = 0.0
        problem.settle(0.0)
        problem.step(1.0)

    seconds = medians({name: (lambda name=name: step(name)) for name in problems}, 3)
    base = np.array(seconds["plain UFL"])
    ratios = {name: float(np.median(np.array(s) / base)) for name, s in seconds.items()}
    claims = [
        Claim(
            "compiled network, W, P and A", rates["eight, compiled"], 1e5, "points/s", at_least=True
        ),
        Claim("load step of 20^3 hexahedra over plain UFL", ratios["eight, compiled"], 1.5),
    ]
    print(claims_table(claims))
    result = {
        "claims": [c.to_dict() for c in claims],
        "points_per_second": rates,
        "step_seconds": {name: float(np.median(s)) for name, s in seconds.items()},
        "step_ratio": ratios,
        "newton_steps": {name: len(p.newton.corrections) for name, p in problems.items()},
        "environment": environment(),
    }
    write_json(arguments.out / "network_speed.json", result)


if __name__ == "__main__":
    main()
