"""Simulations that tests start as processes of their own, under mpiexec or to be killed.

`python -m tests.runs {polycrystal|sphere|one-cell} CHECKPOINT|-` prints the history as JSON.
"""

import json
import sys
import time
from dataclasses import asdict

import torch

import objstress.fem as fe
from objstress.fem import meshes
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
from objstress.laws.elasticity import cubic_stiffness
from objstress.laws.texture import random_orientations

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


RUNS = {"polycrystal": polycrystal, "sphere": sphere, "one-cell": one_cell}


def main() -> None:
    problem = RUNS[sys.argv[1]]()
    checkpoint = None if sys.argv[2] == "-" else sys.argv[2]
    pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    problem.solve(6, progress=False, checkpoint=checkpoint, after_step=lambda *_: time.sleep(pause))
    result = {
        "history": [asdict(record) for record in problem.history],
        "ranks": problem.comm.size,
        "threads": problem.material.threads,
        "torch_threads_after": torch.get_num_threads(),
    }
    if problem.comm.rank == 0:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
