"""Elastic properties: closed forms, frames, and calculators."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.spacegroup import crystal
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from objstress.calculators import make_calculator
from objstress.elasticity.averages import (
    born_stability,
    cauchy_pressures,
    polycrystal_averages,
    thermal_properties,
    zener_ratio,
)
from objstress.elasticity.directions import half_sphere
from objstress.elasticity.frames import ieee_rotation, rotated_structure
from objstress.elasticity.moduli import (
    cubic_stiffness,
    linear_compressibility,
    modulus_extremes,
    poissons_ratio,
    shear_modulus,
    youngs_modulus,
)
from objstress.elasticity.waves import sound_waves
from objstress.errors import InputError
from objstress.labels.differences import elastic_differences, elastic_strains
from objstress.labels.labelling import label_strains
from objstress.labels.reading import read_labels
from objstress.labels.relaxation import relaxed_crystal
from objstress.labels.response import harmonic_response
from objstress.properties.crystal import crystal_properties
from objstress.properties.plots import plot_properties
from objstress.properties.report import describe
from objstress.symmetry.crystal import primitive_cell
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import rotated_tensor, tensor_to_voigt, voigt_to_tensor
from tests.conftest import DATA

# GPa and g/cm^3 at room temperature: Simmons and Wang, Single Crystal Elastic Constants (1971).
CUBIC = {
    "Al": (106.8, 60.4, 28.3, 2.697),
    "Cu": (168.4, 121.4, 75.4, 8.932),
    "Ni": (246.5, 147.3, 124.7, 8.907),
    "Si": (165.7, 63.9, 79.6, 2.329),
}
SILICON = DATA / "silicon.cif"
PEROVSKITE = crystal(
    ["Au", "Cu", "Ni"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)],
    spacegroup=221, cellpar=[3.9, 3.9, 3.9, 90, 90, 90],
)  # fmt: skip


def triclinic(seed=0):
    """A stable stiffness without any symmetry."""
    a = np.random.default_rng(seed).normal(size=(6, 6))
    c = a @ a.T * 10 + np.diag([100.0] * 3 + [40.0] * 3)
    c[:3, :3] += 50
    return c


class TestClosedForms:
    @pytest.mark.parametrize("name", CUBIC)
    def test_youngs_modulus_of_cubic_crystals(self, name):
        c11, c12, c44, _ = CUBIC[name]
        c = cubic_stiffness(c11, c12, c44)
        s11 = (c11 + c12) / ((c11 - c12) * (c11 + 2 * c12))
        s12, s44 = -c12 / ((c11 - c12) * (c11 + 2 * c12)), 1 / c44
        j = s11 - s12 - s44 / 2
        for n, q in (((1, 0, 0), 0), ((1, 1, 0), 1 / 4), ((1, 1, 1), 1 / 3)):
            assert youngs_modulus(c, n) == pytest.approx(1 / (s11 - 2 * j * q), rel=1e-12)
        found = modulus_extremes(c)["young"]
        assert found.least == pytest.approx(1 / s11, rel=1e-9)
        assert found.largest == pytest.approx(1 / (s11 - 2 * j / 3), rel=1e-9)

    @pytest.mark.parametrize("name", CUBIC)
    def test_sound_in_cubic_crystals(self, name):
        c11, c12, c44, rho = CUBIC[name]
        expected = {
            (1, 0, 0): (c44, c44, c11),
            (1, 1, 0): (*sorted((c44, (c11 - c12) / 2)), (c11 + c12 + 2 * c44) / 2),
            (1, 1, 1): (*2 * [(c11 - c12 + c44) / 3], (c11 + 2 * c12 + 4 * c44) / 3),
        }
        waves = sound_waves(cubic_stiffness(c11, c12, c44), rho, list(expected))
        moduli = np.array(list(expected.values()))
        np.testing.assert_allclose(waves.speed, np.sqrt(moduli / rho), rtol=1e-12)
        np.testing.assert_allclose(waves.longitudinal[:, 2], 1, atol=1e-9)

    def test_zener_pugh_and_cauchy(self):
        c = cubic_stiffness(168.4, 121.4, 75.4)
        assert zener_ratio(c) == pytest.approx(2 * 75.4 / (168.4 - 121.4))
        assert cauchy_pressures(c)["C12 - C66"] == pytest.approx(121.4 - 75.4)

    def test_averages_of_cubic_crystals(self):
        c11, c12, c44, _ = CUBIC["Cu"]
        found = polycrystal_averages(cubic_stiffness(c11, c12, c44))
        bulk_modulus = (c11 + 2 * c12) / 3
        voigt = (c11 - c12 + 3 * c44) / 5
        reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
        assert found.voigt.bulk == pytest.approx(bulk_modulus)
        assert found.reuss.bulk == pytest.approx(bulk_modulus)
        assert found.voigt.shear == pytest.approx(voigt)
        assert found.reuss.shear == pytest.approx(reuss)
        assert found.hill.shear == pytest.approx((voigt + reuss) / 2)
        assert found.universal_anisotropy == pytest.approx(5 * voigt / reuss - 5)
        k, g = found.hill.bulk, found.hill.shear
        assert found.hill.young == pytest.approx(9 * k * g / (3 * k + g))
        assert found.hill.poisson == pytest.approx((3 * k - 2 * g) / (2 * (3 * k + g)))
        assert found.pugh_ratio == pytest.approx(k / g)

    def test_debye_temperature_of_silicon(self):
        structure = Structure.from_file(SILICON)
        silicon = thermal_properties(cubic_stiffness(*CUBIC["Si"][:3]), structure)
        # 645 K by heat capacity at 0 K (Kittel); the elastic one is 640 to 650 K.
        assert silicon.debye_temperature == pytest.approx(645, rel=0.02)
        v = silicon.mean * 1e3
        number = len(structure) / (structure.volume * 1e-30)
        by_hand = 1.054571817e-34 / 1.380649e-23 * v * (6 * np.pi**2 * number) ** (1 / 3)
        assert silicon.debye_temperature == pytest.approx(by_hand, rel=1e-3)


class TestDirections:
    def test_moduli_answer_a_test_bar(self):
        """A bar pulled along n, by its compliance matrix in axes of its own."""
        c, q = triclinic(), Rotation.random(rng=np.random.default_rng(3)).as_matrix()
        s = np.linalg.inv(tensor_to_voigt(rotated_tensor(voigt_to_tensor(c), q)))
        n, m = q[0], q[1]
        assert youngs_modulus(c, n) == pytest.approx(1 / s[0, 0])
        assert poissons_ratio(c, n, m) == pytest.approx(-s[0, 1] / s[0, 0])
        assert shear_modulus(c, n, m) == pytest.approx(1 / s[5, 5])
        assert linear_compressibility(c, n) == pytest.approx(s[0, :3].sum())

    @pytest.mark.parametrize("seed", range(3))
    def test_nothing_lies_beyond_the_extremes(self, seed):
        c, rng = triclinic(seed), np.random.default_rng(seed)
        n, m = rng.normal(size=(2, 20000, 3))
        found = modulus_extremes(c)
        samples = {
            "young": youngs_modulus(c, n),
            "compressibility": linear_compressibility(c, n),
            "shear": shear_modulus(c, n, m),
            "poisson": poissons_ratio(c, n, m),
        }
        for name, values in samples.items():
            e, width = found[name], np.ptp(values)
            assert values.min() >= e.least - 1e-9 * width
            assert values.max() <= e.largest + 1e-9 * width
            # And they are met: 20,000 random pairs come near.
            assert e.least == pytest.approx(values.min(), abs=0.03 * width)
            assert e.largest == pytest.approx(values.max(), abs=0.03 * width)
        for name, function in (("shear", shear_modulus), ("poisson", poissons_ratio)):
            e = found[name]
            assert function(c, e.least_n, e.least_m) == pytest.approx(e.least)
            assert function(c, e.largest_n, e.largest_m) == pytest.approx(e.largest)

    def test_an_isotropic_body_has_no_direction(self):
        found = modulus_extremes(cubic_stiffness(200.0, 100.0, 50.0))
        for e in found.values():
            assert e.least == pytest.approx(e.largest, rel=1e-10)


class TestWaves:
    def test_energy_runs_along_the_gradient_of_the_frequency(self):
        c, n, h = triclinic(), np.array([0.3, -0.5, 0.81]), 1e-5
        waves = sound_waves(c, 3.0, n)
        for axis in range(3):
            step = np.eye(3)[axis] * h
            k = [n + step, n - step]  # omega(k) = v(k / |k|) |k|
            omega = [sound_waves(c, 3.0, x).speed * np.linalg.norm(x) for x in k]
            gradient = (omega[0] - omega[1]) / (2 * h)
            np.testing.assert_allclose(
                waves.group_velocity[:, axis], gradient, rtol=1e-5, atol=1e-6
            )
        along = waves.group_velocity @ waves.directions
        np.testing.assert_allclose(along, waves.speed, rtol=1e-12)

    def test_unstable_crystals_and_no_density_are_refused(self):
        with pytest.raises(InputError, match="a wave does not propagate"):
            sound_waves(cubic_stiffness(100.0, 120.0, 50.0), 3.0, half_sphere(200))
        with pytest.raises(InputError, match="density"):
            sound_waves(triclinic(), 0.0, [1, 0, 0])


class TestStability:
    def test_names_the_strain_along_which_an_unstable_crystal_falls(self):
        found = born_stability(cubic_stiffness(100.0, 120.0, 50.0))
        assert not found.stable
        assert found.eigenvalues[0] == pytest.approx(-20)
        assert abs(np.trace(found.softest_strain)) < 1e-12
        assert np.abs(found.softest_strain - np.diag(np.diag(found.softest_strain))).max() < 1e-12

    def test_shear_moduli_count_as_mandels(self):
        assert born_stability(cubic_stiffness(200.0, 100.0, 30.0)).eigenvalues[0] == pytest.approx(
            60
        )


REACH = 12.0


def _tensor_of_atoms(structure):
    i, j, shift, r = structure.get_neighbor_list(REACH)
    x, z = structure.cart_coords, np.array([s.specie.Z for s in structure])
    n = (x[j] + shift @ structure.lattice.matrix - x[i]) / r[:, None]
    weight = (z[i] + 2 * z[j]) / r**6 * (1 - (r / REACH) ** 2) ** 3 / len(structure)
    return tensor_to_voigt(np.einsum("p,pi,pj,pk,pl->ijkl", weight, n, n, n, n, optimize=True))


def turned(atoms, q):
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ q.T, scale_atoms=True)
    return atoms


class TestCrystalProperties:
    def test_relaxed_ions_are_those_of_relaxing_strained_cells(self, tmp_path):
        """The Schur complement against relaxations, label by label."""
        found = crystal_properties(SILICON, "kumagai")
        clamped = crystal_properties(SILICON, "kumagai", ions="clamped")
        assert clamped.stiffness[3, 3] > 1.2 * found.stiffness[3, 3]
        crystal = relaxed_crystal(SILICON, "kumagai")
        file = tmp_path / "labels.extxyz"
        label_strains(crystal, "kumagai", out=file, strains=elastic_strains(1e-3), progress=False)
        there = elastic_differences(read_labels(file, crystal))
        np.testing.assert_allclose(found.stiffness, there, atol=2e-3 * there.max())

    @pytest.mark.parametrize("name", ["cubic", "hexagonal", "ordered"])
    def test_the_same_crystal_gives_the_same_tensor(self, name):
        atoms = {
            "cubic": bulk("Cu"),
            "hexagonal": bulk("Cu", "hcp", a=2.55, c=4.16),
            "ordered": Atoms("Cu3Au", [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]],
                             cell=2 * np.eye(3), pbc=True),
        }[name]  # fmt: skip
        if name == "ordered":
            atoms.set_cell(1.87 * 2 * np.eye(3), scale_atoms=True)
        rng = np.random.default_rng(5)
        first = crystal_properties(atoms, EMT())
        q = Rotation.random(rng=rng).as_matrix()
        sheared = atoms.copy()
        sheared.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ atoms.cell.array)
        for other, turn in (
            (turned(atoms, q), q),
            (atoms * (2, 1, 1), np.eye(3)),
            (turned(sheared, q), q),
        ):
            found = crystal_properties(other, EMT())
            expected = rotated_tensor(voigt_to_tensor(first.stiffness), turn)
            size = np.abs(expected).max()
            assert np.abs(voigt_to_tensor(found.stiffness) - expected).max() < 1e-8 * size
            gap = np.abs(found.stiffness_ieee - first.stiffness_ieee).max()
            assert gap < 1e-8 * size
            assert found.point_group.symbol == first.point_group.symbol

    def test_forbidden_entries_vanish_in_the_standard_frame(self):
        found = crystal_properties(bulk("Cu", "hcp", a=2.55, c=4.16), "emt")
        form = np.array(found.form())
        assert (
            np.abs(found.stiffness_ieee[form == "0"]) < 1e-12 * found.stiffness_ieee[0, 0]
        ).all()
        c = found.stiffness_ieee
        assert c[5, 5] == pytest.approx((c[0, 0] - c[0, 1]) / 2, rel=1e-12)
        exact = TensorForm(found.point_group, "elastic").project(voigt_to_tensor(found.stiffness))
        np.testing.assert_allclose(exact, voigt_to_tensor(found.stiffness), atol=1e-10)
        assert found.asymmetry < 1e-4

    def test_the_answer_is_plain_json_with_the_ions_named(self):
        found = crystal_properties(bulk("Al"), "emt").to_dict()
        again = json.loads(json.dumps(found))
        assert again["ions"] == "relaxed"
        assert again["model"] == "emt"
        assert again["space_group"] == {"symbol": "Fm-3m", "number": 225}
        assert again["stable"]
        assert set(again["extremes"]) == {"young", "compressibility", "shear", "poisson"}

    def test_a_law_speaks_for_its_crystal(self, quick_law):
        found = crystal_properties(None, quick_law)
        np.testing.assert_allclose(found.stiffness, quick_law.stiffness(), atol=1e-9)
        assert found.third_order.shape == (6, 6, 6)
        q = Rotation.random(rng=np.random.default_rng(2)).as_matrix()
        there = crystal_properties(turned(bulk("Si", a=5.39), q), quick_law)
        expected = rotated_tensor(voigt_to_tensor(quick_law.stiffness()), q)
        np.testing.assert_allclose(voigt_to_tensor(there.stiffness), expected, atol=1e-8)
        with pytest.raises(InputError, match="no model for element Cu: LearnedLaw knows Si"):
            crystal_properties(bulk("Cu"), quick_law)
        with pytest.raises(InputError, match="not a whole number"):
            crystal_properties(bulk("Si", "sc", a=2.5), quick_law)

    @pytest.mark.parametrize(
        "cell",
        [
            [[3, 0, 0], [0, 4, 0], [0, 0, 4]],  # orthorhombic by its atoms, two axes equally long
            [[0, 0, 4], [3, 0, 0], [0, 4, 0]],
            [[5, 0, 0], [0, 4, 0], [1, 0, 3]],
        ],
    )
    def test_standard_frames_are_right_handed_and_turn_with_the_crystal(self, cell):
        sites = [[0, 0, 0], [0.5, 0.5, 0], [0.25, 0, 0.5]]
        crystal = primitive_cell(Structure(Lattice(cell), ["Na", "Cl", "O"], sites))
        q = ieee_rotation(crystal)
        np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(q) == pytest.approx(1)
        turn = Rotation.random(rng=np.random.default_rng(4)).as_matrix()
        there = ieee_rotation(primitive_cell(rotated_structure(crystal, turn)))
        # Axes without a sense of their own (orthorhombic ones) may point the other way.
        np.testing.assert_allclose(np.abs(there @ turn), np.abs(q), atol=1e-9)

    def test_a_noisy_calculator_answers_with_error_bars(self):
        """As a network in single precision: errors that depend on the last digits."""

        class Noisy(EMT):
            seed = 0

            def calculate(self, *args):
                super().calculate(*args)
                place = np.concatenate([self.atoms.positions, self.atoms.cell.array])
                key = np.round(1e7 * place).astype(np.int64).tobytes() + bytes([self.seed])
                rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8]))
                forces, noise = self.results["forces"], 1e-4
                scatter = noise * rng.uniform(-1, 1, forces.shape)
                self.results["forces"] = forces + scatter - scatter.mean(0)
                scatter = 0.1 * noise * rng.uniform(-1, 1, 6)
                self.results["stress"] = self.results["stress"] + scatter

        sites = [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]]
        alloy = Atoms("Cu3Au", 1.87 * np.array(sites), cell=3.74 * np.eye(3), pbc=True)
        clean = crystal_properties(alloy, EMT())
        assert clean.deviation is None
        gaps, bars = [], []
        for seed in range(6):
            model = Noisy()
            model.seed = seed
            found = crystal_properties(alloy, model)
            gaps.append((found.stiffness - clean.stiffness)[[0, 0, 3], [0, 1, 3]])
            bars.append(found.deviation[[0, 0, 3], [0, 1, 3]])
        scatter = np.sqrt(np.mean(np.square(gaps)))
        assert 0.5 < np.sqrt(np.mean(np.square(bars))) / scatter < 2
        # What the point group forbids is exact, and alike constants have one bar.
        assert found.deviation[0, 3] < 1e-12 * found.deviation.max()
        assert found.deviation[0, 0] == pytest.approx(found.deviation[2, 2])
        assert "standard deviation of each" in describe(found)
        assert found.to_dict()["deviation_GPa"] == found.deviation.tolist()

    def test_noise_that_leaves_nothing_is_refused(self):
        rng = np.random.default_rng(0)

        class Random(EMT):
            def calculate(self, *args):
                super().calculate(*args)
                self.results["stress"] = self.results["stress"] + rng.uniform(-1, 1, 6)

        with pytest.raises(InputError, match="scatters by"):
            crystal_properties(bulk("Cu"), Random())

    @pytest.mark.parametrize(
        ("group", "cell"),
        [
            ("P-1", (4.1, 5.2, 6.3, 81, 95, 102)),
            ("P2_1/c", (5.1, 6.2, 7.3, 90, 107, 90)),
            ("C2/m", (9.1, 4.2, 5.3, 90, 104, 90)),
            ("P4/m", (5.0, 5.0, 6.1, 90, 90, 90)),
            ("I-4", (5.0, 5.0, 7.1, 90, 90, 90)),
            ("P-3", (5.2, 5.2, 6.1, 90, 90, 120)),
            ("R-3", (5.2, 5.2, 14.1, 90, 90, 120)),
            ("P3_121", (5.2, 5.2, 6.1, 90, 90, 120)),
            ("P312", (5.2, 5.2, 6.1, 90, 90, 120)),
            ("P-31m", (5.2, 5.2, 6.1, 90, 90, 120)),
            ("P31m", (5.2, 5.2, 6.1, 90, 90, 120)),
            ("P-3m1", (5.2, 5.2, 6.1, 90, 90, 120)),
            ("R-3m", (5.2, 5.2, 14.1, 90, 90, 120)),
            ("R3c", (5.2, 5.2, 14.1, 90, 90, 120)),
        ],
    )
    def test_any_cell_of_a_crystal_has_the_same_standard_frame(self, group, cell):
        """A tensor of rank four made of the atoms, in the frames of turned and sheared cells."""
        rng = np.random.default_rng(len(group))
        lengths, angles = 3 * np.array(cell[:3]), cell[3:]  # so that no atoms overlap
        lattice = Lattice.from_parameters(*lengths, *angles)
        while True:
            sites = rng.uniform(0.05, 0.45, (2, 3))
            crystal = Structure.from_spacegroup(group, lattice, ["H", "Li"], sites)
            if crystal.is_valid(tol=1.5):
                break
        tensors = []
        for k in range(8):
            other = crystal.copy()
            if k:
                change = np.eye(3, dtype=int)
                for a, b in ((0, 1), (1, 2), (2, 0)):
                    change[a] += int(rng.integers(-2, 3)) * change[b]
                other.make_supercell(change[rng.permutation(3)])
                if np.linalg.det(other.lattice.matrix) < 0:
                    other.make_supercell(-np.eye(3, dtype=int))
                other.translate_sites(range(len(other)), rng.uniform(size=3))
                other = rotated_structure(other, Rotation.random(rng=rng).as_matrix())
            standard = primitive_cell(other)
            turned_to = rotated_structure(standard, ieee_rotation(standard))
            tensors.append(_tensor_of_atoms(turned_to))
        first, size = tensors[0], np.abs(tensors[0]).max()
        assert max(np.abs(t - first).max() for t in tensors) < 1e-6 * size
        if PointGroup.from_structure(crystal).laue == "-3m":
            assert abs(first[0, 4]) < 1e-6 * size < 1e3 * abs(first[0, 3])

    def test_a_law_of_other_ions_is_refused(self, dft_law):
        with pytest.raises(InputError, match="of relaxed ions"):
            crystal_properties(None, dft_law, ions="clamped")
        assert crystal_properties(None, dft_law).averages.hill.bulk == pytest.approx(97, rel=0.02)

    def test_the_mode_along_which_ions_leave_their_sites_is_named(self):
        """Along it the energy falls as the eigenvalue says, in whatever frame the crystal comes."""
        perovskite = PEROVSKITE.copy()
        perovskite.rotate(40, (1, 2, 3), rotate_cell=True)
        found = crystal_properties(perovskite, "emt")
        cell = found.structure.to_ase_atoms(msonable=False)
        energies = []
        for size in (-0.01, 0.0, 0.01):
            moved = cell.copy()
            moved.positions += size * found.softest_mode
            moved.calc = EMT()
            energies.append(moved.get_potential_energy())
        curvature = np.diff(energies, 2)[0] / 1e-4
        assert curvature < 0
        assert curvature == pytest.approx(found.least_ion_stiffness, rel=0.01)
        share = (found.softest_mode[cell.symbols == "Ni"] ** 2).sum()
        assert f"Ni {share:.0%}" in found.unstable_mode
        assert found.unstable_mode in describe(found)

    def test_constants_of_ions_that_strains_drive_away_are_marked(self, silicon):
        """Shear moves the sublattices of silicon; were they unstable, it would have no C44."""
        response = harmonic_response(silicon, make_calculator("kumagai"))
        assert not response.driven
        unstable = replace(response, force_constants=-response.force_constants)
        assert unstable.driven
        assert unstable.relaxed[3, 3] > unstable.clamped[3, 3]
        # What is odd under inversion, as the mode of the perovskite above, no strain drives.
        perovskite = relaxed_crystal(PEROVSKITE, EMT())
        odd = harmonic_response(perovskite, EMT())
        assert odd.stiffness_of_ions[0] < -1
        assert not odd.driven
        marked = replace(
            crystal_properties(silicon, "kumagai"),
            least_ion_stiffness=-0.2, softest_mode=unstable.softest_mode, driven=True,
        )  # fmt: skip
        assert not marked.stable
        assert marked.averages is marked.extremes is marked.thermal is None
        assert "these constants have no meaning" in describe(marked)
        with pytest.raises(InputError, match="cannot be drawn"):
            plot_properties(marked, "x.png")

    def test_an_unstable_crystal_is_given_and_marked(self):
        """Body-centred copper falls by a tetragonal shear (Bain's path)."""
        found = crystal_properties(bulk("Cu", "bcc", a=2.86), "emt")
        answer = found.to_dict()
        assert not answer["stable"]
        assert found.averages is found.extremes is found.thermal is None
        assert answer["stability"]["eigenvalues"][0] < 0
        assert "averages" not in answer

    def test_bad_input_is_named(self):
        class NoStress(Calculator):
            implemented_properties = ("energy", "forces")

            def calculate(self, *args):
                super().calculate(*args)
                self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}

        for structure, model, said in (
            (bulk("Cu"), "effective", "unknown model"),
            (None, "emt", "give the structure"),
            ("none.cif", "emt", "no such structure file"),
            (bulk("Cu"), "none.law", "no such"),
        ):
            with pytest.raises(InputError, match=said):
                crystal_properties(structure, model)
        with pytest.raises(InputError, match="give 'relaxed' or 'clamped'"):
            crystal_properties(bulk("Cu"), "emt", ions="free")
        cell = Structure.from_file(SILICON)
        with pytest.raises(InputError, match="gives no stress"):
            harmonic_response(cell, NoStress())


def test_point_groups_turn_with_the_crystal():
    q = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    found = crystal_properties(turned(bulk("Cu", "hcp", a=2.55, c=4.16), q), "emt")
    own = PointGroup.from_structure(found.structure).operations
    for g in found.point_group.operations:
        assert np.abs(own - g).max(axis=(1, 2)).min() < 1e-6
