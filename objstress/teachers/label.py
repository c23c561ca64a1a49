"""Labelled strains: a structure and a calculator in, an extxyz file with metadata out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.optimize import BFGS
from pymatgen.core import Structure
from tqdm import tqdm

from objstress.errors import InputError
from objstress.files import check_writable
from objstress.symmetry.crystal import primitive_cell, read_structure
from objstress.teachers.calculators import make_calculator
from objstress.teachers.strains import right_stretch, sample_strains

FORCE_TOLERANCE = 1e-3
"""eV/Angstrom: relaxed ions have no larger force component (calculators without own relaxation)."""


def label_strains(
    structure: Structure | Atoms | str | Path,
    calculator: str | Callable[[], Any] | GetPropertiesMixin,
    *,
    out: str | Path,
    samples: int = 300,
    max_strain: float = 0.08,
    ions: str = "relaxed",
    seed: int = 0,
    strains: np.ndarray | None = None,
    arguments: dict[str, Any] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> dict[str, Any]:
    """Label quasi-random strains of the primitive cell of `structure` and write them to `out`.

    Each frame of the extxyz carries energy (eV), stress (eV/Angstrom^3, positive in tension),
    forces and, as metadata, `deformation_gradient` F (symmetric: F = U), `ions` (relaxed or
    clamped), `calculator`, `reference_cell` (rows, Angstrom) and `strain_index`. The first frame
    is the reference itself, F = I.

    Labels are appended to `<out>.partial` as they come, which is renamed at the end; a call with
    the same settings after an interruption goes on where it stopped.

    Args:
        structure: a structure or its file; its primitive cell, symmetrised, is labelled.
        calculator: a name for `make_calculator`, an ASE calculator, or a function that makes one
            (one for each worker).
        samples, max_strain, seed: see `sample_strains`; or give `strains` (n, 3, 3) yourself.
        ions: "relaxed" (each cell's ions in equilibrium) or "clamped" (moved with the cell).
        arguments: keyword arguments of a calculator given by name.
        workers: threads, one calculator each; worth it for calculators that are programs.

    Returns:
        {"labels", "failed": [{"index", "reason"}], "resumed", "out"}

    Raises:
        InputError: bad arguments, no label at all, or a partial file of other settings.
    """
    out = Path(out)
    check_writable(out)
    if ions not in ("relaxed", "clamped"):
        raise InputError(f"ions = {ions!r}: give 'relaxed' or 'clamped'")
    cell = _atoms(primitive_cell(read_structure(structure)))
    if strains is None:
        strains = sample_strains(samples, max_strain, seed)
    strains = np.concatenate([np.zeros((1, 3, 3)), strains])
    make: Callable[[], Any]
    if isinstance(calculator, str):
        if calculator == "abinit":
            arguments = {"relax": ions == "relaxed"} | (arguments or {})
        make = partial(make_calculator, calculator, arguments)
    elif isinstance(calculator, GetPropertiesMixin):
        if workers > 1:
            raise InputError("several workers need several calculators: give a function or a name")
        instance = calculator
        make = lambda: instance  # noqa: E731
    else:
        make = calculator
    pool = [make() for _ in range(max(1, workers))]
    description = _describe(calculator, pool[0], arguments)
    pending = out.with_name(out.name + ".partial")
    header = dict(ions=ions, calculator=description, reference_cell=cell.cell.array)
    done = _read_partial(pending, strains, header)
    failed = []

    internal = _InternalDisplacement(cell, done)

    def task(index: int, calc):
        try:
            return _label(cell, strains[index], calc, ions, start=internal(strains[index]))
        except Exception as error:  # one strain must not take the rest with it
            # What a failed run left in its calculator must not spoil the next label.
            pool[pool.index(calc)] = make()
            return f"{type(error).__name__}: {' '.join(str(error).split())}"

    todo = [i for i in range(len(strains)) if i not in done]
    pending.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=len(strains), initial=len(done), desc="labels", disable=not progress)
    with bar, ThreadPoolExecutor(len(pool)) as executor:
        for index, result in _in_batches(executor, task, todo, pool):
            bar.update()
            if isinstance(result, str):
                failed.append({"index": index, "reason": result})
                bar.write(f"strain {index} left out: {result}", file=sys.stderr)
                continue
            result.info.update(header, strain_index=index)
            done[index] = result
            internal.learn(result)
            write(pending, result, format="extxyz", append=True)
    if not any(i > 0 for i in done):
        reason = failed[0]["reason"] if failed else "no strains given"
        pending.unlink(missing_ok=True)
        raise InputError(f"no strain could be labelled; the first failure was: {reason}")
    write(pending, [done[i] for i in sorted(done)], format="extxyz")
    os.replace(pending, out)
    return {
        "labels": len(done),
        "failed": failed,
        "resumed": len(strains) - len(todo),
        "out": str(out),
    }


def _in_batches(executor, task, todo: list[int], pool: list) -> Iterator[tuple[int, Any]]:
    # One batch per round of workers: a batch's ions start from all labels of the rounds before,
    # so a run with the same number of workers repeats itself, interrupted or not.
    for k in range(0, len(todo), len(pool)):
        batch = todo[k : k + len(pool)]
        yield from zip(batch, executor.map(task, batch, pool[: len(batch)]), strict=True)


def _describe(calculator, instance, arguments) -> str:
    if hasattr(instance, "describe"):
        return instance.describe()
    name = calculator if isinstance(calculator, str) else type(instance).__name__
    return name + (f" {json.dumps(arguments, sort_keys=True)}" if arguments else "")


def _atoms(structure: Structure) -> Atoms:
    return Atoms(
        numbers=[s.specie.Z for s in structure],
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
        pbc=True,
    )


class _InternalDisplacement:
    """Linear estimate u = Lambda : E of how ions leave the homogeneous deformation.

    Least squares over the labels made so far; starting from it halves the relaxation's steps.
    """

    def __init__(self, cell: Atoms, done: dict[int, Atoms]):
        self.cell = cell
        self.strains: list[np.ndarray] = []
        self.moves: list[np.ndarray] = []
        for atoms in done.values():
            self.learn(atoms)

    def learn(self, atoms: Atoms) -> None:
        f = atoms.info["deformation_gradient"]
        # Pulled back to the reference frame, relative to the mean (a rigid shift means nothing).
        move = atoms.positions @ np.linalg.inv(f).T - self.cell.positions
        self.moves.append((move - move.mean(axis=0)).ravel())
        self.strains.append((0.5 * (f.T @ f - np.eye(3))).ravel())

    def __call__(self, strain: np.ndarray) -> np.ndarray:
        if len(self.strains) < 2:
            return np.zeros_like(self.cell.positions)
        response, *_ = np.linalg.lstsq(np.array(self.strains), np.array(self.moves), rcond=1e-6)
        return (strain.ravel() @ response).reshape(-1, 3)


def _label(cell: Atoms, strain: np.ndarray, calc, ions: str, start: np.ndarray) -> Atoms:
    f = right_stretch(strain)
    atoms = cell.copy()
    if ions == "relaxed":
        atoms.positions = atoms.positions + start
    # Cells are rows: a_i -> F a_i is L F^T.
    atoms.set_cell(cell.cell.array @ f.T)
    atoms.positions = atoms.positions @ f.T
    atoms.calc = calc
    if ions == "relaxed" and not getattr(calc, "relaxes_ions", False) and len(atoms) > 1:
        steps = BFGS(atoms, logfile=None)
        if not steps.run(fmax=FORCE_TOLERANCE, steps=500):
            raise RuntimeError(f"the ions did not relax in 500 steps at |E| = {_norm(strain):.3f}")
    energy = atoms.get_potential_energy()
    results: dict[str, Any] = {
        "energy": float(energy),
        "forces": np.array(atoms.get_forces()),
        "stress": np.array(atoms.get_stress()),
    }
    for key, value in results.items():
        if not np.isfinite(value).all():
            raise RuntimeError(f"the calculator returned a {key} that is not finite")
    relaxed = Atoms(
        atoms.numbers,
        positions=calc.results.get("positions", atoms.positions),
        cell=atoms.cell,
        pbc=True,
    )
    relaxed.calc = SinglePointCalculator(relaxed, **results)
    relaxed.info["deformation_gradient"] = f
    return relaxed


def _norm(strain: np.ndarray) -> float:
    return float(np.sqrt((strain**2).sum()))


def _read_partial(pending: Path, strains: np.ndarray, header: dict) -> dict[int, Atoms]:
    if not pending.exists():
        return {}
    done = {}
    text = pending.read_text()
    frames = list(_whole_frames(text))
    for frame in frames:
        index = int(frame.info["strain_index"])
        same = (
            index < len(strains)
            and np.allclose(
                frame.info["deformation_gradient"], right_stretch(strains[index]), atol=1e-7
            )
            and frame.info["ions"] == header["ions"]
            and frame.info["calculator"] == header["calculator"]
            and np.allclose(frame.info["reference_cell"], header["reference_cell"], atol=1e-6)
        )
        if not same:
            raise InputError(
                f"{pending} was begun with other settings; finish it with those, or delete it"
            )
        done[index] = frame
    # What an interruption cut off is dropped before more is appended.
    if frames:
        write(pending, frames, format="extxyz")
    else:
        pending.unlink()
    return done


def _whole_frames(text: str) -> Iterator[Atoms]:
    lines = text.splitlines(keepends=True)
    k = 0
    while k < len(lines):
        try:
            size = int(lines[k]) + 2
            block = lines[k : k + size]
            if len(block) < size or not block[-1].endswith("\n"):
                return
            (frame,) = read(StringIO("".join(block)), index=":", format="extxyz")
        except Exception:
            return
        yield frame
        k += size
