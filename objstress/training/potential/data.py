"""What the fit of a potential starts from: frames, references, scales, a new network."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import chemical_symbols

from objstress.errors import InputError
from objstress.graphs.atoms import atom_graph
from objstress.models.potential import Potential, PotentialSettings
from objstress.training.potential.frames import (
    TARGETS,
    Frame,
    elements_of,
    read_frames,
    root_mean_square,
)
from objstress.training.potential.plausibility import unit_warnings
from objstress.training.potential.references import (
    fitted_references,
    given_references,
    without_isolated_atoms,
)
from objstress.training.potential.settings import FitSettings

SAME = 0.1
"""eV by which isolated atoms of one element may differ without a word."""


@dataclass(frozen=True)
class FitData:
    """The frames of a fit, and the scales that make their labels comparable.

    Attributes:
        train, valid: frames to fit to, and to choose the best weights by.
        potential: settings of the potential.
        references: (elements,) eV.
        fitted: (elements,) whether the reference is fitted, not given or that of an isolated atom.
        buffers: values of the potential's other buffers, from the training frames.
        scales: {target: what its errors are divided by, in its unit (per atom if extensive)}.
    """

    train: list[Frame]
    valid: list[Frame]
    potential: PotentialSettings
    references: np.ndarray
    fitted: np.ndarray
    buffers: dict[str, list[float] | float]
    scales: dict[str, float]


def prepare(settings: FitSettings, say: Callable[[str], None] = lambda text: None) -> FitData:
    """Read, split and check the frames; find references and scales.

    Args:
        settings: of the fit.
        say: called with a line on the frames and on units that are not plausible.

    Raises:
        InputError: see `read_frames`; too few frames.
    """
    frames = read_frames(settings.data, settings.keys)
    cutoff = settings.potential_settings(elements_of(frames), 1.0).cutoff
    frames, isolated = without_isolated_atoms(frames, cutoff)
    if isinstance(settings.validation, str):
        read = read_frames(settings.validation, settings.keys, optional=True)
        train, (valid, _) = frames, without_isolated_atoms(read, cutoff)
    else:
        number = max(1, round(settings.validation * len(frames)))
        order = np.random.default_rng(settings.training.seed).permutation(len(frames))
        valid = [frames[k] for k in np.sort(order[:number])]
        train = [frames[k] for k in np.sort(order[number:])]
    least = settings.training.processes
    if len(train) < least or len(valid) < least:
        raise InputError(
            f"{settings.data}: {len(frames)} frames are too few to fit and to validate"
        )
    unlabelled = [t for t in settings.tasks if not any(t in f.labels for f in train)]
    if unlabelled:
        raise InputError(
            f"{settings.data}: all labels of the {unlabelled[0]} are among the validation frames"
        )
    present = elements_of(train)
    unseen = set(elements_of(valid)) - set(present)
    if unseen:
        raise InputError(
            f"{settings.data}: {chemical_symbols[min(unseen)]} occurs in validation frames only; "
            "give more frames of it, or another training.seed"
        )
    open_settings = settings.potential_settings(present, 1.0)
    elements = open_settings.elements
    unknown = set(present) - set(elements)
    if unknown:
        raise InputError(
            f"model.elements lacks {chemical_symbols[min(unknown)]}, which the training frames have"
        )
    given: dict[int, float] = {}
    if "energy" in settings.keys and settings.references != "fitted":
        values = given_references(settings.references, elements, settings.keys["energy"])
        given = dict(zip(elements, values.tolist(), strict=True))
    if given and isolated:
        say("frames of isolated atoms are left out: references are given")
    given = given or _of_isolated_atoms(isolated, elements, say)
    references = fitted_references(train, elements, given=given)
    compared = None
    if set(present) <= set(given):
        compared = np.array([given[z] for z in present])
    for line in unit_warnings(train, compared, stress="stress" in settings.keys):
        say(f"warning: {line}")
    potential = settings.potential_settings(
        elements, _mean_neighbours(train, elements, open_settings.cutoff)
    )
    scales, buffers = _scales(train, settings.tasks, elements)
    labels = ", ".join(f"{sum(t in f.labels for f in train)} with {t}" for t in settings.tasks)
    say(f"{len(train)} training frames ({labels}), {len(valid)} to validate")
    fitted = np.array([z not in given for z in elements])
    return FitData(train, valid, potential, references, fitted, buffers, scales)


def _of_isolated_atoms(
    isolated: dict[int, list[float]], elements: Sequence[int], say: Callable[[str], None]
) -> dict[int, float]:
    """References out of the data: the least energy of each element's isolated atoms."""
    least = {z: min(e) for z, e in sorted(isolated.items()) if e}
    if least:
        names = ", ".join(f"{chemical_symbols[z]} {e:.6g} eV" for z, e in least.items())
        say(f"references: those of the isolated atoms in the data ({names})")
    for z, energies in isolated.items():
        if not energies:
            say(f"isolated ions of {chemical_symbols[z]} are left out: a reference is an atom's")
        elif max(energies) - min(energies) > SAME:
            say(
                f"warning: isolated atoms of {chemical_symbols[z]} differ by "
                f"{max(energies) - min(energies):.3g} eV; the least energy is taken"
            )
    return {z: e for z, e in least.items() if z in elements}


def _mean_neighbours(frames: Sequence[Frame], elements: Sequence[int], cutoff: float) -> float:
    some = frames[:: max(1, len(frames) // 50)]
    graphs = []
    for frame in some:
        try:
            graphs.append(atom_graph(frame.atoms, elements, cutoff))
        except InputError as error:
            raise InputError(f"{frame.place}: {error}") from None
    edges = sum(int(g.edge_index.shape[1]) for g in graphs)
    return max(1.0, round(edges / sum(int(g.num_nodes) for g in graphs), 2))


def _scales(
    frames: Sequence[Frame], tasks: Collection[str], elements: Sequence[int]
) -> tuple[dict[str, float], dict[str, list[float] | float]]:
    """What errors are divided by, and the scales of the potential's outputs."""
    size = float(np.mean([len(f.atoms) for f in frames]))
    scales: dict[str, float] = {}
    buffers: dict[str, list[float] | float] = {}
    force = root_mean_square(frames, "forces")
    buffers["scale"] = force
    for task in tasks:
        if task in ("energy", "forces"):
            scales[task] = force
        elif task == "polarizability":
            means = fitted_references(frames, elements, task)
            buffers["mean_polarizabilities"] = means.tolist()
            rest = [
                f.labels[task] - np.eye(3) * sum(means[elements.index(z)] for z in f.atoms.numbers)
                for f in frames
                if task in f.labels
            ]
            spread = float(np.sqrt(np.mean(np.square(rest)))) or 1.0
            buffers["polarizability_scale"] = spread / math.sqrt(size)
            scales[task] = spread / size
        else:
            rms = root_mean_square(frames, task)
            scales[task] = rms / size if TARGETS[task].extensive else rms
            if task == "dipole":
                buffers["dipole_scale"] = rms / math.sqrt(size)
    return scales, buffers


def new_potential(data: FitData, settings: FitSettings, dtype: torch.dtype) -> Potential:
    """A potential with random weights of the seed, and references zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        # Drawn in float64 for any dtype: float32 and float64 start from the same weights.
        potential = Potential(data.potential, torch.float64)
    for name, value in data.buffers.items():
        getattr(potential, name).copy_(torch.as_tensor(value, dtype=torch.float64))
    return potential.to(dtype)
