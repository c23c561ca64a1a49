"""A claim: a measured value beside the bar that it has to meet."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


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


def environment() -> dict[str, Any]:
    """Hardware, versions and dtype, as reports name them."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    packages = (
        "objstress",
        "torch",
        "e3nn",
        "torch-geometric",
        "lightning",
        "numpy",
        "pymatgen",
        "spglib",
        "dolfinx-solver-real",
    )
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except Exception:
            continue
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": found,
        "dtype": "float64",
    }
