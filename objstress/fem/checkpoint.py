"""States of a run on disk, from which it goes on after whatever stopped it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.spatial import cKDTree

from objstress.errors import InputError
from objstress.files import check_writable, write_whole

if TYPE_CHECKING:
    from objstress.fem.problem import StaticProblem, StepRecord


class Checkpoint:
    """A folder with one file for each accepted state: `nodes.safetensors`, `00001.safetensors`, ...

    A file is written beside and renamed, so that it is there whole or not at all. The values of a
    state belong to places, not to ranks: a run may go on with another number of ranks.

    Args:
        problem: whose states they are.
        folder: made if it is not there.
        steps, run: what the run was asked for; it goes on only if it is asked the same.

    Raises:
        InputError: the folder holds states of another body, or of a run asked otherwise.
    """

    def __init__(self, problem: StaticProblem, folder: str | Path, steps: int, **run: Any):
        self.problem, self.folder = problem, Path(folder)
        self.comm = problem.comm
        self.bs = problem.dim
        self.written = 0
        self._owned = problem.V.dofmap.index_map.size_local
        x = problem.V.tabulate_dof_coordinates()
        facts = {"steps": steps, "nodes": problem.V.dofmap.index_map.size_global, **run}
        nodes = self._gathered(x[: self._owned])
        path = self.folder / "nodes.safetensors"
        refusal = ""
        if self.comm.rank == 0:
            try:
                self._begin(path, nodes, facts)
            except InputError as error:
                refusal = str(error)
        refusal = self.comm.bcast(refusal)
        if refusal:
            raise InputError(refusal)
        self._places = self.comm.bcast(_read(path)[0]["x"] if self.comm.rank == 0 else None)
        distance, self._number = cKDTree(self._places).query(x)
        far = float(distance.max(initial=0.0))
        if self.comm.allreduce(far, op=MPI.MAX) > 1e-9 * float(np.ptp(self._places, axis=0).max()):
            raise InputError(f"{self.folder}: the states there are of another mesh")

    def _begin(self, path: Path, nodes: np.ndarray, facts: dict[str, Any]) -> None:
        check_writable(path)
        if path.is_file():
            known = _read(path)[1]
            for key, value in facts.items():
                if known.get(key) != value:
                    raise InputError(
                        f"{self.folder}: the run there has {known.get(key)} {key}, this one "
                        f"{value}; give another folder to begin anew"
                    )
            return
        write_whole(path, _packed({"x": nodes}, facts))

    def _gathered(self, owned: np.ndarray) -> np.ndarray:
        """The rows of all ranks on rank 0, one rank after the other."""
        parts = self.comm.gather(np.ascontiguousarray(owned))
        return np.concatenate(parts) if parts is not None else np.zeros((0, owned.shape[1]))

    def write(self, record: StepRecord, **march: Any) -> None:
        """Keep the problem's present state, what happened in its step, and how to go on."""
        number = self._number[: self._owned]
        rows = self._gathered(number[:, None].astype(np.float64)).astype(int).ravel()
        arrays = {}
        for name, function in self.problem.state().items():
            values = self._gathered(function.x.array.reshape(-1, self.bs)[: self._owned])
            arrays[name] = np.empty_like(values)
            arrays[name][rows] = values
        self.written += 1
        if self.comm.rank == 0:
            facts = march | {"record": asdict(record)}
            write_whole(self._path(self.written), _packed(arrays, facts))
        self.comm.barrier()

    def restore(self) -> Iterator[dict[str, Any]]:
        """State after state into the problem; yields what `write` was given for each."""
        while True:
            path = self._path(self.written + 1)
            found = None
            if self.comm.rank == 0 and path.is_file():
                found = _read(path)
            found = self.comm.bcast(found)
            if found is None:
                return
            arrays, facts = found
            for name, function in self.problem.state().items():
                function.x.array.reshape(-1, self.bs)[:] = arrays[name][self._number]
            self.written += 1
            yield facts

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"


def _packed(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> bytes:
    return save(arrays, metadata={"facts": json.dumps(facts)})


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, json.loads(file.metadata()["facts"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a state of a run ({error})") from None
