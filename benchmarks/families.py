"""One law for 81 lattices of three design parameters: `python -m benchmarks.families`.

Five-fold over lattices: each fifth is predicted by a family fitted to the others with the default
settings of `objstress fit --parameters t1,t2,t3`, beside two ways without a network: polynomials
fitted to each lattice, their coefficients interpolated between the four nearest lattices, and the
lattices' own stresses interpolated in the same way, at the same step of the load: free stretches
differ.
Then 20 labels of each predicted lattice, drawn at random: the family as prior, its parameters
unknown (`fit_member`), beside the polynomial that they alone give; errors on the other labels.
Needs `../shared/data/lattices/parametric.npz` (CPShub, Fernandez, Fritzen, Weeger, Int. J. Numer.
Methods Eng. 123 (2022)). Writes families.json and families.md; `--reuse` goes on from the folds
that are stored.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.units import GPa
from tqdm import tqdm

from benchmarks.lattices import DATA
from benchmarks.stored import add_reuse, made, store, stored_rows
from objstress.graphs.lone_nodes import host_of
from objstress.labels.strain_labels import Labels
from objstress.laws.learned import LearnedLaw
from objstress.models.polynomial import InvariantPolynomial
from objstress.reports import Claim, claims_table
from objstress.symmetry.point_group import PointGroup
from objstress.training.laws.family import fit_family
from objstress.training.laws.family_member import fit_member
from objstress.training.laws.polynomial import StressEquations, fit_polynomial, stress_floor

GROUP = PointGroup("m-3m")
NAMES = ("t1", "t2", "t3")
FOLDS = 5
DEGREE = 6
NEAREST = 4
WAYS = ("family", "coefficients", "stresses")
FEW = 20


def read() -> tuple[Labels, np.ndarray, np.ndarray]:
    """All labels, in units of the beams' Young's modulus; the lattice of each; the parameters."""
    data = np.load(DATA / "parametric.npz")
    f, p = data["F"].astype(float), data["P"].astype(float)
    lattice, t = data["lattice"], data["t"].astype(float)
    cauchy = p @ f.transpose(0, 2, 1) / np.linalg.det(f)[:, None, None]
    structure = host_of(GROUP)
    energy = data["W"].astype(float) * GPa * structure.volume
    labels = Labels(
        structure, f, cauchy, energy, "unlisted", "lattices", lone=True, parameters=t[lattice]
    )
    return labels, lattice, t


def relative(gap: np.ndarray, stress: np.ndarray) -> float:
    return float(np.linalg.norm(gap) / np.linalg.norm(stress))


def polynomial_of(labels: Labels) -> np.ndarray:
    """Coefficients of the polynomial that is fitted to one lattice."""
    equations = StressEquations(labels, GROUP, stress_floor(labels, GROUP), 2)
    equations.cases = np.zeros(len(labels), int)
    return equations.solve(DEGREE, 1e-8).coefficients.numpy()


def weights(t: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest lattices and the weight of each, by inverse distance."""
    distance = np.linalg.norm(t - at, axis=1)
    nearest = np.argsort(distance)[:NEAREST]
    weight = 1 / np.maximum(distance[nearest], 1e-9)
    return nearest, weight / weight.sum()


def fold(number: int, labels: Labels, lattice: np.ndarray, t: np.ndarray) -> list[dict[str, Any]]:
    """Rows of the lattices of one fold."""
    part = np.random.default_rng(0).permutation(len(t)) % FOLDS
    known = np.flatnonzero(part != number)
    began = time.perf_counter(), time.process_time()
    family = fit_family(
        labels.subset(np.isin(lattice, known)), GROUP, NAMES, held_out=0, progress=False
    )
    family.outside_action = "ignore"
    seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    rows = []
    coefficients = np.array([polynomial_of(labels.subset(lattice == k)) for k in known])
    stresses = np.array([labels.piola[lattice == k] for k in known])
    for k in np.flatnonzero(part == number):
        own = labels.subset(lattice == k)
        piola = own.piola
        member = family.response(own.F, t[k], 1)[1].numpy()
        nearest, weight = weights(t[known], t[k])
        polynomial = InvariantPolynomial(GROUP, DEGREE)
        polynomial.set_coefficients(weight @ coefficients[nearest])
        mixed = LearnedLaw(own.structure, GROUP, polynomial)
        between = np.einsum("k,knij->nij", weight, stresses[nearest])
        drawn = np.isin(np.arange(len(own)), np.random.default_rng(k).permutation(len(own))[:FEW])
        few, other = own.subset(drawn), own.subset(~drawn)
        new = fit_member(few, family)
        alone = LearnedLaw(
            own.structure, GROUP, fit_polynomial(few, GROUP, stress_floor(few, GROUP)).polynomial
        )
        rows.append(
            {
                "fold": number,
                "lattice": int(k),
                "t": t[k].tolist(),
                "family": relative(member - piola, piola),
                "coefficients": relative(mixed.response(own.F, 1)[1].numpy() - piola, piola),
                "stresses": relative(between - piola, piola),
                "few": {
                    name: relative(law.response(other.F, 1)[1].numpy() - other.piola, other.piola)
                    for name, law in (("member", new), ("polynomial", alone))
                },
                "member": new.metadata["member"],
                "seconds": seconds[0],
                "cpu_seconds": seconds[1],
                **made(),
            }
        )
    return rows


def claims_of(rows: list[dict[str, Any]]) -> list[Claim]:
    median = {way: float(np.median([row[way] for row in rows])) for way in WAYS}
    return [
        Claim("family, 81 lattices, five-fold: median relative RMSE", median["family"], 0.08),
        Claim(
            "the same over coefficients interpolated between the nearest lattices",
            median["family"] / median["coefficients"],
            0.5,
        ),
        Claim(
            f"{FEW} labels of a new lattice: polynomial's error over that with the family, median",
            float(np.median([r["few"]["polynomial"] / r["few"]["member"] for r in rows])),
            3.0,
            at_least=True,
        ),
    ]


def table(rows: list[dict[str, Any]], claims: list[Claim]) -> str:
    text = "# Errors\n\nRelative RMSE of P of lattices that the fit has not seen"
    text += ", %:\n\n| way | median | worst |\n| --- | --- | --- |\n"
    names = {
        "family": "one law W(C; t)",
        "coefficients": f"coefficients of degree {DEGREE} between the {NEAREST} nearest",
        "stresses": f"stresses at the same step of the load between the {NEAREST} nearest",
    }
    for way, name in names.items():
        errors = 100 * np.array([row[way] for row in rows])
        text += f"| {name} | {np.median(errors):.1f} | {errors.max():.1f} |\n"
    text += f"\nWith {FEW} labels of the lattice, % on its others:\n\n"
    text += "| way | median | worst |\n| --- | --- | --- |\n"
    for way, name in (
        ("member", "the family as prior, parameters unknown"),
        ("polynomial", "a polynomial from nothing"),
    ):
        errors = 100 * np.array([row["few"][way] for row in rows])
        text += f"| {name} | {np.median(errors):.1f} | {errors.max():.1f} |\n"
    return f"{text}\n{claims_table(claims)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="one law for 81 lattices")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    add_reuse(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path, settings = arguments.out / "families.json", {"degree": DEGREE, "nearest": NEAREST}
    rows = stored_rows(path, settings, "rows", arguments.reuse) or []
    labels, lattice, t = read()
    for number in tqdm(range(FOLDS), desc="folds"):
        if number not in {row["fold"] for row in rows}:
            rows += fold(number, labels, lattice, t)
            claims = claims_of(rows) if len(rows) == len(t) else []
            store(path, settings, rows, claims)
            if claims:
                (arguments.out / "families.md").write_text(table(rows, claims))


if __name__ == "__main__":
    main()
