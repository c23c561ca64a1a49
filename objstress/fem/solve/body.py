"""The discretised body: forms of its forces, what is prescribed, reactions and energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc

from objstress.errors import InputError
from objstress.fem.conditions.amplitude import as_amplitude
from objstress.fem.conditions.contact import Contact
from objstress.fem.conditions.displacements import Displacement
from objstress.fem.conditions.electrodes import Electrode, SurfaceCharge
from objstress.fem.conditions.facets import described, facet_measures
from objstress.fem.conditions.loads import BodyForce, Pressure, Surface, Traction
from objstress.fem.conditions.where import Places
from objstress.fem.form_cache import clear_stale_locks
from objstress.fem.materials.graded import Graded
from objstress.fem.materials.grains import Grains
from objstress.fem.materials.mixed import MixedMaterial
from objstress.fem.materials.plane_stress import PlaneStressMaterial
from objstress.fem.materials.quadrature import Material, QuadratureMaterial, quadrature_degree_for
from objstress.fem.materials.stiffness import penalty_stiffness, warn_of_locking
from objstress.fem.materials.ufl import UflMaterial
from objstress.fem.solve.equations import Equations
from objstress.fem.solve.supports import Supports, over_ranks
from objstress.laws.base import MaterialLaw
from objstress.laws.rotated import RotatedLaw
from objstress.parallel import on_every_rank

Condition = Displacement | Traction | Pressure | BodyForce | Contact | Electrode | SurfaceCharge

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


def _material(assembly: str, element: str, plane: str) -> type[Material]:
    """The kind of material that these words ask for."""
    choices = {
        "assembly": (assembly, ("quadrature", "ufl")),
        "element": (element, ("displacement", "mixed")),
        "plane": (plane, ("strain", "stress")),
    }
    for name, (given, known) in choices.items():
        if given not in known:
            raise InputError(f"{name} = {given!r}: give {' or '.join(map(repr, known))}")
    kinds: dict[tuple[str, str, str], type[Material]] = {
        ("quadrature", "displacement", "strain"): QuadratureMaterial,
        ("ufl", "displacement", "strain"): UflMaterial,
        ("quadrature", "mixed", "strain"): MixedMaterial,
        ("quadrature", "displacement", "stress"): PlaneStressMaterial,
    }
    if (assembly, element, plane) not in kinds:
        words = [
            f"{name} = {given!r}" for name, (given, known) in choices.items() if given != known[0]
        ]
        raise InputError(f"{' and '.join(words)} do not go together, give one of them")
    return kinds[assembly, element, plane]


def _acts_on_facets(condition: Condition) -> bool:
    """Loads and contacts; what is prescribed acts on nodes."""
    return not isinstance(condition, Displacement | BodyForce | Electrode)


type Moving = tuple[str, Contact, fem.Constant, fem.Constant | None]
"""A contact: its name, itself, its factor, and what is left of its way before."""


def _at_present(moving: Sequence[Moving]) -> dict[str, tuple[Contact, np.ndarray]]:
    """The contacts by name, and how far each has moved."""
    return {
        name: (
            one,
            float(factor.value) * np.asarray(one.motion, dtype=float)
            + (0.0 if left is None else np.asarray(left.value)),
        )
        for name, one, factor, left in moving
    }


def _offset(moved: dict[str, tuple[Contact, np.ndarray]], contact: Contact) -> np.ndarray | None:
    """What takes a contact of the conditions before on from where it is; None for a new one."""
    if contact.name not in moved or not contact.is_same_body(moved[contact.name][0]):
        return None
    amplitude = as_amplitude(contact.amplitude)
    start = 0.0 if amplitude is None else float(amplitude(0.0))
    return moved[contact.name][1] - start * np.asarray(contact.motion, dtype=float)


class Body(Equations):
    """Internal minus external forces of a body and their derivative, as forms in u.

    Args:
        mesh, law, conditions, orientation, degree, assembly, element, plane, quadrature_degree: see
            `StaticProblem`.

    Attributes:
        V, u: space of the displacement, and the displacement.
        W, w: space of all unknowns, and these: V and u themselves where nothing else is unknown.
        material: the law at the quadrature points.
        places: nodes and facets of the mesh by `where`.
        conditions: that it is under.
        load, factor: the load factor since `begin`, a constant, and the UFL variable that the forms
            have.
        begin: load factor at which the body came under its present conditions.
        dead, following, touching: virtual work of the forces that u does not change, of those
            that it does, and of the contacts, UFL forms.
        hardest: row sums of the stiffness of the contacts where all of them touches, UFL forms.
        potentials: energies of the contacts, UFL forms, each with its factor as in `load, factor`.
        moved: {name: a contact before `begin`, and how far it had moved there}.
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
        law: MaterialLaw | Grains | Graded,
        conditions: Sequence[Condition],
        *,
        orientation: Any = None,
        degree: int = 1,
        assembly: str = "quadrature",
        element: str = "displacement",
        plane: str = "strain",
        quadrature_degree: int | None = None,
    ):
        self.dim = dim = mesh.topology.dim
        if dim not in (2, 3) or mesh.geometry.dim != dim:
            raise InputError(
                f"a mesh of {dim}-dimensional cells in {mesh.geometry.dim} dimensions: give solid "
                "cells in three, or a plane mesh in two for plane strain"
            )
        cell = mesh.topology.cell_type.name
        if cell not in ("triangle", "quadrilateral", "tetrahedron", "hexahedron"):
            raise InputError(f"cells of type {cell}: give tetrahedra or hexahedra")
        if mesh.geometry.x.dtype != np.float64:
            raise InputError(
                "the mesh is in single precision: make it with dtype=numpy.float64, or write it "
                "to a file and read that with `read_mesh`"
            )
        self.mesh, self.comm = mesh, mesh.comm
        if orientation is not None:
            if isinstance(law, Grains):
                raise InputError("grains bring their own orientations: leave `orientation` out")
            if isinstance(law, Graded):
                raise InputError("a graded body takes no orientation: fit the family in its frame")
            law = RotatedLaw(law, orientation)
        clear_stale_locks()  # of a compilation that was interrupted in this very process
        self.V = fem.functionspace(mesh, ("Lagrange", degree, (dim,)))
        self.u = fem.Function(self.V, name="displacement")
        self.degree = degree
        if quadrature_degree is None:
            quadrature_degree = quadrature_degree_for(mesh, degree)
        self.W, self.w = self.V, self.u
        self.material = self._material(law, quadrature_degree, (assembly, element, plane))
        if degree == 1 and not isinstance(self.material, MixedMaterial | PlaneStressMaterial):
            warn_of_locking(self.material)
        self.material.watch = None  # accepted steps are reported, not Newton's iterates
        volumes = self.material.volumes[: self.material.owned]
        volume = self.comm.allreduce(float(volumes.sum()), op=MPI.SUM)
        self.edge = (volume / mesh.topology.index_map(dim).size_global) ** (1 / dim)
        self.places = Places(mesh)
        self.load = fem.Constant(mesh, PETSc.ScalarType(0.0))
        self.factor = ufl.variable(self.load)
        self._v, self._du = ufl.TestFunction(self.V), ufl.TrialFunction(self.V)
        self._internal = self.internal_forces(self._du, self._v)
        self.moved: dict[str, tuple[Contact, np.ndarray]] = {}
        self.begin = 0.0
        self._fading = None
        self._take(conditions)

    def _material(
        self, law: MaterialLaw | Grains | Graded, degree: int, kind: tuple[str, str, str]
    ) -> Material:
        """The law at the quadrature points; what is unknown beside u is made here."""
        return _material(*kind)(self.u, law, degree)

    def _take(self, conditions: Sequence[Condition], start: fem.Function | None = None) -> None:
        """Put the body under these conditions."""
        self.conditions = list(conditions)
        self.symmetric = not any(isinstance(c, Pressure) for c in conditions)
        self._add_external_work(conditions, self._v)
        residual, jacobian = self._internal
        for work in self.dead + self.following + self.touching:
            residual = residual - work
        for work in self.following + self.touching:
            jacobian = jacobian - ufl.derivative(work, self.u, self._du)
        residual, jacobian = self._in_unknowns(residual, jacobian)
        self.residual_form = fem.form(residual, jit_options=JIT)
        self.jacobian_form = fem.form(jacobian, jit_options=JIT)
        self.supports = self._supports(start)
        for name in self.supports.names:
            if name in self.contacts:
                raise InputError(f"a contact and a displacement are named {name!r}")
        self.check_rigid_motions()

    def change(self, conditions: Sequence[Condition], load: float) -> None:
        r"""Go on from the present state under other conditions.

        .. math:: R(u, s) - (1 - s)\, R(u_0, 0) = 0, \qquad s = \lambda - \lambda_0

        in which s takes the place of lambda in all conditions: what was there before and is not any
        more fades as s goes from 0 to 1, a support that is taken away by its force.

        Args:
            conditions: all that are there from now on. Displacements begin from the present u,
                contacts of the same name where they are.
            load: load factor of the present state.

        Raises:
            InputError: see `StaticProblem`; the body stays under the conditions before.
        """
        before = dict(vars(self))
        self.lead()
        try:
            self.moved = _at_present(self._moving)
            self._take(conditions, self.w)
        except InputError:
            vars(self).update(before)
            self.apply_load(load)
            raise
        self.begin, self._fading = load, None
        self.apply_load(load)
        self.material.update(tangent=True)
        forces = self.assemble_residual()
        forces.getArray()[self.supports.held] = 0.0
        self._fading = forces

    def _in_unknowns(self, residual: Any, jacobian: Any) -> tuple[Any, Any]:
        """Forms in test and trial functions of u as forms in those of all unknowns."""
        return residual, jacobian

    def _supports(self, start: fem.Function | None) -> Supports:
        displacements = [c for c in self.conditions if isinstance(c, Displacement)]
        return Supports(self.places, self.W, displacements, start)

    def start_over(self) -> None:
        """From the undeformed body, under the present conditions."""
        if self._fading is not None:
            self.begin, self._fading, self.moved = 0.0, None, {}
            self._take(self.conditions)

    def amplitudes(self) -> list[Any]:
        """Of all conditions that have one, as functions."""
        given = [as_amplitude(c.amplitude) for c in self.conditions]
        return [a for a in given if a is not None]

    def internal_forces(self, du: Any, v: Any) -> tuple[Any, Any]:
        """UFL forms of the forces of the body itself, and of their derivative."""
        return self.material.residual(v), self.material.jacobian(du, v)

    def _factor(self, condition: Condition) -> tuple[fem.Constant, Any]:
        """The factor of a condition, a constant, and the UFL variable that its form has."""
        amplitude = as_amplitude(condition.amplitude)
        if amplitude is None:
            return self.load, self.factor
        own = fem.Constant(self.mesh, PETSc.ScalarType(0.0))
        self._own.append((own, amplitude))
        return own, ufl.variable(own)

    def _add_external_work(self, conditions: Sequence[Condition], v: Any) -> None:
        self._own: list[tuple[fem.Constant, Any]] = []
        bulk = [c for c in conditions if isinstance(c, BodyForce)]
        self.dead = [c.work(self.u, v, self._factor(c)[1], ufl.dx) for c in bulk]
        self.following: list[Any] = []
        self.touching: list[Any] = []
        self.hardest: list[Any] = []
        self.potentials: list[tuple[Any, fem.Constant, Any]] = []
        self.contacts: dict[str, list[fem.Form]] = {}
        self._moving: list[Moving] = []
        self._offsets: list[tuple[fem.Constant, np.ndarray]] = []
        self._check_electric([c for c in conditions if isinstance(c, Electrode | SurfaceCharge)])
        self._charged: list[tuple[SurfaceCharge, Any, Any]] = []
        surfaces: list[Any] = [c for c in conditions if _acts_on_facets(c)]
        soft = [c for c in surfaces if isinstance(c, Contact) and c.stiffness is None]
        penalty = penalty_stiffness(self.material) if soft else None
        # One rule for a force and its sum; a contact's edge lies within facets.
        measures = facet_measures(self.places, surfaces, 3 * self.degree)
        for condition, ds in zip(surfaces, measures, strict=True):
            constant, factor = self._factor(condition)
            if isinstance(condition, SurfaceCharge):
                self._charged.append((condition, factor, ds))
                continue
            if not isinstance(condition, Contact):
                work = condition.work(Surface(self.u, v, factor, ds, penalty))
                (self.following if condition.follows else self.dead).append(work)
                continue
            name = condition.name or f"contact {len(self.contacts)}"
            if name in self.contacts:
                raise InputError(f"two contacts are named {name!r}: give each a name of its own")
            left, offset = None, _offset(self.moved, condition)
            if offset is not None:
                left = fem.Constant(self.mesh, offset)
                self._offsets.append((left, offset))
            surface = Surface(self.u, v, factor, ds, penalty, left)
            self.touching.append(condition.work(surface))
            self.hardest.append(condition.hardest(surface))
            self.potentials.append((condition.energy(surface), constant, factor))
            self.contacts[name] = [fem.form(f) for f in condition.forces(surface)]
            self._moving.append((name, condition, constant, left))

    def _check_electric(self, conditions: Sequence[Electrode | SurfaceCharge]) -> None:
        if conditions:
            raise InputError(
                f"{described(conditions[0])}: only a static body takes it, of a law that knows an "
                "electric field (linear_law makes one)"
            )

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
        s = load - self.begin
        self.load.value = s
        for factor, amplitude in self._own:
            factor.value = value = float(amplitude(s))
            if not np.isfinite(value):
                raise InputError(f"an amplitude of a load is {value} at load factor {s:g}")
        for left, offset in self._offsets:
            left.value = max(0.0, 1.0 - s) * offset
        self.supports.apply(s)

    def evaluate(self, tangent: bool = True) -> bool:
        """Whether the law has an answer at u, on all ranks: `Material.update`."""
        try:
            on_every_rank(self.comm, lambda: self.material.update(tangent=tangent))
        except InputError:
            return False
        return True

    def reactions(self) -> dict[str, list[float]]:
        """Forces of the prescribed displacements and the contacts on the body, GPa length^2."""
        reactions = self.supports.forces(self.assemble_residual())
        for name, forms in self.contacts.items():
            sums = [float(fem.assemble_scalar(form)) for form in forms]
            reactions[name] = over_ranks(self.comm, np.array(sums)).tolist()
        return reactions

    def external_work(self, w: Any) -> Any:
        """UFL form of the virtual work of all loads and contacts on w; None without any."""
        works = self.dead + self.following + self.touching
        return ufl.replace(sum(works), {self._v: w}) if works else None

    def displacements(self) -> dict[str, list[float]]:
        """Mean displacement of the nodes of each support, motion of each contact, length."""
        contacts = {name: by.tolist() for name, (_, by) in _at_present(self._moving).items()}
        return self.supports.mean_displacements(self.u) | contacts

    def fields(self) -> dict[str, fem.Function]:
        """The unknown fields by name."""
        return {"displacement": self.u}

    def electrode_charges(self) -> dict[str, float]:
        """Free charge on each electrode, C/m^2 length^2."""
        return {}

    def electrode_potentials(self) -> dict[str, float]:
        """Mean potential of the nodes of each electrode, V/nm length."""
        return {}

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
