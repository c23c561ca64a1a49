"""Natural vibrations of a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from objstress.errors import InputError
from objstress.fem.case.schema import read_case
from objstress.fem.results.vibrations import plot_admittance, plot_mode
from objstress.fem.solve.electric_body import ElectricBody
from objstress.fem.solve.static import StaticProblem
from objstress.fem.solve.supports import over_ranks
from objstress.fem.solve.vibrations import Vibrations, natural_vibrations
from objstress.io.files import check_writable, write_json
from objstress.io.tables import write_table
from objstress.parallel import on_first_rank

POINTS = 2001
"""Frequencies at which the admittance is tabulated, beside those about each resonance."""
ALIKE = 0.7
"""Cosine between the shapes of two modes from which they are one with electrodes short and open."""


def resonate(
    path: str | Path,
    out: str | Path,
    *,
    density: float | Sequence[float],
    number: int = 6,
    near: float = 0.0,
    length_unit: float = 1e-3,
    driven: str | None = None,
    released: Sequence[str] = (),
    loss: float = 1e-3,
    progress: bool = True,
) -> dict[str, Any]:
    """Solve a case, find the vibrations about its last state, and write them into the folder `out`.

    `vibrations.json` and a picture of each mode; with two electrodes or more of given potential
    the vibrations with one of them driven (short) and open, its coupling factor for each mode, and
    its admittance about the modes, `admittance.csv` and `admittance.png`. All ranks call this.

    Args:
        path: the case, a YAML file, see `read_case`.
        out: made if it is missing.
        density, number, near, length_unit, released: see `natural_vibrations`.
        driven: name of the electrode; by default the last one of given potential.
        loss: see `Vibrations.admittance`.
        progress: whether a progress bar of the case is shown.

    Returns:
        The content of vibrations.json: `modes`, each with `mode`, `resonance_MHz`, and with a
        driven electrode `coupling` and, where a mode of the open one moves alike, `open_MHz`;
        `driven` and its static `capacitance_F` (of a plane mesh one unit of length deep).

    Raises:
        InputError: see `read_case` and `natural_vibrations`.
        ConvergenceError: the case or the modes do not converge.
    """
    case, out = read_case(path), Path(out)
    check_writable(out / "vibrations.json")
    problem = case.build(Path(path).parent)
    held = _held(problem)
    if driven is not None and (driven not in held or len(held) < 2):
        known = ", ".join(map(repr, held)) or "none"
        raise InputError(
            f"no electrode {driven!r} of given potential beside another one; there are {known}"
        )
    case.run(problem, None, progress=progress)
    options: dict[str, Any] = {"length_unit": length_unit, "near": near, "released": released}
    short = natural_vibrations(problem, density, number, **options)
    modes: list[dict[str, Any]] = [
        {"mode": k + 1, "resonance_MHz": float(f)} for k, f in enumerate(short.frequencies)
    ]
    result: dict[str, Any] = {"modes": modes, "driven": None}
    if len(held) > 1:
        driven = driven or held[-1]
        free = natural_vibrations(problem, density, number, open_electrodes=[driven], **options)
        partners = _partners(short, free, problem)
        for mode, partner, k in zip(modes, partners, short.coupling(driven), strict=True):
            mode["coupling"] = float(k)
            if partner is not None:
                mode["open_MHz"] = float(free.frequencies[partner])
        capacitance = 1e-9 * length_unit * short.capacitances[driven]
        result |= {"driven": driven, "capacitance_F": capacitance}
    for k in range(number):
        plot_mode(problem, short, k, out / f"mode-{k + 1}.png")

    def write() -> None:
        if result["driven"] is not None and short.elastic.any():
            _write_admittance(short, result["driven"], loss, out)
        write_json(out / "vibrations.json", result)

    on_first_rank(problem.comm, write)
    return result


def _held(problem: StaticProblem) -> list[str]:
    """Names of the electrodes of given potential."""
    body = problem.body
    return list(body.supports.held_electrodes) if isinstance(body, ElectricBody) else []


def _partners(short: Vibrations, free: Vibrations, problem: StaticProblem) -> list[int | None]:
    """For each mode the one of open electrodes that moves most like it; None if none does."""
    owned = problem.V.dofmap.index_map.size_local * problem.dim

    def shapes(vibrations: Vibrations) -> np.ndarray:
        return np.array([m["displacement"].x.array[:owned] for m in vibrations.modes])

    a, b = shapes(short), shapes(free)
    products = [over_ranks(problem.comm, x @ y.T) for x, y in ((a, b), (a, a), (b, b))]
    sizes = np.sqrt(np.outer(np.diag(products[1]), np.diag(products[2])))
    alike = np.abs(products[0]) / sizes
    return [int(row.argmax()) if row.max() > ALIKE else None for row in alike]


def _write_admittance(vibrations: Vibrations, driven: str, loss: float, out: Path) -> None:
    own = vibrations.frequencies[vibrations.elastic]
    even = np.linspace(0.9 * own.min(), 1.1 * own.max(), POINTS)
    near = own[:, None] * (1 + max(loss, 1e-9) * np.linspace(-5, 5, 101))
    frequencies = np.unique(np.concatenate([even, near.ravel()]))
    y = vibrations.admittance(driven, frequencies, loss)
    rows = [
        {"frequency [MHz]": f, "real [S]": a.real, "imaginary [S]": a.imag}
        for f, a in zip(frequencies.tolist(), y.tolist(), strict=True)
    ]
    write_table(rows, out / "admittance.csv")
    plot_admittance(vibrations, driven, frequencies, loss, out / "admittance.png")
