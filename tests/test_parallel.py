"""Runs on several ranks, and runs that were killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("objstress.fem")

from objstress.errors import InputError
from objstress.fem.checkpoint import Checkpoint
from tests.runs import polycrystal, sphere

ROOT = Path(__file__).parents[1]
MPIEXEC = Path(sys.executable).with_name("mpiexec")


def command(name, checkpoint="-", ranks=1, pause=0.0):
    run = [sys.executable, "-W", "ignore", "-m", "tests.runs", name, str(checkpoint), str(pause)]
    return run if ranks == 1 else [str(MPIEXEC), "-n", str(ranks), *run]


def finished(*arguments, **options):
    done = subprocess.run(
        command(*arguments, **options), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module", params=["polycrystal", "sphere"])
def serial(request):
    return request.param, finished(request.param)


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_do_not_change_the_answer(serial, ranks):
    name, one = serial
    many = finished(name, ranks=ranks)
    assert many["ranks"] == ranks
    assert len(many["history"]) == len(one["history"])
    for a, b in zip(one["history"], many["history"], strict=True):
        first = a["residuals"][0]
        for x, y in zip(a["residuals"], b["residuals"], strict=True):
            assert y == pytest.approx(x, rel=1e-9, abs=1e-9 * first)
        assert b["energy"] == pytest.approx(a["energy"], rel=1e-9)
        assert (b["points"], b["outside"]) == (a["points"], a["outside"])
        assert b["min_J"] == pytest.approx(a["min_J"], rel=1e-9)
        for key, force in a["reactions"].items():
            scale = max(np.abs(f).max() for f in a["reactions"].values())
            assert b["reactions"][key] == pytest.approx(force, abs=1e-9 * scale)


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_ranks_share_the_cores():
    cores = len(os.sched_getaffinity(0))
    for ranks in (2, 4):
        many = finished("sphere", ranks=ranks)
        assert many["threads"] * ranks <= max(cores, ranks)


def test_threads_are_given_back():
    """The law's threads are set while it is evaluated, and not left behind."""
    alone = finished("sphere")
    assert alone["threads"] <= len(os.sched_getaffinity(0))
    assert alone["torch_threads_after"] >= alone["threads"]


def killed_once(name, folder, seconds):
    process = subprocess.Popen(
        command(name, folder, pause=0.05), cwd=ROOT, stdout=subprocess.DEVNULL, text=True
    )
    begun = time.time()
    while not folder.is_dir() and process.poll() is None and time.time() - begun < 60:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_run_goes_on_to_the_same_end(tmp_path):
    whole = finished("polycrystal")["history"]
    folder = tmp_path / "states"
    random.seed(0)
    for _ in range(2):
        killed_once("polycrystal", folder, random.uniform(0.0, 0.6))
    resumed = finished("polycrystal", folder)["history"]
    assert [r["load"] for r in resumed] == [r["load"] for r in whole]
    for a, b in zip(whole, resumed, strict=True):
        assert b["energy"] == pytest.approx(a["energy"], rel=1e-10)
        assert b["reactions"]["end"] == pytest.approx(a["reactions"]["end"], rel=1e-10)


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
def test_a_run_may_go_on_with_other_ranks(tmp_path):
    problem = polycrystal()
    states = Checkpoint(problem, tmp_path / "states", 6)
    problem.solve(
        6,
        progress=False,
        checkpoint=tmp_path / "states",
    )
    for path in sorted(states.folder.glob("0*"))[3:]:
        path.unlink()
    rest = finished("polycrystal", tmp_path / "states", ranks=2)["history"]
    assert rest[-1]["energy"] == pytest.approx(problem.history[-1].energy, rel=1e-10)


def test_states_of_another_body_are_refused(tmp_path):
    polycrystal(3).solve(1, progress=False, checkpoint=tmp_path / "states")
    with pytest.raises(InputError, match="this one 2; give another folder"):
        polycrystal(3).solve(2, progress=False, checkpoint=tmp_path / "states")
    with pytest.raises(InputError, match="nodes"):
        sphere().solve(1, progress=False, checkpoint=tmp_path / "states")


def test_a_spoilt_state_is_named(tmp_path):
    folder = tmp_path / "states"
    polycrystal(2).solve(1, progress=False, checkpoint=folder)
    (folder / "00001.safetensors").write_bytes(b"half of it")
    with pytest.raises(InputError, match=r"00001\.safetensors: not a state of a run"):
        polycrystal(2).solve(1, progress=False, checkpoint=folder)
