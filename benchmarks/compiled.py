"""What compiling a law brings: points a second, finite elements, memory.

`python -m benchmarks.compiled [law files]` writes compiled.json, .md and .png. Files are compiled
to `--tolerance`; without files random polynomials of degree 6 of m-3m and 32 are taken. The speed
beside them is that of a law with a network of default size on the crystal's own cell (a lone node
without files), its weights random where the law has no network: trained ones are as fast. Things
that are compared run in turn, and medians are given.
"""

from __future__ import annotations

import os

# Threads that spin while they wait slow each other down several times on busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
import numpy as np
import torch
import ufl

from objstress.elasticity.moduli import cubic_stiffness
from objstress.errors import InputError
from objstress.fem import Displacement, StaticProblem, meshes
from objstress.fem.materials.quadrature import Material
from objstress.fem.solve import body
from objstress.io.files import write_json
from objstress.laws.analytic import SaintVenantKirchhoff
from objstress.laws.base import MaterialLaw
from objstress.laws.check import random_deformations
from objstress.laws.compile import compile_law
from objstress.laws.learned import LearnedLaw
from objstress.laws.loading import load_law
from objstress.laws.polynomial import PolynomialLaw
from objstress.models.constitutive import ConstitutiveNetwork
from objstress.models.polynomial import InvariantPolynomial
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import MANDEL, voigt_to_mandel
from objstress.workflows.silicon import random_law

matplotlib.use("Agg")
import matplotlib.pyplot as plt

THREADS = 2
SIZES = (1_000, 10_000, 100_000, 1_000_000)
NEWTON_STEPS = 4


def random_polynomial(symbol: str, degree: int = 6) -> PolynomialLaw:
    """Random invariant coefficients around a stiff quadratic part: every allowed term is there."""
    group = PointGroup(symbol)
    polynomial = InvariantPolynomial(group, degree)
    c = 20.0 * np.random.default_rng(0).normal(size=len(polynomial.degrees))
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    quadratic = InvariantPolynomial(group, 2)
    target = x.numpy() @ voigt_to_mandel(cubic_stiffness(160.0, 60.0, 50.0))
    design = quadratic.design(x).reshape(target.size, -1)
    stiff = np.linalg.lstsq(design, target.ravel(), rcond=None)[0]
    c[: len(stiff)] = 0.1 * c[: len(stiff)] + stiff
    polynomial.set_coefficients(c)
    return PolynomialLaw(polynomial, group)


def medians(jobs: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each job, all of them in turn, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(repeats + 1):
        for name, job in jobs.items():
            begun = time.perf_counter()
            job()
            if round_:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def throughput(compiled: PolynomialLaw, original: MaterialLaw) -> dict[str, float]:
    """Points a second of W, P and A together."""
    many = torch.tensor(random_deformations(100_000, 0.05, np.random.default_rng(0)))
    few = many[:128]
    seconds = medians(
        {
            "compiled": lambda: compiled.response(many, 2) and None,
            "original": lambda: original.response(few, 2) and None,
        },
        repeats=7,
    )
    fast = len(many) / float(np.median(seconds["compiled"]))
    slow = len(few) / float(np.median(seconds["original"]))
    return {"compiled": fast, "original": slow, "ratio": fast / slow}


class PlainUfl(Material):
    """Saint-Venant-Kirchhoff as a textbook writes it, differentiated by UFL: the yardstick."""

    energy = np.zeros(1)

    def _evaluate(self, tangent: bool) -> None:
        pass

    def residual(self, v: Any) -> Any:
        c = voigt_to_mandel(self.law.stiffness())
        c = ufl.as_tensor(np.einsum("aij,ab,bkl->ijkl", MANDEL, c, MANDEL).tolist())
        f = ufl.Identity(3) + ufl.grad(self.u)
        e = 0.5 * (f.T * f - ufl.Identity(3))
        i, j, k, l = ufl.indices(4)
        s = ufl.as_tensor(c[i, j, k, l] * e[k, l], (i, j))
        self.form = ufl.inner(f * s, ufl.grad(v)) * self.dx
        return self.form

    def jacobian(self, du: Any, v: Any) -> Any:
        return ufl.derivative(self.form, self.u, du)


def stretched_block(law: MaterialLaw, assembly: str, cells: int) -> StaticProblem:
    """A cube of hexahedra, pulled by 4 % and sheared by 2 %, exactly four Newton steps: the
    extrapolation and three of SNES (a softening law would take one more, which is no cost of its
    evaluation)."""
    return StaticProblem(
        meshes.box((1.0, 1.0, 1.0), (cells, cells, cells)),
        law,
        [Displacement("x=min", (0.0, 0.0, 0.0)), Displacement("x=max", (0.04, 0.02, None))],
        assembly=assembly,
        petsc_options={"snes_max_it": NEWTON_STEPS - 1, "snes_rtol": 1e-50, "snes_atol": 0.0},
    )


def solve_ratios(compiled: PolynomialLaw, cells: int, repeats: int) -> dict[str, Any]:
    """Seconds of one load step by each way of assembling, and over plain UFL of the same C."""
    svk = SaintVenantKirchhoff(compiled.stiffness())
    with patch.object(body, "QuadratureMaterial", PlainUfl):
        problems = {"plain UFL": stretched_block(svk, "quadrature", cells)}
    begun = time.perf_counter()
    problems["compiled, in the form"] = stretched_block(compiled, "ufl", cells)
    made = time.perf_counter() - begun
    problems["compiled, quadrature"] = stretched_block(compiled, "quadrature", cells)
    problems["Saint-Venant-Kirchhoff, quadrature"] = stretched_block(svk, "quadrature", cells)

    def step(p: StaticProblem) -> None:
        p.u.x.array[:] = 0.0
        p.settle(0.0)
        p.step(1.0)

    jobs = {name: (lambda p=p: step(p)) for name, p in problems.items()}
    seconds = medians(jobs, repeats)
    base = np.array(seconds["plain UFL"])
    return {
        "cells": cells,
        "newton_steps": {name: len(p.newton.corrections) for name, p in problems.items()},
        "problem_with_form_made_in_s": made,
        "seconds": {name: float(np.median(s)) for name, s in seconds.items()},
        # Neighbours in time see the same load of the machine: the median of their ratios.
        "ratio": {name: float(np.median(np.array(s) / base)) for name, s in seconds.items()},
    }


def cost_of_points(law: PolynomialLaw) -> list[dict[str, float]]:
    """Seconds and peak memory of W, P and A at 10^3 to 10^6 points, a process of its own each."""
    code = """
import json, re, sys, time
import torch
from objstress import load_law
torch.set_num_threads(int(sys.argv[3]))
law, n = load_law(sys.argv[1]), int(sys.argv[2])
f = torch.rand(n, 3, 3, dtype=torch.float64).mul_(0.01).add_(torch.eye(3))
law.response(f[:1000], 2)
begun = time.perf_counter()
law.response(f, 2)
seconds = time.perf_counter() - begun
# Not getrusage: that one remembers the process that started this one.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e6
print(json.dumps({"points": n, "seconds": seconds, "peak_GB": peak}))
"""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.law"
        law.save(path)
        for n in SIZES:
            command = [sys.executable, "-W", "ignore", "-c", code, str(path), str(n), str(THREADS)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout))
    return rows


def draw(results: dict[str, Any], path: Path) -> None:
    """Cost against points, and the load step by each way of assembling."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), dpi=200, layout="constrained")
    for (name, result), marker in zip(results.items(), "osD^v", strict=False):
        rows = result["cost"]
        points = [r["points"] for r in rows]
        left.loglog(points, [r["seconds"] for r in rows], marker=marker, label=name)
        for r in rows[-1:]:
            left.annotate(
                f"{r['peak_GB']:.2f} GB",
                (r["points"], r["seconds"]),
                xytext=(-4, -12),
                textcoords="offset points",
                ha="right",
                fontsize="x-small",
            )
    left.set(xlabel="points", ylabel="seconds for W, P and A", title="compiled laws")
    left.grid(alpha=0.25)
    left.legend(frameon=False, fontsize="small")
    names = list(next(iter(results.values()))["solve"]["ratio"])
    width = 0.8 / len(results)
    for k, (name, result) in enumerate(results.items()):
        ratios = [result["solve"]["ratio"][n] for n in names]
        right.barh(np.arange(len(names)) + k * width, ratios, width, label=name)
    right.set_yticks(np.arange(len(names)) + 0.4 - width / 2, names)
    right.axvline(1.0, color="k", lw=0.9, ls=":")
    cells = next(iter(results.values()))["solve"]["cells"]
    right.set(xlabel="time over plain UFL", title=f"{cells}^3 hexahedra, {NEWTON_STEPS} steps")
    figure.savefig(path)
    plt.close(figure)


def make_claims(results: dict[str, Any]) -> list[Claim]:
    """Two bars for the law itself, two for the finite elements, one for memory; each group."""
    claims = []
    for name, r in results.items():
        speed, ratio = r["points_per_second"], r["solve"]["ratio"]
        claims += [
            Claim(f"{name}: W, P and A", speed["compiled"], 2e5, "points/s", at_least=True),
            Claim(f"{name}: over the uncompiled network", speed["ratio"], 30, "x", at_least=True),
            Claim(f"{name}: load step, quadrature / plain UFL", ratio["compiled, quadrature"], 1.3),
            Claim(
                f"{name}: load step, in the form / plain UFL", ratio["compiled, in the form"], 1.1
            ),
            Claim(f"{name}: memory at 10^6 points", r["cost"][-1]["peak_GB"], 2.0, "GB"),
        ]
        if r["compiled"]:
            worst = r["compiled"]["worst_error"]
            claims.append(Claim(f"{name}: worst stress error of compiling", worst, 1e-3))
    return claims


def pairs(files: list[Path], tolerance: float) -> dict[str, tuple[PolynomialLaw, MaterialLaw]]:
    """{name: compiled law, law to compare with}."""
    if not files:
        return {s: (random_polynomial(s), random_law(PointGroup(s))) for s in ("m-3m", "32")}
    found: dict[str, tuple[PolynomialLaw, MaterialLaw]] = {}
    for path in files:
        law = load_law(path, outside="ignore")
        if not isinstance(law, LearnedLaw):
            raise InputError(f"{path}: not a learned law")
        network = law.network or ConstitutiveNetwork(law.structure, law.point_group)
        slow = LearnedLaw(law.structure, law.point_group, law.polynomial, network)
        compiled = compile_law(law, tolerance)
        assert isinstance(compiled, PolynomialLaw)
        found[f"{path.stem} ({law.point_group.symbol})"] = (compiled, slow)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="what compiling a law brings")
    parser.add_argument("laws", nargs="*", type=Path, help="law files; random laws without any")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of compiling the files")
    parser.add_argument("--cells", type=int, default=20, help="hexahedra along an edge")
    parser.add_argument("--repeats", type=int, default=5, help="load steps of each kind")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    results: dict[str, Any] = {}
    for name, (compiled, original) in pairs(arguments.laws, arguments.tolerance).items():
        results[name] = {
            "degree": compiled.degree,
            "terms": len(compiled.polynomial.terms()),
            "compiled": compiled.metadata.get("compiled"),
            "points_per_second": throughput(compiled, original),
            "solve": solve_ratios(compiled, arguments.cells, arguments.repeats),
            "cost": cost_of_points(compiled),
        }
    claims = make_claims(results)
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw(results, arguments.out / "compiled.png")
    (arguments.out / "compiled.md").write_text(f"# Compiled laws\n\n{claims_table(claims)}\n")
    write_json(
        arguments.out / "compiled.json",
        {
            "claims": [claim.to_dict() for claim in claims],
            "laws": results,
            "load_at_end": os.getloadavg(),
            "environment": environment(),
        },
    )
    print(claims_table(claims))


if __name__ == "__main__":
    main()
