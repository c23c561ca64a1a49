"""The wheel, installed into a folder of its own, does what the source tree does.

Dependencies come from the environment of the tests; each command runs in an empty folder.
"""

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FROZEN = ROOT / "tests" / "frozen" / "0.1"
DATA = ("silicon.cif", "labels.extxyz", "elastic-relaxed.extxyz")


def run(arguments, **options):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, arguments)],
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    run(["-m", "pip", "wheel", *quiet, "--no-build-isolation", "--wheel-dir", folder, ROOT])
    (file,) = folder.glob("objstress-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run Python where objstress is the wheel's."""
    target = tmp_path_factory.mktemp("installed")
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    run(["-m", "pip", "install", *quiet, "--target", target, wheel])
    empty = tmp_path_factory.mktemp("empty")
    environment = os.environ | {"PYTHONPATH": str(target)}

    def python(*arguments):
        return run(arguments, cwd=empty, env=environment)

    code = "import objstress; print(objstress.__file__, objstress.__version__)"
    file, version = python("-c", code).split()
    assert Path(file) == target / "objstress" / "__init__.py"
    assert wheel.name.startswith(f"objstress-{version}-")
    return python


def test_a_wheel_holds_the_package_and_the_data_of_the_demo(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
    files = {p for p in (ROOT / "objstress").rglob("*") if p.is_file()}
    package = {str(p.relative_to(ROOT)) for p in files if "__pycache__" not in p.parts}
    assert names == package | {f"objstress/data/silicon/{name}" for name in DATA}


def test_every_door_of_the_wheel_opens(installed):
    installed(
        "-c",
        "import importlib, pkgutil, objstress\n"
        "for room in (m.name for m in pkgutil.iter_modules(objstress.__path__) if m.ispkg):\n"
        "    door = importlib.import_module(f'objstress.{room}')\n"
        "    for name in getattr(door, '__all__', ()):\n"
        "        getattr(door, name)\n",
    )


def test_reports_name_the_commit_of_a_source_tree_alone(installed):
    from objstress.reports import environment

    code = (
        "import json; from objstress.reports import environment; print(json.dumps(environment()))"
    )
    there, here = json.loads(installed("-c", code)), environment()
    assert "commit" not in there
    assert there["date"] <= environment()["date"]
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert here["commit"].removesuffix("-dirty") == done.stdout.strip()


def test_properties_from_the_wheel_are_those_of_the_source(installed, tmp_path):
    from ase.build import bulk

    from objstress import crystal_properties

    copper = tmp_path / "copper.cif"
    bulk("Cu", cubic=True).write(copper)
    text = installed("-m", "objstress", "properties", copper, "--model", "emt", "--json")
    expected = json.loads(json.dumps(crystal_properties(copper, "emt").to_dict()))
    assert json.loads(text)[str(copper)]["stiffness_GPa"] == expected["stiffness_GPa"]


def test_the_wheel_docks_with_the_energy_that_it_ships(installed, tmp_path):
    pytest.importorskip("rdkit")
    docking = FROZEN / "docking"
    text = installed(
        "-m", "objstress", "dock", "--protein", docking / "site.pdb",
        "--ligand", docking / "indole.sdf", "--out", tmp_path / "poses.sdf",
        "--starts", 2, "--hops", 1, "--json",
    )  # fmt: skip
    assert json.loads(text)["poses"]
    assert "$$$$" in (tmp_path / "poses.sdf").read_text()


def test_the_service_of_the_wheel_has_its_page(installed):
    pytest.importorskip("fastapi")
    installed(
        "-c",
        "from objstress.service.app import PAGE\n"
        f"assert {sorted(p.name for p in (ROOT / 'objstress/service/page').iterdir())} == "
        "sorted(p.name for p in PAGE.iterdir())\n",
    )


def test_the_wheel_runs_the_demo(installed, tmp_path):
    if find_spec("dolfinx") is None:
        pytest.skip("needs FEniCSx")
    out = tmp_path / "demo"
    assert "report.md" in installed("-m", "objstress", "demo", "--out", out)
    assert all(claim["ok"] for claim in json.loads((out / "report.json").read_text())["claims"])
