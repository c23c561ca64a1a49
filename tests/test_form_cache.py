"""Locks in the cache of compiled forms: those of killed processes are cleared, others stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("objstress.fem")

from objstress.fem.form_cache import YOUNG, clear_stale_locks

ROOT = Path(__file__).parents[1]


def lock(folder, name, age=0.0):
    path = folder / f"libffcx_forms_{name}.c"
    path.write_text("")
    os.utime(path, (time.time() - age,) * 2)
    return path


def sleeping(code, *arguments, **options):
    """A process that has said it is ready, and waits."""
    code = f"{code}\nimport time\nprint('ready', flush=True)\ntime.sleep(600)"
    run = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process):
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_without_its_process_is_cleared_with_all_its_files(tmp_path):
    old = lock(tmp_path, "aa", YOUNG + 1)
    old.with_suffix(".o").write_text("half")
    done = lock(tmp_path, "bb", YOUNG + 1)
    done.with_suffix(".c.cached").write_text("")
    assert clear_stale_locks(tmp_path) == ["libffcx_forms_aa"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "libffcx_forms_bb.c",
        "libffcx_forms_bb.c.cached",
    ]
    assert clear_stale_locks(tmp_path / "none") == []


def test_a_lock_that_a_compiler_names_stays_as_long_as_it_runs(tmp_path):
    path = lock(tmp_path, "cc", 10 * YOUNG)
    compiler = sleeping("", path.name)
    assert clear_stale_locks(tmp_path) == []
    ended(compiler)
    assert clear_stale_locks(tmp_path) == ["libffcx_forms_cc"]


def test_a_young_lock_stays_while_a_process_may_be_writing_its_code(tmp_path):
    folder = tmp_path / "fenics"
    folder.mkdir()
    given = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    before = lock(folder, "dd")
    writer = sleeping("import objstress.fem", cwd=ROOT, env=given)
    try:
        assert not before.exists()  # its import has cleared what was there before it
        path = lock(folder, "ee")
        assert clear_stale_locks(folder) == []
        os.utime(path, (time.time() - YOUNG - 1,) * 2)
        assert clear_stale_locks(folder) == ["libffcx_forms_ee"]
    finally:
        ended(writer)


def test_a_run_killed_while_it_compiles_does_not_stop_the_next(tmp_path):
    given = {"cwd": ROOT, "env": os.environ | {"XDG_CACHE_HOME": str(tmp_path)}}
    run = [sys.executable, "-W", "ignore", "-m", "tests.runs", "one-cell", "-", "0"]
    folder = tmp_path / "fenics"

    def locks():
        return [c for c in folder.glob("*.c") if not c.with_suffix(".c.cached").exists()]

    process = subprocess.Popen(run, stdout=subprocess.DEVNULL, **given)
    while not locks() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert locks()
    done = subprocess.run(run, capture_output=True, text=True, check=False, **given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not locks()
