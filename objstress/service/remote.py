"""Calls of the worker's functions by name, so that the server imports nothing that they need."""

from __future__ import annotations

from typing import Any


def in_worker(name: str, *arguments: Any) -> Any:
    """What the function of this name in `objstress.service.work` returns; run in a worker."""
    from objstress.service import work

    return getattr(work, name)(*arguments)
