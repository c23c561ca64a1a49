"""Elastic constants against an independent workflow, and ten thousand structures in a table.

`python -m benchmarks.properties` compares `crystal_properties` of twenty crystals of all seven
systems with pymatgen's own workflow (`DeformedStructureSet`, stresses of each deformed and relaxed
cell, `ElasticTensor.from_independent_strains`), which shares no code with ours but the calculator;
then screens `--structures` fcc-like alloys of EMT on two processes, with memory watched. Writes
properties.json and properties.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from ase import Atoms
from ase.build import bulk
from ase.optimize import BFGS
from ase.units import GPa
from pymatgen.analysis.elasticity import DeformedStructureSet, ElasticTensor, Strain, Stress
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from tqdm import tqdm

from objstress.calculators.registry import make_calculator
from objstress.io.files import write_json
from objstress.properties.crystal import crystal_properties
from objstress.properties.screening import screen
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.crystal import SYMPREC

DATA = Path(__file__).parents[1] / "data"
STRAINS = (-0.002, -0.001, 0.001, 0.002)
METALS = ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")
LAMMPS = {
    "magnesium": ("lammps", {"potential": "Mg_mm.eam.fs"}),
    "gallium-nitride": ("lammps", {"potential": "GaN.sw"}),
    "quartz": ("bks", {}),
    "stishovite": ("bks", {}),
    "forsterite": ("cmas94", {}),
    "coesite": ("bks", {}),
    "kyanite": ("cmas94", {}),
}


def crystals() -> dict[str, tuple[Any, str, dict[str, Any]]]:
    """{name: (structure, calculator, its arguments)}."""
    found: dict[str, tuple[Any, str, dict[str, Any]]] = {
        f"{metal}, EMT": (bulk(metal), "emt", {}) for metal in METALS
    }
    cubic = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.75), ["Cu", "Au"],
                                      [[0, 0.5, 0.5], [0, 0, 0]])  # fmt: skip
    layered = Structure(Lattice.tetragonal(2.8, 3.7), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found["Cu3Au, EMT"] = cubic, "emt", {}
    found["CuAu, EMT"] = layered, "emt", {}
    found["hcp copper, EMT"] = bulk("Cu", "hcp", a=2.56, c=4.18), "emt", {}
    for name in ("stillinger-weber", "kumagai", "erhart-albe"):
        found[f"silicon, {name}"] = DATA / "silicon" / "silicon.cif", name, {}
    for name, (calculator, arguments) in LAMMPS.items():
        found[f"{name}, {calculator}"] = DATA / "crystals" / f"{name}.cif", calculator, arguments
    return found


def by_pymatgen(structure: Structure, calculator: Any) -> np.ndarray:
    """Relaxed-ion constants of a relaxed cell, 6 x 6 Voigt, GPa."""
    deformed = DeformedStructureSet(structure, STRAINS, STRAINS)
    strains, stresses = [], []
    for cell, deformation in zip(deformed, deformed.deformations, strict=True):
        atoms: Atoms = AseAtomsAdaptor.get_atoms(cell, msonable=False)
        atoms.calc = calculator
        if len(atoms) > 1 and not BFGS(atoms, logfile=None).run(fmax=1e-6, steps=2000):
            raise SystemExit("the ions did not relax")
        cauchy = Stress(atoms.get_stress(voigt=False) / GPa)
        stresses.append(cauchy.piola_kirchoff_2(deformation))
        strains.append(Strain.from_deformation(deformation))
    tensor = ElasticTensor.from_independent_strains(strains, stresses, vasp=False)
    return np.asarray(tensor.fit_to_structure(structure, symprec=SYMPREC).voigt)


def compare(name: str, structure: Any, calculator: str, arguments: dict[str, Any]):
    """Constants by both, and the worst difference; those under a hundredth of the largest relative
    to that."""
    made = make_calculator(calculator, arguments)
    begun = time.perf_counter()
    ours = crystal_properties(structure, made)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    theirs = by_pymatgen(ours.structure, made)
    size = np.maximum(np.abs(theirs), 0.01 * np.abs(theirs).max())
    return {
        "crystal": name,
        "point_group": ours.point_group.symbol,
        "system": ours.point_group.crystal_system,
        "atoms": len(ours.structure),
        "stiffness_GPa": ours.stiffness.tolist(),
        "pymatgen_GPa": theirs.tolist(),
        "worst": float((np.abs(ours.stiffness - theirs) / size).max()),
        "seconds": seconds,
        "pymatgen_seconds": time.perf_counter() - begun,
    }


def alloys(count: int) -> Iterator[tuple[str, Structure]]:
    """Ordered cells of four atoms of EMT's metals, at random lattice constants around the mean."""
    rng = np.random.default_rng(0)
    sizes = {m: bulk(m, cubic=True).cell[0, 0] for m in METALS}
    cells = itertools.cycle(itertools.product(METALS, repeat=4))
    for k, metals in zip(range(count), cells, strict=False):
        a = float(np.mean([sizes[m] for m in metals])) * rng.uniform(0.98, 1.02)
        sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
        yield f"{k}-{''.join(metals)}", Structure(Lattice.cubic(a), metals, sites)


class Memory:
    """Resident memory of this process and its children, MB, sampled beside the work."""

    def __init__(self):
        self.samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        me, begun = psutil.Process(), time.perf_counter()
        while not self._stop.wait(2.0):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.samples.append((time.perf_counter() - begun, total / 1e6))

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()


def throughput(count: int) -> dict[str, Any]:
    """Structures a second and memory over time on two processes."""
    with tempfile.TemporaryDirectory() as folder, Memory() as memory:
        out = Path(folder) / "rows.csv"
        found = screen(alloys(count), "emt", out, workers=2)
        size = out.stat().st_size / 1e6
    used = np.array([m for _, m in memory.samples])
    fifth = max(1, len(used) // 5)
    return {
        "structures": found["structures"],
        "failed": len(found["failed"]),
        "reasons": sorted({f["error"].split(":")[0][:60] for f in found["failed"]}),
        "unstable": found["unstable"],
        "seconds": found["seconds"],
        "structures_per_second": found["structures"] / found["seconds"],
        "table_MB": size,
        "memory_MB": {
            "second_fifth": float(used[fifth : 2 * fifth].mean()),
            "last_fifth": float(used[-fifth:].mean()),
            "peak": float(used.max()),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="elastic constants against pymatgen's workflow")
    parser.add_argument("--structures", type=int, default=10_000, help="in the table; 0 for none")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    rows = [compare(name, *given) for name, given in tqdm(crystals().items(), desc="crystals")]
    claims = [
        Claim(
            f"worst elastic constant of {len(rows)} crystals of "
            f"{len({r['system'] for r in rows})} systems against pymatgen's workflow",
            100 * max(r["worst"] for r in rows), 0.5, "%",
        )
    ]  # fmt: skip
    content: dict[str, Any] = {"crystals": rows}
    if arguments.structures:
        table = content["screening"] = throughput(arguments.structures)
        grown = table["memory_MB"]["last_fifth"] / table["memory_MB"]["second_fifth"] - 1
        claims.append(
            Claim(
                f"{table['structures']} structures on two processes, "
                f"{table['structures_per_second']:.1f} a second: growth of memory from the second "
                "to the last fifth of the time", 100 * grown, 5.0, "%",
            )
        )  # fmt: skip
    lines = ["| crystal | point group | atoms | worst difference | s | pymatgen, s |"]
    lines.append("|" + " --- |" * 6)
    lines += [
        f"| {r['crystal']} | {r['point_group']} | {r['atoms']} | {100 * r['worst']:.3f} % | "
        f"{r['seconds']:.1f} | {r['pymatgen_seconds']:.1f} |"
        for r in rows
    ]
    text = "\n".join(["# Elastic constants against pymatgen's workflow", "", *lines, ""])
    (arguments.out / "properties.md").write_text(text + f"\n{claims_table(claims)}\n")
    write_json(
        arguments.out / "properties.json",
        {
            "claims": [c.to_dict() for c in claims],
            **content,
            "load_at_end": os.getloadavg(),
            "environment": environment(),
        },
    )
    print(text, claims_table(claims), sep="\n")


if __name__ == "__main__":
    main()
