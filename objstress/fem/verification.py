"""Checks of the finite elements against pure UFL, closed forms and published results."""

from __future__ import annotations

from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from scipy.optimize import brentq

from objstress.elasticity.orientations import orientation
from objstress.fem import meshes
from objstress.fem.conditions.contact import RigidSphere
from objstress.fem.conditions.displacements import Displacement, symmetry_plane
from objstress.fem.conditions.loads import BodyForce, Traction
from objstress.fem.solve.static import StaticProblem
from objstress.laws.analytic import DecoupledNeoHooke, SaintVenantKirchhoff
from objstress.laws.base import MaterialLaw
from objstress.symmetry.voigt import voigt_to_tensor


def assembly_against_ufl(stiffness: np.ndarray, kind: str = "hexahedron") -> tuple[float, float]:
    """Relative gaps of residual and Jacobian of Saint-Venant-Kirchhoff against pure UFL.

    Irregular mesh, random displacement of about 5 % strain.

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        kind: of the cells, see `meshes.box`.
    """
    mesh = meshes.box((1.0, 1.2, 0.8), (3, 3, 3), kind, jitter=0.15)
    fixed = Displacement("x=min", (0.0, 0.0, 0.0))
    problem = StaticProblem(mesh, SaintVenantKirchhoff(stiffness), [fixed], quadrature_degree=2)
    rng = np.random.default_rng(0)
    problem.u.x.array[:] = 0.01 * rng.normal(size=len(problem.u.x.array))
    problem.material.update(tangent=True)
    ours = problem.body.assemble_residual(), problem.body.assemble_jacobian(bcs=False)

    c = ufl.as_tensor(voigt_to_tensor(stiffness).tolist())
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

    Args:
        law: any.
        kind: of the cells, see `meshes.box`.
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
    """Young's modulus along a crystal direction from a bar pulled in FEniCSx, GPa.

    Args:
        law: in the crystal's frame.
        direction: crystal direction along the bar.
        strain: of the bar.
    """
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

    The deformation stays homogeneous, so the constant in ``|e_k+1| = c |e_k|^2`` does too and the
    order shows within the few iterates before round-off; at a notch c grows from one to the next.

    Args:
        law: in the crystal's frame.
        direction: crystal direction along the bar.
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
    """A plate with a hole, the crystal direction along x, stretched along x by `strain`.

    Args:
        law: in the crystal's frame.
        direction: crystal direction along x.
        strain: mean strain along x at load factor 1.
        cells: see `meshes.plate_with_hole`.
        steps: number of load steps.
        progress: whether a progress bar is shown.
    """
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


def cooks_membrane(n: int, degree: int = 1) -> float:
    """Tip displacement u_y at (48, 52) mm of Cook's membrane at finite strain, mm.

    48 mm long, 44 mm high at the wall and 16 mm at the end, one element thick, u_z = 0; decoupled
    neo-Hooke with mu = 0.4225 MPa, nu = 0.3; a dead load of 1 N along y in ten steps.

    deal.II code gallery, "Quasi-static finite-strain compressible elasticity".

    Args:
        n: number of elements along each side.
        degree: of the elements.
    """
    mu, nu = 0.4225e-3, 0.3
    mesh = meshes.box((1.0, 1.0, 1.0), (n, n, 1))
    x = mesh.geometry.x
    s, t = x[:, 0].copy(), x[:, 1].copy()
    x[:, 0], x[:, 1] = 48 * s, 44 * s + t * (44 * (1 - s) + 16 * s)
    problem = StaticProblem(
        mesh,
        DecoupledNeoHooke(mu, 2 * mu * (1 + nu) / (3 * (1 - 2 * nu))),
        [
            Displacement("x=min", (0.0, 0.0, 0.0)),
            symmetry_plane("z=min"),
            symmetry_plane("z=max"),
            Traction("x=max", (0.0, 1e-3 / 16, 0.0)),
        ],
        degree=degree,
    )
    problem.solve(10, progress=False)
    nodes = problem.V.tabulate_dof_coordinates()
    tip = np.argmin(np.linalg.norm(nodes - [48, 52, 0], axis=1))
    return float(problem.u.x.array.reshape(-1, 3)[tip, 1])


def manufactured_errors(
    stiffness: np.ndarray, n: int, degree: int, kind: str = "hexahedron"
) -> tuple[float, float]:
    """Errors of u in L2 and of grad u in L2 against a given smooth u, on the unit cube.

    Saint-Venant-Kirchhoff; b = -Div P(I + grad u) is what UFL makes of the given u, which is
    prescribed on the boundary.

    Args:
        stiffness: 6 x 6 Voigt, GPa; any anisotropy.
        n: number of cells along an edge.
        degree: of the elements.
        kind: of the cells, see `meshes.box`.
    """
    mesh = meshes.box((1.0, 1.0, 1.0), (n, n, n), kind)
    x = ufl.SpatialCoordinate(mesh)
    phases = ((1.0, 0.3, 0.2), (0.2, 1.1, 0.4), (0.5, 0.1, 0.9))

    def parts(sin: Any, x: Any) -> list[Any]:
        return [0.03 * sin(2 * sum(k * x[i] for i, k in enumerate(phase))) for phase in phases]

    exact = ufl.as_vector(parts(ufl.sin, x))
    c = ufl.as_tensor(voigt_to_tensor(stiffness).tolist())
    f = ufl.Identity(3) + ufl.grad(exact)
    e = 0.5 * (f.T * f - ufl.Identity(3))
    i, j, k, l = ufl.indices(4)
    piola = f * ufl.as_tensor(c[i, j, k, l] * e[k, l], (i, j))
    problem = StaticProblem(
        mesh,
        SaintVenantKirchhoff(stiffness),
        [
            Displacement("boundary", lambda p: np.array(parts(np.sin, p))),
            BodyForce(-ufl.div(piola)),
        ],
        degree=degree,
        quadrature_degree=2 * degree + 1,
    )
    problem.solve(1, progress=False)
    dx = ufl.Measure("dx", domain=mesh, metadata={"quadrature_degree": 2 * degree + 4})

    def norm(gap: Any) -> float:
        square = fem.assemble_scalar(fem.form(ufl.inner(gap, gap) * dx))
        return float(np.sqrt(mesh.comm.allreduce(square)))

    return norm(problem.u - exact), norm(ufl.grad(problem.u - exact))


def hertz_indentation(
    law: MaterialLaw,
    rotation: Any = None,
    cells: int = 22,
    radius: float = 10.0,
    depth: float = 0.05,
    steps: int = 2,
    quarter: bool = True,
) -> list[tuple[float, float]]:
    r"""Depth and force of a rigid sphere pressed into a half-space, for Hertz's solution.

    .. math:: F = \frac43 \frac{E}{1 - \nu^2} R^{1/2} d^{3/2}

    The half-space is a block of 120 contact radii, its cells growing away from the contact, where
    their edge is 0.12 contact radii.

    Args:
        law: in the crystal's frame.
        rotation: Q of the crystal (3, 3), its indented direction along z.
        cells: number from the axis outwards, and downwards.
        radius: of the sphere, a length.
        depth: of the sphere's tip at load factor 1, a length.
        steps: number of load steps.
        quarter: whether x = 0 and y = 0 are mirror planes; else the whole block is meshed.

    Returns:
        [(depth, force)] of each step, in the unit of the lengths and in GPa length^2.
    """
    contact = np.sqrt(radius * depth)
    growth = brentq(lambda g: 0.12 * (g**cells - 1) / (g - 1) - 120, 1.0001, 9.0)
    down = 0.12 * contact * (growth ** np.arange(cells + 1) - 1) / (growth - 1)
    n = cells if quarter else 2 * cells
    mesh = meshes.box((1.0, 1.0, 1.0), (n, n, cells))
    x = mesh.geometry.x
    sides = down if quarter else np.concatenate([-down[:0:-1], down])
    x[:, :2] = sides[np.rint(x[:, :2] * n).astype(int)]
    x[:, 2] = -down[np.rint((1 - x[:, 2]) * cells).astype(int)]
    near = 3 * contact
    sphere = RigidSphere(
        lambda p: (np.abs(p[2]) < 1e-9) & (np.hypot(p[0], p[1]) < near),
        (0.0, 0.0, -depth),
        name="sphere",
        centre=(0.0, 0.0, radius),
        radius=radius,
    )
    walls = [symmetry_plane("x=min"), symmetry_plane("y=min")] if quarter else []
    problem = StaticProblem(
        mesh, law, [Displacement("z=min", (0, 0, 0)), *walls, sphere], orientation=rotation
    )
    history = problem.solve(steps, progress=False)
    quarters = 4 if quarter else 1
    return [(r.load * depth, quarters * abs(r.reactions["sphere"][2])) for r in history]
