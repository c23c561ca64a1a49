"""A block of a lattice that buckles, pressed by a quarter: `python -m benchmarks.buckling`.

The law is the one that `benchmarks.lattices` wrote of the bcc cell; the block, twice as high as it
is wide, is glued to two plates. Newton's method halves the steps that it cannot take. Writes
buckling.json, buckling.png (the deformed block) and buckling_curve.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from objstress.errors import ConvergenceError
from objstress.fem import Displacement, StaticProblem, meshes, plot_field
from objstress.io.files import write_json
from objstress.laws.compile import compile_law
from objstress.laws.loading import load_law
from objstress.reports import Claim, claims_table, environment

PRESSED = 0.25
CELLS = (6, 6, 12)
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="a pressed block of a lattice")
    parser.add_argument("--law", type=Path, default=Path("benchmarks/results/lattices/BCC.law"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    mesh = meshes.box((1, 1, 2), CELLS)
    plates = [
        Displacement("z=min", (0, 0, 0), "bottom"),
        Displacement("z=max", (0, 0, -2 * PRESSED), "top"),
    ]
    law = compile_law(load_law(arguments.law, outside="ignore"), kind="torch")
    problem = StaticProblem(mesh, law, plates)
    began = time.perf_counter()
    try:
        problem.solve(STEPS, smallest=1 / 64)
    except ConvergenceError as error:  # a missed claim is stored as one
        print(error)
    history = problem.history
    seconds = time.perf_counter() - began
    rows = [
        {
            "compression": PRESSED * r.load,
            "force_GPa": -float(r.reactions["top"][2]),
            "iterations": len(r.residuals) - 1,
            "rejected": r.rejected,
            "min_J": r.min_J,
            "outside": r.outside / r.points,
        }
        for r in history
    ]
    softest = np.diff([0.0, *(row["force_GPa"] for row in rows)]) / np.diff(
        [0.0, *(row["compression"] for row in rows)]
    )
    claims = [
        Claim("share of the compression that is reached", history[-1].load, 1.0, at_least=True),
        Claim("steps taken back, at one load", max(row["rejected"] for row in rows), 4),
    ]
    print(claims_table(claims))
    write_json(
        arguments.out / "buckling.json",
        {
            "claims": [c.to_dict() for c in claims],
            "rows": rows,
            "slope_GPa": softest.tolist(),
            "cells": CELLS,
            "seconds": seconds,
            "environment": environment(),
        },
    )
    plot_field(problem, arguments.out / "buckling.png", "green_lagrange_zz")
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axes.plot(
        [0, *(100 * row["compression"] for row in rows)],
        [0, *(1e6 * row["force_GPa"] for row in rows)],
        ".-",
    )
    axes.set(xlabel="compression, %", ylabel="force / area, kPa")
    figure.savefig(arguments.out / "buckling_curve.png", dpi=150)


if __name__ == "__main__":
    main()
