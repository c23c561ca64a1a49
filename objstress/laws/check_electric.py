"""Measurements of what a law of strain and electric field promises, for `check_law` and tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from objstress.elasticity.orientations import random_rotations
from objstress.laws.base import MaterialLaw
from objstress.laws.finite_differences import differences
from objstress.models.invariants import invariant_polynomials
from objstress.reports import Claim
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.supergroups import closure, laue_group, minimal_supergroups

STEP = 3e-5
"""Of the differences, in strain and in units of the largest field."""


def random_fields(law: MaterialLaw, n: int, rng: np.random.Generator) -> np.ndarray:
    """Random fields of any direction, up to the largest that the law was fitted to.

    Args:
        law: with a `largest_field`, or else 0.1 V/nm is taken.
        n: number of fields.
        rng: source of the random numbers.

    Returns:
        E0 in V/nm, shape (n, 3).
    """
    e = rng.normal(size=(n, 3))
    size = (law.largest_field or 0.1) * (1 - rng.random(n))
    return e * (size / np.linalg.norm(e, axis=1))[:, None]


def _answers(law: MaterialLaw, f: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, p, d = law.electric_response(f, e, 1)
    return p.numpy(), d.numpy()


def _gap(law: MaterialLaw, pairs: tuple, other: tuple) -> float:
    """Largest difference of two (P, D0), relative to P and D0 of the first, or to their floors."""
    (p, d), (p2, d2) = pairs, other
    stress = np.maximum(np.linalg.norm(p, axis=(1, 2)), law.stress_floor())
    charge = np.linalg.norm(d, axis=1)
    charge = np.maximum(charge, 1e-3 * charge.max() + 1e-300)
    return float(
        max(
            (np.linalg.norm(p2 - p, axis=(1, 2)) / stress).max(),
            (np.linalg.norm(d2 - d, axis=1) / charge).max(),
        )
    )


def field_objectivity(
    law: MaterialLaw, f: np.ndarray, e: np.ndarray, rng: np.random.Generator
) -> float:
    """Largest relative violation of P(Q F, E0) = Q P(F, E0) and D0(Q F, E0) = D0(F, E0)."""
    q = random_rotations(len(f), rng)
    p, d = _answers(law, f, e)
    return _gap(law, (q @ p, d), _answers(law, q @ f, e))


def field_symmetry(law: MaterialLaw, f: np.ndarray, e: np.ndarray, operations: np.ndarray) -> float:
    """Largest relative violation of P(F g, g^T E0) = P(F, E0) g and D0 = g D0(F g, g^T E0).

    C does not change its sign under inversion, so F meets an improper g as -g; E0 meets g itself.

    Args:
        law: of strain and field.
        f, e: deformation gradients (n, 3, 3) and fields in V/nm, (n, 3).
        operations: (m, 3, 3), improper ones included.
    """
    p, d = _answers(law, f, e)
    worst = 0.0
    for g in operations:
        proper = g * np.sign(np.linalg.det(g))
        p2, d2 = _answers(law, f @ proper, e @ g)
        worst = max(worst, _gap(law, (p, d), (p2 @ proper.T, d2 @ g.T)))
    return worst


def same_laue_class(group: PointGroup) -> list[np.ndarray]:
    """Operations (m, 3, 3) of each next larger group of the Laue class that the group lacks."""
    return [
        np.array(
            [g for g in larger.operations if not any(np.allclose(g, h) for h in group.operations)]
        )
        for larger in minimal_supergroups(group, [laue_group(group)])
    ]


def _told_apart(law: MaterialLaw, group: PointGroup) -> list[np.ndarray]:
    """Of `same_laue_class` those that terms of the law's degrees can tell from its group.

    A law that is linear in the field cannot tell 432 from m-3m: both forbid all of its terms.
    """
    inner = getattr(law, "law", None)
    polynomial = getattr(law, "polynomial", getattr(inner, "polynomial", None))
    degrees = getattr(polynomial, "parts", [])
    found = []
    for extra in same_laue_class(group):
        larger = PointGroup.from_operations(closure(np.concatenate([group.operations, extra])))
        counts = (
            sum(len(invariant_polynomials(g, a, b)) for a, b in degrees) for g in (group, larger)
        )
        if not degrees or next(counts) > next(counts):
            found.append(extra)
    return found


def field_gradients(law: MaterialLaw, f: np.ndarray, e: np.ndarray) -> tuple[float, float]:
    """P and D0 against differences of H, and the blocks against those of P and D0, relative.

    Args:
        law: of strain and field.
        f, e: deformation gradients (n, 3, 3) and fields in V/nm, (n, 3).

    Returns:
        Both relative to the largest entry of what is compared; the second also holds
        dP/dE0 = -dD0/dF.
    """
    parts = [x.numpy() for x in law.electric_response(f, e, 2)]
    h = STEP * (law.largest_field or 0.1)

    def entry(order: int, k: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return lambda x, y: law.electric_response(x, y, order)[k].numpy()

    def by_f(function: Callable) -> np.ndarray:
        return differences(lambda x: function(x, e), f, STEP)

    def by_e(function: Callable) -> np.ndarray:
        return differences(lambda y: function(f, y), e, h)

    first = max(
        _relative(by_f(entry(0, 0)), parts[1]),
        _relative(-by_e(entry(0, 0)), parts[2]),
    )
    second = max(
        _relative(by_f(entry(1, 1)), parts[3]),
        _relative(by_e(entry(1, 1)), parts[4]),
        _relative(-np.moveaxis(by_f(entry(1, 2)), 1, -1), parts[4]),
        _relative(by_e(entry(1, 2)), parts[5]),
    )
    return first, second


def _relative(numeric: np.ndarray, value: np.ndarray) -> float:
    return float(np.abs(numeric - value).max() / max(np.abs(value).max(), 1e-300))


def field_blocks(law: MaterialLaw, f: np.ndarray, e: np.ndarray) -> float:
    """|A_iJkL - A_kLiJ| and |K_JK - K_KJ| of dP/dF and dD0/dE0, relative to each."""
    _, _, _, a, _, k = (x.numpy() for x in law.electric_response(f, e, 2))
    return max(
        _relative(a.transpose(0, 3, 4, 1, 2), a),
        _relative(k.transpose(0, 2, 1), k),
    )


def without_field(law: MaterialLaw, f: np.ndarray) -> float:
    """W, P and A at E0 = 0 against those of F alone, relative to the largest elastic constant."""
    at_zero = law.electric_response(f, np.zeros(3), 2)
    pairs = zip((at_zero[0], at_zero[1], at_zero[3]), law.response(f, 2), strict=True)
    gap = max(float((a - b).abs().max()) for a, b in pairs)
    return gap / float(np.abs(law.stiffness()).max())


def field_claims(law: MaterialLaw, f: np.ndarray, rng: np.random.Generator) -> list[Claim]:
    """What `check_law` says of a law that knows a field.

    Args:
        law: of strain and field.
        f: deformation gradients, (n, 3, 3).
        rng: source of the random fields and rotations.

    Returns:
        One claim for each promise; of larger groups in the same Laue class the one that the law
        comes nearest to, where there are any.
    """
    e = random_fields(law, len(f), rng)
    group = law.point_group
    operations = group.operations if isinstance(group, PointGroup) else -random_rotations(24, rng)
    first, second = field_gradients(law, f, e)
    claims = [
        Claim("under a field: objectivity", field_objectivity(law, f, e, rng), 1e-12),
        Claim(
            f"under a field: all {len(operations)} operations of {group.symbol}",
            field_symmetry(law, f, e, operations),
            1e-12,
        ),
        Claim("under a field: P and D0 against differences of H", first, 1e-6),
        Claim("under a field: tangents against differences of P and D0", second, 1e-6),
        Claim("under a field: symmetry of dP/dF and dD0/dE0", field_blocks(law, f, e), 1e-12),
        Claim("at E0 = 0: the law of strain", without_field(law, f), 1e-14),
    ]
    if isinstance(group, PointGroup) and (larger := _told_apart(law, group)):
        least = min(field_symmetry(law, f, e, extra) for extra in larger)
        claims.append(
            Claim(
                f"under a field: how far from the next group of the Laue class {group.laue}",
                least,
                1e-4,
                at_least=True,
            )
        )
    return claims
