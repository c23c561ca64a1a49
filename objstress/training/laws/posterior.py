"""Corrections of a prior law from labels: the scales by evidence, the coefficients by Bayes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, expm, logm
from scipy.optimize import minimize

from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.labels.strain_labels import Labels
from objstress.laws.corrected import Uncertainty, stress_directions
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.voigt import (
    from_mandel,
    invariant_strains,
    mandel_rotations,
    to_mandel,
)
from objstress.training.laws.prior import MISFIT, SCALES, STRETCH, LawPrior
from objstress.training.laws.reference import stretch_size

STEPS = 30
"""Linearisations of the reference; six are enough as a rule."""
STILL = 1e-5
"""Step of the reference that may be left after the last of them."""
SAME = 1e-3
"""Relative difference of a strain from its image under which an operation keeps it."""
LARGEST_STRETCH = 0.06
"""Stretch of the reference beyond which labels are refused."""


@dataclass(frozen=True)
class Posterior:
    """A corrected polynomial and what is not known of it.

    Attributes:
        polynomial: its coefficients in GPa.
        uncertainty: of the coefficients and of the reference.
        stretch: U (3, 3), from the labels' reference to the corrected law's.
        scales: the learned tau of each part, relative, and the "misfit".
        misfit: relative root mean square of what is left of the labels' stresses.
    """

    polynomial: InvariantPolynomial
    uncertainty: Uncertainty
    stretch: np.ndarray
    scales: dict[str, float]
    misfit: float


def law_posterior(prior: LawPrior, labels: Labels) -> Posterior:
    r"""The prior law corrected by labels.

    .. math::
        S_n = S(F_n U^{-1}; c + \delta c) + \epsilon_n, \qquad \delta c \sim N(0, \Sigma_\tau),
        \quad \log U \sim N(0, 0.02^2), \quad
        \langle |\epsilon_n|^2 \rangle = s^2 (|S_n|^2 + P_0^2)

    Laws of two methods compare best each about its own stress-free state: U takes the labels to
    theirs. S is linear in the coefficients; in U it is linearised about its mean until that stands
    still (Gauss-Newton). The scales tau and s maximise the evidence of the labels times their
    hyperpriors (`SCALES`), without which the evidence of few labels has its maximum at zero or
    nowhere. Given them, the posterior is Gaussian in closed form; what is not known of them adds to
    its covariance, by Laplace's approximation.

    Args:
        prior: see `law_prior`.
        labels: of the prior's crystal, in its frame, one or more.

    Raises:
        InputError: the stress-free state is more than 6 % away, or not found.
    """
    parts = [*prior.directions, "stretch"]
    unit = prior.columns({part: 1.0 for part in parts})
    widths = [prior.directions[p].shape[1] for p in prior.directions] + [prior.strains.shape[1]]
    group = np.repeat(np.arange(len(parts)), widths)
    law = prior.law.polynomial
    count = len(unit) - 6
    allowed = _allowed(to_mandel(labels.strain), prior.operations)
    kept = allowed.any(axis=2).ravel()
    stretch, current = np.eye(3), law
    logs = np.log([SCALES[p][0] for p in prior.directions] + [MISFIT[0]])
    for _ in range(STEPS):
        referred = labels.rereferenced(stretch)
        x = torch.tensor(to_mandel(referred.strain))
        second = to_mandel(np.linalg.inv(referred.F) @ referred.piola)
        weight = 1 / np.hypot(np.linalg.norm(second, axis=1), prior.floor)
        columns = stress_directions(current, x, torch.tensor(unit)).numpy().transpose(0, 2, 1)
        b = (allowed @ (weight[:, None, None] * columns)).reshape(-1, len(group))
        known = prior.strains.T @ to_mandel(np.real(logm(stretch)))
        rest = (allowed @ (weight[:, None] * (second - law(x, 1)[1].numpy()))[:, :, None]).ravel()
        b, rest = b[kept], rest[kept]
        # The stretch that is looked for is the next one alone; the prior is of all of it.
        rest = rest + b[:, group == len(parts) - 1] @ known
        logs = _scales(b, rest, group, logs)
        change = unit @ _solution(b, rest, group, logs)
        step = from_mandel(change[count:] - prior.strains @ known)
        total = expm(step) @ stretch if np.linalg.norm(step) < 1 else 2 * np.eye(3)
        stretch = right_stretch(0.5 * (total.T @ total - np.eye(3)))
        if not stretch_size(stretch) < LARGEST_STRETCH:
            raise InputError(
                f"the labels show no stress-free state within {LARGEST_STRETCH:.0%} of their "
                "reference: is it the prior's crystal, are stress sign and units (eV/Angstrom^3) "
                "right?"
            )
        coefficients = law.coefficients.numpy().copy()
        coefficients[:count] += change[:count]
        current = InvariantPolynomial(prior.law.point_group, prior.law.degree)
        current.set_coefficients(coefficients)
        if np.linalg.norm(step) < 1e-9:
            break
    if np.linalg.norm(step) > STILL:
        raise InputError("the labels and the prior show no stress-free state: none was found")
    mean = _solution(b, rest, group, logs)
    left = (rest - b @ mean) / np.linalg.norm(allowed, axis=2).ravel()[kept]
    # What is not known of the scales: equal weights on points that have their moments.
    points = logs + np.vstack([1, -1])[:, None] * _spread(b, rest, group, logs)
    spread = []
    for point in points.reshape(-1, len(logs)):
        spread.append(_factor(b, group, point))
        spread.append((_solution(b, rest, group, point) - mean)[:, None])
    # As many columns as coefficients hold the same covariance.
    values, vectors = np.linalg.eigh(sum(part @ part.T for part in spread) / (2 * len(logs)))
    factor = unit @ (vectors * np.sqrt(values.clip(min=0)))
    misfit = float(np.sqrt(np.exp(2 * points[..., -1]).mean()))
    return Posterior(
        current,
        Uncertainty(torch.tensor(factor), misfit, prior.floor),
        stretch,
        dict(zip([*prior.directions, "misfit"], np.exp(logs).tolist(), strict=True)),
        float(np.sqrt((left**2).sum() / len(labels))),
    )


def _tau(group: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, float]:
    """The scale of each column, and the variance of the misfit of one of six components."""
    return np.exp(np.append(logs[:-1], np.log(STRETCH)))[group], float(np.exp(2 * logs[-1]) / 6)


def _solution(b: np.ndarray, rest: np.ndarray, group: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """The posterior mean of what multiplies the unit columns, given the scales."""
    tau, noise = _tau(group, logs)
    # As least squares: normal equations would square the condition.
    both = np.vstack([b * tau, np.sqrt(noise) * np.eye(len(tau))])
    return tau * np.linalg.lstsq(both, np.append(rest, np.zeros(len(tau))), rcond=None)[0]


def _factor(b: np.ndarray, group: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """A factor of its posterior covariance, given the scales."""
    tau, noise = _tau(group, logs)
    _, sizes, right = np.linalg.svd(b * tau / np.sqrt(noise), full_matrices=False)
    shrink = 1 / np.sqrt(1 + sizes**2) - 1
    return tau[:, None] * (np.eye(len(tau)) + (right.T * shrink) @ right)


def _allowed(strains: np.ndarray, operations: np.ndarray) -> np.ndarray:
    """Components of the stress that the symmetry of each strain allows, as rows, (n, 6, 6).

    The others vanish, whatever the law: they must not count as stresses that were met. Rows are
    scaled so that a misfit of given size is shared by those that are left; rows of zeros fill up.
    """
    result, rotations = np.zeros((len(strains), 6, 6)), mandel_rotations(operations)
    for x, rows in zip(strains, result, strict=True):
        keeps = np.linalg.norm(rotations @ x - x, axis=1) <= SAME * np.linalg.norm(x) + 1e-12
        free = invariant_strains(operations[keeps]).T
        rows[: len(free)] = np.sqrt(len(free) / 6) * free
    return result


def _scales(b: np.ndarray, rest: np.ndarray, group: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Logarithms of the scales of the groups (the last one's is fixed) and of the misfit."""
    # Scales fifty times off would only cost digits.
    bounds = [(m - 4, m + 4) for m in np.log([median for median, _ in _hyperprior(start)])]
    loss = _evidence(b, rest, group, len(start) - 1)
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x


def _spread(b: np.ndarray, rest: np.ndarray, group: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Steps from these logarithms, as rows, whose ends and their mirrors have their covariance.

    Laplace's approximation: second derivatives of the evidence where it is largest.
    """
    loss, h = _evidence(b, rest, group, len(logs) - 1), 0.05
    steps = h * np.eye(len(logs))
    hessian = np.array([loss(logs + e)[1] - loss(logs - e)[1] for e in steps]) / (2 * h)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    # No less is known than before any label.
    least = 1 / max(deviation for _, deviation in _hyperprior(logs)) ** 2
    return (vectors * np.sqrt(len(logs) / values.clip(min=least))).T


def _hyperprior(logs: np.ndarray) -> list[tuple[float, float]]:
    return [*list(SCALES.values())[: len(logs) - 1], MISFIT]


def _evidence(
    b: np.ndarray, rest: np.ndarray, group: np.ndarray, learned: int
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Minus the logarithm of the evidence times the hyperprior, and its gradient."""
    # What no column reaches of many labels tells the misfit alone.
    lost, remainder = max(0, len(b) - b.shape[1]), 0.0
    if lost:
        q, r = np.linalg.qr(b)
        b, rest, remainder = r, q.T @ rest, rest @ rest - (q.T @ rest) @ (q.T @ rest)
    kernels = [b[:, group == k] @ b[:, group == k].T for k in range(learned)]
    kernels.append(np.eye(len(b)) / 6)
    fixed = STRETCH**2 * b[:, group == learned] @ b[:, group == learned].T
    expected = _hyperprior(np.zeros(learned + 1))
    middle = np.log([median for median, _ in expected])
    width = np.array([deviation for _, deviation in expected])

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        covariance = fixed + sum(np.exp(2 * t) * k for t, k in zip(logs, kernels, strict=True))
        factor = cho_factor(covariance, lower=True)
        inverse = cho_solve(factor, np.eye(len(b)))
        explained = inverse @ rest
        off = (logs - middle) / width
        value = np.log(np.diag(factor[0])).sum() + 0.5 * rest @ explained + 0.5 * off @ off
        left = 6 * remainder * np.exp(-2 * logs[-1])
        value += lost * logs[-1] + 0.5 * left
        slope = [
            np.exp(2 * t) * ((inverse * k).sum() - explained @ k @ explained)
            for t, k in zip(logs, kernels, strict=True)
        ]
        slope[-1] += lost - left
        return float(value), np.array(slope) + off / width

    return loss
