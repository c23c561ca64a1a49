"""Settings of the fits of networks of strain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkTraining:
    """How a network of strain is fitted.

    Attributes:
        epochs: largest number of L-BFGS steps.
        iterations: number of L-BFGS iterations in one step (all labels each).
        history: number of curvature pairs that L-BFGS keeps.
        patience: number of steps without a better validation error before the fit stops.
        validation: fraction of the labels that early stopping watches.
        energy_weight: weight of the energy loss against the stress loss; energies disagree with
            stresses by the basis-set error, so 0 (stress alone) is the default, and all that a
            `StrainNetwork` takes.
        seed: of the weights and the split.
        accelerator: "auto", "cpu" or "gpu".
    """

    epochs: int = 60
    iterations: int = 20
    history: int = 50
    patience: int = 6
    validation: float = 0.15
    energy_weight: float = 0.0
    seed: int = 0
    accelerator: str = "auto"
