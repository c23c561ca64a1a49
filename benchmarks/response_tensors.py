"""Dielectric and piezoelectric tensors and Born charges by networks, five-fold, on DFPT's crystals.

`python -m benchmarks.response_tensors` trains on four fifths of data/tensors/response.json and asks
for the rest, five times for each kind, beside a plain predictor of each: the mean of the training
set times the unit matrix (dielectric), no piezoelectricity, and oxidation states times the unit
matrix (Born charges). Piezoelectric tensors are those of crystals without an inversion centre.
Writes response_tensors.json. With --reuse kinds that are stored are not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure

from benchmarks.stored import add_reuse, made, stored_rows
from objstress.io.files import write_json
from objstress.models.crystal_tensor import UNITS, CrystalTensorSettings
from objstress.reports import Claim, claims_table, environment
from objstress.training.tensors.data import read_crystal_tensors
from objstress.training.tensors.fit import TensorTraining, fit_tensors

DATA = Path(__file__).parents[1] / "data" / "tensors" / "response.json"
KEYS = {
    "dielectric": "dielectric",
    "piezoelectric": "piezoelectric",
    "born charges": "born_charges",
}
FOLDS = 5
TRAINING = TensorTraining(members=2, epochs=120)


def plain(kind: str, train: list[np.ndarray], cell: Structure) -> np.ndarray:
    """What one would say without a network."""
    if kind == "dielectric":
        return np.mean([np.trace(t) / 3 for t in train]) * np.eye(3)
    if kind == "piezoelectric":
        return np.zeros((3, 3, 3))
    known = cell.copy()
    known.add_oxidation_state_by_guess()
    return np.array([site.specie.oxi_state for site in known])[:, None, None] * np.eye(3)


def measure(kind: str) -> dict[str, Any]:
    """Errors of both, five-fold: the mean over crystals of the largest entry that is wrong."""
    structures, tensors = read_crystal_tensors(DATA, kind, KEYS[kind])
    if kind == "piezoelectric":
        kept = [k for k, t in enumerate(tensors) if np.abs(t).max() > 1e-3]
        structures, tensors = [structures[k] for k in kept], [tensors[k] for k in kept]
    order = np.random.default_rng(0).permutation(len(structures))
    begun, rows = time.perf_counter(), []
    for test in np.array_split(order, FOLDS):
        train = np.setdiff1d(order, test)
        ensemble = fit_tensors(
            [structures[k] for k in train],
            [tensors[k] for k in train],
            CrystalTensorSettings(kind=kind, edge_lmax=3, later_lmax=3),
            TRAINING,
        )
        said = ensemble.predict([structures[k] for k in test])
        for k, p in zip(test, said, strict=True):
            simple = plain(kind, [tensors[i] for i in train], structures[k])
            rows.append({
                "formula": structures[k].composition.reduced_formula,
                "largest": float(np.abs(tensors[k]).max()),
                "network": float(np.abs(p.tensor - tensors[k]).max()),
                "plain": float(np.abs(simple - tensors[k]).max()),
                "distance": p.distance,
            })  # fmt: skip
    errors = {name: float(np.mean([r[name] for r in rows])) for name in ("network", "plain")}
    medians = {name: float(np.median([r[name] for r in rows])) for name in ("network", "plain")}
    return {
        "crystals": len(rows),
        "unit": UNITS[kind],
        "mean_of_largest_error": errors,
        "median_of_largest_error": medians,
        "mean_of_largest_entry": float(np.mean([r["largest"] for r in rows])),
        "rows": rows,
        "seconds": time.perf_counter() - begun,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="DFPT's tensors by networks, five-fold")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    add_reuse(parser)
    arguments = parser.parse_args()
    path = arguments.out / "response_tensors.json"
    torch.set_num_threads(1)
    crystals = len(json.loads(DATA.read_text()))
    settings = {"folds": FOLDS, "training": str(TRAINING), "crystals": crystals}
    kinds = stored_rows(path, settings, "kinds", arguments.reuse) or {}
    for kind in KEYS:
        if kind not in kinds:
            kinds[kind] = measure(kind) | made()
        claims = [
            Claim(f"{name}: network over the plain predictor, mean of the largest wrong entry",
                  k["mean_of_largest_error"]["network"] / k["mean_of_largest_error"]["plain"], 0.6)
            for name, k in kinds.items()
        ]  # fmt: skip
        write_json(path, {
            "claims": [c.to_dict() for c in claims],
            "settings": settings,
            "kinds": kinds,
            "environment": environment() | {"training_dtype": "float32"},
        })  # fmt: skip
    for name, k in kinds.items():
        print(
            name, k["crystals"], k["unit"], k["mean_of_largest_error"], k["median_of_largest_error"]
        )
    print(claims_table(claims))


if __name__ == "__main__":
    main()
