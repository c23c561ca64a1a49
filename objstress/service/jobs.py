"""The workers, their bounded queue, and a small cache of their answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from objstress.errors import InputError
from objstress.service.answers import Answers, default_folder
from objstress.service.problems import Problem
from objstress.service.reading import Reading
from objstress.service.remote import in_worker

WORK = "objstress.service.work"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
READING = 20.0
"""Seconds that a text may take to be read."""


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of the service, chosen by its operator.

    Attributes:
        models: names of calculators, or files of laws, potentials and tensor networks; none
            takes the best universal potential that is installed.
        workers: number of processes that compute, of one thread each.
        queue: number of requests that may wait for a worker; more are refused.
        timeout: seconds that one structure may take; one that is expected to take longer is
            refused at once.
        max_atoms: largest number of atoms in a cell as it is given.
        max_body: largest size of a request, bytes.
        body_seconds: seconds within which a request's head, and then its body, has to arrive.
        memory: bytes that a worker may use in addition to those at its start.
        tasks: number of requests after which a worker is replaced.
        answers: number of answers that the cache keeps.
        cache: folder of these answers.
        hosts: names by which the service may be addressed; an empty tuple allows all.

    Raises:
        InputError: a number that is not positive.
    """

    models: tuple[str, ...] = ()
    workers: int = 2
    queue: int = 32
    timeout: float = 600.0
    max_atoms: int = 1000
    max_body: int = 256 * 1024
    body_seconds: float = 10.0
    memory: int = 2 * 1024**3
    tasks: int = 200
    answers: int = 4096
    cache: Path = field(default_factory=default_folder)
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")

    def __post_init__(self) -> None:
        for name in ("workers", "queue", "timeout", "max_atoms", "max_body", "answers"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} = {getattr(self, name)}: give a positive number")


@dataclass(frozen=True)
class Job:
    """One request: the structure's text, its format, the model's name (or none) and the ions."""

    structure: str
    format: str
    model: str | None
    ions: str


class Jobs:
    """Runs requests in processes that can be killed.

    Workers are forked from a process that has imported everything and computed nothing. A text is
    read by a process of its own, so that cached answers and refusals wait for no computed one.
    Equal requests are computed once.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.models: dict[str, dict[str, Any]] = {}
        self.done = self.failed = self.cached = 0
        self.stopping = False
        self._pools: list[ProcessPool] = []
        self._answers = Answers(settings.cache, settings.answers)
        self._reading: dict[Any, asyncio.Task[Any]] = {}
        self._running: dict[Any, asyncio.Task[Any]] = {}
        self._futures: set[Any] = set()
        self._seconds = 1.0

    @property
    def waiting(self) -> int:
        """Requests that no worker has yet."""
        return max(0, len(self._running) - self.settings.workers)

    def start(self) -> None:
        """Start the workers and load the models; does nothing if they run already.

        Raises:
            InputError: a model that cannot be loaded, or two of the same name; no model given and
                no universal potential installed.
        """
        if self._pools:
            return
        for name in THREADS:  # read when the workers import numpy and torch
            os.environ.setdefault(name, "1")
        settings = self.settings
        reader = self._pool(1)
        models, wrong = settings.models, ""
        if not models:
            models, wrong = reader.schedule(in_worker, ("default_models",)).result()
        if not wrong:
            workers = self._pool(settings.workers, models)
            rows, wrong = workers.schedule(in_worker, ("describe", models)).result()
            names = [row["name"] for row in rows]
            if not wrong and len(set(names)) < len(names):
                wrong = f"two models of one name among {', '.join(names)}"
        if wrong:
            self.stop()
            raise InputError(wrong)
        self.models = {row["name"]: row for row in rows}

    def _pool(self, workers: int, models: tuple[str, ...] = ()) -> ProcessPool:
        if sys.platform == "win32":
            context: Any = multiprocessing.get_context("spawn")
        else:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([WORK])
        pool = ProcessPool(
            max_workers=workers,
            max_tasks=self.settings.tasks,
            initializer=in_worker,
            initargs=("begin", self.settings.memory, models),
            context=context,
        )
        self._pools.append(pool)
        return pool

    def refuse_more(self) -> None:
        """Finish the running requests, refuse those that wait and new ones."""
        self.stopping = True
        for future in list(self._futures):
            if not future.running():
                future.cancel()

    def stop(self) -> None:
        """Kill the workers."""
        self.stopping = True
        for pool in self._pools:
            pool.stop()
            pool.join()

    async def answer(self, job: Job) -> tuple[str, bool]:
        """The answer as JSON, and whether it was in the cache.

        Raises:
            Problem: an unknown model, a full queue, a structure that is refused, would take or
                takes too long, or crashes its worker.
        """
        if job.model is not None and job.model not in self.models:
            raise Problem(
                "unknown-model",
                f"no model {job.model[:100]!r}: this service has {', '.join(self.models)}",
            )
        text = (job.structure, job.format)
        reading = await self._shared(self._reading, text, lambda: self._read(job))
        model = self.models[job.model or self._choose(reading)]
        told = [version("objstress"), model["name"], model["version"], job.ions, reading.crystal]
        key = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        kept = await asyncio.to_thread(self._answers.find, key)
        if kept is not None:
            self.cached += 1
            return kept, True
        self._check_cost(model, reading)
        compute = lambda: self._compute(job, model["given"], key)  # noqa: E731
        return await self._shared(self._running, key, compute), False

    def _choose(self, reading: Reading) -> str:
        """The first model that knows the elements, universal potentials before others."""
        for row in sorted(self.models.values(), key=lambda row: not row["universal"]):
            if row["elements"] is None or set(reading.elements) <= set(row["elements"]):
                return row["name"]
        self.failed += 1
        raise Problem(
            "refused",
            f"no model for {' and '.join(reading.elements)}: this service has "
            f"{', '.join(self.models)}",
        )

    def _check_cost(self, model: dict[str, Any], reading: Reading) -> None:
        if model["seconds"] is None:
            return
        fixed, atom = model["seconds"]
        seconds = reading.evaluations * (fixed + atom * reading.atoms)
        if seconds > self.settings.timeout:
            self.failed += 1
            raise Problem(
                "too-costly",
                f"about {seconds:.0f} s by {model['name']} ({reading.atoms} atoms in the primitive "
                f"cell, {reading.evaluations} evaluations), this service allows "
                f"{self.settings.timeout:g} s: its operator may raise --timeout",
            )

    async def _shared(
        self, table: dict[Any, Any], key: Any, start: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        """The result of the task under a key, which is started if there is none."""
        task = table.get(key)
        if task is None:
            self._check_room(table)
            task = table[key] = asyncio.create_task(start())
            task.add_done_callback(lambda t: self._ended(table, key, t))
        # A client that disconnects does not cancel the answer for the others.
        return await asyncio.shield(task)

    def _check_room(self, table: dict[Any, Any]) -> None:
        if self.stopping:
            raise Problem("stopping", "the service is stopping; ask again later")
        ahead, room = len(table), self.settings.workers + self.settings.queue
        if ahead >= room:
            seconds = math.ceil(ahead * self._seconds / self.settings.workers)
            after = str(min(max(seconds, 1), 120))
            raise Problem(
                "busy",
                f"{ahead} structures are being computed or wait; ask again in {after} s",
                {"Retry-After": after},
            )

    async def _read(self, job: Job) -> Reading:
        call = ("read", job.structure, job.format, self.settings.max_atoms)
        return await self._result(self._pools[0], call, READING)

    async def _compute(self, job: Job, model: str, key: str) -> str:
        settings, started = self.settings, time.monotonic()
        call = ("compute", job.structure, job.format, model, job.ions, settings.max_atoms)
        try:
            content = await self._result(self._pools[1], call, settings.timeout)
        finally:
            share = settings.workers / max(1, len(self._running))
            self._seconds += 0.1 * ((time.monotonic() - started) * min(1.0, share) - self._seconds)
        await asyncio.to_thread(self._answers.keep, key, content)
        return content

    async def _result(self, pool: ProcessPool, call: tuple[Any, ...], timeout: float) -> Any:
        future = pool.schedule(in_worker, call, timeout=timeout)
        self._futures.add(future)
        try:
            kind, content = await asyncio.wrap_future(future)
        except TimeoutError:
            raise Problem("too-slow", f"the structure took more than {timeout:g} s") from None
        except ProcessExpired:
            raise Problem("crashed", "the structure crashed its worker; it has no result") from None
        except asyncio.CancelledError:
            raise Problem("stopping", "the service is stopping; ask again later") from None
        finally:
            self._futures.discard(future)
        if kind == "internal":
            raise Problem("internal", f"the service has failed with a {content}; see its log")
        if kind == "refused":
            raise Problem("refused", content)
        return content

    def _ended(self, table: dict[Any, Any], key: Any, task: asyncio.Task[Any]) -> None:
        del table[key]
        failed = task.cancelled() or task.exception() is not None
        self.failed += failed
        self.done += table is self._running and not failed
