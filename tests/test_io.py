"""The ground floor: what it costs to import, files written whole, the rule of resuming."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from objstress.errors import InputError
from objstress.io import fingerprint, keep_settings, write_json, write_whole
from objstress.io.run_folder import check_same, forget, resume_from, work_folder


def test_the_ground_floor_loads_nothing_heavy():
    code = """
import sys
import objstress.io
assert not {"numpy", "torch", "ase", "pandas", "yaml"} & set(sys.modules), "objstress.io"
import objstress.errors, objstress.parallel, objstress.reports
import objstress.io.atoms, objstress.io.files, objstress.io.recording, objstress.io.run_folder
import objstress.io.tables, objstress.io.yaml
heavy = {"torch", "ase", "pandas", "dask", "distributed", "matplotlib", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_are_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"x": [1.5]})
    before = (tmp_path / "new" / "a.json").read_text()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "new" / "a.json", {"x": float("nan")})
    assert (tmp_path / "new" / "a.json").read_text() == before
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]
    with pytest.raises(InputError, match="is a folder"):
        write_whole(tmp_path / "new", "text")


def test_fingerprints_depend_on_arrays_texts_and_files(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("abc")
    # That of the bytes one after the other, whatever they come from.
    assert fingerprint(["abc"]) == fingerprint([file]) == fingerprint([np.frombuffer(b"abc", "u1")])
    assert fingerprint(["abd"]) != fingerprint([file])


def test_a_run_of_other_settings_is_not_resumed(tmp_path):
    path = tmp_path / "settings.json"
    keep_settings(path, {"seed": 1, "F": [[1.0, 0.0]] * 20}, "delete it")
    keep_settings(path, {"seed": 1, "F": [[1.0, 0.0]] * 20}, "delete it")
    with pytest.raises(InputError, match="started with other settings: seed 1, this one 2; delete"):
        keep_settings(path, {"seed": 2, "F": [[1.0, 0.0]] * 20}, "delete it")
    # Numbers of NumPy are numbers.
    keep_settings(path, {"seed": np.int64(1), "F": [[np.float64(1.0), 0.0]] * 20}, "delete it")
    # Long values are named and not shown, and a setting that only one run has counts.
    with pytest.raises(InputError, match=r"settings: F; extra None, this one 3; remedy$"):
        check_same(Path("run"), {"F": [0.0] * 30}, {"F": [0.0] * 29 + [1.0], "extra": 3}, "remedy")
    path.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        keep_settings(path, {}, "delete it")


def test_checkpoints_of_another_fit_are_removed(tmp_path):
    assert resume_from(tmp_path, "a", ("minutes.json",)) is None
    last, stale = tmp_path / "last.ckpt", tmp_path / "minutes.json"
    last.write_text("weights")
    stale.write_text("1")
    assert resume_from(tmp_path, "a", ("minutes.json",)) == last
    assert resume_from(tmp_path, "b", ("minutes.json",)) is None
    assert not last.exists()
    assert not stale.exists()
    last.write_text("weights")
    (tmp_path / "log.csv").write_text("loss")
    forget(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


def test_the_folder_of_a_fit_is_temporary_without_a_name(tmp_path):
    with work_folder(tmp_path) as folder:
        assert folder == tmp_path
    with work_folder(None) as folder:
        assert folder.is_dir()
    assert not folder.exists()
