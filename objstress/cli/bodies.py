"""Commands about bodies: simulate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, app, print_answer, say


@app.command()
def simulate(
    case: Path,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew instead of going on from OUT/states.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Solve a finite-element case described in YAML; an interrupted run goes on from OUT/states.

    Runs on several ranks under mpiexec.
    """
    from objstress.fem.case.run import simulate as run

    result = run(case, out, fresh=fresh)
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    print_answer(result, as_json, _steps)


def _steps(result: dict[str, Any]) -> str:
    lines = ["load     iterations  residual      energy        min J"]
    for s in result["steps"]:
        lines.append(
            f"{s['load']:.4f}  {len(s['residuals']) - 1:10d}  {s['residuals'][-1]:.3e}  "
            f"{s['energy']:.6e}  {s['min_J']:.5f}"
        )
    return "\n".join(lines)
