"""Acetylacetone at 300 K: objstress and mace-torch, trained at the same time for the same time.

`python -m benchmarks.acac --mace PYTHON` (the interpreter of an environment that has mace-torch)
trains both on the same 500 frames, one thread each, side by side, and tests both on the same 650:
acac.json. What lies trained in `--work` is not trained again. Data: Batatia et al.,
arXiv:2205.06643, in the folder `--data`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.io import read

from objstress.claims import Claim, claims_table
from objstress.demo.silicon import environment
from objstress.files import write_json
from objstress.models.potential_files import load_potential
from objstress.training.potential_fit import evaluate_potential, train_potential
from objstress.training.settings import settings_from

CHANNELS, CUTOFF, BATCH = 32, 5.0, 5
KEYS = {"energy": "energy", "forces": "forces"}


def start_mace(python: str, data: Path, epochs: int, folder: Path) -> subprocess.Popen:
    """mace-torch in a process of its own: 0e + 1o features, correlation 3, its stage two."""
    command = [
        str(Path(python).with_name("mace_run_train")),
        "--name=acac",
        f"--train_file={data / 'train_300K.xyz'}",
        "--valid_fraction=0.05",
        "--E0s=average",
        "--energy_key=energy",
        "--forces_key=forces",
        "--model=MACE",
        f"--num_channels={CHANNELS}",
        "--max_L=1",
        "--correlation=3",
        f"--r_max={CUTOFF}",
        "--max_ell=3",
        "--num_interactions=2",
        f"--batch_size={BATCH}",
        "--valid_batch_size=25",
        f"--max_num_epochs={epochs}",
        "--swa",
        f"--start_swa={int(0.75 * epochs)}",
        "--swa_energy_weight=1000",
        "--swa_forces_weight=100",
        "--forces_weight=1000",
        "--energy_weight=40",
        "--ema",
        "--ema_decay=0.99",
        "--amsgrad",
        "--lr=0.01",
        "--default_dtype=float32",
        "--device=cpu",
        "--seed=1",
        f"--work_dir={folder}",
    ]
    variables = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    }
    with open(folder / "log.txt", "w") as log:
        # A session of its own: schedulers that share the cores by session treat both alike.
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=variables, start_new_session=True
        )


def test_mace(python: str, data: Path, folder: Path) -> dict[str, Any]:
    """Errors on the test set of the model that mace-torch has left, and how many weights it has."""
    model = next(folder.rglob("acac_stagetwo.model"), None) or next(folder.rglob("acac.model"))
    out = folder / "predicted.xyz"
    subprocess.run(
        [
            str(Path(python).with_name("mace_eval_configs")),
            f"--configs={data / 'test_MD_300K.xyz'}",
            f"--model={model}",
            f"--output={out}",
            "--device=cpu",
            "--default_dtype=float32",
            "--batch_size=25",
        ],
        check=True,
        env=os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    energy, forces = [], []
    for found, label in zip(read(out, ":"), read(data / "test_MD_300K.xyz", ":"), strict=True):
        gap = found.info["MACE_energy"] - label.get_potential_energy()
        energy.append(gap / len(label))
        forces.append(found.arrays["MACE_forces"] - label.get_forces())
    count = "import sys, torch; print(sum(p.numel() for p in torch.load(sys.argv[1], "
    count += "map_location='cpu', weights_only=False).parameters()))"
    weights = subprocess.run(
        [python, "-W", "ignore", "-c", count, str(model)],
        check=True,
        capture_output=True,
        text=True,
    )
    return {
        "energy_meV_per_atom": 1e3 * float(np.sqrt(np.mean(np.square(energy)))),
        "forces_meV_per_A": 1e3 * float(np.sqrt(np.mean(np.square(forces)))),
        "weights": int(weights.stdout.split()[-1]),
    }


def minutes_of(log: Path) -> float:
    """From the start of the training to its end, by the times in mace-torch's log."""
    times = [
        datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S.%f")
        for line in log.read_text().splitlines()
        if "Started training" in line or "Training complete" in line
    ]
    return (times[-1] - times[0]).total_seconds() / 60


def train_ours(data: Path, minutes: float, file: Path) -> None:
    """The potential after so many minutes."""
    potential = train_potential(
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
        other = start_mace(arguments.mace, data, arguments.epochs, folder)
        train_ours(data, arguments.minutes, file)
        if other.wait() != 0:
            raise SystemExit(f"mace-torch failed, see {folder / 'log.txt'}")
    ours = test_ours(data, file)
    theirs = test_mace(arguments.mace, data, folder) | {
        "minutes": minutes_of(folder / "log.txt"),
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
