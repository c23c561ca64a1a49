"""Laws from measured or published constants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from objstress.errors import InputError
from objstress.laws.analytic import SaintVenantKirchhoff
from objstress.laws.electric import EPS0, ElectricLaw
from objstress.models.polynomial import ElectricPolynomial
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import (
    SHEAR,
    VOIGT_INDEX,
    VOIGT_PAIRS,
    tensor_to_voigt,
    voigt_to_tensor,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

ROUNDED = 0.01
"""How far constants may be from the form of their group, relative to the largest of them."""
NOISE = {"elastic": 1e-3, "piezoelectric": 1e-4, "dielectric": 1e-4}
"""What is no more than round-off of a calculation: GPa, C/m^2, and over the vacuum's."""
KEYS = ("elastic", "piezoelectric", "dielectric")


def linear_law(
    elastic: Any, piezoelectric: Any, dielectric: Any, crystal: str | PointGroup | Structure
) -> ElectricLaw:
    r"""The linear piezoelectric law of given constants, at finite strain.

    .. math:: H = \tfrac12\, \eta \cdot c\, \eta - E_0 \cdot e\, \eta
        - \tfrac12 \varepsilon_0\, E_0 \cdot \varepsilon_r E_0

    eta is Voigt's form of the Green-Lagrange strain, so that the law is objective. Constants are
    rounded as they are published, and brought to the exact form of the point group.
    IEEE Standard on Piezoelectricity, ANSI/IEEE Std 176-1987.

    Args:
        elastic: c at constant field, 6 x 6 Voigt in GPa (xx yy zz yz xz xy).
        piezoelectric: e, 3 x 6 in C/m^2, columns in the same order.
        dielectric: 3 x 3 at constant strain (clamped), over the permittivity of the vacuum.
        crystal: symbol of the point group, whose standard frame is that of the constants; or a
            group or structure in their frame.

    Returns:
        A law of strain and field in the frame of the constants.

    Raises:
        InputError: another shape, entries that are not finite, constants further than a per cent
            from the form of the point group, a stiffness or permittivity that is not positive.
    """
    group = crystal
    if isinstance(crystal, str):
        group = PointGroup(crystal)
    elif not isinstance(crystal, PointGroup):
        group = PointGroup.from_structure(crystal)
    assert isinstance(group, PointGroup)
    c = voigt_to_tensor(_finite(elastic, (6, 6), "elastic constants"))
    e = _finite(piezoelectric, (3, 6), "piezoelectric constants")[:, VOIGT_INDEX]
    eps = _finite(dielectric, (3, 3), "dielectric constants")
    c = tensor_to_voigt(_of_form(c, group, "elastic"))
    e = _of_form(e, group, "piezoelectric")
    eps = _of_form(eps, group, "dielectric")
    if np.linalg.eigvalsh(eps).min() <= 0:
        raise InputError("the permittivity is not positive: the crystal would charge itself")
    rows, columns = np.array(VOIGT_PAIRS).T
    matrix = np.zeros((9, 9))
    matrix[:6, 6:] = -(e[:, rows, columns] / SHEAR).T
    matrix[6:, 6:] = -EPS0 * eps
    polynomial = ElectricPolynomial(group, (1, 0))
    polynomial.set_quadratic(matrix)
    return ElectricLaw(SaintVenantKirchhoff(c, group), polynomial)


def read_linear_law(path: str | Path) -> ElectricLaw:
    """The linear law of the constants in a JSON file.

    Args:
        path: of an object with "elastic" (6 x 6, GPa), "piezoelectric" (3 x 6, C/m^2) and
            "dielectric" (3 x 3, relative), as `linear_law` takes them, and "point_group" (a
            symbol) or "structure" (pymatgen's dictionary).

    Raises:
        InputError: no such file, no JSON, an unknown key, a constant that is missing; see
            `linear_law`.
    """
    try:
        constants = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no JSON file of constants: {error}") from error
    if not isinstance(constants, dict):
        raise InputError(f"{path}: give one object with {', '.join(KEYS)}")
    if unknown := set(constants) - {*KEYS, "point_group", "structure"}:
        raise InputError(
            f"{path}: unknown key {min(unknown)!r}; known are {', '.join(KEYS)}, point_group and "
            "structure"
        )
    for key in KEYS:
        if key not in constants:
            raise InputError(f"{path}: {key!r} is missing; needed are {', '.join(KEYS)}")
    if "structure" in constants:
        from pymatgen.core import Structure

        try:
            crystal: Any = Structure.from_dict(constants["structure"])
        except Exception as error:
            raise InputError(f"{path}: 'structure' is no structure of pymatgen ({error})") from None
    elif "point_group" in constants:
        crystal = str(constants["point_group"])
    else:
        raise InputError(f"{path}: give the crystal's 'point_group' or its 'structure'")
    elastic, piezoelectric, dielectric = (constants[key] for key in KEYS)
    return linear_law(elastic, piezoelectric, dielectric, crystal)


def _finite(value: Any, shape: tuple[int, int], name: str) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the {name} are no {shape[0]} x {shape[1]} numbers") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise InputError(
            f"the {name} must be finite, {shape[0]} x {shape[1]}; their shape is {array.shape}"
        )
    return array


def _of_form(tensor: np.ndarray, group: PointGroup, kind: str) -> np.ndarray:
    """The tensor in the exact form of its group."""
    exact = TensorForm(group, kind).project(tensor)
    gap, size = float(np.abs(exact - tensor).max()), float(np.abs(tensor).max())
    if gap > max(ROUNDED * size, NOISE[kind]):
        raise InputError(
            f"the {kind} constants are {gap / size:.2g} of the largest of them away from the form "
            f"of point group {group.symbol}: is it another group, or another frame?"
        )
    return exact
