"""One load step of a cube of copper, timed: `mpiexec -n N python -m benchmarks.load_step CELLS`."""

import json
import re
import sys
import time
from pathlib import Path

from mpi4py import MPI

from objstress.elasticity.moduli import cubic_stiffness
from objstress.fem import Displacement, StaticProblem, meshes
from objstress.laws.analytic import SaintVenantKirchhoff


def main() -> None:
    comm, cells = MPI.COMM_WORLD, int(sys.argv[1])
    law = SaintVenantKirchhoff(cubic_stiffness(169.9, 122.6, 76.2), "m-3m")
    ends = [Displacement("x=min", (0, 0, 0)), Displacement("x=max", (0.02, 0.01, None))]
    problem = StaticProblem(meshes.box((1, 1, 1), (cells, cells, cells)), law, ends)
    comm.barrier()
    begun = time.perf_counter()
    problem.solve(1, progress=False)
    seconds = comm.allreduce(time.perf_counter() - begun, op=MPI.MAX)
    peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1e6
    result = {
        "cells": cells,
        "ranks": comm.size,
        "unknowns": 3 * problem.V.dofmap.index_map.size_global,
        "seconds": seconds,
        "newton_iterations": len(problem.history[-1].residuals) - 1,
        "solver": problem.newton.ksp.getPC().getType(),
        "peak_GB": comm.allreduce(peak),
    }
    if comm.rank == 0:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
