"""Monomials of any number of variables, and their values and derivatives."""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np
import torch
from torch import Tensor


class Monomials:
    """All monomials of degree 0 to `degree`, in lexicographic order by degree.

    Args:
        degree: the highest.
        variables: their number; six are Mandel's components of a strain.
    """

    def __init__(self, degree: int, variables: int = 6):
        every = range(variables)
        self.variables = variables
        self.words = [list(combinations_with_replacement(every, d)) for d in range(degree + 1)]
        index = [{w: k for k, w in enumerate(words)} for words in self.words]
        # raised[d][j, k]: which monomial of degree d is x_j times monomial k of degree d - 1.
        self.raised = [np.zeros((variables, 0), dtype=int)] + [
            np.array([[index[d][tuple(sorted((*w, j)))] for w in self.words[d - 1]] for j in every])
            for d in range(1, degree + 1)
        ]
        # Each monomial as first variable times a monomial of one degree less.
        self.first = [
            np.array([w[0] for w in words]) if words[0] else np.zeros(1, int)
            for words in self.words
        ]
        self.rest = [np.zeros(1, dtype=int)] + [
            np.array([index[d - 1][w[1:]] for w in self.words[d]]) for d in range(1, degree + 1)
        ]
        # powers[d][k, j]: how often x_j stands in monomial k of degree d.
        self.powers = [
            np.array([[w.count(j) for j in every] for w in words], dtype=float)
            for words in self.words
        ]
        self.offset = np.cumsum([0] + [len(w) for w in self.words])
        # start[d][j]: the first monomial of degree d without a variable before x_j.
        self.start = [[0] * variables + [1]] + [
            np.searchsorted(first, range(variables + 1)).tolist() for first in self.first[1:]
        ]

    def values(self, x: Tensor, degree: int) -> list[Tensor]:
        """All monomials of each degree from 0 on.

        Args:
            x: (variables, n).
            degree: the last of them.

        Returns:
            One tensor (number of that degree, n) for each degree.
        """
        out = [torch.ones_like(x[:1])]
        for d in range(1, degree + 1):
            # Those that begin with x_j are x_j times a tail of the degree before: no gathers.
            start = self.start[d - 1]
            out.append(torch.cat([x_j * out[-1][start[j] :] for j, x_j in enumerate(x)]))
        return out

    def gradient(self, coefficients: np.ndarray, degree: int) -> np.ndarray:
        """Coefficients (offset[degree + 1], ...) to those of d/dx_j, (offset[degree], ..., j)."""
        shape = coefficients.shape[1:]
        out = np.zeros((self.offset[degree], *shape, self.variables))
        for d in range(1, degree + 1):
            block = coefficients[self.offset[d] : self.offset[d + 1]]
            low = slice(self.offset[d - 1], self.offset[d])
            for j in range(self.variables):
                out[low, ..., j] += self.derivative(block, d, j)
        return out

    def derivative(self, block: np.ndarray, d: int, j: int) -> np.ndarray:
        """Coefficients (number of degree d, ...) to those of d/dx_j, (number of d - 1, ...)."""
        raised = self.raised[d][j]
        return self.powers[d][raised, j].reshape(-1, *[1] * (block.ndim - 1)) * block[raised]


@cache
def monomials(degree: int, variables: int = 6) -> Monomials:
    """The monomials of degree 0 to `degree`, made once."""
    return Monomials(degree, variables)


def multinomial(counts: np.ndarray) -> float:
    """d! / (a_1! ... a_n!): the squared norm of x^a where rotations are orthogonal."""
    return factorial(int(counts.sum())) / prod(factorial(int(c)) for c in counts)
