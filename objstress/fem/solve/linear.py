"""Which linear solver a problem gets: direct when it is small, multigrid when it is large."""

from __future__ import annotations

import weakref
from itertools import count
from typing import Any

import numpy as np
from dolfinx import fem
from petsc4py import PETSc

DIRECT_UP_TO = 60_000
"""Unknowns up to which MUMPS is taken. On a cube multigrid is faster before that, but MUMPS does
not mind stretched cells or a tangent that is no longer definite."""

NUMBER = count()
"""Of solvers, for the prefixes of their PETSc options."""


def solver_options(unknowns: int, symmetric: bool) -> dict[str, Any]:
    """PETSc options: MUMPS up to `DIRECT_UP_TO` unknowns, then CG (or GMRES) with GAMG.

    Args:
        unknowns: of the whole problem.
        symmetric: whether the tangent is (follower loads make it unsymmetric).
    """
    if unknowns <= DIRECT_UP_TO:
        return {
            "ksp_type": "preonly",
            "pc_type": "lu",
            "pc_factor_mat_solver_type": "mumps",
            # On several ranks the workspace needed differs from run to run: percent to spare.
            "mat_mumps_icntl_14": 100,
        }
    return {
        "ksp_type": "cg" if symmetric else "gmres",
        "ksp_rtol": 1e-8,
        "ksp_max_it": 500,
        "pc_type": "gamg",
        "pc_gamg_threshold": 0.01,
        "mg_levels_ksp_type": "chebyshev",
        "mg_levels_pc_type": "jacobi",
    }


def give_options(owner: Any, solver: PETSc.Object, options: dict[str, Any]) -> None:
    """Set PETSc options of one solver alone.

    Args:
        owner: when it is freed, they are forgotten: MUMPS and multigrid read theirs when they are
            set up, at the first solution.
        solver: a KSP or SNES with its functions and operators.
        options: without a prefix.
    """
    prefix = f"objstress_{next(NUMBER)}_"
    solver.setOptionsPrefix(prefix)
    table = PETSc.Options()
    for key, value in options.items():
        table[prefix + key] = value
    solver.setFromOptions()
    weakref.finalize(owner, _forget, [prefix + key for key in options])


def _forget(keys: list[str]) -> None:
    table = PETSc.Options()
    for key in keys:
        table.delValue(key)


def rigid_motions(V: fem.FunctionSpace, centre: np.ndarray | float = 0.0) -> list[np.ndarray]:
    """The rigid motions as arrays of the local degrees of freedom: three and three, or two and one.

    Translations first, then rotations about the axes through the centre. Of unknowns beside the
    displacement, which come after it at each node, they are zero.
    """
    x = V.tabulate_dof_coordinates() - centre
    dim, width = V.mesh.geometry.dim, V.dofmap.index_map_bs
    motions = []
    for k in range(dim):
        motions.append(np.zeros((len(x), width)))
        motions[-1][:, k] = 1.0
    for i, j in ((1, 2), (2, 0), (0, 1)) if dim == 3 else ((0, 1),):
        motions.append(np.zeros((len(x), width)))
        motions[-1][:, i], motions[-1][:, j] = -x[:, j], x[:, i]
    return [m.ravel() for m in motions]


def near_nullspace(V: fem.FunctionSpace) -> PETSc.NullSpace:
    """The rigid motions, orthonormal, for `Mat.setNearNullSpace`."""
    owned = V.dofmap.index_map.size_local * V.dofmap.index_map_bs
    total = V.dofmap.index_map.size_global * V.dofmap.index_map_bs
    vectors: list[PETSc.Vec] = []
    for motion in rigid_motions(V):
        vector = PETSc.Vec().createMPI((owned, total), comm=V.mesh.comm)
        vector.setArray(motion[:owned])
        for other in vectors:
            vector.axpy(-vector.dot(other), other)
        vector.normalize()
        vectors.append(vector)
    return PETSc.NullSpace().create(vectors=vectors, comm=V.mesh.comm)
