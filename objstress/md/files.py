"""Files of a run of molecular dynamics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.jsonio import encode
from ase.md.md import MolecularDynamics
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from objstress.errors import InputError
from objstress.graphs.atoms import total_charge
from objstress.io.files import check_writable, write_whole

STATE, LOG, FRAMES, RAW = "state.safetensors", "log.csv", "trajectory.extxyz", "record.f64"
RECORD, LAST_GOOD = "record.npz", "last-good.extxyz"


class RunFiles:
    """The files of a run: growing ones, and the state that says how much of them is valid."""

    def __init__(self, out: Path, fresh: bool):
        self.out = out
        check_writable(out, folder=True)
        out.mkdir(exist_ok=True)
        self._fresh = fresh
        self._known = [out / name for name in (STATE, LOG, FRAMES, RAW, RECORD, LAST_GOOD)]
        left = [path for path in self._known if path.is_file()]
        if left and not fresh and not self._known[0].is_file():
            raise InputError(
                f"{left[0]} exists, but no state to resume from; give another folder, or start "
                "over with fresh"
            )
        self._open: dict[str, Any] = {}

    def start_over(self) -> None:
        """Remove what an earlier run left."""
        for path in self._known:
            path.unlink(missing_ok=True)
        self.write_state({}, {"sizes": {}})
        self.open({})

    def open(self, sizes: dict[str, int]) -> None:
        """Open the growing files, cut to the sizes that the state holds."""
        for name in (LOG, FRAMES, RAW):
            size, path = sizes.get(name, 0), self.out / name
            if size > (path.stat().st_size if path.is_file() else 0):
                raise InputError(f"{path}: shorter than the state says; start over with fresh")
            if size or name != RAW:
                self._open[name] = path.open("ab")
                self._open[name].truncate(size)

    def append(self, name: str, content: str | bytes) -> None:
        if name not in self._open:
            self._open[name] = (self.out / name).open("wb")
        self._open[name].write(content.encode() if isinstance(content, str) else content)

    def sizes(self) -> dict[str, int]:
        """Bytes of each growing file on the disk."""
        for file in self._open.values():
            file.flush()
        return {name: (self.out / name).stat().st_size for name in self._open}

    def close(self) -> None:
        for file in self._open.values():
            file.close()

    def write_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        arrays = {k: np.array(v, order="C") for k, v in arrays.items()}
        write_whole(self.out / STATE, save(arrays, metadata={"facts": json.dumps(facts)}))

    def read_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        path = self.out / STATE
        if self._fresh or not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                facts = json.loads(file.metadata()["facts"])
                return (arrays, facts) if facts["sizes"] else None  # started, but nothing stored
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a state of a run ({error})") from None


def starting_point(atoms: Atoms) -> dict[str, np.ndarray]:
    """All that a run starts from; another run differs in one of these."""
    return {
        "atoms": atoms.numbers,
        "masses": atoms.get_masses(),
        "charge": np.array([total_charge(atoms)]),
        "constraints": np.frombuffer(encode(_constraints(atoms)).encode(), dtype=np.uint8),
        "positions": atoms.positions,
        "momenta": atoms.get_momenta(),
        "cell": atoms.cell.array,
        "periodic axes": atoms.pbc,
    }


def _constraints(atoms: Atoms) -> list[Any]:
    """Constraints as dictionaries; some of ASE's have no more than a name."""
    constraints = []
    for constraint in atoms.constraints:
        try:
            constraints.append(constraint.todict())
        except (AttributeError, NotImplementedError):
            constraints.append(type(constraint).__name__)
    return constraints


def _parts(dynamics: MolecularDynamics) -> dict[str, Any]:
    """The integrator itself, and its thermostat and barostat by name."""
    parts = {name: getattr(dynamics, name, None) for name in ("_thermostat", "_barostat")}
    return {"": dynamics} | {name: part for name, part in parts.items() if part is not None}


def integrator_numbers(dynamics: MolecularDynamics) -> dict[str, np.ndarray]:
    """All numbers that an integrator carries from step to step, and those it was made with."""
    return {
        f"{owner}.{name}": np.asarray(value)
        for owner, part in _parts(dynamics).items()
        for name, value in vars(part).items()
        if isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")
    }


def set_integrator_numbers(dynamics: MolecularDynamics, numbers: dict[str, np.ndarray]) -> None:
    """Put back what `integrator_numbers` gave."""
    owners = _parts(dynamics)
    for key, value in numbers.items():
        owner, name = key.split(".")
        if not hasattr(owners[owner], name):
            continue  # a name of an older version, for what follows from the settings
        setattr(owners[owner], name, float(value) if value.ndim == 0 else value.copy())
