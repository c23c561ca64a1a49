"""Fitting a potential with Lightning: any mix of labels, balanced losses, averaged weights."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from ase.data import chemical_symbols
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor
from torch.multiprocessing import ProcessRaisedException
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader
from tqdm import tqdm

from objstress.errors import ConvergenceError, InputError
from objstress.files import write_whole
from objstress.graphs.atom_graph import atom_graph, total_charge
from objstress.models.potential import Potential, PotentialSettings
from objstress.training.epochs import EpochBatches
from objstress.training.frames import (
    TARGETS,
    Frame,
    elements_of,
    fitted_references,
    given_references,
    labelled_graphs,
    read_frames,
    root_mean_square,
)
from objstress.training.plausibility import unit_warnings
from objstress.training.resume import LAST, resume_from, work_folder
from objstress.training.settings import FitSettings, OptimiserSettings, read_settings

ROUNDING = 1e-3
"""Difference of float32 and float64, relative to the labels, beyond which a warning is due."""


@dataclass(frozen=True)
class FitData:
    """What is learned, and the numbers that labels are made comparable with.

    Attributes:
        train, valid: frames.
        potential: settings of the potential.
        references: (elements,) eV.
        buffers: values of the potential's other buffers, found from the training frames.
        scales: {target: what its errors are divided by, in its unit (per atom if extensive)}.
    """

    train: list[Frame]
    valid: list[Frame]
    potential: PotentialSettings
    references: np.ndarray
    buffers: dict[str, list[float] | float]
    scales: dict[str, float]


def train_potential(
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


def prepare(settings: FitSettings, say: Callable[[str], None] = lambda text: None) -> FitData:
    """Frames read, split and checked for plausible units; references and scales.

    Raises:
        InputError: see `read_frames`; too few frames.
    """
    frames = read_frames(settings.data, settings.keys)
    if isinstance(settings.validation, str):
        train, valid = frames, read_frames(settings.validation, settings.keys, optional=True)
    else:
        number = max(1, round(settings.validation * len(frames)))
        order = np.random.default_rng(settings.training.seed).permutation(len(frames))
        valid = [frames[k] for k in np.sort(order[:number])]
        train = [frames[k] for k in np.sort(order[number:])]
    least = settings.training.processes
    if len(train) < least or len(valid) < least:
        raise InputError(
            f"{settings.data}: {len(frames)} frames are too few to train and to validate"
        )
    unlabelled = [t for t in settings.tasks if not any(t in f.labels for f in train)]
    if unlabelled:
        raise InputError(f"{settings.data}: all labels of the {unlabelled[0]} went to validation")
    present = elements_of(train)
    strange = set(elements_of(valid)) - set(present)
    if strange:
        raise InputError(
            f"{settings.data}: {chemical_symbols[min(strange)]} occurs in validation frames only; "
            "give more frames of it, or another training.seed"
        )
    open_settings = settings.potential_settings(present, 1.0)
    elements = open_settings.elements
    unknown = set(present) - set(elements)
    if unknown:
        raise InputError(f"model.elements lacks {chemical_symbols[min(unknown)]}, which is trained")
    given = None
    if "energy" in settings.keys and settings.references != "fitted":
        given = given_references(settings.references, elements, settings.keys["energy"])
    references = fitted_references(train, elements) if given is None else given
    compared = given
    if compared is not None:
        compared = np.array([dict(zip(elements, compared, strict=True))[z] for z in present])
    for line in unit_warnings(train, compared, stress="stress" in settings.keys):
        say(f"warning: {line}")
    potential = settings.potential_settings(
        elements, _mean_neighbours(train, elements, open_settings.cutoff)
    )
    scales, buffers = _scales(train, settings.tasks, elements)
    labels = ", ".join(f"{sum(t in f.labels for f in train)} with {t}" for t in settings.tasks)
    say(f"{len(train)} training frames ({labels}), {len(valid)} to validate")
    return FitData(train, valid, potential, references, buffers, scales)


def _mean_neighbours(frames: Sequence[Frame], elements: Sequence[int], cutoff: float) -> float:
    some = frames[:: max(1, len(frames) // 50)]
    graphs = []
    for frame in some:
        try:
            graphs.append(atom_graph(frame.atoms, elements, cutoff))
        except InputError as error:
            raise InputError(f"{frame.place}: {error}") from None
    edges = sum(int(g.edge_index.shape[1]) for g in graphs)
    return max(1.0, round(edges / sum(int(g.num_nodes) for g in graphs), 2))


def _scales(
    frames: Sequence[Frame], tasks: Collection[str], elements: Sequence[int]
) -> tuple[dict[str, float], dict[str, list[float] | float]]:
    """What errors are divided by, and the scales of the potential's outputs."""
    size = float(np.mean([len(f.atoms) for f in frames]))
    scales: dict[str, float] = {}
    buffers: dict[str, list[float] | float] = {}
    force = root_mean_square(frames, "forces")
    buffers["scale"] = force
    for task in tasks:
        if task in ("energy", "forces"):
            scales[task] = force
        elif task == "polarizability":
            means = fitted_references(frames, elements, task)
            buffers["mean_polarizabilities"] = means.tolist()
            rest = [
                f.labels[task] - np.eye(3) * sum(means[elements.index(z)] for z in f.atoms.numbers)
                for f in frames
                if task in f.labels
            ]
            spread = float(np.sqrt(np.mean(np.square(rest)))) or 1.0
            buffers["polarizability_scale"] = spread / math.sqrt(size)
            scales[task] = spread / size
        else:
            rms = root_mean_square(frames, task)
            scales[task] = rms / size if TARGETS[task].extensive else rms
            if task == "dipole":
                buffers["dipole_scale"] = rms / math.sqrt(size)
    return scales, buffers


def _new_potential(data: FitData, settings: FitSettings, dtype: torch.dtype) -> Potential:
    """Random weights of the seed, references zero: what is learned is the rest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        # Drawn in float64 whatever the dtype: both start from the same weights.
        potential = Potential(data.potential, torch.float64)
    for name, value in data.buffers.items():
        getattr(potential, name).copy_(torch.as_tensor(value, dtype=torch.float64))
    return potential.to(dtype)


class PotentialFit(lightning.LightningModule):
    """Balanced losses of a potential, its averaged weights, and their validation.

    References that are fitted, not given, are fitted again after every epoch to what the network
    left of the energies in it: forces say nothing about a constant, and the network, led by them,
    would be long in finding it. What is added since the start stands in `references`.
    """

    potential: Potential
    average: Potential

    def __init__(self, data: FitData, settings: FitSettings, log: Path):
        super().__init__()
        # Graphs and networks are made in each process: nothing but numpy is sent to it.
        self.frames, self.fit_settings, self.log_file = data, settings, log
        self.tasks = settings.tasks
        self.balancer = settings.balancing.build(self.tasks)
        self.judge = settings.balancing.judge(self.tasks)
        self.dtype_ = getattr(torch, settings.training.dtype)
        self.seconds_before = 0.0
        self.begun = time.monotonic()
        self.latest: dict[str, Any] = {}

    def configure_model(self) -> None:
        if hasattr(self, "potential"):
            return
        self.potential = _new_potential(self.frames, self.fit_settings, self.dtype_)
        self.average = _new_potential(self.frames, self.fit_settings, self.dtype_)
        self.average.requires_grad_(False)

    def _graphs(self, frames: list[Frame]) -> list:
        found = self.frames
        return labelled_graphs(
            frames,
            found.potential.elements,
            found.potential.cutoff,
            self.tasks,
            references=found.references,
            dtype=self.dtype_,
        )

    def train_dataloader(self) -> DataLoader:
        training = self.fit_settings.training
        batches = EpochBatches(
            len(self.frames.train),
            training.batch_size,
            training.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
        )
        return DataLoader(self._graphs(self.frames.train), batch_sampler=batches)

    def val_dataloader(self) -> DataLoader:
        own = self.frames.valid[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(self._graphs(own), batch_size=4 * self.fit_settings.training.batch_size)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        training = self.fit_settings.training
        return torch.optim.AdamW(
            self.potential.parameters(),
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            amsgrad=True,
        )

    # Progress and learning rate

    @property
    def minutes(self) -> float:
        return (self.seconds_before + time.monotonic() - self.begun) / 60

    def _progress(self) -> float:
        """Part of the training that is over: of the steps or of the time, whichever is more."""
        steps = self.fit_settings.training.epochs * self.trainer.num_training_batches
        done = (self.trainer.global_step + 0.5) / steps
        limit = self.fit_settings.training.max_minutes
        if limit is not None:
            # The same in all processes: the slowest clock.
            done = max(done, float(self._most(torch.tensor(self.minutes / limit))))
        return min(done, 1.0)

    def _rate(self, progress: float) -> float:
        s = self.fit_settings.training
        if progress < s.warm_up:
            return s.learning_rate * progress / s.warm_up
        x = (progress - s.warm_up) / (1 - s.warm_up)
        return s.learning_rate * (
            s.final_rate + (1 - s.final_rate) * 0.5 * (1 + math.cos(math.pi * x))
        )

    def on_train_start(self) -> None:
        self.begun = time.monotonic()
        if self.trainer.is_global_zero:
            _cut_log(self.log_file, self.trainer.current_epoch)
        self.on_train_epoch_start()  # Lightning calls it not in an epoch that is gone on with

    def on_train_epoch_start(self) -> None:
        self._sums = torch.zeros(len(self.tasks), dtype=torch.float64, device=self.device)
        self._counts = torch.zeros_like(self._sums)
        z = len(self.frames.potential.elements)
        self._normal = torch.zeros(z, z + 1, dtype=torch.float64, device=self.device)

    # Losses

    def _gaps(self, found: dict[str, Tensor], batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """For each task (prediction - label) / scale, zero without a label, and what has one."""
        size = torch.diff(batch.ptr)
        gaps = []
        for task in self.tasks:
            label = batch[f"target_{task}"]
            known = torch.isfinite(label)
            gap = torch.where(known, found[task] - torch.nan_to_num(label), 0.0)
            gap = gap / self.frames.scales[task]
            if TARGETS[task].extensive:
                gap = gap / size.view(-1, *[1] * (gap.ndim - 1))
            gaps.append((gap, known))
        return gaps

    def _measure(self, gaps: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Sums of l over the labels, and their numbers, (tasks,)."""
        s = self.fit_settings.training
        sums = [
            torch.nn.functional.huber_loss(
                gap, torch.zeros_like(gap), reduction="sum", delta=s.huber_delta
            )
            if s.loss == "huber"
            else (gap**2).sum()
            for gap, _ in gaps
        ]
        return torch.stack(sums), torch.stack([known.sum() for _, known in gaps])

    def training_step(self, batch: Batch, index: int) -> Tensor:
        progress = self._progress()
        for group in self.optimizers().param_groups:
            group["lr"] = self._rate(progress)
        gaps = self._gaps(self.potential(batch, self.tasks), batch)
        if "energy" in self.tasks:
            self._remember_energies(*gaps[self.tasks.index("energy")], batch)
        sums, counts = self._measure(gaps)
        counts = self._total(counts)
        present = counts > 0
        # The mean over the labels of all processes; gradients are averaged over these.
        losses = sums * (self.trainer.world_size / counts.clamp(min=1))
        norms = None
        every = self.fit_settings.balancing.every
        if self.balancer.needs_norms and self.trainer.global_step % every == 0:
            norms = self._norms(losses, present)
        weights = self.balancer.at(progress).to(losses, copy=True)
        means = self._total(losses.detach()) / self.trainer.world_size
        if not torch.isfinite(means).all():
            raise ConvergenceError(
                f"the loss is not finite in epoch {self.trainer.current_epoch}: lower "
                "learning_rate or clip, or look at the labels"
            )
        total = (weights * losses).sum()
        self.balancer.update(means, present, norms)
        self._sums += torch.where(present, means, 0.0)
        self._counts += present
        return total

    def _remember_energies(self, gap: Tensor, known: Tensor, batch: Batch) -> None:
        """Normal equations of the energies per atom that are left, with the compositions."""
        size = torch.diff(batch.ptr)
        place = batch.batch * len(self._normal) + batch.species
        numbers = torch.bincount(place, minlength=len(size) * len(self._normal))
        part = numbers.double().view(len(size), -1) / size[:, None] * known[:, None]
        left = gap.detach().double() * self.frames.scales["energy"]
        self._normal += part.T @ torch.cat([part, left[:, None]], dim=1)

    def _refit_references(self) -> None:
        normal = self._total(self._normal)
        shift = torch.linalg.pinv(normal[:, :-1], rtol=1e-10, hermitian=True) @ normal[:, -1]
        for potential in (self.potential, self.average):
            potential.references -= shift.to(potential.references)

    def _norms(self, losses: Tensor, present: Tensor) -> Tensor:
        """|grad L_t| at the last shared layer, of the losses over all processes, (tasks,)."""
        parameters = list(self.potential.shared.parameters())
        rows = []
        for loss, there in zip(losses, present, strict=True):
            zero = [torch.zeros_like(p) for p in parameters]
            if there:
                found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                zero = [z if g is None else g for z, g in zip(zero, found, strict=True)]
            rows.append(torch.cat([g.flatten() for g in zero]))
        return (self._total(torch.stack(rows)) / self.trainer.world_size).norm(dim=1)

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        steps = self.trainer.global_step
        keep = min(self.fit_settings.training.average, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.potential.parameters()), 1 - keep
            )
        if self.fit_settings.training.max_minutes is not None and self._progress() >= 1:
            self.trainer.should_stop = True

    # Validation

    def on_validation_epoch_start(self) -> None:
        if "energy" in self.tasks and self.fit_settings.references == "fitted":
            self._refit_references()
        self._valid = torch.zeros(3, len(self.tasks), dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, index: int) -> None:
        self.average.eval()
        gaps = self._gaps(self.average(batch, self.tasks), batch)
        self._valid[:2] += torch.stack(self._measure(gaps))
        self._valid[2] += torch.stack([(gap.double() ** 2).sum() for gap, _ in gaps])

    def on_validation_epoch_end(self) -> None:
        sums, counts, squares = self._total(self._valid)
        loss = (self.judge.weights * sums / counts.clamp(min=1)).sum()
        self.log("valid_loss", loss.float(), sync_dist=False)
        rmse = (squares / counts).sqrt()  # NaN without labels
        weights = self.balancer.at(self._progress())
        train = self._sums / self._counts
        self.latest = {
            "epoch": self.trainer.current_epoch,
            "steps": self.trainer.global_step,
            "minutes": round(self.minutes, 4),
            "learning_rate": self._rate(self._progress()),
            "valid_loss": float(loss),
        }
        for k, task in enumerate(self.tasks):
            self.latest |= {
                f"loss_{task}": float(train[k]),
                f"weight_{task}": float(weights[k]),
                f"rmse_{task}": float(rmse[k]) * self.frames.scales[task],
            }
        if self.trainer.is_global_zero:
            _append_log(self.log_file, self.latest)

    # Several processes, checkpoints

    def _total(self, x: Tensor) -> Tensor:
        """Sum over the processes."""
        return self._reduced(x, "sum")

    def _most(self, x: Tensor) -> Tensor:
        return self._reduced(x, "max")

    def _reduced(self, x: Tensor, how: str) -> Tensor:
        if self.trainer.world_size == 1:
            return x.detach()
        x = x.detach().clone().to(self.device)
        operation = getattr(torch.distributed.ReduceOp, how.upper())
        torch.distributed.all_reduce(x, operation)
        return x

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["minutes"] = self.minutes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.seconds_before = 60 * checkpoint["minutes"]


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
    digest = hashlib.sha256()
    for part in (data.train, data.valid):
        for frame in part:
            atoms = frame.atoms
            arrays = [atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc]
            arrays.append(np.array(total_charge(atoms)))
            for array in (*arrays, *(frame.labels[t] for t in sorted(frame.labels))):
                digest.update(np.ascontiguousarray(array).tobytes())
    free = {"epochs", "max_minutes", "processes", "accelerator", "patience"}
    kept = settings.model_dump(mode="json", exclude={"training": free, "data": True})
    digest.update(json.dumps([kept, data.references.tolist()], sort_keys=True).encode())
    before = (folder / LAST).exists()
    found = resume_from(folder, digest.hexdigest(), stale=("best.ckpt", "log.csv"))
    if before and found is None:
        say(f"{folder}: a training of other data or settings lay here; it is begun anew")
    return found


def _cut_log(path: Path, epoch: int) -> None:
    """Drop what a run that was interrupted wrote of the epochs to come."""
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)
        kept = [x for x in lines[1:] if int(x.split(",")[0]) < epoch]
        write_whole(path, "".join([*lines[:1], *kept]))


def _append_log(path: Path, row: Mapping[str, Any]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerow(row)
    with open(path, "a") as file:
        file.write(text.getvalue())


def evaluate_potential(
    potential: Potential,
    path: str | Path,
    keys: Mapping[str, str] | None = None,
    group: str | None = None,
    batch_size: int = 16,
) -> dict[str, Any]:
    """Errors of a potential on labelled structures, over all of them and by their kind.

    Args:
        path: see `read_frames`.
        keys: {target: key}, each of which must be there; None takes those of the training, as far
            as the file has them.
        group: key of the frames' kind, see `read_frames`.

    Returns:
        `frames`; `targets`: {target: `rmse`, `mae` over all components in `unit`, `labels` (frames
        that have one)}, energies per atom with `rmse_total`, `mae_total` in eV, pseudoscalars with
        `right_sign`, a part of 1; `groups`: {kind: the same of its frames}, where there are any.

    Raises:
        InputError: see `read_frames`, `atom_graph`; a target that the potential has no head for.
    """
    trained = potential.metadata.get("keys") or {
        t: t for t, target in TARGETS.items() if target.head in potential.settings.heads
    }
    frames = read_frames(path, keys or trained, optional=not keys, group=group)
    tasks = [t for t in (keys or trained) if any(t in f.labels for f in frames)]
    headless = [t for t in tasks if TARGETS[t].head not in potential.settings.heads]
    if headless:
        raise InputError(
            f"this potential has no {headless[0]}; it has {', '.join(potential.settings.heads)}"
        )
    return _errors(potential, frames, tasks, batch_size)


def _errors(
    potential: Potential, frames: Sequence[Frame], tasks: Sequence[str], batch_size: int = 16
) -> dict[str, Any]:
    gaps: list[dict[str, tuple[np.ndarray, float]]] = []
    for found in _predictions(potential, frames, tasks, batch_size):
        frame = frames[len(gaps)]
        own = {}
        for task in tasks:
            if task in frame.labels:
                label = frame.labels[task]
                gap = np.reshape(found[task], np.shape(label)) - label
                own[task] = (np.atleast_1d(gap), float(np.sum(label)))
        gaps.append(own)
    sizes = [len(f.atoms) for f in frames]
    everything = range(len(frames))
    result: dict[str, Any] = {
        "frames": len(frames),
        "targets": _summary(gaps, sizes, tasks, everything),
    }
    kinds = sorted({f.group for f in frames} - {""})
    if kinds:
        result["groups"] = {
            kind: {
                "frames": sum(f.group == kind for f in frames),
                "targets": _summary(
                    gaps, sizes, tasks, [k for k in everything if frames[k].group == kind]
                ),
            }
            for kind in kinds
        }
    return result


def _summary(
    gaps: list[dict[str, tuple[np.ndarray, float]]],
    sizes: list[int],
    tasks: Sequence[str],
    which: Sequence[int],
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for task in tasks:
        known = [k for k in which if task in gaps[k]]
        if not known:
            continue
        flat = np.concatenate([gaps[k][task][0].ravel() for k in known])
        entry: dict[str, Any] = {"unit": TARGETS[task].unit, "labels": len(known)}
        if task == "energy":
            entry |= {"unit": "eV/atom"}
            total, flat = flat, flat / np.array([sizes[k] for k in known])
            entry |= {"rmse_total": _rms(total), "mae_total": float(np.abs(total).mean())}
        entry |= {"rmse": _rms(flat), "mae": float(np.abs(flat).mean())}
        if task == "pseudoscalar":
            label = np.array([gaps[k][task][1] for k in known])
            entry["right_sign"] = float(np.mean(np.sign(flat + label) == np.sign(label)))
        result[task] = entry
    return result


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _predictions(
    potential: Potential, frames: Sequence[Frame], tasks: Sequence[str], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """What the potential says about each frame, in the frames' order."""
    s = potential.settings
    device = potential.references.device
    was = potential.training
    potential.eval()
    try:
        for start in range(0, len(frames), batch_size):
            some = frames[start : start + batch_size]
            graphs = labelled_graphs(some, s.elements, s.cutoff, (), dtype=potential.dtype)
            batch = Batch.from_data_list(graphs).to(device)
            found = {k: v.cpu().numpy() for k, v in potential(batch, tasks).items()}
            ends = np.cumsum([0, *(len(f.atoms) for f in some)])
            for k in range(len(some)):
                yield {
                    t: v[ends[k] : ends[k + 1]] if TARGETS[t].per_atom else v[k]
                    for t, v in found.items()
                }
    finally:
        potential.train(was)


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
