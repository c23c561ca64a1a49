"""`objstress simulate`."""

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


def _steps(result: dict[str, Any]) -> str:
    lines = ["load     iterations  residual      energy        min J"]
    for s in result["steps"]:
        lines.append(
            f"{s['load']:.4f}  {len(s['residuals']) - 1:10d}  {s['residuals'][-1]:.3e}  "
            f"{s['energy']:.6e}  {s['min_J']:.5f}"
        )
    return "\n".join(lines)
