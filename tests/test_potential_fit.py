"""Fitting a potential: it learns, resumes where it stopped, and reports its errors."""

import csv
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from torch_geometric.data import Batch

from objstress import InputError
from objstress.errors import ConvergenceError
from objstress.graphs.atoms import atom_graph
from objstress.io.run_folder import resume_from
from objstress.models.potential import Potential, PotentialSettings, load_potential
from objstress.training.potential.data import prepare
from objstress.training.potential.evaluate import evaluate_potential
from objstress.training.potential.fit import fit_fingerprint, fit_potential, fit_weights
from objstress.training.potential.frames import Frame, labelled_graphs
from objstress.training.potential.module import PotentialFit
from objstress.training.potential.settings import (
    BalancingSettings,
    FitSettings,
    ModelSettings,
    OptimiserSettings,
    read_settings,
    settings_from,
    settings_text,
)
from objstress.training.trainer import EpochBatches

SMALL = {
    "channels": 4,
    "layers": 1,
    "hidden_lmax": 0,
    "edge_lmax": 1,
    "correlation": 2,
    "cutoff": 3.0,
    "bessel": 4,
    "radial": 2,
    "readout": 4,
}


def springs(k):
    """Water with three springs, fixed charges, and an energy of -10 eV for O, -1 for H."""
    rng = np.random.default_rng(k)
    atoms = molecule("H2O")
    atoms.positions += 0.06 * rng.normal(size=(3, 3))
    energy, forces, r = -12.0, np.zeros((3, 3)), atoms.positions
    for i, j, d in ((0, 1, 0.97), (0, 2, 0.97), (1, 2, 1.52)):
        v = r[j] - r[i]
        stretch = np.linalg.norm(v) - d
        energy += 15 * stretch**2
        pull = 30 * stretch * v / np.linalg.norm(v)
        forces[i] += pull
        forces[j] -= pull
    dipole = np.array([-0.6, 0.3, 0.3]) @ r
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, dipole=dipole)
    atoms.info["group"] = "even" if k % 2 == 0 else "odd"
    return atoms


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    """Of 24 frames every third has no dipole, every fourth no forces."""
    frames = [springs(k) for k in range(24)]
    for k, atoms in enumerate(frames):
        if k % 3 == 2:
            del atoms.calc.results["dipole"]
        if k % 4 == 3:
            del atoms.calc.results["forces"]
    path = tmp_path_factory.mktemp("water") / "water.extxyz"
    write(path, frames)
    return path


@pytest.fixture(scope="module")
def copper(tmp_path_factory):
    frames = []
    for k in range(32):
        rng = np.random.default_rng(k)
        atoms = bulk("Cu", cubic=True)
        strain = 0.015 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        atoms.positions += 0.03 * rng.normal(size=(4, 3))
        atoms.calc = EMT()
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    path = tmp_path_factory.mktemp("copper") / "copper.extxyz"
    write(path, frames)
    return path


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "untrained.potential"
    Potential(PotentialSettings(elements=(1, 8), **SMALL)).save(path)
    return path


def settings(data, *targets, **parts):
    training = {"epochs": 3, "batch_size": 6, "seed": 1} | parts.pop("training", {})
    return settings_from(
        {
            "data": str(data),
            "keys": {t: t for t in targets or ("energy", "forces", "dipole")},
            "validation": 0.25,
            "model": SMALL | parts.pop("model", {}),
            "training": training,
            **parts,
        }
    )


def rows(folder):
    with open(folder / "log.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def weights(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def module_of(given, folder):
    """A module outside a trainer, its networks made."""
    module = PotentialFit(prepare(given), given, folder)
    module.configure_model()
    return module


def test_it_learns_whatever_labels_there_are(water, tmp_path):
    given = settings(
        water,
        training={"epochs": 50, "learning_rate": 0.03, "average": 0.9},
    )
    said = []
    potential = fit_potential(given, tmp_path, progress=False, say=said.append)
    assert said == [
        "18 training frames (18 with energy, 14 with forces, 12 with dipole), 6 to validate"
    ]
    found = potential.metadata["validation"]
    assert found["forces"]["rmse"] < 0.15 * potential.metadata["scales"]["forces"]
    assert found["energy"]["rmse"] < 0.02
    assert found["dipole"]["rmse"] < 0.02
    assert found["dipole"]["labels"] < found["energy"]["labels"]
    assert potential.dtype == torch.float64
    assert 0 < potential.metadata["float32_difference"] < 1e-4
    log = rows(tmp_path)
    assert [row["epoch"] for row in log] == list(range(50))
    assert log[-1]["loss_forces"] < 0.1 * log[0]["loss_forces"]
    # What is kept is the best of the log, and has the errors that the log says.
    best = min(log, key=lambda row: row["valid_loss"])
    assert potential.metadata["best_epoch"] == best["epoch"]
    assert found["forces"]["rmse"] == pytest.approx(best["rmse_forces"], rel=1e-4)
    # Of energies around 10 eV float32 keeps a millionth.
    assert found["energy"]["rmse"] == pytest.approx(best["rmse_energy"], abs=1e-6)
    # Saved and loaded it is the same.
    potential.save(tmp_path / "w.potential")
    again = load_potential(tmp_path / "w.potential")
    assert again.metadata == potential.metadata
    assert evaluate_potential(again, water) == evaluate_potential(potential, water)


def test_stress_is_learned_with_forces(copper, tmp_path):
    given = settings(
        copper,
        "energy",
        "forces",
        "stress",
        model={"cutoff": 4.5},
        training={"epochs": 20, "learning_rate": 0.03, "average": 0.9},
        balancing={"weights": {"forces": 1, "stress": 1}},
    )
    potential = fit_potential(given, tmp_path, progress=False)
    found = potential.metadata["validation"]
    assert found["stress"]["rmse"] < 0.4 * potential.metadata["scales"]["stress"]
    log = rows(tmp_path)
    assert log[-1]["loss_stress"] < 0.1 * log[0]["loss_stress"]
    assert found["stress"]["unit"] == "eV/Angstrom^3"


def test_energies_keep_their_references(water):
    given = settings(water, "energy", references={"O": -10.0, "H": -1.0}, training={"epochs": 1})
    potential = fit_potential(given, progress=False)
    assert potential.references.tolist() == [-1.0, -10.0]
    alone = atom_graph(molecule("H"), potential.settings.elements, 3.0)
    assert float(potential(alone, ["energy"])["energy"]) == -1.0
    fitted = prepare(settings(water, "energy")).references
    assert fitted @ [2.0, 1.0] == pytest.approx(-12, abs=0.5)


def test_isolated_atoms_in_the_data_set_their_references(water, tmp_path):
    alone = [molecule(s) for s in ("H", "O")]
    for atoms, energy in zip(alone, (-1.0, -10.0), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    given = settings(water, "energy", training={"epochs": 2})
    frames = read(given.data, ":")
    write(tmp_path / "both.extxyz", [alone[0], *frames, alone[1]])
    both = given.model_copy(update={"data": str(tmp_path / "both.extxyz")})
    lines = []
    potential = fit_potential(both, progress=False, say=lines.append)
    assert any("those of the isolated atoms in the data (H -1 eV, O -10 eV)" in x for x in lines)
    assert potential.references.tolist() == [-1.0, -10.0]
    assert potential.metadata["references"] == "isolated atoms"
    # The same frames are left, and so is the rest of the fit.
    explicit = given.model_copy(update={"references": {"O": -10.0, "H": -1.0}})
    other = fit_potential(explicit, progress=False)
    for a, b in zip(potential.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    # Of one element alone: the other is fitted.
    write(tmp_path / "one.extxyz", [alone[0], *frames])
    one = given.model_copy(update={"data": str(tmp_path / "one.extxyz")})
    references = fit_potential(one, progress=False).references
    assert float(references[0]) == -1.0
    assert abs(float(references[1]) + 10) < 1.5


def test_fitted_references_follow_what_the_network_leaves(water, tmp_path, monkeypatch):
    """After a refit the energies that are left have no part along the compositions."""
    module = module_of(settings(water, training={"dtype": "float64"}), tmp_path)
    monkeypatch.setattr(module, "_total", lambda x: x)
    module.frames.train.append(Frame(molecule("H2"), {"energy": np.array(-2.5)}, "", "last"))
    batch = Batch.from_data_list(module._graphs(module.frames.train))
    numbers = torch.stack([(batch.species == z).double() for z in (0, 1)], 1)
    part = torch.zeros(len(batch.ptr) - 1, 2, dtype=torch.float64).index_add(
        0, batch.batch, numbers
    )
    part = part / part.sum(1, keepdim=True)

    def left():
        return module._gaps(module.potential(batch, module.tasks), batch)[0]

    module.on_train_epoch_start()
    gap, known = left()
    assert (part.T @ gap).norm() > 1e-3
    module._remember_energies(gap, known, batch)
    module._refit_references()
    assert (part.T @ left()[0]).norm() < 1e-10
    assert torch.equal(module.potential.references, module.average.references)


@pytest.mark.parametrize("method", ["fixed", "gradnorm"])
def test_an_interrupted_run_resumes_bit_for_bit(water, tmp_path, monkeypatch, method):
    more = {"reference_batches": 2, "every": 1} if method == "gradnorm" else {}
    given = settings(water, training={"epochs": 5}, balancing={"method": method, **more})
    straight = fit_potential(given, tmp_path / "a", progress=False)
    original = PotentialFit.validation_step

    def interrupted(self, batch, index):
        original(self, batch, index)
        if self.trainer.current_epoch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(PotentialFit, "validation_step", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit_potential(given, tmp_path / "b", progress=False)
    monkeypatch.setattr(PotentialFit, "validation_step", original)
    resumed = fit_potential(given, tmp_path / "b", progress=False)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    a, b = rows(tmp_path / "a"), rows(tmp_path / "b")
    assert len(a) == len(b) == 5
    for one, other in zip(a, b, strict=True):
        assert one | {"minutes": 0} == other | {"minutes": 0}
    # The same call once more has nothing to do.
    steps = rows(tmp_path / "b")
    again = fit_potential(given, tmp_path / "b", progress=False)
    assert rows(tmp_path / "b") == steps
    assert torch.equal(again.references, resumed.references)


def test_other_labels_or_settings_start_over(water, tmp_path):
    said = []
    fit_potential(settings(water), tmp_path, progress=False, say=said.append)
    assert not any("starting over" in line for line in said)
    other = settings(water, training={"seed": 2})
    fit_potential(other, tmp_path, progress=False, say=said.append)
    assert [row["epoch"] for row in rows(tmp_path)] == [0, 1, 2]
    assert ["starting over" in line for line in said] == [False, False, True]
    # More epochs continue the same run.
    first = rows(tmp_path)
    longer = settings(water, training={"seed": 2, "epochs": 4})
    fit_potential(longer, tmp_path, progress=False, say=said.append)
    assert rows(tmp_path)[:3] == first
    assert len(rows(tmp_path)) == 4
    assert len(said) == 4


@pytest.mark.parametrize(
    "other",
    [
        {"training": {"learning_rate": 0.011}},
        {"training": {"batch_size": 7}},
        {"balancing": {"weights": {"forces": 2.0}}},
    ],
)
def test_each_setting_makes_another_run(water, tmp_path, other):
    """The same data in the same parts: a seed would have changed those, too."""
    given, changed = settings(water), settings(water, **other)
    assert given != changed
    data = prepare(given)
    assert [len(f.atoms) for f in prepare(changed).train] == [len(f.atoms) for f in data.train]
    resume_from(tmp_path, fit_fingerprint(data, given))
    (tmp_path / "last.ckpt").touch()
    assert resume_from(tmp_path, fit_fingerprint(data, given)) == tmp_path / "last.ckpt"
    assert resume_from(tmp_path, fit_fingerprint(data, changed)) is None


def test_charges_and_periodic_axes_are_data_too(water, tmp_path):
    given = settings(water)
    data = prepare(given)
    resume_from(tmp_path, fit_fingerprint(data, given))
    (tmp_path / "last.ckpt").touch()
    assert resume_from(tmp_path, fit_fingerprint(data, given)) == tmp_path / "last.ckpt"
    data.train[0].atoms.info["charge"] = 1
    assert resume_from(tmp_path, fit_fingerprint(data, given)) is None
    (tmp_path / "last.ckpt").touch()
    data.train[0].atoms.pbc = [True, False, False]
    assert resume_from(tmp_path, fit_fingerprint(data, given)) is None


def test_a_charged_cell_without_dipole_trains_and_tests_with_the_others(water, tmp_path):
    frames = read(water, ":")
    for atoms in frames[2::3]:  # those that have no dipole
        atoms.set_cell([8, 8, 8])
        atoms.pbc = True
        atoms.info["charge"] = 1
    path = tmp_path / "cells.extxyz"
    write(path, frames)
    potential = fit_potential(settings(path, training={"epochs": 1}), progress=False)
    found = evaluate_potential(potential, path)["targets"]
    assert (found["energy"]["labels"], found["dipole"]["labels"]) == (24, 16)


@pytest.mark.parametrize("there", [0, 1])
def test_gpus_that_are_not_there_are_refused(water, tmp_path, monkeypatch, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    given = settings(water, training={"accelerator": "gpu", "processes": 1 + there})
    with pytest.raises(InputError, match=f"finds {there}; set training.accelerator to cpu"):
        fit_potential(given, tmp_path, progress=False)
    # What lies in the folder is left alone.
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf])
def test_a_cutoff_is_checked_before_neighbours_are_counted(water, cutoff):
    with pytest.raises(InputError, match=r"cutoff = .*positive, finite"):
        prepare(settings(water, model={"cutoff": cutoff}))


def test_two_processes_do_what_one_does(water, tmp_path):
    """The same batches shared by two: labels missing on one side, norms and losses of both."""
    folders = []
    for processes in (1, 2):
        given = settings(
            water,
            training={
                "epochs": 2,
                "dtype": "float64",
                "processes": processes,
                "accelerator": "cpu",
            },
            balancing={"method": "gradnorm", "reference_batches": 1, "every": 1},
        )
        folders.append(tmp_path / str(processes))
        fit_weights(prepare(given), given, folders[-1], progress=False)
    one, two = (weights(f) for f in folders)
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-9, atol=1e-10), name
    assert not torch.equal(one["balancer.weights"], torch.ones(3, dtype=torch.float64))
    for a, b in zip(*(rows(f) for f in folders), strict=True):
        for key in set(a) - {"minutes"}:
            assert a[key] == pytest.approx(b[key], rel=1e-8), key


def test_batches_cover_every_frame_once_whatever_the_processes():
    for number, size, processes in ((17, 4, 1), (17, 4, 3), (9, 2, 2), (3, 8, 2)):
        shares = [EpochBatches(number, size, 0, rank, processes) for rank in range(processes)]
        whole = EpochBatches(number, size, 0, 0, 1)
        orders = []
        for epoch in (0, 1):
            for sampler in (*shares, whole):
                sampler.set_epoch(epoch)
            lists = [list(s) for s in shares]
            assert sorted(k for one in lists for batch in one for k in batch) == list(range(number))
            assert all(batch for one in lists for batch in one)
            assert len({len(one) for one in lists}) == 1
            assert max(len(b) for b in whole) <= size
            orders.append(list(whole))
        assert number == 3 or orders[0] != orders[1]


def test_losses_are_means_over_the_labels_there_are(water, tmp_path):
    given = settings(water, training={"dtype": "float64"})
    module = module_of(given, tmp_path)
    data = module.frames
    graphs = labelled_graphs(
        data.train[:5],
        data.potential.elements,
        data.potential.cutoff,
        module.tasks,
        references=data.references,
    )
    batch = Batch.from_data_list(graphs)
    found = module.potential(batch, module.tasks)
    sums, counts = module._measure(module._gaps(found, batch))
    mean = dict(zip(module.tasks, (sums / counts).tolist(), strict=True))
    expected = {t: [] for t in module.tasks}
    for k, frame in enumerate(data.train[:5]):
        alone = module.potential(Batch.from_data_list([graphs[k]]), module.tasks)
        label = dict(frame.labels)
        label["energy"] = label["energy"] - data.references[graphs[k].species].sum()
        for task in frame.labels:
            gap = alone[task].detach().numpy().reshape(np.shape(label[task])) - label[task]
            size = 1 if task == "forces" else 3
            expected[task].append(np.ravel(gap / size / data.scales[task]))
    for task, gaps in expected.items():
        assert mean[task] == pytest.approx(np.mean(np.concatenate(gaps) ** 2))
    # Without labels of a task nothing is learned for it, and nothing breaks.
    batch.target_dipole[:] = torch.nan
    sums, counts = module._measure(module._gaps(module.potential(batch, module.tasks), batch))
    assert counts[module.tasks.index("dipole")] == 0
    sums[module.tasks.index("dipole")].backward()
    for p in module.potential.parameters():
        assert p.grad is None or not p.grad.any()


def test_molecules_and_crystals_share_a_batch(water, copper, tmp_path):
    path = tmp_path / "both.extxyz"
    write(path, [*read(water, ":"), *read(copper, ":")])
    given = settings(path, "energy", "forces", "stress", "dipole", training={"epochs": 1})
    potential = fit_potential(given, progress=False)
    assert potential.settings.elements == (1, 8, 29)
    assert set(potential.metadata["validation"]) == {"energy", "forces", "stress", "dipole"}


def test_gradient_norms_are_those_of_each_loss(water, tmp_path, monkeypatch):
    """|grad L_t| at the shared layer, against one backward pass through each loss alone."""
    given = settings(
        water,
        training={"epochs": 1, "batch_size": 18, "dtype": "float64"},
        balancing={"method": "gradnorm", "every": 1},
    )
    seen = []
    original = PotentialFit._norms

    def watched(self, losses, present):
        norms = original(self, losses, present)
        layer = self.potential.shared.weight
        direct = [torch.autograd.grad(x, layer, retain_graph=True)[0].norm() for x in losses]
        seen.append((norms, torch.stack(direct), norms.requires_grad))
        return norms

    monkeypatch.setattr(PotentialFit, "_norms", watched)
    fit_potential(given, tmp_path, progress=False)
    assert len(seen) == 1
    norms, direct, graph = seen[0]
    assert torch.allclose(norms, direct, rtol=1e-12)
    assert (norms > 0).all()
    assert not graph


@pytest.mark.parametrize("method", ["fixed", "two-stage", "softadapt", "gradnorm"])
def test_every_balancing_is_logged(water, tmp_path, method):
    given = settings(
        water,
        training={"epochs": 4, "batch_size": 9},
        balancing={
            "method": method,
            "weights": {"energy": 1, "forces": 4},
            "later": {"energy": 4},
            "window": 2,
            "every": 1,
            "reference_batches": 2,
        },
    )
    fit_potential(given, tmp_path, progress=False)
    log = rows(tmp_path)
    w = np.array([[row[f"weight_{t}"] for t in given.tasks] for row in log])
    assert (w > 0).all()
    assert w.sum(1) == pytest.approx(3)
    if method == "fixed":
        assert np.allclose(w, [0.5, 2.0, 0.5])
    elif method == "two-stage":
        assert np.allclose(w[0], [0.5, 2.0, 0.5])
        assert np.allclose(w[-1], [2.0, 0.5, 0.5])
    else:
        assert np.abs(w[-1] - [0.5, 2.0, 0.5]).max() > 1e-3


def test_the_average_and_the_rate_are_their_formulas(water, tmp_path, monkeypatch):
    history, rates = [], []
    original = PotentialFit.on_train_batch_end

    def watched(self, *arguments):
        original(self, *arguments)
        history.append([p.detach().clone() for p in self.potential.parameters()])
        rates.append(self.optimizers().param_groups[0]["lr"])
        self.seen = [p.detach().clone() for p in self.average.parameters()]
        history[-1].append(self.seen)

    monkeypatch.setattr(PotentialFit, "on_train_batch_end", watched)
    given = settings(
        water,
        training={"epochs": 4, "average": 0.5, "warm_up": 0.25, "final_rate": 0.1,
                  "learning_rate": 0.02, "dtype": "float64"},
    )  # fmt: skip
    start = module_of(given, tmp_path).average.parameters()
    average = [p.detach().clone() for p in start]
    fit_potential(given, tmp_path, progress=False)
    for step, (*now, kept) in enumerate(history, 1):
        decay = min(0.5, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * p for a, p in zip(average, now, strict=True)]
        for a, b in zip(average, kept, strict=True):
            assert torch.allclose(a, b, rtol=1e-12)
    assert len(rates) == 12
    assert rates[2] == pytest.approx(0.02 * (2.5 / 12) / 0.25)
    x = (11.5 / 12 - 0.25) / 0.75
    assert rates[-1] == pytest.approx(0.02 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * x))))


def test_time_is_a_limit(water, tmp_path, monkeypatch):
    """By a clock that goes on by 20 ms whenever it is read, however busy the machine is."""
    clock = SimpleNamespace(monotonic=itertools.count(0.0, 0.02).__next__)
    monkeypatch.setattr("objstress.training.potential.module.time", clock)
    given = settings(water, training={"epochs": 100000, "max_minutes": 0.02})
    potential = fit_potential(given, tmp_path, progress=False)
    assert 0.02 <= potential.metadata["minutes"] < 0.023
    assert 1 <= potential.metadata["epochs"] < 60
    assert rows(tmp_path)[-1]["learning_rate"] == pytest.approx(0.01 * 0.02, rel=0.3)
    # Spent time stays spent.
    before = rows(tmp_path)
    fit_potential(given, tmp_path, progress=False)
    assert rows(tmp_path) == before
    # With more of it the run continues, in the middle of an epoch if that is where it was.
    more = settings(water, training={"epochs": 100000, "max_minutes": 0.03})
    longer = fit_potential(more, tmp_path, progress=False)
    assert longer.metadata["epochs"] > potential.metadata["epochs"]
    assert rows(tmp_path)[:-1][: len(before) - 1] == before[:-1]


def test_elements_without_any_label_are_refused(water, tmp_path):
    given = settings(water, "energy", model={"elements": ["O"]})
    with pytest.raises(InputError, match=r"model\.elements lacks H"):
        prepare(given)
    other = tmp_path / "copper.extxyz"
    atoms = bulk("Cu")
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0)
    write(other, atoms)
    with pytest.raises(InputError, match="Cu occurs in validation frames only"):
        prepare(settings(water, "energy").model_copy(update={"validation": str(other)}))


def test_patience_ends_a_training_that_gets_no_better(water, tmp_path):
    given = settings(water, training={"epochs": 50, "patience": 2, "learning_rate": 1e-12})
    fit_potential(given, tmp_path, progress=False)
    epochs = rows(tmp_path)
    assert len(epochs) < 10
    fit_potential(given, tmp_path, progress=False)
    assert rows(tmp_path) == epochs


def test_a_loss_that_explodes_is_an_error(water, tmp_path):
    given = settings(water, training={"learning_rate": 1e12, "clip": None, "warm_up": 0.0})
    with pytest.raises(ConvergenceError, match="lower learning_rate"):
        fit_potential(given, tmp_path, progress=False)


def test_errors_are_what_they_say(water, tmp_path):
    potential = fit_potential(settings(water, training={"epochs": 1}), progress=False)
    found = evaluate_potential(potential, water, batch_size=5)
    gaps = {"energy": [], "forces": [], "dipole": []}
    frames = read(water, ":")
    for atoms in frames:
        graph = atom_graph(atoms, potential.settings.elements, potential.settings.cutoff)
        for task in gaps:
            if task in atoms.calc.results:
                value = potential(graph, [task])[task].numpy()
                gaps[task].append(np.ravel(value - atoms.calc.results[task]))
    total = np.concatenate(gaps["energy"])
    energy = found["targets"]["energy"]
    assert energy["unit"] == "eV/atom"
    assert energy["rmse"] == pytest.approx(np.sqrt(np.mean((total / 3) ** 2)))
    assert energy["rmse_total"] == pytest.approx(np.sqrt(np.mean(total**2)))
    for task in ("forces", "dipole"):
        flat = np.concatenate(gaps[task])
        assert found["targets"][task]["rmse"] == pytest.approx(np.sqrt(np.mean(flat**2)))
        assert found["targets"][task]["mae"] == pytest.approx(np.mean(np.abs(flat)))
        assert found["targets"][task]["labels"] == len(gaps[task])
    assert found["frames"] == 24
    assert {k: v["frames"] for k, v in found["groups"].items()} == {"even": 12, "odd": 12}
    parts = [found["groups"][g]["targets"]["energy"]["rmse"] ** 2 for g in ("even", "odd")]
    assert np.mean(parts) == pytest.approx(energy["rmse"] ** 2)
    frames[0].info["alpha"] = np.eye(3)
    write(tmp_path / "a.extxyz", frames[:1])
    with pytest.raises(InputError, match="no polarizability"):
        evaluate_potential(potential, tmp_path / "a.extxyz", {"polarizability": "alpha"})


def test_the_hand_of_a_molecule_is_learned(tmp_path):
    """A pseudoscalar label, the sign of the hand: O(3) says the opposite of the mirror image."""
    frames = []
    for k in range(16):
        atoms = molecule("H2O2")
        hand = 1 if k % 2 else -1
        atoms.positions += 0.02 * np.random.default_rng(k).normal(size=(4, 3))
        atoms.positions[:, 2] *= hand
        atoms.info["hand"] = float(hand)
        frames.append(atoms)
    path = tmp_path / "hands.extxyz"
    write(path, frames)
    given = settings_from(
        {
            "data": str(path),
            "keys": {"pseudoscalar": "hand"},
            "validation": 0.25,
            "model": SMALL | {"layers": 2, "hidden_lmax": 1, "correlation": 3},
            "training": {"epochs": 15, "learning_rate": 0.02},
        }
    )
    potential = fit_potential(given, progress=False)
    found = evaluate_potential(potential, path)["targets"]["pseudoscalar"]
    assert found["right_sign"] == 1.0


def test_printed_settings_are_the_defaults():
    text = settings_text()
    assert settings_from(yaml.safe_load(text)) == FitSettings(data="train.extxyz")
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    keys = [line for line in text.splitlines() if ":" in line and not line.lstrip().startswith("#")]
    assert len(comments) >= len(keys) > 30
    assert max(len(line) for line in text.splitlines()) <= 100


def test_every_key_of_the_settings_is_described():
    for model in (FitSettings, ModelSettings, BalancingSettings, OptimiserSettings):
        for name, field in model.model_json_schema()["properties"].items():
            assert field["description"].endswith("."), name
            assert f"    {name}: {field['description'][:20]}" in model.__doc__


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"dta": "a"}, "unknown key 'dta'; did you mean 'data'"),
        ({"data": "a", "model": {"chanels": 3}}, "'model.chanels'; did you mean 'channels'"),
        ({"data": "a", "training": {"epochs": 0}}, "training.epochs: .*greater than 0"),
        ({"data": "a", "keys": {"force": "f"}}, "did you mean 'forces'"),
        ({"data": "a", "balancing": {"weights": {"dipole": 1}}}, "'dipole' is not fitted"),
        ({"data": "a", "validation": 1.5}, "validation: 1.5 is neither a fraction"),
        ({"data": "a", "balancing": {"method": "grad-norm"}}, "balancing.method: .*'gradnorm'"),
    ],
)
def test_settings_that_cannot_be(tmp_path, content, message):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=message) as refusal:
        read_settings(path)
    assert "\n" not in str(refusal.value)


def test_the_printed_settings_train_once_the_data_are_named(water, tmp_path, shell):
    code, content, _ = shell("settings", "potential")
    assert code == 0
    content = content.replace("train.extxyz", str(water))
    for name, value in {**SMALL, "epochs": 2}.items():
        lines = content.splitlines(keepends=True)
        content = "".join(
            x.split(":")[0] + f": {value}\n" if x.strip().startswith(f"{name}:") else x
            for x in lines
        )
    (tmp_path / "water.yaml").write_text(content)
    code, out, error = shell("fit-potential", tmp_path / "water.yaml", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["potential"] == str(tmp_path / "water.potential")
    assert answer["epochs"] == 2
    assert "training frames" in error
    assert {p.name for p in (tmp_path / "water.potential.train").iterdir()} == {"log.csv"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["evaluate", "{model}", "{data}", "--keys", "forces=forces"], 0, "meV/Angstrom"),
        (["evaluate", "{model}", "{data}", "--keys", "energy=enrgy"], 2, "in the file is 'energy'"),
        (["evaluate", "{model}", "{data}", "--keys", "energy"], 2, "not of the form target=key"),
        (["evaluate", "nowhere.potential", "{data}"], 2, "no such potential file"),
        (["fit-potential", "nowhere.yaml"], 2, "no such file of settings"),
    ],
)
def test_commands_answer_in_one_line_what_they_refuse(
    water, untrained, shell, arguments, code, said
):
    names = {"model": untrained, "data": water}
    found, out, error = shell(*(a.format(**names) for a in arguments))
    assert found == code
    assert said in (error if code else out)
    if code:
        assert out == ""
        assert len([x for x in error.splitlines() if x.startswith("error:")]) == 1
