"""Entry point of the command line."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from objstress.cli import (  # noqa: F401  (each module registers its commands)
    crystals,
    docking,
    dynamics,
    finite_elements,
    fitting,
    laws,
    listing,
    potentials,
    service,
    spectroscopy,
    tensors,
    workflows,
)
from objstress.cli.app import app, ranks, say
from objstress.errors import ConvergenceError, InputError, OutsideDomainWarning
from objstress.parallel import all_arrive

EXTRAS = {
    "service": ("fastapi", "pebble", "uvicorn"),
    "docking": ("gemmi", "rdkit"),
    "fem": ("basix", "dolfinx", "mpi4py", "petsc4py", "ufl"),
}
"""{extra of objstress: packages that it installs and commands import}."""


def main() -> None:
    """Run a command; errors of the user print one line and exit with code 2 or 3.

    Code 2 is for invalid input and missing extras, 3 for a solve that does not converge.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        helping = not sys.argv[1:] or "--help" in sys.argv
        with contextlib.nullcontext() if helping else contextlib.redirect_stdout(sys.stderr):
            app()
    except (InputError, OSError) as error:
        _fail(f"error: {error}", 2)
    except ConvergenceError as error:
        _fail(f"error: {error}", 3)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError):
            package = (error.name or "").partition(".")[0]
            for extra, packages in EXTRAS.items():
                if package in packages:
                    _fail(f"error: {package} is missing: pip install objstress[{extra}]", 2)
        if ranks() is None or ranks().size == 1:
            raise
        _fail(traceback.format_exc(), 1)


def _show_warning(
    show: Callable[..., None], message: Any, category: type, *more: Any, **named: Any
) -> None:
    """One line of what concerns the user's input; others as Python shows them."""
    if issubclass(category, OutsideDomainWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        show(message, category, *more, **named)


def _fail(text: str, code: int) -> NoReturn:
    """End with one text, whatever the number of ranks that failed."""
    comm = ranks()
    if comm is not None and not all_arrive(comm):
        # The others wait for this one, which will never come.
        print(text, file=sys.stderr, flush=True)
        # mpiexec drops what it has not passed on when it is told to kill.
        time.sleep(1.0)
        comm.Abort(code)
    say(text)
    sys.exit(code)
