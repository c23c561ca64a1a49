"""The cache of compiled forms: a lock that a killed process left there is cleared."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
from dolfinx.jit import get_options

YOUNG = 60.0
"""Seconds. A lock of this age has its C code, and the compiler's command line names it."""


def clear_stale_locks(folder: Path | None = None) -> list[str]:
    """Clear the locks in the cache of compiled forms whose process is gone.

    FFCx locks a form by making its C file, and writes a file ".c.cached" when it is compiled; a
    process that meets a lock waits for ten seconds and gives up. A process that was killed in
    between leaves its lock for ever. One is stale where no process compiles that file and, in its
    first minute, no other one with dolfinx and this cache was there when it was made.

    Args:
        folder: of the cache; that of dolfinx, if None.

    Returns:
        The names of the forms whose locks were cleared.
    """
    folder = folder or Path(get_options()["cache_dir"])
    locks = [c for c in folder.glob("libffcx_*.c") if not c.with_suffix(".c.cached").exists()]
    if not locks:
        return []
    mine, now = os.getuid(), time.time()
    others = [
        p
        for p in psutil.process_iter(["pid", "cmdline", "create_time", "uids"])
        if p.info["pid"] != os.getpid() and p.info["uids"] and p.info["uids"].real == mine
    ]
    cleared = []
    for lock in locks:
        try:
            made = lock.stat().st_mtime
        except FileNotFoundError:  # another process was faster
            continue
        compiled = any(lock.stem in " ".join(p.info["cmdline"] or ()) for p in others)
        if compiled or (
            now - made < YOUNG
            and any(p.info["create_time"] < made and _compiles_into(p, folder) for p in others)
        ):
            continue
        for file in folder.glob(f"{lock.stem}*"):
            file.unlink(missing_ok=True)
        cleared.append(lock.stem)
    return cleared


def _compiles_into(process: psutil.Process, folder: Path) -> bool:
    """Whether a process has loaded dolfinx and began with this cache."""
    try:
        environment = process.environ()
        home = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/")) / ".cache"
        if Path(home, "fenics") != folder:
            return False
        return any("dolfinx" in m.path for m in process.memory_maps())
    except psutil.Error:
        return False
