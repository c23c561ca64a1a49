"""Commands on finite elements: simulate, plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, app, print_result, say


@app.command()
def simulate(
    case: Annotated[Path, typer.Argument(help="Case file (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of resuming from OUT/states.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Solve a finite-element case.

    Runs on one process, or on several ranks under mpiexec. Rerun the command to resume an
    interrupted run from OUT/states. With lengths in the mesh's unit, residuals are printed in
    GPa length^2 and energies in GPa length^3.
    """
    from objstress.fem.case.run import simulate as run

    result = run(case, out, fresh=fresh)
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    print_result(result, as_json, _steps)


@app.command()
def resonate(
    case: Annotated[Path, typer.Argument(help="Case file (YAML): the state vibrated about.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    density: Annotated[
        list[float], typer.Option(help="kg/m^3; with grains once, or once for each.")
    ],
    number: Annotated[int, typer.Option(help="Number of modes.")] = 6,
    near: Annotated[float, typer.Option(help="The modes nearest this frequency, MHz.")] = 0.0,
    length_unit: Annotated[float, typer.Option(help="Metres in one unit of length.")] = 1e-3,
    driven: Annotated[
        str | None,
        typer.Option(help="Name of the electrode that is driven; the last of given potential."),
    ] = None,
    released: Annotated[
        list[str] | None,
        typer.Option(help="Name of a displacement that takes no part, as of a free body."),
    ] = None,
    loss: Annotated[float, typer.Option(help="Loss factor, one over the quality factor.")] = 1e-3,
    as_json: Json = False,
) -> None:
    """Find the natural vibrations of a case, with electrodes short and open.

    Writes frequencies and coupling factors, a picture of each mode, and the admittance of the
    driven electrode into OUT.
    """
    from objstress.fem.case.vibrations import resonate as run

    result = run(
        case,
        out,
        density=density,
        number=number,
        near=near,
        length_unit=length_unit,
        driven=driven,
        released=released or [],
        loss=loss,
    )
    print_result(result, as_json, _modes)


@app.command()
def plot(
    folder: Annotated[Path, typer.Argument(help="Folder that `simulate` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Image: .png, .pdf or .svg; FOLDER/history.png or FOLDER/FIELD.png by default."
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(help="Draw the deformed body in its last state in this field instead."),
    ] = None,
    warp: Annotated[float, typer.Option(help="Factor of the displacement, with --field.")] = 1.0,
    view: Annotated[
        tuple[float, float],
        typer.Option(help="Elevation and azimuth of the eye, degrees, with --field."),
    ] = (25.0, -60.0),
    reaction: Annotated[
        str | None, typer.Option(help="Name of the only reaction to draw; all by default.")
    ] = None,
    component: Annotated[
        str | None,
        typer.Option(help="x, y or z; by default that in which a force is largest."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw force-displacement and energy curves of a run, or a field.

    The curves follow the load steps in their order, forces in GPa length^2 and displacements in
    the mesh's length. `result.bp` in the same folder holds the fields, for ParaView.
    """
    from objstress.fem.results.curves import plot_history, read_history

    if field is not None:
        from objstress.fem.results.plots import plot_surface
        from objstress.fem.results.surface import read_surface

        path = out or folder / f"{field}.png"
        plot_surface(read_surface(folder), path, field, warp, view=view)
    else:
        path = out or folder / "history.png"
        plot_history(read_history(folder), path, reaction=reaction, component=component)
    print_result({"plot": str(path)}, as_json, lambda r: f"drawn in {r['plot']}")


def _steps(result: dict[str, Any]) -> str:
    lines = ["load     iterations  residual      energy        min J"]
    for s in result["steps"]:
        lines.append(
            f"{s['load']:.4f}  {len(s['residuals']) - 1:10d}  {s['residuals'][-1]:.3e}  "
            f"{s['energy']:.6e}  {s['min_J']:.5f}"
        )
    return "\n".join(lines)


def _modes(result: dict[str, Any]) -> str:
    lines = ["mode  resonance, MHz  coupling  open electrode, MHz"]
    for mode in result["modes"]:
        coupling, free = mode.get("coupling"), mode.get("open_MHz")
        lines.append(
            f"{mode['mode']:4d}  {mode['resonance_MHz']:14.6g}  "
            + (f"{coupling:8.4f}" if coupling is not None else f"{'-':>8}")
            + (f"  {free:19.6g}" if free is not None else f"  {'-':>19}")
        )
    return "\n".join(lines)
