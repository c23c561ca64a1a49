"""FEniCSx: a material law at quadrature points, and the static problem around it."""

import contextlib

from objstress.errors import InputError

with contextlib.suppress(ImportError):
    import dolfinx_solver  # noqa: F401  (the wheel's libraries; before dolfinx)
try:
    import dolfinx  # noqa: F401
except ImportError as error:
    raise InputError(
        "FEniCSx is not installed: `pip install objstress[fem]` on Linux x86-64 with "
        "Python >= 3.12, elsewhere conda with environment.yml"
    ) from error

from objstress.fem.solve.arc_length import follow_path

# UFL numbers its classes once, when a form is first treated: those of this package must be there.
with contextlib.suppress(ImportError):
    import dolfinx_external_operator  # noqa: F401

from objstress.fem.conditions.contact import RigidPlane, RigidSphere
from objstress.fem.conditions.displacements import Displacement, mean_deformation, symmetry_plane
from objstress.fem.conditions.loads import BodyForce, Pressure, Traction
from objstress.fem.homogenisation.cell import PeriodicCell
from objstress.fem.interop.dolfinx_materials import law_material
from objstress.fem.interop.external_operator import stress_operator
from objstress.fem.interop.own_forms import before_residual
from objstress.fem.materials.grains import Grains, Voronoi, random_seeds
from objstress.fem.materials.quadrature import QuadratureMaterial
from objstress.fem.materials.ufl import UflMaterial
from objstress.fem.materials.ufl_polynomial import energy_density
from objstress.fem.solve.dynamic import DynamicProblem, DynamicRecord
from objstress.fem.solve.record import StepRecord
from objstress.fem.solve.static import StaticProblem

__all__ = [
    "BodyForce",
    "Displacement",
    "DynamicProblem",
    "DynamicRecord",
    "Grains",
    "PeriodicCell",
    "Pressure",
    "QuadratureMaterial",
    "RigidPlane",
    "RigidSphere",
    "StaticProblem",
    "StepRecord",
    "Traction",
    "UflMaterial",
    "Voronoi",
    "before_residual",
    "energy_density",
    "follow_path",
    "law_material",
    "mean_deformation",
    "random_seeds",
    "stress_operator",
    "symmetry_plane",
]
