"""The Lightning module that fits a potential."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from objstress.errors import ConvergenceError
from objstress.io.files import write_whole
from objstress.models.potential import Potential
from objstress.training.potential.data import FitData, new_potential
from objstress.training.potential.frames import TARGETS, Frame, labelled_graphs
from objstress.training.potential.settings import FitSettings
from objstress.training.trainer import EpochBatches, FitModule

LOG = "log.csv"
"""The log of a fit in its folder, a row for each epoch."""
SHOWN = {"energy": (1e3, "meV/atom"), "forces": (1e3, "meV/Angstrom")}
"""Targets whose errors the progress bar shows in another unit: factor and unit."""


class PotentialFit(FitModule):
    """Balanced losses of a potential, its averaged weights, and their validation.

    Fitted references are fitted again after every epoch to the energies that the network left in
    it: forces do not determine a constant, and the network, led by them, would find it slowly.
    `references` holds what was added since the start.

    Args:
        data: frames, references and scales.
        settings: of the fit.
        folder: the log is written there.
    """

    files = (LOG,)
    potential: Potential
    average: Potential

    def __init__(self, data: FitData, settings: FitSettings, folder: Path):
        super().__init__()
        # Each process makes its graphs and networks: only numpy arrays are sent to it.
        self.frames, self.fit_settings, self.log_file = data, settings, folder / LOG
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
        self.potential = new_potential(self.frames, self.fit_settings, self.dtype_)
        self.average = new_potential(self.frames, self.fit_settings, self.dtype_)
        self.average.requires_grad_(False)

    def _graphs(self, frames: list[Frame]) -> list:
        data = self.frames
        return labelled_graphs(
            frames,
            data.potential.elements,
            data.potential.cutoff,
            self.tasks,
            references=data.references,
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
        share = self.frames.valid[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(self._graphs(share), batch_size=4 * self.fit_settings.training.batch_size)

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
        """Fraction of the fit that is over: of the steps or of the time, whichever is more."""
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
        self.on_train_epoch_start()  # Lightning does not call it in an epoch that is resumed

    def on_train_epoch_start(self) -> None:
        self._sums = torch.zeros(len(self.tasks), dtype=torch.float64, device=self.device)
        self._counts = torch.zeros_like(self._sums)
        z = len(self.frames.potential.elements)
        self._normal = torch.zeros(z, z + 1, dtype=torch.float64, device=self.device)

    # Losses

    def _gaps(self, predicted: dict[str, Tensor], batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """(prediction - label) / scale of each task, zero without a label; and where labels are."""
        size = torch.diff(batch.ptr)
        gaps = []
        for task in self.tasks:
            label = batch[f"target_{task}"]
            known = torch.isfinite(label)
            gap = torch.where(known, predicted[task] - torch.nan_to_num(label), 0.0)
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
                "learning_rate or clip, or check the labels"
            )
        total = (weights * losses).sum()
        self.balancer.update(means, present, norms)
        self._sums += torch.where(present, means, 0.0)
        self._counts += present
        return total

    def _remember_energies(self, gap: Tensor, known: Tensor, batch: Batch) -> None:
        """Add to the normal equations of the residual energies per atom."""
        size = torch.diff(batch.ptr)
        place = batch.batch * len(self._normal) + batch.species
        numbers = torch.bincount(place, minlength=len(size) * len(self._normal))
        part = numbers.double().view(len(size), -1) / size[:, None] * known[:, None]
        left = gap.detach().double() * self.frames.scales["energy"]
        self._normal += part.T @ torch.cat([part, left[:, None]], dim=1)

    def _refit_references(self) -> None:
        normal = self._total(self._normal)
        free = torch.as_tensor(self.frames.fitted, device=normal.device)
        square, right = normal[free][:, :-1][:, free], normal[free, -1]
        shift = torch.linalg.pinv(square, rtol=1e-10, hermitian=True) @ right
        for potential in (self.potential, self.average):
            potential.references[free] -= shift.to(potential.references)

    def _norms(self, losses: Tensor, present: Tensor) -> Tensor:
        """|grad L_t| at the last shared layer, of the losses over all processes, (tasks,)."""
        parameters = list(self.potential.shared.parameters())
        rows = []
        for loss, labelled in zip(losses, present, strict=True):
            grads = [torch.zeros_like(p) for p in parameters]
            if labelled:
                some = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                grads = [z if g is None else g for z, g in zip(grads, some, strict=True)]
            rows.append(torch.cat([g.flatten() for g in grads]))
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
        if "energy" in self.tasks and self.frames.fitted.any():
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

    def status(self) -> str:
        parts = []
        for task in self.tasks:
            factor, unit = SHOWN.get(task, (1.0, TARGETS[task].unit))
            parts.append(f"{task} {factor * self.latest[f'rmse_{task}']:.3g} {unit}")
        return ", ".join(parts)

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


def _cut_log(path: Path, epoch: int) -> None:
    """Drop the rows that an interrupted run wrote of epochs that are done again."""
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
