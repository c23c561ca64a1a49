"""The result of a run of molecular dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from objstress.md.files import FRAMES, LOG, RECORD


@dataclass(frozen=True)
class MDRun:
    """A finished run.

    Attributes:
        atoms: at its end, with momenta.
        log: columns of log.csv: step, time_fs, potential_eV, kinetic_eV, total_eV, temperature_K,
            conserved_eV and, of structures periodic along all axes, pressure_GPa (kinetic part
            included) and volume_A3.
        steps: of the whole run.
        resumed: the step that an earlier run had left, 0 if none.
        ensemble, out: as given.
    """

    atoms: Atoms
    log: dict[str, np.ndarray]
    steps: int
    resumed: int
    ensemble: str
    out: Path

    def summary(self) -> dict[str, Any]:
        """The run in numbers: means over its second half, and how well it keeps what it should.

        `drift` is the slope of the conserved energy over the whole run, meV / atom / ps.
        """
        time = self.log["time_fs"] / 1000
        late = time >= time[-1] / 2
        kept = 1000 * self.log["conserved_eV"] / len(self.atoms)
        slope = float(np.polyfit(time, kept - kept[0], 1)[0]) if len(time) > 1 else 0.0
        found: dict[str, Any] = {
            "ensemble": self.ensemble,
            "steps": self.steps,
            "time_ps": float(time[-1]),
            "resumed_from_step": self.resumed,
            "temperature_K": float(self.log["temperature_K"][late].mean()),
            "drift_meV_per_atom_ps": slope,
        }
        for name in ("pressure_GPa", "volume_A3"):
            if name in self.log:
                found[name] = float(self.log[name][late].mean())
        names = (FRAMES, LOG, RECORD)
        files = [str(self.out / name) for name in names if (self.out / name).is_file()]
        return found | {"out": str(self.out), "files": files}
