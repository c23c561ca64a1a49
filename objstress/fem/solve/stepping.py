"""Steps of load or time: accepted, or taken back and halved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from objstress.errors import ConvergenceError, InputError
from objstress.fem.solve.checkpoint import Checkpoint
from objstress.fem.solve.protocol import Steppable

DESIRED = 5
"""Newton iterations up to which a step was easy; more than twice as many are hard."""


def march(
    problem: Steppable,
    span: tuple[float, float],
    steps: int,
    *,
    corners: Sequence[float] = (),
    largest: float = 1.0,
    smallest: float,
    progress: bool,
    after_step: Callable[[Any, Any], None] | None,
    states: Checkpoint | None,
) -> None:
    """From begin to end in steps; each accepted one adds to the problem's history.

    A step that fails is taken back, halved and tried again. After two in a row that went well
    the next is longer by 5 / iterations of Newton's method, where these are fewer; after one of
    more than ten it is shorter by as much. Both within a factor of two.

    Args:
        span: load factor or time at begin and end, as `problem.pace` has it.
        steps: equal ones, if none is hard.
        corners: what steps must not jump over.
        largest, smallest: parts of an equal step that a step may grow to, and under which the run
            ends.
        after_step: called with the problem and the record after each accepted step.
        states: where each accepted state is kept, and where the run resumes.

    Raises:
        InputError: see `Checkpoint.restore`.
        ConvergenceError: the smallest step failed; the last accepted state is there.
    """
    begin, end = span
    full = (end - begin) / steps
    size, at, rejected, good = full, begin, 0, 0
    corners = [c for c in corners if c < end - 1e-9 * full]
    for kept in states.restore() if states else ():
        at, size, good = kept["load"], kept["size"], kept["good"]
        problem.settle(at)
        problem.history.append(problem.record_type(**kept["record"]))
        if after_step is not None:
            after_step(problem, problem.history[-1])
    bar = tqdm(
        total=end - begin,
        desc=problem.pace,
        disable=not progress or problem.comm.rank > 0,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.3f} [{elapsed}]{postfix}",
        initial=at - begin,
    )
    with bar:
        while at < end:
            # No sliver is left at a corner by the round-off of many sums.
            corner = min(c for c in (*corners, end) if c > at + 1e-9 * full)
            target = at + size if at + size < corner - 1e-9 * full else corner
            saved = copy_of_state(problem)
            if problem.step(target):
                record = accepted(problem, target, rejected, saved, at)
                problem.history.append(record)
                bar.set_postfix_str(f", {record.effort}")
                bar.update(target - at)
                good += 1
                longer = _longer(len(record.residuals) - 1)
                if longer < 1:
                    size = longer * (target - at)
                elif good >= 2:
                    # A step that a corner cut short says nothing against the length before.
                    size = min(longer * max(size, target - at), largest * full)
                at, rejected = target, 0
                if states is not None:
                    states.write(record, load=at, size=size, good=good)
                if after_step is not None:
                    after_step(problem, record)
                continue
            size, rejected, good = 0.5 * (target - at), rejected + 1, 0
            step, last = f"to {problem.pace} {target:.4f}", size < smallest * full
            reject(problem, saved, at, step, f"{size:.4f}", last)


def _longer(iterations: int) -> float:
    """By how much the next step may be longer, or should be shorter, than one that went well."""
    if DESIRED < iterations <= 2 * DESIRED:
        return 1.0
    return float(np.clip(DESIRED / max(1, iterations), 0.5, 2.0))


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
