"""What all commands share: the application, common options, and how a result is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from objstress import __version__
from objstress.errors import InputError

SECTIONS = {
    "Material laws": (
        "symmetry",
        "law",
        "label",
        "fit",
        "member",
        "compile",
        "check",
        "export",
        "simulate",
        "resonate",
        "plot",
        "refine",
        "suggest",
    ),
    "Tensors of crystals": ("properties", "calculators", "fit-tensors", "serve"),
    "Potentials, dynamics, spectra": ("settings", "fit-potential", "evaluate", "md", "spectra"),
    "Docking": ("dock", "fit-pose-energy"),
    "Whole workflows": ("demo", "chain"),
}
"""The commands under the headings of `objstress --help`."""
RENAMED = {"teach": "label", "train": "fit-potential", "fit-poses": "fit-pose-energy"}
"""{name in version 0.1: name now}; the old names keep working."""


class Commands(TyperGroup):
    """The commands under headings, and by their old names."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in RENAMED:
            new = RENAMED[args[0]]
            say(f"`{args[0]}` is now `{new}`")
            args = [new, *args[1:]]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for names in SECTIONS.values() for name in names)
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    (f"{name:{width}}", self.commands[name].get_short_help_str(80))
                    for name in names
                )


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a crystal structure to a finite-element simulation, with a learned stress law.",
    epilog="Rerun an interrupted command to resume it. Invalid input prints one line and exits "
    "with code 2, a solve that does not converge with code 3.",
)


class Ions(str, Enum):
    relaxed = "relaxed"
    clamped = "clamped"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
IonsOption = Annotated[
    Ions,
    typer.Option(help="Ions relax in the strained cell (relaxed) or move affinely with it."),
]
Symprec = Annotated[
    float, typer.Option(help="Distance in Angstrom under which sites are equivalent.")
]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers.")]
Arguments = Annotated[str, typer.Option(help="Keyword arguments of the calculator, a JSON object.")]
MaxStrain = Annotated[
    float, typer.Option(help="Largest norm of the Green-Lagrange strain E, dimensionless.")
]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a running dask scheduler, instead of --workers.")
]

# Only results go to standard output: what a calculator or a library prints while it works is
# sent to standard error by `objstress.cli.entry`.
ANSWERS = sys.stdout


def ranks() -> Any:
    """The communicator of all ranks where a command uses MPI, else None."""
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi.COMM_WORLD if mpi else None


def first_rank() -> bool:
    comm = ranks()
    return comm is None or comm.rank == 0


def chosen_potential() -> str:
    """The universal potential of a command whose user names none, said on standard error."""
    from objstress.calculators.universal import UNIVERSAL, universal_potential

    name = universal_potential()
    potential = UNIVERSAL[name]
    say(f"model: {name}, {potential.functional} ({potential.citation}); {potential.faults}")
    return name


def print_text(text: str) -> None:
    if first_rank():
        print(text, end="", file=ANSWERS)


def print_result(
    result: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]
) -> None:
    line = json.dumps(result, allow_nan=False) if as_json else text(result)
    print_text(line + "\n")


def say(line: str) -> None:
    if first_rank():
        print(line, file=sys.stderr)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"objstress {__version__}\n")
        raise typer.Exit


@app.callback()
def objstress(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


def json_object(text: str, option: str) -> dict[str, Any]:
    """The JSON object in the text of an option."""
    try:
        keywords = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{option} is not JSON: {error}") from None
    if not isinstance(keywords, dict):
        raise InputError(f"{option} must be a JSON object such as '{{\"cutoff\": 5}}'")
    return keywords


def stiffness_text(c: Any) -> str:
    """Elastic constants (6, 6) in GPa as a table."""
    # The largest unit in which the largest constant is at least one: foams have kPa.
    units = (("GPa", 1.0), ("MPa", 1e3), ("kPa", 1e6), ("Pa", 1e9))
    largest = abs(c).max()
    unit, size = next((u for u in units if largest * u[1] >= 1), units[-1])
    rows = "\n".join("  " + " ".join(f"{size * x:9.3f}" for x in row) for row in c)
    return f"stiffness, {unit} (Voigt xx yy zz yz xz xy)\n{rows}"
