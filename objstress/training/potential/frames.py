"""Labelled structures for a potential: read, checked, and made into graphs."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import iread
from ase.stress import voigt_6_to_full_3x3_stress
from torch_geometric.data import Data
from vesin import NeighborList

from objstress.errors import InputError
from objstress.graphs.atoms import atom_graph, total_charge

CLOSEST = 0.3
"""Angstrom; two nuclei of a labelled frame closer than this are a mistake (H2: 0.74)."""


@dataclass(frozen=True)
class Target:
    """A quantity that a potential can be fitted to.

    Attributes:
        shape: of one label.
        unit: of the label.
        head: of the potential that predicts it.
        per_atom: whether each atom has a label.
        extensive: whether errors are divided by the number of atoms.
    """

    shape: tuple[int, ...]
    unit: str
    head: str
    per_atom: bool = False
    extensive: bool = False


TARGETS = {
    "energy": Target((), "eV", "energy", extensive=True),
    "forces": Target((3,), "eV/Angstrom", "energy", per_atom=True),
    "stress": Target((3, 3), "eV/Angstrom^3", "energy"),
    "dipole": Target((3,), "e Angstrom", "dipole", extensive=True),
    "charges": Target((), "e", "dipole", per_atom=True),
    "polarizability": Target((3, 3), "Angstrom^3", "polarizability", extensive=True),
    "pseudoscalar": Target((), "1", "pseudoscalar"),
}


@dataclass(frozen=True)
class Frame:
    """One structure with the labels it has.

    Attributes:
        atoms: without a calculator.
        labels: {target: array of the target's shape, (n, ...) per atom}, all finite.
        group: the frame's kind, "" where the file names none.
        place: file and number of the frame, for messages.
    """

    atoms: Atoms
    labels: dict[str, np.ndarray]
    group: str
    place: str


def read_frames(
    path: str | Path,
    keys: Mapping[str, str],
    *,
    optional: bool = False,
    group: str | None = None,
) -> list[Frame]:
    """Frames of any file that ASE reads, each with those of the named labels that it carries.

    A frame may lack any label. A label that is NaN or infinite is refused: it is a calculation
    that failed, not one that was not made.

    Args:
        path: the file.
        keys: {target: key in the file}, targets out of `TARGETS`. A key is searched among the
            results of a calculator (where ASE's readers put `energy`, `forces`, `stress`,
            `dipole` and others), the frame's own values and its arrays. Stress and polarizability
            come as 3 x 3, 9 numbers, or 6 in the order xx yy zz yz xz xy.
        optional: leave out keys that no frame has, as long as one is found.
        group: key of the frame's kind; None takes `group` or `config_type`, whichever it has.

    Returns:
        The frames in the file's order.

    Raises:
        InputError: no such file, unreadable, empty; an unknown target; a key found nowhere (the
            nearest in the file is named); with the frame's number: a label of the wrong shape or
            not finite, a tensor that is not symmetric, no atoms, an unknown element, positions or
            a cell that are not finite, a periodic cell without volume, overlapping atoms, a
            stress without a periodic cell, a charge that is not one finite number.
    """
    path = Path(path)
    check_keys(keys)
    frames: list[Frame] = []
    labelled: set[str] = set()
    known: set[str] = set()
    for k, atoms in enumerate(_read(path)):
        place = f"{path}: frame {k}"
        _check_atoms(atoms, place)
        values = _values(atoms)
        known |= set(values)
        labels = {}
        for target, key in keys.items():
            if key in values:
                labels[target] = _label(target, key, values[key], atoms, place)
        labelled |= set(labels)
        kind = atoms.info.get(group) if group else _kind(atoms)
        plain = atoms.copy()
        plain.calc = None
        frames.append(Frame(plain, labels, "" if kind is None else str(kind), place))
    if not frames:
        raise InputError(f"{path}: holds no frames")
    missing = [target for target in keys if target not in labelled]
    if missing and not (optional and labelled):
        raise InputError(f"{path}: {_not_found(missing[0], keys[missing[0]], known)}")
    if group and group not in known:
        raise InputError(f"{path}: no frame has the key {group!r} of its kind{_near(group, known)}")
    return frames


def check_keys(keys: Mapping[str, str]) -> None:
    """Refuse unknown targets, and keys that name another quantity.

    Args:
        keys: {target: key in the file}.

    Raises:
        InputError: with the nearest target named.
    """
    if not keys:
        raise InputError(f"keys: name at least one of {', '.join(TARGETS)} with its key")
    for target, key in keys.items():
        if target not in TARGETS:
            near = difflib.get_close_matches(target, TARGETS, n=1, cutoff=0.0)[0]
            raise InputError(f"unknown target {target!r}; did you mean {near!r}?")
        if target == "stress" and "virial" in key.lower():
            raise InputError(
                f"stress: {key!r} sounds like a virial; write the stress - virial / volume, "
                "eV/Angstrom^3, positive in tension"
            )


def elements_of(frames: Sequence[Frame]) -> tuple[int, ...]:
    """Atomic numbers that occur in the frames, ascending."""
    return tuple(sorted({int(z) for frame in frames for z in frame.atoms.numbers}))


def labelled_graphs(
    frames: Sequence[Frame],
    elements: Sequence[int],
    cutoff: float,
    targets: Collection[str],
    *,
    references: np.ndarray | None = None,
    dtype: torch.dtype = torch.float64,
) -> list[Data]:
    """Graphs with `target_energy` (1,), `target_forces` (n, 3), ...; NaN where a label is missing.

    Args:
        frames: labelled structures.
        elements: atomic numbers, ascending.
        cutoff: Angstrom, see `atom_graph`.
        targets: names of the labels to add.
        references: (elements,) eV, subtracted from the energies in float64: total energies of
            thousands of eV leave no digits to learn from in float32.
        dtype: of positions and labels.

    Raises:
        InputError: with the frame's number, see `atom_graph`; a dipole or charges of a charged
            periodic structure.
    """
    graphs = []
    for frame in frames:
        try:
            graph = atom_graph(frame.atoms, elements, cutoff, dtype)
        except InputError as error:
            raise InputError(f"{frame.place}: {error}") from None
        # A batch is asked for stress as a whole: a molecule's has no label, but must be a number.
        graph.volume = torch.where(graph.volume > 0, graph.volume, torch.ones_like(graph.volume))
        if graph.periodic and graph.charge:
            for name in ("dipole", "charges"):
                if name in frame.labels:
                    raise InputError(
                        f"{frame.place}: a charged periodic cell has no {name}; leave the label "
                        "out, or make the cell neutral"
                    )
            # A batch is asked for dipoles as a whole: here none is compared with a label.
            graph.charge = torch.zeros_like(graph.charge)
        for name in targets:
            target = TARGETS[name]
            shape = (len(frame.atoms) if target.per_atom else 1, *target.shape)
            value = frame.labels.get(name)
            label = np.full(shape, np.nan) if value is None else np.reshape(value, shape)
            if name == "energy" and references is not None:
                label = label - references[graph.species.numpy()].sum()
            graph[f"target_{name}"] = torch.tensor(label, dtype=dtype)
        graphs.append(graph)
    return graphs


def root_mean_square(frames: Sequence[Frame], target: str) -> float:
    """Root mean square of a label's components; 1 where there are none, or all are zero."""
    parts = [np.ravel(f.labels[target]) for f in frames if target in f.labels]
    size = float(np.sqrt(np.mean(np.concatenate(parts) ** 2))) if parts else 0.0
    return size if size > 0 else 1.0


def _read(path: Path) -> Iterator[Atoms]:
    if not path.is_file():
        raise InputError(f"{path}: no such file of labelled structures")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty")
    try:
        yield from iread(path, index=":")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not readable ({reason})") from None


def _values(atoms: Atoms) -> dict[str, Any]:
    """Everything a frame carries by name."""
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    return arrays | atoms.info | (atoms.calc.results if atoms.calc else {})


def _kind(atoms: Atoms) -> Any:
    return atoms.info.get("group", atoms.info.get("config_type"))


def _label(target: str, key: str, value: Any, atoms: Atoms, place: str) -> np.ndarray:
    what = f"{place}: {target} (key {key!r})"
    try:
        label = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{what} is not numeric") from None
    kind = TARGETS[target]
    shape = (len(atoms), *kind.shape) if kind.per_atom else kind.shape
    if kind.shape == (3, 3):
        if label.shape == (6,):
            label = voigt_6_to_full_3x3_stress(label)
        elif label.shape == (9,):
            label = label.reshape(3, 3)
    elif label.size == np.prod(shape) and label.ndim != len(shape):
        label = label.reshape(shape)
    if label.shape != shape:
        raise InputError(f"{what} has shape {label.shape}, not {shape}")
    if not np.isfinite(label).all():
        raise InputError(f"{what} is not finite; leave the key out where there is no label")
    if kind.shape == (3, 3):
        if np.abs(label - label.T).max() > 1e-2 * max(np.abs(label).max(), 1e-6):
            raise InputError(f"{what} is not symmetric")
        label = (label + label.T) / 2
    if target == "stress" and not atoms.pbc.all():
        raise InputError(f"{what} of a structure that is not periodic along all axes")
    return label


def _check_atoms(atoms: Atoms, place: str) -> None:
    if len(atoms) == 0:
        raise InputError(f"{place} has no atoms")
    if (atoms.numbers < 1).any():
        raise InputError(f"{place} has an atom of an unknown element ('X')")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise InputError(f"{place}: positions or cell are not finite")
    try:
        total_charge(atoms)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    edges = atoms.cell.array[atoms.pbc]
    if len(edges) and np.linalg.svd(edges, compute_uv=False).min() < 1e-3:
        raise InputError(f"{place}: the periodic cell has no volume")
    box = atoms.cell.complete().array if len(edges) else np.eye(3)
    i, j, d = NeighborList(cutoff=1.0, full_list=False).compute(
        points=atoms.positions, box=box, periodic=atoms.pbc.tolist(), quantities="ijd"
    )
    if len(d) and d.min() < CLOSEST:
        k = int(np.argmin(d))
        raise InputError(f"{place}: atoms {i[k]} and {j[k]} overlap ({d[k]:.3f} Angstrom apart)")


def _not_found(target: str, key: str, known: set[str]) -> str:
    return f"no frame has the key {key!r} of the {target}{_near(key, known)}"


def _near(key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)
    return f"; the nearest in the file is {near[0]!r}" if near else "; the file has no keys at all"
