"""A law as an external operator: UFL differentiates the form, the law fills in P and A."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from mpi4py import MPI
from torch import Tensor

from objstress.errors import InputError
from objstress.fem.materials.quadrature import gradient, limited_threads, torch_threads
from objstress.laws.base import MaterialLaw
from objstress.laws.outside import OutsideWatch
from objstress.parallel import on_every_rank


def stress_operator(law: MaterialLaw, F: Any, dx: ufl.Measure) -> Any:
    r"""The stress P(F) as an external operator, whose derivative in UFL is A = dP/dF.

    .. math:: r(u; v) = \int P : \nabla v \, dX, \qquad J = \mathrm{derivative}(r, u)

    The result goes into a form like any UFL tensor. `replace_external_operators` of the package
    dolfinx-external-operator makes of the form, and of its derivative, one that dolfinx compiles;
    `evaluate_external_operators` then fills P and A at the present u. Give it the operators of J
    before those of r: P is found beside A, and kept for the same F.

    Args:
        law: in the sample's frame (rotate a crystal with `RotatedLaw(law, Q)`).
        F: deformation gradient, a UFL tensor (3, 3); or the displacement u, for I + grad u, in
            two dimensions plane strain.
        dx: the measure of the form, with metadata={"quadrature_degree": q}: P and A live at its
            points.

    Returns:
        `FEMExternalOperator` of shape (3, 3), GPa. Its `external_function` takes the derivative
        multi-index, (0,) for P or (1,) for A, and gives a function of F's values (cells, points,
        9) or of any shape in that order. Flat float64 comes back, point by point: 9 entries iJ,
        or 81 entries iJkL, the last index fastest.

    Raises:
        InputError: the package is missing, `law` is no `MaterialLaw` (such as Grains), F of
            another shape, dx without a quadrature degree of at least 1, a second derivative; at
            evaluation det F <= 0, or points outside the strains of the fit where the law's
            `outside_action` is "error".

    Source: A. Latyshev, J. Bleyer, C. Maurini, J. S. Hale, Expressing general constitutive models
    in FEniCSx using external operators and algorithmic automatic differentiation, Journal of
    Theoretical, Computational and Applied Mechanics (2025), doi:10.46298/jtcam.14449.
    """
    try:
        from dolfinx_external_operator import FEMExternalOperator
    except ImportError as error:
        raise InputError(
            "dolfinx-external-operator is not installed: "
            "`pip install --no-deps dolfinx-external-operator`"
        ) from error

    if not isinstance(law, MaterialLaw):
        raise InputError(
            f"stress_operator of a {type(law).__name__}: give a material law; "
            "Grains go into objstress.fem.QuadratureMaterial"
        )
    if F.ufl_shape in ((2,), (3,)):
        F = ufl.Identity(3) + gradient(F)
    if F.ufl_shape != (3, 3):
        raise InputError(f"F has the shape {F.ufl_shape}: give (3, 3), or the displacement")
    metadata = dx.metadata()
    # With degree 0 the package takes P for constant in each cell, and its derivative for zero.
    if metadata.get("quadrature_degree", 0) < 1:
        raise InputError(
            "dx has no quadrature degree of at least 1: "
            'give ufl.dx(metadata={"quadrature_degree": 2})'
        )
    domain = ufl.domain.extract_unique_domain(F)
    mesh = dmesh.Mesh(domain.ufl_cargo(), domain)
    element = basix.ufl.quadrature_element(
        mesh.basix_cell().name,
        value_shape=(3, 3),
        scheme=metadata.get("quadrature_scheme", "default"),
        degree=metadata["quadrature_degree"],
    )
    return FEMExternalOperator(
        F,
        function_space=fem.functionspace(mesh, element),
        external_function=_Response(law, mesh.comm),
        name="P",
    )


class _Response:
    """The external function: P or A at the points, P found beside A kept for the same F.

    The package exchanges ghosts after each answer, so all ranks answer or all refuse: a rank that
    refused alone would leave the others waiting.
    """

    def __init__(self, law: MaterialLaw, comm: MPI.Comm):
        self._law, self._comm, self._number = law, comm, torch_threads(comm)
        self._watch = OutsideWatch(law)
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, derivatives: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
        if derivatives == (0,):
            return self._stress
        if derivatives == (1,):
            return self._tangent
        raise InputError(f"derivative {derivatives} of P: laws have P, (0,), and A, (1,)")

    def _stress(self, F: np.ndarray) -> np.ndarray:
        known = self._kept is not None and np.array_equal(self._kept[0], F)
        if self._kept is not None and self._comm.allreduce(known, op=MPI.LAND):
            return self._kept[1]
        return self._evaluate(F, 1)[1]

    def _tangent(self, F: np.ndarray) -> np.ndarray:
        _, stress, tangent = self._evaluate(F, 2)
        self._kept = (F.copy(), stress)
        return tangent

    def _evaluate(self, F: np.ndarray, order: int) -> list[np.ndarray]:
        def response() -> tuple[Tensor, ...]:
            points = F.reshape(-1, 3, 3)
            with limited_threads(self._number):
                answer = self._law.response(points, order)
            self._watch(points)
            return answer

        return [part.numpy().ravel() for part in on_every_rank(self._comm, response)]
