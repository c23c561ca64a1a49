"""mace-torch in an environment of its own: trained in a process beside, read back from its log."""

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path

FLAGS = {
    "E0s": "average",
    "model": "MACE",
    "max_L": 1,
    "correlation": 3,
    "max_ell": 3,
    "num_interactions": 2,
    "valid_fraction": 0.05,
    "forces_weight": 1000,
    "energy_weight": 40,
    "swa_energy_weight": 1000,
    "swa_forces_weight": 100,
    "ema_decay": 0.99,
    "lr": 0.01,
    "default_dtype": "float32",
    "device": "cpu",
    "seed": 1,
    "energy_key": "energy",
    "forces_key": "forces",
}
"""0e + 1o features, correlation 3, rates and weights that its authors use for small sets."""


def start_training(
    python: str,
    data: Path,
    folder: Path,
    *,
    channels: int,
    cutoff: float,
    batch_size: int,
    epochs: int,
    **flags: object,
) -> subprocess.Popen:
    """mace-torch on one thread, its second stage in the last quarter of the epochs.

    Args:
        python: interpreter of an environment that has mace-torch.
        flags: beyond `FLAGS`.
    """
    given = FLAGS | {
        "name": "model",
        "train_file": data,
        "num_channels": channels,
        "r_max": cutoff,
        "batch_size": batch_size,
        "valid_batch_size": 4 * batch_size,
        "max_num_epochs": epochs,
        "start_swa": int(0.75 * epochs),
        "work_dir": folder,
    }
    command = [str(Path(python).with_name("mace_run_train"))]
    command += [f"--{key}={value}" for key, value in (given | flags).items()]
    command += ["--swa", "--ema", "--amsgrad"]
    with open(folder / "log.txt", "w") as log:
        # A session of its own: schedulers that share the cores by session treat both alike.
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=_environment(), start_new_session=True
        )


def trained_model(folder: Path) -> Path:
    """What the training left."""
    return next(folder.rglob("model_stagetwo.model"), None) or next(folder.rglob("model.model"))


def run(command: list[str]) -> str:
    """What a program of mace-torch's environment prints."""
    return subprocess.run(
        command, check=True, env=_environment(), stdout=subprocess.PIPE, text=True
    ).stdout


def minutes_of(folder: Path) -> float:
    """From the start of the training to its end, by the times in mace-torch's log."""
    times = [
        datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S.%f")
        for line in (folder / "log.txt").read_text().splitlines()
        if "Started training" in line or "Training complete" in line
    ]
    return (times[-1] - times[0]).total_seconds() / 60


def number_of_weights(python: str, model: Path) -> int:
    """Of a model that mace-torch has saved."""
    count = "import sys, torch; print(sum(p.numel() for p in torch.load(sys.argv[1], "
    count += "map_location='cpu', weights_only=False).parameters()))"
    return int(run([python, "-W", "ignore", "-c", count, str(model)]).split()[-1])


def versions(python: str) -> dict[str, str]:
    """Of mace-torch and what it runs on."""
    code = "import json; from importlib.metadata import version as v; "
    code += "print(json.dumps({k: v(k) for k in ('mace-torch', 'e3nn', 'torch', 'numpy')}))"
    return json.loads(run([python, "-c", code]))


def _environment() -> dict[str, str]:
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    }
