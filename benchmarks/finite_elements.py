"""The finite elements against published and closed answers, and what they cost.

`python -m benchmarks.finite_elements [--only NAME ...]` writes finite_elements.json, .md and .png:
Cook's membrane, manufactured solutions, Hertz's contact, a polycrystal of copper, runs that are
killed, and time and memory against cells and ranks. Laws are in closed form but copper's, whose
constants are those of data/crystals.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from objstress.elasticity.bounds import isotropic_bounds, isotropic_moduli, rotated_stiffness
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.orientations import orientation, random_orientations
from objstress.fem import Grains, PeriodicCell, Voronoi, meshes, random_seeds, verification
from objstress.io.files import write_json, write_whole
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
from objstress.reports import Claim, claims_table, environment

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
COPPER = cubic_stiffness(169.9, 122.6, 76.2)
"""GPa, of Mishin's potential as data/crystals has it."""
SILICON = cubic_stiffness(162.4, 63.9, 77.7)
COOK = {1: [8.638, 12.07, 13.86, 14.49, 14.67], 2: [14.30, 14.65, 14.71, 14.73, 14.74]}
"""u_y at (48, 52) mm with 2, 4, 8, 16, 32 elements a side, deal.II's code gallery."""


def cook() -> tuple[dict[str, Any], list[Claim]]:
    """Cook's membrane, degree 1 and 2."""
    rows, worst = [], 0.0
    for degree, published in COOK.items():
        for n, value in zip((2, 4, 8, 16, 32), published, strict=True):
            found = verification.cooks_membrane(n, degree)
            worst = max(worst, abs(found / value - 1))
            rows.append({"degree": degree, "elements": n, "mm": found, "published_mm": value})
    return {"rows": rows}, [Claim("Cook's membrane, ten meshes, worst u_y", worst, 0.002)]


def convergence() -> tuple[dict[str, Any], list[Claim]]:
    """Orders of the error for a turned cubic crystal."""
    c = rotated_stiffness(COPPER, random_orientations(1))[0]
    rows, worst = [], 0.0
    for degree, sizes in ((1, (4, 8, 16)), (2, (3, 6, 12))):
        errors = [verification.manufactured_errors(c, n, degree) for n in sizes]
        orders = np.log2(np.array(errors[-2]) / np.array(errors[-1]))
        worst = max(worst, *np.abs(orders - [degree + 1, degree]).tolist())
        rows.append({"degree": degree, "cells": sizes, "errors": errors, "orders": orders.tolist()})
    return {"rows": rows}, [
        Claim("observed orders less p + 1 (L2) and p (H1), p = 1, 2", worst, 0.1, "-")
    ]


def hertz() -> tuple[dict[str, Any], list[Claim]]:
    """Hertz's law for an isotropic body; silicon's (100) against (111)."""
    young, nu, radius = 100.0, 0.25, 10.0
    law = NeoHooke(young / 2 / (1 + nu), young * nu / (1 + nu) / (1 - 2 * nu))
    rows = [
        {"depth": d, "force": f, "hertz": 4 / 3 * young / (1 - nu**2) * np.sqrt(radius) * d**1.5}
        for d, f in verification.hertz_indentation(law, radius=radius)
    ]
    worst = max(abs(r["force"] / r["hertz"] - 1) for r in rows)
    silicon = SaintVenantKirchhoff(SILICON, "m-3m")
    faces = {}
    for face in ((1, 0, 0), (1, 1, 1)):
        turn = orientation(face, (0, 0, 1))
        found = verification.hertz_indentation(silicon, turn, cells=12, quarter=False)
        faces["".join(map(str, face))] = found
    ratio = faces["111"][-1][1] / faces["100"][-1][1]
    result = {"rows": rows, "silicon": faces, "silicon_111_over_100": ratio}
    return result, [Claim("Hertz indentation, force at two depths", worst, 0.03)]


def polycrystal() -> tuple[dict[str, Any], list[Claim]]:
    """A hundred copper grains, periodic: moduli against bounds, grains and mesh."""
    law, box = SaintVenantKirchhoff(COPPER, "m-3m"), (1.0, 1.0, 1.0)
    bounds = isotropic_bounds(COPPER)
    rows = []
    linear = [(100, 8), (100, 12), (100, 16), (100, 22), (10, 16), (30, 16), (300, 16)]
    quadratic = [(100, 6), (100, 8), (100, 10), (100, 12)]
    sizes = [(1, *size) for size in linear] + [(2, *size) for size in quadratic]
    for degree, grains, n in sizes:
        texture = Grains(Voronoi(random_seeds(grains, box), box), random_orientations(grains), law)
        cell = PeriodicCell(meshes.box(box, (n, n, n)), texture, box, degree)
        bulk, shear = isotropic_moduli(cell.stiffness())
        row = {"degree": degree, "grains": grains, "cells": n, "bulk": bulk, "shear": shear}
        rows.append(row)
        print(row, flush=True)
    finest = rows[-1]
    exact = (COPPER[0, 0] + 2 * COPPER[0, 1]) / 3
    low, high = bounds.shear
    outside = max(low - finest["shear"], finest["shear"] - high, 0.0)
    result = {
        "rows": rows,
        "bulk_of_the_crystal": exact,
        "shear_hashin_shtrikman": bounds.shear,
        "shear_voigt_reuss": bounds.shear_voigt_reuss,
    }
    return result, [
        Claim("100 copper grains, bulk modulus", abs(finest["bulk"] / exact - 1), 1e-3),
        Claim("100 copper grains, shear outside the Hashin-Shtrikman bounds", outside, 0.0, "GPa"),
    ]


def kills() -> tuple[dict[str, Any], list[Claim]]:
    """kill -9 at ten random moments; each time the resumed run ends the same."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.runs", "polycrystal"]

    def energy(folder: Path | str) -> float:
        done = subprocess.run(
            [*command, str(folder), "0"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        history = json.loads(done.stdout.splitlines()[-1])["polycrystal"]["history"]
        return float(history[-1]["energy"])

    whole, worst, kept = energy("-"), 0.0, []
    rng = random.Random(0)
    for _ in range(10):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "states"
            run = subprocess.Popen(
                [*command, str(folder), "0.1"], cwd=ROOT, stdout=subprocess.DEVNULL
            )
            while not folder.is_dir() and run.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 1.2))
            run.send_signal(signal.SIGKILL)
            run.wait()
            kept.append(len(list(folder.glob("0*.safetensors"))))
            worst = max(worst, abs(energy(folder) / whole - 1))
    return {"states_kept": kept}, [Claim("killed ten times and resumed, energy", worst, 1e-10)]


def cost(largest: int) -> tuple[dict[str, Any], list[Claim]]:
    """Seconds and memory of one load step against size and ranks."""
    rows = []
    mpiexec = Path(sys.executable).with_name("mpiexec")
    for cells, ranks in ((10, 1), (16, 1), (25, 1), (32, 1), (32, 2), (40, 1), (50, 2), (69, 2)):
        if 3 * (cells + 1) ** 3 > largest:
            continue
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.load_step", str(cells)]
        if ranks > 1:
            command = [str(mpiexec), "-n", str(ranks), *command]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    return {"rows": rows}, []


def draw(results: dict[str, Any], path: Path) -> None:
    """Polycrystal's moduli, Hertz's law, errors under refinement, cost."""
    figure, axes = plt.subplots(2, 2, figsize=(9.6, 7.6), layout="constrained")
    a, b, c, d = axes.ravel()
    if "polycrystal" in results:
        p = results["polycrystal"]
        for label, degree, name, value, x in (
            ("100 grains, linear cells along an edge", 1, "grains", 100, "cells"),
            ("100 grains, quadratic cells", 2, "grains", 100, "cells"),
            ("16 linear cells, grains", 1, "cells", 16, "grains"),
        ):
            rows = [r for r in p["rows"] if (r["degree"], r[name]) == (degree, value)]
            rows.sort(key=lambda r, x=x: r[x])
            a.semilogx([r[x] for r in rows], [r["shear"] for r in rows], "o-", label=label)
        for bounds, style, name in (
            (p["shear_hashin_shtrikman"], "--", "Hashin-Shtrikman"),
            (p["shear_voigt_reuss"], ":", "Voigt, Reuss"),
        ):
            for k, value in enumerate(bounds):
                a.axhline(value, color="k", ls=style, lw=1, label=None if k else name)
        a.set(xlabel="grains, or cells along an edge", ylabel="effective shear modulus, GPa")
        a.set_title("polycrystal of copper")
        a.legend(frameon=False, fontsize=7, loc="center right", bbox_to_anchor=(1.0, 0.2))
    if "hertz" in results:
        h = results["hertz"]
        b.plot([r["depth"] for r in h["rows"]], [r["force"] for r in h["rows"]], "o", label="ours")
        x = np.linspace(0, h["rows"][-1]["depth"], 50)
        scale = h["rows"][-1]["hertz"] / h["rows"][-1]["depth"] ** 1.5
        b.plot(x, scale * x**1.5, "k-", lw=1, label="Hertz, E = 100 GPa, nu = 0.25")
        for face, found in h["silicon"].items():
            b.plot(*np.array(found).T, "s--", ms=4, lw=1, label=f"silicon ({face})")
        b.set(xlabel="depth, lengths (R = 10)", ylabel="force, GPa length^2", title="indentation")
        b.legend(frameon=False, fontsize=7)
    if "convergence" in results:
        for row in results["convergence"]["rows"]:
            size = 1 / np.array(row["cells"])
            for k, name in enumerate(("L2", "H1")):
                order = row["orders"][k]
                errors = [e[k] for e in row["errors"]]
                c.loglog(size, errors, "o-", label=f"p = {row['degree']}, {name}: {order:.2f}")
        c.set(xlabel="cell edge", ylabel="error", title="manufactured solution, turned copper")
        c.legend(frameon=False, fontsize=7)
    if "cost" in results:
        for ranks in sorted({r["ranks"] for r in results["cost"]["rows"]}):
            rows = [r for r in results["cost"]["rows"] if r["ranks"] == ranks]
            x = [r["unknowns"] for r in rows]
            d.loglog(x, [r["seconds"] for r in rows], "o-", label=f"{ranks} rank(s), seconds")
            d.loglog(x, [r["peak_GB"] for r in rows], "s:", label=f"{ranks} rank(s), GB in all")
        d.set(xlabel="unknowns", ylabel="one load step: seconds; GB", title="cost")
        d.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="finite elements against other answers")
    parser.add_argument("--only", nargs="*", help="cook, convergence, hertz, polycrystal, ...")
    parser.add_argument("--largest", type=int, default=1_100_000, help="unknowns of the cost table")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], tuple[dict[str, Any], list[Claim]]]] = {
        "cook": cook,
        "convergence": convergence,
        "hertz": hertz,
        "polycrystal": polycrystal,
        "kills": kills,
        "cost": lambda: cost(arguments.largest),
    }
    path = RESULTS / "finite_elements.json"
    stored = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    done: dict[str, Any] = stored["parts"]
    for name in arguments.only or parts:
        begun = time.perf_counter()
        result, claims = parts[name]()
        done[name] = result | {
            "claims": [c.to_dict() for c in claims],
            "bench_seconds": time.perf_counter() - begun,
            "environment": environment(),
        }
        every = [c for part in done.values() for c in part["claims"]]
        write_json(path, {"claims": every, "parts": done})
        print(name, claims_table(claims), sep="\n", flush=True)
    draw(done, RESULTS / "finite_elements.png")
    table = claims_table([Claim(**{k: v for k, v in c.items() if k != "ok"}) for c in every])
    write_whole(RESULTS / "finite_elements.md", f"# Finite elements\n\n{table}\n")


if __name__ == "__main__":
    main()
