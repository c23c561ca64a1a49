"""How a case orients its crystal, or its grains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import mesh as dmesh
from dolfinx.io.gmsh import MeshData
from pydantic import Field

from objstress.elasticity.cuts import plate_cut
from objstress.elasticity.orientations import (
    from_bunge,
    orientation,
    random_orientations,
    read_orientations,
    textured_orientations,
)
from objstress.errors import InputError
from objstress.fem import meshes
from objstress.fem.case.base import Matrix, Strict, Vector
from objstress.fem.materials.grains import Grains, Voronoi, random_seeds
from objstress.laws.base import MaterialLaw


class Orientation(Strict):
    """The crystal direction that is laid along a sample axis, the rotation matrix, or a cut."""

    direction: Vector | None = Field(
        default=None,
        description="crystal direction laid along a sample axis, such as 1 1 1",
    )
    along: Vector = Field(default=(1.0, 0.0, 0.0), description="that sample axis")
    matrix: Matrix | None = Field(
        default=None,
        description="instead of direction: rotation matrix Q, crystal frame to sample frame, "
        "row by row",
    )

    cut: str | None = Field(
        default=None,
        description="instead of direction: a plate cut from the crystal, its thickness along z and "
        "its length along x, by name (AT, BT) or notation such as (YXl) 35.25",
    )

    def rotation(self) -> Any:
        given = [self.direction, self.matrix, self.cut]
        if sum(one is not None for one in given) != 1:
            raise InputError("orientation: give either direction or matrix or cut")
        if self.cut is not None:
            return plate_cut(self.cut)
        return orientation(self.direction, self.along) if self.direction else self.matrix


class Tessellation(Strict):
    """Grains around seeds drawn at random in the mesh's bounding box, see `Voronoi`."""

    number: int = Field(ge=1, description="number of grains")
    seed: int = Field(default=0, ge=0, description="of the random numbers")
    periodic: bool = Field(default=False, description="whether the bounding box repeats in space")

    def ids(self, mesh: dmesh.Mesh) -> Any:
        """The grain of points (n, 3), the same function on every rank."""
        low, high = meshes.bounding_box(mesh)
        size = high - low
        seeds = random_seeds(self.number, size.tolist(), self.seed)
        # Across a plane mesh, where nothing lies, any period will do.
        period = np.where(size > 0, size, 1.0).tolist() if self.periodic else None
        cells = Voronoi(seeds, period)
        return lambda points: cells(points - low)


class Texture(Strict):
    """Uniformly random orientations, or scattered around a component, or those in a file."""

    seed: int = Field(default=0, ge=0, description="of the random numbers")
    component: Vector | None = Field(
        default=None,
        description="Bunge's angles phi1, Phi, phi2 of the ideal orientation, degrees; without it "
        "orientations are uniformly random",
    )
    spread: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="standard deviation around the component along each axis, degrees",
    )
    file: str | None = Field(
        default=None,
        description="path of a file with Bunge's angles, degrees (.ang: radians), one line for "
        "each grain, relative to the case; instead of component, spread and seed",
    )

    def rotations(self, number: int, folder: Path) -> np.ndarray:
        if self.file is not None and self.model_fields_set != {"file"}:
            raise InputError("grains.orientations: give either file or component, spread, seed")
        if self.component is None and self.spread:
            raise InputError("grains.orientations: a spread needs the component it is around")
        if self.file is not None:
            read = read_orientations(folder / self.file)
            if len(read) != number:
                raise InputError(
                    f"{folder / self.file}: {len(read)} orientations for {number} grains"
                )
            return read
        if self.component is None:
            return random_orientations(number, self.seed)
        return textured_orientations(
            number, from_bunge([self.component])[0], self.spread, self.seed
        )


class GrainsCase(Strict):
    """The grains of a polycrystal and their orientations."""

    voronoi: Tessellation | None = Field(
        default=None, description="Voronoi tessellation of the mesh"
    )
    orientations: Texture = Field(
        default=Texture(), description="of the grains; uniformly random by default"
    )
    groups: dict[int | str, Orientation] | None = Field(
        default=None,
        description="instead of the two: the orientation of each group of cells in the mesh file, "
        "by its number or name",
    )

    def build(self, data: MeshData, laws: list[MaterialLaw], folder: Path) -> Grains:
        if (self.voronoi is None) == (self.groups is None):
            raise InputError("grains: give either voronoi or groups")
        if self.groups is not None:
            if self.model_fields_set != {"groups"}:
                raise InputError("grains: groups bring their own orientations, leave the rest out")
            number = len(self.groups)
        else:
            assert self.voronoi is not None
            number = self.voronoi.number
        if len(laws) > number:
            raise InputError(f"law: {len(laws)} laws for {number} grains")
        each = [laws[k % len(laws)] for k in range(number)]
        if self.groups is not None:
            rotations = {group: one.rotation() for group, one in self.groups.items()}
            return Grains.of_groups(data, rotations, each)
        assert self.voronoi is not None
        rotated = self.orientations.rotations(number, folder)
        return Grains(self.voronoi.ids(data.mesh), rotated, each)
