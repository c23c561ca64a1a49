"""Molecular dynamics of one structure through ASE, stored on the way and resumable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.verlet import VelocityVerlet
from tqdm import tqdm

from objstress.calculators.potential import PotentialCalculator
from objstress.errors import ConvergenceError, InputError
from objstress.io.atoms import read_atoms
from objstress.io.files import write_whole
from objstress.io.recording import write_record
from objstress.io.run_folder import check_same
from objstress.md.files import (
    FRAMES,
    LAST_GOOD,
    LOG,
    RAW,
    RECORD,
    RunFiles,
    integrator_numbers,
    set_integrator_numbers,
    starting_point,
)
from objstress.md.integrators import (
    Langevin,
    barostat,
    degrees_of_freedom,
    replica_generator,
    start_momenta,
)
from objstress.md.result import MDRun
from objstress.md.settings import check_settings, highest
from objstress.models.potential import Potential

SAME = 1e-4
"""How far, relative to the largest, forces of the same potential differ at most (in float32)."""


def run_md(
    atoms: Atoms | str | Path,
    potential: Potential | Calculator | str | Path,
    out: str | Path,
    *,
    ensemble: str = "nve",
    time: float = 1.0,
    timestep: float = 0.5,
    temperature: float = 300.0,
    pressure: float = 0.0,
    cell: str = "shape",
    thermostat_time: float = 100.0,
    barostat_time: float = 1000.0,
    seed: int = 0,
    every: int = 20,
    record: Sequence[str] = (),
    record_every: int = 2,
    limit: float | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> MDRun:
    r"""Molecular dynamics of one structure, stored on the way and resumable.

    .. math::

        m_i \dot v_i = -\partial V / \partial r_i \quad (+ \text{thermostat, barostat})

    "nve" is velocity Verlet, "nvt" is `Langevin`, "npt" the barostat of Martyna, Tobias and Klein
    with Nose-Hoover chains (`barostat`). All three sample their ensemble. The noise of nvt wipes
    out spectra of motions slower than `thermostat_time`: record those at constant energy, after
    nvt.

    Repeat an interrupted call to resume from the last stored state; the result is, to the last bit,
    that of a run without the interruption. With a longer time a finished run continues.

    The folder holds log.csv, trajectory.extxyz (with momenta), state.safetensors and, with
    `record`, record.npz (see Returns; during the run its rows are appended to record.f64).

    Args:
        atoms: a structure or its file. Momenta that it has are kept, in npt less their mean;
            without any they are drawn at `temperature`, the centre of mass at rest, an isolated
            molecule without rotation (nve). From a relaxed structure half of that becomes potential
            energy at constant energy: draw at twice the temperature, or run nvt first.
        potential: a potential, its file, or another ASE calculator.
        out: folder of the run.
        ensemble: "nve", "nvt" or "npt".
        time: ps, rounded up to whole frames.
        timestep: fs; 0.5 with hydrogen, 1 to 2 without.
        temperature: K.
        pressure: GPa, hydrostatic, positive in compression.
        cell: in npt "shape", all of the cell moves, or "volume", for liquids and cubic crystals.
        thermostat_time: relaxation time of the temperature, fs.
        barostat_time: relaxation time of the pressure, fs.
        seed: of the momenta and the noise.
        every: number of steps between frames, rows of the log and stored states.
        record: any of "dipole", "polarizability" and "velocities".
        record_every: number of steps between records.
        limit: K beyond which the run has blown up; None is 10 times the temperature, at least
            5000 K.
        fresh: start over although `out` has a state.
        progress: show a progress bar.

    Returns:
        The run. record.npz holds time_fs (t,) and what was recorded: dipole (t, 3) e Angstrom,
        polarizability (t, 3, 3) Angstrom^3, velocities (t, n, 3) Angstrom/fs; also temperature_K
        (mean of the second half), timestep_fs, masses_u and, for structures periodic along all
        axes, volume_A3 (mean of the second half).

    Raises:
        InputError: see `atom_graph`; settings out of range; a state in `out` of another run.
        ConvergenceError: the run blew up (atoms on top of each other, NaN, too hot); the last good
            frame is in last-good.extxyz.
    """
    if isinstance(atoms, str | Path):
        atoms = read_atoms(atoms)
    if not isinstance(potential, Calculator):
        potential = PotentialCalculator(potential)
    settings = {
        "ensemble": ensemble,
        "timestep": timestep,
        "temperature": temperature,
        "pressure": pressure,
        "cell": cell,
        "thermostat_time": thermostat_time,
        "barostat_time": barostat_time,
        "seed": seed,
        "every": every,
        "record": sorted(record),
        "record_every": record_every,
    }
    # Numbers of NumPy are stored, and compared with those of an earlier run, as plain ones.
    settings = {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}
    check_settings(atoms, time, settings)
    limit = highest(limit, temperature)
    run = _Run(atoms, potential, Path(out), settings, limit, fresh)
    steps = every * math.ceil(round(1000 * time / timestep, 6) / every)
    try:
        resumed = run.begin()
        bar = tqdm(total=steps, initial=resumed, desc=ensemble, unit="step", disable=not progress)
        with bar:
            while run.step < steps:
                run.advance()
                bar.update()
                if run.step % every == 0:
                    bar.set_postfix_str(f"{run.temperature():.0f} K", refresh=False)
                    run.store()
    finally:
        run.files.close()
    return run.result(resumed)


class _Run:
    """A run between two steps."""

    def __init__(
        self,
        atoms: Atoms,
        calculator: Calculator,
        out: Path,
        settings: dict[str, Any],
        limit: float,
        fresh: bool,
    ):
        self.start, self.atoms = atoms, atoms.copy()
        self.atoms.info = {k: v for k, v in atoms.info.items() if k == "charge"}
        self.atoms.calc = calculator
        self.settings, self.limit = settings, limit
        self.random = replica_generator(settings["seed"])
        self.files = RunFiles(out, fresh)
        self.step = 0

    # -- the motion ---------------------------------------------------------------------------

    def begin(self) -> int:
        """At step 0, or where an earlier run was; the step."""
        kept = self.files.read_state()
        if kept is None:
            ensemble = self.settings["ensemble"]
            start_momenta(self.atoms, ensemble, self.settings["temperature"], self.random)
            self.dof = degrees_of_freedom(self.atoms, thermostat=ensemble == "nvt")
        else:
            self._take_up(*kept)
        needed = ("energy", "forces", *(["stress"] if self.settings["ensemble"] == "npt" else []))
        if missing := [n for n in needed if n not in self.atoms.calc.implemented_properties]:
            raise InputError(f"the potential has no {missing[0]}")
        self.atoms.get_potential_energy()
        available = {*self.atoms.calc.results, "velocities"}
        if missing := [name for name in self.settings["record"] if name not in available]:
            raise InputError(
                f"record {missing[0]}: the potential does not give it for this structure"
            )
        self.dynamics = self._integrator()
        if kept is None:
            self._check_step()
            self.files.start_over()
            self._record()
            self.store()
        else:
            self._restore(*kept)
            self.files.open(kept[1]["sizes"])
        self._keep_good()
        return self.step

    def _integrator(self) -> Any:
        s, fs = self.settings, units.fs
        step, damp = s["timestep"] * fs, s["thermostat_time"] * fs
        if s["ensemble"] == "nve":
            return VelocityVerlet(self.atoms, step)
        if s["ensemble"] == "nvt":
            return Langevin(self.atoms, step, s["temperature"], 1 / damp, self.random)
        return barostat(
            self.atoms,
            step,
            s["temperature"],
            s["pressure"] * units.GPa,
            damp,
            s["barostat_time"] * fs,
            shape=s["cell"] == "shape",
        )

    def advance(self) -> None:
        """Make one time step.

        Raises:
            ConvergenceError: see `run_md`; the atoms are those of the last good step.
        """
        try:
            self.dynamics.step()
            self.step += 1
            self._check_step()
        except (InputError, np.linalg.LinAlgError) as error:
            self._fail(str(error))
        self._keep_good()
        if self.step % self.settings["record_every"] == 0:
            self._record()

    def _check_step(self) -> None:
        energy, hot = self.atoms.get_potential_energy(), self.temperature()
        if not (math.isfinite(energy) and math.isfinite(hot)):
            raise InputError("energies are not finite (NaN or infinity)")
        if hot > self.limit:
            raise InputError(f"{hot:.3g} K, beyond {self.limit:g} K")

    def _keep_good(self) -> None:
        a = self.atoms
        self.good = self.step, a.get_positions(), a.get_momenta(), a.cell.array.copy()

    def _fail(self, why: str) -> NoReturn:
        step, positions, momenta, cell = self.good
        self.step = step
        self._place(positions, momenta, cell)
        path = self.files.out / LAST_GOOD
        write_whole(path, self._frame())
        raise ConvergenceError(
            f"blown up after {self._time():g} fs: {why}; the last good frame (step {step}) is in "
            f"{path}; try a shorter timestep, or more labels of such structures"
        )

    def _place(self, positions: np.ndarray, momenta: np.ndarray, cell: np.ndarray) -> None:
        self.atoms.set_cell(cell)
        self.atoms.set_positions(positions, apply_constraint=False)
        self.atoms.set_momenta(momenta, apply_constraint=False)

    def temperature(self) -> float:
        """K, by the momenta that share the kinetic energy."""
        return float(2 * self.atoms.get_kinetic_energy() / (self.dof * units.kB))

    def _time(self) -> float:
        return float(self.step * self.settings["timestep"])

    # -- what is stored -----------------------------------------------------------------------

    def store(self) -> None:
        """Write a frame, a row of the log and the state; what follows in the files is not valid."""
        row = self._row()
        if self.step == 0:
            self.files.append(LOG, ",".join(row) + "\n")
        self.files.append(LOG, ",".join(map(repr, row.values())) + "\n")
        self.files.append(FRAMES, self._frame())
        atoms = self.atoms
        arrays = {
            "positions": atoms.positions,
            "momenta": atoms.get_momenta(),
            "cell": atoms.cell.array,
            "forces": atoms.get_forces(apply_constraint=False),
            **{f"given {k}": v for k, v in starting_point(self.start).items()},
            **{f"integrator {k}": v for k, v in integrator_numbers(self.dynamics).items()},
        }
        facts = {
            "settings": self.settings,
            "step": self.step,
            "dof": self.dof,
            "sizes": self.files.sizes(),
            "random": self.random.bit_generator.state,
        }
        self.files.write_state(arrays, facts)

    def _row(self) -> dict[str, int | float]:
        atoms = self.atoms
        potential, kinetic = atoms.get_potential_energy(), float(atoms.get_kinetic_energy())
        total = potential + kinetic
        conserved = getattr(self.dynamics, "get_conserved_energy", lambda: total)()
        row: dict[str, int | float] = {
            "step": self.step,
            "time_fs": self._time(),
            "potential_eV": potential,
            "kinetic_eV": kinetic,
            "total_eV": total,
            "temperature_K": self.temperature(),
            "conserved_eV": float(conserved),
        }
        if atoms.pbc.all() and "stress" in atoms.calc.results:
            volume = float(atoms.get_volume())
            virial = -float(atoms.get_stress(apply_constraint=False)[:3].sum()) / 3
            row["pressure_GPa"] = (virial + 2 * kinetic / (3 * volume)) / units.GPa
            row["volume_A3"] = volume
        return row

    def _frame(self) -> str:
        self.atoms.get_forces()
        results = self.atoms.calc.results
        frame = self.atoms.copy()
        frame.info |= {"step": self.step, "time_fs": self._time()}
        frame.calc = SinglePointCalculator(
            frame, **{k: results[k] for k in ("energy", "forces", "stress") if k in results}
        )
        text = StringIO()
        write(text, frame, format="extxyz")
        return text.getvalue()

    def _record(self) -> None:
        if not self.settings["record"]:
            return
        values = [np.array([self._time()])]
        for name in self.settings["record"]:
            if name == "velocities":
                values.append(self.atoms.get_velocities() * units.fs)
            else:
                values.append(self.atoms.calc.get_property(name, self.atoms))
        self.files.append(RAW, np.concatenate([v.ravel() for v in values]).tobytes())

    def _take_up(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Take the place of an earlier run of the same settings and the same start."""
        out = self.files.out
        before = {name: facts["settings"].get(name) for name in self.settings}
        check_same(out, before, self.settings, "give another folder, or start over with fresh")
        for name, array in starting_point(self.start).items():
            if not np.array_equal(array, arrays.get(f"given {name}", np.nan)):
                raise InputError(
                    f"{out}: the run there started from other {name}; give another folder, or "
                    "start over with fresh"
                )
        self.step, self.dof = facts["step"], facts["dof"]
        self._place(arrays["positions"], arrays["momenta"], arrays["cell"])

    def _restore(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        forces = self.atoms.get_forces(apply_constraint=False)
        if np.abs(forces - arrays["forces"]).max() > SAME * np.abs(arrays["forces"]).max():
            raise InputError(
                f"{self.files.out}: the run there has another potential; give another folder, or "
                "start over with fresh"
            )
        prefix = "integrator "
        set_integrator_numbers(
            self.dynamics,
            {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)},
        )
        self.random.bit_generator.state = facts["random"]

    def result(self, resumed: int) -> MDRun:
        out, s = self.files.out, self.settings
        table = np.genfromtxt(out / LOG, delimiter=",", names=True, ndmin=1)
        log = {name: np.array(table[name]) for name in table.dtype.names or ()}
        run = MDRun(self.atoms, log, self.step, resumed, s["ensemble"], out)
        if s["record"]:
            shapes = {
                "dipole": (3,),
                "polarizability": (3, 3),
                "velocities": (len(self.atoms), 3),
            }
            widths = [1] + [math.prod(shapes[name]) for name in s["record"]]
            rows = np.fromfile(out / RAW).reshape(-1, sum(widths))
            time, *columns = np.split(rows, np.cumsum(widths)[:-1], axis=1)
            arrays = {
                name: column.reshape(-1, *shapes[name])
                for name, column in zip(s["record"], columns, strict=True)
            }
            means = run.summary()
            write_record(
                out / RECORD,
                self.atoms,
                time[:, 0],
                means["temperature_K"],
                s["timestep"],
                arrays,
                means.get("volume_A3"),
            )
        return run
