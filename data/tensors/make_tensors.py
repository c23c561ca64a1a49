"""Elastic tensors of ordered alloys by embedded-atom potentials: elastic.json.

    python data/tensors/make_tensors.py [--workers 2]

The metals that one potential covers: the metals themselves, their pairs as L1_2, L1_0, B2 and
D0_22, and random superstructures of fcc, bcc and hcp (Hermite normal forms of 2 to 6 sites, random
decorations), in which the lower systems are common. Each cell is relaxed, its tensor differenced
with relaxed ions (`crystal_properties`); unstable crystals are left out, and those beyond a quota
of their system. Reproducible: the seed is fixed.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from ase.build import bulk
from pymatgen.core import Lattice, Structure
from tqdm import tqdm

from objstress.calculators.registry import make_calculator
from objstress.errors import InputError
from objstress.io.files import write_whole
from objstress.parallel import spread
from objstress.properties.crystal import crystal_properties

HERE = Path(__file__).parent
TEACHERS = {
    "EMT": ("emt", {}, ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")),
    "CuZr_mm.eam.fs": ("lammps", {"potential": "CuZr_mm.eam.fs"}, ("Cu", "Zr")),
    "AlFe_mm.eam.fs": ("lammps", {"potential": "AlFe_mm.eam.fs"}, ("Al", "Fe")),
    "NiAlH_jea.eam.alloy": ("lammps", {"potential": "NiAlH_jea.eam.alloy"}, ("Ni", "Al")),
}
SHARE = {"EMT": 0.7, "CuZr_mm.eam.fs": 0.1, "AlFe_mm.eam.fs": 0.1, "NiAlH_jea.eam.alloy": 0.1}
QUOTA = {
    "cubic": 120, "tetragonal": 120, "orthorhombic": 80, "trigonal": 60, "hexagonal": 30,
    "monoclinic": 80, "triclinic": 60,
}  # fmt: skip
TRIES = 1600
STABLE = 5.0
"""GPa: least eigenvalue of C (Mandel); below it a crystal is on the edge of another one."""


def volume(symbol: str) -> float:
    """Angstrom^3 an atom of the element's own crystal."""
    atoms = bulk(symbol)
    return atoms.get_volume() / len(atoms)


def superstructure(rng: np.random.Generator) -> tuple[str, Structure]:
    """Teacher and an ordered crystal of its metals."""
    teacher = str(rng.choice(list(SHARE), p=list(SHARE.values())))
    known = TEACHERS[teacher][2]
    sites = int(rng.integers(2, 7))
    divisors = [d for d in range(1, sites + 1) if sites % d == 0]
    a = int(rng.choice(divisors))
    rest = sites // a
    b = int(rng.choice([d for d in divisors if rest % d == 0]))
    c = rest // b
    form = np.array([[a, 0, 0], [rng.integers(b), b, 0], [rng.integers(c), rng.integers(c), c]])
    metals = rng.choice(known, size=min(len(known), int(rng.integers(2, 4))), replace=False)
    species = rng.choice(metals, size=sites)
    if rng.random() < 0.25 and sites in (2, 4):  # layers of hcp, for the hexagonal systems
        a0 = np.mean([volume(s) for s in species]) ** (1 / 3) * 2 ** (1 / 6)
        lattice = Lattice.hexagonal(a0, sites // 2 * np.sqrt(8 / 3) * a0)
        places = [[(1 + k % 2) / 3, (2 - k % 2) / 3, (k + 0.5) / sites] for k in range(sites)]
        return teacher, Structure(lattice, species, places)
    kind = "fcc" if rng.random() < 0.6 else "bcc"
    number = 4 if kind == "fcc" else 2
    edge = (number * np.mean([volume(s) for s in species])) ** (1 / 3)
    primitive = bulk("Cu", kind, a=edge).cell.array
    lattice = form @ primitive
    # The lattice points inside the larger cell.
    points = np.array(list(np.ndindex(*(2 * sites,) * 3))) - sites
    inside = points @ np.linalg.inv(form)
    chosen = np.unique(np.round(inside - np.floor(inside + 1e-9), 9), axis=0)
    assert len(chosen) == sites
    return teacher, Structure(Lattice(lattice), species, chosen)


def prototypes() -> list[tuple[str, Structure]]:
    """Metals and ordered pairs in the structures that alloys are known for."""
    found = []
    for teacher, (_, _, metals) in TEACHERS.items():
        for a in metals:
            found.append((teacher, cube(4, [a] * 4)))
            for b in metals:
                if a == b:
                    continue
                found += [
                    (teacher, cube(4, [a, b, b, b])),  # L1_2
                    (teacher, cube(8, [a, b, b, b, b, b, b, a])),  # D0_22
                ]
                if a < b:
                    found += [(teacher, cube(4, [a, b, b, a])), (teacher, cube(2, [a, b]))]
    return found


def cube(sites: int, species: list[str]) -> Structure:
    """Two sites of bcc, four of fcc, or two cells of fcc along z."""
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) if sites == 2 else fcc
    if sites == 8:
        places = np.concatenate([fcc, fcc + np.array([0, 0, 1])]) / [1, 1, 2]
    cells = 2 if sites == 8 else 1
    edge = (sites / cells * np.mean([volume(s) for s in species])) ** (1 / 3)
    return Structure(Lattice.tetragonal(edge, cells * edge), species, places)


class Worker:
    """One row, or why there is none."""

    made: dict = {}

    def __call__(self, teacher: str, structure: Structure) -> dict | str:
        name, arguments, _ = TEACHERS[teacher]
        if teacher not in Worker.made:
            Worker.made[teacher] = make_calculator(name, arguments)
        try:
            found = crystal_properties(structure, Worker.made[teacher])
        except InputError as error:
            return str(error)
        if found.stability.eigenvalues[0] < STABLE or (found.least_ion_stiffness or 1) < 0.1:
            return "unstable, or nearly so"
        cell = found.structure
        return {
            "formula_pretty": cell.composition.reduced_formula,
            "crystal_system": found.point_group.crystal_system,
            "space_group": found.space_group[1],
            "teacher": teacher,
            "ions": found.ions,
            "structure": Structure(
                Lattice(np.round(cell.lattice.matrix, 8)), [s.specie for s in cell],
                np.round(cell.frac_coords, 8),
            ).as_dict(verbosity=0),
            "elastic_tensor_voigt": np.round(found.stiffness, 4).tolist(),
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    rng = np.random.default_rng(0)
    jobs = prototypes() + [superstructure(rng) for _ in range(TRIES)]
    found: dict[int, dict | str] = {}
    with spread(Worker(), workers, None) as execute:
        for k, row in tqdm(execute(jobs), total=len(jobs)):
            found[k] = row
    rows, kept, seen = [], Counter(), set()
    for k in range(len(jobs)):  # in the order of the seed, whoever was faster
        row = found[k]
        if isinstance(row, str):
            continue
        c = row["elastic_tensor_voigt"]
        mark = row["formula_pretty"], row["space_group"], row["teacher"], round(c[0][0] + c[3][3])
        system = row["crystal_system"]
        if mark in seen or kept[system] >= QUOTA[system]:
            continue
        seen.add(mark)
        kept[system] += 1
        rows.append(row)
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    write_whole(HERE / "elastic.json", f"[\n{lines}\n]\n")
    print(len(rows), dict(kept), Counter(r["teacher"] for r in rows))


if __name__ == "__main__":
    main()
