"""Orientations of grains: Bunge's Euler angles, random and textured samples.

An orientation is the rotation Q that takes the crystal's frame to the sample's frame.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from objstress.errors import InputError
from objstress.io.text import read_text


def check_rotations(orientations: Any) -> np.ndarray:
    """The orientations as float64 (g, 3, 3).

    Args:
        orientations: rotation matrices, (g, 3, 3).

    Raises:
        InputError: another shape, or a matrix that is not a rotation (the first is named).
    """
    q = np.asarray(orientations, dtype=np.float64)
    if q.ndim != 3 or q.shape[1:] != (3, 3) or not len(q):
        raise InputError(f"orientations of shape {q.shape}: give rotation matrices (g, 3, 3)")
    off = np.abs(np.einsum("gij,gkj->gik", q, q) - np.eye(3)).max(axis=(1, 2))
    bad = ~((off < 1e-9) & (np.linalg.det(q) > 0))
    if bad.any():
        raise InputError(
            f"orientation {np.flatnonzero(bad)[0]} is not a rotation: Q Q^T = I and det Q = 1 "
            "are needed"
        )
    return q


def from_bunge(angles: Any, degrees: bool = True) -> np.ndarray:
    """Orientations Q = Rz(phi1) Rx(Phi) Rz(phi2) of Bunge's Euler angles.

    Bunge's g rotates the sample's axes into the crystal's and takes sample components to crystal
    components; Q is its transpose. Bunge, Texture Analysis in Materials Science (1982), section
    2.1.2.

    Args:
        angles: (phi1, Phi, phi2), shape (g, 3).
        degrees: whether the angles are in degrees; radians otherwise.

    Returns:
        Q, crystal frame to sample frame, (g, 3, 3).

    Raises:
        InputError: angles of another shape, or not finite.
    """
    a = np.atleast_2d(np.asarray(angles, dtype=np.float64))
    if a.shape[1:] != (3,) or not np.isfinite(a).all():
        raise InputError(f"Euler angles of shape {a.shape}: give finite phi1, Phi, phi2, (g, 3)")
    return Rotation.from_euler("ZXZ", a, degrees=degrees).as_matrix()


def to_bunge(orientations: Any, degrees: bool = True) -> np.ndarray:
    """Bunge's Euler angles (phi1, Phi, phi2) of orientations, the inverse of `from_bunge`.

    Args:
        orientations: Q, (g, 3, 3).
        degrees: whether the angles are in degrees; radians otherwise.

    Returns:
        Shape (g, 3).

    Raises:
        InputError: see `check_rotations`.
    """
    rotations = Rotation.from_matrix(check_rotations(orientations))
    return rotations.as_euler("ZXZ", degrees=degrees, suppress_warnings=True)


UNIT_LINE = re.compile(
    r"#\s*(?:angles?|units?|bunge|euler)?[\s:=]*(?:in\s+)?(degrees|radians)\s*", re.IGNORECASE
)
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")


def read_orientations(path: str | Path) -> np.ndarray:
    """Read orientations from a file with phi1, Phi, phi2 on each line (an ODF's sample, a scan).

    Angles are in degrees, those of an `.ang` file in radians, unless a comment `# degrees` or
    `# radians` says otherwise. Columns beyond the third are left out; lines that begin with # are
    comments; blanks, commas or semicolons separate the numbers, and beside blanks and semicolons
    decimal commas are read.

    Args:
        path: of the file.

    Returns:
        Q, crystal frame to sample frame, (g, 3, 3).

    Raises:
        InputError: no such file, a line that does not begin with three numbers, angles beyond a
            full turn, angles in a file of degrees that are all below 2 pi where no comment says
            `# degrees`, or quaternions.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of orientations")
    lines = [(k, x.strip()) for k, x in enumerate(read_text(path).splitlines(), start=1)]
    named = [m[1].lower() for _, x in lines if (m := UNIT_LINE.fullmatch(x))]
    lines = [(k, x) for k, x in lines if x and not x.startswith("#")]
    rows = _numbers([x for _, x in lines])
    if not rows:
        raise InputError(f"{path}: holds no orientations")
    for start in (0, 1):  # a number of the grain may stand before them
        four = [r[start : start + 4] for r in rows]
        if all(len(q) == 4 and abs(np.linalg.norm(q) - 1) < 1e-2 for q in four):
            raise InputError(
                f"{path}: four numbers of square sum 1 on each line are quaternions; convert them "
                "to Bunge's angles, `to_bunge` of their rotation matrices Q (crystal to sample)"
            )
    for (number, _), row in zip(lines, rows, strict=True):
        if len(row) < 3:
            raise InputError(f"{path}, line {number}: give phi1, Phi, phi2 in degrees")
    angles = np.array([r[:3] for r in rows])
    radians = named[-1] == "radians" if named else path.suffix.lower() == ".ang"
    off = (np.abs(angles) > (2 * np.pi if radians else 360.0) * (1 + 1e-6)).any(axis=1)
    if off.any():
        raise InputError(
            f"{path}, line {lines[np.flatnonzero(off)[0]][0]}: an angle beyond a full turn, read "
            + ("in radians (a point that was not indexed?)" if radians else "in degrees")
        )
    if not radians and not named and 0 < np.abs(angles).max() <= 2 * np.pi:
        raise InputError(
            f"{path}: no angle is above 2 pi: are they in radians? Say so in a comment, "
            "'# radians' or '# degrees'"
        )
    return from_bunge(angles, degrees=not radians)


def _numbers(lines: list[str]) -> list[list[float]]:
    """The numbers that each line begins with; at a word that is none it ends."""
    split = [line.replace(";", " ").split() for line in lines]
    # Where commas stand inside of words that something else separates, they are decimal marks.
    if any(len(words) >= 3 and any(map(DECIMAL_COMMA.fullmatch, words)) for words in split):
        split = [[w.replace(",", ".") for w in words] for words in split]
    else:
        split = [line.replace(";", " ").replace(",", " ").split() for line in lines]
    rows: list[list[float]] = []
    for words in split:
        rows.append([])
        for word in words:
            try:
                rows[-1].append(float(word))
            except ValueError:
                break
    return rows


def random_orientations(grains: int, seed: int = 0) -> np.ndarray:
    """Orientations drawn uniformly from SO(3).

    Args:
        grains: number of orientations.
        seed: of the random numbers.

    Returns:
        Rotations Q, (grains, 3, 3).

    Raises:
        InputError: fewer than one grain.
    """
    if grains < 1:
        raise InputError(f"{grains} grains: give at least one")
    return Rotation.random(grains, rng=np.random.default_rng(seed)).as_matrix()


def textured_orientations(grains: int, component: Any, spread: float, seed: int = 0) -> np.ndarray:
    """Orientations scattered around a texture component: random axes, normal angles.

    The rotation vector from the component is normal with standard deviation `spread` along each
    axis, in the sample's frame.

    Args:
        grains: number of orientations.
        component: the ideal orientation, (3, 3), such as `from_bunge([[35, 45, 0]])[0]` (brass).
        spread: degrees.
        seed: of the random numbers.

    Returns:
        Rotations Q, (grains, 3, 3).

    Raises:
        InputError: fewer than one grain, a negative spread, or a component that is not a rotation.
    """
    ideal = check_rotations(np.asarray(component, dtype=np.float64)[None])[0]
    if grains < 1 or not spread >= 0:
        raise InputError(
            f"{grains} grains spread by {spread} degrees: give at least one grain and spread >= 0"
        )
    vectors = np.radians(spread) * np.random.default_rng(seed).normal(size=(grains, 3))
    return Rotation.from_rotvec(vectors).as_matrix() @ ideal


def orientation(direction: Any, axis: Any = (1, 0, 0)) -> np.ndarray:
    """A rotation Q that takes the crystal direction [u v w] (Cartesian) to a sample axis.

    The rotation about that axis is fixed by the smallest rotation angle.

    Args:
        direction: three numbers in the crystal's Cartesian frame, such as (1, 1, 0).
        axis: sample direction that it is laid along.

    Returns:
        (3, 3) rotation matrix.

    Raises:
        InputError: a direction of length zero.
    """
    u, v = (np.asarray(w, dtype=float) for w in (direction, axis))
    if not (np.linalg.norm(u) > 0 and np.linalg.norm(v) > 0):
        raise InputError("a direction of length zero gives no orientation")
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    cross = np.cross(u, v)
    sine, cosine = float(np.linalg.norm(cross)), float(u @ v)
    if sine < 1e-14:
        cross, sine = np.cross(u, np.eye(3)[np.argmin(np.abs(u))]), 1.0
        angle = 0.0 if cosine > 0 else np.pi
    else:
        angle = float(np.arctan2(sine, cosine))
    return Rotation.from_rotvec(angle * cross / np.linalg.norm(cross)).as_matrix()


def random_rotations(n: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform rotations, orthogonal to the last digit.

    Rounding in Q^T Q acts like a strain of 1e-16; the floor of the relative error magnifies it
    a thousand times, so quaternion matrices are refined in extended precision.

    Args:
        n: number of rotations.
        rng: source of the random numbers.

    Returns:
        Shape (n, 3, 3).
    """
    return orthogonalized(Rotation.random(n, rng=rng).as_matrix().reshape(n, 3, 3))


def orthogonalized(rotations: np.ndarray) -> np.ndarray:
    """Rotations made orthogonal to the last digit, (n, 3, 3), by Newton's iteration."""
    q = rotations.astype(np.longdouble)
    for _ in range(2):
        q = 1.5 * q - 0.5 * q @ q.transpose(0, 2, 1) @ q
    return q.astype(np.float64)
