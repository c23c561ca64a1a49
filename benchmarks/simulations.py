"""What a user of finite elements asks first: elements, cycles, cells, waves, exports, ranks.

`python -m benchmarks.simulations` writes simulations.json; each claim is measured in a minute or
less.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

import objstress
import objstress.fem as fe
from objstress.elasticity.moduli import cubic_stiffness, youngs_modulus
from objstress.elasticity.orientations import orientation, random_orientations
from objstress.fem import Displacement, StaticProblem, Traction, meshes
from objstress.fem.materials.quadrature import limited_threads
from objstress.io.files import write_json
from objstress.laws.analytic import NeoHooke, SaintVenantKirchhoff
from objstress.laws.rotated import RotatedLaw
from objstress.reports import Claim, claims_table, environment

RESULTS = Path(__file__).parent / "results"
COPPER = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")

COOK = 4.7011
"""Vertical displacement of Cook's membrane's corner (48, 60): neo-Hooke, plane strain, E = 3,
nu = 1/2, traction 0.05. B. Mueller, Mixed least squares finite element methods based on inverse
stress-strain relations in hyperelasticity, thesis, Universitaet Duisburg-Essen, 2015."""


def cook(n: int, nu: float = 0.4999, **options: Any) -> float:
    """Vertical displacement of the corner (48, 60) on n x n quadrilaterals."""
    mesh = meshes.rectangle((1, 1), (n, n))
    s, t = mesh.geometry.x[:, 0].copy(), mesh.geometry.x[:, 1].copy()
    mesh.geometry.x[:, 0], mesh.geometry.x[:, 1] = 48 * s, 44 * s + t * (44 - 28 * s)
    law = NeoHooke(3 / (2 * (1 + nu)), 3 * nu / ((1 + nu) * (1 - 2 * nu)))
    ends = [Displacement("x=min", (0, 0)), Traction("x=max", (0, 0.05))]
    problem = StaticProblem(mesh, law, ends, **options)
    problem.solve(4, progress=False)
    corner = np.argmin(np.abs(problem.V.tabulate_dof_coordinates() - [48, 60, 0]).sum(axis=1))
    return float(problem.u.x.array[2 * corner + 1])


def plane_stress() -> dict[str, Any]:
    """A plate bent in its plane, copper's [110] along it: force on its end per thickness."""
    along = orientation((1, 1, 0), (1, 0, 0))

    def force(thickness: float | None) -> float:
        rest: tuple[None, ...] = () if thickness is None else (None,)
        ends = [
            Displacement("x=min", (0, 0, *rest)),
            Displacement("x=max", (0.1, 0.05, *rest), "end"),
        ]
        if thickness is None:
            mesh, more = meshes.rectangle((2, 1), (24, 12)), {"plane": "stress"}
        else:
            mesh, more = meshes.box((2, 1, thickness), (24, 12, 1)), {}
            ends.append(fe.symmetry_plane("z=min"))
        problem = StaticProblem(mesh, COPPER, ends, orientation=along, degree=2, **more)
        reaction = problem.solve(2, progress=False)[-1].reactions["end"]
        return float(np.linalg.norm(reaction)) / (thickness or 1.0)

    plane, plate = force(None), force(0.02)
    return {"plane stress": plane, "plate of thickness 0.02": plate, "relative": plane / plate - 1}


def cycle() -> dict[str, Any]:
    """Load, unload and reload a plate with a hole: work over the closed part of the path."""
    table = [(0, 0), (1, 1), (2, 0), (3, 1)]
    problem = StaticProblem(
        meshes.plate_with_hole(cells=(4, 4, 1)),
        COPPER,
        [
            Displacement("x=min", (0, 0, 0)),
            Displacement("x=max", (0.1, None, None), "end", amplitude=table),
        ],
    )
    history = problem.solve(24, until=3, progress=False)
    moved = np.interp([0, *(r.load for r in history)], *zip(*table, strict=True)) * 0.1
    force = np.array([0.0, *(r.reactions["end"][0] for r in history)])
    steps = 0.5 * (force[1:] + force[:-1]) * np.diff(moved)
    peak = float(steps[:8].sum())
    return {"work of loading": peak, "work of the cycle": float(steps[8:].sum())}


def pulled_cell() -> float:
    """Young's modulus of a sheared cell under uniaxial mean stress against the law's; relative."""
    law = RotatedLaw(COPPER, random_orientations(2)[1])
    lattice = np.array([[1.0, 0.2, 0.0], [0.0, 1.5, 0.3], [-0.1, 0.0, 0.8]])
    mesh = meshes.box((1, 1, 1), (2, 2, 2), "tetrahedron", jitter=0.1)
    mesh.geometry.x[:] = mesh.geometry.x @ lattice
    cell = fe.PeriodicCell(mesh, law, lattice)
    none = [None, None, None]
    pulls = []
    for stretch in (1 + 1e-5, 1 - 1e-5):
        F = [[stretch, 0, 0], [None, None, 0], [None, None, None]]
        pulls.append(cell.solve(F, P_mean=[none, [0, 0, None], [0, 0, 0]]).P[0, 0])
    young = float(youngs_modulus(law.stiffness(), np.array([1.0, 0, 0])))
    return abs((pulls[0] - pulls[1]) / 2e-5 / young - 1)


def sheared_cell() -> float:
    """The same crystal, copper voxels of three orientations and a void, in a cube and in a cell
    whose vectors are (1 0 0), (1 1 0), (1 1 1): largest relative difference of P and A."""
    # After objstress.fem, which finds the libraries that these need.
    import basix.ufl
    from dolfinx import mesh as dmesh
    from mpi4py import MPI

    phases = np.random.default_rng(3).integers(0, 3, (4, 4, 4))
    phases[1:3, 1:3, 2] = -1
    n = len(phases)
    cells = []
    for lattice in (np.eye(3), np.array([[1.0, 0, 0], [1, 1, 0], [1, 1, 1]])):
        places = np.indices((3 * n,) * 3).reshape(3, -1).T
        places = places[phases[tuple((places % n).T)] >= 0]
        steps = np.indices((2, 2, 2))[::-1].reshape(3, 8).T
        corners = (places[:, None] + steps) / n
        middle = corners.mean(axis=1) + 1e-6 * np.array([1, 2, 4])  # no tie on the cell's faces
        corners = corners[(np.floor(middle @ np.linalg.inv(lattice)) == 0).all(axis=1)]
        points, nodes = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
        element = basix.ufl.element("Lagrange", "hexahedron", 1, shape=(3,))
        nodes = nodes.reshape(-1, 8).astype(np.int64)
        mesh = dmesh.create_mesh(MPI.COMM_SELF, nodes, element, points)
        grains = fe.Grains(
            lambda x: phases[tuple((np.floor(x * n).astype(int) % n).T)],
            random_orientations(3),
            COPPER,
        )
        cells.append(fe.PeriodicCell(mesh, grains, lattice, 1))
    F = np.array([[1.03, 0.02, 0], [0, 0.99, 0.01], [0, 0, 1.01]])
    one, two = (cell.solve(F, tangent=True) for cell in cells)
    return max(
        float(np.abs(a - b).max() / np.abs(a).max())
        for a, b in ((one.P, two.P), (one.tangent, two.tangent))
    )


def waves() -> dict[str, dict[str, float]]:
    """Speeds of the three waves along [110] of copper: in a bar, and of the acoustic tensor."""
    density, width, length = 8960.0, 6.0, 60.0
    crystal = RotatedLaw(COPPER, orientation((1, 1, 0)))
    moduli, ways = np.linalg.eigh(crystal.acoustic_tensor(np.eye(3), (1.0, 0.0, 0.0)).numpy())
    found = {}
    for k, name in enumerate(("longitudinal", "transverse [-110]", "transverse [001]")):
        speed = np.sqrt(moduli[np.argmax(np.abs(ways[k]))] * 1e9 / density) * 1e-3
        begin, end = 4 * width / speed, (50 + 8 * width) / speed
        still, push = ([0.0] * 3, [None] * 3)
        still[k], push[k] = None, 1e-6
        problem = fe.ExplicitProblem(
            meshes.box((length, 1, 1), (60, 1, 1)),
            crystal,
            [Displacement(lambda x: x[0] >= 0, still), Displacement("x=min", push)],
            density=density,
            amplitude=lambda t, b=begin, c=speed: np.exp(-0.5 * ((t - b) * c / width) ** 2),
        )
        x = problem.V.tabulate_dof_coordinates()
        near, far = (int(np.argmin(np.abs(x - [at, 0, 0]).sum(axis=1))) for at in (5.0, 35.0))
        seen: list[np.ndarray] = []

        def look(
            p: Any, _: Any, k: int = k, at: Any = (near, far), seen: list[np.ndarray] = seen
        ) -> None:
            seen.append(p.u.x.array.reshape(-1, 3)[list(at), k])

        problem.solve(80, duration=end, progress=False, after_step=look)
        a, b = np.array(seen).T
        c = np.correlate(b, a, "full")
        i = int(np.argmax(c))
        left, top, right = c[i - 1 : i + 2]
        delay = i - len(a) + 1 + 0.5 * (left - right) / (left - 2 * top + right)
        found[name] = {"bar": float(30.0 / (delay * end / 80)), "acoustic tensor": float(speed)}
    return found


@limited_threads(1)
def exports(points: int = 1000) -> dict[str, dict[str, float]]:
    """C of silicon, quartz and kyanite against Python: largest relative error, points a second.

    Both on one thread.
    """
    data = Path(__file__).parents[1] / "data"
    labels = {
        "silicon": (data / "silicon" / "labels.extxyz", data / "silicon" / "silicon.cif"),
        **{
            name: (data / "crystals" / f"{name}.extxyz", data / "crystals" / f"{name}.cif")
            for name in ("quartz", "kyanite")
        },
    }
    rows = {}
    for name, (strains, structure) in labels.items():
        law = objstress.fit_law(strains, structure, use_network=False, progress=False)
        law.outside_action = "ignore"
        rng = np.random.default_rng(0)
        stretch = np.eye(3) + 0.01 * rng.normal(size=(points, 3, 3))
        F = np.ascontiguousarray(random_orientations(points) @ stretch)
        with TemporaryDirectory() as folder:
            source, _ = objstress.export_law(law, Path(folder) / f"{name}.c")
            library = Path(folder) / f"{name}.so"
            command = ["cc", "-std=c99", "-O2", "-shared", "-fPIC", "-o", library, source]
            subprocess.run(command, check=True)
            call = getattr(ctypes.CDLL(str(library)), f"{name}_response")
        call.restype = ctypes.c_size_t
        filled = [np.empty((points, *shape)) for shape in ((), (9,), (81,))]
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (F, *filled)]
        seconds: dict[str, list[float]] = {"C": [], "Python": []}
        for _ in range(7):
            begun = perf_counter()
            assert call(ctypes.c_size_t(points), *pointers) == 0
            seconds["C"].append(perf_counter() - begun)
            begun = perf_counter()
            expected = law.response(F, 2)
            seconds["Python"].append(perf_counter() - begun)
        errors = [
            float(np.abs(a.ravel() - b.numpy().ravel()).max() / b.abs().max())
            for a, b in zip(filled, expected, strict=True)
        ]
        rows[name] = {
            "degree": law.polynomial.degree,
            "error": max(errors),
            **{f"{k} points/s": points / median(v) for k, v in seconds.items()},
        }
    return rows


def ranks() -> float:
    """Largest relative difference of a curve on one rank and on two."""
    mpiexec = Path(sys.executable).with_name("mpiexec")
    curves = []
    for number in (1, 2):
        arguments = [str(mpiexec), "-n", str(number), sys.executable, "-m", "tests.runs", "cycle"]
        out = subprocess.run(
            [*arguments, "-", "0"], check=True, capture_output=True, text=True
        ).stdout
        history = json.loads(out)["cycle"]["history"]
        curves.append(np.array([h["reactions"]["end"] for h in history]))
    return float(np.abs(curves[0] - curves[1]).max() / np.abs(curves[0]).max())


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    tips = {
        "Q1": cook(32),
        "Q1/P0": {n: cook(n, element="mixed") for n in (8, 16, 32, 64)},
        "Q2/P1": {n: cook(n, degree=2, element="mixed") for n in (8, 16, 32)},
    }
    thin, closed = plane_stress(), cycle()
    speeds, written = waves(), exports()
    claims = [
        Claim(
            "Cook's membrane, nu = 0.4999, Q2/P1, 32 x 32, against Mueller's 4.7011",
            100 * abs(tips["Q2/P1"][32] / COOK - 1),
            1.0,
            "%",
        ),
        Claim("the same, Q1/P0, 64 x 64", 100 * abs(tips["Q1/P0"][64] / COOK - 1), 1.0, "%"),
        Claim("plane stress against a thin plate", 100 * abs(thin["relative"]), 0.5, "%"),
        Claim(
            "work of unloading and reloading over that of loading",
            abs(closed["work of the cycle"]) / closed["work of loading"],
            1e-9,
        ),
        Claim("E of a pulled cell with free sides against the law's", pulled_cell(), 1e-8),
        Claim("a sheared cell against the cube of the same crystal", sheared_cell(), 1e-8),
        Claim(
            "speed of a wave in a bar against the acoustic tensor's, the worst of three",
            100 * max(abs(v["bar"] / v["acoustic tensor"] - 1) for v in speeds.values()),
            0.5,
            "%",
        ),
        Claim(
            "exported C against Python, the worst of three crystals",
            max(row["error"] for row in written.values()),
            1e-12,
        ),
        Claim("a curve on two ranks against one", ranks(), 1e-9),
    ]
    result = {
        "claims": [claim.to_dict() for claim in claims],
        "Cook's membrane": tips,
        "plane stress": thin,
        "cycle": closed,
        "waves, mm/us": speeds,
        "exported C": written,
        "environment": environment(),
    }
    write_json(RESULTS / "simulations.json", result)
    print(claims_table(claims))


if __name__ == "__main__":
    main()
