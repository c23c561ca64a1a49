"""Files that a released version wrote load for ever.

`tests/frozen/VERSION` holds small files of each kind as that version wrote them, and what they gave
then; files there are never changed or removed, later versions only add theirs. A kind whose format
changes gets files of the new format, in the folder of the version that brought it.
"""

import json
import os
import shutil
import subprocess
import sys
import warnings
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.frozen import reading

ROOT = Path(__file__).parents[1]
FOLDERS = [Path(__file__).parent / "frozen" / version for version in ("0.1", "0.2")]
EXPECTED: dict = {"loaded": {}, "gone_on": {}}
for part in [json.loads((folder / "expected.json").read_text()) for folder in FOLDERS]:
    for how, known in EXPECTED.items():
        for kind, numbers in part.get(how, {}).items():
            known.setdefault(kind, {}).update(numbers)
LOADED = [(kind, path) for kind, paths in EXPECTED["loaded"].items() for path in paths]
RESUMED = [(kind, name) for kind, names in EXPECTED["gone_on"].items() for name in names]
EXTRAS = {"poses": "rdkit", "complexes": "rdkit", "cases": "dolfinx", "fem": "dolfinx"}

GUARDED = {"laws/guarded.law", "laws/guarded-polynomial.law"}
"""0.2 mended what guarded laws are outside their trained strains (tests/test_far_away.py); inside
they are what they were."""
RELAXED = {"chain/run": 1e-6}
"""Labels that a resumed run computes anew: relaxations of 0.2 end elsewhere within the tolerance of
their forces, which moves a number by less than this part of the largest."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A copy of the files of all versions, in which a test works."""
    copy = tmp_path / "frozen"
    for folder in FOLDERS:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    monkeypatch.chdir(copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield copy


def needs(package):
    if package is not None and find_spec(package) is None:
        pytest.skip(f"needs {package}")


def compare(numbers, expected):
    assert not reading.differences(reading.plain(numbers), expected)


def as_it_was_made(kind, name):
    """`reading.resumed` with OpenBLAS' kernels of the processor that the runs of 0.1 began on.

    The fingerprint of a fit's data holds the last bits of positions, and these are a matter of the
    kernel: on another kind of processor such a run begins anew.
    """
    program = (
        "import json, sys; from tests.frozen import reading; "
        "print(json.dumps(reading.plain(reading.resumed(*sys.argv[1:]))))"
    )
    environment = os.environ | {"OPENBLAS_CORETYPE": "Haswell", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, kind, name],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize(("kind", "path"), LOADED)
def test_a_frozen_file_loads_and_gives_its_numbers(kind, path):
    needs(EXTRAS.get(kind))
    expected = dict(EXPECTED["loaded"][kind][path])
    if path in GUARDED:
        del expected["outside"]
    compare(reading.LOADED[kind](path), expected)


@pytest.mark.parametrize(("kind", "name"), RESUMED)
def test_a_frozen_run_resumes_where_it_stopped(kind, name):
    extra = "rdkit" if "docking" in name or "pose" in name else EXTRAS.get(kind)
    needs(extra)
    expected = deepcopy(EXPECTED["gone_on"][kind][name])
    numbers = as_it_was_made(kind, name) if kind == "fits" else reading.resumed(kind, name)
    if name in RELAXED:
        for both in (numbers, expected):
            both["labels"]["rtol"] = RELAXED[name]
    compare(numbers, expected)


def test_every_frozen_file_is_read_by_a_test():
    """A kind of file that nobody reads would not be noticed when it breaks."""
    endings = {".law": "laws", ".potential": "potentials", ".tensor": "tensors", ".pose": "poses"}
    for ending, kind in endings.items():
        left = {str(p.relative_to(f)) for f in FOLDERS for p in f.rglob(f"*{ending}")}
        left -= {"chain/run/model.potential"}  # the chain that resumes reads it
        assert left == set(EXPECTED["loaded"][kind])


def test_numbers_that_differ_are_seen():
    expected = {"a": [1.0, 2.0], "rtol": 1e-8}
    for numbers in ([1.0, 2.0 + 1e-9], [1.0, 2.0]):
        assert not reading.differences(expected | {"a": numbers, "new": 0}, expected)
    for numbers in ([1.0, 2.0 + 1e-6], [1.0], ["1", "b"], None):
        assert reading.differences(expected | {"a": numbers}, expected)
    assert reading.differences({"rtol": 1e-8}, expected)


@pytest.mark.parametrize(
    ("command", "arguments", "result"),
    [
        ("teach", ["labels/copper.cif", "--calculator", "emt", "--samples", 6, "--ions", "clamped",
                   "--out", "labels/copper-half.extxyz"], {"labels": 7, "resumed": 3}),
        ("train", ["training/water.yaml"], {"epochs": 4, "potential": "training/water.potential"}),
        ("fit-poses", ["docking/complexes", "--epochs", 1, "--out", "new.pose"],
         {"complexes": 1, "model": "new.pose"}),
    ],
)  # fmt: skip
def test_commands_of_version_0_1_run_by_their_names(command, arguments, result, shell):
    needs("rdkit" if command == "fit-poses" else None)
    code, out, error = shell(command, *arguments, "--json")
    assert code == 0, error
    answer = json.loads(out)
    assert {key: answer[key] for key in result} == result
    assert f"`{command}` is now `" in error
