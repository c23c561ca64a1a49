"""What people wait for: a law from its file, a command, the help, beside `import torch`.

`python -m benchmarks.waiting LAW` times new Python processes, each kind in turn, and writes the
medians of `--repeats` rounds as waiting.json. CPU seconds are user and system time together.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from objstress.io.files import write_json
from objstress.reports import Claim, claims_table, environment
from objstress.training.laws.fit import fit_law

RESULTS = Path(__file__).parent / "results"
SILICON = Path(__file__).parents[1] / "data" / "silicon"
LAW = (
    "import numpy, objstress.laws; law = objstress.laws.load_law({!r}); "
    "law.stress(1.01 * numpy.eye(3))"
)


def timed(arguments: list[str]) -> dict[str, float]:
    """Wall and CPU seconds of one new process."""
    before, begun = os.times(), time.monotonic()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    cpu = sum(getattr(after, k) - getattr(before, k) for k in ("children_user", "children_system"))
    return {"wall_s": time.monotonic() - begun, "cpu_s": cpu}


def measure(law: Path, repeats: int) -> dict[str, list[dict[str, float]]]:
    """Seconds of each process, {kind: one row for each round}."""
    python, objstress = [sys.executable, "-c"], [sys.executable, "-m", "objstress"]
    kinds = {
        "import torch": [*python, "import torch"],
        "load a law and ask it for a stress": [*python, LAW.format(str(law))],
        "objstress symmetry": [*objstress, "symmetry", str(SILICON / "silicon.cif")],
        "objstress --help": [*objstress, "--help"],
    }
    for arguments in kinds.values():
        timed(arguments)  # files into the cache
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind, arguments in kinds.items():
            rows[kind].append(timed(arguments))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("law", nargs="?", help="a law file; silicon's is fitted without one")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        law = Path(given.law or Path(folder) / "silicon.law")
        if given.law is None:
            fit_law(SILICON / "labels.extxyz", SILICON / "silicon.cif", progress=False).save(law)
        rows = measure(law, given.repeats)
    torch, law_rows = rows["import torch"], rows["load a law and ask it for a stress"]
    ratios = [a["wall_s"] / b["wall_s"] for a, b in zip(law_rows, torch, strict=True)]
    symmetry = median(r["cpu_s"] for r in rows["objstress symmetry"])
    claims = [
        Claim("load a law and ask it for a stress / import torch", median(ratios), 1.5),
        Claim("objstress symmetry, CPU seconds", symmetry, 2.5, "s"),
    ]
    result: dict[str, Any] = {
        "claims": [claim.to_dict() for claim in claims],
        "rounds": rows,
        "environment": environment(),
    }
    write_json(RESULTS / "waiting.json", result)
    print(claims_table(claims))


if __name__ == "__main__":
    main()
