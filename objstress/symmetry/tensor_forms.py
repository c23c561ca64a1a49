"""Forms of property tensors: which components a point group leaves (Nye)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import permutations, product

import numpy as np

from objstress.errors import InputError
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import VOIGT_PAIRS, rotated_tensor

KINDS = {
    "pyroelectric": "V",
    "dielectric": "[V2]",
    "gyration": "e[V2]",
    "piezoelectric": "V[V2]",
    "photoelastic": "[V2][V2]",
    "elastic": "[[V2]2]",
    "third-order elastic": "[[V2]3]",
}
"""Property -> Jahn symbol: V an index, [..] what may be exchanged, e an axial tensor (its sign
changes where the hand does)."""


@dataclass(frozen=True)
class TensorForm:
    r"""Tensors of one kind that a point group leaves unchanged: the form of a property tensor.

    .. math:: T_{ij \ldots} = \frac{1}{|G|} \sum_g (\det g)^a
        g_{ii'} g_{jj'} \cdots T_{i'j' \ldots}, \qquad a = 1 \text{ if axial, else } 0

    Neumann's principle: every property of a crystal has at least the symmetry of its point group.
    Magnetic groups (time reversal) are left out.
    Nye, Physical Properties of Crystals, chapters III to VIII and appendix B; Jahn, Acta Cryst. 2,
    30 (1949).

    Args:
        group: in any frame; symbolic forms are of Nye's simple shape in standard settings.
        kind: a name of `KINDS`, or a Jahn symbol made of V, [V2], [[V2]2], [[V2]3] and a leading e.

    Raises:
        InputError: an unknown kind.
    """

    group: PointGroup
    kind: str

    def __post_init__(self) -> None:
        self.blocks  # noqa: B018  reads the symbol, or refuses it

    @property
    def jahn(self) -> str:
        """The Jahn symbol."""
        return KINDS.get(self.kind, self.kind)

    @property
    def axial(self) -> bool:
        """Whether a change of hand changes the sign."""
        return self.jahn.startswith("e")

    @cached_property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """Blocks of the symbol: ("vector" or "pair", how many of them may be exchanged).

        Raises:
            InputError: a symbol of something else.
        """
        rest = self.jahn.removeprefix("e")
        blocks: list[tuple[str, int]] = []
        for part in re.findall(r"\[\[V2\]\d\]|\[V2\]|V", rest):
            if part == "V":
                blocks.append(("vector", 1))
            else:
                blocks.append(("pair", int(part[-2]) if part.startswith("[[") else 1))
        jahn = "".join(
            "V" if kind == "vector" else "[V2]" if number == 1 else f"[[V2]{number}]"
            for kind, number in blocks
        )
        if not blocks or jahn != rest:
            raise InputError(
                f"unknown kind of tensor {self.kind!r}; known are {', '.join(KINDS)}, or Jahn "
                "symbols of V, [V2], [[V2]2], [[V2]3] with a leading e for axial ones"
            )
        return tuple(blocks)

    @property
    def rank(self) -> int:
        """Number of indices."""
        return sum(number * (1 if kind == "vector" else 2) for kind, number in self.blocks)

    @cached_property
    def components(self) -> list[tuple[int, ...]]:
        """Distinct components as Voigt-like labels from 1: (1, 4) is T_1(23) of V[V2]."""
        choices = [
            [
                c
                for c in product(range(1, 4 if kind == "vector" else 7), repeat=number)
                if list(c) == sorted(c)
            ]
            for kind, number in self.blocks
        ]
        return [sum(parts, ()) for parts in product(*choices)]

    @cached_property
    def _units(self) -> np.ndarray:
        """Tensors with one component equal to one (and those that are the same), (m, 3, ..., 3)."""
        units = np.zeros((len(self.components), *(3,) * self.rank))
        for unit, labels in zip(units, self.components, strict=True):
            alternatives, start = [], 0
            for kind, number in self.blocks:
                own = labels[start : start + number]
                start += number
                ways = set(permutations(own))
                alternatives.append({index for way in ways for index in _indices(kind, way)})
            for parts in product(*alternatives):
                unit[sum(parts, ())] = 1.0
        return units

    @cached_property
    def basis(self) -> np.ndarray:
        """Invariant tensors, orthonormal, (k, 3, ..., 3)."""
        units = self._units.reshape(len(self._units), -1)
        units = units / np.linalg.norm(units, axis=1, keepdims=True)
        images = _mean_image(units.reshape(len(units), *(3,) * self.rank), self.group, self.axial)
        projector = units @ images.reshape(len(units), -1).T
        values, vectors = np.linalg.eigh((projector + projector.T) / 2)
        kept = vectors[:, values > 0.5].T
        return (kept @ units).reshape(len(kept), *(3,) * self.rank)

    @property
    def independent(self) -> int:
        """Number of independent constants."""
        return len(self.basis)

    def project(self, tensor: np.ndarray) -> np.ndarray:
        """The nearest tensor of this form.

        Args:
            tensor: (..., 3, ..., 3), any unit.

        Returns:
            The same shape and unit.

        Raises:
            InputError: a tensor of another rank.
        """
        tensor = np.asarray(tensor, dtype=np.float64)
        if tensor.shape[tensor.ndim - self.rank :] != (3,) * self.rank:
            raise InputError(
                f"a tensor of rank {self.rank} needs last axes {(3,) * self.rank}, "
                f"not {tensor.shape}"
            )
        flat = self.basis.reshape(self.independent, 3**self.rank)
        return ((tensor.reshape(-1, 3**self.rank) @ flat.T) @ flat).reshape(tensor.shape)

    @cached_property
    def relations(self) -> dict[tuple[int, ...], dict[tuple[int, ...], float]]:
        """Each component as a sum over independent ones: {(6, 6): {(1, 1): 0.5, (1, 2): -0.5}}.

        The independent ones are the first in order that the others follow from; the factors are
        pure numbers.
        """
        units = self._units.reshape(len(self._units), -1)
        sizes = (units**2).sum(axis=1)
        rows = (self.basis.reshape(self.independent, 3**self.rank) @ units.T) / sizes
        pivots: list[int] = []
        for column in range(rows.shape[1]):  # reduced row echelon form
            k = len(pivots)
            if k == len(rows):
                break
            best = k + int(np.abs(rows[k:, column]).argmax())
            if abs(rows[best, column]) < 1e-8:
                continue
            rows[[k, best]] = rows[[best, k]]
            rows[k] /= rows[k, column]
            others = np.arange(len(rows)) != k
            rows[others] -= np.outer(rows[others, column], rows[k])
            pivots.append(column)
        rows[np.abs(rows) < 1e-9] = 0.0
        return {
            labels: {self.components[p]: float(rows[k, c]) for k, p in enumerate(pivots)
                     if rows[k, c] != 0}
            for c, labels in enumerate(self.components)
        }  # fmt: skip

    def symbols(self, letter: str = "c") -> dict[tuple[int, ...], str]:
        """Each component as text: "0", "c11", "-c14", "(c11 - c12)/2".

        Args:
            letter: that the names begin with.
        """
        pair = self.blocks == (("pair", 1),)  # written with both of its indices
        return {
            labels: _text(
                {
                    "".join(f"{i + 1}{j + 1}" for i, j in (VOIGT_PAIRS[x - 1] for x in own))
                    if pair
                    else "".join(map(str, own)): value
                    for own, value in terms.items()
                },
                letter,
            )
            for labels, terms in self.relations.items()
        }

    def table(self, letter: str = "c") -> list[list[str]]:
        """The symbols as a matrix: one index or pair down, the rest across; rank 1 is one row.

        Args:
            letter: that the names begin with.

        Raises:
            InputError: a rank above 4, or 6 x 6 x 6 constants.
        """
        symbols = self.symbols(letter)
        sizes = [3 if kind == "vector" else 6 for kind, n in self.blocks for _ in range(n)]
        if self.blocks == (("pair", 1),):
            voigt = {pair: a + 1 for a, pair in enumerate(VOIGT_PAIRS)}
            voigt |= {(j, i): a for (i, j), a in voigt.items()}
            return [[symbols[(voigt[i, j],)] for j in range(3)] for i in range(3)]
        if len(sizes) == 1:
            return [[symbols[(i,)] for i in range(1, 4)]]
        if len(sizes) != 2:
            raise InputError(f"a tensor {self.jahn} is not a matrix")
        exchange = self.blocks == (("pair", 2),)
        return [
            [symbols[tuple(sorted((a, b))) if exchange else (a, b)] for b in range(1, sizes[1] + 1)]
            for a in range(1, sizes[0] + 1)
        ]


def _indices(kind: str, labels: tuple[int, ...]) -> set[tuple[int, ...]]:
    """Cartesian indices that these labels stand for: a pair both ways."""
    if kind == "vector":
        return {tuple(x - 1 for x in labels)}
    pairs = [{VOIGT_PAIRS[x - 1], VOIGT_PAIRS[x - 1][::-1]} for x in labels]
    return {sum(parts, ()) for parts in product(*pairs)}


def _mean_image(tensors: np.ndarray, group: PointGroup, axial: bool) -> np.ndarray:
    """The mean of the images of tensors (m, 3, ..., 3) under the group."""
    total = np.zeros_like(tensors)
    for g in group.operations:
        total += rotated_tensor(tensors, g, batch=1) * (np.sign(np.linalg.det(g)) if axial else 1.0)
    return total / len(group.operations)


def _text(terms: dict[str, float], letter: str) -> str:
    if not terms:
        return "0"
    fractions = {k: Fraction(v).limit_denominator(24) for k, v in terms.items()}
    exact = all(abs(float(f) - terms[k]) < 1e-7 for k, f in fractions.items())
    common = 1
    if exact:
        for f in fractions.values():
            common = int(np.lcm(common, f.denominator))
    parts = []
    for labels, value in terms.items():
        name = letter + labels
        size = abs(fractions[labels] * common) if exact else f"{abs(value):.4g} "
        text = name if size == 1 else f"{size}{name}"
        parts.append(("-" if value < 0 else "+", text))
    first = ("-" if parts[0][0] == "-" else "") + parts[0][1]
    text = " ".join([first, *(f"{sign} {name}" for sign, name in parts[1:])])
    if common == 1:
        return text
    return f"({text})/{common}" if len(parts) > 1 else f"{text}/{common}"
