"""A simulation described in YAML: law, mesh, crystal or grains, loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, PrivateAttr, ValidationError, field_validator

from objstress.errors import InputError
from objstress.fem.case.base import Components, Strict
from objstress.fem.case.conditions import Conditions, Stage
from objstress.fem.case.crystals import GrainsCase, Orientation
from objstress.fem.case.geometry import FileMesh, Mesh
from objstress.fem.results.probes import probe
from objstress.fem.solve.body import Condition
from objstress.fem.solve.newton import that_change_the_answer
from objstress.fem.solve.static import StaticProblem
from objstress.io.run_folder import fingerprint
from objstress.io.yaml import explain, read_mapping
from objstress.laws.loading import load_law


class ProbeCase(Strict):
    """A point whose displacement, stress and strain each step records, see `probe`."""

    name: str = Field(min_length=1, description="of its columns in history.csv")
    at: Components = Field(description="place in the undeformed body; length")


FREE = {"outside", "restart", "probes"}
"""Keys that may change while the states of a run stay as they are."""


class Case(Conditions):
    """A static simulation; lengths in any one unit, tractions and pressures in GPa.

    Attributes:
        law, mesh, orientation, grains: the body, of one crystal or of grains.
        displacements, symmetry, mean_deformation: what is prescribed.
        tractions, pressures, body_force, contacts: what pushes on it.
        electrodes, surface_charges: of a body whose law knows an electric field.
        degree, assembly, element, plane, petsc_options, steps, until, stages: how it is solved, see
            `StaticProblem`.
        probes, outside, restart: what a run does, see the description of each field.
    """

    law: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="law file, relative to the case, or a JSON file of constants; with grains also "
        "several, assigned cyclically"
    )
    mesh: Mesh = Field(description="the undeformed body; the shape says which kind")
    orientation: Orientation | None = Field(
        default=None, description="of a body of one crystal; by default the crystal's own frame"
    )
    grains: GrainsCase | None = Field(default=None, description="of a polycrystal")
    degree: int = Field(default=1, ge=1, le=3, description="of the displacement's elements")
    assembly: Literal["quadrature", "ufl"] = Field(
        default="quadrature",
        description="quadrature for any law, or ufl for a compiled law inside the form",
    )
    element: Literal["displacement", "mixed"] = Field(
        default="displacement",
        description="mixed for laws that hardly change their volume, where others lock",
    )
    plane: Literal["strain", "stress"] = Field(
        default="strain", description="of a mesh of two dimensions"
    )
    petsc_options: dict[str, Any] = Field(
        default={}, description="options of PETSc's SNES and KSP, {name: value}"
    )
    steps: int = Field(default=4, ge=1, description="number of equal steps of the load factor")
    until: FiniteFloat = Field(default=1.0, gt=0, description="load factor at the end")
    stages: list[Stage] = Field(
        default=[],
        description="one after the other, each with conditions of its own beside those above, "
        "steps and until; displacements begin from where the nodes are",
    )
    probes: list[ProbeCase] = Field(
        default=[], description="points whose displacement, stress and strain are recorded"
    )
    outside: Literal["warn", "error", "ignore"] = Field(
        default="warn", description="what to do at strains outside those of the fit"
    )
    restart: bool = Field(
        default=True,
        description="whether every accepted state is kept, and a run resumes from them",
    )

    _stages: list[list[Condition]] = PrivateAttr(default=[])

    @field_validator("petsc_options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in options.items():
            if not isinstance(value, bool | int | float | str | None):
                raise ValueError(f"{key} is neither a number, nor text, true, false or null")
        return options

    @field_validator("probes")
    @classmethod
    def _named_once(cls, probes: list[ProbeCase]) -> list[ProbeCase]:
        names = [one.name for one in probes]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two are named {twice[0]!r}: give each a name of its own")
        return probes

    def build(self, folder: Path) -> StaticProblem:
        """The problem that the case describes, at the beginning of its first stage.

        Args:
            folder: that paths in the case are relative to.

        Raises:
            InputError: see `load_law`, `StaticProblem`; keys that do not go together.
        """
        if self.grains and self.orientation:
            raise InputError("grains bring their own orientations: leave orientation out")
        paths = [self.law] if isinstance(self.law, str) else self.law
        if len(paths) > 1 and not self.grains:
            raise InputError(f"law: {len(paths)} laws and no grains, give one")
        # One object for each file: points of one law are evaluated together.
        known = {path: load_law(folder / path, outside=self.outside) for path in paths}
        laws = [known[path] for path in paths]
        if self.stages and (given := self.model_fields_set & {"steps", "until"}):
            raise InputError(f"{' and '.join(sorted(given))}: give them in each stage")
        data = self.mesh.build(folder)
        self._stages = [self.conditions(data)]
        if self.stages:
            self._stages = [self._stages[0] + stage.conditions(data) for stage in self.stages]
        return StaticProblem(
            data.mesh,
            self.grains.build(data, laws, folder) if self.grains else laws[0],
            self._stages[0],
            orientation=self.orientation.rotation() if self.orientation else None,
            degree=self.degree,
            assembly=self.assembly,
            element=self.element,
            plane=self.plane,
            petsc_options=self.petsc_options,
        )

    def run(self, problem: StaticProblem, states: Path | None, **options: Any) -> None:
        """Solve the problem that `build` made, stage after stage.

        Args:
            problem: of this case.
            states: folder of the states, if they are kept.
            options: of `StaticProblem.solve`.
        """
        stages: list[Any] = self.stages or [self]
        for number, (stage, conditions) in enumerate(zip(stages, self._stages, strict=True)):
            if number:
                problem.change(conditions)
            folder = states
            if states is not None and self.stages:
                folder = states / f"stage-{number + 1}"
            until = problem.at + stage.until
            problem.solve(stage.steps, until=until, checkpoint=folder, **options)

    def probed(self, problem: StaticProblem) -> dict[str, dict[str, Any]]:
        """What the probes show of the present state, as `StepRecord.probes` has it.

        Args:
            problem: of this case.

        Raises:
            InputError: a probe outside the body.
        """
        dim = problem.dim
        for one in self.probes:
            if len(one.at) != dim:
                raise InputError(f"probe {one.name!r}: give {dim} coordinates")
        if not self.probes:
            return {}
        found = probe(problem, [one.at for one in self.probes])
        return {
            one.name: {
                "displacement": found.displacement[k].tolist(),
                "cauchy_stress": found.cauchy_stress[k].tolist(),
                "green_lagrange": found.green_lagrange[k].tolist(),
            }
            for k, one in enumerate(self.probes)
        }

    def facts(self, folder: Path) -> dict[str, Any]:
        """What the states of a run depend on, {name: value}: runs of the same facts may be one.

        Args:
            folder: that paths in the case are relative to.
        """
        facts = self.model_dump(mode="json", exclude=FREE)
        facts["petsc_options"] = that_change_the_answer(self.petsc_options)
        names = [self.law] if isinstance(self.law, str) else list(self.law)
        if isinstance(self.mesh, FileMesh):
            # Its numbers lie beside the XDMF.
            names += [self.mesh.file, str(Path(self.mesh.file).with_suffix(".h5"))]
        if self.grains and self.grains.orientations.file:
            names.append(self.grains.orientations.file)
        for name in names:
            path = folder / name
            if path.is_file():
                facts[f"content of {name}"] = fingerprint([path])
        return facts

    def completed(self, before: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
        """What an earlier version kept of a run, with the keys that it did not know.

        Args:
            before: `facts` of that run.
            facts: of this one; says what cannot be told of that one.
        """
        keys = {key: value for key, value in before.items() if key in Case.model_fields}
        try:
            known = Case.model_validate(keys).model_dump(mode="json", exclude=FREE)
        except ValidationError:
            return before
        if "petsc_options" not in before:
            known["petsc_options"] = facts["petsc_options"]
        if known["mesh"].get("name") == "mesh" and facts["mesh"].get("name") is None:
            known["mesh"]["name"] = None  # what was the default
        return before | known


def read_case(path: str | Path) -> Case:
    """Read a case from a YAML file.

    Args:
        path: of the file.

    Raises:
        InputError: unreadable, or an unknown key or a wrong value (the nearest known key is
            named).
    """
    otherwise = "a case is a mapping of keys; the documentation's page on simulate has one"
    data = read_mapping(path, "case file", otherwise)
    try:
        return Case.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, Case)}") from None
