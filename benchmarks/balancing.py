"""Ways of balancing four losses: fixed, two stages, SoftAdapt and GradNorm, three seeds each.

`python -m benchmarks.balancing` trains small potentials with energy, forces, dipole and
polarizability on 300 frames of water, all with the same number of steps and the same start, and
tests them on the held-out frames: balancing.json, balancing.png. With --reuse fits that are stored
are not done again.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from ase.io import read, write

from benchmarks.stored import add_reuse, made, stored_rows
from objstress.io.files import write_json
from objstress.reports import environment
from objstress.training.potential.evaluate import evaluate_potential
from objstress.training.potential.fit import fit_potential
from objstress.training.potential.settings import settings_from

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DATA = Path(__file__).parents[1] / "data" / "molecules"
TARGETS = ("energy", "forces", "dipole", "polarizability")
EQUAL = dict.fromkeys(TARGETS, 1.0)
METHODS: dict[str, dict[str, Any]] = {
    "fixed, all alike": {"method": "fixed", "weights": EQUAL},
    "fixed, forces x 10": {"method": "fixed", "weights": EQUAL | {"forces": 10.0}},
    "two-stage": {
        "method": "two-stage",
        "weights": EQUAL | {"forces": 10.0},
        "later": EQUAL | {"energy": 10.0},
    },
    "softadapt": {"method": "softadapt", "weights": EQUAL},
    "gradnorm": {"method": "gradnorm", "weights": EQUAL},
}
SEEDS = (0, 1, 2)
FRAMES, EPOCHS = 300, 40


def run(method: str, seed: int) -> dict[str, Any]:
    """Test errors of one training."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.extxyz"
        write(file, read(DATA / "water-train.extxyz", f":{FRAMES}"))
        potential = fit_potential(
            settings_from(
                {
                    "data": str(file),
                    "keys": {t: t for t in TARGETS},
                    "model": {"channels": 16, "cutoff": 5.0},
                    "balancing": METHODS[method],
                    "training": {"epochs": EPOCHS, "seed": seed},
                }
            )
        )
    found = evaluate_potential(potential, DATA / "water-test.extxyz")["targets"]
    return {
        "method": method,
        "seed": seed,
        "rmse": {t: found[t]["rmse"] for t in TARGETS},
        "weights": potential.metadata["weights"],
        "minutes": potential.metadata["minutes"],
    }


def summary(fits: list[dict[str, Any]]) -> dict[str, Any]:
    """{method: {target: mean and standard deviation over seeds}} and the mean relative error."""
    rows: dict[str, Any] = {}
    for method in METHODS:
        own = [f["rmse"] for f in fits if f["method"] == method]
        if own:
            values = {t: np.array([f[t] for f in own]) for t in TARGETS}
            rows[method] = {
                t: {"mean": float(v.mean()), "deviation": float(v.std(ddof=len(v) > 1))}
                for t, v in values.items()
            }
    first = rows["fixed, all alike"]
    for row in rows.values():
        ratios = [row[t]["mean"] / first[t]["mean"] for t in TARGETS]
        row["geometric_mean_over_fixed"] = float(np.exp(np.mean(np.log(ratios))))
    return rows


def draw(rows: dict[str, Any], path: Path) -> None:
    """Errors over those of fixed, equal weights."""
    figure, axes = plt.subplots(figsize=(7, 3.2), dpi=160)
    first = rows["fixed, all alike"]
    for k, (method, row) in enumerate(rows.items()):
        x = np.arange(len(TARGETS)) + 0.16 * (k - 2)
        y = [row[t]["mean"] / first[t]["mean"] for t in TARGETS]
        e = [row[t]["deviation"] / first[t]["mean"] for t in TARGETS]
        axes.bar(x, y, 0.15, yerr=e, capsize=2, label=method)
    axes.set_xticks(range(len(TARGETS)), TARGETS)
    axes.set_ylabel("test RMSE over that of\nfixed, equal weights")
    axes.axhline(1, color="black", lw=0.8)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="ways of balancing losses")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    add_reuse(parser)
    arguments = parser.parse_args()
    out = arguments.out
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "balancing.json"
    settings = {"frames": FRAMES, "epochs": EPOCHS, "methods": METHODS}
    fits = stored_rows(path, settings, "fits", arguments.reuse) or []
    for seed in SEEDS:
        for method in METHODS:
            if any((f["method"], f["seed"]) == (method, seed) for f in fits):
                continue
            fits.append(run(method, seed) | made())
            content = {
                "claims": [],
                "units": "eV/atom, eV/Angstrom, e Angstrom, Angstrom^3",
                "settings": settings,
                "rows": summary(fits),
                "fits": fits,
                "environment": environment() | {"training_dtype": "float32"},
            }
            write_json(path, content)
    rows = summary(fits)
    draw(rows, out / "balancing.png")
    print("| test RMSE | E, meV/atom | F, meV/A | dipole, me A | alpha, 1e-3 A^3 | mean |")
    print("|" + " --- |" * 6)
    for method, row in rows.items():
        cells = [f"{1e3 * row[t]['mean']:.2f} ± {1e3 * row[t]['deviation']:.2f}" for t in TARGETS]
        mean = f"{row['geometric_mean_over_fixed']:.2f}"
        print(f"| {method} | " + " | ".join(cells) + f" | {mean} |")


if __name__ == "__main__":
    main()
