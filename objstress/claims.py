"""A claim: a measured value beside the bar that it has to meet."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Claim:
    """`value` in `unit` must not exceed `bar` (or must reach it, with `at_least`)."""

    name: str
    value: float
    bar: float
    unit: str = "-"
    at_least: bool = False

    @property
    def ok(self) -> bool:
        if math.isnan(self.value):
            return False
        return bool(self.value >= self.bar if self.at_least else self.value <= self.bar)

    def to_dict(self) -> dict[str, Any]:
        """{"name", "value", "bar", "unit", "at_least", "ok"} for report files."""
        return asdict(self) | {"value": float(self.value), "ok": self.ok}


def claims_table(claims: list[Claim]) -> str:
    """Markdown table of claims."""
    lines = ["| claim | value | bar | unit | met |", "| --- | --- | --- | --- | --- |"]
    for c in claims:
        sign = ">=" if c.at_least else "<="
        met = "yes" if c.ok else "**no**"
        lines.append(f"| {c.name} | {c.value:.3g} | {sign} {c.bar:g} | {c.unit} | {met} |")
    return "\n".join(lines)
