"""Rows that an earlier run of a benchmark left: used only where `--reuse` asks for them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from objstress.io.files import write_json
from objstress.reports import Claim, environment


def add_reuse(parser: argparse.ArgumentParser) -> None:
    """The option `--reuse`."""
    parser.add_argument(
        "--reuse",
        action="store_true",
        help="go on from the rows that are stored, as after an interruption, instead of anew",
    )


def stored_rows(path: Path, settings: dict[str, Any], key: str, reuse: bool) -> Any:
    """The rows under `key` of a benchmark's JSON; None where they are not to be used.

    Args:
        path: of the JSON.
        settings: what the rows depend on; those of other settings are not used.
        key: of the rows.
        reuse: whether stored rows are used at all.
    """
    if not reuse or not path.exists():
        return None
    stored = json.loads(path.read_text())
    same = stored.get("settings") == json.loads(json.dumps(settings))
    return stored[key] if same else None


def made() -> dict[str, Any]:
    """Date and commit, which each row carries: rows of one file may be of several runs."""
    return {key: value for key, value in environment().items() if key in ("date", "commit")}


def store(
    path: Path, settings: dict[str, Any], rows: list[dict], claims: list[Claim], **more: Any
) -> None:
    """Write a benchmark's JSON, which `stored_rows` reads.

    Args:
        path: of the JSON.
        settings: what the rows depend on.
        rows: of the benchmark, as far as it has come.
        claims: on them.
        more: what else the JSON holds.
    """
    facts = {"claims": [c.to_dict() for c in claims], "settings": settings, "rows": rows}
    write_json(path, facts | more | {"environment": environment()})
