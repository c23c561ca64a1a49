"""Newton's method by PETSc's SNES."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

from petsc4py import PETSc

# Sums over quadrature points may be reordered, which lets the C compiler use vector registers: a
# third of the assembly's time. Nothing about infinities, NaN or the processor is assumed.
_JIT = {
    "cffi_extra_compile_args": [
        "-O3",
        "-fassociative-math",
        "-fno-signed-zeros",
        "-fno-trapping-math",
    ]
}
_REASONS = {
    value: name.lower().replace("_", " ")
    for name, value in vars(PETSc.SNES.ConvergedReason).items()
    if isinstance(value, int) and value < 0
}
_NUMBER = count()
"""Of problems, for the prefixes of their PETSc options."""


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """The bound method without a hold on its object."""
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        bound = reference()
        assert bound is not None
        bound(*arguments)

    return call


def _forget(keys: list[str]) -> None:
    table = PETSc.Options()
    for key in keys:
        table.delValue(key)
