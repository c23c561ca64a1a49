"""Make the molecules' data: `python data/molecules/make_labels.py [NAME ...] [--workers N]`.

Each molecule is relaxed (relaxed.extxyz) and then labelled at distorted geometries, nine in ten
into NAME-train.extxyz, the others into NAME-test.extxyz: energy, forces, dipole and polarizability
by `objstress.calculators.pyscf`. Needs `pip install objstress[molecules]`. Files grow as the run
goes; rerun it to resume. Of several workers each takes one core.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii
from ase.io import read, write
from ase.optimize import BFGS
from ase.units import Bohr, Hartree, J, _c, _hbar, kB, second
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from objstress.calculators.pyscf import PySCFCalculator, isolated_atom
from objstress.errors import InputError
from objstress.io.files import write_whole

HERE = Path(__file__).parent
SEED = 5
TESTED = 0.1
FORCE = 1e-4
"""eV/Angstrom: no force of a relaxed geometry is larger."""
HOTTEST = 1500.0
"""K."""
HBAR = _hbar * J * second
SOFTEST = HBAR * 2 * np.pi * _c * 3e4 / second
"""eV: 300 cm^-1; softer modes are drawn no wider, being no longer straight lines."""


@dataclass(frozen=True)
class Molecule:
    """What is labelled.

    Attributes:
        make: a guess of the geometry, one hand.
        frames: number of labels.
        torsion: four atoms of a dihedral angle (the last one moves), none where nothing turns.
        scan: of the frames, so many are rigid turns of it, all around.
        hand: three vectors' (from, to) atoms; their triple product is positive for hand +1.
    """

    make: Callable[[], Atoms]
    frames: int
    torsion: tuple[int, int, int, int] | None = None
    scan: int = 0
    hand: tuple[tuple[int, int], ...] = ()


def hydrogen_peroxide(angle: float = 112.0) -> Atoms:
    """H O O H."""
    flat = [[0.2, 0.95, 0], [0, 0, 0], [1.46, 0, 0], [1.26, 0.95, 0]]
    atoms = Atoms("HOOH", positions=flat)
    atoms.set_dihedral(0, 1, 2, 3, angle, indices=[3])
    return atoms


def fluorochloromethanol() -> Atoms:
    """C H F Cl O H, the lowest of three turns of the hydroxyl."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    carbon = np.array([1.09, 1.37, 1.80, 1.36])[:, None] * corners
    hydroxyl = carbon[3] + 0.97 * np.array([1.0, -1.0, 1.0]) / np.sqrt(3)
    atoms = Atoms("CHFClOH", positions=[[0, 0, 0], *carbon, hydroxyl])
    turns = []
    for angle in (60, 180, 300):
        turned = atoms.copy()
        turned.set_dihedral(1, 0, 4, 5, angle, indices=[5])
        turns.append(relaxed(turned, rough(), 0.02))
    return min(turns, key=lambda a: a.get_potential_energy())


MOLECULES = {
    "water": Molecule(partial(molecule, "H2O"), 600),
    "methane": Molecule(partial(molecule, "CH4"), 300),
    # P (+1): H-O-O-H between 0 and 180 degrees.
    "hydrogen-peroxide": Molecule(
        hydrogen_peroxide, 500, (0, 1, 2, 3), 36, ((0, 1), (1, 2), (2, 3))
    ),
    # R (+1): Cl, F, O clockwise, seen with H behind.
    "fluorochloromethanol": Molecule(
        fluorochloromethanol, 120, (1, 0, 4, 5), 12, ((0, 2), (0, 3), (0, 4))
    ),
}


def rough() -> PySCFCalculator:
    """Cheap: where relaxations start, and how stiff the directions are that frames are drawn in."""
    return PySCFCalculator(basis="def2-SVP", grid=2)


def stiffness(atoms: Atoms) -> np.ndarray:
    """Hessian of the cheap method, (3 n, 3 n) eV/Angstrom^2."""
    hessian = rough().ground_state(atoms).Hessian().kernel() * Hartree / Bohr**2
    return hessian.transpose(0, 2, 1, 3).reshape(2 * [3 * len(atoms)])


def relaxed(atoms: Atoms, calculator: PySCFCalculator, force: float = FORCE) -> Atoms:
    atoms = atoms.copy()
    atoms.calc = calculator
    steps = BFGS(atoms, logfile=None)
    # A third of the steps that the usual start, a multiple of 1, takes.
    values, vectors = np.linalg.eigh(stiffness(atoms))
    steps.H0 = (vectors * np.maximum(np.abs(values), 1.0)) @ vectors.T
    if not steps.run(fmax=force, steps=200):
        raise SystemExit(f"{atoms.get_chemical_formula()} did not relax")
    return atoms


def hand_of(atoms: Atoms, name: str) -> int:
    """+1, -1, or 0 where the atoms that decide lie in one plane."""
    product = np.linalg.det(
        [atoms.positions[j] - atoms.positions[i] for i, j in MOLECULES[name].hand]
    )
    return 0 if abs(product) < 1e-6 else int(np.sign(product))


def labelled(atoms: Atoms, calculator: PySCFCalculator, **info: Any) -> Atoms:
    """A copy with its labels as `write` puts them into a file."""
    atoms = atoms.copy()
    calculator.calculate(atoms, calculator.implemented_properties)
    energy, forces, dipole, alpha = (
        np.round(calculator.results[k], 10)
        for k in ("energy", "forces", "dipole", "polarizability")
    )
    atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=forces, dipole=dipole)
    atoms.info = info | {
        "polarizability": alpha.ravel(),
        "calculator": calculator.describe(),
    }
    return atoms


@cache
def minimum(name: str) -> Atoms:
    """The relaxed geometry of hand +1 (or of the only one), from relaxed.extxyz or made."""
    for atoms in _relaxed_frames():
        if atoms.info["name"] == name and atoms.info["config_type"] == "minimum":
            return atoms
    given = MOLECULES[name]
    stationary = {"minimum": given.make()}
    if name == "hydrogen-peroxide":  # planar ones stay planar
        stationary |= {"cis barrier": hydrogen_peroxide(0), "trans barrier": hydrogen_peroxide(180)}
    new = []
    for kind, guess in stationary.items():
        atoms = relaxed(relaxed(guess, rough(), 0.02), PySCFCalculator())
        atoms.positions -= atoms.get_center_of_mass()
        if given.hand and hand_of(atoms, name) < 0:
            atoms.positions[:, 2] *= -1
        both = [atoms]
        if given.hand and hand_of(atoms, name):
            both.append(atoms.copy())
            both[1].positions[:, 2] *= -1
        for one in both:
            extra = {"hand": hand_of(one, name)} if given.hand else {}
            new.append(labelled(one, PySCFCalculator(), name=name, config_type=kind, **extra))
    _write(HERE / "relaxed.extxyz", [text(a) for a in _relaxed_frames() + new])
    return new[0]


def _relaxed_frames() -> list[Atoms]:
    path = HERE / "relaxed.extxyz"
    if not path.exists():
        return []
    frames = read(path, ":")
    order = list(MOLECULES)
    return sorted(frames, key=lambda a: order.index(a.info["name"]))


@dataclass
class Sampler:
    """Distorted geometries of one molecule; frame `index` is always the same.

    Displacements along the normal modes are normal with, in mass-weighted coordinates, variance

        classical: k T / w^2,    quantum: hbar / (2 w) coth(hbar w / (2 k T))

    the latter with the width of the zero-point motion. Of a molecule that has a torsion it is then
    turned by any angle in half of the frames. Every tenth frame is `distorted` further: a bond to
    hydrogen 0.75 to 1.7 times as long, or all atoms shifted by up to 0.2 Angstrom (one sigma).
    Molecules are turned at random, and each hand comes with the same probability.
    """

    name: str
    atoms: Atoms
    modes: np.ndarray
    frequencies: np.ndarray

    @classmethod
    def of(cls, name: str) -> "Sampler":
        atoms = minimum(name)
        root = np.sqrt(np.repeat(atoms.get_masses(), 3))
        weighted = stiffness(atoms) / root[:, None] / root
        squares, vectors = np.linalg.eigh(weighted)
        # Six of no restoring force come first: this close to a minimum nothing else is as soft.
        keep = np.argsort(np.abs(squares))[6:]
        frequencies = np.sqrt(np.abs(squares[keep]))
        return cls(
            name,
            Atoms(atoms.numbers, atoms.positions),
            (vectors[:, keep] / root[:, None]).T.reshape(-1, len(atoms), 3),
            np.maximum(frequencies, SOFTEST / HBAR),
        )

    def frames(self, index: int):
        """Geometries for frame `index`, one after the other: (atoms, kind)."""
        given = MOLECULES[self.name]
        rng = np.random.default_rng([SEED, list(MOLECULES).index(self.name), index])
        while True:
            atoms = self.atoms.copy()
            if index < given.scan:
                kind = "scan"
                atoms.set_dihedral(
                    *given.torsion, 360 * index / given.scan, indices=[given.torsion[3]]
                )
            else:
                kinds = ["classical", "quantum", "torsion", "distorted"]
                shares = [0.2, 0.2, 0.5, 0.1] if given.torsion else [0.3, 0.55, 0, 0.15]
                kind = str(rng.choice(kinds, p=shares))
                self._move(atoms, kind, rng)
                if given.hand and rng.random() < 0.5:
                    atoms.positions[:, 2] *= -1
            atoms.positions -= atoms.get_center_of_mass()
            atoms.positions = Rotation.random(rng=rng).apply(atoms.positions)
            if _apart(atoms):
                yield atoms, kind

    def _move(self, atoms: Atoms, kind: str, rng: np.random.Generator) -> None:
        w, heat = self.frequencies, kB * rng.uniform(0.05, 1) * HOTTEST
        if kind == "classical":
            variance = heat / w**2
        else:
            variance = HBAR / (2 * w) / np.tanh(HBAR * w / (2 * heat))
        amplitudes = rng.normal(size=len(w)) * np.sqrt(variance)
        atoms.positions += np.einsum("m,mkx->kx", amplitudes, self.modes)
        torsion = MOLECULES[self.name].torsion
        if kind == "torsion" and torsion:
            atoms.rotate_dihedral(*torsion, rng.uniform(0, 360), indices=[torsion[3]])
        if kind == "distorted" and rng.random() < 0.5:
            k = rng.choice(np.flatnonzero(atoms.numbers == 1))
            to = np.where(atoms.numbers == 1, np.inf, atoms.get_distances(k, range(len(atoms))))
            bond = atoms.positions[k] - atoms.positions[np.argmin(to)]
            atoms.positions[k] += (rng.uniform(0.75, 1.7) - 1) * bond
        elif kind == "distorted":
            atoms.positions += rng.normal(size=(len(atoms), 3)) * rng.uniform(0.05, 0.2)


def _apart(atoms: Atoms) -> bool:
    radii = covalent_radii[atoms.numbers]
    least = 0.6 * (radii[:, None] + radii)
    return bool((atoms.get_all_distances() + 10 * np.eye(len(atoms)) > least).all())


def label(sampler: Sampler, index: int) -> str:
    """Frame `index` as text; a geometry that has no closed shell is replaced by the next."""
    for atoms, kind in sampler.frames(index):
        info = {"config_type": kind, "frame": index}
        if MOLECULES[sampler.name].hand:
            info["hand"] = hand_of(atoms, sampler.name)
        try:
            return text(labelled(atoms, PySCFCalculator(), **info))
        except InputError:
            continue
    raise AssertionError


def text(atoms: Atoms) -> str:
    out = StringIO()
    write(out, atoms, format="extxyz")
    return out.getvalue()


def tested(name: str, index: int) -> bool:
    return np.random.default_rng([SEED, list(MOLECULES).index(name), index, 1]).random() < TESTED


def labels(name: str, workers: int) -> None:
    paths = {part: HERE / f"{name}-{part}.extxyz" for part in ("train", "test")}
    done: dict[int, str] = {}
    for path in paths.values():
        if path.exists():
            for atoms in read(path, ":"):
                if atoms.info["calculator"] != PySCFCalculator().describe():
                    raise SystemExit(f"{path} was begun with other settings; delete it")
                done[atoms.info["frame"]] = text(atoms)
    todo = [i for i in range(MOLECULES[name].frames) if i not in done]
    if not todo:
        return
    sampler = Sampler.of(name)
    with tqdm(total=len(todo) + len(done), initial=len(done), desc=name) as bar:
        for index, frame in zip(todo, _results(sampler, todo, workers), strict=True):
            done[index] = frame
            part = "test" if tested(name, index) else "train"
            _write(
                paths[part], [done[i] for i in sorted(done) if tested(name, i) == (part == "test")]
            )
            bar.update()


def _results(sampler: Sampler, todo: list[int], workers: int):
    if workers == 1:
        yield from map(partial(label, sampler), todo)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        yield from pool.map(partial(label, sampler), todo)


def _one_thread() -> None:
    from pyscf import lib

    lib.num_threads(1)


def _write(path: Path, frames: list[str]) -> None:
    write_whole(path, "".join(frames))


def atoms_alone() -> None:
    path = HERE / "isolated_atoms.extxyz"
    if not path.exists():
        _write(path, [text(isolated_atom(symbol)) for symbol in ("H", "C", "O", "F", "Cl")])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MOLECULES))
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    atoms_alone()
    for name in chosen.names or MOLECULES:
        minimum(name)
        labels(name, chosen.workers)
