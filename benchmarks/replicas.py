"""How many replicas move in a second: in one batch, against one after the other through ASE.

`python -m benchmarks.replicas` times velocity Verlet of a water molecule and of eight silicon
atoms with potentials of random weights; what is timed does not depend on the weights, which are so
small that the atoms stay where their velocities carry them. With a GPU it takes the place of the
processor in a second table. replicas.json holds the medians of several rounds, taken in turns.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet
from tqdm import tqdm

from objstress.calculators.potential import PotentialCalculator
from objstress.io.files import write_json
from objstress.md.integrators import replica_generator, start_momenta
from objstress.md.replicas import run_replicas
from objstress.models.potential import Potential, PotentialSettings
from objstress.reports import Claim, claims_table, environment

RESULTS = Path(__file__).parent / "results"
STRUCTURES: dict[str, tuple[Atoms, dict[str, Any]]] = {
    "water": (
        molecule("H2O"),
        dict(elements=(1, 8), heads=("energy", "dipole", "polarizability"), neighbours=2.0),
    ),
    "silicon, 8 atoms": (
        bulk("Si", cubic=True),
        dict(elements=(14,), heads=("energy",), neighbours=28.0),
    ),
}
SIZES = {"water": (1, 8, 64, 256), "silicon, 8 atoms": (1, 4, 16)}
CHANNELS, CUTOFF, STEPS, ROUNDS = 16, 5.0, 10, 3
BAR = 5.0


def potential(settings: dict[str, Any], device: str) -> Potential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Potential(PotentialSettings(channels=CHANNELS, cutoff=CUTOFF, **settings)).eval()
    made.scale *= 1e-4
    return made.to(device)


def one_by_one(atoms: Atoms, model: Potential) -> float:
    """Seconds that a step of one replica takes through ASE."""
    atoms = atoms.copy()
    start_momenta(atoms, "nve", 50.0, replica_generator(0))
    atoms.calc = PotentialCalculator(model)
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    atoms.get_forces()
    begun = time.perf_counter()
    for _ in range(STEPS):
        dynamics.step()
    return (time.perf_counter() - begun) / STEPS


def batched(atoms: Atoms, model: Potential, replicas: int) -> float:
    """Seconds that a step of all replicas takes."""

    def run(steps: int) -> float:
        begun = time.perf_counter()
        run_replicas(
            atoms,
            model,
            replicas,
            temperature=50.0,
            time=0.0005 * steps,
            record_every=1,
            progress=False,
        )
        return time.perf_counter() - begun

    # The difference leaves out what only the beginning costs.
    return (run(2 * STEPS) - run(STEPS)) / STEPS


def measure(device: str, rounds: int) -> list[dict[str, Any]]:
    rows = []
    bar = tqdm(total=rounds * sum(1 + len(SIZES[name]) for name in STRUCTURES), desc=device)
    for name, (atoms, settings) in STRUCTURES.items():
        model = potential(settings, device)
        single: list[float] = []
        many: dict[int, list[float]] = {size: [] for size in SIZES[name]}
        for _ in range(rounds):
            single.append(one_by_one(atoms, model))
            bar.update()
            for size, seconds in many.items():
                seconds.append(batched(atoms, model, size))
                bar.update()
        alone = 1 / float(np.median(single))
        for size, seconds in many.items():
            rate = size / float(np.median(seconds))
            rows.append(
                {
                    "structure": name,
                    "device": device,
                    "replicas": size,
                    "replica_steps_per_second": rate,
                    "one_by_one_steps_per_second": alone,
                    "ratio": rate / alone,
                }
            )
    bar.close()
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| structure | device | replicas | replica steps / s | one by one, steps / s | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        lines.append(
            f"| {r['structure']} | {r['device']} | {r['replicas']} "
            f"| {r['replica_steps_per_second']:.0f} | {r['one_by_one_steps_per_second']:.0f} "
            f"| {r['ratio']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=RESULTS / "replicas.json")
    arguments = parser.parse_args()
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    rows = [row for device in devices for row in measure(device, arguments.rounds)]
    claims = [
        Claim(
            f"water, {r['replicas']} replicas in one batch over one by one, {r['device']}",
            r["ratio"],
            BAR,
            "x",
            True,
        )
        for r in rows
        if (r["structure"], r["replicas"]) == ("water", 64)
    ]
    content = {
        "claims": [c.to_dict() for c in claims],
        "rows": rows,
        "settings": {
            "channels": CHANNELS,
            "cutoff_A": CUTOFF,
            "steps": STEPS,
            "rounds": arguments.rounds,
            "timestep_fs": 0.5,
            "load_average": os.getloadavg()[0],
        },
        "environment": environment(),
    }
    if torch.cuda.is_available():
        content["environment"]["gpu"] = torch.cuda.get_device_name()
    write_json(arguments.out, content)
    print(table(rows))
    print(claims_table(claims))


if __name__ == "__main__":
    main()
