"""States of a run on disk, from which it goes on after whatever stopped it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.spatial import cKDTree

from objstress.errors import InputError
from objstress.io.files import check_writable, write_whole
from objstress.io.run_folder import check_same
from objstress.parallel import on_first_rank

if TYPE_CHECKING:
    from dolfinx import fem

    from objstress.fem.solve.record import StepRecord
    from objstress.fem.solve.static import StaticProblem

NEAR = 1e-9
"""How far, relative to the body's size, the places of the same node lie apart at most."""

SAME = 1e-8
"""How far, relative to the largest, numbers of the same state differ at most."""


class Checkpoint:
    """A folder with one file for each accepted state: `nodes.safetensors`, `00001.safetensors`, ...

    A file is written beside and renamed, so that it is there whole or not at all. The values of a
    state belong to places, not to ranks: a run may go on with another number of ranks. All ranks
    call each method, and all raise what one of them finds.

    Args:
        problem: whose states they are; it is as the run begins.
        folder: made if it is not there.
        steps, run: what the run was asked for; it goes on only if it is asked the same.

    Raises:
        InputError: the folder holds states of another body or beginning, or of a run asked
            otherwise; two nodes of the mesh are at one place.
    """

    def __init__(self, problem: StaticProblem, folder: str | Path, steps: int, **run: Any):
        self.problem, self.folder = problem, Path(folder)
        self.comm = problem.comm
        self.bs = problem.dim
        self.written = 0
        self._owned = problem.V.dofmap.index_map.size_local
        x = problem.V.tabulate_dof_coordinates()
        # An acceleration follows from the forces; without any it is round-off.
        self._begin = {k: f for k, f in problem.state().items() if k != "acceleration"}
        facts = {"steps": steps, "nodes": problem.V.dofmap.index_map.size_global, **run}
        nodes = self._gathered(x[: self._owned])
        path = self.folder / "nodes.safetensors"
        known = on_first_rank(self.comm, lambda: self._known(path, facts, nodes))
        places = self.comm.bcast(nodes) if known is None else known["x"]
        distance, self._number = cKDTree(places).query(x)
        far = float(distance.max(initial=0.0))
        if self.comm.allreduce(far, op=MPI.MAX) > NEAR * _extent(places):
            raise self._refusal("mesh")
        # On rank 0: the number of each node, one rank after the other.
        number = self._number[: self._owned, None].astype(np.float64)
        self._rows = self._gathered(number).astype(int).ravel()
        if known is None:
            arrays = {name: self._by_place(function) for name, function in self._begin.items()}
            content = _packed({"x": nodes, **arrays}, facts)
            on_first_rank(self.comm, lambda: write_whole(path, content))
            return
        for name, function in self._begin.items():
            change = function.x.array.reshape(-1, self.bs) - known[name][self._number]
            change = self.comm.allreduce(float(np.abs(change).max(initial=0.0)), op=MPI.MAX)
            if change > SAME * float(np.abs(known[name]).max()):
                raise self._refusal(f"{name} at the beginning")

    def _refusal(self, other: str) -> InputError:
        return InputError(
            f"{self.folder}: the states there are of another {other}; give another folder to "
            "begin anew"
        )

    def _known(
        self, path: Path, facts: dict[str, Any], nodes: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """What the run there began with, if there is one and it was asked the same."""
        # Places are known up to round-off, which would tell such nodes apart by chance.
        if len(cKDTree(nodes).query_pairs(2 * NEAR * _extent(nodes), output_type="ndarray")):
            raise InputError(
                "two nodes of the mesh are at one place, as those of a crack: states are kept by "
                "place, solve it without a checkpoint"
            )
        check_writable(path)
        if not path.is_file():
            return None
        arrays, known = _read(path)
        asked_before = {key: known.get(key) for key in facts}
        check_same(self.folder, asked_before, facts, "give another folder to begin anew")
        if missing := [name for name in ("x", *self._begin) if name not in arrays]:
            raise InputError(f"{path}: not a state of a run (no {missing[0]})")
        return arrays

    def _gathered(self, owned: np.ndarray) -> np.ndarray:
        """The rows of all ranks on rank 0, one rank after the other."""
        parts = self.comm.gather(np.ascontiguousarray(owned))
        return np.concatenate(parts) if parts is not None else np.zeros((0, owned.shape[1]))

    def _by_place(self, function: fem.Function) -> np.ndarray:
        """Its values on rank 0, in the order of the nodes that the run began with."""
        values = self._gathered(function.x.array.reshape(-1, self.bs)[: self._owned])
        ordered = np.empty_like(values)
        ordered[self._rows] = values
        return ordered

    def write(self, record: StepRecord, **march: Any) -> None:
        """Keep the problem's present state, what happened in its step, and how to go on."""
        # A time step balances the forces within it.
        self.problem._set_loads(record.load)
        noise = self.problem._noise()
        facts = march | {"record": asdict(record), "found": self._found(), "noise": noise}
        arrays = {name: self._by_place(f) for name, f in self.problem.state().items()}
        self.written += 1
        path = self._path(self.written)
        on_first_rank(self.comm, lambda: write_whole(path, _packed(arrays, facts)))

    def restore(self) -> Iterator[dict[str, Any]]:
        """State after state into the problem; yields what `write` was given for each.

        Raises:
            InputError: a file is spoilt, or its state is not one of this problem.
        """
        while True:
            path = self._path(self.written + 1)
            kept = on_first_rank(self.comm, partial(_read_if_there, path))
            if kept is None:
                return
            arrays, facts = kept
            try:
                for name, function in self.problem.state().items():
                    function.x.array.reshape(-1, self.bs)[:] = arrays[name][self._number]
                record = self.problem._record_type(**facts["record"])
                found, noise = facts["found"], facts["noise"]
            except (KeyError, TypeError, IndexError, ValueError) as error:
                raise InputError(f"{path}: not a state of a run ({error})") from None
            # First whether the law has an answer there on all ranks: alone, one would raise.
            if not self.problem._evaluate(tangent=True):
                raise self._refusal("law or other loads")
            self.problem._update_all(record.at)
            self._compare(record, found, noise)
            self.written += 1
            yield facts

    def _found(self) -> dict[str, float]:
        """What law, loads, density and prescribed displacements make of the present state."""
        problem = self.problem
        forces = problem._forces_of_state()
        u = problem.u.x.array
        prescribed = u.copy()
        for bc in problem._bcs:
            bc.set(prescribed)
        off, size = (float(np.abs(a).max(initial=0.0)) for a in (prescribed - u, u))
        return {
            "energy": problem._stored(),
            "kinetic": problem._kinetic(),
            "forces": float(forces.norm()),
            "free forces": problem._force_norm(forces),
            "off": self.comm.allreduce(off, op=MPI.MAX),
            "size": self.comm.allreduce(size, op=MPI.MAX),
        }

    def _compare(self, record: StepRecord, kept: dict[str, float], noise: float) -> None:
        """Refuse a state that this problem would not have come to.

        Args:
            noise: round-off of the forces, see `StaticProblem._noise`. Without strains nothing
                else is left of them and of the energy.
        """
        problem, now = self.problem, self._found()
        energy = max(abs(record.energy), kept["kinetic"])
        force = max(kept["forces"], *record.residuals)
        edge = problem._edge * problem.V.dofmap.index_map.size_global**0.5
        allowed = {
            "energy": SAME * energy + 100 * noise * edge,
            "kinetic": SAME * energy,
            "forces": SAME * force + 100 * noise,
            "free forces": SAME * force + 100 * noise,
            "off": SAME * kept["size"],
        }
        for name, most in allowed.items():
            # Also where one of them is NaN.
            if not abs(now[name] - kept[name]) <= most:
                raise self._refusal("law or other loads")

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"


def _extent(places: np.ndarray) -> float:
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
