"""`objstress md`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, Seed, app, print_result


class Ensemble(str, Enum):
    nve = "nve"
    nvt = "nvt"
    npt = "npt"


class Moving(str, Enum):
    shape = "shape"
    volume = "volume"


@app.command()
def md(
    model: Annotated[Path, typer.Argument(help="Potential file.")],
    structure: Annotated[Path, typer.Argument(help="Structure file that ASE reads.")],
    ensemble: Annotated[
        Ensemble,
        typer.Option(
            help="Constant energy (nve), temperature (nvt), or temperature and pressure (npt)."
        ),
    ] = Ensemble.nve,
    temperature: Annotated[
        float, typer.Option(help="Temperature of the thermostat and of the initial velocities, K.")
    ] = 300.0,
    pressure: Annotated[
        float, typer.Option(help="Positive in compression, GPa, with --ensemble npt.")
    ] = 0.0,
    cell: Annotated[
        Moving,
        typer.Option(
            help="What the barostat changes: the whole cell, or its volume alone (liquids, cubic "
            "crystals)."
        ),
    ] = Moving.shape,
    timestep: Annotated[float, typer.Option(help="Time step, fs.")] = 0.5,
    time: Annotated[float, typer.Option(help="Length of the run, ps.")] = 1.0,
    out: Annotated[Path, typer.Option(help="Folder for trajectory, log, state and record.")] = (
        Path("out/md")
    ),
    seed: Seed = 0,
    every: Annotated[int, typer.Option(help="Number of steps between frames.")] = 20,
    record: Annotated[
        str,
        typer.Option(
            help="Quantities for spectra, written to record.npz: any of "
            "dipole,polarizability,velocities."
        ),
    ] = "",
    record_every: Annotated[int, typer.Option(help="Number of steps between records.")] = 2,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of resuming from OUT.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Molecular dynamics with a fitted potential.

    Rerun the command to resume an interrupted run from OUT, or with a longer --time to extend a
    finished one.
    """
    from objstress.md.run import run_md

    run = run_md(
        structure,
        model,
        out,
        ensemble=ensemble.value,
        time=time,
        timestep=timestep,
        temperature=temperature,
        pressure=pressure,
        cell=cell.value,
        seed=seed,
        every=every,
        record=[name.strip() for name in record.split(",") if name.strip()],
        record_every=record_every,
        fresh=fresh,
    )
    print_result(run.summary(), as_json, _text)


def _text(r: dict[str, Any]) -> str:
    lines = [
        f"{r['ensemble']}, {r['time_ps']:g} ps in {r['steps']} steps"
        + (f" (from step {r['resumed_from_step']})" if r["resumed_from_step"] else ""),
        f"temperature {r['temperature_K']:.1f} K (second half), conserved energy drifts by "
        f"{r['drift_meV_per_atom_ps']:.3g} meV/atom/ps",
    ]
    if "pressure_GPa" in r:
        lines.append(f"pressure {r['pressure_GPa']:.3f} GPa, volume {r['volume_A3']:.3f} A^3")
    return "\n".join([*lines, *r["files"]])
