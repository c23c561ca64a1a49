"""Commands: invalid input prints one line and exits with code 2, --json prints one object."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from objstress.errors import OutsideDomainWarning
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


def test_strains_outside_those_of_the_fit_are_one_line(shell, monkeypatch):
    def run():
        warnings.warn("2 of 3 points lie outside", OutsideDomainWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
        raise SystemExit(0)

    monkeypatch.setattr("objstress.cli.entry.app", run)
    with pytest.warns(UserWarning, match="something else"):
        code, _, error = shell("demo")
    assert code == 0
    assert error == "warning: 2 of 3 points lie outside\n"


def test_symmetry_prints(shell):
    assert "m-3m (Oh), cubic" in shell("symmetry", SILICON)[1]


def test_label_fit_check_simulate_is_one_path(tmp_path, shell):
    labels, law, case = tmp_path / "l.extxyz", tmp_path / "si.law", tmp_path / "case.yaml"
    code, out, error = shell(
        "label", SILICON, "--calculator", "stillinger-weber", "--samples", 30, "--out", labels,
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
        "label", SILICON, "--calculator", "stillinger-weber", "--adaptive", "--target", 0.5,
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
        (["label", SILICON, "--calculator", "psychic", "--out", "{out}"], "unknown calculator"),
        (["label", SILICON, "--calculator", "emt", "--out", "{out}", "--samples", "2"],
         "the crystal itself cannot be labelled"),
        (["label", SILICON, "--calculator", "emt", "--out", "{out}", "--adaptive", "--target",
          "0"], "give a positive relative error"),
        (["fit", SPRUCE, "--out", "{out}"], "either the crystal's structure or"),
        (["fit", SPRUCE, "--point-group", "7mm", "--out", "{out}"], "unknown point group"),
        (["fit", SPRUCE, "--point-group", "mmm", "--members", "0", "--out", "{out}"],
         "at least two laws"),
        (["compile", "nowhere.law", "--out", "{out}"], "no such law file"),
        (["label", SILICON, "--calculator", "emt", "--out", "{out}", "--arguments", "{{"],
         "not JSON"),
        (["fit", "{garbage}", "--structure", SILICON, "--out", "{out}"], "not a readable extxyz"),
        (["fit", "{unstressed}", "--structure", SILICON, "--out", "{out}"], "carry no stress"),
        (["check", "{garbage}"], "not a law file"),
        (["simulate", "{garbage}", "--out", "{out}"], "error"),
        (["simulate", "nowhere.yaml", "--out", "{out}"], "no such case file"),
    ],
)  # fmt: skip
def test_invalid_input_prints_one_line_and_exits_with_code_2(arguments, message, tmp_path, shell):
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


def commands():
    from typer.main import get_command

    from objstress.cli import entry  # noqa: F401  (registers the commands)
    from objstress.cli.app import app

    return get_command(app).commands


def test_help_lists_every_command_under_a_heading(shell):
    from objstress.cli.app import SECTIONS

    assert sorted(c for names in SECTIONS.values() for c in names) == sorted(commands())
    code, out, error = shell("--help")
    assert (code, error) == (0, "")
    for heading, names in SECTIONS.items():
        assert f"{heading}:" in out
        for name in names:
            assert re.search(rf"^  {name} +\S", out, re.M)
    assert "..." not in out.partition("Material laws:")[2]


def test_every_option_says_what_it_is():
    for name, command in commands().items():
        for parameter in command.params:
            assert (parameter.help or "").endswith((".", "]")), f"{name}: {parameter.name}"


def test_version(shell):
    import objstress

    assert shell("--version") == (0, f"objstress {objstress.__version__}\n", "")


@pytest.mark.parametrize(
    ("old", "arguments", "code"),
    [
        ("teach", [SILICON, "--calculator", "stillinger-weber", "--samples", 2], 0),
        ("teach", [SILICON, "--calculator", "psychic"], 2),
        ("train", ["nowhere.yaml"], 2),
        ("fit-poses", ["nowhere"], 2),
    ],
)
def test_old_names_of_commands_do_the_same_and_name_the_new(old, arguments, code, tmp_path, shell):
    from objstress.cli.app import RENAMED

    outs = [tmp_path / "old", tmp_path / "new"]
    answers = [
        shell(name, *arguments, "--out", out, "--json")
        for name, out in zip((old, RENAMED[old]), outs, strict=True)
    ]
    assert [a[0] for a in answers] == [code, code]
    line, _, rest = answers[0][2].partition("\n")
    assert line == f"`{old}` is now `{RENAMED[old]}`"
    errors = [[x for x in e.splitlines() if x.startswith("error:")] for e in (rest, answers[1][2])]
    assert errors[0] == errors[1]
    assert len(errors[0]) == (code != 0)
    if not code:
        results = [json.loads(a[1]) for a in answers]
        assert [Path(r.pop("out")) for r in results] == outs
        assert results[0] == results[1]
        assert outs[0].read_bytes() == outs[1].read_bytes()


def test_old_names_are_not_listed(shell):
    from objstress.cli.app import RENAMED

    for old, new in RENAMED.items():
        assert old not in commands()
        code, out, error = shell(old, "--help")
        assert code == 0
        assert f"objstress {new} " in out
        assert f"`{old}` is now `{new}`" in error


def test_a_missing_extra_is_one_line(shell, monkeypatch):
    for package, arguments in {
        "gemmi": ["dock", "--protein", "p.pdb", "--ligand", "C", "--out", "o.sdf"],
        "fastapi": ["serve"],
    }.items():
        with monkeypatch.context() as patch:
            for module in [m for m in sys.modules if m.startswith(("objstress.", package))]:
                if not module.startswith(("objstress.cli", "objstress.errors")):
                    patch.delitem(sys.modules, module)
            patch.setattr(sys, "meta_path", [Missing(package), *sys.meta_path])
            code, out, error = shell(*arguments)
        assert code == 2
        assert out == ""
        assert re.fullmatch(
            rf"error: {package} is missing: pip install objstress\[\w+\]\n", error
        ), error


class Missing:
    """A finder for which one package is not installed."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def loaded_by(*arguments):
    """The modules that a command has loaded when it ends."""
    code = (
        "import sys\nfrom objstress.cli.entry import main\n"
        f"sys.argv = ['objstress', *{list(arguments)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    heavy = {"numpy", "scipy", "torch", "pymatgen", "ase", "yaml", "pydantic", "rich", "mpi4py"}
    assert not loaded_by("--help") & heavy
    assert not loaded_by("--version") & heavy


def test_symmetry_loads_no_torch():
    heavy = {"torch", "e3nn", "lightning", "torch_geometric", "matplotlib", "pandas", "distributed"}
    assert not loaded_by("symmetry", SILICON) & heavy
