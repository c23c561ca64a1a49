"""Commands that run a whole path: demo, chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, app, print_answer, say


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, the law and the pictures.")] = (
        Path("out/demo")
    ),
    as_json: Json = False,
) -> None:
    """Silicon from its structure file to a plate with a hole, every claim measured."""
    from objstress.workflows.silicon import run_demo

    report = run_demo(out, say=say)
    print_answer(report, as_json, lambda r: f"report: {out}/report.md")
    if not all(claim["ok"] for claim in report["claims"]):
        raise typer.Exit(1)


@app.command()
def chain(
    data: Annotated[Path, typer.Argument(help="Labelled structures (extxyz).")],
    structure: Annotated[Path, typer.Argument(help="Structure file of the crystal wanted.")],
    out: Annotated[Path, typer.Option(help="Folder for the potential, the law and the rest.")],
    test: Annotated[
        Path | None, typer.Option(help="Labelled structures that nobody trains on.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Of training.")] = 20.0,
    samples: Annotated[int, typer.Option(help="Strained cells that the law learns from.")] = 150,
    max_strain: Annotated[float, typer.Option(help="Largest |E|.")] = 0.06,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """DFT set, potential, strained cells, law, finite elements; an interrupted run goes on."""
    from objstress.workflows.chain import run_chain

    common: dict[str, Any] = dict(samples=samples, max_strain=max_strain, seed=seed, say=say)
    report = run_chain(data, structure, out, test=test, minutes=minutes, **common)
    print_answer(report, as_json, lambda r: f"report: {out}/report.md")
    if not all(claim["ok"] for claim in report["claims"]):
        raise typer.Exit(1)
