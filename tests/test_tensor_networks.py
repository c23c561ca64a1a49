"""Networks of property tensors: what symmetry forbids vanishes before any training."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation
from torch_geometric.data import Batch

from objstress.elasticity.frames import rotated_structure
from objstress.elasticity.moduli import cubic_stiffness
from objstress.errors import InputError
from objstress.graphs.elements import LAST, NAMES, element_descriptors
from objstress.models.crystal_tensor import CrystalTensorNetwork, CrystalTensorSettings
from objstress.models.tensor_ensemble import (
    TensorEnsemble,
    load_tensors,
    species_graph,
)
from objstress.properties.crystal import crystal_properties
from objstress.properties.eos import equation_of_state
from objstress.symmetry.irreps import representation
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.property_irreps import EXCHANGES, tensor_irreps
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import rotated_tensor, tensor_to_voigt, voigt_to_tensor
from objstress.training.tensors.fit import TensorFit, TensorTraining, fit_tensors
from tests.helpers import conventional_cell

SMALL = {"channels": 4, "kinds": 4, "neighbours": 20.0}
TURN = Rotation.from_euler("xyz", [0.3, -0.8, 1.9]).as_matrix()


def zinc_blende(a=4.1, elements=("Ga", "P")):
    return conventional_cell(216, Lattice.cubic(a), elements,
                                     [[0, 0, 0], [0.25, 0.25, 0.25]])  # fmt: skip


def rock_salt(a=4.2, elements=("Mg", "O")):
    return conventional_cell(225, Lattice.cubic(a), elements,
                                     [[0, 0, 0], [0.5, 0.5, 0.5]])  # fmt: skip


def wurtzite():
    return conventional_cell(186, Lattice.hexagonal(3.19, 5.19), ["Ga", "N"],
                                     [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.377]])  # fmt: skip


def skew():
    """A crystal without any symmetry."""
    lattice = Lattice.from_parameters(4.1, 4.9, 5.6, 83, 97, 71)
    return Structure(lattice, ["Na", "Cl", "O"], [[0, 0, 0], [0.4, 0.55, 0.5], [0.7, 0.2, 0.75]])


def network(kind, dtype=torch.float64, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = CrystalTensorNetwork(CrystalTensorSettings(kind=kind, **SMALL), dtype)
    made.scale.fill_(1e2)  # as large as a trained one's, so that zeros are zeros
    return made


def answer(model, *structures):
    graphs = [species_graph(s, model.settings.cutoff, model.dtype) for s in structures]
    with torch.no_grad():
        return model.tensors(model(Batch.from_data_list(graphs))[0]).double().numpy()


@pytest.mark.parametrize("kind", EXCHANGES)
class TestIrreps:
    def test_basis_is_orthonormal_and_turns_as_its_irreps(self, kind):
        irreps, basis = tensor_irreps(kind)
        flat = basis.reshape(len(basis), -1)
        np.testing.assert_allclose(flat @ flat.T, np.eye(len(basis)), atol=1e-13)
        for q in (TURN, -TURN):
            turned, start = rotated_tensor(basis, q, batch=1), 0
            for l, p in irreps:
                rows = slice(start, start + 2 * l + 1)
                start = rows.stop
                d = representation((l, p), q[None])[0]
                expected = np.einsum("nm,n...->m...", d, basis[rows])
                np.testing.assert_allclose(turned[rows], expected, atol=1e-13)

    def test_it_is_complete(self, kind):
        orders = EXCHANGES[kind]
        tensor = np.random.default_rng(0).normal(size=(3,) * len(orders[0]))
        tensor = np.mean([tensor.transpose(order) for order in orders], axis=0)
        basis = tensor_irreps(kind)[1].reshape(-1, tensor.size)
        np.testing.assert_allclose(basis.T @ (basis @ tensor.ravel()), tensor.ravel(), atol=1e-13)


def test_the_basis_does_not_depend_on_the_processor():
    """Weights in files refer to it, and OpenBLAS has kernels for each kind of processor."""
    program = (
        "import sys; import numpy as np; "
        "from objstress.symmetry.property_irreps import EXCHANGES, tensor_irreps; "
        "np.save(sys.argv[1], np.concatenate([tensor_irreps(k)[1].ravel() for k in EXCHANGES]))"
    )

    def basis(core, path):
        environment = os.environ | {"OPENBLAS_CORETYPE": core}
        subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=True)
        return np.load(path)

    with tempfile.TemporaryDirectory() as folder:
        old, new = (basis(core, Path(folder, f"{core}.npy")) for core in ("Nehalem", "Haswell"))
    np.testing.assert_allclose(old, new, atol=1e-14)


def test_descriptors_know_every_element():
    table = element_descriptors()
    assert table.shape == (LAST, len(NAMES))
    assert np.isfinite(table).all()
    assert np.abs(table.mean(axis=0)).max() < 0.2
    iron, cobalt, neon = table[25], table[26], table[9]
    assert np.linalg.norm(iron - cobalt) < 0.3 * np.linalg.norm(iron - neon)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("kind", EXCHANGES)
class TestConformance:
    def tolerance(self, dtype):
        return 1e-10 if dtype == torch.float64 else 1e-4

    def test_rotated_and_mirrored_crystals_give_rotated_tensors(self, kind, dtype):
        model, crystal = network(kind, dtype), skew()
        there = answer(model, crystal)
        for q in (TURN, -TURN):
            found = answer(model, rotated_structure(crystal, q))
            expected = rotated_tensor(there, q, batch=1)
            size = np.abs(expected).max()
            assert size > 1e-4
            np.testing.assert_allclose(found, expected, atol=self.tolerance(dtype) * size)

    def test_order_place_and_company_do_not_matter(self, kind, dtype):
        model, crystal = network(kind, dtype), skew()
        there = answer(model, crystal)
        order = [2, 0, 1]
        moved = Structure(
            crystal.lattice,
            [crystal[i].specie for i in order],
            crystal.frac_coords[order] + [0.21, 0.3, 0.77],
        )
        atoms = slice(len(crystal)) if kind == "born charges" else slice(1)
        found = answer(model, moved, rock_salt())[atoms]
        expected = there[order] if kind == "born charges" else there
        close = self.tolerance(dtype) * np.abs(there).max()
        np.testing.assert_allclose(found, expected, atol=close)

    def test_a_supercell_is_the_same_crystal(self, kind, dtype):
        model, crystal = network(kind, dtype), skew()
        there, twice = answer(model, crystal), answer(model, crystal * (2, 1, 1))
        expected = np.repeat(there, 2, axis=0) if kind == "born charges" else there
        np.testing.assert_allclose(
            twice, expected, atol=self.tolerance(dtype) * np.abs(there).max()
        )


class TestSymmetry:
    @pytest.mark.parametrize("kind", ["elastic", "dielectric", "piezoelectric"])
    @pytest.mark.parametrize("make", [zinc_blende, rock_salt, wurtzite])
    def test_untrained_tensors_have_the_form_of_the_point_group(self, kind, make):
        crystal = rotated_structure(make(), TURN)
        found = answer(network(kind), crystal)[0]
        form = TensorForm(PointGroup.from_structure(crystal), kind)
        assert np.abs(found - form.project(found)).max() <= 1e-10 * max(1, np.abs(found).max())

    def test_piezoelectricity_of_centrosymmetric_crystals_is_zero(self):
        model = network("piezoelectric")
        assert np.abs(answer(model, rock_salt())).max() < 1e-10
        assert np.abs(answer(model, zinc_blende())).max() > 1e-7

    def test_elastic_tensors_are_positive_definite(self):
        for seed in range(5):
            found = answer(network("elastic", seed=seed), skew(), rock_salt())
            for tensor in found:
                values = np.linalg.eigvalsh(tensor.reshape(9, 9))
                assert values[3:].min() > 0

    def test_born_charges_sum_to_zero(self):
        assert np.abs(answer(network("born charges"), wurtzite()).sum(axis=0)).max() < 1e-12

    @pytest.mark.parametrize("kind", EXCHANGES)
    def test_components_are_the_inverse_of_tensors(self, kind):
        model = network(kind)
        x = torch.randn(3, len(model.shift), dtype=torch.float64,
                        generator=torch.Generator().manual_seed(0))  # fmt: skip
        assert (model.components(model.tensors(x)) - x).abs().max() < 1e-10


@pytest.fixture(scope="module")
def few():
    """Cubic crystals whose constants follow from their lattice constants."""
    pairs = [("Mg", "O"), ("Ca", "O"), ("Sr", "O"), ("Na", "Cl"), ("K", "Cl"), ("Li", "F")]
    sizes = [4.2, 4.8, 5.2, 5.6, 6.3, 4.0]
    structures = [rock_salt(a, pair) for a, pair in zip(sizes, pairs, strict=True)]
    tensors = [voigt_to_tensor(cubic_stiffness(k, 0.4 * k, 0.5 * k))
               for k in (3e4 / np.array(sizes) ** 3)]  # fmt: skip
    return structures, tensors


SETTINGS = CrystalTensorSettings(kind="elastic", channels=4, kinds=4)


@pytest.fixture(scope="module")
def fitted(few):
    training = TensorTraining(members=2, epochs=150, decay=0.0)
    return fit_tensors(*few, SETTINGS, training, progress=False)


class TestFit:
    def test_it_learns(self, few, fitted):
        for found, tensor in zip(fitted.predict(few[0]), few[1], strict=True):
            assert found.unit == "GPa"
            np.testing.assert_allclose(found.tensor, tensor, atol=0.08 * tensor.max())
            form = TensorForm(PointGroup.from_structure(found.structure), "elastic")
            np.testing.assert_allclose(form.project(found.tensor), found.tensor, atol=1e-12)

    def test_distance_tells_strangers(self, few, fitted):
        known = fitted.predict(few[0])
        strange = fitted.predict([Structure(Lattice.cubic(2.5), ["W"], [[0, 0, 0]])])[0]
        assert max(p.distance for p in known) < 1e-3
        assert strange.distance > 1
        assert strange.deviation.max() > 0
        channels = fitted.members[0].settings.channels
        alone = TensorEnsemble(fitted.members[:1], fitted.known[:, :-channels])
        assert alone.predict(few[0][:1])[0].deviation is None

    def test_crystals_can_be_asked_with_it(self, few, fitted, tmp_path):
        fitted.save(tmp_path / "salts.tensor")
        plain = crystal_properties(few[0][0], tmp_path / "salts.tensor")
        turned = crystal_properties(rotated_structure(few[0][0], TURN), fitted)
        np.testing.assert_allclose(turned.stiffness_ieee, plain.stiffness_ieee, rtol=1e-4)
        assert plain.stiffness_ieee[0, 0] == pytest.approx(few[1][0][0, 0, 0, 0], rel=0.1)
        assert plain.deviation.shape == (6, 6)
        with pytest.raises(InputError, match="gives tensors and no energy"):
            equation_of_state(few[0][0], fitted)
        with pytest.raises(InputError, match="are of relaxed ions"):
            crystal_properties(few[0][0], fitted, ions="clamped")
        assert {"deviation_GPa", "distance"} <= set(plain.to_dict())

    def test_files(self, few, fitted, tmp_path):
        fitted.save(tmp_path / "some.tensor")
        again = load_tensors(tmp_path / "some.tensor")
        assert again.metadata == fitted.metadata
        left, right = fitted.predict(few[0][:2]), again.predict(few[0][:2])
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a.tensor, b.tensor)
            assert a.distance == b.distance

    def test_an_interrupted_fit_resumes_to_the_same_end(self, few, tmp_path, monkeypatch):
        training = TensorTraining(members=1, epochs=40)
        whole = fit_tensors(*few, SETTINGS, training, tmp_path / "whole", progress=False)
        real, calls = CrystalTensorNetwork.forward, []

        def stopped(self, graph):
            calls.append(0)
            if len(calls) == 25:
                raise RuntimeError("the plug is pulled")
            return real(self, graph)

        monkeypatch.setattr(CrystalTensorNetwork, "forward", stopped)
        with pytest.raises(RuntimeError, match="plug"):
            fit_tensors(*few, SETTINGS, training, tmp_path / "cut", progress=False)
        begun = len(calls)
        again = fit_tensors(*few, SETTINGS, training, tmp_path / "cut", progress=False)
        assert len(calls) - begun < 25  # one step an epoch: the first 20 are not done again
        for name, value in whole.members[0].state_dict().items():
            torch.testing.assert_close(value, again.members[0].state_dict()[name])

    def test_finished_members_are_not_fitted_again(self, few, tmp_path, monkeypatch):
        training = TensorTraining(members=2, epochs=20)
        steps, real = [], TensorFit.training_step

        def stopped(self, batch, index):
            steps.append(0)
            if len(steps) == 25:
                raise KeyboardInterrupt
            return real(self, batch, index)

        monkeypatch.setattr(TensorFit, "training_step", stopped)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fit_tensors(*few, SETTINGS, training, tmp_path / "cut", progress=False)
        begun = len(steps)
        again = fit_tensors(*few, SETTINGS, training, tmp_path / "cut", progress=False)
        assert len(steps) - begun == 20  # one step an epoch, of the second member alone
        straight = fit_tensors(*few, SETTINGS, training, tmp_path / "whole", progress=False)
        assert again.metadata["loss"] == pytest.approx(straight.metadata["loss"])
        for a, b in zip(again.members, straight.members, strict=True):
            for name, value in a.state_dict().items():
                torch.testing.assert_close(value, b.state_dict()[name])

    def test_what_cannot_be(self, few, tmp_path):
        structures, tensors = few
        with pytest.raises(InputError, match="give one of each"):
            fit_tensors(structures, tensors[:2], SETTINGS)
        unstable = voigt_to_tensor(cubic_stiffness(100.0, 120.0, 50.0))
        with pytest.raises(InputError, match="not positive definite"):
            fit_tensors(structures[:1], [unstable], SETTINGS)
        with pytest.raises(InputError, match="unknown kind of tensor 'magic'"):
            CrystalTensorSettings(kind="magic")
        with pytest.raises(InputError, match="need at least 4"):
            CrystalTensorSettings(edge_lmax=3)
        with pytest.raises(InputError, match=r"property tensors need O\(3\)"):
            CrystalTensorSettings(group="SO(3)")
        with pytest.raises(InputError, match="no such"):
            load_tensors(tmp_path / "none.tensor")

    def test_from_the_shell(self, few, tmp_path, shell):
        rows = [{"structure": s.as_dict(verbosity=0), "elastic_tensor_voigt":
                 tensor_to_voigt(t).tolist()} for s, t in zip(*few, strict=True)]  # fmt: skip
        data, out, cif = (tmp_path / name for name in ("rows.json", "a.tensor", "salt.cif"))
        data.write_text(json.dumps(rows))
        few[0][0].to(filename=str(cif))
        code, said, error = shell(
            "fit-tensors", data, "--out", out, "--members", 1, "--epochs", 2, "--json"
        )
        assert code == 0, error
        assert json.loads(said)["crystals"] == len(rows)
        assert not list((tmp_path / "a.tensor.fit").rglob("*.ckpt"))
        code, said, error = shell("properties", cif, "--model", out, "--json")
        assert code == 0, error
        assert json.loads(said)[str(cif)]["model"] == "a.tensor"
        for change, message in (
            ({"kind": "dielectric"}, "a tensor of shape (6, 6) where (3, 3) was expected"),
            ({"key": "elastic_tensor"}, "the nearest key is 'elastic_tensor_voigt'"),
            ({"kind": "magic"}, "unknown kind of tensor 'magic'"),
        ):
            options = [x for k, v in change.items() for x in (f"--{k}", v)]
            code, _, error = shell("fit-tensors", data, "--out", out, *options)
            assert code == 2
            assert message in error

    def test_a_law_file_is_refused(self, fitted, tmp_path, quick_law):
        quick_law.save(tmp_path / "some.law")
        with pytest.raises(InputError, match="not an ensemble"):
            load_tensors(tmp_path / "some.law")
        assert isinstance(fitted, TensorEnsemble)
