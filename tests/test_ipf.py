"""Colours of crystal directions."""

import numpy as np
import pytest

from objstress import InputError
from objstress.elasticity.orientations import from_bunge
from objstress.symmetry.ipf import direction_colours, ipf_colours, sector_corners
from objstress.symmetry.point_group import O3, PointGroup
from tests.helpers import random_rotation

RED, GREEN, BLUE = np.eye(3)
SIDE = np.sqrt(3) / 2


@pytest.mark.parametrize(
    ("symbol", "corners"),
    [
        ("m-3m", [(0, 0, 1), (1, 0, 1), (1, 1, 1)]),
        ("432", [(0, -2, 0), (1, -1, 0), (-1, 1, 1)]),
        ("m-3", [(0, 0, 1), (1, 0, 1), None]),
        ("6/mmm", [(0, 0, 1), (1, 0, 0), (SIDE, 0.5, 0)]),
        ("6/mmm", [(0, 0, -1), (0.5, SIDE, 0), (0, 1, 0)]),
        ("6/m", [(0, 0, 1), (0.5, SIDE, 0), None]),
        ("-3m", [(0, 0, 1), (SIDE, 0.5, 0), (0, 1, 1e-6)]),
        ("4/mmm", [(0, 0, 1), (0, 1, 0), (-1, 1, 0)]),
        ("4/m", [(0, 0, 1), (0, -1, 0), None]),
        ("mmm", [(0, 0, 1), (1, 0, 0), (0, 1, 0)]),
        ("2/m", [(0, 0, 1), (1, 0, 0), None]),
        ("-1", [(0, 0, 1), (1, 0, 0), None]),
        ("-3", [(0, 0, 1), (1, 0, 0), None]),
    ],
)
def test_corners_are_red_green_and_blue(symbol, corners):
    for corner, colour in zip(corners, (RED, GREEN, BLUE), strict=True):
        if corner is not None:  # an edge that is no mirror: blue's corner is a green one, too
            found = direction_colours(PointGroup(symbol), [corner])[0]
            assert found == pytest.approx(colour, abs=2e-3), corner


@pytest.mark.parametrize("group", PointGroup.all(), ids=lambda g: g.symbol)
def test_equivalent_directions_have_one_colour_and_others_have_not(group):
    h = np.random.default_rng(0).normal(size=(60, 3))
    colours = direction_colours(group, h)
    assert colours.min() >= 0
    assert colours.max(axis=1) == pytest.approx(1)
    for g in group.operations:
        assert np.abs(direction_colours(group, h @ g.T) - colours).max() < 1e-6
        assert np.abs(direction_colours(group, -h @ g.T) - colours).max() < 1e-6
    gaps = np.abs(colours[:, None] - colours[None]).max(axis=-1)
    assert gaps[~np.eye(len(h), dtype=bool)].min() > 1e-4


@pytest.mark.parametrize("symbol", ["m-3m", "23", "622", "-3m", "-42m", "mm2"])
def test_a_rotated_setting_has_the_same_colours(symbol):
    group = PointGroup(symbol)
    q = from_bunge([[7.0, 5.0, -3.0]])[0]
    h = np.random.default_rng(1).normal(size=(60, 3))
    turned = direction_colours(group.rotated(q), h @ q.T)
    assert turned == pytest.approx(direction_colours(group, h), abs=1e-6)


def test_grains_are_coloured_by_the_sample_direction_in_the_crystal():
    group = PointGroup("m-3m")
    cube, goss = from_bunge([[0, 0, 0], [0, 45, 0]])
    assert ipf_colours(group, [cube, goss]) == pytest.approx(np.array([RED, GREEN]), abs=1e-6)
    assert ipf_colours(group, [cube, goss], (1, 0, 0)) == pytest.approx(
        np.array([RED, RED]), abs=1e-6
    )
    symmetric = goss @ group.operations[np.linalg.det(group.operations) > 0][7]
    assert ipf_colours(group, [symmetric]) == pytest.approx(np.array([GREEN]), abs=1e-6)
    assert (ipf_colours(O3, [random_rotation(2)]) == 1).all()


def test_corners_have_names():
    assert sector_corners(PointGroup("-43m")) == {"red": "[001]", "green": "[101]", "blue": "[111]"}


def test_directions_without_length_are_refused():
    with pytest.raises(InputError, match="none of length zero"):
        direction_colours(PointGroup("m-3m"), [[0, 0, 0]])
    with pytest.raises(InputError, match="not all zero"):
        ipf_colours(PointGroup("m-3m"), np.eye(3)[None], (0, 0, 0))
