"""Fits of what corrects a calculator's elastic tensors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from pymatgen.core import Structure

from objstress.errors import InputError
from objstress.models.corrected_tensors import VOLUME, CorrectedTensors, PriorTensor
from objstress.symmetry.voigt import tensor_to_voigt, voigt_to_mandel

FEWEST = 4
"""Crystals that a correction needs."""
SHRINKAGE = 3.0
"""Crystals that count for no slope, against those that are there."""
OUTLYING = 0.2
"""Error of a logarithm beyond which it counts by its size, no longer by its square."""
STEPS = 50
"""Times that crystals are weighted anew; they stand still long before."""


def correct_tensors(
    structures: Sequence[Structure],
    tensors: Sequence[np.ndarray],
    prior: str,
    priors: Sequence[np.ndarray | None],
    ions: str = "relaxed",
) -> CorrectedTensors:
    r"""Fit what takes a calculator's elastic tensors to those of a better method.

    .. math::

        \min_{\beta} \sum_c \sum_{i=1}^{5} \tfrac{1}{5} H \bigl( w_{ci} \cdot (\log C_c - \log
            C_c^+) w_{ci} - \beta \cdot x_{ci} \bigr) + \lambda |\beta'|^2

    over the crystals c and their shear stiffnesses, and the same for the bulk stiffness, whose only
    input is one. H is Huber's loss, which crystals do not dominate that one of the two methods has
    wrong; the slopes beta' belong to inputs less their mean, over their deviation, so that few
    crystals leave one factor for bulk and one for shear. Huber, Ann. Math. Stat. 35, 73 (1964).

    Args:
        structures: ordered crystals.
        tensors: (3, 3, 3, 3) each, GPa, of the better method.
        prior: name of the calculator.
        priors: its tensors, GPa, of the same crystals in the same frames, see `prior_tensors`;
            crystals with None are left out.
        ions: of both, "relaxed" or "clamped".

    Returns:
        The correction; its metadata hold the facts of the fit.

    Raises:
        InputError: different numbers of structures and tensors, fewer than four crystals, a tensor
            that is not positive definite.
    """
    if not len(structures) == len(tensors) == len(priors):
        raise InputError(
            f"{len(structures)} structures, {len(tensors)} tensors, {len(priors)} of the prior: "
            "give one of each"
        )
    bulk, shear, inputs, formulas, unstable = [], [], [], [], []
    for structure, tensor, given in zip(structures, tensors, priors, strict=True):
        formula = structure.composition.reduced_formula
        if given is None:
            continue
        try:
            known = PriorTensor.of(given)
        except InputError as error:
            warnings.warn(f"{formula} is left out: {error}", stacklevel=2)
            continue
        wanted = _logarithm(tensor, formula)
        bulk.append(VOLUME @ wanted @ VOLUME - known.bulk)
        shear.append(np.einsum("ai,ab,bi->i", known.shapes, wanted, known.shapes) - known.shears)
        inputs.append(known.shear_inputs(structure))
        formulas.append(formula)
        if not known.stable:
            unstable.append(formula)
    if len(bulk) < FEWEST:
        raise InputError(
            f"{len(bulk)} crystals with a tensor of both methods: a correction needs {FEWEST}"
        )
    one = np.ones((len(bulk), 1, 1))
    factor, bulk_scatter = _robust(one, np.array(bulk)[:, None])
    slopes, shear_scatter = _robust(np.array(inputs), np.array(shear))
    facts = {
        "ions": ions,
        "prior": prior,
        "crystals": len(bulk),
        "formulas": sorted(set(formulas)),
        "unstable_under_the_prior": unstable,
    }
    scatter = np.array([bulk_scatter, shear_scatter])
    return CorrectedTensors(prior, float(factor[0]), slopes, scatter, facts)


def _logarithm(tensor: np.ndarray, formula: str) -> np.ndarray:
    values, vectors = np.linalg.eigh(voigt_to_mandel(tensor_to_voigt(tensor)))
    if values[0] <= 0:
        raise InputError(
            f"the tensor of {formula} is not positive definite: it is unstable; leave it out"
        )
    return (vectors * np.log(values)) @ vectors.T


def _robust(inputs: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients (d,) of inputs (crystals, n, d) for values (crystals, n), and their scatter.

    The first input is one. By iterated weights; a weight is of a stiffness, each crystal is one.
    """
    each, width = inputs.shape[1:]
    x, y = inputs.reshape(-1, width), values.ravel()
    centre, size = x.mean(axis=0), x.std(axis=0)
    centre[0], size[size < 1e-9] = 0.0, 1.0  # what never changes has no slope
    scaled = (x - centre) / size
    shrinkage = SHRINKAGE * np.eye(width)
    shrinkage[0, 0] = 0.0
    weights = np.full(len(y), 1 / each)
    for _ in range(STEPS):
        found = np.linalg.solve(scaled.T @ (weights[:, None] * scaled) + shrinkage,
                                scaled.T @ (weights * y))  # fmt: skip
        left = y - scaled @ found
        weights = np.minimum(1.0, OUTLYING / np.abs(left).clip(min=1e-12)) / each
    coefficients = found / size
    coefficients[0] -= coefficients[1:] @ centre[1:]
    # The deviation of a normal distribution whose median error is this one.
    return coefficients, float(1.4826 * np.median(np.abs(left)))
