"""Laws without atoms: strain-stress pairs and a point group."""

import numpy as np
import pandas as pd
import pytest

from objstress import InputError, PointGroup, fit_law, load_law
from objstress.elasticity.strain import right_stretch
from objstress.labels.csv_pairs import FULL, SYMMETRIC, read_pairs
from objstress.labels.reading import read_labels
from objstress.labels.strains import sample_strains
from objstress.symmetry.voigt import VOIGT_PAIRS, from_mandel, to_mandel, voigt_to_mandel
from tests.conformance import LawConformance
from tests.conftest import DATA

SPRUCE = DATA.parent / "spruce" / "pairs.csv"
TRUSS = DATA.parent / "octet-truss"
QUARTZ = DATA.parent / "crystals" / "quartz.extxyz"

# Wood Handbook (2021), tables 5-1 to 5-3: Sitka spruce, GPa, L R T along x y z.
MODULI = {"E_L": 11.9, "E_R": 0.928, "E_T": 0.512, "G_LR": 0.762, "G_LT": 0.726, "G_RT": 0.036}


@pytest.fixture(scope="module")
def spruce():
    return fit_law(SPRUCE, point_group="mmm", use_network=False, progress=False)


class TestSpruce(LawConformance):
    larger = PointGroup("4/mmm")

    @pytest.fixture
    def law(self, spruce):
        return spruce


def test_spruce_gets_its_published_moduli(spruce):
    s = np.linalg.inv(spruce.stiffness())
    found = dict(zip(("E_L", "E_R", "E_T", "G_RT", "G_LT", "G_LR"), 1 / np.diag(s), strict=True))
    for name, value in MODULI.items():
        assert found[name] == pytest.approx(value, rel=0.05), name
    assert -s[0, 1] / s[0, 0] == pytest.approx(0.372, rel=0.05)
    assert spruce.metadata["polynomial"]["invariants"] == 9


EV_PER_GPA_A3 = 1e9 * 1e-30 / 1.602176634e-19


def test_energies_of_pairs_are_per_volume(tmp_path):
    table = pd.read_csv(SPRUCE, comment="#", skipinitialspace=True).head(5)
    table["W"] = [0.0, 0.01, 0.02, 0.03, 0.04]
    table.to_csv(tmp_path / "pairs.csv", index=False)
    labels = read_pairs(tmp_path / "pairs.csv", PointGroup("mmm"))
    expected = table["W"].to_numpy() * EV_PER_GPA_A3 * labels.structure.volume
    assert labels.energy == pytest.approx(expected, rel=1e-8)


def test_octet_truss_is_cubic_and_softens():
    import json

    law = fit_law(TRUSS / "pairs.csv", point_group="m-3m", use_network=False, progress=False)
    cell = json.loads((TRUSS / "elastic.json").read_text())
    assert law.metadata["held_out"]["both"]["relative_rmse"] < 0.01
    c = law.stiffness()
    assert np.abs(c - np.array(cell["stiffness"])).max() < 0.02 * cell["C11"]
    # Stretch-dominated: the Cauchy relation C12 = C44 holds within a fifth.
    assert c[0, 1] == pytest.approx(c[3, 3], rel=0.2)
    labels = read_pairs(TRUSS / "pairs.csv", PointGroup("m-3m"))
    linear = to_mandel(labels.strain) @ voigt_to_mandel(c)
    second = to_mandel(np.linalg.inv(labels.F) @ labels.piola)
    assert np.linalg.norm(linear - second) > 0.01 * np.linalg.norm(second)


def test_quartz_with_its_atoms_hidden_is_the_same_material():
    hidden = fit_law(QUARTZ, point_group="32", use_network=False, progress=False)
    known = fit_law(QUARTZ, QUARTZ.with_suffix(".cif"), use_network=False, progress=False)
    assert np.abs(hidden.stiffness() - known.stiffness()).max() < 1e-6
    labels = read_labels(QUARTZ, group=PointGroup("32"))
    assert labels.lone
    assert labels.moves is None
    # Energies are per volume, whatever the cell.
    atoms = read_labels(QUARTZ, QUARTZ.with_suffix(".cif"))
    assert labels.energy / labels.structure.volume == pytest.approx(
        atoms.energy / atoms.structure.volume
    )


def test_a_law_without_atoms_carries_a_network_and_survives_its_file(tmp_path):
    from objstress.models.constitutive import NetworkSettings
    from objstress.training.laws.settings import NetworkTraining

    law = fit_law(
        SPRUCE,
        point_group="mmm",
        polynomial=False,
        network=NetworkSettings(channels=2),
        training=NetworkTraining(epochs=1, iterations=2),
        progress=False,
    )
    law.save(tmp_path / "wood.law")
    again = load_law(tmp_path / "wood.law", outside="ignore")
    f = right_stretch(sample_strains(5, 0.004))
    assert np.array_equal(again.response(f, 1)[1], law.response(f, 1)[1])


def _columns(kind, tensors):
    suffixes = FULL if kind in "FP" else SYMMETRIC
    pick = [(int(c[0]) - 1, int(c[1]) - 1) for c in suffixes]
    return [kind + c for c in suffixes], np.array([[t[i, j] for i, j in pick] for t in tensors])


@pytest.mark.parametrize("strain", ["F", "E"])
@pytest.mark.parametrize("stress", ["P", "S", "sigma"])
def test_every_kind_of_column_means_the_same(tmp_path, strain, stress):
    e = sample_strains(20, 0.03)
    f = right_stretch(e)
    c = np.diag([10.0, 8, 6, 4, 3, 2])
    s = from_mandel(to_mandel(e) @ c)
    p = f @ s
    sigma = p @ f.transpose(0, 2, 1) / np.linalg.det(f)[:, None, None]
    names, values = _columns(strain, {"F": f, "E": e}[strain])
    more, stresses = _columns(stress, {"P": p, "S": s, "sigma": sigma}[stress])
    path = tmp_path / "pairs.csv"
    rows = [",".join(f"{v:.16g}" for v in row) for row in np.hstack([values, stresses])]
    path.write_text("\n".join(["# a comment", ",".join(names + more), *rows]) + "\n")
    labels = read_pairs(path, PointGroup("mmm"))
    assert np.abs(labels.F - f).max() < 1e-12
    assert np.abs(labels.piola - p).max() < 1e-11


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("E11,E22,E33,E23,E13,S11,S22,S33,S23,S13,S12", "0," * 10 + "0", "column E12 is missing"),
        ("S11,S22,S33,S23,S13,S12", "0," * 5 + "0", "none of the columns F11"),
        (",".join("E" + c for c in SYMMETRIC), "0," * 5 + "0", "none of the columns P11"),
        (
            ",".join(k + c for k in "ES" for c in SYMMETRIC) + ",T",
            "0," * 12 + "0",
            "unknown column 'T'",
        ),
        (",".join(k + c for k in "ES" for c in SYMMETRIC), "x," + "0," * 10 + "0", "pair 1 has"),
        (",".join(k + c for k in "ES" for c in SYMMETRIC), "-1," + "0," * 10 + "0", "not positive"),
        (
            ",".join([*("F" + c for c in FULL), *("S" + c for c in SYMMETRIC)]),
            "-1,0,0,0,1,0,0,0,1," + "0," * 5 + "0",
            "det F <= 0 in pair 1",
        ),
    ],
)
def test_bad_pairs_get_one_clear_line(tmp_path, header, row, message):
    path = tmp_path / "bad.csv"
    path.write_text(f"{header}\n{row}\n")
    with pytest.raises(InputError, match=message) as caught:
        read_pairs(path, PointGroup("mmm"))
    assert "\n" not in str(caught.value)


@pytest.fixture
def few_pairs():
    return pd.read_csv(SPRUCE, comment="#", skipinitialspace=True).head(20)


def _stresses(table, factor, unit=""):
    out = table.copy()
    out[[c for c in out if c[0] == "S"]] *= factor
    return out.rename(columns=lambda c: c + unit if c[0] == "S" else c)


def test_units_behind_the_names_of_columns_are_honoured(tmp_path, few_pairs):
    path = tmp_path / "pairs.csv"
    few_pairs["W"] = np.linspace(0, 1e-4, 20)
    few_pairs.to_csv(path, index=False)
    plain = read_pairs(path, PointGroup("mmm"))
    assert "no unit of its strain or stress" in plain.notes[0]
    others = _stresses(few_pairs, 1e3, " [MPa]")
    others["W (MJ/m^3)"] = 1e3 * others.pop("W")
    others[[f"E{c}" for c in SYMMETRIC]] *= 100
    others.rename(columns=lambda c: c + " [%]" if c[0] == "E" else c).to_csv(path, index=False)
    labels = read_pairs(path, PointGroup("mmm"))
    assert labels.notes == ()
    assert np.allclose(labels.F, plain.F, rtol=0, atol=1e-12)
    assert labels.cauchy == pytest.approx(plain.cauchy, rel=1e-9)
    assert labels.energy == pytest.approx(plain.energy, rel=1e-9)
    _stresses(few_pairs, 1, " [psi]").to_csv(path, index=False)
    with pytest.raises(InputError, match=r"'S11 \[psi\]' has an unknown unit; known are gpa, mpa"):
        read_pairs(path, PointGroup("mmm"))
    some = _stresses(few_pairs, 1e3, " [MPa]").rename(columns={"S22 [MPa]": "S22"})
    some.to_csv(path, index=False)
    with pytest.raises(InputError, match="name a unit, others none"):
        read_pairs(path, PointGroup("mmm"))
    few_pairs.rename(columns=lambda c: c + " [-]" if c[0] == "E" else c).to_csv(path, index=False)
    assert "no unit of its stress:" in read_pairs(path, PointGroup("mmm")).notes[0]


def test_comments_and_units_between_blanks(tmp_path, few_pairs):
    path = tmp_path / "pairs.csv"
    few_pairs.to_csv(path, index=False)
    plain = read_pairs(path, PointGroup("mmm"))
    spaced = few_pairs.rename(columns=lambda c: c + " [GPa]" if c[0] == "S" else c + " (-)")
    lines = [" ".join(spaced.columns)]
    lines += [" ".join(map(str, row)) + "  # measured" for row in few_pairs.to_numpy().tolist()]
    path.write_text("   # of spruce\n" + "\n".join(lines))
    assert read_pairs(path, PointGroup("mmm")).cauchy == pytest.approx(plain.cauchy, rel=1e-9)


def _uniaxial(stretch, stress):
    """Green-Lagrange strain and second Piola-Kirchhoff stress of pulls without a change of volume.

    stress: nominal force over the first cross-section.
    """
    table = pd.DataFrame(
        0.0, index=range(len(stretch)), columns=[k + c for k in "ES" for c in SYMMETRIC]
    )
    table["E11"] = (stretch**2 - 1) / 2
    table["E22"] = table["E33"] = (1 / stretch - 1) / 2
    table["S11"] = stress / stretch
    return table


def test_sound_materials_are_not_taken_for_mistakes(tmp_path):
    path = tmp_path / "pairs.csv"
    # Mooney's rubber: S falls while E grows, and both are of tension.
    l = np.linspace(1.5, 4, 20)
    _uniaxial(l, 2e-4 * (1 + 1 / l) * (l - 1 / l**2)).to_csv(path, index=False)
    with pytest.warns(UserWarning, match="in per cent"):
        read_pairs(path, PointGroup("mmm"))
    # Steel with the noise of a test: across the pull there is little but noise.
    rng = np.random.default_rng(0)
    for seed in range(10):
        l = 1 + np.linspace(2e-4, 2e-3, 8)
        steel = _uniaxial(l, 210.0 * (l - 1))
        steel["E22"] = steel["E33"] = -0.3 * steel["E11"]
        steel[[f"E{c}" for c in SYMMETRIC]] += 5e-6 * rng.normal(size=(8, 6))
        steel[[f"S{c}" for c in SYMMETRIC]] += 0.01 * rng.normal(size=(8, 6))
        steel.to_csv(path, index=False)
        assert read_pairs(path, PointGroup("mmm")).notes, seed


def test_decimal_commas_and_other_delimiters(tmp_path, few_pairs):
    path = tmp_path / "pairs.csv"
    few_pairs.to_csv(path, index=False)
    plain = read_pairs(path, PointGroup("mmm"))
    for separator, decimal in ((";", ","), ("\t", ","), (";", "."), ("\t", "."), (" ", ".")):
        few_pairs.to_csv(path, index=False, sep=separator, decimal=decimal, encoding="utf-16")
        assert read_pairs(path, PointGroup("mmm")).cauchy == pytest.approx(plain.cauchy, rel=1e-9)


def test_implausible_pairs_without_units_are_not_fitted_in_silence(tmp_path, few_pairs):
    path = tmp_path / "pairs.csv"
    for factor, message in ((1e3, "are the stresses in MPa"), (-1, "positive in compression")):
        _stresses(few_pairs, factor).to_csv(path, index=False)
        with pytest.raises(InputError, match=message):
            read_pairs(path, PointGroup("mmm"))
    percent = few_pairs.copy()
    percent[[f"E{c}" for c in SYMMETRIC]] *= 100
    percent.to_csv(path, index=False)
    with pytest.warns(UserWarning, match="in per cent"):
        read_pairs(path, PointGroup("mmm"))


@pytest.mark.parametrize(
    ("column", "factor", "message"),
    [("S", 100.0, "per cent"), ("W", 1e3, "MJ/m"), ("W", -1.0, "positive in compression")],
)
def test_energies_of_pairs_are_held_against_the_work(tmp_path, few_pairs, column, factor, message):
    e, s = (
        few_pairs[[k + c for c in SYMMETRIC]].to_numpy() @ np.diag(w)
        for k, w in (("E", [1, 1, 1, 2, 2, 2]), ("S", [1.0] * 6))
    )
    few_pairs["W"] = 0.5 * (e * s).sum(axis=1)
    few_pairs[[c for c in few_pairs if c[0] == column]] *= factor
    few_pairs.to_csv(tmp_path / "pairs.csv", index=False)
    with pytest.raises(InputError, match=message):
        fit_law(tmp_path / "pairs.csv", point_group="mmm", use_network=False, progress=False)


def test_nominal_stress_in_place_of_piola_is_noticed(tmp_path):
    text = (TRUSS / "pairs.csv").read_text()
    swapped = text.replace("P12,P13,P21,", "P21,P31,P12,").replace("P23,P31,P32,", "P32,P13,P23,")
    assert swapped != text
    path = tmp_path / "nominal.csv"
    path.write_text(swapped)
    with pytest.raises(InputError, match="with P transposed"):
        read_pairs(path, PointGroup("m-3m"))


def test_missing_halves_are_refused(tmp_path):
    with pytest.raises(InputError, match="lists no atoms"):
        fit_law(SPRUCE, QUARTZ.with_suffix(".cif"))
    with pytest.raises(InputError, match="either the crystal's structure or"):
        fit_law(SPRUCE)
    with pytest.raises(InputError, match="unknown point group"):
        fit_law(SPRUCE, point_group="mmmm")
    with pytest.raises(InputError, match="not those of the standard setting"):
        fit_law(SPRUCE, point_group=PointGroup("mmm").rotated(_turn()))
    with pytest.raises(InputError, match="no such file"):
        fit_law(tmp_path / "nothing.csv", point_group="mmm")


def _turn():
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix()


def test_index_order_is_voigt():
    assert [f"{i + 1}{j + 1}" for i, j in VOIGT_PAIRS] == SYMMETRIC


def test_stresses_that_differ_at_equal_strain_are_the_floor_of_the_error(tmp_path):
    table = pd.read_csv(SPRUCE, comment="#", skipinitialspace=True)
    stress = [c for c in table if c.startswith("S")]
    table["case"] = "loop"
    loading, unloading = table.copy(), table.copy()
    loading[stress] *= 1.05
    unloading[stress] *= 0.95
    pd.concat([loading, unloading]).to_csv(tmp_path / "loop.csv", index=False)
    lines = []
    law = fit_law(
        tmp_path / "loop.csv",
        point_group="mmm",
        use_network=False,
        stress_free=False,
        progress=False,
        say=lines.append,
    )
    told = law.metadata["stress_spread"]
    assert told["labels"] == 2 * len(table)
    # Weak stresses count as if they were as large as the floor of relative errors.
    assert 0.048 < told["error"] < 0.05
    assert any("no law's error can be below 4.8" in line for line in lines)
    assert law.metadata["held_out"]["both"]["relative_rmse"] >= 0.9 * told["error"]
    assert (
        "stress_spread"
        not in fit_law(SPRUCE, point_group="mmm", use_network=False, progress=False).metadata
    )
