"""States of a run on disk, from which it resumes after whatever stopped it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.spatial import cKDTree

from objstress.errors import InputError
from objstress.fem.solve.protocol import Steppable
from objstress.fem.solve.record import StepRecord
from objstress.io.files import check_writable, write_whole
from objstress.io.run_folder import check_same
from objstress.laws.outside import OUTSIDE
from objstress.parallel import on_first_rank

NEAR = 1e-9
"""How far, relative to the body's size, the places of the same node lie apart at most."""

SAME = 1e-8
"""How far, relative to the largest, numbers of the same state differ at most."""

ALWAYS = {"begin": 0.0, "end": 1.0, "largest": 1.0}
"""What settings that are kept today were in runs of 0.1."""

REMEDY = "give another folder to start over"


class Places:
    """The nodes of a space, known by where they are: ranks may number them as they like.

    Args:
        V: of any block size; two of its nodes are never at one place.

    Attributes:
        nodes: where they are, (n, 3); of all ranks on rank 0.
    """

    def __init__(self, V: fem.FunctionSpace):
        self.V, self.comm = V, V.mesh.comm
        self.width = V.dofmap.index_map_bs
        self._owned = V.dofmap.index_map.size_local
        self._local = V.tabulate_dof_coordinates()
        self.nodes = self._gathered(self._local[: self._owned])

    def adopt(self, places: np.ndarray) -> bool:
        """Number the nodes as these places are; False if they are others."""
        distance, self._number = cKDTree(places).query(self._local)
        far = float(distance.max(initial=0.0))
        if self.comm.allreduce(far, op=MPI.MAX) > NEAR * extent(places):
            return False
        # On rank 0: the number of each node, one rank after the other.
        number = self._number[: self._owned, None].astype(np.float64)
        self._rows = self._gathered(number).astype(int).ravel()
        return True

    def _gathered(self, owned: np.ndarray) -> np.ndarray:
        """The rows of all ranks on rank 0, one rank after the other."""
        parts = self.comm.gather(np.ascontiguousarray(owned))
        return np.concatenate(parts) if parts is not None else np.zeros((0, owned.shape[1]))

    def read(self, function: fem.Function) -> np.ndarray:
        """Its values on rank 0 in the adopted order, (n, width)."""
        values = self._gathered(function.x.array.reshape(-1, self.width)[: self._owned])
        ordered = np.empty_like(values)
        ordered[self._rows] = values
        return ordered

    def fill(self, function: fem.Function, values: np.ndarray) -> None:
        """The values (n, width) of all ranks into the function, ghosts included."""
        function.x.array.reshape(-1, self.width)[:] = values[self._number]

    def gap(self, function: fem.Function, values: np.ndarray) -> float:
        """The largest difference between the function and these values, over all ranks."""
        change = function.x.array.reshape(-1, self.width) - values[self._number]
        return self.comm.allreduce(float(np.abs(change).max(initial=0.0)), op=MPI.MAX)


class Checkpoint:
    """A folder with one file for each accepted state: `nodes.safetensors`, `00001.safetensors`, ...

    A file is written beside and renamed, so that it is there as a whole or not at all. The values
    of a state belong to places, not to ranks: a run may resume on another number of ranks. Fields
    of several spaces keep their own places: `x` those of the first field, `x of NAME` those of the
    field NAME and of those that share its space. All ranks call each method, and all raise what
    one of them raises.

    Args:
        problem: whose states they are; at the beginning of the run.
        folder: made if it is missing.
        steps, run: settings of the run, which must be the same where it resumes.

    Raises:
        InputError: the folder holds states of another body or beginning, or of a run with other
            settings; two nodes of the mesh are at one place.
    """

    def __init__(self, problem: Steppable, folder: str | Path, steps: int, **run: Any):
        self.problem, self.folder = problem, Path(folder)
        self.comm = problem.comm
        self.written = 0
        self._places: dict[str, Places] = {}
        self._space_of = {name: self._space(name, f) for name, f in problem.state().items()}
        initial = problem.initial()
        facts = {"steps": steps, **self._sizes(), **run}
        path = self.folder / "nodes.safetensors"
        known = on_first_rank(self.comm, lambda: self._known(path, facts, list(initial)))
        for key, space in self._places.items():
            if not space.adopt(known[key] if known else self.comm.bcast(space.nodes)):
                raise self._refusal("mesh")
        if known is None:
            nodes = {key: space.nodes for key, space in self._places.items()}
            arrays = {name: self._of(name).read(f) for name, f in initial.items()}
            content = _packed(nodes | arrays, facts)
            on_first_rank(self.comm, lambda: write_whole(path, content))
            return
        for name, function in initial.items():
            if self._of(name).gap(function, known[name]) > SAME * float(np.abs(known[name]).max()):
                raise self._refusal(f"{name} at the beginning")

    def _space(self, name: str, function: fem.Function) -> str:
        """The key of the field's space in `nodes.safetensors`."""
        for key, space in self._places.items():
            if function.function_space == space.V:
                return key
        key = f"x of {name}" if self._places else "x"
        self._places[key] = Places(function.function_space)
        return key

    def _of(self, name: str) -> Places:
        return self._places[self._space_of[name]]

    def _sizes(self) -> dict[str, int]:
        return {
            key.replace("x", "nodes", 1): space.V.dofmap.index_map.size_global
            for key, space in self._places.items()
        }

    def _refusal(self, other: str) -> InputError:
        return InputError(f"{self.folder}: its states belong to another {other}; {REMEDY}")

    def _known(
        self, path: Path, facts: dict[str, Any], initial: list[str]
    ) -> dict[str, np.ndarray] | None:
        """What the run in the folder began with, if there is one and it has the same settings."""
        # Places are known up to round-off, which would tell such nodes apart by chance.
        for space in self._places.values():
            tree = cKDTree(space.nodes)
            if len(tree.query_pairs(2 * NEAR * extent(space.nodes), output_type="ndarray")):
                raise InputError(
                    "two nodes of the mesh are at one place, as those of a crack: states are kept "
                    "by place, solve it without a checkpoint"
                )
        check_writable(path)
        if not path.is_file():
            return None
        arrays, known = _read(path)
        # What a run of 0.1 did not keep was as here, or cannot be told.
        before = {key: known.get(key, ALWAYS.get(key, now)) for key, now in facts.items()}
        check_same(self.folder, before, facts, REMEDY)
        if missing := [name for name in (*self._places, *initial) if name not in arrays]:
            raise InputError(f"{path}: not a state of a run (no {missing[0]})")
        return arrays

    def write(self, record: StepRecord, **march: Any) -> None:
        """Keep the problem's present state, the record of its step, and how to resume."""
        # A time step balances the forces within it.
        self.problem.apply_load(record.load)
        noise = self.problem.noise()
        facts = march | {"record": asdict(record), "found": self.problem.balance(), "noise": noise}
        arrays = {name: self._of(name).read(f) for name, f in self.problem.state().items()}
        if record.outside:
            arrays[OUTSIDE] = self.problem.strains_outside()
        self.written += 1
        path = self._path(self.written)
        on_first_rank(self.comm, lambda: write_whole(path, _packed(arrays, facts)))

    def restore(self) -> Iterator[dict[str, Any]]:
        """State after state into the problem; yields what `write` kept of each beside it.

        Raises:
            InputError: a file is damaged, or its state belongs to another problem.
        """
        problem = self.problem
        while True:
            path = self._path(self.written + 1)
            kept = on_first_rank(self.comm, partial(_read_if_there, path))
            if kept is None:
                return
            arrays, facts = kept
            try:
                for name, function in problem.state().items():
                    self._of(name).fill(function, arrays[name])
                record = problem.record_type(**facts["record"])
                balance, noise = facts["found"], facts["noise"]
            except (KeyError, TypeError, IndexError, ValueError) as error:
                raise InputError(f"{path}: not a state of a run ({error})") from None
            # First whether the law has an answer there on all ranks: alone, one would raise.
            if not problem.evaluate():
                raise self._refusal("law or other loads")
            problem.settle(record.at)
            if not problem.is_in_balance(balance, record, noise):
                raise self._refusal("law or other loads")
            self.written += 1
            yield facts

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"


def extent(places: np.ndarray) -> float:
    """The longest edge of the box around places (n, 3)."""
    return float(np.ptp(places, axis=0).max())


def _packed(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> bytes:
    return save(arrays, metadata={"facts": json.dumps(facts)})


def _read_if_there(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    return _read(path) if path.is_file() else None


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, json.loads(file.metadata()["facts"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a state of a run ({error})") from None
