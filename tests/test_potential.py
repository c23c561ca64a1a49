"""Potentials: symmetry of every head, derivatives, limits, files; weights are random throughout."""

import dataclasses

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation
from torch_geometric.data import Batch

from objstress.errors import InputError
from objstress.graphs.atoms import atom_graph
from objstress.models.potential import OUTPUTS, Potential, PotentialSettings, load_potential
from objstress.symmetry.point_group import PointGroup

ELEMENTS = (1, 6, 8, 14)
EVERY = ("energy", "dipole", "polarizability", "pseudoscalar")
PLAIN = ("energy", "forces", "dipole", "polarizability", "pseudoscalar")


def make(group="O(3)", dtype=torch.float64, seed=0, **changes):
    settings = PotentialSettings(
        elements=ELEMENTS, heads=EVERY, group=group, cutoff=3.5, neighbours=4.0, channels=6
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        potential = Potential(dataclasses.replace(settings, **changes), dtype)
    potential.references += torch.tensor([0.3, -1.0, 2.0, 0.7], dtype=dtype)
    return potential.eval()


def graph(atoms, potential, **options):
    return atom_graph(
        atoms, potential.settings.elements, potential.settings.cutoff, potential.dtype, **options
    )


def ask(potential, atoms, *outputs):
    found = potential(graph(atoms, potential), outputs or PLAIN)
    return {k: v.double() for k, v in found.items()}


def peroxide(hand=1):
    """H2O2 with a dihedral angle of 111 degrees, one hand or the other."""
    angle = np.radians(hand * 111.0)
    positions = [
        [0.84, 0.25, 0.0],
        [0.73, -0.7, 0.0],
        [-0.73, -0.7, 0.0],
        [-0.84, -0.7 + 0.95 * np.cos(angle), 0.95 * np.sin(angle)],
    ]
    return Atoms("HOOH", positions)


def ethanol():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    return atoms


def crystal():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=2)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * np.arange(9).reshape(3, 3) / 9), True)
    return atoms


def turned(atoms, q):
    """Positions and cell turned by an orthogonal matrix, proper or not."""
    out = atoms.copy()
    out.positions = atoms.positions @ q.T
    out.set_cell(atoms.cell.array @ q.T)
    return out


ROTATION = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
GROUPS = ["O(3)", "SO(3)", "m-3m", "-43m", "32", "m", "1"]


def operations(name):
    """Some operations of a group."""
    if name in ("O(3)", "SO(3)"):
        return [ROTATION] + ([-ROTATION, -np.eye(3)] if name == "O(3)" else [])
    return list(PointGroup(name).operations[:6])


def expected(found, q):
    """What each output of a turned structure should be."""
    q = torch.tensor(q)
    turn = {
        "forces": lambda v: v @ q.T,
        "dipole": lambda v: v @ q.T,
        "polarizability": lambda v: q @ v @ q.T,
        "stress": lambda v: q @ v @ q.T,
        "pseudoscalar": lambda v: torch.linalg.det(q) * v,
        "born_charges": lambda v: q @ v @ q.T,
    }
    return {k: turn.get(k, lambda v: v)(v) for k, v in found.items()}


def gap(a, b):
    """Largest difference over the largest value (or one)."""
    return max(float((a[k] - b[k]).abs().max() / max(1.0, float(b[k].abs().max()))) for k in a)


class TestSymmetry:
    @pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
    @pytest.mark.parametrize("group", GROUPS)
    def test_every_head_turns_with_the_molecule(self, group, dtype, bar):
        potential = make(group, dtype)
        before = ask(potential, ethanol())
        for q in operations(group):
            assert gap(ask(potential, turned(ethanol(), q)), expected(before, q)) <= bar

    @pytest.mark.parametrize("group", ["O(3)", "SO(3)", "m-3m"])
    def test_stress_turns_with_the_crystal(self, group):
        potential = make(group)
        names = ("energy", "stress", "forces", "dipole", "born_charges")
        before = ask(potential, crystal(), *names)
        for q in operations(group):
            after = ask(potential, turned(crystal(), q), *names)
            assert gap(after, expected(before, q)) <= 1e-10

    @pytest.mark.parametrize(("group", "larger"), [("SO(3)", -np.eye(3)), ("1", ROTATION)])
    def test_no_more_symmetry_than_the_group(self, group, larger):
        potential = make(group)
        for head in ("energy", "dipole", "polarizability"):
            before = ask(potential, ethanol(), head)
            after = ask(potential, turned(ethanol(), larger), head)
            assert gap(after, expected(before, larger)) >= 1e-5

    @pytest.mark.parametrize("group", ["-43m", "32", "m"])
    def test_a_point_group_is_kept_exactly_and_nothing_beyond(self, group):
        potential = make(group)
        before = ask(potential, ethanol())
        assert gap(ask(potential, turned(ethanol(), ROTATION)), expected(before, ROTATION)) > 1e-4
        inverted = ask(potential, turned(ethanol(), -np.eye(3)), "energy")
        assert gap(inverted, {"energy": before["energy"]}) > 1e-5

    @pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
    def test_order_and_place_of_the_atoms_do_not_matter(self, group):
        potential, atoms = make(group), ethanol()
        before = ask(potential, atoms)
        order = np.random.default_rng(0).permutation(len(atoms))
        moved = atoms[order]
        moved.positions += [3.0, -7.0, 1.5]
        after = ask(potential, moved)
        before["forces"] = before["forces"][order]
        assert gap(after, before) <= 1e-10

    def test_centrosymmetric_molecules_and_methane_have_no_dipole(self):
        potential = make("O(3)")
        for name in ("C2H4", "C6H6", "CO2", "CH4"):
            assert ask(potential, molecule(name), "dipole")["dipole"].abs().max() <= 1e-12
        assert ask(potential, ethanol(), "dipole")["dipole"].abs().max() > 1e-3


class TestHands:
    def test_mirror_images_have_one_energy_and_mirrored_dipoles_under_o3(self):
        left, right = (ask(make("O(3)"), peroxide(h)) for h in (1, -1))
        mirror = np.diag([1.0, 1.0, -1.0])
        assert gap(right, expected(left, mirror)) <= 1e-12

    def test_mirror_images_differ_under_so3(self):
        left, right = (ask(make("SO(3)"), peroxide(h), "energy") for h in (1, -1))
        assert gap(left, right) > 1e-5

    def test_the_pseudoscalar_tells_hands_apart_and_is_zero_where_there_are_none(self):
        potential = make("O(3)")
        left, right = (ask(potential, peroxide(h), "pseudoscalar") for h in (1, -1))
        assert left["pseudoscalar"].abs().item() > 1e-6
        assert gap(left, {"pseudoscalar": -right["pseudoscalar"]}) <= 1e-12
        for flat in (
            Atoms("HOOH", [[0.84, 0.25, 0], [0.73, -0.7, 0], [-0.73, -0.7, 0], [-0.84, 0.3, 0]]),
            molecule("CH4"),
        ):
            assert ask(potential, flat, "pseudoscalar")["pseudoscalar"].abs().max() <= 1e-12


class TestDerivatives:
    def differences(self, potential, atoms, name, step=1e-4):
        """d name / d r by central differences of fourth order, (n, 3, ...)."""
        rows = []
        for k in range(len(atoms)):
            for j in range(3):
                values = []
                for m in (-2, -1, 1, 2):
                    moved = atoms.copy()
                    moved.positions[k, j] += m * step
                    values.append(ask(potential, moved, name)[name][0])
                a, b, c, d = values
                rows.append((a - 8 * b + 8 * c - d) / (12 * step))
        return torch.stack(rows).unflatten(0, (len(atoms), 3))

    @pytest.mark.parametrize("group", ["O(3)", "SO(3)", "-43m"])
    def test_forces(self, group):
        potential = make(group)
        forces = ask(potential, ethanol(), "forces")["forces"]
        found = -self.differences(potential, ethanol(), "energy", 1e-3)
        assert (forces - found).norm() <= 1e-7 * forces.norm()

    def test_born_charges_and_the_gradient_of_the_polarizability(self):
        potential = make()
        atoms = peroxide()
        found = ask(potential, atoms, "born_charges", "polarizability_gradient")
        z = self.differences(potential, atoms, "dipole", 1e-3)  # k j i
        assert (found["born_charges"] - z.transpose(1, 2)).norm() <= 1e-7 * z.norm()
        a = self.differences(potential, atoms, "polarizability", 1e-3)
        assert (found["polarizability_gradient"] - a).norm() <= 1e-7 * a.norm()

    def test_born_charges_of_a_neutral_molecule_sum_to_zero(self):
        found = ask(make(), ethanol(), "born_charges")["born_charges"]
        assert found.sum(0).abs().max() <= 1e-12 < 1e-3 < found.abs().max()

    def test_hessian(self):
        potential, atoms = make(), peroxide()
        hessian = ask(potential, atoms, "hessian")["hessian"]
        rows = []
        for k in range(12):
            forces = []
            for m in (-2, -1, 1, 2):
                moved = atoms.copy()
                moved.positions.flat[k] += m * 1e-3
                forces.append(ask(potential, moved, "forces")["forces"].flatten())
            a, b, c, d = forces
            rows.append(-(a - 8 * b + 8 * c - d) / 12e-3)
        assert (hessian - torch.stack(rows)).norm() <= 1e-7 * hessian.norm()
        assert (hessian - hessian.T).abs().max() <= 1e-10 * hessian.abs().max()

    @pytest.mark.parametrize("group", ["O(3)", "m-3m"])
    def test_stress_is_the_strain_derivative_of_the_energy_over_the_volume(self, group):
        potential, atoms = make(group), crystal()
        stress = ask(potential, atoms, "stress")["stress"][0]
        found = torch.zeros(3, 3, dtype=torch.float64)
        for i in range(3):
            for j in range(3):
                energies = []
                for m in (-2, -1, 1, 2):
                    strain = np.zeros((3, 3))
                    strain[i, j] += 0.5e-4 * m
                    strain[j, i] += 0.5e-4 * m
                    moved = atoms.copy()
                    moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
                    energies.append(ask(potential, moved, "energy")["energy"][0])
                a, b, c, d = energies
                found[i, j] = (a - 8 * b + 8 * c - d) / (12e-4 * atoms.cell.volume)
        assert (stress - found).norm() <= 1e-7 * stress.norm()

    def test_what_is_trained_on_can_be_differentiated_in_the_weights(self):
        potential = make().train()
        names = ("energy", "forces", "stress", "dipole", "polarizability")
        found = potential(graph(crystal(), potential), names)
        for name in names:
            found[name].pow(2).sum().backward(retain_graph=True)
            grads = [p.grad for p in potential.shared.parameters()]
            assert all(g is not None and g.abs().max() > 0 for g in grads)
            potential.zero_grad()


class TestLimits:
    @pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
    def test_two_molecules_far_apart_add_up(self, group):
        potential = make(group)
        a, b = ethanol(), peroxide()
        b.positions += [0.0, 40.0, 0.0]
        names = ("energy", "dipole", "polarizability", "pseudoscalar")
        both, one, two = (ask(potential, x, *names) for x in (a + b, a, b))
        assert gap(both, {k: one[k] + two[k] for k in names}) <= 1e-10

    def test_a_batch_is_its_members(self):
        potential = make()
        structures = [crystal(), bulk("Si") * (2, 1, 1)]
        names = ("energy", "forces", "stress", "dipole", "polarizability", "born_charges")
        batch = Batch.from_data_list([graph(a, potential) for a in structures])
        together = potential(batch, names)
        single = [ask(potential, a, *names) for a in structures]
        apart = {k: torch.cat([s[k] for s in single]) for k in names}
        assert gap(together, apart) <= 1e-10

    def test_an_isolated_atom_has_its_reference_energy_and_nothing_else(self):
        potential = make()
        found = ask(potential, Atoms("O"), *PLAIN)
        assert found["energy"].item() == potential.references[2].item()
        for name in ("forces", "dipole", "polarizability", "pseudoscalar"):
            assert found[name].abs().max() == 0

    @pytest.mark.parametrize("name", ["energy", "forces", "dipole", "polarizability"])
    def test_everything_is_smooth_where_a_neighbour_comes_into_the_cutoff(self, name):
        potential, molecule = make(), peroxide()

        def at(distance):
            # Away from the others, so that only the pair with atom 0 crosses the cutoff.
            newcomer = molecule.positions[0] + distance * np.array([0.8, 0.6, 0.0])
            return ask(potential, molecule + Atoms("O", [newcomer]), name)[name]

        values = torch.stack([at(3.5 + d) for d in np.linspace(-0.3, 0.1, 41)]).flatten(1)
        steps = values.diff(dim=0).abs().amax(1)
        # Beyond the cutoff nothing changes; before it changes die out, and nowhere is a jump.
        assert steps[31:].max() <= 1e-12 < 1e-9 < steps[0]
        assert steps[:31].max() <= 2 * steps[:5].max()
        # The envelope has two continuous derivatives: near the cutoff changes of what is no
        # derivative fall with the square of the distance to it, those of forces linearly.
        assert steps[29] <= (0.1 if name == "forces" else 0.01) * steps[0]

    def test_a_skin_changes_nothing(self):
        potential = make()
        plain = potential(graph(ethanol(), potential), PLAIN)
        skinned = potential(graph(ethanol(), potential, skin=1.5), PLAIN)
        assert gap(skinned, plain) <= 1e-12

    def test_periodic_images_are_neighbours(self):
        potential = make()
        small = bulk("Si")
        large = small * (3, 3, 3)
        a, b = (ask(potential, x, "energy", "stress") for x in (small, large))
        assert abs(b["energy"] - 27 * a["energy"]) <= 1e-10 * abs(b["energy"])
        assert gap({"stress": b["stress"]}, {"stress": a["stress"]}) <= 1e-10

    def test_a_wire_is_periodic_along_one_axis(self):
        potential = make()
        wire = Atoms("SiO", [[0, 0, 0], [1.6, 0.3, 0]], cell=[3.4, 0, 0], pbc=[True, False, False])
        one, two = (ask(potential, w, "energy")["energy"] for w in (wire, wire * (2, 1, 1)))
        assert abs(two - 2 * one) <= 1e-10 * abs(two)


class TestCharges:
    def test_charges_sum_to_the_total_charge(self):
        potential, ion = make(), ethanol()
        ion.info["charge"] = -1
        assert ask(potential, ion, "charges")["charges"].sum().item() == pytest.approx(
            -1, abs=1e-12
        )

    def test_charges_times_positions_are_part_of_the_dipole(self):
        # With no atomic dipoles the dipole is that of the charges.
        potential = make()
        potential.tensors["dipole"].linear.data.zero_()
        potential.tensors["dipole"].gate.linear.data.zero_()
        potential.tensors["dipole"].gate.outer.data.zero_()
        found = ask(potential, ethanol(), "dipole", "charges")
        moments = found["charges"] @ torch.tensor(ethanol().positions)
        assert found["charges"].abs().max() > 1e-4
        assert gap({"dipole": moments[None]}, {"dipole": found["dipole"]}) <= 1e-12

    def test_the_dipole_of_an_ion_is_about_its_centre_of_mass(self):
        potential, ion = make(), ethanol()
        ion.info["charge"] = 1
        here = ask(potential, ion, "dipole")["dipole"]
        ion.positions += [5.0, -3.0, 2.0]
        assert (ask(potential, ion, "dipole")["dipole"] - here).abs().max() <= 1e-12


class TestFiles:
    def test_a_file_gives_the_same_potential(self, tmp_path):
        potential = make("SO(3)")
        potential.metadata["note"] = {"epochs": 3}
        potential.save(tmp_path / "a.potential")
        loaded = load_potential(tmp_path / "a.potential")
        assert loaded.metadata == potential.metadata
        assert loaded.settings == potential.settings
        before, after = (ask(p, ethanol()) for p in (potential, loaded))
        assert all(torch.equal(before[k], after[k]) for k in before)

    def test_single_precision_is_kept_unless_asked_otherwise(self, tmp_path):
        make(dtype=torch.float32).save(tmp_path / "a.potential")
        assert load_potential(tmp_path / "a.potential").dtype == torch.float32
        assert load_potential(tmp_path / "a.potential", torch.float64).dtype == torch.float64

    def test_files_that_are_no_potentials_are_named(self, tmp_path):
        with pytest.raises(InputError, match="no such potential file"):
            load_potential(tmp_path / "none")
        (tmp_path / "text").write_text("hello")
        with pytest.raises(InputError, match="damaged, or not a potential"):
            load_potential(tmp_path / "text")


class TestBadInput:
    @pytest.mark.parametrize(
        ("atoms", "words"),
        [
            (Atoms("Xe"), "element Xe is unknown to the model, which knows H, C, O, Si"),
            (Atoms("OO", [[0, 0, 0], [0, 0, 0.01]]), "lie on top of each other"),
            (Atoms("O", [[0, np.nan, 0]]), "not finite"),
            (Atoms(), "without atoms"),
            (Atoms("O", cell=[4, 4, 0], pbc=True), "no volume"),
            *(
                (Atoms("O", info={"charge": q}), "charge.*one finite number")
                for q in ("plus", None, [1], np.ones(2), True, np.nan, np.inf)
            ),
        ],
    )
    def test_structures_that_cannot_be(self, atoms, words):
        with pytest.raises(InputError, match=words):
            graph(atoms, make())

    def test_charges_of_any_kind_of_number(self):
        for q in (1, 1.0, np.int64(1), np.float32(1), np.array(1)):
            assert float(graph(Atoms("O", info={"charge": q}), make()).charge) == 1.0
        assert float(graph(Atoms("O"), make()).charge) == 0.0

    def test_outputs_that_are_not_there(self):
        potential = make(heads=("energy",))
        with pytest.raises(InputError, match="needs the head 'dipole'"):
            ask(potential, ethanol(), "dipole")
        with pytest.raises(InputError, match="unknown output 'enegy'"):
            ask(potential, ethanol(), "enegy")
        with pytest.raises(InputError, match="periodic along all axes"):
            ask(potential, ethanol(), "stress")

    def test_a_charged_crystal_has_no_dipole(self):
        atoms = crystal()
        atoms.info["charge"] = 1
        with pytest.raises(InputError, match="charged periodic cell"):
            ask(make(), atoms, "dipole")

    @pytest.mark.parametrize(
        "changes",
        [
            {"heads": ("enrgy",)},
            {"elements": (1, 1)},
            {"cutoff": 0.0},
            {"cutoff": np.inf},
            {"cutoff": np.nan},
            {"neighbours": np.inf},
            {"edge_lmax": 0},
            {"edge_lmax": 7},
        ],
    )
    def test_settings_that_make_no_sense(self, changes):
        # Already of the settings: what comes before the potential relies on them.
        with pytest.raises(InputError, match=next(iter(changes))):
            PotentialSettings(**{"elements": ELEMENTS, "heads": EVERY} | changes)

    def test_every_output_is_documented(self):
        for name in OUTPUTS:
            assert name in Potential.forward.__doc__
