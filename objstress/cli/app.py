"""What all commands share: the application, and how an answer is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any

import typer

from objstress.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a crystal structure to a finite-element simulation, with a learned stress law.",
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


class Ions(str, Enum):
    relaxed = "relaxed"
    clamped = "clamped"


# Only answers go to standard output: what a calculator or a library prints while it works is
# sent to standard error by `objstress.cli.main`.
ANSWERS = sys.stdout


def ranks() -> Any:
    """The communicator of all ranks where a command uses MPI, else None."""
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi.COMM_WORLD if mpi else None


def first_rank() -> bool:
    comm = ranks()
    return comm is None or comm.rank == 0


def print_answer(
    result: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]
) -> None:
    answer = json.dumps(result, allow_nan=False) if as_json else text(result)
    if first_rank():
        print(answer, file=ANSWERS)


def say(line: str) -> None:
    if first_rank():
        print(line, file=sys.stderr)


def json_object(text: str, option: str) -> dict[str, Any]:
    """What an option holds, a JSON object."""
    try:
        keywords = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{option} is not JSON: {error}") from None
    if not isinstance(keywords, dict):
        raise InputError(f"{option} must be a JSON object such as '{{\"cutoff\": 5}}'")
    return keywords
