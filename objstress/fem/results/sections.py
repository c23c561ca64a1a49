"""Resultant force and moment on a plane through a body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem, la
from dolfinx import mesh as dmesh

from objstress.errors import InputError
from objstress.fem.solve.body import JIT
from objstress.fem.solve.static import StaticProblem
from objstress.fem.solve.supports import over_ranks


@dataclass(frozen=True)
class SectionForce:
    """What the part of a body ahead of a section does to the part behind it.

    Attributes:
        force: (3,), GPa length^2; of a plane mesh per unit of thickness.
        moment: about a point, (3,), GPa length^3.
    """

    force: np.ndarray
    moment: np.ndarray


def section_force(
    problem: StaticProblem,
    point: Sequence[float],
    normal: Sequence[float],
    about: Sequence[float] | None = None,
) -> SectionForce:
    r"""Force and moment that the part of a body ahead of a plane does to the part behind it.

    .. math::

        f = \sum_a f_a, \qquad m = \sum_a (x_a - c) \times f_a, \qquad
        f_a = \int_{V^-} P\, \nabla N_a \, dV - f^{ext}_a(V^-)

    over the nodes a at x = X + u that cells behind and cells ahead share: the section follows
    the faces of the cells, whose midpoints lie on either side of the plane in the undeformed body.
    By the principle of virtual work: with all loads, contacts and reactions on the part
    behind, f and m add up to zero, to round-off of the equilibrium. What acts on the section's
    nodes themselves and belongs to no cell, reactions and loads that fade after
    `StaticProblem.change`, counts to the part ahead. Tension along the normal is positive.

    Args:
        problem: solved; its present state is taken.
        point: on the plane, in the undeformed body, (dim,), a length.
        normal: from the part behind to the part ahead, (dim,), any length.
        about: c, where the moment is taken about, (dim,), a length in space; `point` by default.

    Raises:
        InputError: a motion, vectors of another length, a normal of length zero, a plane with all
            cells behind it or ahead of it.
    """
    if not isinstance(problem, StaticProblem):
        raise InputError("a section is cut through a body in equilibrium: give a StaticProblem")
    body, dim = problem.body, problem.dim
    p, n = _vector(point, dim, "point"), _vector(normal, dim, "normal")
    c = p if about is None else _vector(about, dim, "about")
    if not np.linalg.norm(n) > 0:
        raise InputError("the normal of a section has length zero")
    material, V = problem.material, problem.V
    material.update(tangent=False)
    middle = dmesh.compute_midpoints(problem.mesh, dim, material.cells)[:, :dim]
    behind = (middle - p) @ n < 0
    section = _shared(V, behind)[:, None]
    arms = np.zeros((len(section), 3))
    arms[:, :dim] = V.tabulate_dof_coordinates()[:, :dim] + problem.u.x.array.reshape(-1, dim) - c
    v, there = ufl.TestFunction(V), material.cell_function(behind.astype(float))
    form = ufl.Form(
        [i.reconstruct(integrand=there * i.integrand()) for i in material.residual(v).integrals()]
    )
    external = body.external_work(there * v)
    if external is not None:
        form = form - external
    # What the cells behind put on each node, before the ranks are added up.
    forces = fem.assemble_vector(fem.form(form, jit_options=JIT)).array
    # The work on each rigid motion of the section's nodes.
    motions = [section * axis for axis in np.eye(3)]
    motions += [section * np.cross(axis, arms) for axis in np.eye(3)]
    work = np.array([forces @ motion[:, :dim].ravel() for motion in motions])
    total = over_ranks(problem.comm, work)
    return SectionForce(force=total[:3], moment=total[3:])


def _vector(values: Sequence[float], dim: int, what: str) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (dim,) or not np.isfinite(vector).all():
        raise InputError(f"{what} of a section: give {dim} finite components")
    return vector


def _shared(V: fem.FunctionSpace, behind: np.ndarray) -> np.ndarray:
    """The local nodes that cells of both sides have, on whatever rank, bool (nodes,)."""
    mesh = V.mesh
    owned = mesh.topology.index_map(mesh.topology.dim).size_local
    sides = []
    for side in (behind, ~behind):
        if not mesh.comm.allreduce(int(side[:owned].sum())):
            where = "ahead of" if side is behind else "behind"
            raise InputError(f"the plane does not cut the body: all its cells lie {where} it")
        touched = la.vector(V.dofmap.index_map, 1)
        touched.array[V.dofmap.list[:owned][side[:owned]].ravel()] = 1.0
        touched.scatter_reverse(la.InsertMode.add)
        touched.scatter_forward()
        sides.append(touched.array > 0)
    return sides[0] & sides[1]
