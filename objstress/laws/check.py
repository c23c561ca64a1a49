"""Measurements of what every law promises, for `check_law`, tests and reports."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from objstress.elasticity.orientations import orthogonalized, random_rotations
from objstress.elasticity.strain import right_stretch
from objstress.laws.base import MaterialLaw
from objstress.laws.check_electric import field_claims
from objstress.laws.finite_differences import differences
from objstress.reports import Claim
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import from_mandel


def random_deformations(n: int, size: float, rng: np.random.Generator) -> np.ndarray:
    """Random deformation gradients F = R U, R and the size of the strain uniform.

    Args:
        n: number of deformations.
        size: largest |E|, the Frobenius norm of the strain.
        rng: source of the random numbers.

    Returns:
        F, shape (n, 3, 3).
    """
    mandel = rng.normal(size=(n, 6))
    mandel *= (size * (1 - rng.random(n)) / np.linalg.norm(mandel, axis=1))[:, None]
    return random_rotations(n, rng) @ right_stretch(from_mandel(mandel))


def relative_error(law: MaterialLaw, difference: np.ndarray, stress: np.ndarray) -> np.ndarray:
    """|dP| / max(|P|, 1e-3 x the largest C_ab), Frobenius norms over the last two axes."""
    size = np.linalg.norm(stress, axis=(-2, -1))
    return np.linalg.norm(difference, axis=(-2, -1)) / np.maximum(size, law.stress_floor())


def _stress(law: MaterialLaw, f: np.ndarray) -> np.ndarray:
    return law.response(f.reshape(-1, 3, 3), 1)[1].numpy().reshape(f.shape)


def objectivity(law: MaterialLaw, f: np.ndarray, rng: np.random.Generator) -> float:
    """Largest relative violation of P(Q F) = Q P(F), Q random rotations."""
    q = random_rotations(len(f), rng)
    p = _stress(law, f)
    return float(relative_error(law, _stress(law, q @ f) - q @ p, p).max())


def material_symmetry(law: MaterialLaw, f: np.ndarray, operations: np.ndarray) -> float:
    """Largest relative violation of P(F g) = P(F) g over the operations.

    A g of determinant -1 is taken as -g: C, and with it the law, cannot tell them apart.
    """
    proper = (operations * np.sign(np.linalg.det(operations))[:, None, None])[:, None]
    p = _stress(law, f)
    return float(relative_error(law, _stress(law, f @ proper) - p @ proper, p[None]).max())


def residual_at_identity(law: MaterialLaw) -> float:
    """max(|W(I)|, |P_iJ(I)|) relative to the largest elastic constant."""
    w, p = law.response(np.eye(3), 1)
    return max(abs(float(w)), float(p.abs().max())) / float(np.abs(law.stiffness()).max())


def stress_gradient(law: MaterialLaw, f: np.ndarray, step: float = 3e-5) -> float:
    """P against central differences of W, relative to max(|P|, floor)."""
    p = _stress(law, f)
    numeric = differences(lambda x: law.response(x, 0)[0].numpy(), f, step)
    return float(relative_error(law, numeric - p, p).max())


def tangent_gradient(law: MaterialLaw, f: np.ndarray, step: float = 3e-5) -> float:
    """A against central differences of P, relative to the largest |A|."""
    a = law.response(f, 2)[2].numpy()
    numeric = differences(lambda x: _stress(law, x), f, step)
    return float(np.abs(numeric - a).max() / np.abs(a).max())


def major_symmetry(law: MaterialLaw, f: np.ndarray) -> float:
    """|A_iJkL - A_kLiJ| relative to |A|."""
    a = law.response(f, 2)[2].numpy()
    return float(np.abs(a - a.transpose(0, 3, 4, 1, 2)).max() / np.abs(a).max())


def loop_work(law: MaterialLaw, corners: np.ndarray, points: int = 40) -> float:
    """|closed integral of P : dF| along polygons I -> F1 -> F2 -> ... -> I, over the largest W.

    Args:
        corners: (loops, k, 3, 3) deformations that each loop passes.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)
    nodes, weights = 0.5 * (nodes + 1), 0.5 * weights
    worst = 0.0
    for loop in corners:
        path = np.concatenate([np.eye(3)[None], loop, np.eye(3)[None]])
        step = np.diff(path, axis=0)
        f = path[:-1, None] + nodes[None, :, None, None] * step[:, None]
        p = _stress(law, f.reshape(-1, 3, 3)).reshape(f.shape)
        work = np.einsum("q,sqij,sij->", weights, p, step)
        stored = float(law.response(loop, 0)[0].abs().max())
        worst = max(worst, abs(work) / stored)
    return float(worst)


def rigid_spin(law: MaterialLaw, shear: float = 0.05, steps: int = 36) -> float:
    """Simple shear, then one full turn: Q^T P(Q F) against P(F) at each step, relative."""
    f = np.eye(3)
    f[0, 1] = shear
    angles = np.linspace(0, 2 * np.pi, steps + 1)
    q = orthogonalized(Rotation.from_rotvec(np.outer(angles, [0, 0, 1])).as_matrix())
    p0 = _stress(law, f[None])
    back = q.transpose(0, 2, 1) @ _stress(law, q @ f)
    return float(relative_error(law, back - p0, np.repeat(p0, len(q), 0)).max())


def trained_radius(law: MaterialLaw, default: float = 0.08) -> float:
    """Norm |E| of the largest ball of strains inside the trained domain.

    Args:
        law: any law.
        default: strain that is returned for laws without a domain.
    """
    domain = getattr(law, "domain", None)
    if domain is None:
        return default
    return float(1 / np.sqrt(np.linalg.eigvalsh(domain.numpy()).max()))


def check_law(law: MaterialLaw, samples: int = 1000, seed: int = 0) -> list[Claim]:
    """All promises of a law, measured at random deformations inside its trained domain.

    Objectivity, material symmetry, W(I) = 0 and P(I) = 0, stress and tangent against differences,
    major symmetry, no work around closed loops, rigid spin. Of a law that knows an electric field
    the same under fields, all operations of its point group, improper ones too, and that it has
    no larger group of the same Laue class.

    Args:
        law: any law, in any frame.
        samples: number of deformations of the test of objectivity; the others take a part of them.
        seed: of the random numbers.

    Returns:
        One claim for each promise, with its value and its limit.
    """
    rng = np.random.default_rng(seed)
    f = random_deformations(samples, trained_radius(law), rng)
    few = f[: max(1, samples // 20)]
    if isinstance(law.point_group, PointGroup):
        operations = law.point_group.operations
    else:
        operations = random_rotations(24, rng)
    loops = random_deformations(12, trained_radius(law), rng).reshape(4, 3, 3, 3)
    # Loops leave from the identity; turning a corner's frame would make the straight way long.
    loops = np.array([[right_stretch(0.5 * (c.T @ c - np.eye(3))) for c in x] for x in loops])
    claims = [
        Claim(f"objectivity, {samples} random F and Q", objectivity(law, f, rng), 1e-12),
        Claim(
            f"material symmetry {law.point_group.symbol}",
            material_symmetry(law, few, operations),
            1e-12,
        ),
        Claim("W(I) = 0 and P(I) = 0", residual_at_identity(law), 1e-14),
        Claim("stress against differences of the energy", stress_gradient(law, few), 1e-6),
        Claim("tangent against differences of the stress", tangent_gradient(law, few), 1e-6),
        Claim("major symmetry of the tangent", major_symmetry(law, few), 1e-12),
        Claim("work around closed loops / stored energy", loop_work(law, loops), 1e-9),
        Claim("rigid spin in 36 steps", rigid_spin(law), 1e-12),
    ]
    return claims + (field_claims(law, few, rng) if law.knows_field else [])
