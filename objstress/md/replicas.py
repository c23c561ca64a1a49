"""Many replicas of one structure in one batch: one call of the potential for each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from torch import Tensor
from tqdm import tqdm

from objstress.calculators.potential import frozen, list_of
from objstress.errors import ConvergenceError, InputError
from objstress.graphs.verlet_list import lasting
from objstress.io.recording import write_record
from objstress.md.integrators import degrees_of_freedom, replica_generator, start_momenta
from objstress.md.settings import check_numbers, highest
from objstress.models.potential import Potential


@dataclass(frozen=True)
class Replicas:
    """Replicas at the end of a run, and their records.

    Attributes:
        atoms: replicas with their final positions and momenta.
        time_fs: (t,) times of the records, fs.
        potential: (replicas, t) potential energy, eV.
        kinetic: (replicas, t) kinetic energy, eV.
        timestep_fs: of the integrator, fs.
        temperature_K: mean over time and replicas, K.
        records: of "dipole" (replicas, t, 3) e Angstrom, "polarizability" (replicas, t, 3, 3)
            Angstrom^3, "velocities" (replicas, t, n, 3) Angstrom/fs those that were requested.
    """

    atoms: list[Atoms]
    time_fs: np.ndarray
    potential: np.ndarray
    kinetic: np.ndarray
    timestep_fs: float
    temperature_K: float
    records: dict[str, np.ndarray]

    def save(self, path: str | Path) -> None:
        """Write the records as npz, see `run_md`, with replicas as the first axis of each.

        Args:
            path: of the file.
        """
        write_record(
            path, self.atoms[0], self.time_fs, self.temperature_K, self.timestep_fs, self.records
        )


class ReplicasBlownUp(ConvergenceError):
    """A replica blew up.

    Args:
        message: which replica, and how.
        so_far: the run until then, to be saved or continued: records of the good steps, `atoms` at
            the last of them, all replicas at the same time.
    """

    def __init__(self, message: str, so_far: Replicas):
        super().__init__(message)
        self.so_far = so_far


def run_replicas(
    atoms: Atoms | Sequence[Atoms],
    potential: Potential | str | Path,
    replicas: int | None = None,
    *,
    ensemble: str = "nve",
    time: float = 1.0,
    timestep: float = 0.5,
    temperature: float = 300.0,
    thermostat_time: float = 100.0,
    seed: int = 0,
    record: Sequence[str] = (),
    record_every: int = 2,
    skin: float = 0.5,
    limit: float | None = None,
    progress: bool = True,
) -> Replicas:
    """Molecular dynamics of all replicas in one batch: velocity Verlet or `Langevin`, in float64.

    Each replica moves as it would in `run_md`, up to round-off; the momenta and the noise of
    replica k are those of `replica_generator(seed, k)`, however many replicas there are.

    Args:
        atoms: one structure, or one for each replica (the same atoms, masses, charge and cell;
            positions and momenta may differ, so that a run can continue another). Momenta: see
            `run_md`.
        potential: a potential or its file.
        replicas: number of replicas of one structure.
        ensemble: "nve" or "nvt".
        time: ps.
        timestep: fs.
        temperature: K.
        thermostat_time: relaxation time of the temperature, fs.
        seed: of the momenta and the noise.
        record: any of "dipole", "polarizability" and "velocities"; energies are always recorded.
        record_every: number of steps between records.
        skin: Angstrom, see `VerletList`.
        limit: K, see `run_md`.
        progress: show a progress bar.

    Returns:
        The replicas at the end, with records of shape (replicas, t, ...).

    Raises:
        InputError: see `run_md`; replicas that are not of one structure.
        ReplicasBlownUp: a replica blew up, its number is named; `so_far` holds the records and the
            last good structures, which are kept nowhere else.
    """
    structures = _structures(atoms, replicas)
    if ensemble not in ("nve", "nvt"):
        raise InputError(f"ensemble {ensemble!r}: replicas run at 'nve' or 'nvt'")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise InputError(f"temperature = {temperature} K: give a positive number")
    check_numbers(
        {
            "seed": seed,
            "time": time,
            "timestep": timestep,
            "thermostat_time": thermostat_time,
            "record": record,
            "record_every": record_every,
        }
    )
    first, n, number = structures[0], len(structures[0]), len(structures)
    limit = highest(limit, temperature)
    model = frozen(potential)
    graphs = list_of(structures, model, skin)
    random = [replica_generator(seed, k) for k in range(number)]
    thermal = ensemble == "nvt"
    for structure, numbers in zip(structures, random, strict=True):
        start_momenta(structure, ensemble, temperature, numbers)
    each = np.array([degrees_of_freedom(structure, thermal) for structure in structures])

    device = graphs.device
    dof = torch.tensor(each, device=device)
    pos = torch.tensor(np.array([s.positions for s in structures]), device=device)
    p = torch.tensor(np.array([s.get_momenta() for s in structures]), device=device)
    m = torch.tensor(first.get_masses(), device=device)[:, None]
    dt = timestep * units.fs
    decay = math.exp(-dt / (2 * thermostat_time * units.fs))
    spread = torch.sqrt((1 - decay**2) * units.kB * temperature * m)
    wanted = [name for name in record if name != "velocities"]

    def evaluate(also: Sequence[str] = ()) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = model(graphs(pos.reshape(-1, 3)), {"energy", "forces", *also})
        return {k: v.double() for k, v in outputs.items()}

    def bath(p: Tensor) -> Tensor:
        xi = np.array([numbers.standard_normal((n, 3)) for numbers in random])
        return decay * p + spread * torch.from_numpy(xi).to(device)

    series: dict[str, list[np.ndarray]] = {name: [] for name in ("potential", "kinetic", *record)}

    def store(outputs: dict[str, Tensor]) -> None:
        values: dict[str, Tensor] = {
            **outputs,
            "potential": outputs["energy"],
            "kinetic": 0.5 * (p**2 / m).sum((1, 2)),
            "velocities": p / m * units.fs,
        }
        for name, rows in series.items():
            rows.append(values[name].cpu().numpy())

    outputs = evaluate(wanted)
    if blown := _blown(outputs["energy"], p, m, dof, limit, 0.0):
        raise InputError(blown)
    store(outputs)

    def result(pos: Tensor, p: Tensor) -> Replicas:
        for structure, place, momenta in zip(structures, pos.cpu(), p.cpu(), strict=True):
            structure.positions = place.numpy()
            structure.set_momenta(momenta.numpy())
        arrays = {name: np.stack(rows, axis=1) for name, rows in series.items()}
        kinetic = arrays.pop("kinetic")
        return Replicas(
            structures,
            record_every * timestep * np.arange(kinetic.shape[1]),
            arrays.pop("potential"),
            kinetic,
            timestep,
            float((2 * kinetic.mean(1) / (each * units.kB)).mean()),
            arrays,
        )

    steps = record_every * math.ceil(round(1000 * time / timestep, 6) / record_every)
    bar = tqdm(range(1, steps + 1), desc=f"{number} x {ensemble}", disable=not progress)
    for step in bar:
        recorded, good = step % record_every == 0, (pos, p)
        if thermal:
            p = bath(p)
        p = p + 0.5 * dt * outputs["forces"].view(number, n, 3)
        pos = pos + dt * p / m
        try:
            outputs = evaluate(wanted if recorded else ())
        except InputError as error:
            blown = f"blown up at {step * timestep:g} fs: {error}"
        else:
            p = p + 0.5 * dt * outputs["forces"].view(number, n, 3)
            if thermal:
                p = bath(p)
            blown = _blown(outputs["energy"], p, m, dof, limit, step * timestep)
        if blown:
            raise ReplicasBlownUp(blown, result(*good))
        if recorded:
            store(outputs)
    return result(pos, p)


def _structures(atoms: Atoms | Sequence[Atoms], replicas: int | None) -> list[Atoms]:
    if isinstance(atoms, Atoms):
        if not isinstance(replicas, int | np.integer) or replicas < 1:
            raise InputError(f"replicas = {replicas}: give a whole number, at least 1")
        structures = [atoms] * replicas
    else:
        structures = list(atoms)
        if not structures or replicas not in (None, len(structures)):
            raise InputError(f"{len(structures)} structures for {replicas} replicas")
    first = structures[0]
    for k, other in enumerate(structures):
        same = (
            len(other) == len(first)
            and np.array_equal(other.numbers, first.numbers)
            and np.array_equal(other.cell.array, first.cell.array)
            and np.array_equal(other.pbc, first.pbc)
        )
        if not same:
            raise InputError(f"structure {k} has other atoms or another cell than structure 0")
        if lasting(other) != lasting(first):
            raise InputError(
                f"structure {k} has other masses or another charge than the first; run it alone"
            )
        if other.constraints:
            raise InputError("replicas cannot hold atoms fixed")
    return [structure.copy() for structure in structures]


def _blown(energy: Tensor, p: Tensor, m: Tensor, dof: Tensor, limit: float, at: float) -> str:
    """Which replica blew up, and how; empty if none did."""
    hot = (p**2 / m).sum((1, 2)) / (dof * units.kB)
    bad = ~(torch.isfinite(energy) & (hot <= limit))
    if not bad.any():
        return ""
    k = int(bad.nonzero()[0])
    return (
        f"replica {k} blew up at {at:g} fs: energy {float(energy[k]):g} eV, temperature "
        f"{float(hot[k]):.3g} K (limit {limit:g} K)"
    )
