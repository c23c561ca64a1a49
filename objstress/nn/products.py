"""Messages and products of features with as many channels in every irrep, as matrix products.

Here features are one tensor (channels, nodes, width): the components of all irreps of a list, one
after the other. A channel is only ever multiplied with itself, so that the weights of all paths and
their coupling constants make one matrix for each channel, whatever the group.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from objstress.nn.convolution import key
from objstress.nn.filters import GroupFilter
from objstress.symmetry.irreps import Irrep, couples, coupling
from objstress.symmetry.point_group import SymmetryGroup


def width(irreps: list[Irrep]) -> int:
    """Components of one channel."""
    return sum(2 * l + 1 for l, _ in irreps)


def places(irreps: list[Irrep]) -> dict[Irrep, slice]:
    """Where each irrep lies among the components."""
    slices, start = {}, 0
    for l, p in irreps:
        slices[(l, p)] = slice(start, start + 2 * l + 1)
        start += 2 * l + 1
    return slices


def feature_irreps(group: SymmetryGroup, lmax: int, both: bool = False) -> list[Irrep]:
    """The (l, p) of features: the parity of Y_l, or both parities.

    Without improper operations in the group both parities of an l are the same irrep; it is
    called even, and the structural tensor 0o makes filters of that name from odd harmonics.

    Args:
        group: under which features are equivariant.
        lmax: largest l.
        both: whether features of both parities are wanted.
    """
    if group.structural_tensors(0)[(0, -1)].shape[0]:
        return [(l, 1) for l in range(lmax + 1)]
    parities = [1, -1] if both else [1]
    return [(l, q * (-1) ** l) for q in parities for l in range(lmax + 1)]


class ComponentLinear(nn.Module):
    r"""Mix channels, the same way for all components of an irrep.

    .. math:: y_d = \sum_c x_c W^{(l,p)}_{cd}

    Args:
        irreps: of input and output, which share their layout.
        channels_in, channels_out: numbers of channels.
        dtype: of the weights.
    """

    of_component: Tensor

    def __init__(
        self,
        irreps: list[Irrep],
        channels_in: int,
        channels_out: int,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(len(irreps), channels_in, channels_out, dtype=dtype)
            / math.sqrt(channels_in)
        )
        self.register_buffer("of_component", components(irreps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(channels_in, n, width) to (channels_out, n, width)."""
        return torch.einsum("cnm,mcd->dnm", x, self.weight[self.of_component])


def components(irreps: list[Irrep]) -> Tensor:
    """For each component the place of its irrep in the list, (width,)."""
    return torch.tensor([k for k, (l, _) in enumerate(irreps) for _ in range(2 * l + 1)])


class SpeciesMessage(nn.Module):
    r"""The first message: all that a sender is known by is its species.

    .. math:: A_i^{(l,p)} = \sum_{j,k} W^{(l,p)}_{z_j,k,c} R_k(r_{ij}) B^{(l,p)}(r_{ij})

    Summed over the neighbours for each species before the weights.

    Args:
        group: of the filters B (`GroupFilter`).
        irreps_out: of the result.
        lmax: largest l of the harmonics.
        species, radial, channels: their numbers.
        dtype: of the weights.
    """

    def __init__(
        self,
        group: SymmetryGroup,
        irreps_out: list[Irrep],
        lmax: int,
        species: int,
        radial: int,
        channels: int,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.irreps_out, self.species, self.radial = irreps_out, species, radial
        filters = GroupFilter(group, irreps_out, lmax, dtype)
        self.weights = nn.ParameterDict()
        for l, p in filters.sizes:
            mixing = filters.mixing((l, p))
            self.register_buffer(f"mixing_{key((l, p))}", mixing, persistent=False)
            rows = species * radial * len(mixing)
            self.weights[key((l, p))] = nn.Parameter(
                torch.randn(rows, channels, dtype=dtype) / math.sqrt(radial * len(mixing))
            )

    def forward(self, one_hot: Tensor, edges: Tensor) -> Tensor:
        """
        Args:
            one_hot: (n, s, species) of the senders.
            edges: (n, s, radial * harmonics), zero on padding.

        Returns:
            (channels, n, width).
        """
        n, h = edges.shape[0], edges.shape[-1] // self.radial
        total = (one_hot.transpose(1, 2) @ edges).view(n, self.species * self.radial, h)
        parts = []
        for o in self.irreps_out:
            if key(o) not in self.weights:
                weight = next(iter(self.weights.values()))
                parts.append(total.new_zeros(weight.shape[1], n, 2 * o[0] + 1))
                continue
            mixing = getattr(self, f"mixing_{key(o)}")
            filtered = torch.einsum("nqh,kmh->nmqk", total, mixing).flatten(2)
            parts.append((filtered @ self.weights[key(o)]).permute(2, 0, 1))
        return torch.cat(parts, dim=2)


class Message(nn.Module):
    r"""Message of the features of neighbours.

    .. math:: A_i^{(l,p)} = \sum_{j,k,\mathrm{paths}} W_{\mathrm{path},c,k} R_k(r_{ij})
        [x_j \otimes B^{(l_1,p_1)}(r_{ij})]^{(l,p)}

    Summed over the neighbours as the product x_j R_k Y_m, before paths and weights: the filters B
    are fixed mixtures of the harmonics Y, so that every group costs the same.

    Args:
        group: of the filters B (`GroupFilter`).
        irreps_in, irreps_out: of features and result.
        lmax: largest l of the harmonics.
        radial, channels: their numbers.
        dtype: of the weights.
    """

    constants: Tensor

    def __init__(
        self,
        group: SymmetryGroup,
        irreps_in: list[Irrep],
        irreps_out: list[Irrep],
        lmax: int,
        radial: int,
        channels: int,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.radial = radial
        # Largest l of the filters: as the harmonics', or a group of low symmetry would have
        # hundreds.
        wanted = [(l, p) for l in range(lmax + 1) for p in (1, -1)]
        filters = GroupFilter(group, wanted, lmax, dtype)
        place_in, place_out = places(irreps_in), places(irreps_out)
        constants, ends = [], []
        for a in irreps_in:
            for f in filters.sizes:
                mixing = filters.mixing(f)
                for o in irreps_out:
                    if not couples(a, f, o):
                        continue
                    c = torch.tensor(coupling(a[0], f[0], o[0]), dtype=dtype)
                    block = torch.einsum("kfh,afo->kaho", mixing, c) * math.sqrt(2 * o[0] + 1)
                    full = block.new_zeros(
                        len(mixing), width(irreps_in), (lmax + 1) ** 2, width(irreps_out)
                    )
                    full[:, place_in[a], :, place_out[o]] = block
                    constants += list(full)
                    ends += [o] * len(full)
        scale = [math.sqrt(radial * ends.count(o)) for o in ends]
        self.register_buffer("constants", torch.stack(constants).flatten(1), persistent=False)
        self.weights = nn.Parameter(
            torch.randn(channels, radial, len(ends), dtype=dtype) / torch.tensor(scale, dtype=dtype)
        )
        self.width_out = width(irreps_out)

    def forward(self, x: Tensor, sender: Tensor, edges: Tensor) -> Tensor:
        """
        Args:
            x: (channels, n, width in).
            sender: (n, s).
            edges: (n, s, radial * harmonics), zero on padding.

        Returns:
            (channels, n, width out).
        """
        c, n, w = x.shape
        sent = x.transpose(0, 1).reshape(n, c * w)[sender]
        total = torch.bmm(sent.transpose(1, 2), edges).view(n, c, -1).transpose(0, 1)
        matrix = (self.weights @ self.constants).view(c, self.radial, w, -1, self.width_out)
        return torch.bmm(total, matrix.transpose(1, 2).reshape(c, -1, self.width_out))


class ChannelProduct(nn.Module):
    r"""Product of features within each channel.

    .. math:: z_c^{(l,p)} = \sum_\mathrm{paths} W_{\mathrm{path},c} [x_c \otimes y_c]^{(l,p)}

    Repeated with the same y it makes polynomials of y of any body order, the tensor-reduced form
    of the atomic cluster expansion (Darby et al., Phys. Rev. Lett. 131, 028001 (2023)).

    Args:
        irreps_x, irreps_y, irreps_out: what is coupled to what; outputs that no path reaches are
            zero.
        channels: of each of them.
        dtype: of the weights.

    Attributes:
        plain: whether the product is left to PyTorch, as those who trace it need; gradients then
            take more memory.
    """

    constants: Tensor
    plain: bool = False

    def __init__(
        self,
        irreps_x: list[Irrep],
        irreps_y: list[Irrep],
        irreps_out: list[Irrep],
        channels: int,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        x, y, z = places(irreps_x), places(irreps_y), places(irreps_out)
        constants, ends = [], []
        for a in irreps_x:
            for b in irreps_y:
                for o in irreps_out:
                    if couples(a, b, o):
                        full = torch.zeros(
                            width(irreps_x), width(irreps_y), width(irreps_out), dtype=dtype
                        )
                        block = torch.tensor(coupling(a[0], b[0], o[0]), dtype=dtype)
                        full[x[a], y[b], z[o]] = block * math.sqrt(2 * o[0] + 1)
                        constants.append(full)
                        ends.append(o)
        scale = [math.sqrt(ends.count(o)) for o in ends]
        self.register_buffer("constants", torch.stack(constants).flatten(1), persistent=False)
        self.weights = nn.Parameter(
            torch.randn(channels, len(ends), dtype=dtype) / torch.tensor(scale, dtype=dtype)
        )
        self.width_out = width(irreps_out)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(channels, n, width x) and (channels, n, width y) to (channels, n, width out)."""
        matrix = (self.weights @ self.constants).view(len(x), -1, self.width_out)
        if self.plain:
            return torch.bmm(_pairs(x, y), matrix)
        return _Bilinear.apply(x, y, matrix)


class _Bilinear(torch.autograd.Function):
    """z_cno = sum_ab x_cna y_cnb m_(c, ab, o), without keeping the products x y for the gradient.

    They are 16 times as large as x and y; made again where they are needed, a block of channels
    at a time, they stay in the cache.
    """

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, m: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, m)
        out = x.new_empty(*x.shape[:2], m.shape[2])
        for block in _blocks(x, y):
            torch.bmm(_pairs(x[block], y[block]), m[block], out=out[block])
        return out

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, y, m = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            h = torch.bmm(g, m.transpose(1, 2)).unflatten(2, (x.shape[2], y.shape[2]))
            gm = None
            if ctx.needs_input_grad[2]:
                gm = torch.bmm(_pairs(x, y).transpose(1, 2), g)
            return (h * y[..., None, :]).sum(3), (h * x[..., :, None]).sum(2), gm
        gx, gy = torch.empty_like(x), torch.empty_like(y)
        gm = torch.empty_like(m) if ctx.needs_input_grad[2] else None
        for block in _blocks(x, y):
            u, v, w = x[block], y[block], g[block]
            h = torch.bmm(w, m[block].transpose(1, 2)).unflatten(2, (x.shape[2], y.shape[2]))
            torch.sum(h * v[..., None, :], 3, out=gx[block])
            torch.sum(h.mul_(u[..., :, None]), 2, out=gy[block])
            if gm is not None:
                torch.bmm(_pairs(u, v).transpose(1, 2), w, out=gm[block])
        return gx, gy, gm


def _pairs(x: Tensor, y: Tensor) -> Tensor:
    return (x[..., :, None] * y[..., None, :]).flatten(2)


def _blocks(x: Tensor, y: Tensor) -> list[slice]:
    """Slices of the channels whose products take about half a megabyte."""
    size = x.shape[1] * x.shape[2] * y.shape[2] * x.element_size()
    step = max(1, 500_000 // max(1, size)) if x.device.type == "cpu" else len(x)
    return [slice(k, k + step) for k in range(0, len(x), step)]
