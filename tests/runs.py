"""Simulations that tests start as processes of their own, under mpiexec or to be killed.

`python -m tests.runs NAME[,NAME...] CHECKPOINT|- PAUSE` prints {name: answer}: the history of
all but cells and plates; what cells and plates answer on each rank.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from mpi4py import MPI

import objstress.fem as fe
from objstress.elasticity.moduli import cubic_stiffness
from objstress.elasticity.orientations import random_orientations
from objstress.fem import meshes
from objstress.fem.solve import linear
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff

COPPER = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")
SLIDING = [fe.symmetry_plane(f"{axis}=min") for axis in "xyz"]


def polycrystal(cells: int = 6) -> fe.StaticProblem:
    """Copper grains and a soft one, pulled and sheared."""
    laws = [COPPER] * 7 + [NeoHooke(20.0, 30.0)]
    seeds = fe.random_seeds(len(laws), (1, 1, 1))
    grains = fe.Grains(fe.Voronoi(seeds, (1, 1, 1)), random_orientations(len(laws)), laws)
    pulled = fe.Displacement("x=max", (0.05, 0.02, None), "end")
    mesh = meshes.box((1, 1, 1), (cells,) * 3)
    return fe.StaticProblem(mesh, grains, [fe.Displacement("x=min", (0, 0, 0), "wall"), pulled])


def sphere() -> fe.StaticProblem:
    """A ball pressed into a block under pressure on one side."""
    tip = fe.RigidSphere("z=max", (0, 0, -0.1), name="tip", centre=(0.0, 0.0, 3.0), radius=2.0)
    mesh = meshes.box((1, 1, 1), (4, 4, 4), "tetrahedron")
    return fe.StaticProblem(mesh, COPPER, [*SLIDING, tip, fe.Pressure("x=max", 1.0)])


def one_cell() -> fe.StaticProblem:
    """Fewer cells than ranks."""
    ends = [fe.Displacement("x=min", (0, 0, 0)), fe.Displacement("x=max", (0.05, None, None))]
    lid = fe.RigidPlane("z=max", (0, 0, -0.05), point=(0, 0, 1), normal=(0, 0, -1), name="lid")
    return fe.StaticProblem(meshes.box((1, 1, 1), (1, 1, 1)), COPPER, [*ends, lid])


def cycle() -> fe.StaticProblem:
    """A mixed element, pulled and let go within one load factor."""
    table = [(0, 0), (0.5, 1), (1, 0.25)]
    pulled = fe.Displacement("x=max", (0.1, 0.03, None), "end", table)
    mesh = meshes.box((2, 1, 1), (4, 2, 2))
    wall = fe.Displacement("x=min", (0, 0, 0), "wall")
    return fe.StaticProblem(mesh, NeoHooke(20.0, 3000.0), [wall, pulled], element="mixed")


def tagged() -> fe.StaticProblem:
    """Two groups of tetrahedra and two of facets, of a file that gmsh wrote."""
    path = MPI.COMM_WORLD.bcast(_two_grains() if MPI.COMM_WORLD.rank == 0 else None)
    data = fe.read_mesh(path)
    turned = dict(zip(("lower", "upper"), random_orientations(2), strict=True))
    grains = fe.Grains.of_groups(data, turned, COPPER)
    wall = fe.Displacement((data, "left"), (0, 0, 0), "wall")
    ends = [wall, fe.Traction((data, "right"), (1, 0, 0))]
    return fe.StaticProblem(data.mesh, grains, ends)


def _two_grains() -> str:
    import gmsh

    path = Path(tempfile.mkdtemp()) / "grains.msh"
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    occ = gmsh.model.occ
    for z in (0, 1):
        occ.addBox(0, 0, z, 2, 1, 1)
    occ.fragment([(3, 1)], [(3, 2)])
    occ.synchronize()
    groups: dict[str, list[int]] = {"left": [], "right": []}
    for _, tag in gmsh.model.getEntities(2):
        x = occ.getCenterOfMass(2, tag)[0]
        if abs(x - 1) > 0.99:
            groups["left" if x < 1 else "right"].append(tag)
    for number, (name, tags) in enumerate(groups.items(), start=11):
        gmsh.model.addPhysicalGroup(2, tags, number, name)
    for _, tag in gmsh.model.getEntities(3):
        lower = occ.getCenterOfMass(3, tag)[2] < 1
        gmsh.model.addPhysicalGroup(3, [tag], 5 if lower else 2, "lower" if lower else "upper")
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.6)
    gmsh.model.mesh.generate(3)
    gmsh.write(str(path))
    gmsh.finalize()
    return str(path)


STEPS = 4
UNIT = (1.0, 1.0, 1.0)


def truss() -> fe.PeriodicCell:
    """Struts with voids between them; some meet themselves across the cell's faces."""
    mesh = meshes.voxels(meshes.octet_truss(8, 0.14), UNIT)
    return fe.PeriodicCell(mesh, NeoHooke(20.0, 30.0), UNIT)


def grains() -> fe.PeriodicCell:
    """The grains of `polycrystal`, repeated in space."""
    mesh = meshes.box(UNIT, (3, 3, 3), "tetrahedron")
    return fe.PeriodicCell(mesh, polycrystal(1).law.grains, UNIT)


def sheared() -> fe.PeriodicCell:
    """A triclinic cell, and a basis of its lattice that is not along its edges."""
    mesh = meshes.box(UNIT, (3, 3, 3), "tetrahedron")
    lattice = np.array([[1.0, 0.2, 0.0], [0.0, 0.8, 0.3], [-0.1, 0.0, 1.2]])
    mesh.geometry.x[:] = mesh.geometry.x @ lattice
    basis = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    return fe.PeriodicCell(mesh, polycrystal(1).law.grains, basis @ lattice)


def multigrid() -> fe.PeriodicCell:
    """As if it were large."""
    before, linear.DIRECT_UP_TO = linear.DIRECT_UP_TO, 0
    cell = sheared()
    linear.DIRECT_UP_TO = before
    return cell


def plates() -> fe.PeriodicCell:
    """Two that do not touch: no cell that bears."""
    solid = np.zeros((4, 4, 4), dtype=bool)
    solid[:, :, ::2] = True
    return fe.PeriodicCell(meshes.voxels(solid, UNIT), COPPER, UNIT)


RUNS = {
    "polycrystal": polycrystal,
    "sphere": sphere,
    "one-cell": one_cell,
    "cycle": cycle,
    "tagged": tagged,
}
CELLS = {"cells": [truss, grains, sheared], "multigrid": [multigrid], "plates": [plates]}


def answer(cell: fe.PeriodicCell) -> dict[str, list]:
    """Stretched, sheared and turned; pulled with free sides."""
    F = np.array([[1.03, 0.05, 0.0], [-0.03, 0.99, 0.01], [0.0, 0.0, 1.01]])
    result = asdict(cell.solve(F, tangent=True)) | {"stiffness": cell.stiffness()}
    pulled = [[1.02, 0, 0], [None, None, 0], [None, None, None]]
    sides = [[None, None, None], [0, 0, None], [0, 0, 0]]
    mixed = asdict(cell.solve(pulled, tangent=True, P_mean=sides))
    result |= {f"pulled {name}": value for name, value in mixed.items()}
    known = {name: value for name, value in result.items() if value is not None}
    return {name: np.asarray(value).tolist() for name, value in known.items()}


def solved(name: str, checkpoint: str | None, pause: float) -> dict:
    """History of a run, and the threads that it had."""
    problem = RUNS[name]()
    problem.solve(
        STEPS, progress=False, checkpoint=checkpoint, after_step=lambda *_: time.sleep(pause)
    )
    return {
        "history": [asdict(record) for record in problem.history],
        "ranks": problem.comm.size,
        "threads": problem.material.threads,
    }


def main() -> None:
    names, checkpoint, pause = sys.argv[1:]
    checkpoint = None if checkpoint == "-" else checkpoint
    answers = {}
    for name in names.split(","):
        if name in CELLS:
            mine = [answer(cell()) for cell in CELLS[name]]
            answers[name] = MPI.COMM_WORLD.gather(mine)
        else:
            answers[name] = solved(name, checkpoint, float(pause))
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(answers))


if __name__ == "__main__":
    main()
