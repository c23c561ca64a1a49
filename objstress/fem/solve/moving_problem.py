"""What implicit and explicit motions share: how they begin, the loads of a time, and energies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem

from objstress.errors import InputError
from objstress.fem.solve.checkpoint import Checkpoint
from objstress.fem.solve.moving_body import MovingBody
from objstress.fem.solve.problem import Problem
from objstress.fem.solve.protocol import Solver
from objstress.fem.solve.record import DynamicRecord
from objstress.fem.solve.stepping import march

Field = Callable[[np.ndarray], np.ndarray] | Sequence[float]
"""A vector for each point: a function of points (3, n) that returns (dim, n), or one vector."""


class MovingProblem[R: DynamicRecord](Problem[R]):
    """A body in motion; how it goes from one time to another is left to the solver.

    Args:
        body, solver: see `Problem`.
        amplitude, displacement, velocity: see `DynamicProblem`.
    """

    body: MovingBody
    pace = "time"

    def __init__(
        self,
        body: MovingBody,
        solver: Solver,
        amplitude: Callable[[float], float],
        displacement: Field | None,
        velocity: Field | None,
    ):
        self.amplitude = amplitude
        self._start = (displacement, velocity)
        self.time = 0.0
        super().__init__(body, solver)
        self.velocity, self.acceleration = self.body.velocity, self.body.acceleration

    def state(self) -> dict[str, fem.Function]:
        """Displacement, velocity and acceleration, {name: function}."""
        return self.initial() | {"acceleration": self.acceleration}

    def initial(self) -> dict[str, fem.Function]:
        """Displacement and velocity; the acceleration follows from the forces."""
        return {"displacement": self.u, "velocity": self.velocity}

    def step(self, target: float) -> bool:
        """See `Steppable.step`."""
        raise NotImplementedError

    def record(self, at: float, rejected: int) -> R:
        """See `Steppable.record`."""
        raise NotImplementedError

    def _run(
        self,
        records: int,
        duration: float,
        first: float,
        *,
        smallest: float,
        progress: bool,
        after_step: Callable[[Any, Any], None] | None,
        checkpoint: str | Path | None,
    ) -> list[R]:
        """Go on for a time, at first from the initial state; `first` is the length of a step."""
        if not self.history:
            self._begin(first)
        begin, end = self.time, self.time + duration
        run = {"begin": begin, "duration": duration} | self.settings()
        states = None if checkpoint is None else Checkpoint(self, checkpoint, records, **run)
        march(
            self,
            (begin, end),
            records,
            smallest=smallest,
            progress=progress,
            after_step=after_step,
            states=states,
        )
        return self.history

    def reset(self) -> None:
        """Back to the initial state: no steps."""
        self.history.clear()
        self._begin(1e-3)

    def _begin(self, step: float) -> None:
        """u, v and a at time 0; a balances the forces there."""
        h = 1e-3 * step
        now, soon, later = (self.amplitude(k * h) for k in range(3))
        supports = self.body.supports

        def accelerations() -> None:
            supports.apply_difference(now, [(-2, soon), (1, later)], h**2)

        prescribe: list[Callable[[], None]] = [
            lambda: self.apply_load(now),
            lambda: supports.apply_difference(now, [(4, soon), (-1, later)], 2 * h),
        ]
        fields = zip((self.u, self.velocity), self._start, prescribe, strict=True)
        for function, field, prescribed in fields:
            function.x.array[:] = 0.0
            if field is not None:
                function.interpolate(field if callable(field) else _constant(field, self.dim))
            prescribed()
            for bc in supports.bcs:
                bc.set(function.x.array)
            function.x.scatter_forward()
        self.time = 0.0
        self.apply_load(now)
        if not self.evaluate():
            raise InputError("the initial displacement leaves det F <= 0 at some points")
        body = self.body
        body.balance_accelerations(now, accelerations)
        self._first_energy = body.kinetic_energy() + body.stored_energy() + body.contact_energy()

    def settle(self, at: float) -> None:
        """Set loads and material to the present state, reached at this time in microseconds."""
        self.time = at
        super().settle(self.amplitude(at))

    def motion_record(
        self, at: float, rejected: int, reactions: dict[str, list[float]], work: float
    ) -> R:
        """What happened in the last step, and the present state in numbers.

        Args:
            at, rejected: see `Steppable.record`.
            reactions: see `StepRecord`.
            work: of loads, prescribed motions and moving contacts in this step, GPa length^3.
        """
        load = self.amplitude(at)
        self.apply_load(load)
        static = self.step_record(load, rejected, reactions)
        kinetic, contact = self.body.kinetic_energy(), self.body.contact_energy()
        work = work + (self.history[-1].work if self.history else 0.0)
        return self.record_type(
            **vars(static),
            time=at,
            kinetic=kinetic,
            contact=contact,
            work=work,
            balance=kinetic + static.energy + contact - work - self._first_energy,
        )


def _constant(value: Sequence[float], dim: int) -> Callable[[np.ndarray], np.ndarray]:
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (dim,):
        raise InputError(f"initial value {value}: give {dim} components")
    return lambda x: np.repeat(vector[:, None], x.shape[1], axis=1)
