"""Energy, forces and stress of silicon: time an atom, against mace-torch and nequip.

`python -m benchmarks.potential_speed --mace PYTHON --nequip PYTHON` (interpreters of environments
that have them: they pin other versions of e3nn) writes potential_speed.json and prints the table.
The codes answer in turn in processes of their own (`benchmarks/speed_workers.py`); medians count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.io import write

from objstress.io.files import write_json
from objstress.reports import Claim, claims_table, environment

WORKERS = Path(__file__).with_name("speed_workers.py")
EDGES = (2, 4)
"""Conventional cells along an edge: 64 and 512 atoms."""
ROUNDS = {64: 15, 512: 5}


class Worker:
    """One code in a process of its own."""

    def __init__(self, code: str, interpreter: str, atoms: Path):
        here = str(Path(__file__).parents[1])
        variables = os.environ | {
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        }
        if code.startswith("objstress"):
            variables["PYTHONPATH"] = here
        self.process = subprocess.Popen(
            [interpreter, "-W", "ignore", str(WORKERS), code, str(atoms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=variables,
        )
        line = self._line()
        while not line.startswith("{"):  # what a library says when it is imported
            line = self._line()
        self.facts: dict[str, Any] = json.loads(line)

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended before its time")
        return line

    def seconds(self) -> float:
        """Of one evaluation."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(interpreters: dict[str, str], edge: int) -> dict[str, Any]:
    """{code: milliseconds an atom (median, least) and facts} of rattled silicon."""
    atoms = bulk("Si", cubic=True) * (edge, edge, edge)
    atoms.rattle(0.05, seed=0)
    atoms.info["neighbours"] = 28.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "atoms.extxyz"
        write(file, atoms)
        workers = {code: Worker(code, python, file) for code, python in interpreters.items()}
        times: dict[str, list[float]] = {code: [] for code in workers}
        for _ in range(ROUNDS[len(atoms)]):
            for code, worker in workers.items():
                times[code].append(1e3 * worker.seconds() / len(atoms))
        for worker in workers.values():
            worker.close()
    return {
        code: {
            "ms_per_atom": float(np.median(found)),
            "least_ms_per_atom": min(found),
            **workers[code].facts,
        }
        for code, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="time an atom, against mace-torch and nequip")
    parser.add_argument("--mace", help="Python with mace-torch")
    parser.add_argument("--nequip", help="Python with nequip")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    interpreters = dict.fromkeys(("objstress", "objstress_pairs"), sys.executable)
    interpreters |= {
        code: path for code in ("mace", "nequip") if (path := getattr(arguments, code))
    }
    rows = {8 * edge**3: compare(interpreters, edge) for edge in EDGES}
    claims = []
    for atoms, row in rows.items():
        others = {c: row[c]["ms_per_atom"] for c in ("mace", "nequip") if c in row}
        if others:
            fastest = min(others, key=lambda c: others[c])
            # Products of four bodies as mace-torch has them; nequip's layers have pairs.
            like = "objstress_pairs" if fastest == "nequip" else "objstress"
            for code in dict.fromkeys(("objstress", like)):
                bodies = "products of four bodies" if code == "objstress" else "pairs"
                claims.append(
                    Claim(
                        f"energy, forces and stress of {atoms} silicon atoms, {bodies}: time over "
                        f"the fastest other ({fastest})",
                        row[code]["ms_per_atom"] / others[fastest],
                        1.0,
                    )
                )
    content = {
        "claims": [claim.to_dict() for claim in claims],
        "unit": "milliseconds an atom, one thread, graph made beforehand",
        "features": "64x0e + 64x1o, two layers, cutoff 5 Angstrom, 28 neighbours",
        "rows": {str(n): row for n, row in rows.items()},
        "environment": environment(),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "potential_speed.json", content)
    lines = ["| atoms | code | ms an atom | weights |", "| --- | --- | --- | --- |"]
    for atoms, row in rows.items():
        for code, found in row.items():
            lines.append(f"| {atoms} | {code} | {found['ms_per_atom']:.2f} | {found['weights']} |")
    print("\n".join(lines), claims_table(claims), sep="\n\n")


if __name__ == "__main__":
    main()
