"""What universal potentials cost and how right they are: `python -m benchmarks.universal`.

Writes results/universal.json and .md. `--moduli` adds the bulk and shear moduli of binary compounds
of the Materials Project (MatCalc's set, not part of this repository), hours of work that go on from
out/bench/moduli-MODEL.csv where they were interrupted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from pymatgen.core import Structure

from objstress.calculators import make_calculator
from objstress.io.files import write_json, write_whole
from objstress.labels import label_strains, relaxed_crystal
from objstress.properties import crystal_properties, screen
from objstress.reports import Claim, claims_table, environment

RESULTS = Path(__file__).parent / "results"
MODULI = Path(__file__).parents[2] / "shared/data/elastic-moduli/mp-binary-moduli.json.gz"
SEED = 22
JUDGED, FITTED = 150, 90
"""Crystals that judge, and those that a correction is fitted to."""


BEFORE = {"silicon": 73, "zinc oxide": 154, "rutile": 166, "calcite": 190, "baddeleyite": 202}
"""Evaluations at commit 90abf8f, SevenNet-0 as it comes, in single precision."""


def rutile() -> Atoms:
    """TiO2; Abrahams and Bernstein (1971)."""
    sites = [(0, 0, 0), (0.305, 0.305, 0)]
    cell = [4.594, 4.594, 2.959, 90, 90, 90]
    return crystal(["Ti", "O"], sites, spacegroup=136, cellpar=cell)


def calcite() -> Atoms:
    """CaCO3; Graf (1961)."""
    sites = [(0, 0, 0), (0, 0, 0.25), (0.257, 0, 0.25)]
    cell = [4.99, 4.99, 17.06, 90, 90, 120]
    return crystal(["Ca", "C", "O"], sites, spacegroup=167, cellpar=cell)


def baddeleyite() -> Atoms:
    """Monoclinic ZrO2; Smith and Newkirk (1965)."""
    sites = [(0.275, 0.04, 0.208), (0.07, 0.33, 0.345), (0.449, 0.757, 0.479)]
    cell = [5.15, 5.21, 5.32, 90, 99.2, 90]
    return crystal(["Zr", "O", "O"], sites, spacegroup=14, cellpar=cell)


CRYSTALS: dict[str, Callable[[], Atoms]] = {
    "silicon": lambda: bulk("Si"),
    "zinc oxide": lambda: bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.382),
    "rutile": rutile,
    "calcite": calcite,
    "baddeleyite": baddeleyite,
}


def counting(calculator: Any) -> tuple[Any, list[int]]:
    """The calculator, and a list that grows with each evaluation."""
    calls: list[int] = []
    calculate = calculator.calculate

    def count(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        return calculate(*arguments, **keywords)

    calculator.calculate = count
    return calculator, calls


def evaluations() -> list[dict[str, Any]]:
    """Evaluations and CPU seconds of `crystal_properties`, by SevenNet-0."""
    rows = []
    for name, make in CRYSTALS.items():
        calculator, calls = counting(make_calculator("sevennet", {"model": "7net-0"}))
        begun = time.process_time()
        found = crystal_properties(make(), calculator)
        atoms = len(found.structure)
        rows.append(
            {
                "crystal": name,
                "atoms": atoms,
                "evaluations": len(calls),
                "before": BEFORE[name],
                "cpu_seconds": time.process_time() - begun,
            }
        )
        print(rows[-1], flush=True)
    return rows


def label_cost(samples: int = 100) -> dict[str, Any]:
    """What a label of rutile costs, its ions relaxed, by SevenNet-0."""
    calculator, calls = counting(make_calculator("sevennet", {"model": "7net-0"}))
    structure = relaxed_crystal(rutile(), calculator, fmax=1e-5)
    calls.clear()
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        report = label_strains(
            structure,
            calculator,
            out=Path(folder) / "labels.extxyz",
            samples=samples,
            max_strain=0.05,
            progress=False,
        )
    labels = report["labels"]
    return {
        "labels": labels,
        "failed": len(report["failed"]),
        "evaluations": len(calls) / labels,
        "cpu_seconds": (time.process_time() - begun) / labels,
    }


def moduli(model: str) -> dict[str, Any]:
    """Errors of K and G against the Materials Project's, and after a correction."""
    known = json.loads(gzip.decompress(MODULI.read_bytes()))
    order = np.random.default_rng(SEED).permutation(len(known))[: JUDGED + FITTED]
    rows = [known[i] for i in order]
    out = Path("out/bench") / f"moduli-{model}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    named = [(row["mp_id"], Structure.from_dict(row["structure"])) for row in rows]
    screen(named, model, out)
    table = pd.read_csv(out).set_index("name")
    true = pd.DataFrame(rows).set_index("mp_id")
    answered = table.loc[true.index, "stable"].fillna(False).to_numpy(bool)
    result: dict[str, Any] = {"unstable_or_failed": int((~answered[:JUDGED]).sum())}
    for name, column, key in (
        ("K", "K_hill_GPa", "bulk_modulus_vrh"),
        ("G", "G_hill_GPa", "shear_modulus_vrh"),
    ):
        x = table.loc[true.index, column].to_numpy(float)
        y = true[key].to_numpy(float)
        judged, fitted = answered.copy(), answered.copy()
        judged[JUDGED:], fitted[:JUDGED] = False, False
        fitted &= y > 0
        slope, offset = np.polyfit(np.log(x[fitted]), np.log(y[fitted]), 1)
        corrected = np.exp(offset) * x[judged] ** slope
        mean = np.abs(y[judged] - y[fitted].mean())
        result[name] = {
            "crystals": int(judged.sum()),
            "raw_mae_GPa": float(np.abs(x - y)[judged].mean()),
            "corrected_mae_GPa": float(np.abs(corrected - y[judged]).mean()),
            "mean_predictor_mae_GPa": float(mean.mean()),
            "median_relative_error": float(np.median(np.abs(x / y - 1)[judged])),
            "correction": {"factor": float(np.exp(offset)), "power": float(slope)},
        }
    return result


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--moduli", action="store_true", help="the moduli of 240 compounds, too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = RESULTS / "universal.json"
    cost, rows = label_cost(), evaluations()
    worst = max(row["evaluations"] / row["before"] for row in rows)
    claims = [
        Claim("CPU time of a label, rutile, SevenNet-0", cost["cpu_seconds"], 1.5, "s"),
        Claim("evaluations of `properties`, before 1, the most", worst, 1 / 3),
    ]
    report: dict[str, Any] = {"label": cost, "evaluations": rows}
    if options.moduli:
        report["moduli"] = {model: moduli(model) for model in ("sevennet", "chgnet")}
        for name in ("K", "G"):
            error = report["moduli"]["sevennet"][name]["corrected_mae_GPa"]
            claims.append(Claim(f"{name} of SevenNet, corrected, mean error", error, 10.0, "GPa"))
    report |= {"claims": [c.to_dict() for c in claims], "environment": environment()}
    write_json(path, report)
    lines = ["| crystal | atoms | evaluations | before |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {r['crystal']} | {r['atoms']} | {r['evaluations']} | {r['before']} |" for r in rows
    ]
    text = (
        "# What universal potentials cost\n\n" + "\n".join(lines) + f"\n\n{claims_table(claims)}\n"
    )
    write_whole(path.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
