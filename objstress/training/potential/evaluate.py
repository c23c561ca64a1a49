"""Errors of a potential on labelled frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Batch

from objstress.errors import InputError
from objstress.models.potential import Potential
from objstress.training.potential.frames import TARGETS, Frame, labelled_graphs, read_frames


def evaluate_potential(
    potential: Potential,
    path: str | Path,
    keys: Mapping[str, str] | None = None,
    group: str | None = None,
    batch_size: int = 16,
) -> dict[str, Any]:
    """Errors of a potential on labelled structures, over all of them and by their kind.

    Args:
        potential: a fitted potential.
        path: file of labelled structures, see `read_frames`.
        keys: {target: key}, each of which must be in the file; None takes those of the fit, as far
            as the file has them.
        group: key of the frames' kind, see `read_frames`.
        batch_size: number of structures evaluated together.

    Returns:
        `frames`, their number; `targets`: {target: `rmse`, `mae` over all components in `unit`,
        `labels` (number of frames that have one)}, energies in eV/atom with `rmse_total`,
        `mae_total` in eV, pseudoscalars with `right_sign`, a fraction; `groups`: {kind: the same
        of its frames}, where the file names kinds.

    Raises:
        InputError: see `read_frames`, `atom_graph`; a target that the potential has no head for.
    """
    fitted = potential.metadata.get("keys") or {
        t: t for t, target in TARGETS.items() if target.head in potential.settings.heads
    }
    frames = read_frames(path, keys or fitted, optional=not keys, group=group)
    tasks = [t for t in (keys or fitted) if any(t in f.labels for f in frames)]
    headless = [t for t in tasks if TARGETS[t].head not in potential.settings.heads]
    if headless:
        raise InputError(
            f"this potential has no {headless[0]}; it has {', '.join(potential.settings.heads)}"
        )
    return frame_errors(potential, frames, tasks, batch_size)


def frame_errors(
    potential: Potential, frames: Sequence[Frame], tasks: Sequence[str], batch_size: int = 16
) -> dict[str, Any]:
    """Errors on frames, see `evaluate_potential`."""
    gaps: list[dict[str, tuple[np.ndarray, float]]] = []
    for predicted in predictions(potential, frames, tasks, batch_size):
        frame = frames[len(gaps)]
        of_frame = {}
        for task in tasks:
            if task in frame.labels:
                label = frame.labels[task]
                gap = np.reshape(predicted[task], np.shape(label)) - label
                of_frame[task] = (np.atleast_1d(gap), float(np.sum(label)))
        gaps.append(of_frame)
    sizes = [len(f.atoms) for f in frames]
    everything = range(len(frames))
    result: dict[str, Any] = {
        "frames": len(frames),
        "targets": _summary(gaps, sizes, tasks, everything),
    }
    kinds = sorted({f.group for f in frames} - {""})
    if kinds:
        result["groups"] = {
            kind: {
                "frames": sum(f.group == kind for f in frames),
                "targets": _summary(
                    gaps, sizes, tasks, [k for k in everything if frames[k].group == kind]
                ),
            }
            for kind in kinds
        }
    return result


def _summary(
    gaps: list[dict[str, tuple[np.ndarray, float]]],
    sizes: list[int],
    tasks: Sequence[str],
    which: Sequence[int],
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for task in tasks:
        known = [k for k in which if task in gaps[k]]
        if not known:
            continue
        flat = np.concatenate([gaps[k][task][0].ravel() for k in known])
        entry: dict[str, Any] = {"unit": TARGETS[task].unit, "labels": len(known)}
        if task == "energy":
            entry |= {"unit": "eV/atom"}
            total, flat = flat, flat / np.array([sizes[k] for k in known])
            entry |= {"rmse_total": _rms(total), "mae_total": float(np.abs(total).mean())}
        entry |= {"rmse": _rms(flat), "mae": float(np.abs(flat).mean())}
        if task == "pseudoscalar":
            label = np.array([gaps[k][task][1] for k in known])
            entry["right_sign"] = float(np.mean(np.sign(flat + label) == np.sign(label)))
        result[task] = entry
    return result


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def predictions(
    potential: Potential, frames: Sequence[Frame], tasks: Sequence[str], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """The potential's outputs for each frame, in the frames' order."""
    s = potential.settings
    device = potential.references.device
    was = potential.training
    potential.eval()
    try:
        for start in range(0, len(frames), batch_size):
            some = frames[start : start + batch_size]
            graphs = labelled_graphs(some, s.elements, s.cutoff, (), dtype=potential.dtype)
            batch = Batch.from_data_list(graphs).to(device)
            outputs = {k: v.cpu().numpy() for k, v in potential(batch, tasks).items()}
            ends = np.cumsum([0, *(len(f.atoms) for f in some)])
            for k in range(len(some)):
                yield {
                    t: v[ends[k] : ends[k + 1]] if TARGETS[t].per_atom else v[k]
                    for t, v in outputs.items()
                }
    finally:
        potential.train(was)
