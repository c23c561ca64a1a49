"""Laws and networks on another device than the CPU: a GPU, or one that only pretends."""

import json
import subprocess
import sys

import pytest

from tests.on_device import CASES


@pytest.fixture(scope="module")
def outcome():
    done = subprocess.run(
        [sys.executable, "-m", "tests.on_device"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_tensors_stay_on_their_device(outcome, name):
    assert outcome[name] == ""
