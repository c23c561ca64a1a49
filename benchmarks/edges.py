"""Laws outside their training, and inputs at the edge of what is admitted.

`python -m benchmarks.edges [--before FILE] [--only NAME ...]` writes edges.json and edges.md:
stability and Newton's method beyond the trained strains, what the strains called inside are worth,
the time of a fit, the deformation of rotated supercells. FILE is the JSON that the same file wrote
in a checkout of an earlier version; its values stand beside ours.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase.build import make_supercell
from scipy.spatial.transform import Rotation

from objstress import ConvergenceError, GuardedLaw, fit_law
from objstress.elasticity.strain import right_stretch
from objstress.fem import Displacement, StaticProblem, meshes
from objstress.io.files import write_json, write_whole
from objstress.labels.deformation import find_deformation
from objstress.labels.reading import read_labels
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.crystal import primitive_cell
from objstress.symmetry.reading import read_structure
from objstress.symmetry.voigt import from_mandel, to_mandel

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).parents[1] / "data"
SILICON = DATA / "silicon" / "silicon.cif"
CRYSTALS = [
    *("silicon", "copper", "gallium-nitride", "gallium-phosphide", "magnesium"),
    *("stishovite", "quartz", "coesite", "forsterite", "kyanite"),
]
PAIRS = {"spruce": "mmm", "octet-truss": "m-3m"}
CUBIC = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
"""The cube of a face-centred lattice, in its primitive vectors."""
BEYOND = (1.0001, 1.005, 1.01, 1.02, 1.03, 1.05, 1.075, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5)
"""Places on a ray, in units of its length to the edge of the trained strains."""


def crystal_labels(name: str) -> Any:
    """The labels of a crystal of data/."""
    if name == "silicon":
        return read_labels(SILICON.with_name("labels.extxyz"), SILICON)
    folder = DATA / "crystals"
    return read_labels(folder / f"{name}.extxyz", folder / f"{name}.cif")


@cache
def laws() -> dict[str, Any]:
    """The polynomial laws of data/."""
    fits = {name: fit_law(crystal_labels(name), **_PLAIN) for name in CRYSTALS}
    for name, group in PAIRS.items():
        fits[name] = fit_law(DATA / name / "pairs.csv", point_group=group, **_PLAIN)
    for law in fits.values():
        law.outside_action = "ignore"
    return fits


_PLAIN: dict[str, Any] = {"use_network": False, "progress": False}


def guarding() -> tuple[dict[str, Any], list[Claim]]:
    """Least acoustic eigenvalue beyond the edge, over that at the edge; Newton to J = 0.5 and 2."""
    rows: dict[str, Any] = {}
    for name, law in laws().items():
        guarded = GuardedLaw(law)
        x = np.random.default_rng(7).normal(size=(1000, 6))
        x = np.vstack([x, [1, 1, 1, 0, 0, 0], [-1, -1, -1, 0, 0, 0]])
        m = law.domain.numpy()
        x = x / np.sqrt(np.einsum("na,ab,nb->n", x, m, x))[:, None]
        edge = law.ellipticity(right_stretch(from_mandel(x)))[0].numpy()
        stable = edge > 0
        beyond = [
            guarded.ellipticity(right_stretch(from_mandel(r * x[stable])))[0].numpy()
            for r in BEYOND
        ]
        ratios = (np.array(beyond) / edge[stable]).min(axis=0)
        rows[name] = {
            "directions": len(x),
            "elliptic_at_the_edge": float(stable.mean()),
            "least_ratio": float(ratios.min()),
            "percentile_1": float(np.percentile(ratios, 1)),
            "least_acoustic_GPa_beyond": float(np.min(beyond)),
            "newton": {kind: newton(guarded, kind) for kind in ("confined", "stretched")},
        }
        print(name, rows[name], flush=True)
    halved = [run["halved"] for row in rows.values() for run in row["newton"].values()]
    return rows, [
        Claim(
            "least acoustic eigenvalue up to 50 % beyond the edge, over that at the edge, 12 laws",
            min(row["least_ratio"] for row in rows.values()),
            0.2,
            at_least=True,
        ),
        Claim("Newton to J = 0.5 and to stretch 2: halvings of one step", max(halved), 4),
    ]


def newton(law: Any, kind: str) -> dict[str, Any]:
    """A cube confined to J = 0.5, or clamped and stretched to twice its length, in ten steps."""
    if kind == "confined":
        faces = [f"{a}={b}" for a in "xyz" for b in ("min", "max")]
        ends = [
            Displacement(
                face,
                tuple((-0.5 if face == "z=max" else 0) if c == face[0] else None for c in "xyz"),
            )
            for face in faces
        ]
    else:
        ends = [Displacement("z=min", (0, 0, 0)), Displacement("z=max", (0, 0, 1))]
    problem = StaticProblem(meshes.box((1, 1, 1), (3, 3, 3)), law, ends)
    try:
        history = problem.solve(10, progress=False)
    except ConvergenceError as error:
        return {"halved": float("inf"), "error": str(error).split(";")[0]}
    return {
        "halved": max(record.rejected for record in history),
        "steps": len(history),
        "iterations": sum(len(record.residuals) - 1 for record in history),
        "min_J": history[-1].min_J,
    }


def inside() -> tuple[dict[str, Any], list[Claim]]:
    """Of the strains called inside, how many have an error below three times the reported one.

    Laws are refitted to random halves of the labels, and to inner labels with one to four far ones;
    the labels left out are the judges.
    """
    rows: dict[str, Any] = {}
    for name in CRYSTALS:
        labels = crystal_labels(name)
        size = np.linalg.norm(to_mandel(labels.strain), axis=1)
        inner = np.flatnonzero(size <= max(0.6 * size.max(), np.quantile(size, 1 / 3)))
        outer = np.setdiff1d(np.arange(len(labels)), inner)
        rows[name] = {}
        for kind in ("halves", "far labels added"):
            kept = good = judged = 0
            for far in range(1, 5):
                rng = np.random.default_rng(100 + far)
                chosen = rng.permutation(len(labels))[: len(labels) // 2]
                if kind != "halves":
                    some = rng.permutation(inner)[: 2 * len(inner) // 3]
                    chosen = np.concatenate([some, rng.permutation(outer)[:far]])
                law = fit_law(labels.subset(np.sort(chosen)), held_out=0.0, **_PLAIN)
                rest = labels.subset(np.setdiff1d(np.arange(len(labels)), chosen))
                rest = rest.rereferenced(np.array(law.metadata["reference_stretch"]))
                gap = law.response(rest.F, 1)[1].numpy() - rest.piola
                floor = np.maximum(np.linalg.norm(rest.piola, axis=(1, 2)), law.stress_floor())
                errors = np.linalg.norm(gap, axis=(1, 2)) / floor
                within = ~law.outside(rest.F).numpy()
                reported = law.metadata["polynomial"]["leave_one_out"]
                judged += len(within)
                kept += int(within.sum())
                good += int((errors[within] < 3 * reported).sum())
            rows[name][kind] = {"labels": judged, "inside": kept, "below_three_times": good}
        print(name, rows[name], flush=True)

    def least(kind: str) -> float:
        shares = [row[kind]["below_three_times"] / row[kind]["inside"] for row in rows.values()]
        return min(shares)

    called = [row["halves"]["inside"] / row["halves"]["labels"] for row in rows.values()]
    worst = "inside, error below three times the reported one, worst of 10 crystals"
    return rows, [
        Claim(f"{worst}: random halves", least("halves"), 0.95, at_least=True),
        Claim(f"{worst}: far labels added", least("far labels added"), 0.95, at_least=True),
        Claim(
            "labels of the same strains called inside, median of 10 crystals",
            median(called),
            0.9,
            at_least=True,
        ),
    ]


def fits() -> tuple[dict[str, Any], list[Claim]]:
    """Seconds of a whole fit, from the file, and errors on held-out labels."""
    seconds: dict[str, list[list[float]]] = {"silicon": [], "kyanite": []}
    for _ in range(3):
        for name, times in seconds.items():
            begun = time.process_time(), time.perf_counter()
            fit_law(crystal_labels(name), **_PLAIN)
            times.append([time.process_time() - begun[0], time.perf_counter() - begun[1]])
    rows: dict[str, Any] = {
        name: {
            "degree": law.metadata["polynomial"]["degree"],
            "held_out": law.metadata["held_out"]["both"]["relative_rmse"],
            "leave_one_out": law.metadata["polynomial"]["leave_one_out"],
            "leave_one_out_by_degree": law.metadata["polynomial"]["leave_one_out_by_degree"],
        }
        for name, law in laws().items()
    }
    for name, times in seconds.items():
        rows[name]["CPU_and_elapsed_seconds"] = times
    claims = []
    for name, bar in (("silicon", 2.0), ("kyanite", 10.0)):
        cpu, elapsed = (median(t[k] for t in seconds[name]) for k in (0, 1))
        claims += [
            Claim(f"fit of {name}, CPU", cpu, bar, "s"),
            Claim(f"fit of {name}, elapsed", elapsed, bar, "s"),
        ]
    copper, magnesium = rows["copper"]["held_out"], rows["magnesium"]["leave_one_out"]
    return rows, [
        *claims,
        Claim("copper, held-out stress", copper, 0.00129),
        Claim("magnesium, leave-one-out error", magnesium, 0.0045),
    ]


def supercells(frames: int = 5) -> tuple[dict[str, Any], list[Claim]]:
    """Seconds a frame of 216 atoms of silicon, strained, rotated and rattled by 0.03 Angstrom."""
    silicon = primitive_cell(read_structure(SILICON))
    rows = []
    for k in range(frames):
        strain = np.random.default_rng(k).normal(size=(3, 3)) * 0.03
        f = right_stretch(0.5 * (strain + strain.T))
        atoms = make_supercell(silicon.to_ase_atoms(), 3 * CUBIC)
        atoms.rattle(0.03, seed=k)
        rotation = Rotation.random(random_state=k).as_matrix()
        atoms.set_cell(atoms.cell.array @ f.T @ rotation.T, scale_atoms=True)
        begun = time.perf_counter()
        F, _ = find_deformation(atoms, silicon)
        seconds = time.perf_counter() - begun
        error = np.abs(np.linalg.eigvalsh(F.T @ F) - np.linalg.eigvalsh(f.T @ f)).max()
        rows.append({"seconds": seconds, "error_of_C": float(error)})
    seconds = median(row["seconds"] for row in rows)
    # 0.1 took 77 s for such a frame.
    return {"atoms": len(atoms), "rows": rows}, [
        Claim("deformation of a rotated cell of 216 atoms", seconds, 0.1, "s"),
        Claim("its principal values of C", max(row["error_of_C"] for row in rows), 1e-12),
    ]


PARTS = {part.__name__: part for part in (fits, guarding, inside, supercells)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    parts, claims = {}, []
    for name in arguments.only:
        parts[name], new = PARTS[name]()
        claims += new
    if set(arguments.only) != set(PARTS):
        print(claims_table(claims))
        return
    result: dict[str, Any] = {
        "claims": [claim.to_dict() for claim in claims],
        "parts": parts,
        "environment": environment(),
    }
    text = f"# Claims\n\n{claims_table(claims)}\n"
    if arguments.before:
        result["before"] = before = json.loads(arguments.before.read_text())
        then = {claim["name"]: claim["value"] for claim in before["claims"]}
        rows = [f"| {c.name} | {then[c.name]:.3g} | {c.value:.3g} |" for c in claims]
        text += "\n| | before | now |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    write_json(RESULTS / "edges.json", result)
    write_whole(RESULTS / "edges.md", text)
    print(text)


if __name__ == "__main__":
    main()
