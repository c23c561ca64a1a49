"""A body of a new law, pulled: the first simulation, and a case to edit for the next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from objstress.fem.case.run import simulate
from objstress.fem.mesh_files import read_mesh
from objstress.fem.meshes import bounding_box
from objstress.fem.results.curves import plot_history, read_history
from objstress.fem.results.plots import plot_surface
from objstress.fem.results.surface import read_surface
from objstress.io.files import write_whole

STEPS = 4


def pull_part(law: str | Path, mesh: str | Path, out: str | Path, strain: float) -> dict[str, Any]:
    """Pull a body along its longest side, and draw it.

    Its ends there are gripped. The case is written to `out/case.yaml`, for the user to go on from;
    its results, with a curve and a picture of von Mises stress, to `out/results`.

    Args:
        law: law file.
        mesh: mesh file, see `objstress.fem.read_mesh`.
        out: folder.
        strain: elongation over the length.

    Returns:
        See `objstress.fem.simulate`.

    Raises:
        InputError: see `read_mesh` and `simulate`.
        ConvergenceError: see `simulate`.
    """
    out = Path(out)
    body = read_mesh(mesh).mesh
    low, high = bounding_box(body)
    size = (high - low)[: body.geometry.dim]
    axis = int(size.argmax())
    held, pulled = [0.0] * len(size), [0.0] * len(size)
    pulled[axis] = float(f"{strain * size[axis]:.6g}")
    case = {
        "law": os.path.relpath(law, out),
        "mesh": {"shape": "file", "file": os.path.relpath(mesh, out)},
        "displacements": [
            {"where": f"{'xyz'[axis]}=min", "value": held, "name": "held"},
            {"where": f"{'xyz'[axis]}=max", "value": pulled, "name": "pulled"},
        ],
        "steps": STEPS,
    }
    out.mkdir(parents=True, exist_ok=True)
    path, results = out / "case.yaml", out / "results"
    write_whole(path, yaml.safe_dump(case, sort_keys=False, default_flow_style=None))
    history = simulate(path, results)
    plot_history(read_history(results), results / "history.png", reaction="pulled")
    plot_surface(read_surface(results), results / "von_mises.png", "von_mises")
    return history
