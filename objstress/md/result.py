"""The result of molecular dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from objstress.md.files import FRAMES, LOG, RECORD


@dataclass(frozen=True)
class MDRun:
    """A finished run of molecular dynamics.

    Attributes:
        atoms: at the end of the run, with momenta.
        log: columns of log.csv, (t,) each: step, time_fs, potential_eV, kinetic_eV, total_eV,
            temperature_K, conserved_eV and, for structures periodic along all axes, pressure_GPa
            (kinetic part included) and volume_A3.
        steps: number of steps from the start.
        resumed: the step from which the run was resumed, 0 if none.
        ensemble: "nve", "nvt" or "npt".
        out: folder of the run.
    """

    atoms: Atoms
    log: dict[str, np.ndarray]
    steps: int
    resumed: int
    ensemble: str
    out: Path

    def summary(self) -> dict[str, Any]:
        """Means over the second half of the run, and the drift of the conserved energy.

        Returns:
            ensemble, steps, time_ps, resumed_from_step, temperature_K, drift_meV_per_atom_ps (slope
            of the conserved energy over the run), pressure_GPa and volume_A3 where logged, out and
            files.
        """
        time = self.log["time_fs"] / 1000
        late = time >= time[-1] / 2
        kept = 1000 * self.log["conserved_eV"] / len(self.atoms)
        slope = float(np.polyfit(time, kept - kept[0], 1)[0]) if len(time) > 1 else 0.0
        summary: dict[str, Any] = {
            "ensemble": self.ensemble,
            "steps": self.steps,
            "time_ps": float(time[-1]),
            "resumed_from_step": self.resumed,
            "temperature_K": float(self.log["temperature_K"][late].mean()),
            "drift_meV_per_atom_ps": slope,
        }
        for name in ("pressure_GPa", "volume_A3"):
            if name in self.log:
                summary[name] = float(self.log[name][late].mean())
        names = (FRAMES, LOG, RECORD)
        files = [str(self.out / name) for name in names if (self.out / name).is_file()]
        return summary | {"out": str(self.out), "files": files}
