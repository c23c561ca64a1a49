"""The network of strain: an energy of the strain's own components, averaged over a group."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from objstress.models.differences import energy_of_parts, powers, softplus_change
from objstress.models.energy_network import EnergyNetwork
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import MANDEL, mandel_rotations

INPUTS = 7
"""Six components of the strain and J - 1."""
FAMILY = ("mixing", "shares", "gains", "strength")
"""Weights that only families have."""


@dataclass(frozen=True)
class StrainNetworkSettings:
    """Size of a network of strain.

    Attributes:
        members: number of perceptrons whose mean it is.
        hidden: widths of each one's hidden layers.
        strain_scale: strain that the inputs are divided by.
        energy_scale: GPa; a factor on the output.
        parameters: number of the parameters of a family of materials, 0 for one material.
    """

    members: int = 8
    hidden: tuple[int, ...] = (16, 16, 16)
    strain_scale: float = 1.0
    energy_scale: float = 1.0
    parameters: int = 0


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

    def derivatives(self, x: Tensor, order: int, p: Tensor | None = None) -> tuple[Tensor, ...]:
        """W and its derivatives by strain, see `EnergyNetwork.derivatives`.

        Args:
            x: Mandel strains, (n, 6).
            order: 0, 1 or 2.
            p: of a family, the parameters of each point (n, q), or of all (1, q); 0 by default.
        """
        basis = self.perceptrons[0].basis
        return energy_of_parts(x, basis, order, lambda j: self.parts(x, j, order, p))

    def parts(
        self, x: Tensor, growth: Tensor, order: int, p: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The perceptrons' mean of `StrainPerceptron.parts`, GPa.

        Args:
            x, growth, order, p: see there, (n, 6), (n,) and (n, q).
        """
        of_members = (member.parts(x, growth, order, p) for member in self.perceptrons)
        return tuple(sum(part) / len(part) for part in zip(*of_members, strict=True))

    @property
    def rotations(self) -> Tensor:
        """The group's, on Mandel's components, (g, 6, 6)."""
        return self.perceptrons[0].rotations

    def at(self, p: Tensor) -> StrainNetwork:
        """The network of one material of a family, without parameters, an energy in GPa.

        Args:
            p: its parameters, (q,), dimensionless.
        """
        network = StrainNetwork(self.group, replace(self.settings, parameters=0))
        for mine, member in zip(self.perceptrons, network.perceptrons, strict=True):
            weights = {k: v for k, v in mine.state_dict().items() if k.split(".")[0] not in FAMILY}
            biases, outer, gain = mine.material(p[None])
            assert gain is not None
            weights["weights.0"] = mine.weights[0] * gain.flatten()
            weights |= {f"biases.{l}": bias.flatten() for l, bias in enumerate(biases)}
            strength = (powers(p) @ mine.strength).exp()
            weights["outer"] = strength * outer.flatten()
            wall = strength * softplus(mine.growth)
            weights["growth"] = wall + torch.log(-torch.expm1(-wall))
            member.load_state_dict(weights)
        return network

    def of_members(self, numbers: list[int]) -> StrainNetwork:
        """The network of some of the perceptrons.

        Args:
            numbers: theirs, from 0.
        """
        network = StrainNetwork(self.group, replace(self.settings, members=len(numbers)))
        for number, member in zip(numbers, network.perceptrons, strict=True):
            member.load_state_dict(self.perceptrons[number].state_dict())
        return network

    def shrink(self, factor: float) -> None:
        """Multiply the perceptrons' energies, all but the wall, by a factor."""
        with torch.no_grad():
            for member in self.perceptrons:
                member.outer.mul_(factor)

    def describe(self) -> dict:
        """Settings that rebuild the network (with the group)."""
        return {k: v for k, v in asdict(self.settings).items() if k != "parameters" or v}


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

    In a family of materials with parameters p, M_l p is added to the bias of layer l, the matrix of
    the first layer and the output weights of the last are multiplied by exp(G p) and exp(S p), unit
    by unit, and w by the exponential of a polynomial of second degree of p: struts of other radii
    buckle at other strains, and the stiffness of lattices and porous bodies changes by powers of
    ten. M, G, S and the polynomial's coefficients are weights.

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
        self.chunk = 1536 // len(turns)  # what a processor's cache holds
        widths = [INPUTS, *settings.hidden]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(a, b, dtype=dtype) / a**0.5) for a, b in pairwise(widths)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(0.5 * torch.randn(b, dtype=dtype)) for b in widths[1:]
        )
        self.outer = nn.Parameter(torch.randn(widths[-1], dtype=dtype) / widths[-1] ** 0.5)
        self.growth = nn.Parameter(torch.tensor(-3.0, dtype=dtype))  # c is its softplus
        if q := settings.parameters:
            # Small at first: materials differ little but by their stiffness.
            self.mixing = nn.ParameterList(_small(q, b, dtype) for b in widths[1:])
            self.gains = _small(q, widths[1], dtype)
            self.shares = _small(q, widths[-1], dtype)
            self.strength = nn.Parameter(torch.zeros(q * (q + 3) // 2, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """W (n,) in GPa at Mandel strains x (n, 6)."""
        return self.derivatives(x, 0)[0]

    def derivatives(self, x: Tensor, order: int, p: Tensor | None = None) -> tuple[Tensor, ...]:
        return energy_of_parts(x, self.basis, order, lambda j: self.parts(x, j, order, p))

    def parts(
        self, x: Tensor, growth: Tensor, order: int, p: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """What `energy_of_parts` makes an energy of.

        Args:
            x: Mandel strains, (n, 6).
            growth: J - 1, (n,).
            order: of the last derivative.
            p: of a family, the parameters of each point (n, q), or of all (1, q).

        Returns:
            In GPa, m = 1 where all points have the same parameters, else n: the factor of the wall
            w c (m,), w f'(0) (m, 7), and the mean over the group of w (f - f(0)) (n,), and as far
            as `order` goes of its changes of slope (n, 7) and of its second derivatives (n, 7, 7).
        """
        # In closed form: a third of the time of automatic differentiation.
        count, scale = len(self.rotations), self.scale(p)
        turned = self.turned()
        _, outer, gain = self.material(p)
        gain = None if gain is None else gain[:, None]
        z0, back0 = self.origin(p, count)
        at_zero = _times(back0[0], gain)[:, 0] @ turned.sum(dim=1).T
        y = torch.cat([x, growth[:, None]], dim=1)
        change = _times((y @ turned.flatten(1)).view(len(x), count, -1), gain)
        slopes, rises = [], []
        for l, z in enumerate(z0):
            activation, rise = softplus_change(change, z)
            rises.append(rise)
            slopes.append(torch.sigmoid(z) + rise)
            if l + 1 < len(z0):
                change = activation @ self.weights[l + 1]
        value = (activation.mean(dim=1) * outer).sum(dim=1)
        out = [scale * softplus(self.growth), scale[:, None] * at_zero, scale * value]
        if order >= 1:
            # Back through the layers: the changes of dW/dz, the images' mean divided into the last.
            back = [rises[-1] * (outer[:, None] / count)]
            for l in range(len(slopes) - 2, -1, -1):
                weight = self.weights[l + 1].T
                known = rises[l] * (back0[l + 1] @ weight)
                back.insert(0, known + (back[0] @ weight) * slopes[l])
            straight = _times(back[0], gain).flatten(1) @ turned.flatten(1).T
            out.append(scale[:, None] * straight)
        if order >= 2:
            full = [change + origin for change, origin in zip(back, back0, strict=True)]
            out.append(scale[:, None, None] * self._hessian(turned, slopes, full, gain))
        return tuple(out)

    def slopes(self, y: Tensor, p: Tensor) -> Tensor:
        """Derivatives of f by components of strain and J - 1, (n, 7).

        Args:
            y: these inputs, (n, 7).
            p: of a family, the parameters of each, (n, q).
        """
        biases, outer, gain = self.material(p)
        first = self.weights[0] / self.settings.strain_scale
        z = _times(y @ first, gain) + biases[0]
        sigmoids = [torch.sigmoid(z)]
        for weight, bias in zip(list(self.weights)[1:], biases[1:], strict=True):
            z = softplus(z) @ weight + bias
            sigmoids.append(torch.sigmoid(z))
        back = sigmoids[-1] * outer
        for weight, slope in zip(list(self.weights)[:0:-1], sigmoids[-2::-1], strict=True):
            back = (back @ weight.T) * slope
        return _times(back, gain) @ first.T

    def turned(self) -> Tensor:
        """The first layer of all images, (7, images, units): turned in place of the strains."""
        first = self.weights[0] / self.settings.strain_scale
        turned = torch.einsum("gba,bh->agh", self.rotations, first[:6])
        return torch.cat([turned, first[6].expand(1, *turned.shape[1:])])

    def scale(self, p: Tensor | None) -> Tensor:
        """The factor w in GPa, (1,), or (n,) for parameters p (n, q) of a family."""
        scale = self.growth.new_full((1,), self.settings.energy_scale)
        return scale if p is None or not p.shape[-1] else scale * (powers(p) @ self.strength).exp()

    def material(self, p: Tensor | None) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """What materials of a family differ by, but for the factor w.

        Args:
            p: their parameters, (m, q); None of one material without, m = 1.

        Returns:
            Of each layer the bias (m, units); the output weights (m, units); and the factors of the
            first layer's matrix, unit by unit (m, units), None without parameters.
        """
        if p is None or not p.shape[-1]:
            return [bias[None] for bias in self.biases], self.outer[None], None
        pairs = zip(self.biases, self.mixing, strict=True)
        outer = self.outer * (p @ self.shares).exp()
        return [bias + p @ by for bias, by in pairs], outer, (p @ self.gains).exp()

    def origin(self, p: Tensor | None, count: int) -> tuple[list[Tensor], list[Tensor]]:
        """Arguments of the layers at E = 0, where all images agree, and df/dz over their number.

        Args:
            p: of a family, the parameters of each point (n, q), or of all (1, q).
            count: number of images.

        Returns:
            Both of each layer, (1 or n, 1, units).
        """
        biases, outer, _ = self.material(p)
        arguments = [biases[0][:, None]]
        for weight, bias in zip(list(self.weights)[1:], biases[1:], strict=True):
            arguments.append(softplus(arguments[-1]) @ weight + bias[:, None])
        slopes = [torch.sigmoid(z) for z in arguments]
        back = [slopes[-1] * outer[:, None] / count]
        for weight, slope in zip(list(self.weights)[:0:-1], slopes[-2::-1], strict=True):
            back.insert(0, (back[0] @ weight.T) * slope)
        return arguments, back

    def _hessian(
        self, turned: Tensor, slopes: list[Tensor], back: list[Tensor], gain: Tensor | None
    ) -> Tensor:
        """Second derivatives of the images' mean of f by the inputs, (n, 7, 7).

        sum over layers of (dz/dy)^T diag(dW/da softplus'') (dz/dy), where softplus'' = s (1 - s)
        and dW/dz = dW/da s.
        """
        n = len(slopes[0])
        curved = _times(_times(back[0] * (1 - slopes[0]), gain), gain).flatten(1)
        products = turned.flatten(1)[:, None] * turned.flatten(1)[None]
        hessian = (curved @ products.flatten(0, 1).T).view(n, INPUTS, INPUTS)
        inputs = turned.expand(n, -1, -1, -1)
        slopes = [_times(slopes[0], gain), *slopes[1:]]
        for layer, weight in enumerate(list(self.weights)[1:], start=1):
            inputs = (inputs * slopes[layer - 1][:, None]) @ weight
            curved = back[layer] * (1 - slopes[layer])
            rows = (inputs * curved[:, None]).flatten(2)
            hessian = hessian + rows @ inputs.flatten(2).transpose(1, 2)
        return hessian


def _small(rows: int, columns: int, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(0.1 * torch.randn(rows, columns, dtype=dtype) / rows**0.5)


def _times(values: Tensor, gain: Tensor | None) -> Tensor:
    return values if gain is None else values * gain
