"""Tables of independent jobs: a row for each, whether or not the others fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from objstress.errors import InputError
from objstress.io.files import check_writable, write_whole
from objstress.io.run_folder import check_same
from objstress.parallel import spread

TABLES = (".csv", ".parquet")
Row = dict[str, Any]


def check_table(out: Path) -> None:
    """Refuse a table that cannot be written, before the work.

    Args:
        out: the file, .csv or .parquet.

    Raises:
        InputError: another ending, no pyarrow for Parquet, or a folder that cannot be written to.
    """
    if out.suffix not in TABLES:
        raise InputError(f"{out}: give a file that ends in {' or '.join(TABLES)}")
    if out.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise InputError(
                "Parquet needs pyarrow (pip install pyarrow); or give a .csv"
            ) from None
    check_writable(out)


def collect_rows(
    task: Callable[..., Row],
    jobs: Iterable[tuple],
    out: Path,
    settings: dict[str, Any],
    *,
    unit: str,
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> tuple[list[Row], int]:
    """Run a task for each job and collect its row; an interrupted call can be resumed.

    Rows are appended to `<out>.partial` as they come. After an interruption, a call with the same
    settings runs the jobs whose names have no row yet. Call `remove_partial` once the rows are
    written elsewhere.

    Args:
        task: returns {"name", "error", ...}; the error is empty where there is none.
        jobs: the name and the other arguments of the task; names must differ.
        out: the table that the rows are for; only its name is used here.
        settings: plain numbers and texts on which the rows depend.
        unit: what is counted, for the progress bar.
        workers: parallel processes, see `spread`.
        scheduler: address of a running dask scheduler, see `spread`.
        progress: show a progress bar.

    Returns:
        The rows in the order of the jobs, and the number of them that an earlier call had done.

    Raises:
        InputError: a partial file of other settings, a name that is given twice, or no jobs.
    """
    partial = _partial(out)
    done = _read_partial(partial, settings)
    names: dict[str, None] = {}  # a set that keeps its order
    sent: list[str] = []

    def waiting() -> Iterator[tuple]:
        for job in jobs:
            name = job[0]
            if name in names:
                raise InputError(f"{name}: given twice")
            names[name] = None
            if name not in done:
                sent.append(name)
                yield job

    with (
        open(partial, "a") as file,
        tqdm(initial=len(done), desc=unit, disable=not progress) as bar,
        spread(task, workers, scheduler) as execute,
    ):
        if not file.tell():
            file.write(json.dumps(settings) + "\n")
        for k, result in execute(waiting()):
            row = result if isinstance(result, dict) else {"name": sent[k], "error": result}
            file.write(json.dumps(row) + "\n")
            file.flush()
            bar.update()
    rows = _read_partial(partial, settings)
    if not names:
        partial.unlink()
        raise InputError(f"no {unit} given")
    return [rows[name] for name in names], len(done)


def write_table(rows: list[Row], out: Path) -> None:
    """Write rows as a table, whole or not at all.

    Cells of a failed job are empty, and columns of whole numbers stay whole numbers.

    Args:
        rows: see `collect_rows`.
        out: the file, .csv or .parquet.
    """
    import pandas as pd

    table = pd.DataFrame(rows).convert_dtypes(convert_string=False)
    beside = out.with_name(out.name + ".new")
    if out.suffix == ".csv":
        table.to_csv(beside, index=False)
    else:
        table.to_parquet(beside, index=False)
    os.replace(beside, out)


def remove_partial(out: Path) -> None:
    """Remove the partial file of `collect_rows`, once the rows are written elsewhere.

    Args:
        out: the table that the rows are for.
    """
    _partial(out).unlink(missing_ok=True)


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _read_partial(path: Path, settings: dict[str, Any]) -> dict[str, Row]:
    """{name: row}; a line that an interruption cut off is removed from the file."""
    if not path.exists():
        return {}
    content = path.read_text()
    lines = content.splitlines(keepends=True)
    complete = lines[: len(lines) if content.endswith("\n") else -1]
    if not complete:
        path.unlink()
        return {}
    check_same(path, json.loads(complete[0]), settings, "finish it with those, or delete it")
    if complete != lines:
        write_whole(path, "".join(complete))
    rows = [json.loads(line) for line in complete[1:]]
    return {row["name"]: row for row in rows}
