"""Labelled strains: a structure and a calculator in, an extxyz file with metadata out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from ase.io import read, write
from pymatgen.core import Structure
from tqdm import tqdm

from objstress.calculators.registry import make_calculator
from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError, reason
from objstress.io.files import check_writable
from objstress.io.run_folder import check_same
from objstress.labels.strained_cell import (
    FORCE_TOLERANCE,
    LabelTask,
    internal_move,
)
from objstress.labels.strains import sample_strains
from objstress.parallel import spread
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_primitive_cell
from objstress.symmetry.voigt import to_mandel

REMEDY = "finish it with those, or delete it"
SCOUTS = 24
"""The first labels start from their ions' linear response, the others from a fit to these."""


class StrainLabels:
    """Labels of one crystal in the making: appended to `<out>.partial`, written by `finish`.

    Args:
        structure, calculator, out, ions, symprec, arguments, force_tolerance, workers, scheduler,
            progress: see `label_strains` (force_tolerance in eV/Angstrom, symprec in Angstrom).

    Attributes:
        reference, cell: the primitive reference cell, for pymatgen and for ASE.
        group: its point group.
        done: {index: labelled frame}; index 0 is the reference itself.
        failed: [{"index", "reason"}].
        source: the calculator and its arguments, as the frames name it.
        resumed: number of labels that an interrupted run left.
        pending: the partial file.

    Raises:
        InputError: see `label_strains`.
    """

    def __init__(
        self,
        structure: Structure | Atoms | str | Path,
        calculator: str | Callable[[], Any] | GetPropertiesMixin,
        out: str | Path,
        *,
        ions: str = "relaxed",
        symprec: float = SYMPREC,
        arguments: dict[str, Any] | None = None,
        force_tolerance: float = FORCE_TOLERANCE,
        workers: int = 1,
        scheduler: str | None = None,
        progress: bool = True,
    ):
        self.out = Path(out)
        check_writable(self.out)
        if ions not in ("relaxed", "clamped"):
            raise InputError(f"ions = {ions!r}: give 'relaxed' or 'clamped'")
        if workers < 1:
            raise InputError(f"workers = {workers}: give at least 1")
        if not force_tolerance > 0:
            raise InputError(f"force_tolerance = {force_tolerance}: give eV/Angstrom above 0")
        self.reference = read_primitive_cell(structure, symprec)
        self.group = PointGroup.of_primitive_cell(self.reference)
        self.cell = _atoms(self.reference)
        self.workers, self.scheduler, self.progress = workers, scheduler, progress
        if isinstance(calculator, str):
            if calculator == "abinit":
                arguments = {"relax": ions == "relaxed"} | (arguments or {})
            make: Callable[[], Any] = partial(make_calculator, calculator, arguments)
        elif isinstance(calculator, GetPropertiesMixin):
            if workers > 1 or scheduler:
                raise InputError(
                    "several workers need several calculators: give a function or a name"
                )
            make = partial(_same, calculator)
        else:
            make = calculator
        self._task = LabelTask(self.cell, make, ions, force_tolerance, uuid4().hex)
        self.source = _describe(calculator, self._task.calculator(), arguments)
        self._header: dict[str, Any] = dict(
            ions=ions,
            calculator=self.source,
            reference_cell=self.cell.cell.array,
        )
        if ions == "relaxed" and len(self.cell) > 1:
            self._header["force_tolerance"] = force_tolerance
        self.pending = self.out.with_name(self.out.name + ".partial")
        self.done = _read_partial(self.pending, self._header)
        self.resumed = len(self.done)
        self.failed: list[dict[str, Any]] = []
        self.pending.parent.mkdir(parents=True, exist_ok=True)

    def label(self, strains: np.ndarray) -> None:
        """Label the reference (strain 0, E = 0) and the strains, numbered from 1.

        Args:
            strains: E (n, 3, 3).

        Raises:
            InputError: the reference cannot be labelled, or the partial file has other strains.
        """
        strains = np.concatenate([np.zeros((1, 3, 3)), strains])
        for index, atoms in self.done.items():
            f = atoms.info["deformation_gradient"]
            asked = index < len(strains)
            if asked and not np.allclose(f, right_stretch(strains[index]), atol=1e-7):
                raise _other_strains(self.pending)
        known = set(self.done) | {f["index"] for f in self.failed}
        todo = [i for i in range(len(strains)) if i not in known]
        with (
            tqdm(
                total=len(strains),
                initial=len(strains) - len(todo),
                desc="labels",
                disable=not self.progress,
            ) as bar,
            spread(self._task, self.workers, self.scheduler) as execute,
        ):
            if self.workers == 1 and self.scheduler is None and self._task.batching:
                execute = self._task.batches
            # Scouts first: the start of every later relaxation depends on them alone, so labels
            # do not depend on the number of workers or on interruptions.
            stages = ([0], range(1, SCOUTS + 1), range(SCOUTS + 1, len(strains)))
            for stage in stages:
                jobs = [i for i in stage if i in todo]
                if not jobs:
                    continue
                if self._relaxes and self._task.harmonic is None:
                    self._prepare()
                scouts = [a for i, a in self.done.items() if 0 < i <= SCOUTS]
                starts = self._starts(strains[jobs], scouts if stage is stages[2] else [])
                arguments = list(zip(strains[jobs], starts, strict=True))
                for k, result in execute(arguments):
                    self._keep(jobs[k], result, bar)

    def _prepare(self) -> None:
        try:
            self._task.prepare(self.reference)
        except Exception as error:
            raise InputError(f"the crystal itself cannot be labelled: {reason(error)}") from None

    @property
    def _relaxes(self) -> bool:
        own = getattr(self._task.calculator(), "relaxes_ions", False)
        return self._header["ions"] == "relaxed" and len(self.cell) > 1 and not own

    def _starts(self, strains: np.ndarray, scouts: Sequence[Atoms]) -> np.ndarray:
        """Where relaxations start, (n, atoms, 3): to first order, or as the scouts went."""
        x, harmonic = to_mandel(strains), self._task.harmonic
        if harmonic is None:
            return np.zeros((len(x), len(self.cell), 3))
        starts = harmonic.moves(x)
        if scouts:
            f = np.array([a.info["deformation_gradient"] for a in scouts])
            moves = [internal_move(a, g, self.cell) for a, g in zip(scouts, f, strict=True)]
            known = to_mandel(0.5 * (f.transpose(0, 2, 1) @ f - np.eye(3)))
            starts += harmonic.curvature(known, np.array(moves), x)
        return starts

    def _keep(self, index: int, result: Atoms | str, bar: tqdm) -> None:
        bar.update()
        if isinstance(result, str):
            if index == 0:
                if not self.done:
                    self.pending.unlink(missing_ok=True)
                raise InputError(f"the crystal itself cannot be labelled: {result}")
            self.failed.append({"index": index, "reason": result})
            bar.write(f"strain {index} left out: {result}", file=sys.stderr)
            return
        result.info.update(self._header, strain_index=index)
        self.done[index] = result
        write(self.pending, result, format="extxyz", append=True)

    def frames(self, strains: int) -> list[Atoms]:
        """The reference and the labelled ones of the first strains, in order.

        Args:
            strains: number of the last strain.
        """
        return [self.done[i] for i in sorted(self.done) if i <= strains]

    def finish(self, strains: int, before: Sequence[Atoms] = ()) -> dict[str, Any]:
        """Write the labels to `out`, in order, and remove the partial file.

        Args:
            strains: number of the last strain that is written.
            before: frames that come first, instead of the label of the reference.

        Returns:
            See `label_strains`.

        Raises:
            InputError: no label but the reference.
        """
        if not any(i > 0 for i in self.done):
            reason = self.failed[0]["reason"] if self.failed else "no strains given"
            self.pending.unlink(missing_ok=True)
            raise InputError(f"no strain could be labelled; the first failure was: {reason}")
        wanted = self.frames(strains)
        if before:
            wanted = [*before, *wanted[1:]]
            for number, frame in enumerate(wanted):
                frame.info["strain_index"] = number
        _rewrite(self.out, wanted)
        self.pending.unlink()
        return {
            "labels": len(wanted),
            "ions": self._header["ions"],
            "failed": sorted(self.failed, key=lambda f: f["index"]),
            "resumed": self.resumed,
            "out": str(self.out),
        }


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
    symprec: float = SYMPREC,
    arguments: dict[str, Any] | None = None,
    force_tolerance: float = FORCE_TOLERANCE,
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Label strained primitive cells of a crystal with a calculator's energies and stresses.

    Each frame of the extxyz carries energy (eV), stress (eV/Angstrom^3, positive in tension) and,
    as metadata, `deformation_gradient` F (symmetric: F = U), `ions` (relaxed or clamped),
    `calculator`, `reference_cell` (rows, Angstrom) and `strain_index`; relaxed ones the
    `largest_force` that is left (eV/Angstrom), clamped ones all forces. The first frame
    is the reference itself, F = I. Relaxed cells that have become another phase (they do not
    return to the crystal when the strain is taken off) are reported and left out.

    Labels are appended to `<out>.partial` as they come; the same call resumes an interrupted run.

    Args:
        structure: a structure or its file; its primitive cell, symmetrised, is labelled.
        calculator: a name for `make_calculator`, an ASE calculator, or a function that makes one
            (one for each worker).
        out: the extxyz file.
        samples, max_strain, seed: see `sample_strains`, with the crystal's point group.
        strains: E (n, 3, 3) to label instead.
        ions: "relaxed" (each cell's ions in equilibrium) or "clamped" (moved with the cell).
        symprec: distance in Angstrom under which sites of the crystal are equivalent.
        arguments: keyword arguments of a calculator given by name.
        force_tolerance: eV/Angstrom, of relaxed ions.
        workers: 1 works in this process, more start a dask.distributed cluster of as many
            processes (a script then needs the usual `if __name__ == "__main__":`).
        scheduler: address of a running dask scheduler, whose workers are all used; None starts
            a cluster where it needs one.
        progress: show a bar on standard error.

    Returns:
        {"labels", "ions", "failed": [{"index", "reason"}], "resumed", "out"}

    Raises:
        InputError: invalid arguments, a crystal that the calculator refuses, no label at all, or a
            partial file of other settings.
    """
    run = StrainLabels(
        structure,
        calculator,
        out,
        ions=ions,
        symprec=symprec,
        arguments=arguments,
        force_tolerance=force_tolerance,
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    if strains is None:
        strains = sample_strains(samples, max_strain, seed, run.group)
    strains = np.asarray(strains, dtype=float)
    if strains.ndim != 3 or strains.shape[1:] != (3, 3):
        raise InputError(f"strains have shape {strains.shape}; give (n, 3, 3)")
    if not np.isfinite(strains).all() or np.linalg.eigvalsh(strains).min(initial=0) <= -0.5:
        raise InputError("a strain is not finite, or I + 2 E is not positive definite")
    if max(run.done, default=0) > len(strains):
        raise _other_strains(run.pending)
    run.label(strains)
    return run.finish(len(strains))


def _same(calculator: Any) -> Any:
    return calculator


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


def _read_partial(pending: Path, header: dict) -> dict[int, Atoms]:
    if not pending.exists():
        return {}
    frames = list(_whole_frames(pending.read_text()))
    names = ("ions", "calculator", "force_tolerance", "reference_cell")
    now: dict[str, Any] = {name: header.get(name) for name in names}
    for frame in frames:
        before: dict[str, Any] = {name: frame.info.get(name) for name in names}
        cell = before["reference_cell"]
        if cell is not None and np.allclose(cell, now["reference_cell"], atol=1e-6):
            before["reference_cell"] = now["reference_cell"]  # digits are lost on the way
        check_same(pending, before, now, REMEDY)
    # A frame that an interruption cut off is dropped before more are appended.
    if frames:
        _rewrite(pending, frames)
    else:
        pending.unlink()
    return {int(frame.info["strain_index"]): frame for frame in frames}


def _other_strains(pending: Path) -> InputError:
    return InputError(f"{pending}: started with other settings: strains; {REMEDY}")


def _rewrite(path: Path, frames: list[Atoms]) -> None:
    # Beside, then renamed: an interruption here must not cost the labels.
    beside = path.with_name(path.name + ".new")
    write(beside, frames, format="extxyz")
    os.replace(beside, path)


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
