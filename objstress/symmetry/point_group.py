"""Symmetry groups: the 32 crystallographic point groups, O(3) and SO(3), as one kind of object."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from objstress.errors import InputError
from objstress.symmetry.crystal import EXACT, SYMPREC, cartesian_operations
from objstress.symmetry.irreps import LMAX, Irrep, representation
from objstress.symmetry.reading import read_primitive_cell

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

# Hermann-Mauguin, Schoenflies, crystal system, Laue class (International Tables A, chapter 10), and
# how many operations are of the kinds -6 -4 -3 -2 -1 1 2 3 4 6 (Grosse-Kunstleve, Acta Cryst. A 55,
# 383 (1999), table 3): they tell the 32 apart without operations of a reference.
_TABLE = [
    ("1", "C1", "triclinic", "-1", "0 0 0 0 0 1 0 0 0 0"),
    ("-1", "Ci", "triclinic", "-1", "0 0 0 0 1 1 0 0 0 0"),
    ("2", "C2", "monoclinic", "2/m", "0 0 0 0 0 1 1 0 0 0"),
    ("m", "Cs", "monoclinic", "2/m", "0 0 0 1 0 1 0 0 0 0"),
    ("2/m", "C2h", "monoclinic", "2/m", "0 0 0 1 1 1 1 0 0 0"),
    ("222", "D2", "orthorhombic", "mmm", "0 0 0 0 0 1 3 0 0 0"),
    ("mm2", "C2v", "orthorhombic", "mmm", "0 0 0 2 0 1 1 0 0 0"),
    ("mmm", "D2h", "orthorhombic", "mmm", "0 0 0 3 1 1 3 0 0 0"),
    ("4", "C4", "tetragonal", "4/m", "0 0 0 0 0 1 1 0 2 0"),
    ("-4", "S4", "tetragonal", "4/m", "0 2 0 0 0 1 1 0 0 0"),
    ("4/m", "C4h", "tetragonal", "4/m", "0 2 0 1 1 1 1 0 2 0"),
    ("422", "D4", "tetragonal", "4/mmm", "0 0 0 0 0 1 5 0 2 0"),
    ("4mm", "C4v", "tetragonal", "4/mmm", "0 0 0 4 0 1 1 0 2 0"),
    ("-42m", "D2d", "tetragonal", "4/mmm", "0 2 0 2 0 1 3 0 0 0"),
    ("4/mmm", "D4h", "tetragonal", "4/mmm", "0 2 0 5 1 1 5 0 2 0"),
    ("3", "C3", "trigonal", "-3", "0 0 0 0 0 1 0 2 0 0"),
    ("-3", "C3i", "trigonal", "-3", "0 0 2 0 1 1 0 2 0 0"),
    ("32", "D3", "trigonal", "-3m", "0 0 0 0 0 1 3 2 0 0"),
    ("3m", "C3v", "trigonal", "-3m", "0 0 0 3 0 1 0 2 0 0"),
    ("-3m", "D3d", "trigonal", "-3m", "0 0 2 3 1 1 3 2 0 0"),
    ("6", "C6", "hexagonal", "6/m", "0 0 0 0 0 1 1 2 0 2"),
    ("-6", "C3h", "hexagonal", "6/m", "2 0 0 1 0 1 0 2 0 0"),
    ("6/m", "C6h", "hexagonal", "6/m", "2 0 2 1 1 1 1 2 0 2"),
    ("622", "D6", "hexagonal", "6/mmm", "0 0 0 0 0 1 7 2 0 2"),
    ("6mm", "C6v", "hexagonal", "6/mmm", "0 0 0 6 0 1 1 2 0 2"),
    ("-6m2", "D3h", "hexagonal", "6/mmm", "2 0 0 4 0 1 3 2 0 0"),
    ("6/mmm", "D6h", "hexagonal", "6/mmm", "2 0 2 7 1 1 7 2 0 2"),
    ("23", "T", "cubic", "m-3", "0 0 0 0 0 1 3 8 0 0"),
    ("m-3", "Th", "cubic", "m-3", "0 0 8 3 1 1 3 8 0 0"),
    ("432", "O", "cubic", "m-3m", "0 0 0 0 0 1 9 8 6 0"),
    ("-43m", "Td", "cubic", "m-3m", "0 6 0 6 0 1 3 8 0 0"),
    ("m-3m", "Oh", "cubic", "m-3m", "0 6 8 9 1 1 9 8 6 0"),
]
_ROWS = {row[0]: row for row in _TABLE}
_BY_KINDS = {row[4]: row[0] for row in _TABLE}
_ALIASES = {row[1].lower(): row[0] for row in _TABLE} | {
    "s1": "m",
    "s2": "-1",
    "c1h": "m",
    "s6": "-3",
    "v": "222",
    "vh": "mmm",
    "vd": "-42m",
    "m3": "m-3",
    "m3m": "m-3m",
    "321": "32",
    "3m1": "3m",
    "-3m1": "-3m",
    # Full symbols.
    "121": "2",
    "1m1": "m",
    "12/m1": "2/m",
    "2/m2/m2/m": "mmm",
    "4/m2/m2/m": "4/mmm",
    "-32/m": "-3m",
    "-32/m1": "-3m",
    "-312/m": "-31m",
    "6/m2/m2/m": "6/mmm",
    "2/m-3": "m-3",
    "4/m-32/m": "m-3m",
}


def _about_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


# Other settings: the standard symbol, and the rotation from the standard axes to theirs, about z or
# a cyclic exchange (International Tables A, table 10.1.2.1).
_Z_TO_X, _Z_TO_Y = np.eye(3)[[2, 0, 1]], np.eye(3)[[1, 2, 0]]
_SETTINGS = {
    "-4m2": ("-42m", _about_z(45)),
    "312": ("32", _about_z(30)),
    "31m": ("3m", _about_z(30)),
    "-31m": ("-3m", _about_z(30)),
    "-62m": ("-6m2", _about_z(30)),
    "2mm": ("mm2", _Z_TO_X),
    "m2m": ("mm2", _Z_TO_Y),
    # The unique axis of the standard setting is y.
    "112": ("2", _Z_TO_X),
    "11m": ("m", _Z_TO_X),
    "112/m": ("2/m", _Z_TO_X),
    "211": ("2", _Z_TO_Y),
    "m11": ("m", _Z_TO_Y),
    "2/m11": ("2/m", _Z_TO_Y),
}


class SymmetryGroup:
    """A closed subgroup of O(3), known to the networks by the tensors that it leaves unchanged.

    Attributes:
        symbol: Hermann-Mauguin symbol, or "O(3)" or "SO(3)".
        order: number of operations (infinite for the two continuous groups).
    """

    symbol: str
    order: float

    def structural_tensors(self, lmax: int) -> dict[Irrep, np.ndarray]:
        """Orthonormal bases of {t : D^(l,p)(g) t = t for all g} for every l <= lmax, p = +-1.

        Args:
            lmax: largest l.

        Returns:
            {(l, p): (k, 2l+1) float64}, in e3nn's basis; k = 0 where nothing is invariant.
        """
        raise NotImplementedError

    def projector(self, irrep: Irrep) -> np.ndarray:
        """Reynolds operator, the mean of D^(l,p)(g) over the group.

        Args:
            irrep: (l, p).

        Returns:
            Orthogonal projection, shape (2l+1, 2l+1).
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.symbol!r})"


class ContinuousGroup(SymmetryGroup):
    """O(3), or SO(3) when `proper`: invariants are the scalar 0e, for SO(3) also 0o."""

    def __init__(self, proper: bool):
        self.proper = proper
        self.symbol = "SO(3)" if proper else "O(3)"
        self.order = float("inf")

    def projector(self, irrep: Irrep) -> np.ndarray:
        l, p = irrep
        fixed = l == 0 and (p == 1 or self.proper)
        return np.full((1, 1), float(fixed)) if l == 0 else np.zeros((2 * l + 1, 2 * l + 1))

    def structural_tensors(self, lmax: int) -> dict[Irrep, np.ndarray]:
        return {
            (l, p): self.projector((l, p))[: int(self.projector((l, p)).any())]
            for l in range(lmax + 1)
            for p in (1, -1)
        }


O3 = ContinuousGroup(proper=False)
"""All rotations and reflections: molecules, mirror images alike."""
SO3 = ContinuousGroup(proper=True)
"""Rotations only: mirror images may differ."""


class PointGroup(SymmetryGroup):
    """One of the 32 crystallographic point groups, with its operations in a Cartesian frame.

    Args:
        symbol: Hermann-Mauguin symbol, short or full, or Schoenflies symbol. Cubic and tetragonal
            axes are along x, y, z, the hexagonal c along z and a along x. Short and Schoenflies
            symbols mean the standard setting: the unique axis of monoclinic groups along y (b),
            321, 3m1, -3m1, -42m, -6m2, mm2 (the first secondary element of the symbol belongs to
            a). Symbols of other settings mean those: 312, 31m, -31m, -4m2, -62m, 2mm, m2m, 112,
            211 and so on.

    Attributes:
        symbol: Hermann-Mauguin, of the standard setting, in whatever frame the operations are.
        operations: (order, 3, 3) float64, exactly orthogonal, the identity first.
        schoenflies, crystal_system, laue, centrosymmetric: what they say.

    Raises:
        InputError: an unknown symbol.
    """

    def __init__(self, symbol: str):
        name = str(symbol).replace(" ", "")
        name = _ALIASES.get(name.lower(), name)
        name, q = _SETTINGS.get(name, (name, None))
        if name not in _ROWS:
            raise InputError(
                f"unknown point group {symbol!r}; Hermann-Mauguin symbols are "
                + " ".join(row[0] for row in _TABLE)
            )
        operations = _standard_operations(name)
        if q is not None:
            operations = _polish(q @ operations @ q.T)
        self._set(name, operations)

    def _set(self, symbol: str, operations: np.ndarray) -> None:
        self.symbol, self.schoenflies, self.crystal_system, self.laue, _ = _ROWS[symbol]
        self.operations = operations
        self.operations.setflags(write=False)
        self.order = len(operations)
        self.centrosymmetric = bool(
            np.isclose(np.trace(operations, axis1=1, axis2=2), -3, atol=1e-6).any()
        )

    @classmethod
    def all(cls) -> list[PointGroup]:
        """All 32 groups in their standard settings, from 1 to m-3m."""
        return [cls(row[0]) for row in _TABLE]

    @classmethod
    def from_operations(cls, operations: np.ndarray) -> PointGroup:
        """The group of Cartesian operations.

        Args:
            operations: (n, 3, 3), orthogonal matrices, closed under products.

        Raises:
            InputError: not orthogonal, not closed, or not one of the 32.
        """
        operations = np.asarray(operations, dtype=np.float64)
        if np.abs(operations @ operations.transpose(0, 2, 1) - np.eye(3)).max() > 1e-6:
            raise InputError("the operations are not orthogonal matrices")
        polished = _polish(operations)
        products = np.einsum("aij,bjk->abik", polished, polished).reshape(-1, 1, 9)
        gap = np.abs(products - polished.reshape(1, -1, 9)).max(axis=-1).min(axis=1)
        if gap.max() > 1e-6:
            raise InputError("the operations do not form a group: a product is missing")
        symbol = _BY_KINDS.get(_kinds(polished))
        if symbol is None:
            raise InputError(f"{len(polished)} operations that are not a crystallographic group")
        group = cls.__new__(cls)
        group._set(symbol, polished)
        return group

    @classmethod
    def from_structure(
        cls, structure: Structure | Atoms | str | Path, symprec: float = SYMPREC
    ) -> PointGroup:
        """The crystal's point group, in the structure's own Cartesian frame (spglib).

        Any setting and cell will do, primitive, conventional or a supercell, rotated or not: the
        operations come from the exactly symmetrised primitive lattice.

        Args:
            structure: a file of any format of pymatgen or ASE, or an object of theirs.
            symprec: distance in Angstrom under which sites are equivalent.

        Raises:
            InputError: see `read_structure` and `primitive_cell`.
        """
        return cls.of_primitive_cell(read_primitive_cell(structure, symprec))

    @classmethod
    def of_primitive_cell(cls, cell: Structure) -> PointGroup:
        """Point group of a cell that `primitive_cell` has made, which is most of the work.

        Args:
            cell: exactly symmetric.
        """
        return cls.from_operations(cartesian_operations(cell, EXACT))

    def rotated(self, q: np.ndarray) -> PointGroup:
        """The same group after the crystal was rotated by q: operations q g q^T.

        Args:
            q: rotation, shape (3, 3).
        """
        q = np.asarray(q, dtype=np.float64)
        return type(self).from_operations(q @ self.operations @ q.T)

    def projector(self, irrep: Irrep) -> np.ndarray:
        return representation(irrep, self.operations).mean(axis=0)

    def structural_tensors(self, lmax: int) -> dict[Irrep, np.ndarray]:
        if not 0 <= lmax <= LMAX:
            raise InputError(f"structural tensors exist for 0 <= lmax <= {LMAX}, not {lmax}")
        return {
            (l, p): invariant_basis(self.projector((l, p)))
            for l in range(lmax + 1)
            for p in (1, -1)
        }


def symmetry_group(name: str | SymmetryGroup, operations: Any = None) -> SymmetryGroup:
    """The group of a name.

    Args:
        name: "O(3)", "SO(3)", a point group's symbol (in the standard setting), or a group.
        operations: of a point group in another frame, (n, 3, 3), as files keep them beside its
            symbol, which then decides nothing.

    Raises:
        InputError: an unknown symbol.
    """
    if operations is not None:
        return PointGroup.from_operations(operations)
    if isinstance(name, SymmetryGroup):
        return name
    return {"O(3)": O3, "SO(3)": SO3}.get(name) or PointGroup(name)


def invariant_basis(projector: np.ndarray) -> np.ndarray:
    """Orthonormal rows that span the range of an orthogonal projector (n, n), shape (k, n).

    Pivoted Gram-Schmidt on the projector's columns: unlike an eigenbasis it does not depend on
    the LAPACK at hand, so saved weights mean the same tensors on every machine.
    """
    projector = 0.5 * (projector + projector.T)
    left = np.diag(projector).copy()
    rank = round(float(left.sum()))
    basis = np.zeros((rank, len(projector)))
    for k in range(rank):
        pivot = int(np.argmax(np.round(left, 8)))
        rest = projector[pivot] - basis[:k, pivot] @ basis[:k]
        basis[k] = rest / np.sqrt(rest[pivot])
        left -= basis[k] ** 2
    basis[np.abs(basis) < 1e-14] = 0.0
    return basis


def _polish(operations: np.ndarray) -> np.ndarray:
    # Nearest orthogonal matrices; identity first, the rest in a fixed order.
    u, _, v = np.linalg.svd(operations)
    polished = u @ v
    whole = np.round(polished)
    polished = np.where(np.abs(polished - whole) < 1e-14, whole, polished)
    key = np.round(polished.reshape(-1, 9), 6) + 0.0
    first = ~np.isclose(np.trace(polished, axis1=1, axis2=2), 3, atol=1e-9)
    return polished[np.lexsort((*(-key.T[::-1]), first))]


def _kinds(operations: np.ndarray) -> str:
    """How many operations are of each kind, as in the table; empty if one is of none."""
    sign = np.round(np.linalg.det(operations)).astype(int)
    trace = sign * np.trace(operations, axis1=1, axis2=2)
    if np.abs(trace - np.round(trace)).max() > 1e-3:
        return ""
    order = {3: 1, -1: 2, 0: 3, 1: 4, 2: 6}  # of a rotation with this trace
    kinds = [s * order[t] for s, t in zip(sign.tolist(), np.round(trace).tolist(), strict=True)]
    return " ".join(str(kinds.count(k)) for k in (-6, -4, -3, -2, -1, 1, 2, 3, 4, 6))


@cache
def _standard_operations(symbol: str) -> np.ndarray:
    # pymatgen's matrices act on lattice coordinates; trigonal and hexagonal ones on the
    # hexagonal cell, a along x and c along z.
    from pymatgen.symmetry.groups import PointGroup as Operations

    rotations = np.array([op.rotation_matrix for op in Operations(symbol).symmetry_ops])
    if _ROWS[symbol][2] in ("trigonal", "hexagonal"):
        columns = np.array([[1, -0.5, 0], [0, np.sqrt(3) / 2, 0], [0, 0, 1]])
        rotations = columns @ rotations @ np.linalg.inv(columns)
    if symbol == "-3m":
        # pymatgen means -31m; -3m1 has its two-fold axes along a, as 321 and 3m1 ask.
        rotations = np.concatenate([g := _standard_operations("32"), -g])
    return _polish(rotations)
