"""What is recorded of an accepted step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass
class StepRecord:
    """What happened in one accepted load step.

    Attributes:
        load: load factor, 1 is the full load.
        residuals: Euclidean norms of the residual, one for each Newton iterate, GPa length^2.
        corrections: Euclidean norms of Newton's corrections of u, which are the errors of the
            iterates to leading order; the first is the extrapolation, length.
        order: observed order of convergence of these in the last iterates before round-off, see
            `observed_order`; None with fewer than three of them.
        rejected: tries at this step that were taken back.
        reactions: {name of the displacement: force on the body, GPa length^2}; internal minus
            external forces at its nodes. Contacts likewise, by their names.
        displacements: {name: mean displacement of the nodes it holds, length}, and how far each
            contact has moved: what the reactions of the same names go with.
        probes: {name: {`displacement`: (dim,), length; `cauchy_stress`: (3, 3), GPa;
            `green_lagrange`: (3, 3)}} of the points that a case probes.
        charges: {name of the electrode: free charge on it, C/m^2 length^2}.
        potentials: {name of the electrode: its potential, V/nm length}.
        energy: stored energy, or enthalpy where there is a field, GPa length^3.
        fields_outside: quadrature points with a larger field than the law was fitted to.
        largest_field: largest |E0|, V/nm.
        min_J: smallest det F.
        outside: quadrature points outside the strains that the law was fitted to.
        worst_outside: the one of them with the largest |E|, in words; empty without any.
        points: quadrature points.
    """

    load: float
    residuals: list[float]
    corrections: list[float]
    order: float | None
    rejected: int
    reactions: dict[str, list[float]] = field(default_factory=dict)
    energy: float = 0.0
    min_J: float = 1.0
    outside: int = 0
    points: int = 0
    worst_outside: str = ""
    displacements: dict[str, list[float]] = field(default_factory=dict)
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)
    charges: dict[str, float] = field(default_factory=dict)
    potentials: dict[str, float] = field(default_factory=dict)
    fields_outside: int = 0
    largest_field: float = 0.0

    @property
    def at(self) -> float:
        """What the run steps through: the load factor, or the time in microseconds."""
        return self.load

    @property
    def effort(self) -> str:
        """What the step took, in words."""
        return f"{len(self.residuals) - 1} iterations"

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON keeps them."""
        return asdict(self)


@dataclass
class DynamicRecord(StepRecord):
    """What happened in one accepted time step: a `StepRecord` and the energies at its end.

    The fields of `StepRecord` (load, residuals, corrections, order, rejected, reactions,
    displacements, probes, charges, potentials, fields_outside, largest_field, energy, min_J,
    outside, worst_outside, points) mean the same; `load` is amplitude(time), `energy` the stored
    energy, `reactions` are those of the balance of forces that the step solved, at
    u_{n+1-alpha_f}, inertia included, `displacements` those at its end.

    Attributes:
        time: microseconds.
        kinetic: 1/2 integral of rho v . v, GPa length^3 (in mm: joule).
        contact: Pi of the contacts, GPa length^3: what a blow stores in them and gives back.
        work: of loads, prescribed motions and moving contacts since time 0, GPa length^3.
        balance: kinetic + stored + contact - work - their sum at time 0, GPa length^3: energy
            that the scheme made (> 0) or dissipated.
    """

    time: float = 0.0
    kinetic: float = 0.0
    contact: float = 0.0
    work: float = 0.0
    balance: float = 0.0

    @property
    def at(self) -> float:
        """The time, microseconds."""
        return self.time


@dataclass
class ExplicitRecord(DynamicRecord):
    """What is recorded now and then of an explicit motion: a `DynamicRecord` without iterations.

    Newton's method has no part in it: `residuals` and `corrections` are empty, `order` is None,
    `rejected` 0. `reactions` are those at the `time` itself, inertia included. The other fields of
    `DynamicRecord` (load, displacements, probes, charges, potentials, fields_outside,
    largest_field, energy, min_J, outside, worst_outside, points, contact, work) mean the same.

    Attributes:
        steps: time steps since the record before, a pure number.
        step: length of the last of them, microseconds.
        kinetic: of the lumped masses, GPa length^3 (in mm: joule).
        balance: kinetic + stored + contact - work - their sum at time 0 - the sum over all steps
            of the change of dt^2/8 a . M a, GPa length^3. The last term is how far v at the end
            of a step is off the motion that central differences do: without it the balance swings
            with the shortest waves, with it the balance of a linear body is round-off.
    """

    steps: int = 0
    step: float = 0.0

    @property
    def effort(self) -> str:
        return f"{self.steps} steps"


def observed_order(errors: Sequence[float], floor: float = 1e-11) -> float | None:
    """log(e_k+1 / e_k) / log(e_k / e_k-1) at the last three errors above round-off.

    The errors are those of u, not residuals: which part of a residual is stiff and which is soft
    changes from iterate to iterate, and with it the factor between residual and error.

    Args:
        errors: norms of Newton's corrections.
        floor: round-off, relative to the largest of them.
    """
    e = [x for x in errors if x > floor * max(errors, default=0.0)]
    if len(e) < 3 or not e[-3] > e[-2] > e[-1]:
        return None
    return float(np.log(e[-1] / e[-2]) / np.log(e[-2] / e[-3]))
