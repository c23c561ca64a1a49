"""The 32 point groups: their operations, names and structural tensors."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.groups import SpaceGroup

from objstress import O3, SO3, InputError, PointGroup
from objstress.models.conformance import extra_operations, supergroups
from objstress.symmetry.irreps import character, representation
from objstress.symmetry.point_group import symmetry_group
from tests.conftest import DATA
from tests.helpers import conventional_cell, random_rotation

ALL = PointGroup.all()
# International Tables A, table 10.1.2.1
ORDERS = {
    "1": 1, "-1": 2, "2": 2, "m": 2, "2/m": 4, "222": 4, "mm2": 4, "mmm": 8, "4": 4, "-4": 4,
    "4/m": 8, "422": 8, "4mm": 8, "-42m": 8, "4/mmm": 16, "3": 3, "-3": 6, "32": 6, "3m": 6,
    "-3m": 12, "6": 6, "-6": 6, "6/m": 12, "622": 12, "6mm": 12, "-6m2": 12, "6/mmm": 24,
    "23": 12, "m-3": 24, "432": 24, "-43m": 24, "m-3m": 48,
}  # fmt: skip
CENTROSYMMETRIC = {"-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m"}


def names(group):
    return group.symbol


def test_there_are_32_with_the_orders_of_the_international_tables():
    assert {g.symbol: g.order for g in ALL} == ORDERS
    assert {g.symbol for g in ALL if g.centrosymmetric} == CENTROSYMMETRIC
    assert len({g.laue for g in ALL}) == 11
    assert {g.crystal_system for g in ALL} == {
        "triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic",
    }  # fmt: skip


@pytest.mark.parametrize("group", ALL, ids=names)
def test_operations_are_orthogonal_and_closed(group):
    g = group.operations
    assert g.shape == (group.order, 3, 3)
    assert g.dtype == np.float64
    assert np.array_equal(g[0], np.eye(3))
    assert np.abs(g @ g.transpose(0, 2, 1) - np.eye(3)).max() < 1e-15
    products = np.einsum("aij,bjk->abik", g, g).reshape(-1, 1, 9)
    assert np.abs(products - g.reshape(1, -1, 9)).max(-1).min(1).max() < 1e-12
    assert PointGroup(group.schoenflies).symbol == group.symbol
    with pytest.raises(ValueError, match="read-only"):
        g[0, 0, 0] = 2.0


def test_standard_settings_follow_the_international_tables():
    def has(symbol, matrix):
        return np.isclose(PointGroup(symbol).operations, matrix, atol=1e-12).all((1, 2)).any()

    assert has("2", np.diag([-1, 1, -1]))  # unique axis b
    assert has("m", np.diag([1, -1, 1]))
    assert has("mm2", np.diag([-1, -1, 1]))
    assert has("32", np.diag([1, -1, -1]))  # 321: two-fold along a = x
    assert has("3m", np.diag([-1, 1, 1]))  # 3m1: mirror normal to a
    assert has("-42m", np.diag([1, -1, -1]))
    assert has("-6m2", np.diag([-1, 1, 1]))
    assert has("-3m", np.diag([1, -1, -1]))  # -3m1, above both 321 and 3m1
    assert has("-3m", np.diag([-1, 1, 1]))


HEXAGONAL = np.array([[1, -0.5, 0], [0, np.sqrt(3) / 2, 0], [0, 0, 1]])
"""Columns a, b, c."""


@pytest.mark.parametrize(
    ("symbol", "space_group"),
    [
        ("321", "P321"), ("312", "P312"), ("3m1", "P3m1"), ("31m", "P31m"), ("-3m1", "P-3m1"),
        ("-31m", "P-31m"), ("-312/m", "P-31m"), ("-6m2", "P-6m2"), ("-62m", "P-62m"),
        ("-42m", "P-42m"), ("-4m2", "P-4m2"),
    ],
)  # fmt: skip
def test_settings_are_those_of_the_space_groups(symbol, space_group):
    """By the operations of pymatgen's space groups, on their own axes."""
    group = PointGroup(symbol)
    columns = np.eye(3) if "4" in symbol else HEXAGONAL
    found = np.array([op.rotation_matrix for op in SpaceGroup(space_group).symmetry_ops])
    found = np.unique(np.round(columns @ found @ np.linalg.inv(columns), 9) + 0.0, axis=0)
    assert found == pytest.approx(np.unique(np.round(group.operations, 9) + 0.0, axis=0), abs=1e-8)
    assert symmetry_group(symbol).symbol == group.symbol in ORDERS


@pytest.mark.parametrize(
    ("symbol", "two", "mirror"),
    [
        ("mm2", "z", "x"), ("2mm", "x", "y"), ("m2m", "y", "z"), ("12/m1", "y", "y"),
        ("112/m", "z", "z"), ("2/m11", "x", "x"), ("121", "y", ""), ("112", "z", ""),
        ("211", "x", ""), ("1m1", "", "y"), ("11m", "", "z"), ("m11", "", "x"),
    ],
)  # fmt: skip
def test_settings_with_other_axes(symbol, two, mirror):
    """Along which axes two-fold rotations are, and normal to which mirrors."""
    operations = PointGroup(symbol).operations
    for sign, axes in ((1, two), (-1, mirror)):
        for k, axis in enumerate("xyz"):
            matrix = sign * (2 * np.diag(np.eye(3)[k]) - np.eye(3))
            there = np.isclose(operations, matrix, atol=1e-12).all((1, 2)).any()
            also = symbol in ("mm2", "2mm", "m2m") and sign == -1 and axis != two
            assert there == (axis in axes or also)


def test_minimal_supergroups_are_all_of_them():
    """80 pairs in the tree of the 32 groups (International Tables A, figure 10.1.3.2)."""
    pairs = {(g.symbol, larger.symbol) for g in ALL for larger in supergroups(g)}
    assert len(pairs) == 80
    assert ("-3m", "m-3m") in pairs
    assert ("mm2", "-6m2") in pairs


@pytest.mark.parametrize("name", ["m3m", "7", "", "O(3)"])
def test_unknown_symbols_are_refused_and_aliases_known(name):
    if name == "m3m":
        assert PointGroup(name).symbol == "m-3m"
        return
    with pytest.raises(InputError, match="unknown point group"):
        PointGroup(name)


@pytest.mark.parametrize("group", [*ALL, O3, SO3], ids=names)
def test_structural_tensors_are_counted_by_the_character_formula(group):
    tensors = group.structural_tensors(8)
    assert set(tensors) == {(l, p) for l in range(9) for p in (1, -1)}
    for (l, p), t in tensors.items():
        if isinstance(group, PointGroup):
            count = character((l, p), group.operations).mean()
        else:
            count = float(l == 0 and (p == 1 or group is SO3))
        assert abs(count - round(count)) < 1e-9
        assert t.shape == (round(count), 2 * l + 1)
        assert t.dtype == np.float64
        if len(t):
            assert np.abs(t @ t.T - np.eye(len(t))).max() < 1e-12
        if len(t) and isinstance(group, PointGroup):
            moved = np.einsum("gij,kj->gki", representation((l, p), group.operations), t)
            assert np.abs(moved - t).max() < 1e-12


@pytest.mark.parametrize("group", ALL, ids=names)
def test_structural_tensors_up_to_six_tell_every_supergroup(group):
    tensors = {o: t for o, t in group.structural_tensors(6).items() if len(t)}
    for larger in supergroups(group):
        extra = extra_operations(group, larger)
        moved = np.zeros(len(extra))
        for o, t in tensors.items():
            change = np.einsum("gij,kj->gki", representation(o, extra), t) - t
            moved = np.maximum(moved, np.abs(change).max((1, 2)))
        # Each operation that the group lacks moves at least one of its tensors.
        assert moved.min() > 1e-3, larger


def test_representation_is_a_homomorphism_with_the_right_parity():
    a, b = random_rotation(0), random_rotation(1)
    for l in range(12):
        for p in (1, -1):
            da, db, dab = representation((l, p), np.stack([a, -b, -a @ b]))
            assert np.abs(da @ db - dab).max() < 1e-12
    assert np.allclose(representation((1, -1), a[None])[0], a, atol=1e-13)


STRUCTURES = {
    "rock salt": (225, Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], "m-3m"),
    "zinc blende": (216, Lattice.cubic(5.4), ["Zn", "S"], [[0, 0, 0], [0.25] * 3], "-43m"),
    "pyrite": (205, Lattice.cubic(5.42), ["Fe", "S"], [[0, 0, 0], [0.385] * 3], "m-3"),
    "wurtzite": (
        186, Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]],
        "6mm",
    ),
    "quartz": (
        152, Lattice.hexagonal(4.91, 5.4), ["Si", "O"], [[0.47, 0, 1 / 3], [0.414, 0.267, 0.214]],
        "32",
    ),
    "rutile": (136, Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0] * 3, [0.305, 0.305, 0]],
               "4/mmm"),
    "monoclinic": (14, Lattice.monoclinic(5.1, 5.2, 5.3, 99), ["Zr", "O", "O"],
                   [[0.276, 0.041, 0.208], [0.07, 0.33, 0.34], [0.45, 0.76, 0.48]], "2/m"),
    "triclinic": (2, Lattice.from_parameters(4, 5, 6, 80, 95, 105), ["Cu", "S"],
                  [[0.1, 0.2, 0.3], [0.6, 0.25, 0.7]], "-1"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURES)
def test_from_structure_follows_the_structure_whatever_its_cell_or_frame(name):
    number, lattice, species, sites, symbol = STRUCTURES[name]
    structure = conventional_cell(number, lattice, species, sites)
    group = PointGroup.from_structure(structure)
    assert group.symbol == symbol
    q = random_rotation(4)
    rng = np.random.default_rng(0)
    noisy = Structure(
        structure.lattice.matrix @ q.T,
        structure.species,
        structure.frac_coords + 1e-5 * rng.normal(size=structure.frac_coords.shape),
    )
    supercell = noisy.copy()
    supercell.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    for other in (noisy, supercell):
        found = PointGroup.from_structure(other)
        gap = np.abs(found.operations[:, None] - group.rotated(q).operations[None])
        assert found.symbol == symbol
        assert gap.max((2, 3)).min(1).max() < 1e-6


def test_silicon_file_is_cubic_along_its_own_axes(silicon):
    group = PointGroup.from_structure(DATA / "silicon.cif")
    assert group.symbol == "m-3m"
    assert np.abs(group.operations - np.round(group.operations)).max() < 1e-12
    assert len(silicon) == 2


def test_symmetry_group_names_every_kind():
    assert symmetry_group("O(3)") is O3
    assert symmetry_group("SO(3)") is SO3
    assert symmetry_group("mmm").order == 8
    with pytest.raises(InputError, match="do not form a group"):
        PointGroup.from_operations(PointGroup("4").operations[:3])
