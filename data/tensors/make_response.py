"""Dielectric and piezoelectric tensors and Born charges of real crystals by DFPT: response.json.

    apt install abinit abinit-data
    python data/tensors/make_response.py [--workers 2] [--check]

Each crystal has its measured lattice (300 K); its ions are relaxed in it, then ABINIT's density
functional perturbation theory gives the derivatives of the energy by electric field, strain and
displacement, and anaddb joins them: relaxed-ion tensors at fixed cell. LDA (Teter), HGH
pseudopotentials (no core correction, whose strain response is wrong in 9.6.2). A crystal that is
in the file is not done again; `--check` repeats gallium arsenide with denser k points and more
plane waves.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from pymatgen.core import Element, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from tqdm import tqdm

from objstress.calculators.abinit import PSEUDOPOTENTIALS
from objstress.io.files import write_whole
from objstress.parallel import spread
from objstress.symmetry.crystal import primitive_cell

HERE = Path(__file__).parent
OUT = HERE / "response.json"
LIMIT = 1500
"""Seconds for one crystal."""
SPACING = 0.45
"""1/Angstrom, largest distance of k points (with 2 pi), Gamma-centred."""

# Valence electrons of the pseudopotential, and the plane waves (Hartree) it needs.
ELEMENTS = {
    "H": (1, 40), "Li": (3, 40), "Be": (2, 25), "B": (3, 40), "C": (4, 42), "N": (5, 46),
    "O": (6, 50), "F": (7, 52), "Na": (1, 15), "Mg": (2, 18), "Al": (3, 18), "Si": (4, 18),
    "P": (5, 22), "S": (6, 26), "Cl": (7, 30), "K": (9, 34), "Ca": (10, 36), "Zn": (12, 48),
    "Ga": (3, 20), "Ge": (4, 20), "As": (5, 20), "Se": (6, 22), "Br": (7, 25), "Rb": (9, 28),
    "Sr": (10, 30), "Cd": (12, 38), "In": (3, 18), "Sn": (4, 18), "Sb": (5, 18), "Te": (6, 20),
    "I": (7, 22), "Cs": (9, 25), "Ba": (10, 28), "Pb": (4, 18),
}  # fmt: skip

# Prototype: space group, and the sites of its species; then the crystals, lattices in Angstrom.
CUBIC = {
    "F-43m": [[0, 0, 0], [0.25, 0.25, 0.25]],
    "Fm-3m": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "Pm-3m": [[0, 0, 0], [0.5, 0.5, 0.5]],
}
TWO = {
    "F-43m": "BN 3.615, BP 4.538, BAs 4.777, AlP 5.4635, AlAs 5.660, AlSb 6.1355, GaP 5.4505, "
    "GaAs 5.653, InP 5.869, ZnS 5.409, ZnSe 5.668, ZnTe 6.102, CdTe 6.482, BeS 4.870, BeSe 5.137, "
    "BeTe 5.627, SiC 4.3596, AlN 4.38, GaN 4.50",
    "Fm-3m": "LiH 4.084, LiF 4.027, LiCl 5.130, LiBr 5.501, NaF 4.634, NaCl 5.640, NaBr 5.973, "
    "NaI 6.473, KF 5.347, KCl 6.293, KBr 6.600, KI 7.066, RbCl 6.581, RbBr 6.889, MgO 4.212, "
    "CaO 4.811, CaS 5.695, CaSe 5.924, SrO 5.160, SrS 6.024, BaS 6.389, MgS 5.203, MgSe 5.463, "
    "NaH 4.88, KH 5.70, PbS 5.936, PbTe 6.462",
    "Pm-3m": "CsCl 4.123, CsBr 4.286, CsI 4.567",
}
FLUORITE = (
    "CaF2 5.463, SrF2 5.800, BaF2 6.200, Li2O 4.619, Na2S 6.539, K2S 7.406, Mg2Si 6.351, "
    "Mg2Ge 6.390, Be2C 4.342, Li2S 5.708, SrCl2 6.977"
)
STUFFED = (
    "LiMgN 4.955, LiMgP 6.005, LiMgAs 6.190, LiZnP 5.779, LiZnN 4.877, LiZnAs 5.940, LiCdP 6.096"
)
WURTZITE = (
    "AlN 3.112 4.982, GaN 3.189 5.185, BeO 2.698 4.377, ZnS 3.811 6.234, SiC 3.076 5.048, "
    "CdS 4.136 6.713, CdSe 4.299 7.010, ZnO 3.250 5.207, BN 2.553 4.228, MgTe 4.53 7.35, "
    "GaP 3.842 6.335"
)
IODIDE = (
    "MgBr2 3.810 6.256, MgI2 4.148 6.894, CaI2 4.480 6.960, SnS2 3.648 5.899, SnSe2 3.811 6.137, "
    "PbI2 4.557 6.979"
)
CHALCOPYRITE = (
    "MgSiP2 5.721 10.095 0.292, CdSiP2 5.678 10.431 0.2967, ZnSiP2 5.400 10.441 0.2691, "
    "ZnGeP2 5.465 10.771 0.2582"
)
PEROVSKITE = "KMgF3 3.989, CsCaF3 4.523, LiBaF3 3.995"


def entries(text: str) -> list[tuple[list[str], list[int], list[float]]]:
    """Species, their counts and numbers of "CaF2 5.463, ..."."""
    found = []
    for entry in text.split(", "):
        formula, *numbers = entry.split()
        parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
        found.append(([p[0] for p in parts], [int(p[1] or 1) for p in parts],
                      [float(x) for x in numbers]))  # fmt: skip
    return found


def of_group(group: str, lattice: Lattice, sites: list[tuple[str, list[float]]]) -> Structure:
    return Structure.from_spacegroup(group, lattice, [s for s, _ in sites], [x for _, x in sites])


def crystals() -> list[Structure]:
    """Primitive cells of all of them."""
    found = []

    def add(group: str, lattice: Lattice, *sites: tuple[str, list[float]]) -> None:
        found.append(of_group(group, lattice, list(sites)))

    for (a, b), _, (x, z) in entries(WURTZITE):
        hexagonal = Lattice.hexagonal(x, z)
        add("P6_3mc", hexagonal, (a, [1 / 3, 2 / 3, 0]), (b, [1 / 3, 2 / 3, 0.378]))
    for (a, b, c), _, (x,) in entries(STUFFED):
        quarter = [0.25, 0.25, 0.25]
        add("F-43m", Lattice.cubic(x), (a, [0, 0, 0]), (b, [0.5, 0.5, 0.5]), (c, quarter))
    for (a, b), _, (x, z) in entries(IODIDE):
        add("P-3m1", Lattice.hexagonal(x, z), (a, [0, 0, 0]), (b, [1 / 3, 2 / 3, 0.25]))
    add("P3_121", Lattice.hexagonal(4.366, 4.954), ("Se", [0.2254, 0, 1 / 3]))
    add("R3m", Lattice.hexagonal(4.164, 10.69), ("Ge", [0, 0, 0]), ("Te", [0, 0, 0.525]))
    add("P4_2/mnm", Lattice.tetragonal(4.517, 3.020), ("Mg", [0, 0, 0]), ("H", [0.304, 0.304, 0]))
    add("P6_3/mmc", Lattice.hexagonal(2.504, 6.661),
        ("B", [1 / 3, 2 / 3, 0.25]), ("N", [1 / 3, 2 / 3, 0.75]))  # fmt: skip
    add("P6/mmm", Lattice.hexagonal(3.648, 3.875),
        ("Li", [0, 0, 0.5]), ("Li", [1 / 3, 2 / 3, 0]), ("N", [0, 0, 0]))  # fmt: skip
    add("R-3m", Lattice.hexagonal(3.636, 17.667), ("Mg", [0, 0, 0]), ("Cl", [0, 0, 0.2578]))
    for (a, b), (n, _), (x,) in entries(FLUORITE):
        one, two = (a, b) if n == 1 else (b, a)
        add("Fm-3m", Lattice.cubic(x), (one, [0, 0, 0]), (two, [0.25, 0.25, 0.25]))
    for group, text in TWO.items():
        for (a, b), _, (x,) in entries(text):
            add(group, Lattice.cubic(x), *zip((a, b), CUBIC[group], strict=True))
    add("Fd-3m", Lattice.cubic(3.567), ("C", [0, 0, 0]))
    add("Fd-3m", Lattice.cubic(5.431), ("Si", [0, 0, 0]))
    for (a, b, c), _, (x, z, u) in entries(CHALCOPYRITE):
        add("I-42d", Lattice.tetragonal(x, z),
            (a, [0, 0, 0]), (b, [0, 0, 0.5]), (c, [u, 0.25, 0.125]))  # fmt: skip
    for (a, b, c), _, (x,) in entries(PEROVSKITE):
        # The smaller ion in the octahedra, in the middle.
        one, two = (a, b) if a != "Li" else (b, a)
        add("Pm-3m", Lattice.cubic(x), (one, [0, 0, 0]), (two, [0.5, 0.5, 0.5]), (c, [0.5, 0.5, 0]))
    add("P-3m1", Lattice.hexagonal(3.142, 4.766),
        ("Mg", [0, 0, 0]), ("O", [1 / 3, 2 / 3, 0.22]), ("H", [1 / 3, 2 / 3, 0.43]))  # fmt: skip
    add("Pnma", Lattice.orthorhombic(10.470, 3.641, 4.303),
        ("Ge", [0.1218, 0.25, 0.1068]), ("S", [0.8485, 0.25, 0.4982]))  # fmt: skip
    add("P4/nmm", Lattice.tetragonal(3.975, 5.023), ("Pb", [0, 0.5, 0.2351]), ("O", [0, 0, 0]))
    add("P4_2/mnm", Lattice.tetragonal(4.621, 3.052), ("Mg", [0, 0, 0]), ("F", [0.303, 0.303, 0]))
    return [primitive_cell(s) for s in found]


INPUT = """
ndtset 4
ionmov1 2  ntime1 40  tolmxf1 5e-6  tolvrs1 1e-13
getxred2 1  tolvrs2 1e-18
getxred3 1  getwfk3 2  iscf3 -3  kptopt3 2  nqpt3 1  qpt3 0 0 0
rfdir3 1 1 1  rfelfd3 2  tolwfr3 1e-18
getxred4 1  getwfk4 2  getddk4 3  kptopt4 2  nqpt4 1  qpt4 0 0 0
rfphon4 1  rfatpol4 1 {atoms}  rfdir4 1 1 1  rfelfd4 3  rfstrs4 3  tolvrs4 1e-8
acell 3*1 angstrom
rprim {rprim}
natom {atoms}  ntypat {kinds}  typat {types}  znucl {numbers}
xred {places}
ecut {ecut}  ixc 1  nband {bands}  occopt 1  nstep 80
ngkpt {mesh}  nshiftk 1  shiftk 0 0 0  chksymbreak 0
pseudos "{pseudos}"
prtden 0  prtden2 1  prteig 0
"""
ANADDB = "elaflag 3\npiezoflag 3\ninstrflag 1\ndieflag 3\nchneut 1\nnph1l 1\nqph1l 0 0 0 1\n"


def numbers(lines: list[str], rows: int) -> np.ndarray:
    """The next `rows` lines of numbers."""
    found: list[list[float]] = []
    for line in lines:
        try:
            found.append([float(x) for x in line.split()])
        except ValueError:
            continue
        if not found[-1]:
            found.pop()
        elif len(found) == rows:
            break
    return np.array(found)


def response(cell: Structure, finer: float = 1.0) -> dict | str:
    """One row, or why there is none."""
    symbols = list(dict.fromkeys(s.specie.symbol for s in cell))
    wanted = [ELEMENTS[s] for s in symbols]
    electrons = sum(ELEMENTS[s.specie.symbol][0] for s in cell)
    mesh = [int(np.ceil(finer * b / SPACING)) for b in cell.lattice.reciprocal_lattice.abc]
    texts = INPUT.format(
        atoms=len(cell), kinds=len(symbols), bands=electrons // 2,
        rprim=" ".join(f"{x:.14f}" for x in cell.lattice.matrix.ravel()),
        types=" ".join(str(symbols.index(s.specie.symbol) + 1) for s in cell),
        numbers=" ".join(str(Element(s).Z) for s in symbols),
        places=" ".join(f"{x:.14f}" for x in cell.frac_coords.ravel()),
        ecut=max(e for _, e in wanted) * finer, mesh=" ".join(map(str, mesh)),
        pseudos=", ".join(
            f"{PSEUDOPOTENTIALS}/{Element(s).Z}{s.lower()}.{q}.hgh"
            for s, (q, _) in zip(symbols, wanted, strict=True)
        ),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="objstress-dfpt-") as name:
        folder = Path(name)
        (folder / "run.abi").write_text(texts)
        (folder / "ana.abi").write_text(ANADDB)
        (folder / "ana.files").write_text("ana.abi\nana.abo\nruno_DS4_DDB\na\nb\nc\nd\n")
        one = os.environ | {"OMP_NUM_THREADS": "1"}
        try:
            for command, given in (
                (["abinit", "run.abi"], None),
                (["anaddb"], (folder / "ana.files").read_text()),
            ):
                with open(folder / "log", "w") as log:
                    subprocess.run(
                        command, cwd=folder, input=given, text=True, check=True, env=one,
                        stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT * finer**5,
                    )  # fmt: skip
            said = (folder / "run.abo").read_text()
            lines = (folder / "ana.abo").read_text().splitlines()
        except subprocess.TimeoutExpired:
            return f"longer than {LIMIT} s"
        except (subprocess.CalledProcessError, OSError) as error:
            return f"{error}: " + " ".join((folder / "log").read_text().split()[-40:])
    if "was not enough SCF cycles" in said or "not converged" in said:
        return "a cycle did not converge"

    def after(title: str, rows: int) -> np.ndarray:
        place = next(k for k, line in enumerate(lines) if title in line)
        return numbers(lines[place + 1 :], rows)

    try:
        relaxed = np.array(
            re.findall(rf"xred4?\s+((?:[-+.\dE]+\s+){{{3 * len(cell)}}})", said)[-1].split(),
            dtype=float,
        ).reshape(-1, 3)
        born = after("imposition of the charge neutrality", 3 * len(cell))[:, 2:]
        row = {
            "dielectric": after("Relaxed ion dielectric tensor", 3),
            "dielectric_electronic": after("Electronic dielectric tensor", 3),
            "piezoelectric": after("Proper piezoelectric constants (relaxed ion)", 6).T,
            # Rows of the table are the displacement, columns the field: Z*_ab = dP_a / du_b.
            "born_charges": born.reshape(len(cell), 3, 3).transpose(0, 2, 1),
        }
    except (StopIteration, IndexError, ValueError):
        return "anaddb's tables are not whole"
    ionic = np.linalg.eigvalsh(row["dielectric"] - row["dielectric_electronic"])
    if ionic[0] < -1e-3 or not 1 < row["dielectric_electronic"][0, 0] < 60:
        return "unstable ions, or a metal"
    moved = Structure(cell.lattice, cell.species, relaxed)
    group = SpacegroupAnalyzer(moved, symprec=1e-3).get_space_group_number()
    return {
        "formula_pretty": cell.composition.reduced_formula,
        "space_group": group,
        "calculator": f"ABINIT DFPT, LDA, HGH, {max(e for _, e in wanted) * finer:g} Ha, k {mesh}",
        "ions": "relaxed",
        "structure": Structure(
            Lattice(np.round(cell.lattice.matrix, 10)), cell.species, np.round(relaxed, 8)
        ).as_dict(verbosity=0),
    } | {key: (np.round(value, 5) + 0.0).tolist() for key, value in row.items()}


def cost(cell: Structure) -> float:
    """Of one crystal: plane waves x bands x k points x perturbations."""
    wanted = [ELEMENTS[s.specie.symbol] for s in cell]
    waves = cell.volume * max(e for _, e in wanted) ** 1.5
    points = np.prod(np.ceil(np.array(cell.lattice.reciprocal_lattice.abc) / SPACING))
    return waves * sum(q for q, _ in wanted) * points * (3 * len(cell) + 9)


def key(cell: Structure) -> tuple[str, str]:
    """The crystal: its formula and its lattice, which no relaxation changes."""
    return cell.composition.reduced_formula, " ".join(f"{x:.4f}" for x in cell.lattice.parameters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    cells = crystals()
    if given.check:
        cell = next(c for c in cells if c.composition.reduced_formula == "GaAs")
        for finer in (1.0, 1.5):
            print(json.dumps(response(cell, finer)))
        return
    keys = [key(c) for c in cells]
    stored = json.loads(OUT.read_text()) if OUT.exists() else []
    found = {key(Structure.from_dict(row["structure"])): row for row in stored}
    waiting = sorted((c for c in cells if key(c) not in found), key=cost)
    with spread(response, given.workers, None) as execute:
        for n, row in tqdm(execute((c,) for c in waiting), total=len(waiting)):
            if isinstance(row, str):
                tqdm.write(f"{waiting[n].composition.reduced_formula}: {row}")
                continue
            found[key(waiting[n])] = row
            rows = (json.dumps(found[k], separators=(",", ":")) for k in keys if k in found)
            write_whole(OUT, "[\n" + ",\n".join(rows) + "\n]\n")
    print(len(found), "of", len(cells))


if __name__ == "__main__":
    main()
