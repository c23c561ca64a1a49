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
from ase.collections import dcdft
from ase.units import GPa
from pymatgen.core import Structure
from tqdm import tqdm

from benchmarks.structures import baddeleyite, calcite, rutile, zinc_oxide
from objstress.calculators import make_calculator
from objstress.errors import InputError
from objstress.io.files import write_json, write_whole
from objstress.labels import label_strains, relaxed_crystal
from objstress.properties import crystal_properties, equation_of_state, screen
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.reading import read_primitive_cell

RESULTS = Path(__file__).parent / "results"
MODULI = Path(__file__).parents[2] / "shared/data/elastic-moduli/mp-binary-moduli.json.gz"
SEED = 22
JUDGED, FITTED, SMALL = 150, 60, 12
"""Crystals that judge, of any size, and others of few atoms that a correction is fitted to."""


BEFORE = {"silicon": 73, "zinc oxide": 154, "rutile": 166, "calcite": 190, "baddeleyite": 202}
"""Evaluations at commit 90abf8f, SevenNet-0 as it comes, in single precision."""


ELEMENTS = "Li Be Na Mg Al Si K Ca Ti V Cu Ge Nb Mo Pd Ag W Ir Pt Au"
"""Twenty, without magnetism and without van der Waals crystals."""

CRYSTALS: dict[str, Callable[[], Atoms]] = {
    "silicon": lambda: bulk("Si"),
    "zinc oxide": zinc_oxide,
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


def equations_of_state() -> list[dict[str, Any]]:
    """V0, B0, B1 of elements under SevenNet beside WIEN2k's, and the gauge Delta of the two.

    WIEN2k: Lejaeghere et al., Crit. Rev. Solid State Mater. Sci. 39, 1 (2014), PBE, all electrons,
    with the crystals they are of, as ASE has them.
    """
    calculator = make_calculator("sevennet")
    rows = []
    for symbol in tqdm(ELEMENTS.split(), desc="equations of state"):
        atoms, known = dcdft[symbol], dcdft.data[symbol]
        true = (known["wien2k_volume"], known["wien2k_B"], known["wien2k_Bp"])
        try:
            equation = equation_of_state(atoms, calculator)
        except InputError as error:
            rows.append({"element": symbol, "wien2k": true, "reason": str(error)})
            continue
        per_atom = equation.volume / len(read_primitive_cell(atoms))
        found = (per_atom, equation.bulk_modulus, equation.derivative)
        rows.append(
            {"element": symbol, "sevennet": found, "wien2k": true, "delta": delta(found, true)}
        )
    return rows


def delta(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Root mean square of the difference of two E(V), meV an atom.

    Over volumes within 6 % of the mean one, each energy shifted to the same mean.
    """
    middle = (one[0] + other[0]) / 2
    volumes = np.linspace(0.94, 1.06, 201) * middle

    def energy(v0: float, b0: float, b1: float) -> np.ndarray:
        x = (v0 / volumes) ** (2 / 3)
        return 9 / 16 * v0 * b0 * GPa * ((x - 1) ** 3 * b1 + (x - 1) ** 2 * (6 - 4 * x))

    apart = energy(*one) - energy(*other)
    return float(1000 * apart.std())


def moduli(model: str) -> dict[str, Any]:
    """Errors of K and G against the Materials Project's, and after a correction."""
    known = json.loads(gzip.decompress(MODULI.read_bytes()))
    order = np.random.default_rng(SEED).permutation(len(known))
    small = [i for i in order[JUDGED:] if len(known[i]["structure"]["sites"]) <= SMALL]
    rows = [known[i] for i in [*order[:JUDGED], *small[:FITTED]]]
    out = Path("out/bench") / f"moduli-{model}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    named = [(row["mp_id"], Structure.from_dict(row["structure"])) for row in rows]
    screen(sorted(named, key=lambda pair: len(pair[1])), model, out)
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
    cost, rows, equations = label_cost(), evaluations(), equations_of_state()
    worst = max(row["evaluations"] / row["before"] for row in rows)
    claims = [
        Claim("CPU time of a label, rutile, SevenNet-0", cost["cpu_seconds"], 1.5, "s"),
        Claim("evaluations of `properties`, before 1, the most", worst, 1 / 3),
    ]
    report: dict[str, Any] = {"label": cost, "evaluations": rows, "equations_of_state": equations}
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
    lines += [
        "",
        "## Equations of state",
        "",
        "| element | V0, Angstrom^3 an atom | B0, GPa | B0' | Delta, meV an atom |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for r in equations:
        if "reason" in r:
            lines.append(f"| {r['element']} | {r['reason']} | | | |")
            continue
        pairs = zip(r["sevennet"], r["wien2k"], (2, 1, 1), strict=True)
        cells = " | ".join(f"{x:.{digits}f} ({y:.{digits}f})" for x, y, digits in pairs)
        lines.append(f"| {r['element']} | {cells} | {r['delta']:.1f} |")
    text = (
        "# What universal potentials cost\n\n" + "\n".join(lines) + f"\n\n{claims_table(claims)}\n"
    )
    write_whole(path.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
