"""A row for each of many independent jobs, whatever happens to the others, and a table of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from objstress.errors import InputError
from objstress.io.files import check_writable, write_whole
from objstress.io.run_folder import check_same
from objstress.parallel import spread

TABLES = (".csv", ".parquet")
Row = dict[str, Any]


def check_table(out: Path) -> None:
    """
    Raises:
        InputError: a table of another kind than `TABLES`, no pyarrow for Parquet, a folder that
            cannot be written to.
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


def reason(error: Exception) -> str:
    """Of a row that failed, in one line; what is no refusal of ours is named by its type."""
    kind = "" if isinstance(error, InputError) else type(error).__name__ + ": "
    return kind + " ".join(str(error).split())


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
    """`task(*job)` of each job, in the order given, and how many an earlier run had done.

    Rows are appended to `<out>.partial` as they come; a call with the same settings after an
    interruption goes on with the jobs whose names have no row yet. `remove_partial` when the rows
    are written elsewhere.

    Args:
        task: gives {"name", "error", ...}; an empty error where there is none.
        jobs: the name first, and what else the task takes; names must differ.
        settings: plain numbers and texts that rows depend on.
        unit: what is counted, for the progress bar.
        workers, scheduler: see `spread`.

    Raises:
        InputError: a partial file of other settings, a name that is given twice, no jobs.
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
        for k, found in execute(waiting()):
            row = found if isinstance(found, dict) else {"name": sent[k], "error": found}
            file.write(json.dumps(row) + "\n")
            file.flush()
            bar.update()
    rows = _read_partial(partial, settings)
    if not names:
        partial.unlink()
        raise InputError(f"no {unit} given")
    return [rows[name] for name in names], len(done)


def write_table(rows: list[Row], out: Path) -> None:
    """Whole or not at all; gaps where a job failed, whole numbers whole."""
    table = pd.DataFrame(rows).convert_dtypes(convert_string=False)
    beside = out.with_name(out.name + ".new")
    if out.suffix == ".csv":
        table.to_csv(beside, index=False)
    else:
        table.to_parquet(beside, index=False)
    os.replace(beside, out)


def remove_partial(out: Path) -> None:
    """The rows are safe elsewhere."""
    _partial(out).unlink(missing_ok=True)


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _read_partial(path: Path, settings: dict[str, Any]) -> dict[str, Row]:
    """{name: row}; what an interruption cut off is dropped before more is appended."""
    if not path.exists():
        return {}
    content = path.read_text()
    lines = content.splitlines(keepends=True)
    whole = lines[: len(lines) if content.endswith("\n") else -1]
    if not whole:
        path.unlink()
        return {}
    check_same(path, json.loads(whole[0]), settings, "finish it with those, or delete it")
    if whole != lines:
        write_whole(path, "".join(whole))
    rows = [json.loads(line) for line in whole[1:]]
    return {row["name"]: row for row in rows}
