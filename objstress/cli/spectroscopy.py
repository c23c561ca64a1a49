"""`objstress spectra`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, app, print_result, say


@app.command()
def spectra(
    model: Annotated[Path | None, typer.Argument(help="Potential file.")] = None,
    structure: Annotated[
        Path | None, typer.Argument(help="Molecule or crystal, any file that ASE reads.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for spectra and plots.")] = Path("out/spectra"),
    from_md: Annotated[
        Path | None,
        typer.Option(help="Record of `objstress md` (.npz), with or without MODEL and STRUCTURE."),
    ] = None,
    fwhm: Annotated[
        float,
        typer.Option(help="Width of harmonic lines, and resolution of spectra from MD, cm^-1."),
    ] = 10.0,
    laser: Annotated[
        float | None,
        typer.Option(
            help="Laser wavelength, nm; gives Raman cross sections instead of activities."
        ),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(help="Temperature of harmonic Raman cross sections, K; a record has its own."),
    ] = 300.0,
    verlet_step: Annotated[
        float | None,
        typer.Option(
            help="Time step of the MD, fs, to undo its shift of the lines. [default: the record's]"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """IR and Raman spectra, harmonic or from dynamics.

    With MODEL and STRUCTURE the structure is relaxed and its harmonic spectra are computed;
    --from-md adds those of a record of molecular dynamics, or computes them alone.
    """
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
    print_result(result, as_json, _text)


def _text(result: dict[str, Any]) -> str:
    lines = [result["table"]] if "table" in result else []
    for name, facts in result.get("dynamics", {}).items():
        lines.append(
            f"{name} from {facts['replicas']} record(s) of {facts['record_fs']:g} fs at "
            f"{facts['temperature_K']:g} K, resolution {facts['width_per_cm']:g} cm^-1"
        )
    return "\n".join([*lines, f"{len(result['files'])} files in {result['out']}"])
