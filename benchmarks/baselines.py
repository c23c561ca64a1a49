"""What people without symmetry fit: multilayer perceptrons of F, or of C = F^T F."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor, nn

from objstress.labels.strain_labels import Labels
from objstress.laws.strain_energy import mandel_strain
from objstress.models.energy_network import EnergyNetwork
from objstress.training.laws.losses import network_response, stress_loss
from objstress.training.laws.settings import NetworkTraining

Model = Callable[[Tensor], Tensor]
"""F (n, 3, 3) to P (n, 3, 3), GPa."""

WIDTHS = (32, 64)
RESTARTS = 2


class ScaledPerceptron(EnergyNetwork):
    """scale x MLP((x - mean) / spread): two hidden layers, SiLU, float64.

    Args:
        inputs: the training inputs (n, k); their mean and one spread for all columns are kept.
        outputs: number of outputs; with None one, without its axis, which is multiplied by the
            spread too, so that its derivative in x has the size `scale`.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, inputs: Tensor, outputs: int | None, width: int, scale: float):
        super().__init__()
        self.outputs, self.scale = outputs, scale
        self.register_buffer("mean", inputs.mean(dim=0))
        self.register_buffer("spread", (inputs - self.mean).pow(2).mean().sqrt())
        sizes = (inputs.shape[1], width, width, outputs or 1)
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b, dtype=torch.float64), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        y = self.scale * self.layers((x - self.mean) / self.spread)
        return y if self.outputs else self.spread * y[:, 0]


class StressOfF(nn.Module):
    """P = N(F) - N(I), nine outputs."""

    def __init__(self, F: Tensor, width: int, scale: float):
        super().__init__()
        self.perceptron = ScaledPerceptron(F.flatten(1), 9, width, scale)

    def forward(self, F: Tensor) -> Tensor:
        p = self.perceptron(_with_identity(F))
        return (p[:-1] - p[-1]).reshape(-1, 3, 3)


class EnergyOfF(nn.Module):
    """P = dW/dF - (dW/dF)(I)."""

    def __init__(self, F: Tensor, width: int, scale: float):
        super().__init__()
        self.perceptron = ScaledPerceptron(F.flatten(1), None, width, scale)

    def forward(self, F: Tensor) -> Tensor:
        x = _with_identity(F).requires_grad_()
        (p,) = torch.autograd.grad(self.perceptron(x).sum(), x, create_graph=True)
        return (p[:-1] - p[-1]).reshape(-1, 3, 3)


class EnergyOfC(nn.Module):
    """P = F (S - S(I)), S = dW/dE: objective, without the crystal's symmetry."""

    def __init__(self, F: Tensor, width: int, scale: float):
        super().__init__()
        self.perceptron = ScaledPerceptron(mandel_strain(F), None, width, scale)

    def forward(self, F: Tensor) -> Tensor:
        return network_response(self.perceptron, F)[1]


def fit_perceptron(
    kind: type[StressOfF] | type[EnergyOfF] | type[EnergyOfC],
    labels: Labels,
    floor: float,
    settings: NetworkTraining,
    widths: Iterable[int] = WIDTHS,
    restarts: int = RESTARTS,
) -> Model:
    """The perceptron of the least validation error among all widths and initial weights.

    Loss, share of validation labels, optimiser and early stopping are those of the network.

    Args:
        floor: GPa, of relative stress errors.
    """
    f, stress = torch.tensor(labels.F), torch.tensor(labels.piola)
    weight = 1 / stress.flatten(1).norm(dim=1).clamp(min=floor)
    order = np.random.default_rng(settings.seed + 1).permutation(len(labels))
    size = max(1, round(settings.validation * len(labels)))
    train, valid = (
        (f[i], stress[i], weight[i]) for i in map(torch.as_tensor, (order[size:], order[:size]))
    )
    scale = float(stress.pow(2).mean().sqrt())
    found: list[tuple[float, Model]] = []
    for width, restart in product(widths, range(restarts)):
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed + restart)
            model = kind(train[0], width, scale)
        found.append((_train(model, train, valid, settings), model))
    return min(found, key=lambda pair: pair[0])[1]


def _train(
    model: nn.Module,
    train: tuple[Tensor, Tensor, Tensor],
    valid: tuple[Tensor, Tensor, Tensor],
    settings: NetworkTraining,
) -> float:
    # Leaves the weights of the least validation error in the model and returns that error.
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=settings.iterations,
        history_size=settings.history,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = stress_loss(model(train[0]), *train[1:])
        loss.backward()
        return loss

    best, mark, waited = np.inf, np.inf, 0
    weights = copy.deepcopy(model.state_dict())
    for _ in range(settings.epochs):
        optimizer.step(closure)
        error = float(stress_loss(model(valid[0]).detach(), *valid[1:]).sqrt())
        if error < best:
            best, weights = error, copy.deepcopy(model.state_dict())
        if error < mark - 1e-5:
            mark, waited = error, 0
        else:
            waited += 1
        if waited == settings.patience:
            break
    model.load_state_dict(weights)
    return best


def _with_identity(F: Tensor) -> Tensor:
    # The last row is F = I: what the perceptron says there is subtracted.
    eye = torch.eye(3, dtype=F.dtype)
    return torch.cat([F, eye[None]]).flatten(1)
