"""Steps of load or time: accepted, or taken back and halved."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from objstress.errors import ConvergenceError, InputError
from objstress.fem.solve.checkpoint import Checkpoint
from objstress.fem.solve.protocol import Steppable


def march(
    problem: Steppable,
    end: float,
    steps: int,
    *,
    smallest: float,
    progress: bool,
    after_step: Callable[[Any, Any], None] | None,
    states: Checkpoint | None,
) -> None:
    """From 0 to `end` in steps of end / steps; each accepted one adds to the problem's history.

    A step that fails is taken back, halved and tried again; after two in a row that went well it
    grows back.

    Args:
        end: load factor or time, as `problem.pace` has it.
        smallest: part of end / steps under which the run ends.
        after_step: called with the problem and the record after each accepted step.
        states: where each accepted state is kept, and where the run resumes.

    Raises:
        InputError: see `Checkpoint.restore`.
        ConvergenceError: the smallest step failed; the last accepted state is there.
    """
    full = end / steps
    size, at, rejected, good = full, 0.0, 0, 0
    for kept in states.restore() if states else ():
        at, size, good = kept["load"], kept["size"], kept["good"]
        problem.settle(at)
        problem.history.append(problem.record_type(**kept["record"]))
        if after_step is not None:
            after_step(problem, problem.history[-1])
    bar = tqdm(
        total=end,
        desc=problem.pace,
        disable=not progress or problem.comm.rank > 0,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.3f} [{elapsed}]{postfix}",
        initial=at,
    )
    with bar:
        while at < end:
            # No sliver is left at the end by the round-off of many sums.
            target = at + size if at + size < end - 1e-9 * full else end
            saved = copy_of_state(problem)
            if problem.step(target):
                record = accepted(problem, target, rejected, saved, at)
                problem.history.append(record)
                bar.set_postfix_str(f", {len(record.residuals) - 1} iterations")
                bar.update(target - at)
                at, rejected, good = target, 0, good + 1
                if good >= 2:
                    size = min(full, 2 * size)
                if states is not None:
                    states.write(record, load=at, size=size, good=good)
                if after_step is not None:
                    after_step(problem, record)
                continue
            size, rejected, good = 0.5 * (target - at), rejected + 1, 0
            step, last = f"to {problem.pace} {target:.4f}", size < smallest * full
            reject(problem, saved, at, step, f"{size:.4f}", last)


def copy_of_state(problem: Steppable) -> dict[str, np.ndarray]:
    """The values of all fields, for `reject`."""
    return {name: f.x.array.copy() for name, f in problem.state().items()}


def accepted(
    problem: Steppable, target: float, rejected: int, saved: dict[str, np.ndarray], at: float
) -> Any:
    """The record of a step, once the problem has reported it; a step it refuses is taken back.

    Args:
        target, rejected: see `Steppable.record`.
        saved, at: see `reject`.

    Raises:
        InputError: the problem refuses the step.
    """
    record = problem.record(target, rejected)
    try:
        problem.report(record)
    except InputError:
        take_back(problem, saved, at)
        raise
    return record


def take_back(problem: Steppable, saved: dict[str, np.ndarray], at: float) -> None:
    """Back to the state before a step, see `reject`."""
    for name, function in problem.state().items():
        function.x.array[:] = saved[name]
    problem.settle(at)


def reject(
    problem: Steppable,
    saved: dict[str, np.ndarray],
    at: float,
    step: str,
    shorter: str,
    last: bool,
) -> None:
    """Take a step back, as if it had not been tried, and report it.

    Args:
        saved: `copy_of_state` before the step.
        at: load factor or time of that state.
        step: which step it was, in words.
        shorter: what is tried next, in words.
        last: whether nothing is.

    Raises:
        ConvergenceError: it was the last step to try.
    """
    worst = problem.worst_cells()
    take_back(problem, saved, at)
    if problem.comm.rank == 0:
        tqdm.write(f"step {step} rejected ({problem.why}), next {shorter}", file=sys.stderr)
    if last:
        raise ConvergenceError(
            f"no convergence beyond {problem.pace} {at:.4f} ({problem.why}); the last accepted "
            f"state is kept; worst cells: {worst}"
        )
