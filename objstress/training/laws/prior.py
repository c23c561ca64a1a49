"""What is expected of the error of a law that another method than the labels' made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import block_diag

from objstress.elasticity.directions import strain_directions
from objstress.errors import InputError
from objstress.laws.base import MaterialLaw
from objstress.laws.compile import compile_polynomial
from objstress.laws.corrected import Uncertainty
from objstress.laws.guarded import GuardedLaw
from objstress.laws.polynomial import PolynomialLaw
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import invariant_strains, voigt_to_mandel
from objstress.training.laws.polynomial import count_coefficients

TOLERANCE = 1e-3
"""Relative error at which a prior that is no polynomial is compiled to one."""
MOST = 500
"""Coefficients that are corrected; those of higher degrees stay the prior's."""
STRETCH = 0.02
"""Standard deviation of each component of the logarithm of the stretch between the labels'
reference and the stress-free crystal: functionals differ by 1 to 3 % in the lattice."""
SCALES = {"factor": (0.3, 0.7), "elastic": (0.1, 0.7), "anharmonic": (0.7, 0.7)}
"""{part of the error: median of its relative size, standard deviation of its logarithm}. Universal
potentials are softer in shear than DFT by up to 1.4; the evidence of 20 labels of silicon and of
gallium phosphide says 0.7 and 0.3, 0.07 and 0.09, 0.6 and 0.8 for SevenNet's laws."""
MISFIT = (0.003, 1.0)
"""The same of what no coefficients mend."""
FLOOR = 10.0
"""The floor of the misfit in units of the stress floor: the stress of a strain of about 1 %."""
POINTS = 1024
"""Strains over which sizes are averaged."""


@dataclass(frozen=True)
class LawPrior:
    r"""A law as the mean, and the parts of its expected error.

    .. math::
        \delta c = \tau_f \sum_j d_j z_j + \tau_e L_2 z_2
            + \tau_a \sum_{n \ge 3} (n - 2) L_n z_n, \qquad z \sim N(0, 1)

    The columns d_j change the law as a whole: its energy by a factor, and its strain by a factor
    on the volume or on the shape, which is how a potential is too soft in shear. L_n L_n^T is the
    inverse of the metric <S C^-1 S> of degree n, the mean over strains of one energy of the prior,
    in units of the prior's own: tau is the expected relative error of that part of the stress,
    whatever the group and the basis of its invariants. Each degree adds a derivative, and its
    relative error grows alike.

    Attributes:
        law: the prior, one polynomial.
        directions: {part: columns (k, q)} of the first k coefficients, GPa for a tau of one.
        strains: the invariant strains, orthonormal, (6, m).
        operations: of the point group, (g, 3, 3).
    """

    law: PolynomialLaw
    directions: dict[str, np.ndarray]
    strains: np.ndarray
    operations: np.ndarray

    def columns(self, scales: dict[str, float]) -> np.ndarray:
        """Factor of the covariance of the coefficients and the reference, (k + 6, r).

        Args:
            scales: tau of each part, relative; "stretch" for the reference's, a pure number.
        """
        changes = [scales[part] * columns for part, columns in self.directions.items()]
        c = np.hstack(changes)
        m = self.strains.shape[1]
        return np.block(
            [
                [c, np.zeros((len(c), m))],
                [np.zeros((6, c.shape[1])), scales["stretch"] * self.strains],
            ]
        )

    @property
    def floor(self) -> float:
        """P_0 of the misfit, GPa."""
        return FLOOR * self.law.stress_floor()

    def uncertainty(self) -> Uncertainty:
        """What is not known before any label is seen, all scales at their medians."""
        scales = {part: median for part, (median, _) in SCALES.items()} | {"stretch": STRETCH}
        return Uncertainty(torch.tensor(self.columns(scales)), MISFIT[0], self.floor)


def law_prior(law: MaterialLaw) -> LawPrior:
    """A law as a prior, with the structure of its expected error.

    Args:
        law: of a crystal, or of a material with a point group; of a guarded law the one inside.

    Raises:
        InputError: a law that no polynomial follows to 0.1 %, or whose elastic constants are not
            positive definite; an isotropic law.
    """
    inner = law.law if isinstance(law, GuardedLaw) else law
    group = inner.point_group
    if not isinstance(group, PointGroup):
        raise InputError(f"a law of {group.symbol} as prior: give one of a point group")
    compiled = compile_polynomial(inner, TOLERANCE)
    values, vectors = np.linalg.eigh(voigt_to_mandel(compiled.stiffness()))
    if values.min() <= 0:
        raise InputError("the prior's elastic constants are not positive definite")
    degree = compiled.degree
    while degree > 2 and count_coefficients(group, degree) > MOST:
        degree -= 1
    root = (vectors / np.sqrt(values)) @ vectors.T
    x = torch.tensor(_directions() @ root)
    volume = np.outer(_HYDROSTATIC, _HYDROSTATIC)
    whole: list[list[np.ndarray]] = [[], [], []]
    own: list[np.ndarray] = []
    numbers = np.array(compiled.polynomial.degrees)
    for n in range(2, degree + 1):
        part = InvariantPolynomial(group, n, lowest=n)
        c = compiled.polynomial.coefficients.numpy()[numbers == n]
        part.set_coefficients(c)
        design = part.design(x)
        _, s, h = (t.numpy() for t in part(x, 2))
        whole[0].append(c)
        for k, a in ((1, volume), (2, np.eye(6) - volume)):
            # The gradient of dW/dx . a x, which has the same degree and symmetry.
            changed = (h @ (x.numpy() @ a)[:, :, None])[:, :, 0] + s @ a
            solution, *_ = np.linalg.lstsq(design.reshape(-1, len(c)), changed.ravel(), rcond=1e-12)
            whole[k].append(0.5 * solution)
        b = (root @ design).reshape(-1, len(c))
        metric = b.T @ b / len(x)
        size = np.sqrt(c @ metric @ c / len(c))
        factor = np.linalg.inv(np.linalg.cholesky(metric)).T
        own.append(max(1, n - 2) * size * factor)
    directions = {
        "factor": np.stack([np.concatenate(w) for w in whole], axis=1),
        "elastic": block_diag(own[0], *[np.zeros((len(o), 0)) for o in own[1:]]),
    }
    if degree > 2:
        directions["anharmonic"] = block_diag(np.zeros((len(own[0]), 0)), *own[1:])
    operations = group.operations
    return LawPrior(compiled, directions, invariant_strains(operations), operations)


_HYDROSTATIC = np.array([1, 1, 1, 0, 0, 0]) / np.sqrt(3)


def _directions() -> np.ndarray:
    from scipy.stats import qmc  # slow to import

    points = qmc.Sobol(6, scramble=True, rng=0).random_base2(int(np.log2(POINTS)))
    return strain_directions(points)
