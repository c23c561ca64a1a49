"""FEniCSx: crystals as finite elements, from a material law at a point to a simulated body.

A `StaticProblem` takes a dolfinx mesh, a law (or `Grains`, a law and an orientation for each) and
conditions; `DynamicProblem` and `ExplicitProblem` move it in time, `follow_path` goes through limit
points, a `PeriodicCell` is homogenised, and `simulate` runs a case written in YAML::

    law = load_law("silicon.law")
    ends = [Displacement("x=min", (0, 0, 0)), Displacement("x=max", (0.1, None, None), "end")]
    problem = StaticProblem(meshes.box((2, 1, 1), (8, 4, 4)), law, ends)
    problem.solve(steps=4)[-1].reactions["end"]

In forms of one's own a law is a `QuadratureMaterial` (with `before_residual`), a
`stress_operator`, a `law_material` or, as a polynomial, the UFL expression `energy_density`.
"""

import contextlib

import lazy_loader as lazy

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

from objstress.fem.form_cache import clear_stale_locks

clear_stale_locks()

# UFL numbers its classes once, when a form is first treated: those of this package must be known.
with contextlib.suppress(ImportError):
    import dolfinx_external_operator  # noqa: F401

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
