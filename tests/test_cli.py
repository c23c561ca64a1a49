"""The shell: one clear line and exit code 2 for bad input, one JSON object with --json."""

import json
import subprocess
import sys

import pytest

from tests.conftest import DATA

SILICON = str(DATA / "silicon.cif")
SPRUCE = str(DATA.parent / "spruce" / "pairs.csv")


def test_the_program_starts_and_speaks_json():
    done = subprocess.run(
        [sys.executable, "-m", "objstress", "symmetry", SILICON, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["order"] == 48
    assert len(answer["operations"]) == 48


def test_symmetry_prints(shell):
    assert "m-3m (Oh), cubic" in shell("symmetry", SILICON)[1]


def test_teach_fit_check_simulate_is_one_path(tmp_path, shell):
    labels, law, case = tmp_path / "l.extxyz", tmp_path / "si.law", tmp_path / "case.yaml"
    code, out, error = shell(
        "teach", SILICON, "--calculator", "stillinger-weber", "--samples", 30, "--out", labels,
        "--json",
    )  # fmt: skip
    assert json.loads(out)["labels"] == 31
    code, out, error = shell("fit", labels, "--structure", SILICON, "--out", law, "--json")
    assert code == 0, error
    answer = json.loads(out)
    assert answer["point_group"] == "m-3m"
    assert 140 < answer["stiffness_GPa"][0][0] < 160
    assert "stress-free reference" in error
    code, out, error = shell("check", law, "--json")
    assert code == 0
    assert all(c["ok"] for c in json.loads(out)["claims"])
    case.write_text(
        "law: si.law\nmesh: {shape: box, size: [1, 1, 1], cells: [1, 1, 1]}\nsteps: 1\n"
        "orientation: {direction: [1, 1, 1]}\n"
        "displacements: [{where: x=min, value: [0, 0, 0]}, {where: x=max, value: [0.01, 0, 0]}]\n"
    )
    code, out, error = shell("simulate", case, "--out", tmp_path / "out", "--json")
    assert code == 0, error
    assert json.loads(out)["steps"][0]["load"] == 1.0
    assert (tmp_path / "out" / "result.bp" / "data.0").is_file()


def test_pairs_are_fitted_and_compiled(tmp_path, shell):
    law, fast = tmp_path / "spruce.law", tmp_path / "fast.law"
    code, out, error = shell(
        "fit",
        SPRUCE,
        "--point-group",
        "mmm",
        "--members",
        2,
        "--no-network",
        "--out",
        law,
        "--json",
    )
    assert code == 0, error
    answer = json.loads(out)
    assert answer["ions"] == "unlisted"
    assert answer["members"] == 2
    assert answer["error_bar"]["rms_error_over_bar"] > 0
    code, out, error = shell("compile", law, "--out", fast, "--tolerance", 0.05, "--json")
    assert code == 0, error
    answer = json.loads(out)
    assert len(answer["constants_GPa"]["2"]) == 9
    assert answer["compiled"]["worst_error"] <= 0.05
    assert "| 2 | C11 |" in shell("compile", law, "--out", fast, "--tolerance", 0.05)[1]


def test_adaptive_labels_from_the_shell(tmp_path, shell):
    code, out, error = shell(
        "teach", SILICON, "--calculator", "stillinger-weber", "--adaptive", "--target", 0.5,
        "--samples", 40, "--out", tmp_path / "a.extxyz", "--json",
    )  # fmt: skip
    assert code == 0, error
    answer = json.loads(out)
    assert answer["reached"]
    assert answer["error_bars"][-1][1] < 0.5
    assert answer["ions"] == "relaxed"


def _bad_labels(tmp_path):
    path = tmp_path / "bad.extxyz"
    text = (DATA / "labels.extxyz").read_text().splitlines(keepends=True)[:8]
    path.write_text("".join(text).replace("stress=", "strain="))
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["symmetry", "nowhere.cif"], "no such structure file"),
        (["symmetry", "{garbage}"], "not a readable crystal structure"),
        (["teach", SILICON, "--calculator", "psychic", "--out", "{out}"], "unknown calculator"),
        (["teach", SILICON, "--calculator", "emt", "--out", "{out}", "--samples", "2"],
         "the crystal itself cannot be labelled"),
        (["teach", SILICON, "--calculator", "emt", "--out", "{out}", "--adaptive", "--target",
          "0"], "give a positive relative error"),
        (["fit", SPRUCE, "--out", "{out}"], "either the crystal's structure or"),
        (["fit", SPRUCE, "--point-group", "7mm", "--out", "{out}"], "unknown point group"),
        (["fit", SPRUCE, "--point-group", "mmm", "--members", "0", "--out", "{out}"],
         "at least two laws"),
        (["compile", "nowhere.law", "--out", "{out}"], "no such law file"),
        (["teach", SILICON, "--calculator", "emt", "--out", "{out}", "--arguments", "{{"],
         "not JSON"),
        (["fit", "{garbage}", "--structure", SILICON, "--out", "{out}"], "not a readable extxyz"),
        (["fit", "{unstressed}", "--structure", SILICON, "--out", "{out}"], "carry no stress"),
        (["check", "{garbage}"], "not a law file"),
        (["simulate", "{garbage}", "--out", "{out}"], "error"),
        (["simulate", "nowhere.yaml", "--out", "{out}"], "no such case file"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line_and_code_2(arguments, message, tmp_path, shell):
    garbage = tmp_path / "garbage.cif"
    garbage.write_text("this: is\n\t- nothing")
    names = {
        "garbage": garbage, "out": tmp_path / "out", "unstressed": _bad_labels(tmp_path),
    }  # fmt: skip
    before = {p.name for p in tmp_path.iterdir()}
    code, out, error = shell(*[a.format(**names) if "{" in a else a for a in arguments])
    errors = [x for x in error.splitlines() if x.startswith("error:")]
    assert code == 2, error
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in error
    assert out == ""
    left = {p.name for p in tmp_path.iterdir()} - before
    assert not left or left == {"out.fit"}, left


def test_a_step_that_cannot_converge_ends_with_code_3(tmp_path, shell):
    from objstress import NeoHooke

    NeoHooke(1.0, 1.0).save(tmp_path / "a.law")
    (tmp_path / "case.yaml").write_text(
        "law: a.law\nmesh: {shape: box, size: [1, 1, 1], cells: [1, 1, 1]}\nsteps: 1\n"
        "displacements: [{where: x=min, value: [0, 0, 0]}, {where: x=max, value: [-1.2, 0, 0]}]\n"
    )
    code, _, error = shell("simulate", tmp_path / "case.yaml", "--out", tmp_path / "out")
    assert code == 3
    assert "last accepted state is kept" in error
    assert "Traceback" not in error
