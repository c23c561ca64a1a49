"""The discretised body: forms of its forces, what is prescribed, reactions and energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc

from objstress.errors import InputError
from objstress.fem.conditions.contact import Contact
from objstress.fem.conditions.displacements import Displacement
from objstress.fem.conditions.facets import facet_measures
from objstress.fem.conditions.loads import BodyForce, Pressure, Surface, Traction
from objstress.fem.form_cache import clear_stale_locks
from objstress.fem.materials.grains import Grains, GrainsLaw
from objstress.fem.materials.quadrature import Material, QuadratureMaterial, quadrature_degree_for
from objstress.fem.materials.ufl import UflMaterial
from objstress.fem.solve.supports import Supports, over_ranks
from objstress.laws.base import MaterialLaw
from objstress.laws.rotated import RotatedLaw
from objstress.parallel import on_every_rank

Condition = Displacement | Traction | Pressure | BodyForce | Contact

# Sums over quadrature points may be reordered, which lets the C compiler use vector registers and
# makes assembly faster. Nothing about infinities, NaN or the processor is assumed. Loops stay loops
# and no debug information is written: with -O3 some forms compile far longer and are no faster.
JIT = {
    "cffi_extra_compile_args": [
        "-O2",
        "-g0",
        "-ftree-vectorize",
        "-fvect-cost-model=dynamic",
        "--param=max-completely-peel-times=4",
        "-fassociative-math",
        "-fno-signed-zeros",
        "-fno-trapping-math",
    ]
}


class Body:
    """Internal minus external forces of a body and their derivative, as forms in u.

    Args:
        mesh, law, conditions, orientation, degree, assembly, quadrature_degree: see
            `StaticProblem`.

    Attributes:
        V, u: space of the displacement, and the displacement.
        material: the law at the quadrature points.
        load, factor: the load factor, a constant, and the UFL variable that the forms have.
        dead, following, touching: virtual work of the forces that u does not change, of those
            that it does, and of the contacts, UFL forms.
        potentials: energies of the contacts, UFL forms.
        contacts: {name: forms of the components of the force}.
        supports: the prescribed displacements.
        edge: mean edge of a cell.
        symmetric: whether the derivative is.

    Raises:
        InputError: see `StaticProblem`.
    """

    def __init__(
        self,
        mesh: dmesh.Mesh,
        law: MaterialLaw | Grains,
        conditions: Sequence[Condition],
        *,
        orientation: Any = None,
        degree: int = 1,
        assembly: str = "quadrature",
        quadrature_degree: int | None = None,
    ):
        self.dim = dim = mesh.topology.dim
        if dim not in (2, 3) or mesh.geometry.dim != dim:
            raise InputError(
                f"a mesh of {dim}-dimensional cells in {mesh.geometry.dim} dimensions: give solid "
                "cells in three, or a plane mesh in two for plane strain"
            )
        self.mesh, self.comm = mesh, mesh.comm
        if orientation is not None:
            if isinstance(law, Grains):
                raise InputError("grains bring their own orientations: leave `orientation` out")
            law = RotatedLaw(law, orientation)
        clear_stale_locks()  # of a compilation that was interrupted in this very process
        self.V = fem.functionspace(mesh, ("Lagrange", degree, (dim,)))
        self.u = fem.Function(self.V, name="displacement")
        self.degree = degree
        if quadrature_degree is None:
            quadrature_degree = quadrature_degree_for(mesh, degree)
        kinds: dict[str, type[Material]] = {"quadrature": QuadratureMaterial, "ufl": UflMaterial}
        if assembly not in kinds:
            raise InputError(f"assembly = {assembly!r}: give 'quadrature' or 'ufl'")
        self.material = kinds[assembly](self.u, law, quadrature_degree)
        self.material.watch = None  # accepted steps are reported, not Newton's iterates
        volumes = self.material.volumes[: self.material.owned]
        volume = self.comm.allreduce(float(volumes.sum()), op=MPI.SUM)
        self.edge = (volume / mesh.topology.index_map(dim).size_global) ** (1 / dim)
        self.load = fem.Constant(mesh, PETSc.ScalarType(0.0))
        self.factor = ufl.variable(self.load)
        self.symmetric = not any(isinstance(c, Pressure) for c in conditions)
        v, du = ufl.TestFunction(self.V), ufl.TrialFunction(self.V)
        self._add_external_work(conditions, v)
        residual, jacobian = self.internal_forces(du, v)
        for work in self.dead + self.following + self.touching:
            residual = residual - work
        for work in self.following + self.touching:
            jacobian = jacobian - ufl.derivative(work, self.u, du)
        self.residual_form = fem.form(residual, jit_options=JIT)
        self.jacobian_form = fem.form(jacobian, jit_options=JIT)
        displacements = [c for c in conditions if isinstance(c, Displacement)]
        self.supports = Supports(self.V, displacements)
        for name in self.supports.names:
            if name in self.contacts:
                raise InputError(f"a contact and a displacement are named {name!r}")
        self.check_rigid_motions()

    def internal_forces(self, du: Any, v: Any) -> tuple[Any, Any]:
        """UFL forms of the forces of the body itself, and of their derivative."""
        return self.material.residual(v), self.material.jacobian(du, v)

    def _add_external_work(self, conditions: Sequence[Condition], v: Any) -> None:
        bulk = [c for c in conditions if isinstance(c, BodyForce)]
        self.dead = [c.work(self.u, v, self.factor, ufl.dx) for c in bulk]
        self.following: list[Any] = []
        self.touching: list[Any] = []
        self.potentials: list[Any] = []
        self.contacts: dict[str, list[fem.Form]] = {}
        surfaces = [c for c in conditions if not isinstance(c, Displacement | BodyForce)]
        soft = [c for c in surfaces if isinstance(c, Contact) and c.stiffness is None]
        penalty = self._penalty() if soft else None
        # One rule for a force and its sum; a contact's edge lies within facets.
        measures = facet_measures(self.mesh, surfaces, 3 * self.degree)
        for condition, ds in zip(surfaces, measures, strict=True):
            surface = Surface(self.u, v, self.factor, ds, penalty)
            work = condition.work(surface)
            if not isinstance(condition, Contact):
                (self.following if condition.follows else self.dead).append(work)
                continue
            self.touching.append(work)
            self.potentials.append(condition.energy(surface))
            name = condition.name or f"contact {len(self.contacts)}"
            if name in self.contacts:
                raise InputError(f"two contacts are named {name!r}: give each a name of its own")
            self.contacts[name] = [fem.form(f) for f in condition.forces(surface)]

    def _penalty(self) -> fem.Function:
        """Ten times the law's largest constant over the edge of each cell."""
        law, material = self.material.law, self.material
        laws = law.grains.laws if isinstance(law, GrainsLaw) else [law]
        distinct = {id(one): one for one in laws}.values()
        largest = max(float(np.abs(one.stiffness()).max()) for one in distinct)
        volumes = material.volumes.reshape(-1, len(material.weights)).sum(axis=1)
        return material.cell_function(10 * largest / volumes ** (1 / self.dim))

    def check_rigid_motions(self) -> None:
        """Contacts may hold what the displacements leave free; nothing else may.

        Raises:
            InputError: a rigid motion is free (all that are, are named).
        """
        free = self.supports.free_motions()
        if free and not self.contacts:
            raise InputError(f"the displacements leave the body free to move: {', '.join(free)}")

    def apply_load(self, load: float) -> None:
        """Set forces, contacts and prescribed displacements to a load factor."""
        self.load.value = load
        self.supports.apply(load)

    def evaluate(self, tangent: bool = True) -> bool:
        """Whether the law has an answer at u, on all ranks: `Material.update`."""
        try:
            on_every_rank(self.comm, lambda: self.material.update(tangent=tangent))
        except InputError:
            return False
        return True

    def assemble_residual(self, b: PETSc.Vec | None = None) -> PETSc.Vec:
        """Internal minus external forces at the present P, boundary conditions left out."""
        b = b or fem_petsc.create_vector(self.V)
        with b.localForm() as local:
            local.set(0.0)
        fem_petsc.assemble_vector(b, self.residual_form)
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        return b

    def assemble_jacobian(self, A: PETSc.Mat | None = None, bcs: bool = True) -> PETSc.Mat:
        """The derivative of the residual at the present A."""
        A = A or fem_petsc.create_matrix(self.jacobian_form)
        A.zeroEntries()
        fem_petsc.assemble_matrix(A, self.jacobian_form, bcs=self.supports.bcs if bcs else [])
        A.assemble()
        return A

    def reactions(self) -> dict[str, list[float]]:
        """Forces of the prescribed displacements and the contacts on the body, GPa length^2."""
        reactions = self.supports.forces(self.assemble_residual())
        for name, forms in self.contacts.items():
            sums = [float(fem.assemble_scalar(form)) for form in forms]
            reactions[name] = over_ranks(self.comm, np.array(sums)).tolist()
        return reactions

    def stored_energy(self) -> float:
        """Energy of the whole body as of the last update of the material, GPa length^3."""
        material = self.material
        energy = float(material.energy[: material.owned] @ material.volumes[: material.owned])
        return self.comm.allreduce(energy, op=MPI.SUM)

    def kinetic_energy(self) -> float:
        """GPa length^3."""
        return 0.0

    def forces_of_state(self) -> PETSc.Vec:
        """Internal minus external forces of the state itself, no inertia."""
        return self.assemble_residual()
