"""What universal potentials cost and how right they are: `python -m benchmarks.universal`.

Writes results/universal.json and .md. `--moduli` adds the bulk and shear moduli of binary compounds
of the Materials Project (MatCalc's set, not part of this repository), two hours of work that go on
from out/bench/moduli-MODEL.csv.partial where they were interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.collections import dcdft
from ase.units import GPa
from tqdm import tqdm

from benchmarks.moduli import JUDGED, moduli_errors
from benchmarks.stored import add_reuse, made
from benchmarks.structures import baddeleyite, calcite, rutile, zinc_oxide
from objstress.calculators import batches, make_calculator
from objstress.errors import InputError
from objstress.io.files import write_json, write_whole
from objstress.labels import label_strains, relaxed_crystal
from objstress.properties import crystal_properties, equation_of_state
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.reading import read_primitive_cell

RESULTS = Path(__file__).parent / "results"
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
    """The calculator, and a list that grows with each structure that it evaluates."""
    calls: list[int] = []
    evaluate = calculator.evaluate

    def count(frames: list[Atoms]) -> Any:
        calls.extend([1] * len(frames))
        return evaluate(frames)

    calculator.evaluate = count
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


def passes_of_labels(samples: int = 12, rounds: int = 3) -> list[dict[str, Any]]:
    """Seconds of a label, ions relaxed, one by one and several in a pass, in turn, on all cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    rows = []
    for model, arguments in (("sevennet", {"model": "7net-0"}), ("sevennet", {}), ("chgnet", {})):
        calculator = make_calculator(model, arguments)
        for name in ("silicon", "zinc oxide", "rutile"):
            structure = relaxed_crystal(CRYSTALS[name](), calculator, fmax=1e-5)
            seconds: dict[int, list[float]] = {1: [], batches.ATOMS: []}
            for _ in range(rounds):
                for atoms, known in seconds.items():
                    begun = time.perf_counter()
                    with (
                        tempfile.TemporaryDirectory() as folder,
                        patch.multiple(batches, ATOMS=atoms, SMALL=100),
                    ):
                        out = Path(folder) / "labels.extxyz"
                        label_strains(structure, calculator, out=out, samples=samples,
                                      max_strain=0.05, progress=False)  # fmt: skip
                    known.append((time.perf_counter() - begun) / (samples + 1))
            alone, together = (float(np.median(known)) for known in seconds.values())
            rows.append(
                {
                    "model": arguments.get("model", model),
                    "crystal": name,
                    "atoms": len(structure),
                    "cells_in_a_pass": batches.ATOMS // len(structure),
                    "alone_s": alone,
                    "together_s": together,
                }
            )
            print(rows[-1], flush=True)
    torch.set_num_threads(threads)
    return rows


def all_moduli() -> dict[str, Any]:
    """Of SevenNet and CHGNet."""
    return {model: moduli_errors(model) for model in ("sevennet", "chgnet")}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--moduli", action="store_true", help="the moduli of 350 compounds, too")
    add_reuse(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = RESULTS / "universal.json"
    parts: dict[str, Callable[[], Any]] = {
        "label": label_cost,
        "evaluations": evaluations,
        "equations_of_state": equations_of_state,
        "passes": passes_of_labels,
    }
    if options.moduli:
        parts["moduli"] = all_moduli
    stored = json.loads(path.read_text()) if options.reuse and path.is_file() else {}
    report: dict[str, Any] = {"made": {}}
    for name, measure in parts.items():
        report[name] = stored[name] if name in stored else measure()
        report["made"][name] = stored["made"][name] if name in stored else made()
    write_report(report, path)


def write_report(report: dict[str, Any], path: Path) -> None:
    """Claims and tables.

    Args:
        report: {part: what was measured}, and when each was made.
        path: of the JSON; the tables lie beside it.
    """
    worst = max(row["evaluations"] / row["before"] for row in report["evaluations"])
    seconds = report["label"]["cpu_seconds"]
    claims = [
        Claim("CPU time of a label, rutile, SevenNet-0", seconds, 1.5, "s"),
        Claim("evaluations of `properties`, before 1, the most", worst, 1 / 3),
    ]
    for name in ("K", "G") if "moduli" in report else ():
        error = report["moduli"]["sevennet"][name]["corrected_mae_GPa"]
        claims.append(Claim(f"{name} of SevenNet, corrected, mean error", error, 10.0, "GPa"))
    facts = {"claims": [c.to_dict() for c in claims], "environment": environment()}
    write_json(path, report | facts)
    lines = ["| crystal | atoms | evaluations | before |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {r['crystal']} | {r['atoms']} | {r['evaluations']} | {r['before']} |"
        for r in report["evaluations"]
    ]
    lines += [
        "",
        "| seconds a label | atoms | cells in a pass | one by one | together |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r['model']}, {r['crystal']} | {r['atoms']} | {r['cells_in_a_pass']} "
        f"| {r['alone_s']:.2f} | {r['together_s']:.2f} |"
        for r in report["passes"]
    ]
    lines += [
        "",
        "## Equations of state",
        "",
        "| element | V0, Angstrom^3 an atom | B0, GPa | B0' | Delta, meV an atom |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for r in report["equations_of_state"]:
        if "reason" in r:
            lines.append(f"| {r['element']} | {r['reason']} | | | |")
            continue
        pairs = zip(r["sevennet"], r["wien2k"], (2, 1, 1), strict=True)
        cells = " | ".join(f"{x:.{digits}f} ({y:.{digits}f})" for x, y, digits in pairs)
        lines.append(f"| {r['element']} | {cells} | {r['delta']:.1f} |")
    if "moduli" in report:
        lines += [
            "",
            f"## Bulk and shear moduli of {JUDGED} binary compounds",
            "",
            "| mean absolute error, GPa | K | G | crystals, the others unstable |",
            "| --- | --- | --- | --- |",
        ]
        for model, part in report["moduli"].items():
            for way in ("raw", "corrected"):
                k, g = (part[name][f"{way}_mae_GPa"] for name in ("K", "G"))
                lines.append(f"| {model}, {way} | {k:.1f} | {g:.1f} | {part['crystals']} |")
        part = report["moduli"]["sevennet"]
        k, g = (part[name]["mean_predictor_mae_GPa"] for name in ("K", "G"))
        lines.append(f"| mean of the {part['fitted']} others | {k:.1f} | {g:.1f} | |")
    text = "\n".join(lines) + f"\n\n{claims_table(claims)}\n"
    write_whole(path.with_suffix(".md"), "# What universal potentials cost\n\n" + text)
    print(text)


if __name__ == "__main__":
    main()
