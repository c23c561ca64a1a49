"""The history of a run as a table and as curves: reactions, displacements, energies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from objstress.errors import InputError
from objstress.fem.solve.protocol import Shown
from objstress.fem.solve.record import DynamicRecord, StepRecord
from objstress.io.files import check_writable, write_figure
from objstress.io.tables import check_table, write_table
from objstress.symmetry.voigt import VOIGT_PAIRS

ARROWS = 12
"""How many arrows a curve has at most."""

ROUND_OFF = 1e-9
"""Forces and displacements as small as this, beside the largest of all, are none."""


def write_history(history: Sequence[StepRecord], path: str | Path) -> None:
    """Write a history as a table, a row for each accepted step, units in the header.

    Columns: `load factor` (before it `time [us]` of a motion), `iterations`,
    `energy [GPa length^3]`, `min J` (of a motion its other energies, too); of each reaction
    `NAME x [GPa length^2]`, of the nodes it acts on `NAME u_x [length]`, of each electrode
    `NAME charge [C/m^2 length^2]` and `NAME potential [V/nm length]`, and of each probe
    `probe NAME u_x [length]`, `probe NAME sigma_xx [GPa]` and `probe NAME E_xx`. A cell is empty
    where the step had no such condition.

    Args:
        history: of a problem, or what `read_history` read.
        path: of the table, .csv or .parquet.

    Raises:
        InputError: another ending, or a path that cannot be written.
    """
    check_table(Path(path))
    write_table([_row(record) for record in history], Path(path))


def _row(record: StepRecord) -> dict[str, float]:
    row: dict[str, float] = {}
    if isinstance(record, DynamicRecord):
        row["time [us]"] = record.time
    row["load factor"] = record.load
    if record.residuals:
        row["iterations"] = len(record.residuals) - 1
    row |= {
        "energy [GPa length^3]": record.energy,
        "min J": record.min_J,
    }
    if isinstance(record, DynamicRecord):
        for name in ("kinetic", "contact", "work", "balance"):
            row[f"{name} [GPa length^3]"] = getattr(record, name)
    for name, force in record.reactions.items():
        row |= {f"{name} {a} [GPa length^2]": f for a, f in zip("xyz", force, strict=False)}
    for name, u in record.displacements.items():
        row |= {f"{name} u_{a} [length]": x for a, x in zip("xyz", u, strict=False)}
    for name, charge in record.charges.items():
        row[f"{name} charge [C/m^2 length^2]"] = charge
        row[f"{name} potential [V/nm length]"] = record.potentials[name]
    for name, values in record.probes.items():
        u = values["displacement"]
        row |= {f"probe {name} u_{a} [length]": x for a, x in zip("xyz", u, strict=False)}
        for symbol, unit, key in (
            ("sigma", " [GPa]", "cauchy_stress"),
            ("E", "", "green_lagrange"),
        ):
            for i, j in VOIGT_PAIRS:
                row[f"probe {name} {symbol}_{'xyz'[i]}{'xyz'[j]}{unit}"] = values[key][i][j]
    return row


def read_history(folder: str | Path) -> list[StepRecord]:
    """Read the accepted steps of a case from the folder that `simulate` wrote.

    Args:
        folder: with history.json.

    Raises:
        InputError: no history there, or a file that is none.
    """
    path = Path(folder) / "history.json"
    if not path.is_file():
        raise InputError(f"{folder}: no history.json, give a folder that `simulate` wrote")
    try:
        return [StepRecord(**step) for step in json.loads(path.read_text())["steps"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the history of a run ({error})") from None


def plot_history(
    history: Sequence[StepRecord],
    path: str | Path,
    *,
    reaction: str | None = None,
    component: str | None = None,
) -> None:
    """Plot force against displacement, force and stored energy against the load factor.

    The curves run from the undeformed body (an open circle) through the steps in their order;
    arrows show which way. The first panel has the reactions whose nodes move, or whose contact
    does, each against its mean displacement, and is left out where none does.

    Args:
        history: of a static problem, or what `read_history` read.
        path: of the image, `.png`, `.pdf` or `.svg`.
        reaction: name of the only one to draw, with all components in which it pushes; by default
            all, each with the component in which it is largest.
        component: x, y or z, of forces and displacements, instead of these.

    Raises:
        InputError: no step, no reaction of that name (all are named), no such component, a path
            that cannot be written or is no image.
    """
    check_writable(path)
    curves = _curves(history, reaction, component)
    loads = _series(history, [[r.load] for r in history])[:, 0]
    energy = _series(history, [[r.energy] for r in history])[:, 0]
    over_load = [(label, colour, loads, force) for label, colour, _, force in curves]
    most = max((_size(moved) for _, _, moved, _ in curves), default=0.0)
    over_motion = [
        (label, colour, moved, force)
        for label, colour, moved, force in curves
        if _size(moved) > ROUND_OFF * most
    ]
    force, stored = "force on the body, GPa length$^2$", "stored energy, GPa length$^3$"
    panels = [
        ("mean displacement, length", force, over_motion),
        ("load factor", force, over_load),
        ("load factor", stored, [("stored energy", "k", loads, energy)]),
    ]
    panels = [panel for panel in panels if panel[2]]
    figure = Figure(figsize=(4.6 * len(panels), 3.8), layout="constrained")
    for number, (xlabel, ylabel, drawn) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1, xlabel=xlabel, ylabel=ylabel)
        for label, colour, x, y in drawn:
            _draw_steps(axes, x, y, label, colour)
        axes.locator_params(axis="x", nbins=6)
        axes.grid(alpha=0.3)
        if ylabel == force:
            axes.legend(frameon=False)
    write_figure(figure, path, dpi=150)


def _curves(
    history: Sequence[StepRecord], reaction: str | None, component: str | None
) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Label, colour, displacements and forces of each curve to draw."""
    names = _reactions(history)
    if reaction is not None and reaction not in names:
        raise InputError(f"no reaction of {reaction!r}: give one of {', '.join(names)}")
    axes = "xyz"[: len(next(iter(names.values()), []))]
    if component is not None and component not in tuple(axes):
        raise InputError(f"component = {component!r}: give one of {', '.join(axes)}")
    found = []
    for name in names if reaction is None else [reaction]:
        forces = _series(history, [r.reactions.get(name) for r in history])
        moved = _series(history, [r.displacements.get(name) for r in history])
        shown = range(len(axes))
        if component is not None:
            shown = range(axes.index(component), axes.index(component) + 1)
        elif reaction is None:
            largest = int(np.nanmax(np.abs(forces), axis=0).argmax())
            shown = range(largest, largest + 1)
        found += [(f"{name} {axes[k]}", moved[:, k], forces[:, k]) for k in shown]
    if component is None:
        # Free components, and supports that only take rigid motions, carry round-off.
        most = max((_size(force) for _, _, force in found), default=0.0)
        found = [curve for curve in found if _size(curve[2]) > ROUND_OFF * most]
    return [(label, f"C{k}", moved, force) for k, (label, moved, force) in enumerate(found)]


def _size(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max(initial=0.0))


def _reactions(history: Sequence[StepRecord]) -> dict[str, list[float]]:
    """{name: its force in the first step that has it}; conditions may change between steps."""
    if not history:
        raise InputError("no load step to draw: solve the problem first")
    names: dict[str, list[float]] = {}
    for record in history:
        names |= {name: f for name, f in record.reactions.items() if name not in names}
    return names


def _series(history: Sequence[StepRecord], rows: Sequence[list[float] | None]) -> np.ndarray:
    """Values of the steps, from the undeformed body, which has none; NaN where a step has none."""
    width = max((len(row) for row in rows if row is not None), default=3)
    missing = [np.nan] * width
    begin = missing if rows[0] is None else [0.0] * width
    return np.array([begin, *(missing if row is None else row for row in rows)])


def _draw_steps(axes: Any, x: np.ndarray, y: np.ndarray, label: str, colour: str) -> None:
    """A curve through the steps in their order: an open circle first, arrows along it."""
    (line,) = axes.plot(x, y, marker="o", ms=3, lw=1.2, label=label, color=colour)
    line.set_markevery(list(range(1, len(x))))
    axes.plot(x[:1], y[:1], marker="o", ms=5, mfc="white", color=colour, label="_begin")
    for k in np.unique(np.linspace(0, len(x) - 2, min(ARROWS, len(x) - 1)).astype(int)):
        ends = np.array([[x[k], y[k]], [x[k + 1], y[k + 1]]])
        if not np.isfinite(ends).all() or (ends[0] == ends[1]).all():
            continue
        # Beyond the middle: there and back along one line, they do not cover each other.
        tail, head = ends[0] + np.array([[0.55], [0.65]]) * (ends[1] - ends[0])
        style = dict(arrowstyle="-|>", color=colour, lw=0, shrinkA=0, shrinkB=0, mutation_scale=13)
        axes.annotate("", xy=head, xytext=tail, arrowprops=style)


def plot_load_displacement(
    problem_or_history: Shown | Sequence[StepRecord],
    name: str,
    path: str | Path,
    *,
    displacement: float | None = None,
    length: str = "length",
) -> None:
    """Plot the components of a reaction against the load factor, or the displacement.

    All ranks may call it, one draws where it is given a problem.

    Args:
        problem_or_history: the accepted steps, or the problem that has them.
        name: of a prescribed displacement or a contact, as in `StepRecord.reactions`.
        path: of the image.
        displacement: at load factor 1, in the mesh's unit; none leaves the load factor.
        length: the mesh's unit, such as "mm" (forces are then in GPa mm^2 = kN).

    Raises:
        InputError: no step yet, or no reaction of that name (all are named); a path that cannot be
            written.
    """
    check_writable(path)
    if isinstance(problem_or_history, Sequence):
        history, rank = problem_or_history, 0
    else:
        history, rank = problem_or_history.history, problem_or_history.comm.rank
    if not history:
        raise InputError("no load step to draw: solve the problem first")
    known = {name: force for record in history for name, force in record.reactions.items()}
    if name not in known:
        raise InputError(f"no reaction of {name!r}: give one of {', '.join(known)}")
    if rank > 0:
        return
    # From the undeformed body, which has none.
    loads = np.array([0.0, *(record.load for record in history)])
    none = [np.nan] * len(known[name])  # a step of a stage without it
    forces = np.array([np.zeros_like(known[name]), *(r.reactions.get(name, none) for r in history)])
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for axis, force in zip("xyz", forces.T, strict=False):
        axes.plot(loads * (displacement or 1.0), force, marker="o", ms=3, label=axis)
    axes.set(
        xlabel="load factor" if displacement is None else f"displacement, {length}",
        ylabel=f"force of {name} on the body, GPa {length}$^2$",
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    write_figure(figure, path, dpi=150, bbox_inches="tight")
