"""Libraries of molecules: every record has a row, bad ones too, and an interrupted run resumes."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from objstress.docking.energy import PoseEnergy, PoseEnergySettings
from objstress.errors import InputError

rdkit = pytest.importorskip("rdkit")
pytest.importorskip("gemmi")
from rdkit import Chem  # noqa: E402

from objstress.docking import library  # noqa: E402
from objstress.docking.box import Box  # noqa: E402
from objstress.docking.library import dock_library  # noqa: E402
from objstress.docking.ligand_files import read_ligand  # noqa: E402
from objstress.docking.synthetic import packed_pocket  # noqa: E402

GOOD = ["CCO", "CC(=O)N", "c1ccccc1O", "CCCC"]
BOX = Box(np.zeros(3), np.full(3, 14.0))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A pocket, and a file of a model."""
    folder = tmp_path_factory.mktemp("site")
    ligand = read_ligand("CC(=O)Nc1ccccc1")
    (folder / "p.pdb").write_text(packed_pocket(ligand, np.random.default_rng(0), 12, 0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        PoseEnergy(PoseEnergySettings(channels=4, scores=4, bessel=4, readout=4)).save(
            folder / "a.pose"
        )
    return folder / "p.pdb", folder / "a.pose"


@pytest.fixture
def many(tmp_path):
    """An SDF of good records with a bad one and one that cannot be docked between them."""
    blocks = [Chem.MolToMolBlock(Chem.MolFromSmiles(s)) + "$$$$\n" for s in [*GOOD, "CCO.Cl"]]
    blocks.insert(2, "rubbish\n\n\nM  END\n$$$$\n")
    path = tmp_path / "many.sdf"
    path.write_text("".join(blocks))
    return path


def test_every_record_has_a_row_and_good_ones_a_pose(site, many, tmp_path):
    protein, model = site
    told = dock_library(
        protein, many, tmp_path / "best.sdf", tmp_path / "rows.csv", model,
        box=BOX, starts=2, hops=0, workers=2, progress=False,
    )  # fmt: skip
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert len(rows) == told["molecules"] == 6
    assert [f["name"] for f in told["failed"]] == [f"{many}:2 rubbish", f"{many}:5"]
    assert "2 fragments" in told["failed"][1]["error"]
    energies = [
        float(m.GetProp("energy_kcal_per_mol"))
        for m in Chem.SDMolSupplier(str(tmp_path / "best.sdf"))
    ]
    assert len(energies) == 4
    assert energies == sorted(energies)
    assert min(energies) == pytest.approx(rows["energy_kcal_per_mol"].min(), abs=1e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.sdf", "many.sdf", "rows.csv"]


def test_an_interrupted_run_resumes(site, many, tmp_path, monkeypatch):
    protein, model = site
    given = (protein, many, tmp_path / "best.sdf", tmp_path / "rows.csv", model)
    settings = dict(box=BOX, starts=2, hops=0, progress=False)
    real, calls = library.dock, []

    def stopped(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(library, "dock", stopped)
        with pytest.raises(KeyboardInterrupt):
            dock_library(*given, **settings)
    assert not (tmp_path / "rows.csv").exists()
    with pytest.raises(InputError, match="other settings"):
        dock_library(*given, **settings | {"seed": 1})
    with pytest.raises(InputError, match="other settings"):
        dock_library(*given, **settings | {"box": Box(np.zeros(3), np.full(3, 13.0))})
    other = tmp_path / "other.pose"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        PoseEnergy(PoseEnergySettings(channels=4, scores=4, bessel=4, readout=4)).save(other)
    with pytest.raises(InputError, match="other settings"):
        dock_library(*given[:4], other, **settings)
    assert dock_library(*given, **settings)["resumed"] == 3
    whole = dock_library(*given[:2], tmp_path / "b.sdf", tmp_path / "b.csv", model, **settings)
    assert whole["resumed"] == 0
    assert (tmp_path / "best.sdf").read_text() == (tmp_path / "b.sdf").read_text()


def test_shell_screens_a_file(site, many, shell, tmp_path):
    protein, model = site
    out = shell(
        "dock", "--protein", protein, "--ligand", many, "--model", model, "--box",
        "0,0,0,14,14,14", "--out", tmp_path / "best.sdf", "--table", tmp_path / "rows.csv",
        "--starts", 2, "--hops", 0, "--json",
    )  # fmt: skip
    assert json.loads(out[1])["molecules"] == 6


def test_what_is_refused_before_any_molecule(site, many, tmp_path):
    protein, model = site
    out = (tmp_path / "best.sdf", tmp_path / "rows.csv")
    with pytest.raises(InputError, match="give an existing file that ends in"):
        dock_library(protein, tmp_path / "none.sdf", *out, model)
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        dock_library(protein, many, out[0], tmp_path / "rows.txt", model)
    with pytest.raises(InputError, match="no atom of the protein"):
        dock_library(protein, many, *out, model, box=Box(np.full(3, 500.0), np.full(3, 5.0)))
