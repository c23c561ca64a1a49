"""Dynamics: calculator, neighbour lists with a skin, runs that resume, replicas in one batch."""

import json
import subprocess
import sys
import time
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.constraints import FixAtoms
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from torch import nn

from objstress.calculators.potential import PotentialCalculator
from objstress.errors import ConvergenceError, InputError
from objstress.graphs.atoms import atom_graph
from objstress.graphs.verlet_list import VerletList
from objstress.md.integrators import (
    Langevin,
    degrees_of_freedom,
    draw_momenta,
    replica_generator,
    without_drift,
)
from objstress.md.replicas import ReplicasBlownUp, run_replicas
from objstress.md.run import run_md
from objstress.models.potential import Potential, PotentialSettings
from objstress.nn.radial import smooth_cutoff

# Depth (eV), width (1 / Angstrom) and length (Angstrom) of Morse pairs.
MORSE = {(1, 1): (1.5, 1.5, 1.51), (1, 8): (4.6, 2.2, 0.96), (29, 29): (0.343, 1.36, 2.866)}
CHARGE = {1: 0.35, 8: -0.7, 29: 0.0}
FS = units.fs


class Pairs(nn.Module):
    """Morse pairs with the interface of `Potential`: a surface on which nothing blows up."""

    def __init__(self, elements, cutoff, heads=("energy", "dipole", "polarizability")):
        super().__init__()
        self.settings = SimpleNamespace(elements=elements, cutoff=cutoff, heads=heads)
        self.dtype = torch.float64
        self.register_buffer("references", torch.zeros(len(elements), dtype=self.dtype))
        table = torch.zeros(3, len(elements), len(elements), dtype=self.dtype)
        for i, a in enumerate(elements):
            for j, b in enumerate(elements):
                table[:, i, j] = torch.tensor(MORSE.get((min(a, b), max(a, b)), (0, 1, 1)))
        self.register_buffer("table", table)
        self.register_buffer("charges", torch.tensor([CHARGE[z] for z in elements]).double())

    def forward(self, graph, outputs):
        (j, i), n = graph.edge_index, len(graph.batch)

        def total(x):
            return x.new_zeros(graph.num_graphs, *x.shape[1:]).index_add(0, graph.batch, x)

        with torch.enable_grad():
            shift = torch.einsum("ei,eij->ej", graph.shift, graph.cell[graph.batch[i]])
            d = (graph.pos[j] + shift - graph.pos[i]).requires_grad_()
            r = d.norm(dim=1)
            depth, width, length = self.table[:, graph.species[i], graph.species[j]]
            well = (1 - torch.exp(-width * (r - length))) ** 2 - 1
            pair = 0.5 * depth * well * smooth_cutoff(r, self.settings.cutoff)
            (g,) = torch.autograd.grad(pair.sum(), d)
        pair, d, r = pair.detach(), d.detach(), r.detach()
        energies = pair.new_zeros(n).index_add(0, i, pair)
        forces = g.new_zeros(n, 3).index_add(0, i, g).index_add(0, j, -g)
        virial = g.new_zeros(n, 3, 3).index_add(0, i, d[:, :, None] * g[:, None])
        smooth = smooth_cutoff(r, self.settings.cutoff)[:, None, None]
        alpha = g.new_zeros(n, 3, 3).index_add(0, i, smooth * d[:, :, None] * d[:, None])
        q = self.charges[graph.species]
        found = {
            "energies": energies,
            "energy": total(energies),
            "forces": forces,
            "stress": total(virial) / graph.volume[:, None, None],
            "charges": q,
            "dipole": total(q[:, None] * graph.pos),
            "polarizability": total(alpha),
        }
        return {name: found[name] for name in outputs}


@pytest.fixture
def water():
    atoms = molecule("H2O")
    atoms.positions += [0.3, -0.2, 0.1]
    return atoms


WATER = Pairs((1, 8), 4.0)
COPPER = Pairs((29,), 5.0, heads=("energy",))


def network(heads=("energy", "dipole", "polarizability"), dtype=torch.float64, **changes):
    settings = dict(
        elements=(1, 8, 14), heads=heads, cutoff=3.5, channels=4, layers=2, edge_lmax=2,
        correlation=2, neighbours=4.0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        potential = Potential(PotentialSettings(**settings | changes), dtype).eval()
    potential.scale *= 0.05  # forces as of atoms that vibrate
    return potential


def silicon(seed=0):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * np.arange(9).reshape(3, 3) / 9), True)
    return atoms


def copper(cells=2, a=3.7):
    return bulk("Cu", "fcc", a=a, cubic=True) * cells


# -- the calculator --------------------------------------------------------------------------


def test_forces_and_stress_are_derivatives_through_ase():
    atoms = silicon()
    atoms.calc = PotentialCalculator(network())
    forces, stress = atoms.get_forces(), atoms.get_stress()
    assert np.abs(forces).max() > 1e-3
    errors = calculate_numerical_forces(atoms, 1e-4) - forces
    assert np.abs(errors).max() < 1e-7 * np.abs(forces).max()
    errors = calculate_numerical_stress(atoms, 1e-5) - stress
    assert np.abs(errors).max() < 1e-7 * np.abs(stress).max()
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_dipole_and_polarizability_through_ase(water):
    potential = network()
    water.calc = PotentialCalculator(potential)
    graph = atom_graph(water, (1, 8, 14), 3.5)
    found = potential.eval()(graph, ["dipole", "polarizability", "charges"])
    assert np.abs(water.get_dipole_moment()).max() > 1e-4
    dipole, alpha = found["dipole"][0].numpy(), found["polarizability"][0].numpy()
    np.testing.assert_allclose(water.get_dipole_moment(), dipole, rtol=0, atol=1e-14)
    got = water.calc.get_property("polarizability", water)
    np.testing.assert_allclose(got, alpha, rtol=0, atol=1e-14)
    np.testing.assert_allclose(water.get_charges(), found["charges"].numpy(), rtol=0, atol=1e-14)


def test_only_what_the_heads_give(water):
    water.calc = PotentialCalculator(network(heads=("energy",)))
    water.get_forces()
    with pytest.raises(PropertyNotImplementedError):
        water.get_dipole_moment()
    with pytest.raises(PropertyNotImplementedError):
        water.get_stress()  # no volume
    water.calc = PotentialCalculator(network(heads=("dipole",)))
    water.get_dipole_moment()
    with pytest.raises(PropertyNotImplementedError):
        water.get_potential_energy()


def test_total_charge_counts(water):
    water.calc = PotentialCalculator(network())
    assert water.get_charges().sum() == pytest.approx(0.0, abs=1e-14)
    water.info["charge"] = 1
    assert water.get_charges().sum() == pytest.approx(1.0)


def test_from_a_file_and_untouched_by_training(water, tmp_path):
    potential = network()
    potential.save(tmp_path / "w.potential")
    water.calc = PotentialCalculator(tmp_path / "w.potential")
    energy = water.get_potential_energy()
    water.calc = PotentialCalculator(potential)
    assert water.get_potential_energy() == energy
    with torch.no_grad():
        potential.references += 1.0
    water.positions[0, 0] += 1e-3
    assert abs(water.get_potential_energy() - energy) < 0.1
    assert all(p.requires_grad for p in potential.parameters())


def _nan(atoms):
    atoms.positions[1, 2] = np.nan


def _overlap(atoms):
    atoms.positions[1] = atoms.positions[2] + 0.01


def _element(atoms):
    atoms.numbers[0] = 54


def _flat(atoms):
    atoms.set_cell([[5, 0, 0], [0, 5, 0], [5, 5, 0]])
    atoms.pbc = True


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_nan, "not finite"),
        (_overlap, "atoms 1 and 2 are 0.017 Angstrom apart"),
        (_element, "Xe is unknown to the model, which knows H, O, Si"),
        (_flat, "no volume"),
    ],
)
def test_bad_structures_are_one_clear_line(water, spoil, message, later):
    water.set_cell([6, 6, 6])
    water.calc = PotentialCalculator(network(heads=("energy",)))
    if later:
        water.get_forces()
    spoil(water)
    for _ in range(2):  # no results of before are left
        with pytest.raises(InputError, match=message) as caught:
            water.get_potential_energy()
    assert "\n" not in str(caught.value)


def test_cell_that_collapses_under_the_list():
    atoms = copper(1)
    atoms.calc = PotentialCalculator(COPPER)
    atoms.get_forces()
    atoms.set_cell(atoms.cell.array @ np.diag([1, 1, 0.0]))
    with pytest.raises(InputError, match="no volume"):
        atoms.get_forces()


# -- the skin ----------------------------------------------------------------------------------


def wander(seed):
    """Silicon whose atoms drift and whose cell stretches and shears step by step."""
    random, atoms = np.random.default_rng(seed), silicon()
    for _ in range(30):
        atoms.positions += 0.05 * random.standard_normal((8, 3))
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + 0.01 * random.standard_normal((3, 3))),
            scale_atoms=True,
        )
        yield atoms


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, False)])
def test_skin_changes_nothing(pbc):
    potential = network(heads=("energy", "dipole"))
    skinned = PotentialCalculator(potential, skin=1.0)
    names = ("energy", "forces", "dipole", *(["stress"] if all(pbc) else []))
    atoms = silicon()
    atoms.pbc = pbc
    for moved in wander(0):
        atoms.positions, moved.pbc = moved.positions, pbc
        atoms.set_cell(moved.cell)
        fresh = PotentialCalculator(potential, skin=0.0)
        for name in names:
            np.testing.assert_array_equal(
                skinned.get_property(name, atoms), fresh.get_property(name, atoms)
            )
    assert skinned._list.builds < 20


def test_pairs_beyond_the_cutoff_add_nothing():
    potential, atoms = network(heads=("energy",)), silicon()
    near, far = (
        potential(atom_graph(atoms, (1, 8, 14), 3.5, skin=skin), ["energy", "forces", "stress"])
        for skin in (0.0, 1.0)
    )
    for name in near:
        np.testing.assert_allclose(near[name].detach(), far[name].detach(), rtol=0, atol=1e-14)


def test_list_is_rebuilt_only_when_needed():
    atoms = copper(2)
    pairs = VerletList([atoms], (29,), 5.0, skin=0.6)

    def places(positions, cell):
        return pairs(torch.tensor(positions), torch.tensor(np.array(cell))[None])

    places(atoms.positions, atoms.cell)
    moved = atoms.positions.copy()
    moved[0, 0] += 0.29
    places(moved, atoms.cell)
    assert pairs.builds == 1
    moved[0, 0] += 0.02
    places(moved, atoms.cell)
    assert pairs.builds == 2
    # The cell: atoms that ride along bring no pair nearer than the stretch of the whole.
    for stretch, builds in ((1.1, 2), (0.9, 2), (0.89, 3)):
        places(moved * stretch, atoms.cell.array * stretch)
        assert pairs.builds == builds


def test_graphs_of_the_list_have_the_pairs_of_a_new_one():
    pairs = VerletList([silicon()], (14,), 4.5, skin=0.8)
    for atoms in wander(3):
        got = pairs(torch.tensor(atoms.positions), torch.tensor(atoms.cell.array)[None])
        want = atom_graph(atoms, (14,), 4.5)
        edges = [
            sorted(map(tuple, torch.cat([g.edge_index.T, g.shift], dim=1).int().tolist()))
            for g in (got, want)
        ]
        assert edges[0] == edges[1]
        assert got.volume[0] == pytest.approx(float(want.volume[0]))


def test_list_that_could_not_be_made_is_not_trusted():
    """Back from places without a list, the pairs are those of a fresh calculator."""
    atoms = Atoms("OH", [[0, 0, 0], [10, 0, 0]])
    atoms.calc = PotentialCalculator(WATER)
    assert atoms.get_potential_energy() == 0.0
    atoms.positions[1, 0] = 0.1
    with pytest.raises(InputError, match="on top of each other"):
        atoms.get_potential_energy()
    for x in (0.3, 1.0, 10.0):
        atoms.positions[1, 0] = x
        fresh = atoms.copy()
        fresh.calc = PotentialCalculator(WATER)
        assert atoms.get_potential_energy() == fresh.get_potential_energy()
        assert (atoms.get_potential_energy() == 0.0) == (x == 10.0)


def test_one_list_that_fails_leaves_those_of_all():
    pair = [Atoms("OH", [[0, 0, 0], [x, 0, 0]]) for x in (10.0, 10.0)]
    lists = VerletList(pair, (1, 8), 4.0)
    places = torch.zeros(4, 3, dtype=torch.float64)
    places[1, 0], places[3, 0] = 1.0, 0.1  # the first has a pair now, the second fails
    with pytest.raises(InputError, match="structure 1: atoms 0 and 1"):
        lists(places)
    places[3, 0] = 0.3
    assert lists(places).edge_index.shape == (2, 4)
    places[1, 0] = places[3, 0] = 10.0
    assert lists(places).edge_index.shape == (2, 0)


# -- single runs -------------------------------------------------------------------------------


def energy_error(tmp_path, water, timestep):
    water.set_momenta(draw_momenta(water.get_masses(), 300.0, replica_generator(4)))
    run = run_md(
        water, WATER, tmp_path / str(timestep), time=0.04, timestep=timestep, every=1,
        progress=False,
    )  # fmt: skip
    total = run.log["total_eV"]
    return np.abs(total - total[0]).max()


def test_constant_energy_is_kept_to_second_order(tmp_path, water):
    coarse, fine = (energy_error(tmp_path, water, dt) for dt in (0.5, 0.25))
    assert coarse < 5e-3
    assert 3.5 < coarse / fine < 4.5


@pytest.mark.parametrize("model", [WATER, network(heads=("energy",))])
def test_momentum_and_angular_momentum_are_kept(tmp_path, water, model):
    water.set_momenta(draw_momenta(water.get_masses(), 300.0, replica_generator(2)))
    run = run_md(water, model, tmp_path / "run", time=0.05, progress=False)
    scale = np.abs(water.get_momenta()).sum()
    change = run.atoms.get_momenta().sum(0) - water.get_momenta().sum(0)
    assert np.abs(change).max() < 1e-12 * scale
    change = run.atoms.get_angular_momentum() - water.get_angular_momentum()
    assert np.abs(change).max() < 1e-11 * np.abs(water.get_angular_momentum()).max()
    assert np.abs(run.atoms.positions - water.positions).max() > 0.1


def test_drawn_momenta_do_not_move_or_turn_the_whole(tmp_path, water):
    run = run_md(water, WATER, tmp_path / "run", time=0.02, progress=False)
    first = read(tmp_path / "run" / "trajectory.extxyz", index=0)
    assert np.abs(first.get_momenta().sum(0)).max() < 1e-7
    assert np.abs(first.get_angular_momentum()).max() < 1e-6
    # Three vibrations share the kinetic energy.
    kinetic, hot = run.log["kinetic_eV"], run.log["temperature_K"]
    np.testing.assert_allclose(hot, 2 * kinetic / (3 * units.kB), rtol=1e-12)
    carbon_dioxide = molecule("CO2")
    p = draw_momenta(carbon_dioxide.get_masses(), 300.0, replica_generator(0))
    p = without_drift(carbon_dioxide.positions, p, carbon_dioxide.get_masses(), rotation=True)
    carbon_dioxide.set_momenta(p)
    assert np.abs(p).max() > 0.1
    assert np.abs(carbon_dioxide.get_angular_momentum()).max() < 1e-12


def free():
    """So soft that the kinetic energy stays what it is."""
    potential = Pairs((1, 8), 4.0)
    potential.table[0] *= 1e-12
    return potential


def test_constant_energy_continues_at_the_temperature_of_the_thermostat(tmp_path, water):
    """Momenta after nvt move and turn the whole, and the kinetic energy says so."""
    options = dict(time=0.005, progress=False)
    hot = run_replicas(water, free(), 3, ensemble="nvt", thermostat_time=1.0, **options)
    after = run_replicas(hot.atoms, free(), **options)
    for run in (hot, after):
        want = 2 * run.kinetic.mean() / (9 * units.kB)
        assert run.temperature_K == pytest.approx(want, rel=1e-12)
    np.testing.assert_allclose(after.kinetic.T, hot.kinetic[:, -1] * np.ones((6, 1)), rtol=1e-9)
    for name, n, atoms in (("a", 9, hot.atoms[0]), ("b", 3, Atoms("O", momenta=[[1, 2, 3]]))):
        single = run_md(atoms, free(), tmp_path / name, every=5, **options)
        want = 2 * atoms.get_kinetic_energy() / (n * units.kB)
        np.testing.assert_allclose(single.log["temperature_K"], want, rtol=1e-9)


def test_momenta_are_counted_replica_by_replica(water):
    """One molecule at rest as a whole, one that turns, one that moves and turns."""
    p = draw_momenta(water.get_masses(), 300.0, replica_generator(5))
    turns = without_drift(water.positions, p, water.get_masses())
    rests = without_drift(water.positions, p, water.get_masses(), rotation=True)
    structures = [water.copy() for _ in range(3)]
    for atoms, momenta in zip(structures, (rests, turns, p), strict=True):
        atoms.set_momenta(momenta)
    found = run_replicas(structures, free(), time=0.002, progress=False)
    each = 2 * found.kinetic.mean(1) / (np.array([3, 6, 9]) * units.kB)
    assert found.temperature_K == pytest.approx(each.mean(), rel=1e-12)


def test_momenta_from_files_rest_as_well(tmp_path, water):
    """Rounded to the digits of a trajectory, the whole still is at rest."""
    first = run_md(water, WATER, tmp_path / "a", time=0.01, progress=False)
    frame = read(tmp_path / "a" / "trajectory.extxyz", index=-1)
    second = run_md(frame, WATER, tmp_path / "b", time=0.01, progress=False)
    hot = first.log["temperature_K"][-1], second.log["temperature_K"][0]
    assert hot[0] == pytest.approx(hot[1], rel=1e-5)


def blocks(values, parts=20):
    """Mean and its standard error, from blocks longer than what correlates."""
    means = np.array([b.mean() for b in np.array_split(values, parts)])
    return means.mean(), means.std(ddof=1) / np.sqrt(parts)


def test_thermostat_gives_its_temperature(tmp_path, water):
    """40 molecules at once; the noise of a single run is that of the first."""
    options = dict(ensemble="nvt", temperature=400.0, thermostat_time=20.0, progress=False)
    found = run_replicas(water, WATER, 40, time=0.4, record_every=4, **options)
    each = found.kinetic[:, 50:].mean(1) * 2 / (9 * units.kB)
    error = each.std(ddof=1) / np.sqrt(40)
    assert error < 10.0
    assert abs(each.mean() - 400.0) < 3 * error
    run = run_md(water, WATER, tmp_path / "run", time=0.1, every=4, **options)
    np.testing.assert_allclose(run.log["kinetic_eV"], found.kinetic[0, :51], rtol=1e-9)
    kept, total = run.log["conserved_eV"], run.log["total_eV"]
    assert np.ptp(kept) < 0.05 * np.ptp(total)


def test_each_mode_has_the_temperature():
    """Modes far apart in frequency, no anharmonicity to mix them."""

    class Wells(Pairs):
        def forward(self, graph, outputs):
            k = torch.tensor([5.0, 50.0, 500.0]).double()
            energy = 0.5 * (k * graph.pos**2).sum(1)
            return {n: -k * graph.pos if n == "forces" else energy for n in outputs}

    found = run_replicas(
        Atoms("H", [[0.0, 0.0, 0.0]]), Wells((1,), 2.0), 1500, ensemble="nvt", timestep=0.2,
        temperature=300.0, thermostat_time=5.0, time=0.04, progress=False,
    )  # fmt: skip
    squares = np.array([atoms.positions[0] ** 2 for atoms in found.atoms])
    energies = 0.5 * squares * [5.0, 50.0, 500.0] / units.kB
    np.testing.assert_allclose(energies.mean(0), 150.0, rtol=3 * np.sqrt(2 / 1500))


@pytest.mark.parametrize("cell", ["shape", "volume"])
def test_crystal_comes_to_pressure_and_temperature(tmp_path, cell):
    """Four atoms: counted with the motion of the whole, which rests, they would be at 400 K."""
    run = run_md(
        copper(1, a=3.8), COPPER, tmp_path / "run", ensemble="npt", temperature=300.0,
        pressure=2.0, cell=cell, timestep=4.0, time=4.0, thermostat_time=60.0, every=4,
        progress=False,
    )  # fmt: skip
    late = run.log["time_fs"] > 500
    hot, error = blocks(run.log["temperature_K"][late])
    assert error < 20.0
    assert abs(hot - 300.0) < 3 * error
    pressure, error = blocks(run.log["pressure_GPa"][late])
    assert error < 0.3
    assert abs(pressure - 2.0) < 3 * error
    assert np.ptp(run.log["conserved_eV"]) < 0.01
    shapes = [a.cell.array / a.get_volume() ** (1 / 3) for a in (copper(1), run.atoms)]
    assert (np.abs(shapes[1] - shapes[0]).max() < 1e-12) == (cell == "volume")


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_interrupted_equals_uninterrupted_to_the_last_bit(tmp_path, ensemble):
    common = dict(
        ensemble=ensemble, timestep=2.0, seed=3, every=5, record=["velocities"], record_every=3,
        temperature=600.0, progress=False, barostat_time=100.0,
    )  # fmt: skip
    whole = run_md(copper(1), COPPER, tmp_path / "whole", time=0.2, **common)
    run_md(copper(1), COPPER, tmp_path / "parts", time=0.09, **common)
    for name in ("log.csv", "trajectory.extxyz", "record.f64"):  # killed while it wrote
        with (tmp_path / "parts" / name).open("ab") as file:
            file.write(b"half a li")
    (tmp_path / "parts" / "state.safetensors.partial").write_bytes(b"half a state")
    parts = run_md(copper(1), COPPER, tmp_path / "parts", time=0.2, **common)
    assert (whole.resumed, parts.resumed) == (0, 45)
    np.testing.assert_array_equal(parts.atoms.positions, whole.atoms.positions)
    np.testing.assert_array_equal(parts.atoms.get_momenta(), whole.atoms.get_momenta())
    np.testing.assert_array_equal(parts.atoms.cell.array, whole.atoms.cell.array)
    for name in ("log.csv", "trajectory.extxyz", "record.npz"):
        paths = [tmp_path / folder / name for folder in ("whole", "parts")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_network_resumes_to_the_last_bit(tmp_path, water):
    common = dict(timestep=0.5, every=5, progress=False)
    model = network()
    whole = run_md(water, model, tmp_path / "whole", time=0.02, **common)
    run_md(water, model, tmp_path / "parts", time=0.01, **common)
    parts = run_md(water, model, tmp_path / "parts", time=0.02, **common)
    assert parts.resumed == 20
    np.testing.assert_array_equal(parts.atoms.positions, whole.atoms.positions)


def test_killed_process_resumes_from_the_shell(shell, tmp_path, water):
    """SIGKILL at a moment of chance; the resumed run is the run that never stopped."""
    write(tmp_path / "water.xyz", water)
    model = network()
    model.scale *= 0.01  # so soft that it falls into no hole
    model.save(tmp_path / "w.potential")
    names = "trajectory.extxyz", "log.csv", "record.npz"
    options = ["--ensemble", "nvt", "--temperature", 30, "--time", 0.1, "--every", 1]
    command = [tmp_path / "w.potential", tmp_path / "water.xyz", *options]
    command += ["--record", "dipole", "--json", "--out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "objstress", "md", *map(str, command), tmp_path / "killed"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log, begun = tmp_path / "killed" / "log.csv", time.monotonic()
    while time.monotonic() - begun < 120 and not (log.exists() and log.stat().st_size > 2000):
        time.sleep(0.01)
    process.kill()
    process.wait()
    rows = len(log.read_text().splitlines()) - 1
    assert 5 < rows < 200
    code, out, error = shell("md", *command, tmp_path / "killed")
    assert code == 0, error
    answer = json.loads(out)
    assert rows - 2 <= answer["resumed_from_step"] <= rows
    assert answer["steps"] == 200
    assert answer["files"] == [str(tmp_path / "killed" / name) for name in names]
    run_md(
        tmp_path / "water.xyz", tmp_path / "w.potential", tmp_path / "whole", time=0.1, every=1,
        ensemble="nvt", temperature=30.0, record=["dipole"], progress=False,
    )  # fmt: skip
    for name in names:
        whole, killed = (tmp_path / folder / name for folder in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes()


def test_states_of_another_run_are_refused(tmp_path, water):
    out = tmp_path / "run"
    run_md(water, WATER, out, time=0.01, progress=False)
    with pytest.raises(InputError, match=r"other settings: timestep 0\.5, this one 0\.25"):
        run_md(water, WATER, out, time=0.01, timestep=0.25, progress=False)
    other = water.copy()
    other.positions[0, 0] += 0.01
    with pytest.raises(InputError, match="started from other positions"):
        run_md(other, WATER, out, time=0.01, progress=False)
    with pytest.raises(InputError, match="has another potential"):
        run_md(water, network(), out, time=0.01, progress=False)
    with pytest.raises(InputError, match="Xe"):  # refused before anything is thrown away
        run_md(Atoms("Xe2", [[0, 0, 0], [0, 0, 4]]), network(), out, fresh=True, progress=False)
    assert run_md(water, WATER, out, time=0.01, progress=False).resumed == 20
    run = run_md(other, WATER, out, time=0.01, fresh=True, progress=False)
    assert run.resumed == 0
    assert len(read(out / "trajectory.extxyz", index=":")) == 2
    (out / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="not a state of a run"):
        run_md(water, WATER, out, time=0.01, progress=False)
    (out / "state.safetensors").unlink()
    with pytest.raises(InputError, match="no state to resume from"):
        run_md(water, WATER, out, time=0.01, progress=False)


def _heavy(atoms):
    atoms.set_masses([15.999, 2.014, 2.014])


def _charged(atoms):
    atoms.info["charge"] = 1


def _held(atoms):
    atoms.set_constraint(FixAtoms([1]))


@pytest.mark.parametrize(
    ("change", "what"), [(_heavy, "masses"), (_charged, "charge"), (_held, "constraints")]
)
def test_states_of_other_atoms_are_refused(tmp_path, water, change, what):
    water.set_constraint(FixAtoms([0]))
    options = dict(ensemble="nvt", progress=False)
    run_md(water, WATER, tmp_path, time=0.01, **options)
    other = water.copy()
    change(other)
    with pytest.raises(InputError, match=f"the run there started from other {what}; give another"):
        run_md(other, WATER, tmp_path, time=0.02, **options)
    assert run_md(water.copy(), WATER, tmp_path, time=0.02, **options).resumed == 20


def test_longer_time_continues_from_the_end(tmp_path, water):
    run_md(water, WATER, tmp_path / "a", time=0.02, progress=False)
    same = run_md(water, WATER, tmp_path / "a", time=0.01, progress=False)
    assert same.resumed == same.steps == 40
    longer = run_md(water, WATER, tmp_path / "a", time=0.04, progress=False)
    assert (longer.resumed, longer.steps) == (40, 80)
    np.testing.assert_array_equal(longer.log["step"], [0, 20, 40, 60, 80])


@pytest.mark.parametrize("how", ["hot", "overlap"])
def test_blow_up_keeps_the_last_good_frame(tmp_path, water, how):
    potential = Pairs((1, 8), 4.0)
    if how == "overlap":
        potential.table[0] *= -1  # pairs that fall into each other
    limit = 5000.0 if how == "hot" else 1e9
    options = dict(timestep=4.0 if how == "hot" else 0.5, temperature=1000.0, limit=limit)
    message = "beyond 5000 K" if how == "hot" else "they lie on top of each other"
    with pytest.raises(ConvergenceError, match=message) as caught:
        run_md(water, potential, tmp_path / "run", time=1.0, **options, progress=False)
    assert "last-good.extxyz" in str(caught.value)
    good = read(tmp_path / "run" / "last-good.extxyz")
    assert np.isfinite(good.positions).all()
    assert f"step {good.info['step']}" in str(caught.value)
    assert good.get_all_distances()[np.triu_indices(3, 1)].min() > 0.2
    assert np.isfinite(good.get_potential_energy())
    # The frames, the log and the state are whole and end before.
    frames = read(tmp_path / "run" / "trajectory.extxyz", index=":")
    assert frames[-1].info["step"] <= good.info["step"]


def test_records_for_spectra(tmp_path, water):
    names = ["polarizability", "dipole", "velocities"]
    run = run_md(
        water, WATER, tmp_path / "run", time=0.02, record=names, record_every=4, progress=False
    )
    with np.load(tmp_path / "run" / "record.npz", allow_pickle=False) as found:
        np.testing.assert_allclose(found["time_fs"], np.arange(0, 21, 2.0))
        assert found["dipole"].shape == (11, 3)
        assert found["polarizability"].shape == (11, 3, 3)
        assert found["velocities"].shape == (11, 3, 3)
        run.atoms.calc = PotentialCalculator(WATER)
        alpha = run.atoms.calc.get_property("polarizability", run.atoms)
        np.testing.assert_array_equal(found["dipole"][-1], run.atoms.get_dipole_moment())
        np.testing.assert_array_equal(found["polarizability"][-1], alpha)
        np.testing.assert_allclose(found["velocities"][-1], run.atoms.get_velocities() * FS)
        assert float(found["temperature_K"]) == run.summary()["temperature_K"]
        assert float(found["timestep_fs"]) == 0.5
    with pytest.raises(InputError, match="record dipole: the potential does not give it"):
        run_md(copper(), COPPER, tmp_path / "b", record=["dipole"], progress=False)
    with pytest.raises(InputError, match="the potential has no energy"):
        run_md(water, network(heads=("dipole",)), tmp_path / "b", progress=False)


def test_atoms_held_fixed_stay(tmp_path):
    atoms = copper(1)
    atoms.set_constraint(FixAtoms([0]))
    run = run_md(atoms, COPPER, tmp_path / "a", ensemble="nvt", time=0.05, progress=False)
    np.testing.assert_array_equal(run.atoms.positions[0], atoms.positions[0])
    assert np.abs(run.atoms.positions[1:] - atoms.positions[1:]).max() > 1e-3
    with pytest.raises(InputError, match="cannot hold atoms fixed"):
        run_md(atoms, COPPER, tmp_path / "b", ensemble="npt", progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ensemble": "nph"}, "choose one of nve, nvt, npt"),
        ({"ensemble": "npt"}, "periodic along all axes"),
        ({"timestep": 0.0}, "timestep = 0.0"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": 0.0, "ensemble": "nvt"}, "temperature = 0.0"),
        ({"record": ["magnetisation"]}, "choose from dipole, polarizability, velocities"),
        ({"seed": -1}, "seed = -1"),
        ({"every": 0}, "every = 0"),
        ({"every": 2.5}, r"every = 2\.5: give a whole number of steps"),
        ({"record_every": 2.5}, r"record_every = 2\.5: give a whole number of steps"),
        ({"limit": -1}, "limit = -1 K"),
        ({"limit": 0}, "limit = 0 K"),
        ({"limit": np.nan}, "limit = nan K"),
    ],
)
def test_settings_out_of_range(tmp_path, water, options, message):
    with pytest.raises(InputError, match=message):
        run_md(water, WATER, tmp_path / "run", **options, progress=False)
    assert not (tmp_path / "run").exists()


def test_settings_may_be_numbers_of_numpy(tmp_path, water):
    options = dict(every=np.int64(5), record_every=np.int32(5), timestep=np.float32(0.5))
    for resumed in (0, 20):
        run = run_md(water, WATER, tmp_path / "run", time=0.01, **options, progress=False)
        assert run.resumed == resumed


def test_records_hold_the_mean_volume(tmp_path):
    run = run_md(
        copper(1), COPPER, tmp_path / "run", ensemble="npt", time=0.2, timestep=2.0, every=5,
        barostat_time=50.0, record=["velocities"], progress=False,
    )  # fmt: skip
    assert np.ptp(run.log["volume_A3"]) > 0.1
    with np.load(tmp_path / "run" / "record.npz") as found:
        assert float(found["volume_A3"]) == run.summary()["volume_A3"]
    again = run_replicas(copper(1), COPPER, 2, time=0.002, record=["velocities"], progress=False)
    again.save(tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as found:
        assert float(found["volume_A3"]) == pytest.approx(3.7**3)


# -- replicas ----------------------------------------------------------------------------------


def test_replicas_move_as_single_runs(water):
    """One batch against ASE, molecule by molecule, at constant energy and with noise."""
    model = network()
    for ensemble in ("nve", "nvt"):
        options = dict(time=0.025, temperature=500.0, thermostat_time=20.0, seed=7)
        found = run_replicas(
            water, model, 3, ensemble=ensemble, record=["dipole", "polarizability", "velocities"],
            record_every=5, **options, progress=False,
        )  # fmt: skip
        for k in range(3):
            atoms, random = water.copy(), replica_generator(7, k)
            p = draw_momenta(atoms.get_masses(), 500.0, random)
            if ensemble == "nve":
                p = without_drift(atoms.positions, p, atoms.get_masses(), rotation=True)
            atoms.set_momenta(p)
            atoms.calc = PotentialCalculator(model)
            if ensemble == "nve":
                dynamics = VelocityVerlet(atoms, 0.5 * FS)
            else:
                dynamics = Langevin(atoms, 0.5 * FS, 500.0, 1 / (20 * FS), random)
            for _ in range(50):
                dynamics.step()
            difference = np.abs(found.atoms[k].positions - atoms.positions).max()
            assert difference < 1e-10
            assert np.abs(found.atoms[k].get_momenta() - atoms.get_momenta()).max() < 1e-10
            dipole, alpha = (atoms.calc.results[n] for n in ("dipole", "polarizability"))
            assert np.abs(found.records["dipole"][k, -1] - dipole).max() < 1e-10
            assert np.abs(found.records["polarizability"][k, -1] - alpha).max() < 1e-10
            velocities = atoms.get_velocities() * FS
            assert np.abs(found.records["velocities"][k, -1] - velocities).max() < 1e-10
            assert found.potential[k, -1] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        assert found.records["dipole"].shape == (3, 11, 3)
        assert found.time_fs[-1] == 25.0
        for a, b in pairwise(found.atoms):
            assert np.abs(a.positions - b.positions).max() > 1e-3


def test_replicas_of_a_crystal_share_one_skin():
    model = network(heads=("energy",))
    options = dict(time=0.01, timestep=1.0, temperature=3000.0, record_every=1, progress=False)
    found = run_replicas(silicon(), model, 2, skin=0.05, **options)
    wide = run_replicas(silicon(), model, 2, skin=1.0, **options)
    for a, b in zip(found.atoms, wide.atoms, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    total = found.potential + found.kinetic
    assert np.ptp(total, axis=1).max() < 1e-2 * np.ptp(found.kinetic, axis=1).max()


def test_replicas_continue_from_replicas(tmp_path, water):
    whole = run_replicas(water, WATER, 2, time=0.02, progress=False)
    half = run_replicas(water, WATER, 2, time=0.01, progress=False)
    rest = run_replicas(half.atoms, WATER, time=0.01, record=["dipole"], progress=False)
    for a, b in zip(whole.atoms, rest.atoms, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, rtol=0, atol=1e-12)
    rest.save(tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as found:
        assert found["dipole"].shape == (2, 11, 3)
        assert set(found) == {"time_fs", "temperature_K", "timestep_fs", "masses_u", "dipole"}


def test_replicas_that_cannot_be(water):
    with pytest.raises(InputError, match="structure 1 has other atoms"):
        run_replicas([water, molecule("OH")], WATER, progress=False)
    with pytest.raises(InputError, match="replicas = None"):
        run_replicas(water, WATER, progress=False)
    broken = water.copy()
    broken.positions[0] = broken.positions[1]
    with pytest.raises(InputError, match="structure 1: atoms 0 and 1"):
        run_replicas([water, broken], WATER, progress=False)
    for change, info in (({"masses": [16, 2, 2]}, {}), ({}, {"charge": 1})):
        other = Atoms(water.symbols, water.positions, info=info, **change)
        with pytest.raises(InputError, match="structure 1 has other masses or another charge"):
            run_replicas([water, other], WATER, progress=False)
    for options, message in (
        ({"record_every": 2.5}, r"record_every = 2\.5: give a whole number of steps"),
        ({"limit": -1.0}, r"limit = -1\.0 K"),
        ({"replicas": 2.5}, r"replicas = 2\.5: give a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            run_replicas(water, WATER, **{"replicas": 2} | options, progress=False)


@pytest.mark.parametrize("how", ["hot", "overlap"])
def test_replicas_that_blow_up_leave_what_was_good(tmp_path, water, how):
    potential = Pairs((1, 8), 4.0)
    if how == "overlap":
        potential.table[0] *= -1  # pairs that fall into each other
    options = dict(timestep=8.0 if how == "hot" else 0.5, temperature=2000.0, record=["dipole"])
    limit = None if how == "hot" else 1e9
    message = r"replica \d blew up" if how == "hot" else "blown up at .* on top of each other"
    with pytest.raises(ConvergenceError, match=message) as caught:
        run_replicas(water, potential, 2, limit=limit, record_every=1, **options, progress=False)
    assert isinstance(caught.value, ReplicasBlownUp)
    good = caught.value.so_far
    assert good.potential.shape == good.kinetic.shape == (2, len(good.time_fs))
    assert good.records["dipole"].shape == (2, len(good.time_fs), 3)
    assert f"at {good.time_fs[-1] + good.timestep_fs:g} fs" in str(caught.value)
    for k, atoms in enumerate(good.atoms):  # with every step recorded, the last of the records
        atoms.calc = PotentialCalculator(potential)
        assert atoms.get_potential_energy() == pytest.approx(good.potential[k, -1], rel=1e-9)
        assert atoms.get_kinetic_energy() == pytest.approx(good.kinetic[k, -1], rel=1e-9)
        np.testing.assert_allclose(atoms.get_dipole_moment(), good.records["dipole"][k, -1])
    good.save(tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as found:
        assert np.isfinite(found["dipole"]).all()


# -- the shell ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{potential}", "nowhere.xyz"], 2, "nowhere.xyz: no such structure file"),
        (["{potential}", "{potential}"], 2, "not a readable structure"),
        (["nowhere.potential", "{water}"], 2, "nowhere.potential"),
        (["{potential}", "{water}", "--ensemble", "npt"], 2, "periodic along all axes"),
        (["{wild}", "{water}"], 3, "blown up after"),
    ],
)
def test_shell_fails_with_one_clear_line(
    tmp_path, water, monkeypatch, capsys, arguments, code, message
):
    from objstress.cli import entry

    write(tmp_path / "water.xyz", water)
    model = network()
    model.save(tmp_path / "potential.potential")
    model.scale *= 100
    model.save(tmp_path / "wild.potential")
    paths = {name: tmp_path / f"{name}.potential" for name in ("potential", "wild")}
    paths["water"] = tmp_path / "water.xyz"
    filled = [a.format(**paths) for a in arguments]
    monkeypatch.setattr(
        sys, "argv", ["objstress", "md", *filled, "--time", "10", "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_constraints_that_hold_every_atom_are_refused():
    atoms = silicon(1)
    atoms.set_constraint(FixAtoms(range(len(atoms))))
    with pytest.raises(InputError, match="no degree of freedom is left"):
        degrees_of_freedom(atoms, thermostat=True)


# -- torch-sim ---------------------------------------------------------------------------------


def test_torch_sim_moves_atoms_as_ase_does():
    import torch_sim
    from torch_sim.models.interface import validate_model_outputs

    from objstress.md.torch_sim import torch_sim_model

    everything = network(elements=(1, 6, 12, 14, 26))
    validate_model_outputs(torch_sim_model(everything), torch.device("cpu"), torch.float64)
    potential = network(heads=("energy",))
    model, atoms = torch_sim_model(potential), [silicon(1), silicon(2)]
    state = torch_sim.io.atoms_to_state(atoms, torch.device("cpu"), torch.float64)
    found = model(state)
    state.positions = state.positions + 0.05
    again = model(state)
    for k, single in enumerate(atoms):
        single.calc = PotentialCalculator(potential)
        stress = single.get_stress(voigt=False)
        np.testing.assert_allclose(found["stress"][k].numpy(), stress, rtol=0, atol=1e-14)
        forces = again["forces"][8 * k : 8 * k + 8].numpy()
        np.testing.assert_allclose(forces, single.get_forces(), rtol=0, atol=1e-12)
