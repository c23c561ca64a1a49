"""Energies that are G-invariant polynomials of strain, and of strain and electric field."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import factorial, prod

import numpy as np
import torch
from torch import Tensor, nn

from objstress.errors import InputError
from objstress.models.invariants import invariant_polynomials
from objstress.models.monomial_tables import monomials
from objstress.symmetry.point_group import SymmetryGroup
from objstress.symmetry.voigt import SHEAR


class _Polynomial(nn.Module):
    """A sum of homogeneous polynomials with a coefficient each, and its derivatives.

    Args:
        blocks: (degree, coefficients of the monomials of that degree (k, number)) in order.
        degree: the highest.
        variables: their number.
        dtype: of the coefficients.
    """

    coefficients: Tensor

    def __init__(
        self,
        blocks: Sequence[tuple[int, np.ndarray]],
        degree: int,
        variables: int,
        dtype: torch.dtype,
    ):
        super().__init__()
        self.degree, self.variables = degree, variables
        self._mono = monomials(degree, variables)
        rows, self.degrees = [], []
        for d, block in blocks:
            full = np.zeros((len(block), self._mono.offset[degree + 1]))
            full[:, self._mono.offset[d] : self._mono.offset[d + 1]] = block
            rows.append(full)
            self.degrees += [d] * len(block)
        self._basis = np.concatenate(rows).T
        self.register_buffer("coefficients", torch.zeros(len(self.degrees), dtype=dtype))
        self._tables: tuple[Tensor, Tensor] | None = None
        pairs = [(a, b) for a in range(variables) for b in range(a, variables)]
        self._pairs = pairs
        # The entries of a symmetric matrix among its independent ones.
        self._whole = torch.tensor(
            [
                pairs.index((min(a, b), max(a, b)))
                for a in range(variables)
                for b in range(variables)
            ]
        )

    def set_coefficients(self, values: np.ndarray) -> None:
        """Set the coefficients.

        Args:
            values: one for each invariant, GPa, shape (k,).
        """
        self.coefficients.copy_(torch.as_tensor(values))
        self._tables = None

    def design(self, x: Tensor) -> np.ndarray:
        """Derivatives d phi_k / d x_a of the invariants, the design matrix of stresses.

        Args:
            x: the variables, (n, v); Mandel strains, (n, 6), without a field.

        Returns:
            Shape (n, v, k).
        """
        mono, degrees = self._mono, np.array(self.degrees)
        out = np.empty((len(x), self.variables, len(degrees)))
        for d, values in enumerate(mono.values(x.T, self.degree - 1), start=1):
            # The derivatives of degree d consist of the monomials of degree d - 1 alone.
            of_degree = np.flatnonzero(degrees == d)
            block = self._basis[mono.offset[d] : mono.offset[d + 1], of_degree]
            table = np.stack([mono.derivative(block, d, j) for j in range(self.variables)])
            out[:, :, of_degree] = np.einsum("mn,jmk->njk", values.numpy(), table, optimize=True)
        return out

    def forward(self, x: Tensor, order: int = 1) -> tuple[Tensor, ...]:
        """The polynomial W and its derivatives by its v variables.

        Args:
            x: (n, v); (n, 6), E in Mandel form, without a field.
            order: 0, 1 or 2.

        Returns:
            W (n,), dW/dx (n, v), d2W/dx2 (n, v, v) up to `order`, GPa; views of tensors whose
            last axis is the points.
        """
        table, linear = self._evaluation_tables(x)
        x = x.T.contiguous()
        values = self._mono.values(x, max(self.degree - 2, 2))
        # Rows of the entries (21 of a strain) for W, then S, then H; those not asked for are left
        # out.
        v, m = self.variables, len(self._pairs)
        rows = table[: m * (order + 1)] @ torch.cat(values[: self.degree - 1])
        # The products x_a x_b with a <= b are the monomials of degree 2, in the same order.
        out = [(rows[:m] * values[2]).sum(0) + linear @ x]
        if order >= 1:
            half = rows[m : 2 * m][self._whole].view(v, v, -1)
            out.append(((half * x).sum(1) + linear[:, None]).T)
        if order >= 2:
            out.append(rows[2 * m :][self._whole].view(v, v, -1).permute(2, 0, 1))
        return tuple(out)

    def terms(self) -> dict[tuple[int, ...], float]:
        """W as a sum of monomials: {(a, b, ...): c} for c x_a x_b ... with a <= b <= ..., GPa.

        Terms that the symmetry forbids, zero but for round-off, are left out.
        """
        out = {}
        energy = self._basis @ self.coefficients.numpy()
        for d in sorted(set(self.degrees)):
            part = energy[self._mono.offset[d] : self._mono.offset[d + 1]]
            floor = 1e-13 * np.abs(part).max(initial=0.0)
            for word, value in zip(self._mono.words[d], part, strict=True):
                if abs(value) > floor:
                    out[word] = float(value)
        return out

    def _evaluation_tables(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Euler: the part of degree d has S_d = H_d x / (d - 1) and W_d = x . S_d / d, so that the
        # entries of H_d, over d (d - 1), over d - 1 and as they are, give W, S and H from
        # monomials of two degrees less. What is linear in x has no H and stands beside.
        made = self._tables
        if made is None or (made[0].dtype, made[0].device) != (x.dtype, x.device):
            energy = self._basis @ self.coefficients.cpu().numpy()
            gradient = self._mono.gradient(energy, self.degree)
            hessian = self._mono.gradient(gradient, self.degree - 1)
            rows, columns = np.array(self._pairs).T
            entries = hessian[:, rows, columns].T
            degree = 2 + np.repeat(np.arange(self.degree - 1), np.diff(self._mono.offset)[:-2])
            twice = np.where(rows == columns, 1, 2)[:, None]  # x_a x_b stands for x_b x_a, too
            table = [twice * entries / (degree * (degree - 1)), entries / (degree - 1), entries]
            made = self._tables = x.new_tensor(np.concatenate(table)), x.new_tensor(gradient[0])
        return made


class InvariantPolynomial(_Polynomial):
    r"""Energy density that is a G-invariant polynomial of the strain.

    .. math:: W(E) = \sum_k c_k \phi_k(E)

    with the invariants phi_k of degree `lowest` to `degree`.

    Args:
        group: the crystal's point group in the frame of E, or O(3) or SO(3).
        degree: highest degree in E.
        lowest: 2, or 1 to admit a residual stress (used to find the stress-free reference).
        dtype: of the coefficients, which are in GPa, shape (k,).
    """

    def __init__(
        self,
        group: SymmetryGroup,
        degree: int,
        lowest: int = 2,
        dtype: torch.dtype = torch.float64,
    ):
        self.lowest = lowest
        blocks = [(d, invariant_polynomials(group, d)) for d in range(lowest, degree + 1)]
        super().__init__(blocks, degree, 6, dtype)


class ElectricPolynomial(_Polynomial):
    r"""The part of an electric enthalpy that a field E0 makes, a G-invariant polynomial.

    .. math:: h(E, E_0) = \sum_k c_k \phi_k(E, E_0), \qquad h(E, 0) = 0

    with the invariants phi_k of degree b = 1, 2, ... in E0 and up to d_b in E. Variables are
    Mandel's six of E, then the three of E0 in V/nm. A constant times E0 is left out: D0 is counted
    from the crystal's own polarization.

    Args:
        group: the crystal's point group in the frame of E and E0, or O(3) or SO(3).
        strain_degrees: (d_1, d_2, ...); (1, 0) has the piezoelectric and the dielectric tensor,
            (2, 1) also nonlinear piezoelectricity and electrostriction.

    Raises:
        InputError: no terms, or a negative degree.
    """

    def __init__(self, group: SymmetryGroup, strain_degrees: Sequence[int]):
        degrees = tuple(int(d) for d in strain_degrees)
        if not degrees or min(degrees) < 0:
            raise InputError(
                f"strain_degrees = {list(strain_degrees)}: give the highest degree in E of the "
                "terms linear in E0, then of those quadratic, such as (2, 1)"
            )
        self.group, self.strain_degrees = group, degrees
        self.parts = sorted(
            ((a, b) for b, most in enumerate(degrees, start=1) for a in range(most + 1)
             if a + b > 1), key=lambda part: (sum(part), part[1]),
        )  # fmt: skip
        blocks = [(a + b, _embedded(invariant_polynomials(group, a, b), a, b))
                  for a, b in self.parts]  # fmt: skip
        super().__init__(blocks, max(2, *(a + b for a, b in self.parts)), 9, torch.float64)

    def set_quadratic(self, matrix: np.ndarray) -> None:
        """Set the coefficients so that the quadratic terms are given ones, and all others zero.

        Args:
            matrix: second derivatives of h by the nine variables, (9, 9), invariant; those by two
                strains are not looked at. GPa, C/m^2, C/m^2 over V/nm.
        """
        mono = self._mono
        target = np.zeros(len(self._basis))
        for k, (i, j) in enumerate(mono.words[2]):
            if j >= 6:
                target[mono.offset[2] + k] = matrix[i, j] / (2 if i == j else 1)
        self.set_coefficients(np.linalg.lstsq(self._basis, target, rcond=None)[0])

    def tensor(self, degree: int, field: int) -> np.ndarray:
        r"""Derivatives of -h at rest: a property tensor in Voigt's order.

        .. math:: -\partial^{a + b} h / \partial E_{0i} \ldots \partial \eta_m \ldots, \qquad
            \eta = E_{11}, E_{22}, E_{33}, 2 E_{23}, 2 E_{13}, 2 E_{12}

        Args:
            degree: a, in E.
            field: b, in E0.

        Returns:
            Shape (3, ..., 6, ...), first the b indices of the field.
        """
        out = np.zeros((3,) * field + (6,) * degree)
        for word, value in self.terms().items():
            strain = [w for w in word if w < 6]
            if len(strain) != degree or len(word) - degree != field:
                continue
            repeats = prod(factorial(word.count(v)) for v in set(word))
            value *= -repeats * float(np.prod(SHEAR[strain]))
            for i in set(permutations(w - 6 for w in word if w >= 6)):
                for m in set(permutations(strain)):
                    out[(*i, *m)] = value
        return out


def _embedded(block: np.ndarray, a: int, b: int) -> np.ndarray:
    """Coefficients of products of monomials of E and E0 as those of monomials of all nine."""
    index = {w: k for k, w in enumerate(monomials(a + b, 9).words[a + b])}
    columns = [
        index[(*strain, *(6 + i for i in field))]
        for strain in monomials(a).words[a]
        for field in monomials(b, 3).words[b]
    ]
    out = np.zeros((len(block), len(index)))
    out[:, columns] = block
    return out
