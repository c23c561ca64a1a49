"""Independent jobs in this process or by dask.distributed, and the ranks of MPI."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

from objstress.errors import InputError

__all__ = ["all_arrive", "on_every_rank", "on_first_rank", "spread"]

AHEAD = 8
"""Jobs sent to each core in advance: enough to keep it busy, few enough to fit in memory."""

Execute = Callable[[Iterable[tuple]], Iterator[tuple[int, Any]]]


@contextmanager
def spread(task: Callable[..., Any], workers: int, scheduler: str | None) -> Iterator[Execute]:
    """A context that gives a function which runs `task(*job)` for each of many jobs.

    The function takes the jobs and yields (number of the job, result) as they end. The result of a
    job whose process died is the text "its worker died: ...".

    Args:
        task: must not raise; picklable, if there are several workers.
        workers: 1 works in this process, more start as many processes of one thread (a script then
            needs the usual `if __name__ == "__main__":`).
        scheduler: address of a running dask scheduler, all of whose workers are used instead.

    Raises:
        InputError: fewer than one worker, or no scheduler that answers.
    """
    if workers < 1:
        raise InputError(f"workers = {workers}: give at least 1")
    if workers == 1 and scheduler is None:
        yield lambda jobs: ((k, task(*job)) for k, job in enumerate(jobs))
        return
    import dask
    from dask.distributed import Client, LocalCluster, as_completed

    def execute(jobs: Iterable[tuple]) -> Iterator[tuple[int, Any]]:
        waiting = enumerate(jobs)
        sent: dict[Any, tuple[int, tuple]] = {}
        suspects: list[tuple[int, tuple]] = []

        def send(count: int) -> list[Any]:
            new = {client.submit(task, *job[1], pure=False): job for job in islice(waiting, count)}
            sent.update(new)
            return list(new)

        running = as_completed(send(AHEAD * max(1, sum(client.ncores().values()))))
        for future in running:
            number, job = sent.pop(future)
            if future.exception() is None:
                yield number, future.result()
            else:
                suspects.append((number, job))
            running.update(send(1))
        # dask blames all jobs that waited at a worker for its death: alone, each shows what it is.
        for number, job in suspects:
            future = client.submit(task, *job, pure=False)
            error = future.exception()
            yield number, future.result() if error is None else f"its worker died: {error}"

    cluster = None
    try:
        if scheduler is None:
            settings = {
                # Profiles of the last hour would take memory in each worker.
                "distributed.worker.profile.enabled": False,
                # The first death of its worker makes a job a suspect: `execute` tries it again.
                "distributed.scheduler.allowed-failures": 0,
            }
            with dask.config.set(settings):
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=None,
                    memory_limit=0,
                    silence_logs=logging.ERROR,
                )
        try:
            client = Client(scheduler or cluster, timeout=10)
            client.wait_for_workers(1, timeout=60)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"no dask scheduler with workers answers at {scheduler}: {error}"
            ) from None
        with client:
            yield execute
    finally:
        if cluster is not None:
            cluster.close()


def on_first_rank[T](comm: Any, do: Callable[[], T]) -> T:
    """Call a function on rank 0 and return its result on all ranks.

    Args:
        comm: MPI communicator.
        do: the function.

    Raises:
        InputError: on all ranks, where the function raised one or an OSError: the others would wait
            for ever for a rank that failed alone.
    """
    result, refusal, cause = None, "", None
    if comm.rank == 0:
        try:
            result = do()
        except (InputError, OSError) as error:
            refusal, cause = str(error) or type(error).__name__, error
    result, refusal = comm.bcast((result, refusal))
    if refusal:
        raise InputError(refusal) from cause
    return result


def on_every_rank[T](comm: Any, do: Callable[[], T]) -> T:
    """Call a function on each rank and return its result there.

    Args:
        comm: MPI communicator.
        do: the function.

    Raises:
        InputError: on all ranks, where the function raised one on any, with the text of the first.
    """
    result, refusal = None, ""
    try:
        result = do()
    except InputError as error:
        refusal = str(error) or type(error).__name__
    refusals = [each for each in comm.allgather(refusal) if each]
    if refusals:
        raise InputError(refusals[0])
    return cast(T, result)


def all_arrive(comm: Any, seconds: float = 5.0) -> bool:
    """Whether all ranks call this in time, so that one that failed alone need not wait for ever.

    Args:
        comm: MPI communicator.
        seconds: to wait for the others.
    """
    request, begun = comm.Ibarrier(), time.monotonic()
    while not request.Test():
        if time.monotonic() - begun > seconds:
            return False
        time.sleep(0.01)
    return True
