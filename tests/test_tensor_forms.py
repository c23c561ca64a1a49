"""Forms of property tensors, against the tables that everybody uses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from objstress.errors import InputError
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import KINDS, TensorForm
from objstress.symmetry.voigt import rotated_tensor

# Independent constants of pyroelectricity, permittivity, gyration, piezoelectricity,
# photoelasticity, elasticity: Nye, Physical Properties of Crystals, the tables of each chapter.
NYE = """
1 3 6 6 18 36 21 | -1 0 6 0 0 36 21 | 2 1 4 4 8 20 13 | m 2 4 2 10 20 13 | 2/m 0 4 0 0 20 13
222 0 3 3 3 12 9 | mm2 1 3 1 5 12 9 | mmm 0 3 0 0 12 9 | 4 1 2 2 4 10 7 | -4 0 2 2 4 10 7
4/m 0 2 0 0 10 7 | 422 0 2 2 1 7 6 | 4mm 1 2 0 3 7 6 | -42m 0 2 1 2 7 6 | 4/mmm 0 2 0 0 7 6
3 1 2 2 6 12 7 | -3 0 2 0 0 12 7 | 32 0 2 2 2 8 6 | 3m 1 2 0 4 8 6 | -3m 0 2 0 0 8 6
6 1 2 2 4 8 5 | -6 0 2 0 2 8 5 | 6/m 0 2 0 0 8 5 | 622 0 2 2 1 6 5 | 6mm 1 2 0 3 6 5
-6m2 0 2 0 1 6 5 | 6/mmm 0 2 0 0 6 5 | 23 0 1 1 1 4 3 | m-3 0 1 0 0 4 3 | 432 0 1 1 0 3 3
-43m 0 1 0 1 3 3 | m-3m 0 1 0 0 3 3
"""
COUNTS = {
    row.split()[0]: tuple(map(int, row.split()[1:]))
    for row in NYE.strip().replace("\n", " | ").split(" | ")
}
ORDER = (
    "pyroelectric",
    "dielectric",
    "gyration",
    "piezoelectric",
    "photoelastic",
    "elastic",
)
# Brugger, J. Appl. Phys. 36, 759 (1965), by Laue class.
THIRD = {
    "-1": 56, "2/m": 32, "mmm": 20, "4/m": 16, "4/mmm": 12, "-3": 20, "-3m": 14, "6/m": 12,
    "6/mmm": 10, "m-3": 8, "m-3m": 6,
}  # fmt: skip


@pytest.mark.parametrize("symbol", COUNTS)
def test_independent_constants_are_nyes(symbol):
    group = PointGroup(symbol)
    assert tuple(TensorForm(group, kind).independent for kind in ORDER) == COUNTS[symbol]


@pytest.mark.parametrize("symbol", THIRD)
def test_third_order_constants_are_those_of_the_laue_class(symbol):
    assert TensorForm(PointGroup(symbol), "third-order elastic").independent == THIRD[symbol]


@pytest.mark.parametrize("symbol", COUNTS)
def test_projection_is_idempotent_and_turns_with_the_crystal(symbol):
    rng, group = np.random.default_rng(7), PointGroup(symbol)
    q = Rotation.random(rng=rng).as_matrix()
    for kind in ORDER:
        form, turned = TensorForm(group, kind), TensorForm(group.rotated(q), kind)
        tensor = rng.normal(size=(2, *(3,) * form.rank))
        found = form.project(tensor)
        np.testing.assert_allclose(form.project(found), found, atol=1e-12)
        for t, f in zip(tensor, found, strict=True):
            there = turned.project(rotated_tensor(t, q))
            np.testing.assert_allclose(there, rotated_tensor(f, q), atol=1e-12)
            for g in group.operations:
                sign = np.linalg.det(g) if form.axial else 1.0
                np.testing.assert_allclose(sign * rotated_tensor(f, g), f, atol=1e-12)


def test_what_is_left_over_is_orthogonal_to_what_is_kept():
    form = TensorForm(PointGroup("32"), "piezoelectric")
    t = np.random.default_rng(0).normal(size=(3, 3, 3))
    assert abs(np.sum((t - form.project(t)) * form.project(t))) < 1e-12


class TestSymbols:
    def test_elastic_forms_are_nyes(self):
        c = TensorForm(PointGroup("32"), "elastic").table()
        assert c[0] == ["c11", "c12", "c13", "c14", "0", "0"]
        assert c[1] == ["c12", "c11", "c13", "-c14", "0", "0"]
        assert c[4] == ["0", "0", "0", "0", "c44", "c14"]
        assert c[5] == ["0", "0", "0", "0", "c14", "(c11 - c12)/2"]
        assert TensorForm(PointGroup("2/m"), "elastic").table()[3][5] == "c46"

    def test_piezoelectric_forms_are_nyes(self):
        e = TensorForm(PointGroup("32"), "piezoelectric").table("e")
        assert e[0] == ["e11", "-e11", "0", "e14", "0", "0"]
        assert e[1] == ["0", "0", "0", "0", "-e14", "-e11"]
        assert e[2] == ["0"] * 6
        wurtzite = TensorForm(PointGroup("6mm"), "piezoelectric").table("e")
        assert wurtzite[0][4] == wurtzite[1][3] == "e15"
        assert wurtzite[2] == ["e31", "e31", "e33", "0", "0", "0"]

    def test_pairs_and_vectors(self):
        assert TensorForm(PointGroup("mm2"), "pyroelectric").table("p") == [["0", "0", "p3"]]
        monoclinic = TensorForm(PointGroup("2"), "dielectric").table("k")
        assert monoclinic == [["k11", "0", "k13"], ["0", "k22", "0"], ["k13", "0", "k33"]]

    @pytest.mark.parametrize("kind", [k for k in KINDS if k != "third-order elastic"])
    def test_say_what_the_projection_does(self, kind):
        for symbol in ("2", "32", "-42m", "6", "m-3"):
            form = TensorForm(PointGroup(symbol), kind)
            tensor = form.project(np.random.default_rng(1).normal(size=(3,) * form.rank))
            values = {}
            for unit, labels in zip(form._units, form.components, strict=True):
                values[labels] = tensor[tuple(np.argwhere(unit)[0])]
            for labels, terms in form.relations.items():
                there = sum(factor * values[other] for other, factor in terms.items())
                assert there == pytest.approx(values[labels], abs=1e-12)


@pytest.mark.parametrize("kind", ["", "elasticity", "[V3]", "[[V2]2", "V V"])
def test_unknown_kinds_are_refused(kind):
    with pytest.raises(InputError, match="unknown kind of tensor"):
        TensorForm(PointGroup("1"), kind)


def test_tensors_of_another_rank_are_refused():
    form = TensorForm(PointGroup("1"), "elastic")
    with pytest.raises(InputError, match="rank 4"):
        form.project(np.eye(6))
    with pytest.raises(InputError, match="is not a matrix"):
        TensorForm(PointGroup("m-3m"), "third-order elastic").table()
