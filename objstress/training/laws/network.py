"""Fits of the constitutive network: full batches, L-BFGS, early stopping."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from objstress.errors import InputError
from objstress.io.run_folder import fingerprint, work_folder
from objstress.models.constitutive import ConstitutiveNetwork
from objstress.models.strain_network import StrainNetwork, StrainPerceptron
from objstress.training.laws.losses import energy_loss, network_response, stress_loss
from objstress.training.laws.settings import NetworkTraining
from objstress.training.laws.stress_residuals import StressResiduals
from objstress.training.trainer import BEST, FitModule, run_fit

Network = ConstitutiveNetwork | StrainNetwork
Member = ConstitutiveNetwork | StrainPerceptron
MOST = 1024
"""Labels that a perceptron is fitted to, and stopped by, drawn at random where there are more."""
FIRST, RATE = 300, 1e-2
"""Steps of Adam that a perceptron begins with, and their rate."""


@dataclass(frozen=True)
class Targets:
    """What the network is fitted to.

    Attributes:
        F: deformation gradients (n, 3, 3).
        stress: P (n, 3, 3), GPa.
        energy: W (n,), GPa; NaN where a label has none.
        weight: of the stresses (n,), 1/GPa.
        p: parameters of a family (n, q), each from -1 to 1; q = 0 of one material.
    """

    F: Tensor
    stress: Tensor
    energy: Tensor
    weight: Tensor
    p: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return self.F, self.stress, self.energy, self.weight, self.p

    def subset(self, index: np.ndarray) -> Targets:
        """The targets with these indices (m,)."""
        i = torch.as_tensor(index)
        return Targets(*(values[i] for values in self.tensors))

    def loader(self) -> DataLoader:
        """All targets as one batch."""
        data = TensorDataset(*self.tensors)
        return DataLoader(data, batch_size=len(data))


class NetworkFit(FitModule):
    """Relative stress loss (plus energy, if weighted) of a constitutive network."""

    def __init__(self, network: Member, settings: NetworkTraining, scale: float):
        super().__init__()
        self.network, self.settings, self.scale = network, settings, scale

    def _loss(self, batch: list[Tensor]) -> Tensor:
        f, stress, energy, weight, _ = batch
        w, p = network_response(self.network, f)
        loss = stress_loss(p, stress, weight)
        if self.settings.energy_weight:
            loss = loss + self.settings.energy_weight * energy_loss(w, energy, self.scale)
        return loss

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss = self._loss(batch)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        p = network_response(self.network, batch[0], batch[4])[1]
        error = stress_loss(p, batch[1], batch[3]).sqrt()
        self.log("valid_error", error, prog_bar=True, batch_size=len(batch[0]))

    def status(self) -> str:
        return f"validation error {self.trainer.callback_metrics['valid_error']:.3%}"

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(
            self.network.parameters(),
            max_iter=self.settings.iterations,
            history_size=self.settings.history,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )


class StrainNetworkFit(NetworkFit):
    """Stress loss of a network of strain, images of strains that agree taken once.

    A few hundred steps of Adam come first: from small random weights L-BFGS alone leads to networks
    that predict load cases that were left out less well.
    """

    network: StrainPerceptron
    problem: StressResiduals | None = None

    def on_train_batch_start(self, batch: list[Tensor], batch_idx: int) -> None:
        if self.problem is not None:  # all epochs see the same labels
            return
        f, stress, _, weight, p = batch
        self.problem = StressResiduals(self.network, f, stress, weight, p)
        if self.current_epoch == 0:
            adam = torch.optim.Adam(self.network.parameters(), lr=RATE)
            for _ in range(FIRST):
                adam.zero_grad()
                self.problem.loss().backward()
                adam.step()

    def _loss(self, batch: list[Tensor]) -> Tensor:
        assert self.problem is not None
        return self.problem.loss()


def fit_network(
    network: Network,
    targets: Targets,
    stops: Sequence[np.ndarray],
    settings: NetworkTraining,
    scale: float,
    workdir: str | Path | None = None,
    progress: bool = True,
) -> list[tuple[float, float]]:
    """Fit a network in place, and leave the weights of the best validation error in it.

    Args:
        network: to be fitted.
        targets: to fit to.
        stops: for each member of a network of strain, else once: which targets (n,) it is stopped
            by; it is fitted to the others.
        settings: of the fit.
        scale: GPa, energy density that energy errors are divided by.
        workdir: folder for `log/metrics.csv` and checkpoints; the same call resumes a fit that
            was interrupted there. None uses a temporary folder.
        progress: show a bar on standard error.

    Returns:
        For each member, the relative validation error of a network that is zero, and its own.

    Raises:
        InputError: an energy weight for a network of strain.
    """
    strain = isinstance(network, StrainNetwork)
    if strain and settings.energy_weight:
        raise InputError("a network of strain is fitted to stresses alone: leave energy_weight 0")
    members: Sequence[Member] = (
        network.perceptrons if isinstance(network, StrainNetwork) else [network]
    )
    errors = []
    with work_folder(workdir) as folder:
        for k, (member, stop) in enumerate(zip(members, stops, strict=True), start=1):
            of = f" {k} of {len(members)}" if len(members) > 1 else ""
            part = folder / str(k) if of else folder
            part.mkdir(parents=True, exist_ok=True)
            fitted = np.flatnonzero(~stop)
            stopping = np.flatnonzero(stop)
            if strain:
                rng = np.random.default_rng([settings.seed, k])
                fitted, stopping = (
                    np.sort(rng.permutation(part)[:MOST]) if len(part) > MOST else part
                    for part in (fitted, stopping)
                )
            train, valid = targets.subset(fitted), targets.subset(stopping)
            kind = StrainNetworkFit if strain else NetworkFit
            run_fit(
                kind(member, settings, scale),
                part,
                _fingerprint(member, train, valid, settings),
                epochs=settings.epochs,
                loaders=(train.loader(), valid.loader()),
                monitor="valid_error",
                patience=settings.patience,
                accelerator=settings.accelerator,
                min_delta=1e-5,
                log=True,
                title=f"network{of}" if progress else None,
            )
            state = torch.load(part / BEST, weights_only=True, map_location="cpu")["state_dict"]
            member.load_state_dict({k.removeprefix("network."): v for k, v in state.items()})
            with torch.no_grad():
                found = network_response(member, valid.F, valid.p)[1]
            both = (stress_loss(p, valid.stress, valid.weight) for p in (0 * found, found))
            before, after = (float(error.sqrt()) for error in both)
            errors.append((before, after))
    return errors


def stopping_labels(place: np.ndarray, size: int, members: int) -> list[np.ndarray]:
    """For each perceptron of a network other labels to be stopped by: all are left to most.

    Args:
        place: of each label in a random order, (n,).
        size: number of the labels that stop a perceptron.
        members: number of perceptrons.

    Returns:
        Masks of the labels, (n,) each.
    """
    n = len(place)
    return [(place - round(k * n / members)) % n < size for k in range(members)]


def _fingerprint(member: Member, train: Targets, valid: Targets, settings) -> str:
    # A checkpoint counts only for the same labels, network and settings, wherever they are fitted.
    arrays = [
        np.round(tensor.numpy(), 12)
        for part in (train, valid)
        for tensor in part.tensors[: 5 if part.p.shape[1] else 4]
    ]
    kept = {k: v for k, v in asdict(settings).items() if k != "accelerator"}
    described = (
        asdict(member.settings) if isinstance(member, StrainPerceptron) else member.describe()
    )
    text = json.dumps([kept, described, member.group.symbol])
    return fingerprint([*arrays, text])
