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
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from pebble import ProcessExpired, ProcessPool

from objstress.errors import InputError
from objstress.service.problems import Problem
from objstress.service.remote import in_worker

DEFAULT_MODELS = ("emt", "stillinger-weber", "kumagai")
WORK = "objstress.service.work"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of the service, chosen by its operator.

    Attributes:
        models: names of calculators, or files of laws, potentials and tensor networks.
        workers: number of processes that compute, of one thread each.
        queue: number of requests that may wait for a worker; more are refused.
        timeout: seconds that one structure may take.
        max_atoms: largest number of atoms in a cell.
        max_body: largest size of a request, bytes.
        body_seconds: seconds within which a request's head, and then its body, has to arrive.
        memory: bytes that a worker may use in addition to those at its start.
        tasks: number of requests after which a worker is replaced.
        answers: number of answers that the cache keeps.
        hosts: names by which the service may be addressed; an empty tuple allows all.

    Raises:
        InputError: a number that is not positive, or no models.
    """

    models: tuple[str, ...] = DEFAULT_MODELS
    workers: int = 2
    queue: int = 32
    timeout: float = 60.0
    max_atoms: int = 100
    max_body: int = 256 * 1024
    body_seconds: float = 10.0
    memory: int = 2 * 1024**3
    tasks: int = 200
    answers: int = 256
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")

    def __post_init__(self) -> None:
        for name in ("workers", "queue", "timeout", "max_atoms", "max_body"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} = {getattr(self, name)}: give a positive number")
        if not self.models:
            raise InputError("give at least one model")


@dataclass(frozen=True)
class Job:
    """One request: the structure's text, its format, the model's name and the ions."""

    structure: str
    format: str
    model: str
    ions: str

    @property
    def key(self) -> str:
        parts = [self.structure, self.format, self.model, self.ions]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Jobs:
    """Runs requests in processes that can be killed.

    Workers are forked from a process that has imported everything and computed nothing, so that a
    killed worker is soon replaced. Equal requests are computed once.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.models: dict[str, dict[str, Any]] = {}
        self.done = self.failed = self.cached = 0
        self.stopping = False
        self._pool: ProcessPool | None = None
        self._answers: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._running: dict[str, asyncio.Task[tuple[str, str]]] = {}
        self._futures: set[Any] = set()
        self._seconds = 1.0

    @property
    def waiting(self) -> int:
        """Requests that no worker has yet."""
        return max(0, len(self._running) - self.settings.workers)

    @property
    def cache_size(self) -> int:
        return len(self._answers)

    def start(self) -> None:
        """Start the workers and load the models; does nothing if they run already.

        Raises:
            InputError: a model that cannot be loaded, or two of the same name.
        """
        if self._pool is not None:
            return
        for name in THREADS:  # read when the workers import numpy and torch
            os.environ.setdefault(name, "1")
        if sys.platform == "win32":
            context: Any = multiprocessing.get_context("spawn")
        else:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([WORK])
        self._pool = ProcessPool(
            max_workers=self.settings.workers,
            max_tasks=self.settings.tasks,
            initializer=in_worker,
            initargs=("begin", self.settings.memory),
            context=context,
        )
        rows, wrong = self._pool.schedule(in_worker, ("describe", self.settings.models)).result()
        names = [row["name"] for row in rows]
        if not wrong and len(set(names)) < len(names):
            wrong = f"two models of one name among {', '.join(names)}"
        if wrong:
            self.stop()
            raise InputError(wrong)
        self.models = {row["name"]: row for row in rows}

    def refuse_more(self) -> None:
        """Finish the running requests, refuse those that wait and new ones."""
        self.stopping = True
        for future in list(self._futures):
            if not future.running():
                future.cancel()

    def stop(self) -> None:
        """Kill the workers."""
        self.stopping = True
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()

    async def answer(self, job: Job) -> str:
        """The answer as JSON.

        Raises:
            Problem: an unknown model, a full queue, the time limit, a structure that is refused or
                crashes its worker.
        """
        if job.model not in self.models:
            raise Problem(
                "unknown-model",
                f"no model {job.model[:100]!r}: this service has {', '.join(self.models)}",
            )
        key = job.key
        if key in self._answers:
            self._answers.move_to_end(key)
            self.cached += 1
            return self._content(self._answers[key])
        task = self._running.get(key)
        if task is None:
            self._check_room()
            task = asyncio.create_task(self._run(key, job))
            self._running[key] = task
            task.add_done_callback(lambda t: self._ended(key, t))
        # A client that disconnects does not cancel the answer for the others.
        return self._content(await asyncio.shield(task))

    def _check_room(self) -> None:
        if self.stopping:
            raise Problem("stopping", "the service is stopping; ask again later")
        ahead, room = len(self._running), self.settings.workers + self.settings.queue
        if ahead >= room:
            seconds = math.ceil(ahead * self._seconds / self.settings.workers)
            after = str(min(max(seconds, 1), 120))
            raise Problem(
                "busy",
                f"{ahead} structures are being computed or wait; ask again in {after} s",
                {"Retry-After": after},
            )

    async def _run(self, key: str, job: Job) -> tuple[str, str]:
        assert self._pool is not None
        settings = self.settings
        model = self.models[job.model]["given"]
        call = ("compute", job.structure, job.format, model, job.ions, settings.max_atoms)
        future = self._pool.schedule(in_worker, call, timeout=settings.timeout)
        self._futures.add(future)
        started = time.monotonic()
        try:
            outcome = await asyncio.wrap_future(future)
        except TimeoutError:
            raise Problem(
                "too-slow", f"the structure took more than {settings.timeout:g} s"
            ) from None
        except ProcessExpired:
            raise Problem("crashed", "the structure crashed its worker; it has no result") from None
        except asyncio.CancelledError:
            raise Problem("stopping", "the service is stopping; ask again later") from None
        finally:
            self._futures.discard(future)
            share = settings.workers / max(1, len(self._running))
            self._seconds += 0.1 * ((time.monotonic() - started) * min(1.0, share) - self._seconds)
        if outcome[0] != "internal":
            self._answers[key] = outcome
            while len(self._answers) > settings.answers:
                self._answers.popitem(last=False)
        return outcome

    def _ended(self, key: str, task: asyncio.Task[tuple[str, str]]) -> None:
        del self._running[key]
        failed = task.cancelled() or task.exception() is not None or task.result()[0] != "answer"
        self.failed += failed
        self.done += not failed

    @staticmethod
    def _content(outcome: tuple[str, str]) -> str:
        kind, content = outcome
        if kind == "answer":
            return content
        if kind == "internal":
            raise Problem("internal", f"the service has failed with a {content}; see its log")
        raise Problem(kind, content)
