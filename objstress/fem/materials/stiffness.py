"""How stiff the laws of a body are: penalties of contacts, and who locks."""

from __future__ import annotations

from warnings import warn

import numpy as np
from dolfinx import fem

from objstress.fem.materials.graded import GradedLaw
from objstress.fem.materials.grains import distinct_laws
from objstress.fem.materials.quadrature import Material, limited_threads
from objstress.symmetry.voigt import tensor_to_voigt, voigt_to_mandel

NEARLY_INCOMPRESSIBLE = 50.0
"""Bulk over shear modulus (Poisson's ratio 0.49) from which on linear elements are warned of."""


def stiffnesses(material: Material) -> list[np.ndarray]:
    """Voigt's 6 x 6 of each law of the body, GPa."""
    law = material.law
    if isinstance(law, GradedLaw):
        members = law.p.unique(dim=0)
        at_rest = np.tile(np.eye(3), (len(members), 1, 1))
        with limited_threads(material.threads):
            return list(tensor_to_voigt(law.family.response(at_rest, members, 2)[2].numpy()))
    with limited_threads(material.threads):
        return [one.stiffness() for one in distinct_laws(law)]


def penalty_stiffness(material: Material) -> fem.Function:
    """Ten times the laws' largest constant over the edge of each cell, GPa per length."""
    largest = max(float(np.abs(c).max()) for c in stiffnesses(material))
    volumes = material.volumes.reshape(-1, len(material.weights)).sum(axis=1)
    dim = material.u.function_space.mesh.topology.dim
    return material.cell_function(10 * largest / volumes ** (1 / dim))


def warn_of_locking(material: Material) -> None:
    """Linear elements that each keep their volume hardly bend."""
    ratio = max(
        c[:3, :3].sum() / 9 / (0.5 * np.linalg.eigvalsh(voigt_to_mandel(c)).min())
        for c in stiffnesses(material)
    )
    if ratio > NEARLY_INCOMPRESSIBLE and material.u.function_space.mesh.comm.rank == 0:
        warn(
            f"the law is nearly incompressible (bulk modulus {ratio:.0f} times the least shear "
            "modulus): linear elements lock, give element='mixed' or degree=2",
            stacklevel=2,
        )
