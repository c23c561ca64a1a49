"""From labelled structures to a law: a trained potential as a teacher."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import read, write

from objstress.errors import InputError
from objstress.labels.differences import elastic_differences, elastic_strains
from objstress.labels.labelling import label_strains
from objstress.labels.reading import read_labels
from objstress.labels.relaxation import relaxed_crystal
from objstress.symmetry.point_group import PointGroup
from objstress.training.laws.fit import fit_law
from objstress.training.potential.fit import fit_potential
from objstress.training.potential.settings import settings_from
from tests.conftest import DATA, SHARED


class Cushion(Calculator):
    """Resists changes of its cell's volume, and nothing else; at rest it has no stress at all."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, volume):
        super().__init__()
        self.volume = volume

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        excess = round(atoms.get_volume() / self.volume - 1, 12)
        self.results = {
            "energy": 0.5 * self.volume * excess**2,
            "forces": np.zeros((len(atoms), 3)),
            "stress": np.repeat([excess, 0.0], 3),
        }


class TestRelaxedCrystal:
    def test_has_no_stress_and_its_own_symmetry(self):
        found = relaxed_crystal(bulk("Cu", a=3.7, cubic=True), "emt")
        atoms = bulk("Cu", a=found.lattice.volume ** (1 / 3) * 4 ** (1 / 3))
        atoms.calc = EMT()
        assert len(found) == 1
        assert np.abs(atoms.get_stress()).max() < 1e-5
        assert PointGroup.from_structure(found).symbol == "m-3m"

    def test_a_crystal_that_does_not_settle_is_refused(self):
        with pytest.raises(InputError, match="does not relax"):
            relaxed_crystal(bulk("Cu", a=3.7), "emt", steps=1)

    def test_a_crystal_that_falls_apart_is_refused(self):
        apart = LennardJones(sigma=1.0, rc=2.0, smooth=True)
        with pytest.raises(InputError, match="falls apart: no atom lies within"):
            relaxed_crystal(bulk("Cu", a=4.0), apart)

    def test_a_crystal_at_rest_from_the_start_is_none(self):
        found = relaxed_crystal(bulk("Cu", a=3.0), Cushion(bulk("Cu", a=3.0).get_volume()))
        assert found.lattice.a == pytest.approx(3.0 / 2**0.5)

    def test_internal_positions_relax(self):
        # Wurtzite ZnS of Lennard-Jones atoms: u is free.
        start = bulk("ZnS", "wurtzite", a=1.92, c=3.24, u=0.39)
        pairs = {"sigma": 1.2, "rc": 4.8, "smooth": True}
        found = relaxed_crystal(start, LennardJones(**pairs), fmax=1e-5)
        atoms = found.to_ase_atoms()
        atoms.calc = LennardJones(**pairs)
        assert np.abs(atoms.get_forces()).max() < 1e-4


SILICON = SHARED / "dft-solids"


def copper_frames():
    rng = np.random.default_rng(0)
    frames = []
    for k in range(40):
        atoms = bulk("Cu", a=3.59, cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), True)
        atoms.rattle(0.03, seed=k)
        atoms.calc = EMT()
        atoms.get_stress()
        atoms.get_forces()
        frames.append(atoms)
    return frames


def test_a_law_is_fitted_to_a_trained_potential(tmp_path):
    write(tmp_path / "train.extxyz", copper_frames())
    potential = fit_potential(
        settings_from(
            {
                "data": str(tmp_path / "train.extxyz"),
                "keys": {"energy": "energy", "forces": "forces", "stress": "stress"},
                "model": {"channels": 4, "edge_lmax": 2, "cutoff": 4.4},
                "balancing": {"weights": {"energy": 1, "forces": 3, "stress": 3}},
                "training": {"epochs": 12, "batch_size": 4},
            }
        ),
        progress=False,
    )
    file = tmp_path / "copper.potential"
    potential.save(file)
    arguments = {"potential": str(file)}
    crystal = relaxed_crystal(bulk("Cu", a=3.6), "potential", arguments)
    small, large = tmp_path / "small.extxyz", tmp_path / "large.extxyz"
    common = dict(arguments=arguments, ions="clamped", progress=False)
    label_strains(crystal, "potential", out=small, strains=elastic_strains(1e-3), **common)
    label_strains(crystal, "potential", out=large, samples=60, max_strain=0.04, **common)
    law = fit_law(large, crystal, use_network=False, progress=False)
    differences = elastic_differences(read_labels(small, crystal))
    assert np.abs(law.stiffness() - differences).max() <= 0.01 * np.abs(differences).max()
    # And both are copper's by the method that taught the potential, roughly: 12 epochs.
    assert differences[0, 0] == pytest.approx(172, rel=0.3)


class TestChain:
    @pytest.fixture
    def inputs(self, tmp_path):
        write(tmp_path / "train.extxyz", copper_frames())
        write(tmp_path / "copper.cif", bulk("Cu", a=3.59, cubic=True))
        return tmp_path / "train.extxyz", tmp_path / "copper.cif", tmp_path / "out"

    @pytest.fixture
    def few_epochs(self, monkeypatch):
        """A number of epochs of a small network, however busy the machine is."""
        from objstress.workflows import chain

        train = chain.fit_potential

        def counted(settings, **keywords):
            few = len(read(settings.data, ":")) < 100
            given = {"max_minutes": None, "epochs": 12 if few else 5}
            training = settings.training.model_copy(update=given)
            model = settings.model.model_copy(update={"channels": 8})
            changed = settings.model_copy(update={"training": training, "model": model})
            return train(changed, **keywords)

        monkeypatch.setattr(chain, "fit_potential", counted)

    def test_from_labelled_structures_to_a_pulled_plate_and_it_resumes(self, inputs, few_epochs):
        pytest.importorskip("objstress.fem")
        from objstress.workflows.chain import run_chain

        data, structure, out = inputs
        common = dict(samples=40, max_strain=0.03, say=lambda text: None)
        report = run_chain(data, structure, out, test=data, **common)
        for name in ("model.potential", "crystal.cif", "labels.extxyz", "crystal.law", "plate.bp"):
            assert (out / name).exists()
        assert report["point_group"] == "m-3m"
        assert report["plate"][-1]["load"] == 1.0
        assert set(report["errors_of_the_potential"]["targets"]) == {"energy", "forces", "stress"}
        assert "(force.png)" in (out / "report.md").read_text()
        assert (out / "force.png").read_bytes().startswith(b"\x89PNG")
        assert len(report["plate"]) == 4  # a curve, not a line
        (out / "crystal.law").unlink()
        trained = (out / "model.potential").stat().st_mtime_ns
        again = run_chain(data, structure, out, **common)
        assert (out / "model.potential").stat().st_mtime_ns == trained
        assert np.allclose(again["stiffness_GPa"], report["stiffness_GPa"], rtol=1e-9)
        with pytest.raises(InputError, match="started with other settings: samples"):
            run_chain(data, structure, out, **(common | {"samples": 41}))

    @pytest.mark.skipif(not SILICON.exists(), reason="the DFT set is not there")
    def test_from_a_dft_set_of_silicon(self, tmp_path, few_epochs):
        pytest.importorskip("objstress.fem")
        from objstress.workflows.chain import run_chain

        report = run_chain(
            SILICON / "Si-train.extxyz",
            DATA / "silicon.cif",
            tmp_path / "out",
            test=SILICON / "Si-test.extxyz",
            samples=40,
            max_strain=0.03,
            say=lambda text: None,
        )
        assert report["point_group"] == "m-3m"
        assert report["plate"][-1]["load"] == 1.0
        # Of DFT roughly: PBE's lattice, 5.468 Angstrom in the set; a few epochs.
        volume = np.linalg.det(report["lattice_A"])
        assert abs(4 * volume) ** (1 / 3) == pytest.approx(5.468, rel=0.01)
        assert report["errors_of_the_potential"]["targets"]["energy"]["rmse"] < 0.1
        assert report["stiffness_GPa"][0][0] == pytest.approx(156, rel=0.3)

    def test_bad_input_is_refused_before_the_training(self, inputs):
        from objstress.workflows.chain import run_chain

        data, structure, out = inputs
        silicon = structure.with_name("silicon.cif")
        write(silicon, bulk("Si"))
        for arguments, options in (
            ((data, out / "none.cif", out), {}),
            ((data, silicon, out), {}),
            ((out / "none.extxyz", structure, out), {}),
            ((data, structure, out), {"test": out / "none.extxyz"}),
            ((data, structure, out), {"samples": -5}),
        ):
            with pytest.raises(InputError):
                run_chain(*arguments, say=lambda text: None, **options)
        assert not (out / "training").exists()
