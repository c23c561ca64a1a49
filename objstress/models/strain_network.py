"""The network of strain: an energy of the strain's own components, averaged over a group."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from objstress.models.energy_network import EnergyNetwork
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import MANDEL, mandel_rotations

INPUTS = 7
"""Six components of the strain and J - 1."""
ROWS = 32
"""Strains whose derivatives by the weights are made at a time: they fit a processor's cache."""


@dataclass(frozen=True)
class StrainNetworkSettings:
    """Size of a network of strain.

    Attributes:
        members: number of perceptrons whose mean it is.
        hidden: widths of each one's hidden layers.
        strain_scale: strain that the inputs are divided by.
        energy_scale: GPa; a factor on the output.
    """

    members: int = 4
    hidden: tuple[int, ...] = (24, 24)
    strain_scale: float = 1.0
    energy_scale: float = 1.0


class StrainNetwork(EnergyNetwork):
    """Energy density of a material without listed atoms: the mean of a few perceptrons.

    They differ by their first weights alone. Where no labels are they differ most, and their mean
    is off by less than most of them.

    Args:
        group: the material's, in the frame of the strain.
        settings: its size; the default size if None.
        dtype: of weights and strains; W is in GPa.
    """

    def __init__(
        self,
        group: PointGroup,
        settings: StrainNetworkSettings | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.group, self.settings = group, settings or StrainNetworkSettings()
        self.members = nn.ModuleList(
            StrainPerceptron(group, self.settings, dtype) for _ in range(self.settings.members)
        )
        self.chunk = self.perceptrons[0].chunk

    @property
    def perceptrons(self) -> list[StrainPerceptron]:
        """The members, as what they are."""
        return cast("list[StrainPerceptron]", list(self.members))

    def forward(self, x: Tensor) -> Tensor:
        """W (n,) in GPa at Mandel strains x (n, 6)."""
        return self.derivatives(x, 0)[0]

    def derivatives(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        parts = zip(*(member.derivatives(x, order) for member in self.perceptrons), strict=True)
        return tuple(sum(part) / len(part) for part in parts)

    def shrink(self, factor: float) -> None:
        """Multiply the perceptrons' energies, all but the wall, by a factor."""
        with torch.no_grad():
            for member in self.perceptrons:
                member.outer.mul_(factor)

    def describe(self) -> dict:
        """Settings that rebuild the network (with the group)."""
        return asdict(self.settings)


class StrainPerceptron(EnergyNetwork):
    r"""An energy density of strain, objective and exactly G-invariant.

    .. math::
        W(E) = \frac{w}{|G|} \sum_{g \in G} \left[ f(y_g) - f(0) - f'(0) \, y_g \right]
            + w \, f_J'(0) \, (J - 1 - \mathrm{tr} E)
            + w \, c \, (J + 1/J - 2)^2, \qquad
        y_g = \left( \frac{g^T E g}{\epsilon}, \frac{J - 1}{\epsilon} \right)

    f has softplus layers. The mean over G makes any f invariant and keeps the components apart,
    which generalises better than the group's invariants do; the last term, c > 0, grows without
    bound as J -> 0 and is of fourth order at J = 1 (Klein et al., J. Mech. Phys. Solids 159 (2022)
    104703). An energy of E cannot tell G from its Laue class.

    W and dW/dE vanish at E = 0. The stress is a sum of differences from E = 0, each of which keeps
    its digits however small E is: two nearly equal numbers are subtracted nowhere.

    Args:
        group: the material's, in the frame of the strain.
        settings: its size.
        dtype: of weights and strains; W is in GPa.
    """

    rotations: Tensor
    basis: Tensor

    def __init__(self, group: PointGroup, settings: StrainNetworkSettings, dtype: torch.dtype):
        super().__init__()
        self.group, self.settings = group, settings
        turns = mandel_rotations(group.operations)  # g and -g are the same
        turns = turns[np.unique(turns.round(9), axis=0, return_index=True)[1]]
        self.register_buffer("rotations", torch.tensor(turns, dtype=dtype), persistent=False)
        self.register_buffer("basis", torch.tensor(MANDEL, dtype=dtype), persistent=False)
        self.chunk = 6144 // len(turns)
        widths = [INPUTS, *settings.hidden]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(a, b, dtype=dtype) / a**0.5) for a, b in pairwise(widths)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(0.5 * torch.randn(b, dtype=dtype)) for b in widths[1:]
        )
        self.outer = nn.Parameter(torch.randn(widths[-1], dtype=dtype) / widths[-1] ** 0.5)
        self.growth = nn.Parameter(torch.tensor(-3.0, dtype=dtype))  # c is its softplus

    def forward(self, x: Tensor) -> Tensor:
        """W (n,) in GPa at Mandel strains x (n, 6)."""
        return self.derivatives(x, 0)[0]

    def derivatives(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        # In closed form: a third of the time of automatic differentiation.
        j, growth, k, curvature = volume_change(x, self.basis, order)
        count, scale = len(self.rotations), self.settings.energy_scale
        turned = self._turned()
        slopes0, back0 = self._origin(count)
        at_zero = turned.flatten(1) @ back0[0].repeat(count)

        y = torch.cat([x, growth[:, None]], dim=1)
        change = (y @ turned.flatten(1)).view(len(x), count, -1)
        slopes, rises = [], []
        for slope, weight in zip(slopes0, [*list(self.weights)[1:], self.outer], strict=True):
            activation, rise = softplus_change(change, slope)
            rises.append(rise)
            slopes.append(slope + rise)
            change = activation @ weight
        c, wall = softplus(self.growth), growth**2 / j
        straight = x @ at_zero[:6] + at_zero[6] * x[:, :3].sum(dim=1)
        out = [scale * (change.mean(dim=1) - straight + c * wall**2)]
        if order >= 1:
            # Back through the layers: the changes of dW/dz, the images' mean divided into the last.
            back = [rises[-1] * (self.outer / count)]
            for l in range(len(slopes) - 2, -1, -1):
                weight = self.weights[l + 1].T
                known = rises[l] * (back0[l + 1] @ weight)
                back.insert(0, known + (back[0] @ weight) * slopes[l])
            gradient = back[0].flatten(1) @ turned.flatten(1).T
            steep = growth * (j + 1) / j**2  # d wall / dJ
            by_j = gradient[:, 6] + 2 * c * wall * steep
            unit = self.basis.diagonal(dim1=1, dim2=2).sum(-1)
            dj = unit + k
            stress = gradient[:, :6] + by_j[:, None] * dj + at_zero[6] * k
            out.append(scale * stress)
        if order >= 2:
            full = [change + origin for change, origin in zip(back, back0, strict=True)]
            hessian = self._hessian(turned, slopes, full)
            by_jj = hessian[:, 6, 6] + 2 * c * (steep**2 + 2 * wall / j**3)
            mixed = hessian[:, :6, 6, None] * dj[:, None]
            second = hessian[:, :6, :6] + mixed + mixed.transpose(1, 2)
            second = second + by_jj[:, None, None] * dj[:, :, None] * dj[:, None]
            out.append(scale * (second + (by_j + at_zero[6])[:, None, None] * curvature))
        return tuple(out)

    def stress_jacobian(self, x: Tensor) -> Tensor:
        r"""Derivatives of dW/dx by all weights, as fits by least squares need them.

        .. math::
            \frac{\partial}{\partial x_a} \frac{\partial W}{\partial w^l_{ij}} = \frac{1}{|G|}
                \sum_g \left( \dot a^{l-1}_i \delta^l_j + a^{l-1}_i \dot\delta^l_j \right),
            \qquad \delta^l = \frac{\partial f}{\partial z^l}

        less the same at E = 0; dots are derivatives by x_a, a^l and z^l the layers' activations
        and arguments.

        Args:
            x: Mandel strains, (n, 6).

        Returns:
            (n, 6, k) in GPa, the k weights in the order of `parameters()`.
        """
        with torch.no_grad():
            parts = [self._mixed(part) for part in x.split(ROWS)]
            return torch.cat(parts) - self._mixed(torch.zeros_like(x[:1]))

    def _mixed(self, x: Tensor) -> Tensor:
        j, growth, k, _ = volume_change(x, self.basis, 1)
        count, epsilon = len(self.rotations), self.settings.strain_scale
        turned, weights = self._turned(), list(self.weights)
        dj = self.basis.diagonal(dim1=1, dim2=2).sum(-1) + k
        y = torch.cat([x, growth[:, None]], dim=1)
        z = (y @ turned.flatten(1)).view(len(x), count, -1) + self.biases[0]
        # By x_a in the second place: (n, 6, images, units).
        dz = turned[:6] + dj[:, :, None, None] * turned[6]
        slopes: list[Tensor] = []
        activations: list[Tensor] = []
        dzs: list[Tensor] = []
        das: list[Tensor] = []
        for l in range(len(weights)):
            if l:
                z, dz = activations[-1] @ weights[l] + self.biases[l], das[-1] @ weights[l]
            slopes.append(torch.sigmoid(z))
            activations.append(softplus(z))
            dzs.append(dz)
            das.append(slopes[-1][:, None] * dz)
        known = (self.outer / count).expand_as(slopes[-1])
        dknown: Tensor | float = 0.0
        found: dict[str, Tensor] = {}
        for l in range(len(weights) - 1, -1, -1):
            back = known * slopes[l]
            dback = dknown * slopes[l][:, None] + (back * (1 - slopes[l]))[:, None] * dzs[l]
            if l:
                by_weight = das[l - 1].mT @ back[:, None] + activations[l - 1].mT[:, None] @ dback
                known, dknown = back @ weights[l].T, dback @ weights[l].T
            else:
                images = torch.einsum("gba,na->nbg", self.rotations, x)
                images = torch.cat([images, growth[:, None, None].expand(-1, 1, count)], dim=1)
                straight = torch.einsum("gba,ngh->nabh", self.rotations, back)
                by_j = dj[:, :, None, None] * back.sum(dim=1)[:, None, None]
                by_weight = torch.cat([straight, by_j], dim=2) + images[:, None] @ dback
                by_weight = by_weight / epsilon
            found[f"weights.{l}"] = by_weight.flatten(2)
            found[f"biases.{l}"] = dback.sum(dim=2)
        found["outer"] = das[-1].sum(dim=2) / count
        wall = 2 * (growth**2 / j) * growth * (j + 1) / j**2 * torch.sigmoid(self.growth)
        found["growth"] = (wall[:, None] * dj)[..., None]
        names = [name for name, _ in self.named_parameters()]
        return self.settings.energy_scale * torch.cat([found[name] for name in names], dim=2)

    def _turned(self) -> Tensor:
        """The first layer of all images, (7, images, units): turned in place of the strains."""
        first = self.weights[0] / self.settings.strain_scale
        turned = torch.einsum("gba,bh->agh", self.rotations, first[:6])
        return torch.cat([turned, first[6].expand(1, *turned.shape[1:])])

    def _origin(self, count: int) -> tuple[list[Tensor], list[Tensor]]:
        """Slopes of the layers at E = 0, where all images agree, and dW/dz of one of them."""
        slopes, activation = [], None
        for weight, bias in zip(self.weights, self.biases, strict=True):
            z = bias if activation is None else activation @ weight + bias
            slopes.append(torch.sigmoid(z))
            activation = softplus(z)
        back = [slopes[-1] * self.outer / count]
        for weight, slope in zip(list(self.weights)[:0:-1], slopes[-2::-1], strict=True):
            back.insert(0, (back[0] @ weight.T) * slope)
        return slopes, back

    def _hessian(self, turned: Tensor, slopes: list[Tensor], back: list[Tensor]) -> Tensor:
        """Second derivatives of the images' mean of f by the inputs, (n, 7, 7).

        sum over layers of (dz/dy)^T diag(dW/da softplus'') (dz/dy), where softplus'' = s (1 - s)
        and dW/dz = dW/da s.
        """
        n = len(slopes[0])
        curved = (back[0] * (1 - slopes[0])).flatten(1)
        products = turned.flatten(1)[:, None] * turned.flatten(1)[None]
        hessian = (curved @ products.flatten(0, 1).T).view(n, INPUTS, INPUTS)
        inputs = turned.expand(n, -1, -1, -1)
        for layer, weight in enumerate(list(self.weights)[1:], start=1):
            inputs = (inputs * slopes[layer - 1][:, None]) @ weight
            curved = back[layer] * (1 - slopes[layer])
            rows = (inputs * curved[:, None]).flatten(2)
            hessian = hessian + rows @ inputs.flatten(2).transpose(1, 2)
        return hessian


def softplus_change(d: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    r"""Changes of softplus and of its slope s from z to z + d, to full precision for small d.

    .. math::
        \Delta = \ln (1 + s \, (e^d - 1)), \qquad
        \Delta s = \frac{2 s (1 - s) t}{1 + (2 s - 1) t}, \qquad t = \tanh(d / 2)

    Args:
        d: change of the argument, (..., h).
        slope: s = 1 / (1 + e^-z) at its beginning, (h,).
    """
    e = torch.expm1(-d.abs())
    t = torch.copysign(e / (2 + e), d)
    activation = d.clamp(min=0) + torch.log1p(torch.where(d > 0, 1 - slope, slope) * e)
    return activation, (2 * slope * (1 - slope)) * t / (1 + (2 * slope - 1) * t)


def volume_change(x: Tensor, basis: Tensor, order: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""J = det(1 + 2 E)^(1/2), its change from E = 0, and its derivatives by Mandel's strain.

    .. math::
        J - 1 = \frac{2 I_1 + 4 I_2 + 8 I_3}{J + 1}, \qquad
        K = J C^{-1} = \frac{1 + 2 (I_1 - E) + 4 \, \mathrm{cof} E}{J}, \qquad
        \frac{\partial J}{\partial E} = K, \qquad
        \frac{\partial^2 J}{\partial x_a \partial x_b} =
            \frac{(K : B_a)(K : B_b) - 2 \, K B_a K : B_b}{J}

    I_1, I_2, I_3 are the invariants of E: nothing is subtracted that nearly cancels at small E.

    Args:
        x: Mandel strains, (n, 6).
        basis: Mandel's basis B, (6, 3, 3).
        order: of the last derivative; zeros stand for the others.

    Returns:
        J (n,), J - 1 (n,), the components of K - 1 (n, 6), and the second derivative (n, 6, 6).
    """
    e = torch.einsum("na,aij->nij", x, basis)
    one = torch.eye(3, dtype=x.dtype, device=x.device)
    a, b, c = e.unbind(1)
    cofactor = torch.stack([torch.linalg.cross(u, v) for u, v in ((b, c), (c, a), (a, b))], dim=1)
    first, second = e.diagonal(dim1=1, dim2=2).sum(-1), cofactor.diagonal(dim1=1, dim2=2).sum(-1)
    rise = 2 * first + 4 * second + 8 * (a * cofactor[:, 0]).sum(-1)
    j = (1 + rise).sqrt()
    growth = rise / (j + 1)
    if order == 0:
        return j, growth, x.new_zeros(()), x.new_zeros(())
    rest = 2 * (first[:, None, None] * one - e) + 4 * cofactor
    k = (rest - growth[:, None, None] * one) / j[:, None, None]
    components = torch.einsum("nij,aij->na", k, basis)
    if order == 1:
        return j, growth, components, x.new_zeros(())
    k = k + one
    whole = torch.einsum("nij,aij->na", k, basis)
    twice = torch.einsum("nij,ajk,nkl,bil->nab", k, basis, k, basis)
    curvature = whole[:, :, None] * whole[:, None] - 2 * twice
    return j, growth, components, curvature / j[:, None, None]
