"""Fits of potentials: any mix of labels, balanced losses, averaged weights."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from objstress.graphs.atoms import total_charge
from objstress.io.run_folder import fingerprint, work_folder
from objstress.models.potential import Potential
from objstress.training.potential.data import FitData, new_potential, prepare
from objstress.training.potential.evaluate import frame_errors, predictions
from objstress.training.potential.frames import TARGETS
from objstress.training.potential.module import LOG, PotentialFit
from objstress.training.potential.settings import FitSettings, read_settings
from objstress.training.trainer import BEST, run_fit

ROUNDING = 1e-3
"""Difference of float32 and float64, relative to the labels, beyond which a warning is due."""


def fit_potential(
    settings: FitSettings | str | Path,
    workdir: str | Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Potential:
    r"""Fit a potential to labelled structures.

    .. math::
        L = \sum_t w_t L_t, \qquad
        L_t = \operatorname{mean}_{\text{labels}}\; l\Bigl(\frac{p_t - y_t}{s_t}\Bigr)

    p are predictions, y labels; l(x) = x^2, or Huber's. s_t is the RMS of the forces for forces
    and (times 1 Angstrom) for energies per atom, the RMS of the labels for stress, dipole per atom
    and others, so that the L_t have no units; for w_t see `BalancingSettings`. The kept weights
    are the exponential average with the least validation loss (with the settings' own w_t, of two
    stages the later ones). The number of processes changes results by rounding only (a script
    that asks for several needs the guard `if __name__ == "__main__":`, since each imports it).

    Args:
        settings: of the fit, or a file of them, see `read_settings`.
        workdir: folder for `log.csv` and checkpoints; the same call resumes a fit that was
            interrupted there. None uses a temporary folder.
        progress: show a bar over the epochs on standard error.
        say: called with a line on each step.

    Returns:
        The potential in float64; `metadata` holds the facts of its fit.

    Raises:
        InputError: see `read_frames`, `read_settings`; fewer GPUs than processes.
        ConvergenceError: the loss is no longer finite.
    """
    if not isinstance(settings, FitSettings):
        settings = read_settings(settings)
    data = prepare(settings, say)
    with work_folder(workdir) as folder:
        fit_weights(data, settings, folder, progress, say)
        checkpoint = torch.load(folder / BEST, weights_only=True, map_location="cpu")
        with open(folder / LOG, newline="") as file:
            log = list(csv.DictReader(file))
    potential = new_potential(data, settings, torch.float64)
    state = checkpoint["state_dict"]
    potential.load_state_dict(
        {k.removeprefix("average."): v for k, v in state.items() if k.startswith("average.")}
    )
    potential.references.add_(torch.as_tensor(data.references))
    potential.eval()
    errors = frame_errors(potential, data.valid, settings.tasks)
    rounding = _rounding(potential, data, settings)
    if rounding > ROUNDING:
        say(f"warning: float32 and float64 differ by {rounding:.1e} of the labels")
    potential.metadata = {
        "keys": dict(settings.keys),
        "frames": {"train": len(data.train), "valid": len(data.valid)},
        "references": _origin(data, settings),
        "scales": data.scales,
        "validation": errors["targets"],
        "best_epoch": int(checkpoint["epoch"]),
        "epochs": len(log),
        "minutes": float(log[-1]["minutes"]),
        "weights": {t: float(log[-1][f"weight_{t}"]) for t in settings.tasks},
        "float32_difference": rounding,
        "settings": settings.model_dump(mode="json"),
    }
    return potential


def _origin(data: FitData, settings: FitSettings) -> str:
    if settings.references != "fitted":
        return "given"
    return "fitted" if data.fitted.all() else "isolated atoms"


def fit_weights(
    data: FitData,
    settings: FitSettings,
    folder: Path,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Fit, and leave `best.ckpt`, `last.ckpt` and `log.csv` in the folder.

    Args:
        data, settings: see `prepare`.
        folder, progress, say: see `fit_potential`.

    Raises:
        InputError, ConvergenceError: see `fit_potential`.
    """
    training = settings.training
    run_fit(
        PotentialFit(data, settings, folder),
        folder,
        fit_fingerprint(data, settings),
        epochs=training.epochs,
        monitor="valid_loss",
        patience=training.patience,
        clip=training.clip,
        max_minutes=training.max_minutes,
        accelerator=training.accelerator,
        processes=training.processes,
        title="potential" if progress else None,
        say=say,
    )


def fit_fingerprint(data: FitData, settings: FitSettings) -> str:
    """SHA-256 of the labels and of the settings that a checkpoint depends on."""
    parts: list[np.ndarray | str] = []
    for part in (data.train, data.valid):
        for frame in part:
            atoms = frame.atoms
            arrays = [atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc]
            arrays.append(np.array(total_charge(atoms)))
            parts += [*arrays, *(frame.labels[t] for t in sorted(frame.labels))]
    # A longer fit may resume from the checkpoint of a shorter one.
    free = {"epochs", "max_minutes", "processes", "accelerator", "patience"}
    kept = settings.model_dump(mode="json", exclude={"training": free, "data": True})
    parts.append(json.dumps([kept, data.references.tolist()], sort_keys=True))
    return fingerprint(parts)


def _rounding(potential: Potential, data: FitData, settings: FitSettings) -> float:
    """Largest difference of float32 and float64 on validation frames, relative to the scales."""
    some = data.valid[:10]
    single = new_potential(data, settings, torch.float32)
    single.load_state_dict(potential.state_dict())
    # Without the references, whose rounding is that of any float32 number.
    single.references.zero_()
    double = new_potential(data, settings, torch.float64)
    double.load_state_dict(potential.state_dict() | {"references": 0 * potential.references})
    worst = 0.0
    tasks = settings.tasks
    for a, b, frame in zip(
        *(predictions(p, some, tasks, 10) for p in (single, double)), some, strict=True
    ):
        for task in tasks:
            size = len(frame.atoms) if TARGETS[task].extensive else 1
            gap = np.abs(a[task] - b[task]).max() / size / data.scales[task]
            worst = max(worst, float(gap))
    return worst
