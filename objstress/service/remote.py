"""The worker's functions by name, so that the server imports none of what they need."""

from __future__ import annotations

from typing import Any


def begin(memory: int) -> None:
    """See `work.begin`."""
    from objstress.service import work

    work.begin(memory)


def describe(models: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]:
    """See `work.describe`."""
    from objstress.service import work

    return work.describe(models)


def compute(*arguments: Any) -> tuple[str, str]:
    """See `work.compute`."""
    from objstress.service import work

    return work.compute(*arguments)
