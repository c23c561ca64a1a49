"""`objstress spectra`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, app, print_answer, say


@app.command()
def spectra(
    model: Annotated[Path | None, typer.Argument(help="Potential file.")] = None,
    structure: Annotated[
        Path | None, typer.Argument(help="Molecule or crystal, any file that ASE reads.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for spectra and pictures.")] = Path(
        "out/spectra"
    ),
    from_md: Annotated[
        Path | None,
        typer.Option(help="Record of dynamics (.npz), instead of MODEL and STRUCTURE or beside."),
    ] = None,
    fwhm: Annotated[
        float, typer.Option(help="Width of lines, resolution of dynamics, cm^-1.")
    ] = 10.0,
    laser: Annotated[
        float | None,
        typer.Option(help="Wavelength in nm: Raman cross sections instead of activities."),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Of the molecules that scatter, K; a record has its own.")
    ] = 300.0,
    verlet_step: Annotated[
        float | None,
        typer.Option(help="Time step of the dynamics in fs, whose shift of lines is undone."),
    ] = None,
    as_json: Json = False,
) -> None:
    """IR and Raman spectra: harmonic, at the minimum, or from the record of a run of dynamics."""
    from objstress.spectra.report import write_spectra

    result = write_spectra(
        out,
        model,
        structure,
        from_md,
        fwhm=fwhm,
        temperature=temperature,
        laser=laser,
        verlet_step=verlet_step,
    )
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    print_answer(result, as_json, _text)


def _text(result: dict[str, Any]) -> str:
    lines = [result["table"]] if "table" in result else []
    for name, facts in result.get("dynamics", {}).items():
        lines.append(
            f"{name} from {facts['replicas']} record(s) of {facts['record_fs']:g} fs at "
            f"{facts['temperature_K']:g} K, resolution {facts['width_per_cm']:g} cm^-1"
        )
    return "\n".join([*lines, f"{len(result['files'])} files in {result['out']}"])
