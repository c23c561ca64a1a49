"""Simulation of a case: set-up, solution, results."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from mpi4py import MPI

from objstress.errors import ConvergenceError, InputError
from objstress.fem.case.schema import Case, read_case
from objstress.fem.results.curves import write_history
from objstress.fem.results.surface import fields_to_draw, surface_of
from objstress.fem.results.vtx import ResultFile
from objstress.fem.solve.protocol import Shown
from objstress.fem.solve.record import StepRecord
from objstress.fem.solve.static import StaticProblem
from objstress.io.files import write_json
from objstress.io.run_folder import keep_settings
from objstress.laws.outside import outside_text
from objstress.parallel import all_arrive, on_first_rank


def simulate(
    path: str | Path, out: str | Path, progress: bool = True, fresh: bool = False
) -> dict[str, Any]:
    """Solve a case and write `result.bp`, `history.json` and `history.csv` into the folder `out`.

    `result.bp` holds every accepted step, the load factor as its time, see `ResultFile`, and
    `history.csv` a row for each, see `write_history`. Unless the case says `restart: false`, the
    states of the steps are kept in `out/states`, and an interrupted run resumes from them. All
    ranks call this; one writes the reports.

    Args:
        path: the case, a YAML file, see `read_case`.
        out: made if it is missing.
        progress: whether a progress bar is shown.
        fresh: start over whatever is in `out/states`.

    Returns:
        The content of history.json: `complete`, the steps with residuals, reactions and energy,
        and `warnings` (points outside the strains that the law was fitted to).

    Raises:
        InputError: see `read_case`, `load_law`, `StaticProblem`, `probe`; states of another case in
            `out` (what differs is named); strains outside those of the fit where the case says
            `outside: error` (nothing is left in `out` then).
        ConvergenceError: the smallest step failed; the accepted steps are written.
    """
    case = read_case(path)
    folder, out = Path(path).parent, Path(out)
    problem = case.build(folder)
    case.probed(problem)  # refused before the work
    problem.law.outside_action = "ignore"  # history.json has it, see `accept`
    comm, states = problem.comm, out / "states"
    files = ResultFile(problem, out / "result.bp")

    def accept(problem: StaticProblem, record: StepRecord) -> None:
        if (found := _outside([record])) and case.outside == "error":
            _remove(states, comm)
            raise InputError("; ".join(found))
        record.probes = case.probed(problem)
        files.write(record.load)

    try:
        if fresh:
            _remove(states, comm)
        if case.restart:
            _check_states(states, case, folder, comm)
        kept = states if case.restart else None
        case.run(problem, kept, progress=progress, after_step=accept)
    except ConvergenceError:
        files.close()
        _write_history(problem, out, complete=False, warn=case.outside == "warn")
        raise
    except BaseException:
        # Closing takes all ranks. The mesh's own communicator may have messages under way.
        if all_arrive(MPI.COMM_WORLD):
            files.discard()
        else:
            files.abandon()
        raise
    files.close()
    return _write_history(problem, out, complete=True, warn=case.outside == "warn")


def _remove(states: Path, comm: MPI.Comm) -> None:
    comm.barrier()
    on_first_rank(comm, lambda: shutil.rmtree(states) if states.is_dir() else None)


def _check_states(states: Path, case: Case, folder: Path, comm: MPI.Comm) -> None:
    """Refuse to resume from states of another case; note whose states they will be."""
    remedy = "give another folder, or --fresh to start over"
    facts = case.facts(folder)

    def check() -> None:
        path = states / "case.json"
        if not path.is_file() and any(states.rglob("*.safetensors")):
            raise InputError(f"{states}: states of a run without {path.name}; {remedy}")
        keep_settings(path, facts, remedy, lambda before: case.completed(before, facts))

    on_first_rank(comm, check)


def _write_history(problem: Shown, out: Path, complete: bool, warn: bool) -> dict[str, Any]:
    result = {
        "complete": complete,
        "steps": [record.to_dict() for record in problem.history],
        "warnings": _outside(problem.history) if warn else [],
    }

    drawn = surface_of(problem, fields_to_draw(problem)) if problem.history else None

    def write() -> None:
        if drawn is not None:
            drawn.save(out / "surface.safetensors")
        write_json(out / "history.json", result)
        write_history(problem.history, out / "history.csv")

    on_first_rank(problem.comm, write)
    return result


def _outside(history: Sequence[StepRecord]) -> list[str]:
    """The worst that steps met outside the fit, in words: of strains, of fields."""
    found = []
    for count, what in (("outside", "strains"), ("fields_outside", "fields")):
        record = max(history, key=attrgetter(count), default=None)
        if record is None or not (number := attrgetter(count)(record)):
            continue
        worst = record.worst_outside
        if what == "fields":
            worst = f"|E0| = {record.largest_field:.3g} V/nm"
        worst += f", at load factor {record.load:.3f}"
        found.append(outside_text(number, record.points, worst, what))
    return found
