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

from objstress.fem.boundary import Displacement, Traction
from objstress.fem.material import QuadratureMaterial
from objstress.fem.periodic_cell import PeriodicCell
from objstress.fem.problem import StaticProblem, StepRecord
from objstress.fem.ufl_material import UflMaterial

__all__ = [
    "Displacement",
    "PeriodicCell",
    "QuadratureMaterial",
    "StaticProblem",
    "StepRecord",
    "Traction",
    "UflMaterial",
]
