"""A law as a `Material` of the package dolfinx_materials, and the order of its nine components."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from objstress.errors import InputError
from objstress.fem.materials.quadrature import limited_threads, torch_threads
from objstress.laws.base import MaterialLaw
from objstress.laws.outside import OutsideWatch

COMPONENTS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1))
"""A tensor without symmetry as a vector in MFront (TFEL): 11 22 33 12 21 13 31 23 32."""
_ROWS = np.array([3 * i + J for i, J in COMPONENTS])
_BACK = np.argsort(_ROWS)


def to_vector(tensor: np.ndarray) -> np.ndarray:
    """The components T_11 T_22 T_33 T_12 T_21 T_13 T_31 T_23 T_32: (..., 3, 3) to (..., 9)."""
    return tensor.reshape(*tensor.shape[:-2], 9)[..., _ROWS]


def to_tensor(vector: np.ndarray) -> np.ndarray:
    """The tensor (..., 3, 3) of a vector (..., 9) in the order of `to_vector`."""
    return vector[..., _BACK].reshape(*vector.shape[:-1], 3, 3)


def law_material(law: MaterialLaw) -> Any:
    """A law as a material of the package `dolfinx_materials`: PK1 = P(F), dPK1/dF = A(F).

    Gradients {"F": 9}, fluxes {"PK1": 9}, one tangent block ("PK1", "F") of 9 x 9, rows PK1 and
    columns F, no internal variables. The nine components of F and PK1 stand in MFront's order of a
    tensor without symmetry, as they are, without factors::

        11 22 33 12 21 13 31 23 32

    (Mandel's form, 11 22 33 12 13 23 with sqrt(2) on the last three, is that package's for
    symmetric tensors, which F and PK1 are not. That of objstress is 11 22 33 23 13 12.) PK1 is in
    GPa. ::

        qmap = QuadratureMap(mesh, degree, law_material(law))
        qmap.register_gradient("F", deformation_gradient(ufl.grad(u)))
        r = ufl.dot(qmap.fluxes["PK1"], gradient(ufl.grad(v))) * qmap.dx
        J = qmap.derivative(r, u, du)

    with `deformation_gradient` and `gradient` of dolfinx_materials.utils, which write these
    orders. In two dimensions give them `grad_3d(u)`. All points are evaluated at once. The solver
    of version 0.4.0 needs dolfinx 0.10; `before_residual(problem, qmap.update)` takes its place.

    Args:
        law: in the sample's frame (rotate a crystal with `RotatedLaw(law, Q)`).

    Raises:
        InputError: the package is missing, or `law` is no `MaterialLaw` (such as Grains); at
            evaluation det F <= 0, or points outside the strains of the fit where the law's
            `outside_action` is "error".

    Source: J. Bleyer, dolfinx_materials, doi:10.5281/zenodo.13882183, "Conventions for
    representing tensors"; MFront's at https://thelfer.github.io/tfel/web/tensors.html.
    """
    try:
        from dolfinx_materials.generic import Material
    except ImportError as error:
        raise InputError(
            "dolfinx_materials is not installed: "
            "`pip install --no-deps git+https://github.com/bleyerj/dolfinx_materials`"
        ) from error
    if not isinstance(law, MaterialLaw):
        raise InputError(
            f"law_material of a {type(law).__name__}: give a material law; "
            "Grains go into objstress.fem.QuadratureMaterial"
        )
    threads, watch = torch_threads(MPI.COMM_WORLD), OutsideWatch(law)

    class LawMaterial(Material):
        def __init__(self) -> None:
            super().__init__()
            # Of one point (9,) as of all (n, 9); the package's own loop over points is slow.
            self.batched_constitutive_update = self.constitutive_update

        @property
        def gradients(self) -> dict[str, int]:
            return {"F": 9}

        @property
        def fluxes(self) -> dict[str, int]:
            return {"PK1": 9}

        @property
        def tangent_blocks(self) -> dict[tuple[str, str], tuple[int, int]]:
            return {("PK1", "F"): (9, 9)}

        def constitutive_update(
            self, gradients: np.ndarray, state: dict[str, Any], dt: float
        ) -> tuple[np.ndarray, dict[str, Any]]:
            """A (..., 9, 9) and the state with F and PK1 (..., 9), of F (..., 9); no time in it."""
            F = to_tensor(np.asarray(gradients))
            with limited_threads(threads):
                _, p, a = law.response(F, 2)
            watch(F.reshape(-1, 3, 3))
            stress = to_vector(p.numpy())
            tangent = a.numpy().reshape(*stress.shape, 9)[..., _ROWS, :][..., _ROWS]
            return tangent, {**state, "F": gradients, "PK1": stress}

    return LawMaterial()
