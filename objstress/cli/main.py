"""The command line: each command parses, calls one function and prints what it returns."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
import warnings
from typing import NoReturn

from objstress.cli import (  # noqa: F401  (a command enters itself)
    bodies,
    crystals,
    docking,
    dynamics,
    laws,
    pose_fits,
    potentials,
    service,
    spectroscopy,
    tensors,
    workflows,
)
from objstress.cli.app import app, ranks, say
from objstress.errors import ConvergenceError, InputError
from objstress.parallel import all_arrive


def main() -> None:
    """Entry point: one clear line and exit code 2 for bad input, 3 for a failed solve."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    try:
        helping = not sys.argv[1:] or "--help" in sys.argv
        with contextlib.nullcontext() if helping else contextlib.redirect_stdout(sys.stderr):
            app()
    except (InputError, OSError) as error:
        _fail(f"error: {error}", 2)
    except ConvergenceError as error:
        _fail(f"error: {error}", 3)
    except Exception:
        if ranks() is None or ranks().size == 1:
            raise
        _fail(traceback.format_exc(), 1)


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
