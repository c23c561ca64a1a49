"""Fixtures that several rooms need. Everything slow is made once per session (of each worker)."""

import os
import sys
import warnings
from pathlib import Path

import pytest


def share_forms(folder: Path) -> None:
    """Compiling forms is a third of the work: do each once, and -O1 takes half the time of -O2.

    Workers and what they start have one cache, and wait longer for each other than dolfinx's ten
    seconds.
    """
    options = folder / "config" / "dolfinx" / "dolfinx_jit_options.json"
    options.parent.mkdir(parents=True, exist_ok=True)
    options.write_text('{"timeout": 600}')
    compiler = folder / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O1\n')
    compiler.chmod(0o755)
    os.environ |= {
        "XDG_CACHE_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "CC": str(compiler),
    }


if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores
else:
    home = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    share_forms(Path(home) / "objstress-tests")

DATA = Path(__file__).parents[1] / "data" / "silicon"
SHARED = Path(__file__).parents[2] / "shared" / "data"


LONGEST = ("test_notebooks.py", "test_wheel.py")
"""Files that one worker needs minutes for: begun first, so that none is left alone with them."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def silicon():
    from objstress.symmetry.crystal import primitive_cell
    from objstress.symmetry.reading import read_structure

    return primitive_cell(read_structure(DATA / "silicon.cif"))


@pytest.fixture(scope="session")
def silicon_group(silicon):
    from objstress.symmetry.point_group import PointGroup

    return PointGroup.from_structure(silicon)


@pytest.fixture(scope="session")
def sw_labels(tmp_path_factory):
    """60 labels of silicon by Stillinger and Weber: a file made by `label_strains`."""
    from objstress import label_strains

    out = tmp_path_factory.mktemp("labels") / "sw.extxyz"
    label_strains(DATA / "silicon.cif", "stillinger-weber", out=out, samples=60, progress=False)
    return out


@pytest.fixture(scope="session")
def dft_law(tmp_path_factory):
    """The law of the demo, fitted to the DFT labels with a fifth of them unseen."""
    from objstress import fit_law

    return fit_law(DATA / "labels.extxyz", DATA / "silicon.cif", progress=False)


@pytest.fixture(scope="session")
def quick_law(silicon, silicon_group):
    """A law with both parts and known constants; its network's weights are random."""
    import torch

    from objstress.elasticity.moduli import cubic_stiffness
    from objstress.laws.learned import LearnedLaw
    from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
    from objstress.models.polynomial import InvariantPolynomial
    from tests.helpers import polynomial_of_stiffness

    polynomial = InvariantPolynomial(silicon_group, 2)
    polynomial.set_coefficients(
        polynomial_of_stiffness(polynomial, cubic_stiffness(162.0, 64.0, 78.0))
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        settings = NetworkSettings(channels=4, energy_scale=0.02)
        network = ConstitutiveNetwork(silicon, silicon_group, settings)
    return LearnedLaw(silicon, silicon_group, polynomial, network)


@pytest.fixture(scope="session")
def pocket(tmp_path_factory):
    """PDB file of a packed pocket, and its ligand: chiral, with torsions."""
    import numpy as np

    from objstress.docking.ligand_files import read_ligand
    from objstress.docking.synthetic import packed_pocket

    ligand = read_ligand("C[C@H](NC(C)=O)[C@@H](O)Cc1ccccc1")
    path = tmp_path_factory.mktemp("pocket") / "pocket.pdb"
    path.write_text(packed_pocket(ligand, np.random.default_rng(0)))
    return path, ligand


@pytest.fixture
def shell(monkeypatch, capsys):
    """Run a command as the shell would, without a new Python, which takes seconds to start.

    Gives exit code, standard output, standard error.
    """
    from objstress.cli import entry as cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["objstress", *map(str, arguments)])
        monkeypatch.setattr("objstress.cli.app.ANSWERS", sys.stdout)
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, *capsys.readouterr()

    return run
