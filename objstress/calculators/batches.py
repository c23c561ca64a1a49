"""Many structures in one pass, by calculators that can: those with a method `evaluate`.

`evaluate(frames)` takes a list of ASE's atoms and returns the results of each, as `calculate` would
leave them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Condition, Thread
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

ATOMS = 24
"""Atoms of one pass: more take a few cores longer each, as their caches overflow."""
SMALL = 4
"""Atoms of the largest cells that go together: larger ones keep a few cores busy alone."""


def passes(
    frames: Sequence[Atoms], calculator: Any, names: Sequence[str] = ("forces", "stress")
) -> Iterator[dict[str, np.ndarray]]:
    """Properties of structures, several in one pass where the calculator can.

    Args:
        frames: the structures, of one size.
        calculator: of ASE.
        names: of the properties, as ASE has them, in its units.

    Returns:
        {name: value} of each, in their order.
    """
    if not hasattr(calculator, "evaluate"):
        for atoms in frames:
            atoms.calc = calculator
            yield {name: calculator.get_property(name, atoms) for name in names}
        return
    size = at_once(frames[0])
    for k in range(0, len(frames), size):
        yield from calculator.evaluate(list(frames[k : k + size]))


def at_once(atoms: Atoms) -> int:
    """How many structures of this size one pass takes."""
    return max(1, ATOMS // len(atoms)) if len(atoms) <= SMALL else 1


def together[T](
    calculator: Any, tasks: Sequence[Callable[[Calculator], T]], members: int
) -> Iterator[tuple[int, T]]:
    """Run tasks side by side; what they ask a calculator for is evaluated in one pass.

    Each task, such as a relaxation, has a thread and a calculator that waits until all others ask
    for something too, or have ended.

    Args:
        calculator: with a method `evaluate`.
        tasks: take a calculator; must not raise.
        members: number of tasks at a time.

    Returns:
        (number of the task, result) as they end.
    """
    rounds = _Rounds(calculator, deque(enumerate(tasks)), min(members, len(tasks)))
    threads = [Thread(target=rounds.work, daemon=True) for _ in range(rounds.running)]
    for thread in threads:
        thread.start()
    try:
        yield from rounds.results()
    finally:
        rounds.stop()
        for thread in threads:
            thread.join()


class _Stopped(BaseException):
    """Out of a task that nobody waits for any more; not an error that it might catch."""


class _Rounds:
    """What the threads of `together` share."""

    def __init__(self, calculator: Any, todo: deque, running: int):
        self.calculator, self.todo, self.running = calculator, todo, running
        self.changed = Condition()
        self.asked: dict[int, Atoms] = {}
        self.answers: dict[int, dict[str, Any] | Exception] = {}
        self.ended: list[tuple[int, Any]] = []
        self.stopped = False

    def work(self) -> None:
        """One thread: task after task."""
        while True:
            with self.changed:
                if self.stopped or not self.todo:
                    self.running -= 1
                    self.changed.notify_all()
                    return
                number, task = self.todo.popleft()
            try:
                result = task(_Member(self, number))
            except _Stopped:
                return
            with self.changed:
                self.ended.append((number, result))

    def ask(self, number: int, atoms: Atoms) -> dict[str, Any]:
        """The results of one structure, out of the next pass."""
        with self.changed:
            self.asked[number] = atoms
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.stopped or number in self.answers)
            if self.stopped:
                raise _Stopped
            answer = self.answers.pop(number)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def results(self) -> Iterator[tuple[int, Any]]:
        """In the thread of the caller, pass after pass; by number, whichever thread came first."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: len(self.asked) == self.running)
                ended, self.ended = sorted(self.ended, key=lambda pair: pair[0]), []
                asked = dict(sorted(self.asked.items()))
            yield from ended
            if not asked:
                return
            answers = self._evaluated(list(asked.values()))
            with self.changed:
                self.asked.clear()
                self.answers.update(zip(asked, answers, strict=True))
                self.changed.notify_all()

    def stop(self) -> None:
        """Let no thread wait any longer."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def _evaluated(self, frames: list[Atoms]) -> list[dict[str, Any] | Exception]:
        try:
            return self.calculator.evaluate(frames)
        except Exception as error:
            if len(frames) == 1:
                return [error]
        # One that fails must not take the others with it.
        return [answer for atoms in frames for answer in self._evaluated([atoms])]


class _Member(Calculator):
    """The calculator of one task."""

    def __init__(self, rounds: _Rounds, number: int):
        super().__init__()
        self.implemented_properties = list(rounds.calculator.implemented_properties)
        self.rounds, self.number = rounds, number

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """As ASE's calculators do, see there."""
        super().calculate(atoms, properties, system_changes)
        self.results = self.rounds.ask(self.number, atoms.copy())
