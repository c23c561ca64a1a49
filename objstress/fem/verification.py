"""The finite-element side against independent answers: pure UFL, patch test, bars."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc

from objstress.fem import meshes
from objstress.fem.boundary import Displacement, Traction
from objstress.fem.problem import StaticProblem
from objstress.laws.analytic import SaintVenantKirchhoff
from objstress.laws.base import MaterialLaw
from objstress.laws.rotated import orientation
from objstress.symmetry.tensors import MANDEL, voigt_to_mandel


def assembly_against_ufl(stiffness: np.ndarray, kind: str = "hexahedron") -> tuple[float, float]:
    """Residual and Jacobian of Saint-Venant-Kirchhoff, ours against pure UFL; relative gaps.

    Irregular mesh, random displacement of about 5 % strain.

    Args:
        stiffness: 6 x 6 Voigt, GPa.
    """
    mesh = meshes.box((1.0, 1.2, 0.8), (3, 3, 3), kind, jitter=0.15)
    fixed = Displacement("x=min", (0.0, 0.0, 0.0))
    problem = StaticProblem(mesh, SaintVenantKirchhoff(stiffness), [fixed], quadrature_degree=2)
    rng = np.random.default_rng(0)
    problem.u.x.array[:] = 0.01 * rng.normal(size=len(problem.u.x.array))
    problem.material.update(tangent=True)
    ours = problem.assemble_residual(), problem.assemble_jacobian(bcs=False)

    mandel = voigt_to_mandel(np.asarray(stiffness))
    c = ufl.as_tensor(np.einsum("aij,ab,bkl->ijkl", MANDEL, mandel, MANDEL).tolist())
    u, v = problem.u, ufl.TestFunction(problem.V)
    f = ufl.Identity(3) + ufl.grad(u)
    e = 0.5 * (f.T * f - ufl.Identity(3))
    i, j, k, l = ufl.indices(4)
    s = ufl.as_tensor(c[i, j, k, l] * e[k, l], (i, j))
    form = ufl.inner(f * s, ufl.grad(v)) * problem.material.dx
    residual = fem_petsc.assemble_vector(fem.form(form))
    jacobian = fem_petsc.assemble_matrix(fem.form(ufl.derivative(form, u)))
    jacobian.assemble()
    gap_r = (ours[0] - residual).norm() / residual.norm()
    gap_j = (ours[1] - jacobian).norm() / jacobian.norm()
    return float(gap_r), float(gap_j)


def patch_test(law: MaterialLaw, kind: str = "hexahedron") -> float:
    """Largest deviation from u = G x inside an irregular mesh with u = G x on its boundary.

    Relative to the largest displacement.
    """
    g = np.array([[0.02, 0.03, 0.01], [-0.01, 0.025, 0.02], [0.01, -0.02, 0.03]])
    mesh = meshes.box((1.0, 1.0, 1.0), (3, 3, 3), kind, jitter=0.15)

    def boundary(x: np.ndarray) -> np.ndarray:
        return (np.isclose(x, 0) | np.isclose(x, 1)).any(axis=0)

    problem = StaticProblem(mesh, law, [Displacement(boundary, lambda x: g @ x)])
    problem.solve(1, progress=False)
    exact = problem.V.tabulate_dof_coordinates() @ g.T
    gap = np.abs(problem.u.x.array.reshape(-1, 3) - exact).max()
    return float(gap / np.abs(exact).max())


def bar_modulus(law: MaterialLaw, direction: tuple[int, int, int], strain: float = 1e-5) -> float:
    """Young's modulus along a crystal direction from a bar pulled in FEniCSx, GPa."""
    length, width = 4.0, 1.0
    mesh = meshes.box((length, width, width), (4, 2, 2))
    problem = StaticProblem(
        mesh,
        law,
        [
            Displacement("x=min", (0.0, None, None)),
            Displacement("x=max", (strain * length, None, None), "pulled"),
            Displacement("x=min & y=min & z=min", (None, 0.0, 0.0)),
            Displacement("x=min & y=max & z=min", (None, None, 0.0)),
        ],
        orientation=orientation(direction),
    )
    record = problem.solve(1, progress=False)[-1]
    return record.reactions["pulled"][0] / (strain * width * width)


def newton_order(law: MaterialLaw, direction: tuple[int, int, int], traction: float = 4.0) -> float:
    """Observed order of Newton's method: a bar on an irregular mesh, one step of dead traction.

    The deformation stays homogeneous, so the constant in |e_k+1| = c |e_k|^2 does too and the
    order shows within the few iterates before round-off; at a notch c grows from one to the next.

    Args:
        traction: GPa.
    """
    mesh = meshes.box((4.0, 1.0, 1.0), (4, 2, 2), jitter=0.15)
    problem = StaticProblem(
        mesh,
        law,
        [
            Displacement("x=min", (0.0, None, None)),
            Displacement("x=min & y=min & z=min", (None, 0.0, 0.0)),
            Displacement("x=min & y=max & z=min", (None, None, 0.0)),
            Traction("x=max", (traction, 0.0, 0.0)),
        ],
        orientation=orientation(direction),
    )
    return problem.solve(1, progress=False)[-1].order or float("nan")


def pulled_plate(
    law: MaterialLaw,
    direction: tuple[int, int, int],
    strain: float = 0.03,
    cells: tuple[int, int, int] = (10, 9, 2),
    steps: int = 1,
    progress: bool = True,
) -> StaticProblem:
    """A plate with a hole, the crystal direction along x, stretched along x by `strain`."""
    mesh = meshes.plate_with_hole(cells=cells)
    half = 0.5 * strain * 4.0
    problem = StaticProblem(
        mesh,
        law,
        [
            Displacement("x=min", (-half, None, None), "left"),
            Displacement("x=max", (half, None, None), "right"),
            Displacement("x=min & y=min & z=min", (None, 0.0, 0.0), "corner"),
            Displacement("x=min & y=max & z=min", (None, None, 0.0), "corner"),
        ],
        orientation=orientation(direction),
    )
    problem.solve(steps, progress=progress)
    return problem
