"""A polynomial law as tables that every language evaluates in the same way.

The strain is eta = (E11, E22, E33, 2 E23, 2 E13, 2 E12), so that dW/d eta is the second
Piola-Kirchhoff stress in Voigt's order xx yy zz yz xz xy, and no language meets Mandel's factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import block_array, csr_array
from scipy.sparse.csgraph import connected_components

from objstress.errors import InputError
from objstress.laws.base import LawAround, MaterialLaw
from objstress.laws.compile import own_polynomial
from objstress.laws.learned import LearnedLaw
from objstress.laws.polynomial import PolynomialLaw
from objstress.laws.rotated import RotatedLaw
from objstress.models.monomial_tables import monomials
from objstress.symmetry.voigt import SHEAR, mandel_rotations

PAIRS = [(a, b) for a in range(6) for b in range(a, 6)]
"""(a, b) of the 21 second derivatives, row by row."""

V_SPAN = {"domain": (1, 7), "density": (0, 28)}
"""Which of 1, eta_a, eta_a eta_b each measure of `Kernel.far` is of: the first, and the end."""


@dataclass(frozen=True)
class Block:
    """Second derivatives that consist of the same monomials.

    Attributes:
        rows: which of the 21 second derivatives, numbers of `PAIRS`.
        monomials: numbers of the monomials among all of them, degree by degree.
        table: coefficients in GPa, shape (monomials, rows).
    """

    rows: list[int]
    monomials: list[int]
    table: np.ndarray


@dataclass(frozen=True)
class Kernel:
    r"""W, dW/d eta and d2W/d eta2 of a polynomial law, as tables.

    .. math:: W = \sum_d W_d, \qquad S_d = H_d \eta / (d - 1), \qquad W_d = \eta \cdot S_d / d

    The part of degree d is homogeneous: its second derivatives H_d give the rest by Euler's
    theorem, from monomials of two degrees less. A group leaves out terms by the parity of their
    shears, so that H_d falls into blocks of rows with monomials of their own.

    Attributes:
        blocks: {degree: blocks of H_d}.
        count: number of monomials, of all degrees up to the highest but two.
        tails: the first monomial of each degree that begins with each variable or a later one,
            for degrees 0, 1, ...; those times this variable are monomials of the next degree.
        ends: number of monomials up to each of these degrees.
        rotation: strain of the sample to strain of the crystal, (6, 6), for a rotated law.
        far: {name: factors of v_a v_b with a <= b, row by row} for each measure of how far a
            strain is from those of the fit, outside where it is > 1: "domain" for v = eta, (21,),
            "density" for v = (1, eta_a, eta_a eta_b), (406,), see `FittedLaw`; dimensionless.
    """

    blocks: dict[int, list[Block]]
    count: int
    tails: list[list[int]]
    ends: list[int]
    rotation: np.ndarray | None
    far: dict[str, np.ndarray]


def polynomial_of(law: MaterialLaw) -> tuple[PolynomialLaw, np.ndarray | None]:
    """The polynomial in a law, and the rotation around it.

    Args:
        law: a polynomial law, a fitted one without a network, or one of these rotated.

    Returns:
        The polynomial law, and Q (3, 3), crystal frame to sample frame, or None.

    Raises:
        InputError: another kind of law.
    """
    inner = law.law if isinstance(law, RotatedLaw) else law
    rotation = law.Q.numpy() if isinstance(law, RotatedLaw) else None
    if isinstance(inner, PolynomialLaw):
        return inner, rotation
    if isinstance(inner, LearnedLaw) and (own := own_polynomial(inner)) is not None:
        facts = (inner.point_group, inner.domain, inner.metadata, inner.structure, inner.density)
        return PolynomialLaw(own, *facts), rotation
    kind = inner.kind or type(inner).__name__
    if isinstance(inner, LawAround) and isinstance(inner.law, PolynomialLaw):
        raise InputError(f"a law of kind {kind!r} cannot be exported: export the one inside, .law")
    raise InputError(f"a law of kind {kind!r} cannot be exported: compile_law makes one that can")


def kernel_of(law: PolynomialLaw, rotation: np.ndarray | None) -> Kernel:
    """The tables of a law.

    Args:
        law: a polynomial law.
        rotation: Q, (3, 3), crystal frame to sample frame, or None.
    """
    mono, terms = monomials(law.degree), law.polynomial.terms()
    blocks = {}
    for degree in sorted({len(word) for word in terms}):
        second = np.zeros((21, len(mono.words[degree - 2])))
        energy = np.zeros(len(mono.words[degree]))
        for k, word in enumerate(mono.words[degree]):
            # Mandel's strain is eta, but eta / sqrt 2 for shears.
            energy[k] = terms.get(word, 0.0) * np.prod(SHEAR[list(word)])
        for row, (a, b) in enumerate(PAIRS):
            first = mono.derivative(energy, degree, a)
            second[row] = mono.derivative(first, degree - 1, b)
        blocks[degree] = _blocks(second, int(mono.offset[degree - 2]))
    levels = range(law.degree - 2)
    squares = np.array([SHEAR[a] * SHEAR[b] for a, b in PAIRS])
    forms = {"domain": (law.domain, SHEAR)}
    forms["density"] = (law.density, np.concatenate([[1.0], SHEAR, squares]))
    return Kernel(
        blocks,
        int(mono.offset[law.degree - 1]),
        [[int(mono.offset[d] + mono.start[d][j]) for j in range(6)] for d in levels],
        [int(mono.offset[d + 1]) for d in levels],
        _strain_rotation(rotation),
        {name: _packed(m.numpy(), scale) for name, (m, scale) in forms.items() if m is not None},
    )


def _packed(form: np.ndarray, scale: np.ndarray) -> np.ndarray:
    form = form * scale[:, None] * scale
    return (form + np.triu(form, 1))[np.triu_indices(len(form))]


def _strain_rotation(rotation: np.ndarray | None) -> np.ndarray | None:
    if rotation is None:
        return None
    return mandel_rotations(rotation.T[None])[0] * SHEAR / SHEAR[:, None]


def _blocks(second: np.ndarray, offset: int) -> list[Block]:
    filled = csr_array(second != 0)
    count, labels = connected_components(
        block_array([[None, filled], [filled.T, None]]), directed=False
    )
    blocks = []
    for label in range(count):
        rows = np.flatnonzero(labels[:21] == label)
        columns = np.flatnonzero(labels[21:] == label)
        if len(rows) and len(columns):
            table = second[np.ix_(rows, columns)].T
            blocks.append(Block(rows.tolist(), (offset + columns).tolist(), table))
    return blocks
