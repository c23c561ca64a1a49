"""Elastic tensors of 67 DFT crystals by a network and by a corrected potential, five-fold.

`python -m benchmarks.crystal_tensors` trains an ensemble on four fifths of the crystals and asks it
for the rest, five times, beside the mean of the training set and gradient boosting on the
composition (means, deviations and extremes of `element_descriptors`, and the volume an atom); the
same folds for all. The same four fifths correct the tensors of a universal potential, which are
kept in out/bench. Writes crystal_tensors.json and .png. With --reuse folds that are
stored are not done again; the corrections take seconds and always are.
Data: the sample of Materials Project tensors published with MatTen (Wen et al.,
arXiv:2307.15242), in the file `--data`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from pymatgen.core import Structure
from sklearn.ensemble import GradientBoostingRegressor

from benchmarks.stored import add_reuse, made, stored_rows
from objstress.elasticity.averages import polycrystal_averages
from objstress.errors import InputError
from objstress.graphs.elements import element_descriptors
from objstress.io.files import write_json
from objstress.models.corrected_tensors import CorrectedTensors, PriorTensor
from objstress.models.crystal_tensor import CrystalTensorSettings
from objstress.properties.prior import prior_tensors
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.voigt import tensor_to_voigt, voigt_to_tensor
from objstress.training.tensors.correction import correct_tensors
from objstress.training.tensors.data import read_crystal_tensors
from objstress.training.tensors.fit import TensorTraining, fit_tensors

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDS = 5
SETTINGS = CrystalTensorSettings(kind="elastic")
TRAINING = TensorTraining(members=4, epochs=150)
PRIOR = "sevennet"
KEPT = Path("out/bench/crystal-tensors-sevennet.json")
PREDICTORS = ("tensor network", "gradient boosting", "mean")
BARS = {"K": 0.12, "G": 0.35}
"""Of the corrected potential's errors, over those of the mean."""


def moduli(voigt: np.ndarray) -> tuple[float, float]:
    """Hill's K and G, GPa."""
    hill = polycrystal_averages(voigt).hill
    return hill.bulk, hill.shear


def composition(structure: Structure) -> np.ndarray:
    """What gradient boosting sees."""
    rows = element_descriptors()[[site.specie.Z - 1 for site in structure]]
    volume = [np.log(structure.volume / len(structure))]
    return np.concatenate(
        [rows.mean(axis=0), rows.std(axis=0), rows.min(axis=0), rows.max(axis=0), volume]
    )


def boosted(train: list[Structure], targets: np.ndarray, test: list[Structure]) -> np.ndarray:
    """K and G by gradient boosting of their logarithms, an average of five seeds."""
    x, y = np.array([composition(s) for s in train]), np.array([composition(s) for s in test])
    columns = [
        np.mean(
            [
                GradientBoostingRegressor(
                    loss="huber", n_estimators=300, max_depth=3, learning_rate=0.05,
                    subsample=0.7, random_state=seed,
                ).fit(x, np.log(target)).predict(y)
                for seed in range(5)
            ],
            axis=0,
        )
        for target in targets.T
    ]  # fmt: skip
    return np.exp(np.array(columns).T)


def fold(
    train: np.ndarray, test: np.ndarray, structures: list[Structure], constants: np.ndarray
) -> dict[str, Any]:
    """K and G of the test crystals by each predictor, and what the ensemble says of itself."""
    begun = time.perf_counter()
    ensemble = fit_tensors(
        [structures[i] for i in train],
        [voigt_to_tensor(constants[i]) for i in train],
        SETTINGS,
        TRAINING,
    )
    found = ensemble.predict([structures[i] for i in test])
    targets = np.array([moduli(constants[i]) for i in train])
    others = boosted([structures[i] for i in train], targets, [structures[i] for i in test])
    return {
        "test": test.tolist(),
        "tensor network": [moduli(tensor_to_voigt(p.tensor)) for p in found],
        "gradient boosting": others.tolist(),
        "mean": [targets.mean(axis=0).tolist()] * len(test),
        "stiffness_GPa": [tensor_to_voigt(p.tensor).tolist() for p in found],
        "deviation_GPa": [float(np.sqrt(np.mean(p.deviation**2))) for p in found],
        "distance": [p.distance for p in found],
        "seconds": time.perf_counter() - begun,
    }


def corrected(
    structures: list[Structure], tensors: list[np.ndarray], truth: np.ndarray, order: np.ndarray
) -> dict[str, Any]:
    """K and G by the potential as it is, by one factor each, and corrected, in `order`."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    priors = prior_tensors(structures, PRIOR, KEPT)
    unstable = [i for i, t in enumerate(priors) if t is None or not PriorTensor.of(t).stable]
    # Tensors with small and negative stiffnesses raised, of which averages are defined.
    none = CorrectedTensors(PRIOR, 0.0, np.zeros(3), np.zeros(2), {})
    raised = np.array([_moduli(none, s, t) for s, t in zip(structures, priors, strict=True)])
    rows: dict[str, list[Any]] = {"potential": [], "one factor": [], "corrected": []}
    for test in np.array_split(order, FOLDS):
        train = np.setdiff1d(order, test, assume_unique=True)
        correction = correct_tensors(
            [structures[i] for i in train],
            [tensors[i] for i in train],
            PRIOR,
            [priors[i] for i in train],
        )
        rows["corrected"] += [_moduli(correction, structures[i], priors[i]) for i in test]
        factor = np.median(truth[train] / raised[train], axis=0)
        rows["one factor"] += (factor * raised[test]).tolist()
        rows["potential"] += raised[test].tolist()
    return {
        **rows,
        "test": order.tolist(),
        "unstable": [structures[i].composition.reduced_formula for i in unstable],
        "stable": [i not in unstable for i in order],
        "median_seconds": float(
            np.median([row["seconds"] for row in json.loads(KEPT.read_text())["crystals"].values()])
        ),
    } | made()


def _moduli(
    correction: CorrectedTensors, structure: Structure, prior: np.ndarray | None
) -> tuple[float, float]:
    if prior is None:
        raise InputError(f"{structure.composition.reduced_formula}: no tensor by {PRIOR}")
    return moduli(tensor_to_voigt(correction.correct(structure, prior).tensor))


def draw(rows: dict[str, np.ndarray], truth: np.ndarray, path: Path) -> None:
    """Predicted against DFT, both moduli."""
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.1), dpi=160, layout="constrained")
    for k, (panel, name) in enumerate(zip(axes, ("bulk", "shear"), strict=True)):
        reach = 1.08 * truth[:, k].max()
        panel.plot([0, reach], [0, reach], color="black", lw=0.8)
        panel.plot(truth[:, k], rows["gradient boosting"][:, k], "x", color="#999999", ms=5,
                   label="gradient boosting")  # fmt: skip
        panel.plot(truth[:, k], rows["tensor network"][:, k], "o", color="#0072b2", ms=4,
                   label="tensor network")  # fmt: skip
        panel.plot(truth[:, k], rows["corrected"][:, k], "s", color="#d55e00", ms=4,
                   label=f"{PRIOR}, corrected")  # fmt: skip
        panel.set(xlabel=f"{name} modulus by DFT, GPa", ylabel="predicted, GPa",
                  xlim=(0, reach), ylim=(0, reach), aspect="equal")  # fmt: skip
    axes[0].legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


def answers(
    folds: list[dict[str, Any]], priors: dict[str, Any], truth: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """{predictor: K and G of the crystals asked for so far}, and what DFT says of them."""
    rows = {name: np.concatenate([f[name] for f in folds]) for name in PREDICTORS}
    asked = np.concatenate([f["test"] for f in folds])
    rows |= {
        name: np.array(priors[name])[: len(asked)]
        for name in ("potential", "one factor", "corrected")
    }
    return rows, truth[asked]


def errors_of(rows: dict[str, np.ndarray], truth: np.ndarray) -> dict[str, np.ndarray]:
    """Mean absolute errors of K and G, GPa."""
    return {name: np.abs(found - truth).mean(axis=0) for name, found in rows.items()}


def make_claims(errors: dict[str, np.ndarray]) -> list[Claim]:
    return [
        Claim(f"MAE of {modulus}: {what} over the mean of the training set",
              float(errors[name][k] / errors["mean"][k]), bars[modulus])
        for name, what, bars in (
            ("tensor network", "tensor network", {"K": 0.6, "G": 0.6}),
            ("corrected", f"{PRIOR}, corrected", BARS),
        )
        for k, modulus in enumerate(("K", "G"))
    ]  # fmt: skip


def summary(
    folds: list[dict[str, Any]], priors: dict[str, Any], truth: np.ndarray
) -> dict[str, Any]:
    """What is reported of the folds done so far."""
    rows, there = answers(folds, priors, truth)
    stable = np.array(priors["stable"])[: len(there)]
    errors = errors_of(rows, there)
    gap = np.abs(rows["tensor network"] - there)[:, 0] / there[:, 0]
    distance = np.concatenate([f["distance"] for f in folds])
    near = distance <= np.median(distance)
    return {
        "claims": [c.to_dict() for c in make_claims(errors)],
        "crystals": len(there),
        "MAE_GPa": {name: {"K": float(e[0]), "G": float(e[1])} for name, e in errors.items()},
        "MAE_GPa_where_the_potential_is_stable": {
            name: dict(zip("KG", np.abs(found - there)[stable].mean(axis=0).tolist(), strict=True))
            for name, found in rows.items()
        },
        "median_relative_error_of_K": {
            "nearer half": float(np.median(gap[near])),
            "farther half": float(np.median(gap[~near])),
        },
    }


def report(
    folds: list[dict[str, Any]], priors: dict[str, Any], truth: np.ndarray, plot: Path
) -> None:
    """The plot, and the tables on standard output."""
    rows, there = answers(folds, priors, truth)
    errors = errors_of(rows, there)
    draw(rows, there, plot)
    lines = ["| predictor | MAE of K, GPa | MAE of G, GPa |", "| --- | --- | --- |"]
    lines += [f"| {name} | {e[0]:.1f} | {e[1]:.1f} |" for name, e in errors.items()]
    print("\n".join(lines), claims_table(make_claims(errors)), sep="\n\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="elastic tensors by a network, five-fold")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data/elastic-tensors/dft-elastic-tensors.json"),
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    add_reuse(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    structures, tensors = read_crystal_tensors(arguments.data)
    constants = np.array([tensor_to_voigt(t) for t in tensors])
    truth = np.array([moduli(c) for c in constants])
    order = np.random.default_rng(0).permutation(len(structures))
    path = arguments.out / "crystal_tensors.json"
    # The accelerator changes no row.
    training = str(TRAINING).replace(f", accelerator={TRAINING.accelerator!r}", "")
    settings = {"folds": FOLDS, "network": str(SETTINGS), "training": training}
    folds = stored_rows(path, settings, "folds", arguments.reuse) or []
    priors = corrected(structures, tensors, truth, order)

    def keep() -> None:
        content = summary(folds, priors, truth) | {
            "settings": settings,
            "folds": folds,
            "prior": priors,
            "environment": environment() | {"training_dtype": "float32"},
        }
        write_json(path, content)

    for test in np.array_split(order, FOLDS)[len(folds) :]:
        train = np.setdiff1d(order, test, assume_unique=True)
        folds.append(fold(train, test, structures, constants) | made())
        keep()
    keep()
    report(folds, priors, truth, arguments.out / "crystal_tensors.png")


if __name__ == "__main__":
    main()
