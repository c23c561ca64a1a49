"""Spectra: constants, normal modes and intensities, correlations of known motion, files."""

import json
import types

import matplotlib
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.io import write
from ase.vibrations import Infrared
from matplotlib.figure import Figure
from scipy import constants as si
from scipy.spatial.transform import Rotation

from objstress.errors import ConvergenceError, InputError
from objstress.io.recording import read_recording
from objstress.models.potential import Potential, PotentialSettings
from objstress.spectra import units
from objstress.spectra.correlations import (
    CORRECTIONS,
    WINDOWS,
    Correlation,
    density_of_states,
    infrared_from_dipoles,
    raman_from_polarizabilities,
)
from objstress.spectra.curves import broaden
from objstress.spectra.harmonic import HarmonicSpectrum, harmonic_analysis, harmonic_spectrum
from objstress.spectra.minimum import evaluate, relaxed_atoms
from objstress.spectra.modes import NormalModes, normal_modes
from objstress.spectra.plots import plot_spectra
from objstress.spectra.raman import cross_section
from objstress.spectra.report import write_spectra
from objstress.spectra.rigid import fragments, rigid_displacements, rigid_motions

AJ = 1e-18 / si.e  # 1 aJ in eV
O16, H1, D2 = 15.9949146, 1.00782503, 2.01410178


class Model:
    """A potential out of functions of positions (n, 3), with all derivatives by autograd."""

    def __init__(self, energy, dipole=None, polarizability=None, elements=(1, 6, 8), group="O(3)"):
        parts = {"energy": energy, "dipole": dipole, "polarizability": polarizability}
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.settings = types.SimpleNamespace(
            elements=elements, cutoff=5.0, group=group, heads=tuple(self.parts)
        )
        self.references = torch.zeros(1, dtype=torch.float64)

    def __call__(self, graph, outputs):
        x, jacobian = graph.pos, torch.autograd.functional.jacobian
        n, parts = len(x), self.parts
        known = {
            "energy": lambda: parts["energy"](x).reshape(1),
            "forces": lambda: -jacobian(parts["energy"], x),
            "hessian": lambda: torch.autograd.functional.hessian(parts["energy"], x).reshape(
                3 * n, 3 * n
            ),
            "born_charges": lambda: jacobian(parts["dipole"], x).transpose(0, 1),
            "polarizability_gradient": lambda: jacobian(parts["polarizability"], x).permute(
                2, 3, 0, 1
            ),
        }
        return {name: known[name]() for name in outputs}


class AsCalculator(Calculator):
    """The same functions for ASE."""

    implemented_properties = ("energy", "forces", "dipole")

    def __init__(self, model):
        super().__init__()
        self.model = model

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x = torch.tensor(atoms.positions, requires_grad=True)
        energy = self.model.parts["energy"](x)
        self.results = {
            "energy": energy.item(),
            "forces": -torch.autograd.grad(energy, x)[0].numpy(),
            "dipole": self.model.parts["dipole"](x).detach().numpy(),
        }


ANGLE, LENGTH = np.radians(104.52), 0.9572


def water_energy(x):
    """Hoy, Mills and Strey, Mol. Phys. 24 (1972) 1265: f_rr 8.454, f_rr' -0.101, f_ra 0.219,
    f_aa 0.697 in aJ, Angstrom and radian."""
    a, b = x[1] - x[0], x[2] - x[0]
    p, q = a.norm() - LENGTH, b.norm() - LENGTH
    bend = torch.acos(a @ b / (a.norm() * b.norm())) - ANGLE
    return AJ * (
        4.227 * (p * p + q * q) - 0.101 * p * q + 0.219 * (p + q) * bend + 0.3485 * bend * bend
    )


def water_dipole(x):
    """Charges that flow as the bonds stretch."""
    total = torch.zeros(3, dtype=x.dtype)
    for h in (1, 2):
        bond = x[h] - x[0]
        total = total + (0.33 + 0.2 * (bond.norm() - LENGTH)) * bond
    return total


def bonds_polarizability(pairs):
    """Each bond has its own polarizability along and across, both growing with its length."""

    def polarizability(x):
        total = torch.zeros(3, 3, dtype=x.dtype)
        for i, j in pairs:
            bond = x[j] - x[i]
            r = bond.norm()
            n = bond / r
            along, across = 0.8 + 1.3 * (r - 1), 0.5 + 0.4 * (r - 1)
            total = total + along * torch.outer(n, n)
            total = total + across * (torch.eye(3, dtype=x.dtype) - torch.outer(n, n))
        return total

    return polarizability


WATER = Model(water_energy, water_dipole, bonds_polarizability([(0, 1), (0, 2)]))


def water(masses=(O16, H1, H1)):
    half = ANGLE / 2
    hydrogens = [[s * LENGTH * np.sin(half), 0, LENGTH * np.cos(half)] for s in (1, -1)]
    return Atoms("OHH", [[0, 0, 0], *hydrogens], masses=masses)


def springs(atoms, pairs, stretch, bend, centre=0):
    """Energy of bonds and of all angles at one atom, harmonic in cosines, eV/Angstrom^2 and eV."""
    start = torch.tensor(atoms.positions)

    def bonds(x):
        return [x[j] - x[i] for i, j in pairs]

    lengths = [b.norm() for b in bonds(start)]

    def cosines(x):
        of = [x[j] - x[centre] for j in range(len(x)) if j != centre]
        return [
            (a @ b) / (a.norm() * b.norm()) for k, a in enumerate(of) for b in of[:k]
        ]  # fmt: skip

    rest = cosines(start)

    def energy(x):
        e = sum(0.5 * stretch * (b.norm() - r) ** 2 for b, r in zip(bonds(x), lengths, strict=True))
        return e + sum(0.5 * bend * (c - r) ** 2 for c, r in zip(cosines(x), rest, strict=True))

    return energy


METHANE_BONDS = [(0, k) for k in range(1, 5)]


def methane_model(atoms):
    def dipole(x):
        return sum(0.1 * (x[k] - x[0]) * (1 + 0.5 * (x[k] - x[0]).norm()) for k in range(1, 5))

    energy = springs(atoms, METHANE_BONDS, 30.0, 3.0)
    return Model(energy, dipole, bonds_polarizability(METHANE_BONDS))


# Constants


def test_constants_have_their_literature_values():
    assert pytest.approx(974.8801, abs=1e-3) == units.INFRARED  # km/mol for each e^2/u
    debye = 1e-21 / si.c / (si.e * 1e-10)
    assert units.INFRARED * debye**2 == pytest.approx(42.2561, abs=1e-4)
    assert pytest.approx(521.4708, abs=1e-3) == units.WAVENUMBER
    assert pytest.approx(1.438777, abs=1e-6) == units.KELVIN
    assert pytest.approx(1.239842e-4, rel=1e-6) == units.QUANTUM
    assert pytest.approx(9.648533e-3, rel=1e-6) == units.ENERGY
    assert pytest.approx(43.4294, abs=1e-4) == units.DECADIC


def test_cross_section_is_that_of_polarizabilities_in_si():
    """pi^2/eps0^2 (nu_0 - nu)^4 h/(8 pi^2 c nu) S/(45 (1 - exp)), Neugebauer et al., J. Comput.
    Chem. 23 (2002) 895, with alpha in C m^2/V."""
    activity, shift, laser, temperature = 120.0, 1500.0, 532.0, 400.0
    to_si = (4 * np.pi * si.epsilon_0) ** 2 * 1e-40 / si.atomic_mass
    nu, nu0 = shift * 100, 1 / (laser * 1e-9)
    thermal = 1 - np.exp(-si.h * si.c * nu / (si.k * temperature))
    expected = np.pi**2 / si.epsilon_0**2 * (nu0 - nu) ** 4 * si.h / (8 * np.pi**2 * si.c * nu)
    expected *= activity * to_si / 45 / thermal * 1e34
    given = cross_section(np.array([activity]), np.array([shift]), laser, temperature)
    assert given[0] == pytest.approx(expected, rel=1e-8)
    cold = cross_section(np.array([activity]), np.array([shift]), laser, 0.0)
    assert cold[0] == pytest.approx(expected * thermal, rel=1e-8)
    with pytest.raises(InputError, match="cannot lose"):
        cross_section(np.array([1.0]), np.array([3000.0]), 4000.0, 300.0)


# Normal modes


@pytest.mark.parametrize(
    ("masses", "literature"),
    [
        # Benedict, Gailar and Plyler, J. Chem. Phys. 24 (1956) 1139.
        ((O16, H1, H1), (1648.47, 3832.17, 3942.53)),
        ((O16, D2, D2), (1206.39, 2763.80, 2888.78)),
    ],
)
def test_water_and_heavy_water_have_their_harmonic_wavenumbers(masses, literature):
    spectrum = harmonic_spectrum(water(masses), WATER)
    # The force field was fitted to them, to within 0.4.
    assert spectrum.wavenumbers == pytest.approx(literature, abs=0.5)
    assert np.abs(spectrum.modes.rigid).max() < 0.01
    assert spectrum.imaginary == 0
    assert spectrum.zero_point_energy == pytest.approx(sum(literature) / 2 / 8065.544, rel=1e-3)


def test_isotopes_obey_the_product_rule():
    """Teller and Redlich: ratios of all wavenumbers follow from masses and moments of inertia."""

    def rigid_part(atoms):
        moments = atoms.get_moments_of_inertia()
        m = atoms.get_masses()
        return np.sqrt(m.sum() ** 3 * moments.prod() / np.prod(m) ** 3)

    light, mixed = water(), water((O16, H1, D2))
    ratio = [np.prod(harmonic_spectrum(a, WATER).wavenumbers) for a in (mixed, light)]
    assert ratio[0] / ratio[1] == pytest.approx(rigid_part(mixed) / rigid_part(light), rel=1e-9)


def test_ase_finds_the_same_wavenumbers_and_intensities(tmp_path):
    atoms = water()
    spectrum = harmonic_spectrum(atoms, WATER)
    atoms.calc = AsCalculator(WATER)
    theirs = Infrared(atoms, name=str(tmp_path / "ir"), delta=1e-3, nfree=4)
    theirs.run()
    assert spectrum.wavenumbers == pytest.approx(theirs.get_frequencies()[6:].real, abs=0.02)
    # ASE's are in (Debye/Angstrom)^2/u.
    expected = theirs.intensities[6:] * 42.2561
    assert spectrum.infrared_intensities == pytest.approx(expected, rel=1e-4)


def test_carbon_dioxide_is_linear_with_four_modes_known_in_closed_form():
    m_o, m_c, k, bend, length = 15.995, 12.0, 95.0, 5.0, 1.16
    atoms = Atoms("COO", [[0, 0, 0], [length, 0, 0], [-length, 0, 0]], masses=[m_c, m_o, m_o])
    atoms.rotate(37, (1, 2, 3))

    def energy(x):
        a, b = x[1] - x[0], x[2] - x[0]
        straight = a / a.norm() + b / b.norm()
        e = 0.5 * k * ((a.norm() - length) ** 2 + (b.norm() - length) ** 2)
        return e + 0.5 * bend * straight @ straight

    q = 0.4  # on oxygen

    def dipole(x):
        return q * (x[1] + x[2] - 2 * x[0])

    spectrum = harmonic_spectrum(atoms, Model(energy, dipole))
    mass = 1 + 2 * m_o / m_c
    bending = 2 * bend / length**2
    squares = np.array([bending * mass, bending * mass, k, k * mass]) / m_o
    assert spectrum.wavenumbers == pytest.approx(np.sqrt(squares) * units.WAVENUMBER, rel=1e-9)
    assert len(spectrum.modes.rigid) == 5
    # All modes but the breathing one move O against C: dmu/dQ = q sqrt(2/m_o + 4/m_c).
    active = 974.8801 * q**2 * (2 / m_o + 4 / m_c)
    intensities = spectrum.infrared_intensities
    assert intensities[[0, 1, 3]] == pytest.approx(active, rel=1e-6)
    assert intensities[2] < 1e-12 * active
    with pytest.raises(InputError, match="no such head"):
        spectrum.raman()
    assert spectrum.depolarisation is None


def test_methane_has_degenerate_modes_and_the_selection_rules_of_td():
    atoms = molecule("CH4")
    spectrum = harmonic_spectrum(atoms, methane_model(atoms))
    w, ir = spectrum.wavenumbers, spectrum.infrared_intensities
    first = np.flatnonzero(np.diff(w, prepend=0) > 1e-3)
    sizes = np.diff(np.append(first, len(w)))
    assert sorted(sizes) == [1, 2, 3, 3]
    raman, rho = spectrum.raman_activities(), spectrum.depolarisation
    for start, size in zip(first, sizes, strict=True):
        members = slice(start, start + size)
        if size == 3:  # t2: both, depolarised
            assert ir[members] == pytest.approx(ir[start], rel=1e-6)
            assert ir[start] > 1
            assert rho[members] == pytest.approx(0.75, abs=1e-9)
        else:  # a1 and e: Raman only
            assert ir[members].max() < 1e-15 * ir.max() + 1e-18
            assert raman[start] > 0.1
            assert rho[members] == pytest.approx(0.0 if size == 1 else 0.75, abs=1e-9)


def test_rotated_moved_and_renumbered_molecules_have_the_same_spectrum():
    one = harmonic_spectrum(water(), WATER)
    other = water()
    turn = Rotation.from_rotvec([0.3, -1.2, 2.0]).as_matrix()
    other.positions = other.positions @ turn.T + [1.0, -7.0, 30.0]
    other = other[[0, 2, 1]]
    two = harmonic_spectrum(other, WATER)
    assert two.wavenumbers == pytest.approx(one.wavenumbers, abs=1e-7)
    assert two.infrared_intensities == pytest.approx(one.infrared_intensities, rel=1e-9)
    assert two.raman_activities() == pytest.approx(one.raman_activities(), rel=1e-9)
    assert two.depolarisation == pytest.approx(one.depolarisation, rel=1e-9)
    assert two.modes.reduced_masses == pytest.approx(one.modes.reduced_masses, rel=1e-9)


def test_raman_invariants_are_means_over_all_orientations():
    """<zz^2> = (45 a^2 + 4 g^2)/45, <xz^2> = 3 g^2/45: the 60 rotations of an icosahedron average
    polynomials of degree four as all rotations do."""
    spectrum = harmonic_spectrum(water(), WATER)
    gradient = spectrum.polarizability_gradient
    turns = Rotation.create_group("I").as_matrix()
    turned = np.einsum("rai,kij,rbj->rkab", turns, gradient, turns)
    along = (turned[..., 2, 2] ** 2).mean(axis=0)
    across = (turned[..., 0, 2] ** 2).mean(axis=0)
    assert spectrum.raman_activities("parallel") / 45 == pytest.approx(along, rel=1e-10)
    assert spectrum.raman_activities("perpendicular") / 45 == pytest.approx(across, rel=1e-10)
    assert spectrum.depolarisation == pytest.approx(across / along, rel=1e-10)
    assert spectrum.raman_activities() == pytest.approx(45 * (along + across), rel=1e-10)
    parts = [spectrum.raman_activities(p) for p in ("isotropic", "anisotropic")]
    assert sum(parts) == pytest.approx(spectrum.raman_activities(), rel=1e-12)


def test_modes_are_orthonormal_and_free_of_rigid_motion():
    atoms = molecule("CH3CH2OH")
    n, rng = len(atoms), np.random.default_rng(0)
    half = rng.normal(size=(3 * n, 3 * n))
    spectrum = harmonic_analysis(atoms, half @ half.T)
    modes = spectrum.modes
    weighted = (modes.vectors * np.sqrt(atoms.get_masses())[:, None]).reshape(-1, 3 * n)
    assert len(modes.wavenumbers) == 3 * n - 6
    assert weighted @ weighted.T == pytest.approx(np.eye(3 * n - 6), abs=1e-12)
    rigid = rigid_displacements(atoms.positions, atoms.get_masses())
    assert np.abs(weighted @ rigid.T).max() < 1e-12
    assert rigid @ rigid.T == pytest.approx(np.eye(6), abs=1e-12)


def test_crystal_at_gamma_keeps_all_but_three_translations():
    """Two ions on springs: three optical modes at (k/mu)^1/2, IR by the reduced mass."""
    k, charge = 6.0, 1.1
    atoms = Atoms("HC", [[0, 0, 0], [2, 2, 2]], cell=4 * np.eye(3), pbc=True)

    def energy(x):
        apart = x[1] - x[0] - 2
        return 0.5 * k * apart @ apart

    def dipole(x):
        return charge * (x[1] - x[0])

    spectrum = harmonic_spectrum(atoms, Model(energy, dipole))
    m1, m2 = atoms.get_masses()
    reduced = m1 * m2 / (m1 + m2)
    assert len(spectrum.modes.rigid) == 3
    assert spectrum.wavenumbers == pytest.approx(
        [units.WAVENUMBER * np.sqrt(k / reduced)] * 3, rel=1e-9
    )
    assert spectrum.infrared_intensities == pytest.approx(
        [974.8801 * charge**2 / reduced] * 3, rel=1e-6
    )


def test_librations_stay_where_turning_costs_energy():
    """A molecule in a field: its potential has the symmetry of a point group, not of space."""

    def energy(x):
        return water_energy(x) + 1e-2 * (x[1] - x[2]) @ (x[1] - x[2] - x.new_tensor([2.0, 0, 0]))

    free = harmonic_spectrum(water(), WATER)
    held = harmonic_spectrum(water(), Model(energy, group="mm2"))
    assert (len(free.wavenumbers), len(held.wavenumbers)) == (3, 6)
    assert held.wavenumbers[1] > 50


def test_atoms_and_diatomics():
    alone = harmonic_analysis(Atoms("H", [[1, 2, 3]]), np.zeros((3, 3)))
    assert len(alone.wavenumbers) == 0
    assert alone.zero_point_energy == 0
    atoms, k = Atoms("HC", [[0, 0, 0], [0.3, 0.4, 1.0]]), 30.0
    n = atoms.positions[1] / np.linalg.norm(atoms.positions[1])
    block = k * np.outer(n, n)
    spectrum = harmonic_analysis(atoms, np.block([[block, -block], [-block, block]]))
    m1, m2 = atoms.get_masses()
    expected = units.WAVENUMBER * np.sqrt(k * (m1 + m2) / (m1 * m2))
    assert spectrum.wavenumbers == pytest.approx([expected], rel=1e-12)


def test_saddle_has_a_negative_wavenumber():
    def energy(x):
        a, b = x[1] - x[0], x[2] - x[0]
        straight = a / a.norm() + b / b.norm()
        e = 20 * ((a.norm() - 1) ** 2 + (b.norm() - 1) ** 2)
        return e - straight @ straight + (straight @ straight) ** 2

    # On the saddle forces vanish; a little beside it they lead to the bent minimum.
    straight = Atoms("OHH", [[0, 0, 0], [1, 0, 0], [-1, 0, 0]])
    top = harmonic_spectrum(straight, Model(energy))
    assert top.imaginary == 2
    assert top.wavenumbers[0] < -100
    assert top.to_dict()["wavenumbers_per_cm"][0] < 0
    assert "i" in top.table().splitlines()[1]
    # Curves leave them out.
    assert (top.modes.wavenumbers > 0).sum() == 2
    straight.positions[1, 1] = 0.02
    bottom = harmonic_spectrum(straight, Model(energy))
    assert bottom.imaginary == 0
    assert len(bottom.wavenumbers) == 3


def test_relaxation_finds_the_minimum_from_a_distorted_structure():
    atoms = water()
    atoms.rattle(0.12, seed=3)
    with pytest.raises(InputError, match="relax it first"):
        harmonic_spectrum(atoms, WATER, relax=False)
    found = relaxed_atoms(atoms, WATER)
    assert found.get_distance(0, 1) == pytest.approx(LENGTH, abs=1e-7)
    assert found.get_angle(1, 0, 2) == pytest.approx(104.52, abs=1e-5)
    assert np.abs(evaluate(found, WATER, ("forces",))["forces"]).max() < 1e-6
    with pytest.raises(ConvergenceError, match="after 2 steps"):
        relaxed_atoms(atoms, WATER, max_steps=2)
    fall = Model(lambda x: -1 / (x[1] - x[0]).norm())
    with pytest.raises(ConvergenceError, match="during relaxation atoms"):
        relaxed_atoms(water(), fall)


def network(seed=2):
    settings = PotentialSettings(
        elements=(1, 8),
        heads=("energy", "dipole", "polarizability"),
        cutoff=4.0,
        channels=4,
        neighbours=2.0,
        edge_lmax=2,
        correlation=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Potential(settings).eval()


@pytest.fixture(scope="module")
def network_spectrum():
    """Of weights that nobody trained: some minimum that they happen to have."""
    potential = network()
    return potential, harmonic_spectrum(water(), potential)


def test_network_spectrum_agrees_with_displacements_along_its_modes(network_spectrum):
    """Second derivatives, Born charges and polarizability gradients against central differences."""
    potential, spectrum = network_spectrum
    assert spectrum.imaginary == 0
    assert np.abs(spectrum.modes.rigid).max() < 0.1
    h = 1e-4

    def at(mode, steps, *outputs):
        atoms = spectrum.atoms.copy()
        atoms.positions += steps * h * mode
        return evaluate(atoms, potential, outputs)

    for k, mode in enumerate(spectrum.modes.vectors):
        names = ("forces", "dipole", "polarizability")
        plus, minus = at(mode, 1, *names), at(mode, -1, *names)
        change = {name: (plus[name] - minus[name]) / (2 * h) for name in names}
        square = -(change["forces"] * mode).sum()
        assert spectrum.wavenumbers[k] == pytest.approx(
            np.sqrt(square) * units.WAVENUMBER, rel=1e-5
        )
        assert spectrum.dipole_gradient[k] == pytest.approx(change["dipole"][0], abs=1e-6)
        assert spectrum.polarizability_gradient[k] == pytest.approx(
            change["polarizability"][0], abs=1e-6
        )


def test_a_molecule_in_a_box_is_a_molecule(network_spectrum):
    """Wrapped across the cell's faces, too: six rigid motions, no line near zero."""
    potential, free = network_spectrum
    atoms = free.atoms.copy()
    atoms.set_cell(25 * np.eye(3))
    atoms.pbc = True
    atoms.wrap()
    boxed = harmonic_spectrum(atoms, potential)
    assert boxed.imaginary == 0
    assert boxed.wavenumbers == pytest.approx(free.wavenumbers, rel=1e-6)
    assert boxed.infrared_intensities == pytest.approx(free.infrared_intensities, rel=1e-4)
    grid = np.arange(0.0, 5000.0)
    one, two = (s.raman(wavenumbers=grid, laser=532.0).values for s in (free, boxed))
    assert two == pytest.approx(one, rel=1e-4, abs=1e-4 * one.max())
    assert one[0] < 0.01 * one.max()


def test_fragments_move_by_themselves(network_spectrum):
    potential, free = network_spectrum
    elements, cutoff = potential.settings.elements, potential.settings.cutoff
    two = free.atoms.copy()
    other = free.atoms.copy()
    other.positions += [9.0, 0, 0]
    two += other
    assert [f.index.tolist() for f in fragments(two, elements, cutoff)] == [[0, 1, 2], [3, 4, 5]]
    spectrum = harmonic_spectrum(two, potential)
    assert spectrum.wavenumbers == pytest.approx(np.repeat(free.wavenumbers, 2), rel=1e-6)
    # A chain repeats along one axis and turns about it; a layer does not turn.
    for pbc, cell, repeats, motions in (
        ((1, 0, 0), (3, 0, 0), 1, 4),
        ((1, 1, 0), (3, 3, 0), 2, 3),
        ((1, 1, 1), (3, 3, 3), 3, 3),
    ):
        crystal = Atoms("OH", [[0, 0, 0], [0.7, 0.8, 0]], cell=cell, pbc=pbc)
        (fragment,) = fragments(crystal, elements, cutoff)
        assert len(fragment.repeats) == repeats
        rigid = rigid_motions(crystal, crystal.get_masses(), potential)
        assert rigid @ rigid.T == pytest.approx(np.eye(motions), abs=1e-12)
    with pytest.raises(InputError, match="unknown to the model"):
        fragments(Atoms("C"), elements, cutoff)


def test_what_is_round_off_is_no_imaginary_mode():
    """A rigid body that is not removed, as where a potential is noisy."""
    hessian = np.zeros((9, 9))
    hessian[0, 0], hessian[3, 3] = 50.0, -1e-14
    modes = normal_modes(hessian, np.ones(3), np.zeros((0, 9)))
    spectrum = HarmonicSpectrum(water(), modes, polarizability_gradient=np.ones((9, 3, 3)))
    assert (modes.wavenumbers < 0).any()
    assert spectrum.imaginary == 0
    assert "i" not in spectrum.table().split("\n", 1)[1]
    assert len(spectrum.raman(laser=532.0).sticks) == 1
    # What is left of rigid motions where derivatives are inexact hides no real mode.
    inexact = NormalModes(np.array([-45.0, 40.0, 900.0]), np.ones((3, 3, 3)), np.array([-60.0, 20]))
    spectrum = HarmonicSpectrum(water(), inexact)
    assert spectrum.imaginary == 1
    assert spectrum.zero_point_energy == pytest.approx(units.QUANTUM / 2 * 940)


def test_bad_hessians_and_gradients_are_refused():
    atoms, good = water(), np.eye(9)
    skew = good.copy()
    skew[0, 5] = 0.5
    for hessian, text in (
        (skew, "symmetric"),
        (np.eye(6), "need"),
        (np.full((9, 9), np.nan), "finite"),
    ):
        with pytest.raises(InputError, match=text):
            harmonic_analysis(atoms, hessian)
    with pytest.raises(InputError, match="born_charges of shape"):
        harmonic_analysis(atoms, good, np.ones((3, 3)))
    with pytest.raises(InputError, match="masses"):
        harmonic_analysis(water((O16, H1, 0.0)), good)
    with pytest.raises(InputError, match="without an energy"):
        harmonic_spectrum(atoms, Model(None, water_dipole))


# Curves and files


@pytest.mark.parametrize("shape", ["lorentzian", "gaussian"])
def test_lines_have_their_area_and_width(shape):
    grid = np.arange(0, 4000, 0.05)
    line = broaden(np.array([2000.0]), np.array([7.0]), grid, 8.0, shape)
    assert np.trapezoid(line, grid) == pytest.approx(7.0, rel=2e-3)
    above = grid[line >= line.max() / 2]
    assert above[-1] - above[0] == pytest.approx(8.0, abs=0.11)


def test_curves_carry_the_strength_of_their_bands():
    spectrum = harmonic_spectrum(water(), WATER)
    curve = spectrum.infrared(fwhm=8.0, shape="gaussian")
    strengths = spectrum.infrared_intensities
    assert curve.area(1400, 1900) == pytest.approx(strengths[0], rel=1e-4)
    assert curve.area() == pytest.approx(strengths.sum(), rel=1e-4)
    assert curve.peak(1400, 1900) == pytest.approx(spectrum.wavenumbers[0], abs=0.01)
    raman = spectrum.raman(fwhm=8.0, shape="gaussian")
    assert raman.area(1400, 1900) == pytest.approx(spectrum.raman_activities()[0], rel=1e-4)
    seen = spectrum.raman(fwhm=8.0, shape="gaussian", laser=532, temperature=300)
    expected = cross_section(spectrum.raman_activities(), spectrum.wavenumbers, 532, 300)
    assert seen.area(1400, 1900) == pytest.approx(expected[0], rel=1e-4)
    with pytest.raises(InputError, match="fwhm"):
        spectrum.infrared(fwhm=0.0)
    with pytest.raises(InputError, match="part"):
        spectrum.raman(part="sideways")


def test_files_hold_numbers_and_units(tmp_path):
    spectrum = harmonic_spectrum(water(), WATER)
    spectrum.to_json(tmp_path / "modes.json")
    spectrum.to_csv(tmp_path / "modes.csv")
    content = json.loads((tmp_path / "modes.json").read_text())
    assert content["wavenumbers_per_cm"] == spectrum.wavenumbers.tolist()
    assert content["infrared_km_per_mol"] == spectrum.infrared_intensities.tolist()
    lines = (tmp_path / "modes.csv").read_text().splitlines()
    assert lines[0].startswith("mode,wavenumber (cm^-1),reduced mass (u),IR intensity (km/mol)")
    assert [float(line.split(",")[1]) for line in lines[1:]] == pytest.approx(spectrum.wavenumbers)
    curve = spectrum.infrared()
    curve.to_csv(tmp_path / "curve.csv")
    curve.to_json(tmp_path / "curve.json")
    header = (tmp_path / "curve.csv").read_text().splitlines()[0]
    assert header == "wavenumber (cm^-1),molar absorption coefficient (L mol^-1 cm^-1)"
    read = np.loadtxt(tmp_path / "curve.csv", delimiter=",", skiprows=1)
    assert read[:, 1] == pytest.approx(curve.values, rel=1e-6)
    assert json.loads((tmp_path / "curve.json").read_text())["unit"] == "L mol^-1 cm^-1"
    # A mode without Raman has no ratio, which JSON and CSV leave open.
    silent = harmonic_analysis(water(), np.eye(9), None, np.zeros((3, 3, 3, 3)))
    silent.to_json(tmp_path / "silent.json")
    silent.to_csv(tmp_path / "silent.csv")
    assert json.loads((tmp_path / "silent.json").read_text())["depolarisation"] == [None] * 3


def test_plots_have_the_axes_of_spectrometers(tmp_path, monkeypatch):
    drawn = []

    class Kept(Figure):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            drawn.append(self)

    monkeypatch.setattr("objstress.spectra.plots.Figure", Kept)
    spectrum = harmonic_spectrum(water(), WATER)
    plot_spectra(spectrum.infrared(), tmp_path / "ir.png")
    plot_spectra(spectrum.raman(), tmp_path / "raman.png")
    infrared, raman = (figure.axes for figure in drawn)
    left, right = infrared[0].get_xlim()
    assert left > 3900 > 0 == right
    assert raman[0].get_xlim()[0] < raman[0].get_xlim()[1]
    assert infrared[0].get_ylabel().endswith("L mol$^{-1}$ cm$^{-1}$")
    assert (infrared[1].get_ylabel(), raman[1].get_ylabel()) == ("km/mol", "Å$^{4}$/u")
    assert raman[1].get_xlabel() == "Raman shift, cm$^{-1}$"


def test_plots_leave_matplotlib_as_it_was(tmp_path):
    spectrum = harmonic_spectrum(water(), WATER)
    before = dict(matplotlib.rcParams)
    plot_spectra([spectrum.infrared(), spectrum.infrared(40.0)], tmp_path / "ir.png")
    plot_spectra(spectrum.raman(), tmp_path / "raman.svg", limits=(1000, 2000), title="water")
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "ir.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="plot them separately"):
        plot_spectra([spectrum.infrared(), spectrum.raman()], tmp_path / "both.png")
    with pytest.raises(InputError, match="not an image format"):
        plot_spectra(spectrum.raman(), tmp_path / "raman.xyz")


# Dynamics

TEMPERATURE = 350.0
THERMAL = units.BOLTZMANN * TEMPERATURE * units.ENERGY  # kT, u Angstrom^2/fs^2


def omega(wavenumbers):
    """rad/fs."""
    return 2 * np.pi * units.LIGHT * np.asarray(wavenumbers)


def oscillators(wavenumbers, time_step, records, replicas=8, seed=0):
    """Q(t) (replicas, records, modes) of oscillators with the mean energy kT each, any phase."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (replicas, 1, len(wavenumbers)))
    w, t = omega(wavenumbers), time_step * np.arange(records)
    return np.sqrt(2 * THERMAL) / w * np.cos(w * t[None, :, None] + phase)


@pytest.mark.parametrize("window", WINDOWS)
def test_band_areas_of_oscillators_are_the_harmonic_intensities(window):
    spectrum = harmonic_spectrum(water(), WATER)
    q = oscillators(spectrum.wavenumbers, 0.5, 16384)
    settings = Correlation(0.5, TEMPERATURE, resolution=15.0, window=window)
    dipole = 0.7 + q @ spectrum.dipole_gradient
    alpha = np.eye(3) + np.einsum("rtk,kij->rtij", q, spectrum.polarizability_gradient)
    ir = infrared_from_dipoles(dipole, settings)
    bands = [(1400, 1900), (3700, 3887), (3887, 4200)]
    # Without a window the feet of sin(x)/x reach from band to band.
    tolerance, shift = (0.06, 1.0) if window == "none" else (0.02, 0.2)
    for (low, high), wavenumber, area in zip(
        bands, spectrum.wavenumbers, spectrum.infrared_intensities, strict=True
    ):
        assert ir.area(low, high) == pytest.approx(area, rel=tolerance)
        assert ir.peak(low, high) == pytest.approx(wavenumber, abs=shift)
    for part in ("total", "perpendicular", "isotropic"):
        raman = raman_from_polarizabilities(alpha, settings, part=part)
        expected = spectrum.raman_activities(part)
        areas = [raman.area(*band) for band in bands]
        assert areas == pytest.approx(expected, rel=tolerance, abs=tolerance * expected.max())


def test_cross_sections_of_dynamics_and_harmonic_are_the_same():
    spectrum = harmonic_spectrum(water(), WATER)
    q = oscillators(spectrum.wavenumbers, 0.5, 16384)
    alpha = np.einsum("rtk,kij->rtij", q, spectrum.polarizability_gradient)
    settings = Correlation(0.5, TEMPERATURE, resolution=15.0)
    curve = raman_from_polarizabilities(alpha, settings, laser=532.0)
    expected = cross_section(spectrum.raman_activities(), spectrum.wavenumbers, 532.0, TEMPERATURE)
    assert curve.area(1400, 1900) == pytest.approx(expected[0], rel=0.02)
    assert curve.area(3600, 4200) == pytest.approx(expected[1:].sum(), rel=0.02)
    assert curve.unit == spectrum.raman(laser=532.0).unit


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("resolution", [5.0, 20.0])
def test_sharp_lines_have_the_stated_width(window, resolution):
    q = oscillators([1700.0], 0.5, 60000, replicas=1)
    settings = Correlation(0.5, TEMPERATURE, resolution=resolution, window=window)
    curve = infrared_from_dipoles(q * np.ones(3), settings)
    fine = np.arange(1600, 1800, 0.01)
    values = np.interp(fine, curve.wavenumbers, curve.values)
    above = fine[values >= values.max() / 2]
    assert above[-1] - above[0] == pytest.approx(resolution, rel=0.05)
    assert curve.width == resolution
    if window == "blackman-harris":
        assert curve.values.min() > -1e-3 * curve.values.max()


def test_liquids_follow_linear_response_in_si_units():
    """alpha n = 1/(6 eps0 c V kT) integral of <M'(0) M'(t)> exp(-i omega t) dt, directly."""
    volume, dt, records = 250.0, 1.0, 4000
    rng = np.random.default_rng(1)
    # A dipole that forgets itself.
    dipole = np.zeros((records, 3))
    for k in range(1, records):
        dipole[k] = 0.98 * dipole[k - 1] + 0.1 * rng.normal(size=3)
    settings = Correlation(dt, TEMPERATURE, resolution=100.0, window="hann")
    curve = infrared_from_dipoles(dipole, settings, volume=volume)
    rate = np.diff(dipole, axis=0) / dt * si.e * 1e-10 / 1e-15  # C m/s
    n, w = len(rate), 2 * np.pi * si.c * 100 * 700.0
    lags = np.arange(settings.steps + 1)
    correlation = np.array([(rate[: n - k] * rate[k:]).sum() / (n - k) for k in lags])
    hann = 0.5 * (1 + np.cos(np.pi * lags / settings.steps))
    terms = correlation * hann * np.cos(w * lags * 1e-15 * dt)
    integral = 1e-15 * dt * (terms[0] + 2 * terms[1:].sum())
    integral /= np.sinc(w * dt * 1e-15 / (2 * np.pi)) ** 2
    expected = integral / (6 * si.epsilon_0 * si.c * volume * 1e-30 * si.k * TEMPERATURE) / 100
    assert np.interp(700.0, curve.wavenumbers, curve.values) == pytest.approx(expected, rel=5e-3)
    assert curve.unit == "cm^-1"


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("harmonic", lambda x: x / (1 - np.exp(-x))),
        ("none", lambda x: 1 + 0 * x),
        ("standard", lambda x: 2 / (1 + np.exp(-x))),
        ("schofield", lambda x: np.exp(x / 2)),
    ],
)
def test_quantum_corrections_are_relative_to_the_harmonic_one(name, factor):
    x = np.array([1e-6, 0.3, 2.0, 9.0])
    expected = factor(x) / (x / (1 - np.exp(-x)))
    assert CORRECTIONS[name](x) == pytest.approx(expected, rel=1e-6)
    assert CORRECTIONS[name](np.zeros(1)) == pytest.approx(1.0)
    areas = [
        infrared_from_dipoles(
            oscillators([1500.0], 0.5, 10000) * np.ones(3),
            Correlation(0.5, TEMPERATURE, 20.0, quantum_correction=q),
        ).area()
        for q in (name, "harmonic")
    ]
    y = np.array(units.KELVIN * 1500 / TEMPERATURE)
    assert areas[0] / areas[1] == pytest.approx(factor(y) / (y / (1 - np.exp(-y))), rel=0.01)


def test_damped_oscillator_has_its_width_and_area():
    """Langevin's oscillator, sampled exactly: a band of width gamma/(2 pi c), area (dmu/dQ)^2."""
    w, gamma, dt, replicas, records = omega(1000.0), omega(60.0), 1.0, 48, 12000
    # Exact step of (Q, Q') from the matrix exponential, noise from the stationary covariance.
    from scipy.linalg import expm

    step = expm(np.array([[0, 1], [-(w**2), -gamma]]) * dt)
    still = np.diag([THERMAL / w**2, THERMAL])
    noise = np.linalg.cholesky(still - step @ still @ step.T)
    rng = np.random.default_rng(0)
    state = rng.normal(size=(replicas, 2)) * np.sqrt(np.diag(still))
    q = np.empty((replicas, records))
    for k in range(records):
        q[:, k] = state[:, 0]
        state = state @ step.T + rng.normal(size=(replicas, 2)) @ noise.T
    settings = Correlation(dt, TEMPERATURE, resolution=10.0)
    curve = infrared_from_dipoles(q[..., None] * np.array([1.0, 0, 0]), settings)
    # The scatter of the mean energy of 48 replicas over 12 ps is 1.2 %; outside is 4 % of the band.
    assert curve.area(200, 2200) == pytest.approx(units.INFRARED, rel=0.04)
    x = curve.wavenumbers
    band = units.INFRARED * units.DECADIC * 2 / np.pi * 60 * x**2
    band /= (1000**2 - x**2) ** 2 + (60 * x) ** 2
    assert curve.errors is not None
    seen = (x > 850) & (x < 1150)
    off = (curve.values - band)[seen] / curve.errors[seen]
    assert np.sqrt(np.mean(off**2)) < 1.6
    assert curve.errors[seen].max() < 0.1 * curve.values.max()


def test_verlets_shift_is_undone():
    """An oscillator at 3900 cm^-1 in steps of 0.5 fs, thermal in its positions."""
    w, dt, records = omega(3900.0), 0.5, 16000
    x = np.empty(records)
    x[0], before = np.sqrt(2 * THERMAL) / w, None
    for k in range(1, records):
        pull = -(w**2) * x[k - 1]
        x[k] = x[0] + 0.5 * dt**2 * pull if before is None else 2 * x[k - 1] - before + dt**2 * pull
        before = x[k - 1]
    dipole = x[:, None] * np.array([0, 0.6, 0.8])
    plain = infrared_from_dipoles(dipole, Correlation(dt, TEMPERATURE))
    mended = infrared_from_dipoles(dipole, Correlation(dt, TEMPERATURE, verlet_step=dt))
    assert plain.peak(3000) == pytest.approx(3922.3, abs=0.5)
    assert mended.peak(3000) == pytest.approx(3900.0, abs=0.1)
    assert mended.area(3000) == pytest.approx(units.INFRARED, rel=2e-3)


def test_density_of_states_counts_degrees_of_freedom():
    atoms = water()
    spectrum = harmonic_spectrum(atoms, WATER)
    dt = 0.5
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, (4, 1, 3))
    w, t = omega(spectrum.wavenumbers), dt * np.arange(16384)
    rates = -np.sqrt(2 * THERMAL) * np.sin(w * t[None, :, None] + phase)
    velocities = np.einsum("rtk,kni->rtni", rates, spectrum.modes.vectors)
    curve = density_of_states(velocities, atoms.get_masses(), Correlation(dt, TEMPERATURE))
    assert curve.area() == pytest.approx(3.0, rel=0.01)
    assert curve.area(1000, 2500) == pytest.approx(1.0, rel=0.01)
    with pytest.raises(InputError, match="velocities of shape"):
        density_of_states(velocities, [1.0, 1.0], Correlation(dt, TEMPERATURE))


def test_dynamics_of_water_shows_the_harmonic_spectrum():
    """Newton's equations in the anharmonic force field at 20 K, with the modes at kT each."""
    atoms, temperature, h, steps = water(), 20.0, 0.5, 4000
    spectrum = harmonic_spectrum(atoms, WATER)
    replicas, m = 24, torch.tensor(atoms.get_masses())[:, None]
    thermal = units.BOLTZMANN * temperature * units.ENERGY
    phase = np.random.default_rng(4).uniform(0, 2 * np.pi, (replicas, 3))
    w = omega(spectrum.wavenumbers)
    q, rate = np.sqrt(2 * thermal) / w * np.cos(phase), -np.sqrt(2 * thermal) * np.sin(phase)
    vectors = spectrum.modes.vectors
    x = torch.tensor(spectrum.atoms.positions + np.einsum("rk,kni->rni", q, vectors))
    v = torch.tensor(np.einsum("rk,kni->rni", rate, vectors))

    def acceleration(x):
        x = x.clone().requires_grad_()
        a, b = x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]
        r, s = a.norm(dim=1), b.norm(dim=1)
        bend = torch.acos((a * b).sum(1) / (r * s)) - ANGLE
        r, s = r - LENGTH, s - LENGTH
        energy = 4.227 * (r * r + s * s) - 0.101 * r * s + 0.219 * (r + s) * bend
        energy = AJ * (energy + 0.3485 * bend * bend)
        return -torch.autograd.grad(energy.sum(), x)[0] / m * units.ENERGY

    record = np.empty((steps, replicas, 3, 3))
    force = acceleration(x)
    for k in range(steps):
        record[k] = x.numpy()
        v = v + 0.5 * h * force
        x = x + h * v
        force = acceleration(x)
        v = v + 0.5 * h * force
    bonds = record[:, :, 1:] - record[:, :, :1]
    lengths = np.linalg.norm(bonds, axis=-1, keepdims=True)
    dipole = ((0.33 + 0.2 * (lengths - LENGTH)) * bonds).sum(axis=2).transpose(1, 0, 2)
    curve = infrared_from_dipoles(dipole, Correlation(h, temperature, 25.0, "hann", verlet_step=h))
    harmonic = spectrum.infrared_intensities
    assert curve.area(1400, 1900) == pytest.approx(harmonic[0], rel=0.02)
    assert curve.area(3600, 4200) == pytest.approx(harmonic[1:].sum(), rel=0.02)
    assert curve.peak(1400, 1900) == pytest.approx(spectrum.wavenumbers[0], abs=3)
    strongest = spectrum.wavenumbers[1 + harmonic[1:].argmax()]
    assert curve.peak(3600, 4200) == pytest.approx(strongest, abs=3)


def test_records_that_cannot_be_used_are_refused():
    settings = Correlation(0.5, 300.0)
    for dipole, text in (
        (np.zeros((100, 2)), "of shape"),
        (np.full((20000, 3), np.nan), "finite"),
        (np.zeros((1000, 3)), "too short"),
    ):
        with pytest.raises(InputError, match=text):
            infrared_from_dipoles(dipole, settings)
    for changes, text in (
        ({"time_step": 0.0}, "time_step"),
        ({"temperature": -3.0}, "temperature"),
        ({"window": "round"}, "blackman-harris"),
        ({"quantum_correction": "some"}, "schofield"),
        ({"verlet_step": 2.0}, "verlet_step"),
    ):
        with pytest.raises(InputError, match=text):
            Correlation(**({"time_step": 0.5, "temperature": 300.0} | changes))
    # What the message proposes does.
    with pytest.raises(InputError, match="allow") as caught:
        infrared_from_dipoles(np.zeros((1000, 3)), settings)
    proposed = float(str(caught.value).split("allow ")[1].split(",")[0])
    infrared_from_dipoles(np.zeros((1000, 3)), Correlation(0.5, 300.0, proposed))


def test_recordings_are_read_and_checked(tmp_path):
    path, times = tmp_path / "record.npz", 0.5 * np.arange(50)
    good = {"time_fs": times, "temperature_K": 300.0, "dipole": np.zeros((2, 50, 3))}
    np.savez(path, **good, volume_A3=90.0)
    record = read_recording(path)
    assert (record.time_step, record.temperature, record.volume) == (0.5, 300.0, 90.0)
    assert record.arrays["dipole"].shape == (2, 50, 3)
    uneven = times.copy()
    uneven[7] += 0.1
    for changes, text in (
        ({"time_fs": uneven}, "equal steps"),
        ({"dipole": np.zeros((49, 3))}, "for 50 times"),
        ({"temperature_K": None}, "no temperature_K"),
        ({"dipole": None}, "none of dipole"),
        ({"dipole": np.full((50, 3), "a")}, "dipole of <U1: give real numbers"),
        ({"dipole": np.zeros((50, 3), complex)}, "dipole of complex128"),
        ({"time_fs": times.astype(str)}, "time_fs of <U"),
        ({"temperature_K": "warm"}, "temperature_K of <U4"),
        ({"masses_u": np.array(["H"])}, "masses_u of <U1"),
        ({"volume_A3": "big"}, "volume_A3 of <U3"),
    ):
        np.savez(path, **{k: v for k, v in (good | changes).items() if v is not None})
        with pytest.raises(InputError, match=text):
            read_recording(path)
    np.savez(path, **good | {"dipole": np.zeros((50, 3), int)}, note="may be words")
    assert read_recording(path).arrays["dipole"].dtype == float
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match="readable"):
        read_recording(path)
    with pytest.raises(InputError, match="no such record"):
        read_recording(tmp_path / "nothing.npz")


# The shell


def test_spectra_from_the_shell(tmp_path, network_spectrum, shell):
    potential, spectrum = network_spectrum
    model, structure, record = tmp_path / "m.pt", tmp_path / "w.extxyz", tmp_path / "r.npz"
    potential.save(model)
    write(structure, water())
    q = oscillators(spectrum.wavenumbers, 0.5, 14000, replicas=2)
    np.savez(
        record,
        time_fs=0.5 * np.arange(14000),
        temperature_K=TEMPERATURE,
        dipole=q @ spectrum.dipole_gradient,
        polarizability=np.einsum("rtk,kij->rtij", q, spectrum.polarizability_gradient),
    )
    out = tmp_path / "out"
    options = ("--from-md", record, "--out", out, "--json")
    code, said, error = shell("spectra", model, structure, *options)
    assert code == 0, error
    answer = json.loads(said)
    assert answer["harmonic"]["wavenumbers_per_cm"] == pytest.approx(spectrum.wavenumbers, rel=1e-6)
    assert answer["dynamics"]["infrared"]["replicas"] == 2
    assert {"infrared.png", "raman.png", "harmonic.csv"} <= set(answer["files"])
    assert all((out / name).is_file() for name in answer["files"])
    harmonic, dynamics = (
        np.loadtxt(out / f"infrared-{name}.csv", delimiter=",", skiprows=1)
        for name in ("harmonic", "dynamics")
    )
    areas = [np.trapezoid(x[:, 1], x[:, 0]) for x in (harmonic, dynamics)]
    assert areas[1] == pytest.approx(areas[0], rel=0.05)
    for arguments, text in (
        ((), "nothing to do"),
        ((model,), "need both"),
        ((model, tmp_path / "no.xyz"), "no such structure"),
        ((model, model), "readable"),
    ):
        with pytest.raises(InputError, match=text):
            write_spectra(out, *arguments)
