"""Acetylacetone at 300 K: objstress and mace-torch, trained at the same time for the same time.

`python -m benchmarks.acac --mace PYTHON` (the interpreter of an environment that has mace-torch)
trains both on the same 500 frames, one thread each, side by side, and tests both on the same 650:
acac.json. What lies trained in `--work` is not trained again. Data: Batatia et al.,
arXiv:2205.06643, in the folder `--data`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.io import read

from benchmarks import mace_runs
from objstress.io.files import write_json
from objstress.models.potential import load_potential
from objstress.reports import Claim, claims_table, environment
from objstress.training.potential.evaluate import evaluate_potential
from objstress.training.potential.fit import fit_potential
from objstress.training.potential.settings import settings_from

CHANNELS, CUTOFF, BATCH = 32, 5.0, 5
KEYS = {"energy": "energy", "forces": "forces"}


def test_mace(python: str, data: Path, folder: Path) -> dict[str, Any]:
    """Errors on the test set of the model that mace-torch has left, and how many weights it has."""
    model, out = mace_runs.trained_model(folder), folder / "predicted.xyz"
    mace_runs.run(
        [
            str(Path(python).with_name("mace_eval_configs")),
            f"--configs={data / 'test_MD_300K.xyz'}",
            f"--model={model}",
            f"--output={out}",
            "--device=cpu",
            "--default_dtype=float32",
            "--batch_size=25",
        ]
    )
    energy, forces = [], []
    for found, label in zip(read(out, ":"), read(data / "test_MD_300K.xyz", ":"), strict=True):
        gap = found.info["MACE_energy"] - label.get_potential_energy()
        energy.append(gap / len(label))
        forces.append(found.arrays["MACE_forces"] - label.get_forces())
    return {
        "energy_meV_per_atom": 1e3 * float(np.sqrt(np.mean(np.square(energy)))),
        "forces_meV_per_A": 1e3 * float(np.sqrt(np.mean(np.square(forces)))),
        "weights": mace_runs.number_of_weights(python, model),
    }


def train_ours(data: Path, minutes: float, file: Path) -> None:
    """The potential after so many minutes."""
    potential = fit_potential(
        settings_from(
            {
                "data": str(data / "train_300K.xyz"),
                "keys": KEYS,
                "validation": 0.05,
                "model": {"channels": CHANNELS, "cutoff": CUTOFF},
                "training": {"max_minutes": minutes, "epochs": 100_000, "batch_size": BATCH},
            }
        ),
        workdir=file.with_suffix(".train"),
        say=print,
    )
    potential.save(file)


def test_ours(data: Path, file: Path) -> dict[str, Any]:
    """Errors on the test set."""
    potential = load_potential(file)
    found = evaluate_potential(potential, data / "test_MD_300K.xyz", KEYS)["targets"]
    return {
        "energy_meV_per_atom": 1e3 * found["energy"]["rmse"],
        "forces_meV_per_A": 1e3 * found["forces"]["rmse"],
        "weights": sum(p.numel() for p in potential.parameters()),
        "minutes": potential.metadata["minutes"],
        "epochs": potential.metadata["epochs"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="acetylacetone, against mace-torch")
    parser.add_argument("--mace", required=True, help="Python with mace-torch")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/acac"))
    parser.add_argument("--epochs", type=int, default=40, help="of mace-torch")
    parser.add_argument("--minutes", type=float, default=18, help="of objstress")
    parser.add_argument("--work", type=Path, default=Path("out/bench/acac"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    data = arguments.data.resolve()
    file = folder / "acac.potential"
    if not file.is_file():
        other = mace_runs.start_training(
            arguments.mace,
            data / "train_300K.xyz",
            folder,
            channels=CHANNELS,
            cutoff=CUTOFF,
            batch_size=BATCH,
            epochs=arguments.epochs,
        )
        train_ours(data, arguments.minutes, file)
        if other.wait() != 0:
            raise SystemExit(f"mace-torch failed, see {folder / 'log.txt'}")
    ours = test_ours(data, file)
    theirs = test_mace(arguments.mace, data, folder) | {
        "minutes": mace_runs.minutes_of(folder),
        "epochs": arguments.epochs,
    }
    name = (
        "objstress over mace-torch, test at 300 K, trained side by side for "
        f"{ours['minutes']:.1f} and {theirs['minutes']:.1f} minutes"
    )
    claims = [
        Claim(f"force RMSE, {name}", ours["forces_meV_per_A"] / theirs["forces_meV_per_A"], 1.2),
        Claim(
            f"energy RMSE, {name}",
            ours["energy_meV_per_atom"] / theirs["energy_meV_per_atom"],
            1.2,
        ),
    ]
    content = {
        "claims": [claim.to_dict() for claim in claims],
        "rows": {"objstress": ours, "mace-torch": theirs},
        "environment": environment() | {"training_dtype": "float32"},
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "acac.json", content)
    lines = ["| code | E, meV/atom | F, meV/Angstrom | minutes | weights |", "|" + " --- |" * 5]
    for code, row in content["rows"].items():
        cells = [f"{row['energy_meV_per_atom']:.2f}", f"{row['forces_meV_per_A']:.1f}"]
        cells += [
            f"{row['minutes']:.1f}" if "minutes" in row else "-",
            str(row.get("weights", "-")),
        ]
        lines.append(f"| {code} | " + " | ".join(cells) + " |")
    print("\n".join(lines), claims_table(claims), sep="\n\n")


if __name__ == "__main__":
    main()
