"""The equivariant convolution over gathered edges, and the linear and gate layers around it.

Features are {(l, p): (nodes, batch, channels, 2l+1)}: every irrep of a layer has the same number
of channels, `batch` counts states of one graph (use 1 for a plain PyG batch of structures).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from objstress.graphs.pairs import EdgePairs
from objstress.symmetry.irreps import Irrep, couples, coupling

Features = dict[Irrep, Tensor]


def key(irrep: Irrep) -> str:
    """Name of an irrep in parameter dictionaries: 2e, 1o, ..."""
    return f"{irrep[0]}{'e' if irrep[1] == 1 else 'o'}"


class GroupConvolution(nn.Module):
    r"""Equivariant convolution over edges gathered by pairs of nodes.

    .. math::

        m_i &= \sum_j \sum_\mathrm{paths} W_\mathrm{path} [x_j \otimes A_{ij}]_{(l,p)} \\
        A_{ij,c}^{(l,p)} &= \sum_\mathrm{edges} \sum_{n,k} w_{c,n,k}\, b_n\, B_k^{(l,p)}(R)

    Learned radial functions times the filter basis of `GroupFilter`, summed over the edges of a row
    of `EdgePairs` before the product. The sum over k runs over constants, so every group costs the
    same.

    Args:
        irreps_in, irreps_out: (l, p) of the features.
        filter_sizes: {(l, p): number of basis functions}, `GroupFilter.sizes`.
        channels_in, channels_out: equal for all irreps, except those in `extra_out`.
        radial: number of radial functions.
        neighbours: mean number of edges of a node (scales the sum).
        extra_out: {irrep: channels} where the output needs another number.
        dtype: of the weights.
    """

    def __init__(
        self,
        irreps_in: list[Irrep],
        filter_sizes: dict[Irrep, int],
        irreps_out: list[Irrep],
        channels_in: int,
        channels_out: int,
        radial: int,
        neighbours: float,
        extra_out: dict[Irrep, int] | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.irreps_in, self.channels_in, self.radial = irreps_in, channels_in, radial
        self.blocks: list[tuple[Irrep, Irrep, list[tuple[Irrep, int]]]] = []
        paths: dict[Irrep, int] = {}
        used: set[Irrep] = set()
        for a in irreps_in:
            for f in filter_sizes:
                outs = [o for o in irreps_out if couples(a, f, o)]
                if not outs:
                    continue
                used.add(f)
                matrix = torch.cat(
                    [
                        torch.tensor(coupling(a[0], f[0], l), dtype=dtype).reshape(-1, 2 * l + 1)
                        * math.sqrt(2 * l + 1)
                        for l, _ in outs
                    ],
                    dim=1,
                )
                self.register_buffer(f"cg_{key(a)}_{key(f)}", matrix, persistent=False)
                numbered = []
                for o in outs:
                    numbered.append((o, paths.get(o, 0)))
                    paths[o] = paths.get(o, 0) + 1
                self.blocks.append((a, f, numbered))
        self.irreps_out = [o for o in irreps_out if o in paths]
        self.weights = nn.ParameterDict()
        for f in filter_sizes:
            if f in used:
                scale = 1 / math.sqrt(radial * filter_sizes[f] * neighbours)
                shape = (channels_in, radial, filter_sizes[f])
                self.weights[key(f)] = nn.Parameter(scale * torch.randn(shape, dtype=dtype))
        self.mix = nn.ParameterDict()
        for o in self.irreps_out:
            width = (extra_out or {}).get(o, channels_out)
            scale = 1 / math.sqrt(paths[o] * channels_in)
            shape = (channels_in, paths[o], width)
            self.mix[key(o)] = nn.Parameter(scale * torch.randn(shape, dtype=dtype))

    def forward(
        self,
        x: Features,
        radial: Tensor,
        basis: Features,
        pairs: EdgePairs,
        constant: Tensor | None = None,
    ) -> Features:
        """
        Args:
            x: features (nodes, batch, channels_in, 2l+1).
            radial: (pairs, batch, m, radial functions but those of `constant`), zero on padding.
            basis: filter basis {(l, p): (pairs, m, size, 2l+1)}.
            constant: (pairs, 1, m, radial functions), those that no state of the batch changes:
                the first ones of the weights, summed once for all states.
        """
        p, b = radial.shape[:2]
        c, rows = self.channels_in, (pairs.nodes, p // pairs.nodes)
        first = 0 if constant is None else constant.shape[-1]
        filters = {}
        for f in {f: None for _, f, _ in self.blocks}:
            w = torch.einsum("pekm,cnk->pencm", basis[f], self.weights[key(f)])
            total = radial.flatten(2) @ w[:, :, first:].reshape(p, radial[0, 0].numel(), -1)
            if constant is not None:
                total = total + constant.flatten(2) @ w[:, :, :first].reshape(
                    p, constant[0, 0].numel(), -1
                )
            filters[f] = total.reshape(*rows, b, c, -1)
        sent = {a: x[a][pairs.sender].unflatten(0, rows) for a in self.irreps_in}
        collected: dict[Irrep, list[Tensor]] = {o: [] for o in self.irreps_out}
        for a, f, outs in self.blocks:
            # The sum over a receiver's rows is a matrix product: nothing of a row's is kept.
            total = torch.einsum("nsbcm,nsbcf->nbcmf", sent[a], filters[f])
            result = total.flatten(-2) @ getattr(self, f"cg_{key(a)}_{key(f)}")
            for (o, _), part in zip(
                outs, result.split([2 * o[0] + 1 for o, _ in outs], -1), strict=True
            ):
                collected[o].append(part)
        return {
            o: torch.einsum("nbcpm,cpd->nbdm", torch.stack(parts, dim=3), self.mix[key(o)])
            for o, parts in collected.items()
        }


class ChannelLinear(nn.Module):
    r"""Mix the channels of each irrep apart; irreps that the input lacks are left out.

    .. math:: y_d = \sum_c x_c W_{cd}

    Args:
        irreps: (l, p) of the input.
        channels_in: number of channels of every irrep of the input.
        channels_out: {(l, p): number of channels} of the output.
        dtype: of the weights.
    """

    def __init__(
        self,
        irreps: list[Irrep],
        channels_in: int,
        channels_out: dict[Irrep, int],
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.weights = nn.ParameterDict(
            {
                key(o): nn.Parameter(
                    torch.randn(channels_in, channels_out[o], dtype=dtype) / math.sqrt(channels_in)
                )
                for o in irreps
                if o in channels_out
            }
        )

    def forward(self, x: Features) -> Features:
        return {
            o: torch.einsum("nbcm,cd->nbdm", value, self.weights[key(o)])
            for o, value in x.items()
            if key(o) in self.weights
        }


class Gate(nn.Module):
    """Nonlinearity: scalars through SiLU, other irreps times the sigmoid of a scalar of their own.

    The input's 0e channels are `channels` x (1 + number of the other irreps).

    Args:
        irreps: (l, p) of the output.
        channels: number of channels of every irrep of the output.
    """

    def __init__(self, irreps: list[Irrep], channels: int):
        super().__init__()
        self.gated = [o for o in irreps if o != (0, 1)]
        self.channels = channels

    @property
    def scalar_channels(self) -> int:
        """Number of 0e channels of the input."""
        return self.channels * (1 + len(self.gated))

    def forward(self, x: Features) -> Features:
        scalars, *gates = x[(0, 1)].split(self.channels, dim=2)
        out = {(0, 1): torch.nn.functional.silu(scalars)}
        for o, gate in zip(self.gated, gates, strict=True):
            out[o] = torch.sigmoid(gate) * x[o]
        return out
