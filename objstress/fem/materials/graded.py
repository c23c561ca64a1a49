"""Graded bodies: members of a family of laws whose parameters are a field."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import torch
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.base import MaterialLaw, as_deformation
from objstress.laws.family import LawFamily


class Graded:
    """A family of laws, and the field of its parameters in the reference body.

    Args:
        family: in the frame of the body.
        parameters: the field, a dolfinx function or a UFL expression of shape (q,), or () for one
            parameter; a function of degree 0 ("DG") gives each cell its own.

    Raises:
        InputError: a field of another shape.
    """

    def __init__(self, family: LawFamily, parameters: Any):
        self.family, self.parameters = family, ufl.as_ufl(parameters)
        number, shape = len(family.names), self.parameters.ufl_shape
        if shape != (number,) and not (shape == () and number == 1):
            raise InputError(
                f"a field of shape {shape} for the parameters {', '.join(family.names)}: give one "
                f"of shape ({number},)"
            )


class GradedLaw(MaterialLaw):
    """The members of a family at the quadrature points of a mesh, in their order.

    F may belong to the first cells alone.

    Args:
        graded: see `Graded`.
        mesh: whose points they are.
        points: of the reference cell, (m, dim).

    Attributes:
        p: parameters of each point, (n, q), as of the last `update`.
        outside_action: the family's.
    """

    def __init__(self, graded: Graded, mesh: dmesh.Mesh, points: np.ndarray):
        self.family = graded.family
        self.point_group = graded.family.point_group
        self.outside_action = graded.family.outside_action
        cells = mesh.topology.index_map(mesh.topology.dim)
        self._mesh = mesh
        self._cells = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
        self._points = len(points)
        self._field = fem.Expression(graded.parameters, points)
        self.update()

    def update(self) -> None:
        """Read the field anew, and report values outside those of the fit."""
        values = self._field.eval(self._mesh, self._cells)
        self.p = torch.tensor(values.reshape(-1, len(self.family.names)))
        self.family.report(self.p)

    def in_cells(self, cells: np.ndarray) -> GradedLaw:
        """The law of one point in each of these local cells, (cells,): the mean of its points."""
        law = copy(self)
        means = self.p.view(len(self._cells), self._points, -1).mean(dim=1)
        law.p, law._points = means[torch.as_tensor(cells, dtype=torch.long)], 1
        return law

    def response(self, F: Any, order: int) -> tuple[Tensor, ...]:
        f = as_deformation(F)
        return self.family.response(f, self.p[: len(f)], order)

    def by_parameters(self, F: Any) -> tuple[Tensor, Tensor]:
        """Derivatives of W and P by the parameters of each point, see `LawFamily.by_parameters`.

        Args:
            F: deformation gradients, (n, 3, 3).

        Returns:
            (n, q) and (n, 3, 3, q), GPa over each parameter's own unit.
        """
        f = as_deformation(F)
        return self.family.by_parameters(f, self.p[: len(f)])

    def outside(self, F: Any) -> Tensor:
        return self.family.strains_outside(as_deformation(F))
