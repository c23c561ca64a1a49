"""The command `md`."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, app, print_answer


class Ensemble(str, Enum):
    nve = "nve"
    nvt = "nvt"
    npt = "npt"


class Moving(str, Enum):
    shape = "shape"
    volume = "volume"


@app.command()
def md(
    model: Annotated[Path, typer.Argument(help="File of a potential.")],
    structure: Annotated[Path, typer.Argument(help="Structure file, read by ASE.")],
    ensemble: Ensemble = Ensemble.nve,
    temperature: Annotated[
        float, typer.Option(help="K; of the thermostat, and of the first velocities.")
    ] = 300.0,
    pressure: Annotated[float, typer.Option(help="GPa, with --ensemble npt.")] = 0.0,
    cell: Annotated[Moving, typer.Option(help="What of the cell moves in npt.")] = Moving.shape,
    timestep: Annotated[float, typer.Option(help="fs.")] = 0.5,
    time: Annotated[float, typer.Option(help="ps.")] = 1.0,
    out: Annotated[Path, typer.Option(help="Folder for trajectory, log, state and records.")] = (
        Path("out/md")
    ),
    seed: int = 0,
    every: Annotated[int, typer.Option(help="Steps from frame to frame.")] = 20,
    record: Annotated[
        str, typer.Option(help="Of dipole,polarizability,velocities: for spectra, into record.npz.")
    ] = "",
    record_every: Annotated[int, typer.Option(help="Steps from record to record.")] = 2,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew instead of going on from OUT.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Molecular dynamics with a potential; an interrupted run goes on from OUT."""
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
    print_answer(run.summary(), as_json, _text)


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
