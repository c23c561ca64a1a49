"""ABINIT as a calculator: DFT stresses with the ions relaxed inside ABINIT itself.

ASE's own `Abinit` drives the program; this module adds what a strain label needs: every run in a
folder of its own, the relaxed positions taken over, and a run that did not converge refused.
Install with `apt install abinit abinit-data` (Debian's 9.6.2). Any ABINIT variable may be given.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.abinit import Abinit, AbinitProfile
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.units import Bohr, Hartree

from objstress.errors import InputError

FCC_SHIFTS = [[0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
"""The four k-point shifts of an fcc mesh. ASE's `kpts=` writes a single one, which breaks the
cubic symmetry of the mesh."""

PSEUDOPOTENTIALS = "/usr/share/abinit/psp"


class AbinitCalculator(Calculator):
    """Energy, forces and stress by ABINIT; with `relax=True` the ions move to their equilibrium.

    After a relaxed run `results["positions"]` holds the relaxed positions (Angstrom); ASE's
    calculators do not move the atoms they are given.

    Args:
        relax: move the ions (ionmov 2, BFGS) until forces are below tolmxf (Hartree/Bohr).
        ecut_hartree: plane-wave cutoff, Hartree.
        command: the program.
        pseudopotentials: the folder that holds them.
        variables: ABINIT variables as ASE's `Abinit` takes them (energies in Hartree unless ASE
            gives them a unit: `ecut` is in eV there, so give it through `ecut_hartree`).

    Raises:
        InputError: the program is not installed; in `calculate`, no pseudopotential of an element.
        CalculationFailed: ABINIT failed, or left larger forces than it was asked to.
    """

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(
        self,
        *,
        relax: bool = True,
        ecut_hartree: float = 18.0,
        command: str = "abinit",
        pseudopotentials: str = PSEUDOPOTENTIALS,
        **variables: Any,
    ):
        super().__init__()
        self.relaxes_ions = relax
        self.version = program_version(command)
        self.command, self.pseudopotentials = command, Path(pseudopotentials)
        self.variables = dict(ecut=ecut_hartree * Hartree, **variables)
        if relax:
            self.variables = dict(ionmov=2, ntime=50, tolmxf=5e-6) | self.variables

    def describe(self) -> str:
        """Version and settings in one line, for the metadata of a label file."""
        shown = dict(sorted(self.variables.items()))
        shown["ecut"] = f"{shown['ecut'] / Hartree:g} Hartree"
        return f"ABINIT {self.version}: " + ", ".join(f"{k}={v}" for k, v in shown.items())

    def _chosen(self, folder: Path) -> Path:
        # Of several HGH files ASE takes the first by name, "12mg.10.hgh" before "12mg.2.hgh";
        # the one with the fewest electrons is meant.
        if self.variables.get("pps") != "hgh":
            return self.pseudopotentials
        chosen = folder / "psp"
        chosen.mkdir()
        atoms = cast(Atoms, self.atoms)
        for number, symbol in {(a.number, a.symbol.lower()) for a in atoms}:
            files = list(self.pseudopotentials.glob(f"{number}{symbol}.*.hgh"))
            if not files:
                raise InputError(
                    f"{self.pseudopotentials}: no HGH pseudopotential for {symbol.capitalize()}"
                )
            best = min(files, key=lambda p: int(p.name.split(".")[1]))
            (chosen / best.name).symlink_to(best)
        return chosen

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Run ABINIT in a folder of its own; `atoms`, `properties`, `system_changes` as in ASE."""
        super().calculate(atoms, properties, system_changes)
        with tempfile.TemporaryDirectory(prefix="objstress-abinit-") as folder:
            profile = AbinitProfile(self.command, pp_paths=str(self._chosen(Path(folder))))
            run = Abinit(profile=profile, directory=Path(folder) / "run", **self.variables)
            try:
                run.calculate(self.atoms, list(self.implemented_properties), all_changes)
            except Exception as error:
                raise CalculationFailed(f"ABINIT failed: {error}") from error
            final = run.results["atoms"]
        self.results = {k: run.results[k] for k in self.implemented_properties}
        if self.relaxes_ions:
            largest = float(np.abs(self.results["forces"]).max())
            allowed = 1.01 * self.variables["tolmxf"] * Hartree / Bohr
            if largest > allowed:
                raise CalculationFailed(
                    f"ABINIT left a force of {largest:.2g} eV/Angstrom (allowed {allowed:.2g})"
                )
            self.results["positions"] = final.positions


def default_abinit(**arguments: Any) -> AbinitCalculator:
    """ABINIT with defaults that are converged for silicon, see data/README.md.

    Args:
        arguments: of `AbinitCalculator`; they replace the defaults.
    """
    defaults: dict[str, Any] = dict(
        xc="LDA",
        pps="hgh",
        ecut_hartree=18.0,
        # A wide edge: with the usual 0.5 Ha plane waves that come and go with the strain leave
        # jumps in the stress, which a third derivative feels.
        ecutsm=3.0,
        nband=4,
        kptopt=1,
        ngkpt=[3, 3, 3],
        nshiftk=4,
        shiftk=FCC_SHIFTS,
        chksymbreak=0,
        chksymtnons=0,
        tolvrs=1e-10,
    )
    return AbinitCalculator(**(defaults | arguments))


def program_version(program: str) -> str:
    """The first line of `program --version`.

    Raises:
        InputError: the program is not on the path.
    """
    if shutil.which(program) is None:
        raise InputError(f"{program} is not installed (Debian: apt install {Path(program).name})")
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else "unknown"
