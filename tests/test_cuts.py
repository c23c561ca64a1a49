"""Plates cut from crystals, by name and by the notation of the standard."""

import numpy as np
import pytest

from objstress.elasticity import plate_cut
from objstress.errors import InputError
from objstress.laws import RotatedLaw
from tests.test_electric import quartz


def test_an_at_cut_shears_along_its_length_with_the_stiffness_of_the_standard():
    q = plate_cut("AT")
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-15)
    assert np.linalg.det(q) == pytest.approx(1.0)
    cut, rest, none = RotatedLaw(quartz(), q), np.eye(3), np.zeros(3)
    c55 = float(cut.tangent(rest, none)[0, 2, 0, 2])
    e35 = float(cut.coupling(rest, none)[0, 2, 2])
    eps33 = float(cut.permittivity(rest, none)[2, 2])
    assert c55 + e35**2 / eps33 == pytest.approx(29.239, rel=1e-4)
    assert abs(e35) == pytest.approx(0.0949, rel=1e-4)


def test_turns_follow_one_another_about_the_plates_own_edges():
    phi, theta = np.radians(22.4), np.radians(34.3)
    length, _, normal = plate_cut("(YXwl) 22.4/34.3")
    np.testing.assert_allclose(length, [np.cos(phi), np.sin(phi), 0], atol=1e-15)
    np.testing.assert_allclose(
        normal,
        [-np.sin(phi) * np.cos(theta), np.cos(phi) * np.cos(theta), np.sin(theta)],
        atol=1e-15,
    )


def test_names_and_plates_without_turns():
    np.testing.assert_array_equal(plate_cut("at"), plate_cut("(YXl) 35.25\u00b0"))
    np.testing.assert_array_equal(plate_cut("(ZX)"), np.eye(3))
    # Thickness along X, length along Y.
    np.testing.assert_array_equal(plate_cut("(XY)"), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("notation", "message"),
    [
        ("XT", "give a name"),
        ("(YYl) 3", "give a name"),
        ("(YXl)", "0 angles for 1 turns"),
        ("(YXwl) 22.4", "1 angles for 2 turns"),
        ("(YXl) forty", "are no angles"),
    ],
)
def test_other_notations_are_refused(notation, message):
    with pytest.raises(InputError, match=message):
        plate_cut(notation)
