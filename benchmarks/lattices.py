"""Homogenised soft beam lattices that buckle: `python -m benchmarks.lattices`.

Two cells of cubic symmetry (bcc and X) with five load cases to fit and two to judge by, beside the
errors of the networks that the data's authors published (Klein et al., J. Mech. Phys. Solids 159
(2022) 104703). Needs `../shared/data/lattices`. `fit_law` runs as `objstress fit CELL.csv
--point-group m-3m` runs it, with seeds 0 to 4; the laws of seed 0 are written to
`benchmarks/results/lattices`. `--select` measures first what the settings were chosen by: each load
case predicted from the other four, the cases to judge by unseen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.stored import add_reuse, made, store, stored_rows
from objstress.labels.reading import read_labels
from objstress.laws.base import MaterialLaw
from objstress.laws.learned import LearnedLaw
from objstress.laws.strain_energy import mandel_strain
from objstress.models.constitutive import NetworkSettings
from objstress.models.strain_network import StrainNetworkSettings
from objstress.reports import Claim, claims_table
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import MANDEL, mandel_rotations
from objstress.training.laws.fit import fit_law
from objstress.training.laws.polynomial import fit_polynomial, stress_floor
from objstress.training.laws.settings import NetworkTraining
from objstress.training.laws.stress_residuals import alike

DATA = Path(__file__).parents[2] / "shared" / "data" / "lattices"
TABLES = Path("out/bench/lattices")
CELLS = ("BCC", "X")
CASES = ("uniaxial", "biaxial", "planar", "volumetric", "shear")
TESTS = ("test1", "test2")
SEEDS = range(5)
GROUP = "m-3m"
MINUTES = 5.0
CANDIDATES: dict[str, NetworkSettings | StrainNetworkSettings | None] = {
    "polynomial": None,
    "one perceptron 16-16-16": StrainNetworkSettings(members=1),
    "eight perceptrons 16-16-16": StrainNetworkSettings(),
    "eight perceptrons 24-24": StrainNetworkSettings(hidden=(24, 24)),
    "eight perceptrons 48": StrainNetworkSettings(hidden=(48,)),
    "convolution on a lone node": NetworkSettings(channels=8, edge_lmax=6, strain_scale=0.5),
}


def table_of(cell: str, cases: tuple[str, ...], name: str) -> Path:
    """A CSV file of these load cases, as a user has it."""
    parts = []
    for case in cases:
        part = pd.read_csv(DATA / f"{cell}-{case}.csv")
        parts.append(part.rename(columns=lambda c: f"{c} [Pa]" if c[0] in "PW" else c))
        parts[-1].insert(0, "case", case)
    TABLES.mkdir(parents=True, exist_ok=True)
    path = TABLES / f"{name}.csv"
    pd.concat(parts).to_csv(path, index=False)
    return path


def error_of(law: MaterialLaw, cell: str, case: str) -> float:
    """|dP| / |P| of a whole load case."""
    labels = read_labels(table_of(cell, (case,), f"{cell}-{case}"), None, PointGroup(GROUP))
    gap = law.response(labels.F, 1)[1].numpy() - labels.piola
    return float(np.linalg.norm(gap) / np.linalg.norm(labels.piola))


def forbidden(cell: str, case: str) -> float:
    """|P| of what the operations that keep a strain forbid its stress, over |P|: no law follows."""
    group = PointGroup(GROUP)
    labels = read_labels(table_of(cell, (case,), f"{cell}-{case}"), None, group)
    f, stress = torch.tensor(labels.F), torch.tensor(labels.piola)
    push = torch.einsum("nij,ajk->nika", f, torch.tensor(MANDEL)).reshape(-1, 9, 6)
    rotations = torch.tensor(mandel_rotations(group.operations))
    left = 0.0
    for rows, _, allowed in alike(mandel_strain(f), rotations):
        basis, known = push[rows] @ allowed, stress[rows].flatten(1)[..., None]
        left += float((basis @ torch.linalg.lstsq(basis, known).solution - known).square().sum())
    return (left / float(stress.square().sum())) ** 0.5


def fitted(cell: str, seed: int) -> tuple[MaterialLaw, dict[str, Any]]:
    """The default fit to the five cases, and its row."""
    began = time.perf_counter(), time.process_time()
    law = fit_law(
        table_of(cell, CASES, cell),
        point_group=GROUP,
        training=NetworkTraining(seed=seed),
        progress=False,
    )
    return law, {
        "cell": cell,
        "seed": seed,
        "seconds": time.perf_counter() - began[0],
        "cpu_seconds": time.process_time() - began[1],
        "errors": {case: error_of(law, cell, case) for case in (*CASES, *TESTS)},
        "network": law.metadata["network"]["kind"],
        "held_out": law.metadata["held_out"]["both"]["relative_rmse"],
        **made(),
    }


def left_out(cell: str, name: str) -> dict[str, Any]:
    """Errors of each load case where the other four are fitted."""
    errors, began, network = {}, time.process_time(), CANDIDATES[name]
    for case in CASES:
        others = tuple(c for c in CASES if c != case)
        table, group = table_of(cell, others, f"{cell}-without-{case}"), PointGroup(GROUP)
        if network is None:
            labels = read_labels(table, None, group)
            fit = fit_polynomial(labels, group, stress_floor(labels, group))
            law = LearnedLaw(labels.structure, group, fit.polynomial)
        else:
            law = fit_law(
                table,
                point_group=group,
                network=network,
                polynomial=False,
                held_out=0,
                stress_free=False,
                progress=False,
            )
        errors[case] = error_of(law, cell, case)
    seconds = time.process_time() - began
    return {"cell": cell, "candidate": name, "errors": errors, "cpu_seconds": seconds, **made()}


def claims_of(rows: list[dict[str, Any]], published: dict[str, Any]) -> list[Claim]:
    claims = []
    for cell in CELLS:
        mine = [row for row in rows if row["cell"] == cell]
        for case in TESTS:
            median = float(np.median([row["errors"][case] for row in mine]))
            bar = min(published[cell][case].values())
            claims.append(
                Claim(f"{cell}, {case}: median of five seeds, relative RMSE", median, bar)
            )
        slowest = max(row["seconds"] for row in mine) / 60
        claims.append(Claim(f"{cell}: minutes of the default fit, the slowest", slowest, MINUTES))
    return claims


def tables(
    rows: list[dict[str, Any]],
    selected: list[dict[str, Any]],
    floors: dict[str, dict[str, float]],
    claims: list[Claim],
) -> str:
    text = "# Errors\n\n| cell | case | seeds 0 to 4, relative RMSE % | of the stress "
    text += "forbidden by the group, % |\n| --- | --- | --- | --- |\n"
    for cell in CELLS:
        mine = [row for row in rows if row["cell"] == cell]
        for case in (*CASES, *TESTS):
            values = ", ".join(f"{100 * row['errors'][case]:.2f}" for row in mine)
            text += f"| {cell} | {case} | {values} | {100 * floors[cell][case]:.2f} |\n"
    if selected:
        text += "\nEach case predicted from the other four, %:\n\n"
        text += f"| cell | law | {' | '.join(CASES)} |\n"
        text += "| --- | --- |" + " --- |" * len(CASES) + "\n"
    for row in selected:
        values = " | ".join(f"{100 * row['errors'][case]:.1f}" for case in CASES)
        text += f"| {row['cell']} | {row['candidate']} | {values} |\n"
    return f"{text}\n{claims_table(claims)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="laws of lattices that buckle")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--select", action="store_true", help="measure the candidates, too")
    add_reuse(parser)
    arguments = parser.parse_args()
    published = json.loads((DATA / "published.json").read_text())["errors"]
    path, settings = arguments.out / "lattices.json", {"group": GROUP, "cases": CASES}
    rows = stored_rows(path, settings, "rows", arguments.reuse) or []
    selected = stored_rows(path, settings, "left_out", arguments.reuse) or []
    floors = {cell: {case: forbidden(cell, case) for case in (*CASES, *TESTS)} for cell in CELLS}

    def keep() -> None:
        claims = claims_of(rows, published) if len(rows) == len(CELLS) * len(SEEDS) else []
        more = {"left_out": selected, "forbidden": floors, "published": published}
        store(path, settings, rows, claims, **more)
        (arguments.out / "lattices.md").write_text(tables(rows, selected, floors, claims))

    if arguments.select:
        done = {(row["cell"], row["candidate"]) for row in selected}
        for cell, name in tqdm([(c, n) for n in CANDIDATES for c in CELLS], desc="left out"):
            if (cell, name) not in done:
                selected.append(left_out(cell, name))
                keep()
    done = {(row["cell"], row["seed"]) for row in rows}
    for seed, cell in tqdm([(s, c) for s in SEEDS for c in CELLS], desc="fits"):
        if (cell, seed) not in done:
            law, row = fitted(cell, seed)
            if seed == SEEDS[0]:
                (arguments.out / "lattices").mkdir(exist_ok=True)
                law.save(arguments.out / "lattices" / f"{cell}.law")
            rows.append(row)
            keep()
    keep()


if __name__ == "__main__":
    main()
