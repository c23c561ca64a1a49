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
from objstress.training.laws.levenberg_marquardt import LevenbergMarquardt, StressResiduals
from objstress.training.laws.losses import energy_loss, network_response, stress_loss
from objstress.training.laws.settings import NetworkTraining
from objstress.training.trainer import BEST, FitModule, run_fit

Network = ConstitutiveNetwork | StrainNetwork
Member = ConstitutiveNetwork | StrainPerceptron
STEPS = 2
"""Steps of Levenberg and Marquardt in an epoch of a network of strain. More of them follow the
labels more closely, and predict load cases that were left out worse."""
MOST = 1024
"""Labels of a step, drawn anew for each where there are more."""
DECAY = 1e-5
"""Of the weights' squares, beside the mean square error relative to that of no network: it bounds
them, and from 1e-4 on the labels are followed no more."""


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
    """Stress residuals of a network of strain, by Levenberg and Marquardt's method.

    The network is small, and its errors at a minimum are far below those where L-BFGS slows down.
    """

    automatic_optimization = False
    network: StrainPerceptron

    def training_step(self, batch: list[Tensor], _: int) -> None:  # type: ignore[override]
        optimizer = self.optimizers()  # Lightning's, around ours
        decay = DECAY * float(stress_loss(0 * batch[1], batch[1], batch[3]))
        for step in range(STEPS):
            f, stress, weight, p = self._some(batch, self.current_epoch * STEPS + step)
            problem = StressResiduals(self.network, f, stress, weight, p, decay)
            optimizer.optimizer.problem = problem
            optimizer.step()

    def _some(self, batch: list[Tensor], step: int) -> list[Tensor]:
        """All labels, or as many of them as say all that one step can use."""
        parts = [batch[0], batch[1], batch[3], batch[4]]
        if len(parts[0]) <= MOST:
            return parts
        chosen = np.random.default_rng([self.settings.seed, step]).permutation(len(parts[0]))
        return [part[torch.as_tensor(chosen[:MOST])] for part in parts]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return LevenbergMarquardt(self.network.parameters())


def fit_network(
    network: Network | StrainPerceptron,
    train: Targets,
    valid: Targets,
    settings: NetworkTraining,
    scale: float,
    workdir: str | Path | None = None,
    progress: bool = True,
) -> tuple[float, float]:
    """Fit a network in place, and leave the weights of the best validation error in it.

    Args:
        network: to be fitted.
        train, valid: targets to fit to, and to stop by.
        settings: of the fit.
        scale: GPa, energy density that energy errors are divided by.
        workdir: folder for `log/metrics.csv` and checkpoints; the same call resumes a fit that
            was interrupted there. None uses a temporary folder.
        progress: show a bar on standard error.

    Returns:
        Relative validation error of a network that is zero, and of the fitted one.

    Raises:
        InputError: an energy weight for a network of strain.
    """
    if not isinstance(network, ConstitutiveNetwork) and settings.energy_weight:
        raise InputError("a network of strain is fitted to stresses alone: leave energy_weight 0")
    members: Sequence[Member] = (
        network.perceptrons if isinstance(network, StrainNetwork) else [network]
    )
    digest = _fingerprint(network, train, valid, settings)
    with work_folder(workdir) as folder:
        for k, member in enumerate(members, start=1):
            of = f" {k} of {len(members)}" if len(members) > 1 else ""
            part = folder / str(k) if of else folder
            part.mkdir(parents=True, exist_ok=True)
            kind = StrainNetworkFit if isinstance(member, StrainPerceptron) else NetworkFit
            run_fit(
                kind(member, settings, scale),
                part,
                digest,
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
        fitted = network_response(network, valid.F, valid.p)[1]
    errors = (stress_loss(p, valid.stress, valid.weight) for p in (0 * fitted, fitted))
    before, after = (float(error.sqrt()) for error in errors)
    return before, after


def _fingerprint(network, train: Targets, valid: Targets, settings) -> str:
    # A checkpoint counts only for the same labels, network and settings, wherever they are fitted.
    arrays = [
        np.round(tensor.numpy(), 12)
        for part in (train, valid)
        for tensor in part.tensors[: 5 if part.p.shape[1] else 4]
    ]
    kept = {k: v for k, v in asdict(settings).items() if k != "accelerator"}
    is_one = isinstance(network, StrainPerceptron)
    described = asdict(network.settings) if is_one else network.describe()
    text = json.dumps([kept, described, network.group.symbol])
    return fingerprint([*arrays, text])
