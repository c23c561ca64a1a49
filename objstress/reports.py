"""Reports: claims, which are measured values beside their bars, and the environment of a run."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["Claim", "claims_table", "environment"]


@dataclass(frozen=True)
class Claim:
    """A measured value and the bar that it must not exceed, or must reach with `at_least`.

    Attributes:
        name: what is measured.
        value: in the unit below.
        bar: in the same unit.
        unit: "-" for a pure number.
        at_least: whether the value must reach the bar.
    """

    name: str
    value: float
    bar: float
    unit: str = "-"
    at_least: bool = False

    @property
    def ok(self) -> bool:
        """Whether the bar is met; a value that is not a number never meets it."""
        if math.isnan(self.value):
            return False
        return bool(self.value >= self.bar if self.at_least else self.value <= self.bar)

    def to_dict(self) -> dict[str, Any]:
        """{"name", "value", "bar", "unit", "at_least", "ok"} for report files."""
        return asdict(self) | {"value": float(self.value), "ok": self.ok}


def claims_table(claims: list[Claim]) -> str:
    """The claims as a Markdown table."""
    lines = ["| claim | value | bar | unit | met |", "| --- | --- | --- | --- | --- |"]
    for c in claims:
        sign = ">=" if c.at_least else "<="
        met = "yes" if c.ok else "**no**"
        lines.append(f"| {c.name} | {c.value:.3g} | {sign} {c.bar:g} | {c.unit} | {met} |")
    return "\n".join(lines)


def environment() -> dict[str, Any]:
    """Date, commit, processor, threads, versions of packages and dtype, as reports name them.

    The commit is that of a source tree, with "-dirty" where files other than benchmarks' results
    differ from it; an installed package has its version alone.
    """
    import torch

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
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except Exception:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **_commit(),
        "processor": processor,
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": versions,
        "dtype": "float64",
    }


def _commit() -> dict[str, str]:
    here = Path(__file__)

    def git(*arguments: str) -> str:
        run = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package may lie in somebody else's repository, which does not know it.
        git("ls-files", "--error-unmatch", here.name)
        # Results that a benchmark before this one has just written change no program.
        root = git("rev-parse", "--show-toplevel")
        changed = git(
            "-C", root, "status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results"
        )
        return {"commit": git("rev-parse", "HEAD") + ("-dirty" if changed else "")}
    except (OSError, subprocess.CalledProcessError):
        return {}
