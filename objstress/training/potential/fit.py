"""Fitting a potential with Lightning: any mix of labels, balanced losses, averaged weights."""

from __future__ import annotations

import csv
import json
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch.multiprocessing import ProcessRaisedException
from tqdm import tqdm

from objstress.errors import ConvergenceError, InputError
from objstress.graphs.atoms import total_charge
from objstress.io.run_folder import LAST, fingerprint, resume_from, work_folder
from objstress.models.potential import Potential
from objstress.training.potential.data import FitData, _new_potential, prepare
from objstress.training.potential.evaluate import _errors, _predictions
from objstress.training.potential.frames import (
    TARGETS,
)
from objstress.training.potential.module import PotentialFit
from objstress.training.potential.settings import FitSettings, OptimiserSettings, read_settings

ROUNDING = 1e-3
"""Difference of float32 and float64, relative to the labels, beyond which a warning is due."""


def fit_potential(
    settings: FitSettings | str | Path,
    workdir: str | Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Potential:
    r"""Fit a potential to labelled structures.

        L = sum_t w_t L_t,   L_t = mean over the batch's labels of l((prediction - label) / s_t)

    l(x) = x^2, or Huber's; s_t is the RMS of the forces for forces and (times 1 Angstrom) for
    energies per atom, the RMS of the labels for stress, dipole per atom and others, so that the
    L_t have no units; w_t see `balancing`. The weights kept are the exponential average with the
    least validation loss (with the settings' own w_t, of two
    stages the later ones). In several processes the sums run over all
    of them: the number of processes changes results by rounding only (a script that asks for
    several needs the guard `if __name__ == "__main__":`, since each of them imports it).

    Args:
        settings: or a file of them, see `read_settings`.
        workdir: folder for `log.csv` and checkpoints; a run that was interrupted there with the
            same data and settings goes on. None uses a folder that is thrown away.
        progress: a bar over the epochs on standard error.
        say: called with a line on each step.

    Returns:
        The potential in float64; `metadata` holds the facts of its training.

    Raises:
        InputError: see `read_frames`, `read_settings`; GPUs that are not there.
        ConvergenceError: the loss is no longer finite.
    """
    if not isinstance(settings, FitSettings):
        settings = read_settings(settings)
    data = prepare(settings, say)
    with work_folder(workdir) as folder:
        seconds = time.monotonic()
        _fit(data, settings, folder, progress, say)
        seconds = time.monotonic() - seconds
        checkpoint = torch.load(folder / "best.ckpt", weights_only=True, map_location="cpu")
        with open(folder / "log.csv", newline="") as file:
            log = list(csv.DictReader(file))
    potential = _new_potential(data, settings, torch.float64)
    state = checkpoint["state_dict"]
    potential.load_state_dict(
        {k.removeprefix("average."): v for k, v in state.items() if k.startswith("average.")}
    )
    potential.references.add_(torch.as_tensor(data.references))
    potential.eval()
    errors = _errors(potential, data.valid, settings.tasks)
    rounding = _rounding(potential, data, settings)
    if rounding > ROUNDING:
        say(f"warning: float32 and float64 differ by {rounding:.1e} of the labels")
    potential.metadata = {
        "keys": dict(settings.keys),
        "frames": {"train": len(data.train), "valid": len(data.valid)},
        "references": "fitted" if settings.references == "fitted" else "given",
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


class _Bar(Callback):
    """One bar over the epochs, on standard error (Lightning's own writes to stdout)."""

    UNITS = {"energy": (1e3, "meV/atom"), "forces": (1e3, "meV/Angstrom")}

    def on_train_start(self, trainer, module) -> None:
        self.bar = None
        if trainer.is_global_zero:
            self.bar = tqdm(
                total=trainer.max_epochs, initial=trainer.current_epoch, desc="potential"
            )

    def on_validation_end(self, trainer, module) -> None:
        if self.bar is None:
            return
        parts = []
        for task in module.tasks:
            factor, unit = self.UNITS.get(task, (1.0, TARGETS[task].unit))
            parts.append(f"{task} {factor * module.latest[f'rmse_{task}']:.3g} {unit}")
        self.bar.set_postfix_str(", ".join(parts))
        self.bar.update()

    def on_train_end(self, trainer, module) -> None:
        if self.bar is not None:
            self.bar.close()


def _fit(
    data: FitData,
    settings: FitSettings,
    folder: Path,
    progress: bool,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train, and leave `best.ckpt`, `last.ckpt` and `log.csv` in the folder."""
    training = settings.training
    gpu = _on_gpu(training)
    resume = _resume_from(folder, data, settings, say)
    if resume is not None and training.max_minutes is not None:
        spent = torch.load(resume, weights_only=True, map_location="cpu")["minutes"]
        if spent >= training.max_minutes:
            return
    callbacks: list[Callback] = [
        ModelCheckpoint(
            dirpath=folder,
            filename="best",
            monitor="valid_loss",
            save_last=True,
            enable_version_counter=False,
        )
    ]
    if training.patience is not None:
        callbacks.append(EarlyStopping("valid_loss", patience=training.patience))
    if progress:
        callbacks.append(_Bar())
    module = PotentialFit(data, settings, folder / "log.csv")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=training.epochs,
            accelerator="gpu" if gpu else "cpu",
            devices=training.processes,
            strategy="auto" if training.processes == 1 else "ddp_spawn",
            use_distributed_sampler=False,
            gradient_clip_val=training.clip,
            inference_mode=False,
            logger=False,
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        try:
            trainer.fit(module, ckpt_path=resume)
        except ProcessRaisedException as error:
            # The last line of another process's traceback.
            kind, _, text = str(error).strip().splitlines()[-1].partition(": ")
            for known in (ConvergenceError, InputError):
                if kind.endswith(known.__name__):
                    raise known(text) from None
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt


def _on_gpu(training: OptimiserSettings) -> bool:
    """Whether to train there; refused where there are too few."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if training.accelerator == "cpu" or (training.accelerator == "auto" and not there):
        return False
    if there < training.processes:
        raise InputError(
            f"training.accelerator = {training.accelerator}, training.processes = "
            f"{training.processes}: each needs a GPU, and PyTorch finds {there}; set "
            "training.accelerator to cpu" + (f" or training.processes to {there}" if there else "")
        )
    return True


def _resume_from(
    folder: Path, data: FitData, settings: FitSettings, say: Callable[[str], None]
) -> Path | None:
    # A checkpoint counts only for the same labels and settings; a longer run may go on from it.
    parts: list[np.ndarray | str] = []
    for part in (data.train, data.valid):
        for frame in part:
            atoms = frame.atoms
            arrays = [atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc]
            arrays.append(np.array(total_charge(atoms)))
            parts += [*arrays, *(frame.labels[t] for t in sorted(frame.labels))]
    free = {"epochs", "max_minutes", "processes", "accelerator", "patience"}
    kept = settings.model_dump(mode="json", exclude={"training": free, "data": True})
    parts.append(json.dumps([kept, data.references.tolist()], sort_keys=True))
    before = (folder / LAST).exists()
    found = resume_from(folder, fingerprint(parts), stale=("best.ckpt", "log.csv"))
    if before and found is None:
        say(f"{folder}: a training of other data or settings lay here; it is begun anew")
    return found


def _rounding(potential: Potential, data: FitData, settings: FitSettings) -> float:
    """Largest difference of float32 and float64 on validation frames, relative to the scales."""
    some = data.valid[:10]
    single = _new_potential(data, settings, torch.float32)
    single.load_state_dict(potential.state_dict())
    # Without the references, whose rounding is that of any float32 number.
    single.references.zero_()
    double = _new_potential(data, settings, torch.float64)
    double.load_state_dict(potential.state_dict() | {"references": 0 * potential.references})
    worst = 0.0
    tasks = settings.tasks
    for a, b, frame in zip(
        *(_predictions(p, some, tasks, 10) for p in (single, double)), some, strict=True
    ):
        for task in tasks:
            size = len(frame.atoms) if TARGETS[task].extensive else 1
            gap = np.abs(a[task] - b[task]).max() / size / data.scales[task]
            worst = max(worst, float(gap))
    return worst
