"""Twelve crystals of all seven systems from their CIF to a law: `python -m benchmarks.any_crystal`.

Writes results/any_crystal.json and .md. Each crystal is one run of `objstress law` in a process of
its own, on one thread; its folder is removed first. The triclinic one needs data that are not in
this repository.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from benchmarks.stored import made
from benchmarks.structures import TWELVE
from objstress.io.files import write_json, write_whole
from objstress.reports import Claim, claims_table, environment

RESULTS = Path(__file__).parent / "results"
OUT = Path("out/bench/any-crystal")


def run(name: str, make: Callable[[], Atoms]) -> dict[str, Any]:
    """Time and memory of a crystal's law, and what its report says."""
    slug = name.partition(",")[0].replace(" ", "-").replace("'", "")
    out = OUT / f"{slug}.law"
    shutil.rmtree(out.with_suffix(""), ignore_errors=True)
    out.unlink(missing_ok=True)
    OUT.mkdir(parents=True, exist_ok=True)
    write(OUT / f"{slug}.cif", make())
    command = [
        sys.executable,
        "-m",
        "objstress",
        "law",
        str(OUT / f"{slug}.cif"),
        "--out",
        str(out),
    ]
    begun = time.perf_counter()
    with (OUT / f"{slug}.txt").open("w") as log:
        threads = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=threads)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    row: dict[str, Any] = {
        "crystal": name,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_GB": used.ru_maxrss * 1024 / 1e9,
    }
    said = (OUT / f"{slug}.txt").read_text().strip().splitlines()
    if process.returncode:
        return row | {"exit": process.returncode, "reason": said[-1] if said else ""}
    report = json.loads((out.with_suffix("") / "report.json").read_text())
    second = report["second_potential"]
    return row | {
        "point_group": report["point_group"],
        "labels": report["labels"],
        "bulk_and_shear_modulus_GPa": report["bulk_and_shear_modulus_GPa"],
        "held_out_error_percent": report["claims"][0]["value"],
        "checks_met": all(claim["ok"] for claim in report["claims"][1:]),
        "second_potential_apart": second.get("stresses_apart", second.get("reason")),
        "notes": report["notes"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| crystal | group | CPU time, s | peak, GB | K, G, GPa | fit's error | "
        "second potential apart |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for row in rows:
        head = f"| {row['crystal']} | {row.get('point_group', '')} | {row['cpu_seconds']:.0f} | "
        head += f"{row['peak_GB']:.1f} | "
        if "reason" in row:
            reason = row["reason"].removeprefix("error: ").partition("; it has")[0]
            lines.append(head + f"{reason} | | |")
            continue
        moduli = ", ".join(f"{x:.0f}" for x in row["bulk_and_shear_modulus_GPa"] or [])
        apart = row["second_potential_apart"]
        apart = f"{apart:.1%}" if isinstance(apart, float) else apart.partition(":")[0]
        lines.append(head + f"{moduli} | {row['held_out_error_percent']:.2f} % | {apart} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--anew", nargs="+", choices=list(TWELVE), help="others are kept")
    anew = parser.parse_args().anew or []
    kept = json.loads((RESULTS / "any_crystal.json").read_text())["crystals"] if anew else []
    rows = {row["crystal"]: row for row in kept}
    for name, make in TWELVE.items():
        if name not in rows or name in anew:
            rows[name] = run(name, make) | made()
            print(rows[name], flush=True)
    write_report([rows[name] for name in TWELVE])


def write_report(rows: list[dict[str, Any]]) -> None:
    """Claims and table."""
    laws = [row for row in rows if "reason" not in row]
    refused = [row for row in rows if row.get("exit", 2) != 2]
    claims = [
        Claim("neither a law nor a reason", len(refused), 0, "crystals"),
        Claim(
            "median CPU time from the command to the law, one thread",
            float(np.median([r["cpu_seconds"] for r in rows])),
            180,
            "s",
        ),
        Claim("peak memory", max(r["peak_GB"] for r in rows), 4.0, "GB"),
        Claim(
            "fit's error on held-out labels, the worst",
            max(r["held_out_error_percent"] for r in laws),
            1.0,
            "%",
        ),
        Claim(
            "laws that fail a check (symmetric, objective, exactly G)",
            sum(not r["checks_met"] for r in laws),
            0,
        ),
    ]
    report = {"crystals": rows, "claims": [c.to_dict() for c in claims]}
    write_json(RESULTS / "any_crystal.json", report | {"environment": environment()})
    text = f"# Twelve crystals\n\n{table(rows)}\n\n{claims_table(claims)}\n"
    write_whole(RESULTS / "any_crystal.md", text)
    print(text)


if __name__ == "__main__":
    main()
