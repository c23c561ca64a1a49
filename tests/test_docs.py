"""Every block of code in README.md and docs/ runs or is checked.

The blocks of a page run from top to bottom, Python in one namespace, in a folder of their own. What
the page needs there stands in a comment, `<!-- needs: data si.law -->` (see `MAKERS`). A comment
directly above a block says what is special about it:

- `not run: REASON`: neither run nor checked, such as a line that installs;
- `parsed: REASON`: shell, the command lines are parsed and not run;
- `case: NAME`, `settings: NAME`: YAML, checked against its schema and kept under that name.
"""

import importlib.util
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [p for p in PAGES if "_build" not in p.parts]
MARK = re.compile(r"<!-- (not run|parsed|case|settings): (.+) -->")
NEEDS = re.compile(r"<!-- needs: (.+) -->")
LANGUAGES = ("python", "sh", "yaml", "text")


def name(page):
    return str(page.relative_to(ROOT))


@dataclass
class Block:
    language: str
    line: int
    code: str
    mark: str = ""
    value: str = ""


def blocks(text):
    """The fenced blocks of a page, but for directives such as ```{include}."""
    found, inside, before = [], None, ""
    for number, line in enumerate(text.splitlines(), 1):
        if inside is None and line.startswith("```"):
            mark = MARK.fullmatch(before)
            inside = Block(line[3:].strip(), number, "", *(mark.groups() if mark else ()))
        elif inside is not None and line.startswith("```"):
            if not inside.language.startswith("{"):
                found.append(inside)
            inside = None
        elif inside is not None:
            inside.code += line + "\n"
        if line.strip():
            before = line
    assert inside is None, "a block does not end"
    return found


def commands(code):
    """Command lines of a shell block, in words, comments left out."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


PAGES_WITH_CODE = [p for p in PAGES if blocks(p.read_text())]


# -- what pages need -------------------------------------------------------------------------


def cubic_law(c11, c12, c44):
    from objstress.elasticity.moduli import cubic_stiffness
    from objstress.laws.analytic import SaintVenantKirchhoff
    from objstress.laws.compile import compile_law

    return compile_law(SaintVenantKirchhoff(cubic_stiffness(c11, c12, c44), "m-3m"))


def water_potential(folder):
    """Small, and trained for so short a time that only its minimum is about right."""
    from ase.io import read, write

    from objstress.training.potential.fit import fit_potential
    from objstress.training.potential.settings import settings_from

    frames = read(ROOT / "data/molecules/water-train.extxyz", ":")
    frames = [a for a in frames if a.info["config_type"] != "distorted"]
    write(folder / "train.extxyz", frames[:60])
    targets = ("energy", "forces", "dipole", "polarizability")
    settings = {
        "data": str(folder / "train.extxyz"),
        "keys": {target: target for target in targets},
        "model": {"cutoff": 4.0, "channels": 4, "layers": 1, "edge_lmax": 2},
        "training": {"epochs": 30, "batch_size": 15, "accelerator": "cpu", "average": 0.9},
    }
    potential = fit_potential(settings_from(settings), progress=False)
    potential.save(folder / "water.potential")


def water(folder):
    from ase.io import read, write

    write(folder / "water.xyz", read(ROOT / "data/molecules/relaxed.extxyz", 0))


def alloys(folder):
    """Two networks that have seen six crystals twice."""
    import json

    from pymatgen.core import Structure

    from objstress.models.crystal_tensor import CrystalTensorSettings
    from objstress.symmetry.voigt import voigt_to_tensor
    from objstress.training.tensors.fit import TensorTraining, fit_tensors

    rows = json.loads((ROOT / "data/tensors/elastic.json").read_text())[:6]
    ensemble = fit_tensors(
        [Structure.from_dict(row["structure"]) for row in rows],
        [voigt_to_tensor(row["elastic_tensor_voigt"]) for row in rows],
        CrystalTensorSettings(kind="elastic", channels=4, layers=1),
        TensorTraining(members=2, epochs=2),
        progress=False,
    )
    ensemble.save(folder / "alloys.tensor")


def site(folder):
    """A protein's site made around a small molecule, and the molecule."""
    pytest.importorskip("rdkit")
    from objstress.docking.synthetic import write_complex

    assert write_complex(folder, "made", 1_000_001)
    shutil.copy(folder / "made" / "made_pocket.pdb", folder / "p.pdb")
    for copy in ("l.sdf", "site.sdf"):
        shutil.copy(folder / "made" / "made_ligand.sdf", folder / copy)


MAKERS = {
    "si.law": lambda folder: cubic_law(162.0, 64.0, 78.0).save(folder / "si.law"),
    "copper.law": lambda folder: cubic_law(168.4, 121.4, 75.4).save(folder / "copper.law"),
    "water.potential": water_potential,
    "water.xyz": water,
    "alloys.tensor": alloys,
    "site": site,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folder with the files of one of `MAKERS`, made once."""
    folders = {}

    def folder(need):
        if need not in folders:
            folders[need] = tmp_path_factory.mktemp("docs")
            MAKERS[need](folders[need])
        return folders[need]

    return folder


# -- tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=name)
def test_the_code_of_a_page(page, made, shell, request, tmp_path, monkeypatch):
    text = page.read_text()
    needs_fem = "objstress.fem" in text or "objstress simulate" in text
    if needs_fem and importlib.util.find_spec("dolfinx") is None:
        pytest.skip("FEniCSx is not installed")
    todo = [block for block in blocks(text) if block.mark != "not run"]
    match = NEEDS.search(text)
    for need in match.group(1).split() if match else ():
        if need == "data":
            (tmp_path / "data").symlink_to(ROOT / "data")
        elif need == "labels.extxyz":
            shutil.copy(request.getfixturevalue("sw_labels"), tmp_path / need)
        else:
            shutil.copytree(made(need), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {"__name__": "__main__"}
    for block in todo:
        where = f"{name(page)}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: of which language is this block?"
        if block.language == "python":
            code = "\n" * block.line + block.code
            exec(compile(code, str(page), "exec"), namespace)
        elif block.language == "sh":
            for words in commands(block.code):
                run_or_parse(words, block.mark == "parsed", shell, where)
        elif block.language == "yaml":
            check_yaml(block, tmp_path, where)


def run_or_parse(words, parse_only, shell, where):
    if words[0] == "mpiexec":
        words = words[words.index("objstress") :]
    assert words[0] == "objstress", f"{where}: {words[0]} is no command of ours, mark it `not run`"
    if parse_only:
        parse(words[1:])
        return
    code, _, errors = shell(*words[1:])
    assert code == 0, f"{where}: {shlex.join(words)} exits with {code}\n{errors}"


def parse(arguments):
    """Raise what the shell would say of these arguments."""
    import typer.main

    import objstress.cli.entry  # noqa: F401  (commands enter themselves)
    from objstress.cli.app import app

    command = typer.main.get_command(app).commands[arguments[0]]
    command.make_context(arguments[0], list(arguments[1:]))


def check_yaml(block, folder, where):
    assert block.mark in ("case", "settings"), f"{where}: say what these keys are for"
    path = folder / block.value
    path.write_text(block.code)
    if block.mark == "case":
        from objstress.fem.case.schema import read_case

        read_case(path)
    else:
        from objstress.training.potential.settings import read_settings

        read_settings(path)


def test_wrong_command_lines_are_seen():
    parse(["symmetry", "x.cif", "--json"])
    for wrong in (["symmetry"], ["symmetry", "x.cif", "--jsn"], ["check", "x.law", "y.law"]):
        with pytest.raises(Exception, match=r"(?i)missing|no such option|unexpected"):
            parse(wrong)


def test_blocks_and_their_marks_are_found():
    fences = ("<!-- parsed: long -->\n\n```sh\na --b  # c", "{note}\nx", "python\ny")
    text = "\n```\n\n```".join(fences) + "\n```\n"
    shell_block, python = blocks(text)
    assert (shell_block.mark, shell_block.value, shell_block.line) == ("parsed", "long", 3)
    assert commands(shell_block.code) == [["a", "--b"]]
    assert (python.language, python.code, python.mark) == ("python", "y\n", "")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    """Files and headings; those of the site are seen by `sphinx -W`, too."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        file = page.parent / path
        if file.suffix == ".ipynb" and "tutorials" in path:
            file = ROOT / "notebooks" / file.name  # copied when the site is built
        assert file.exists(), f"{name(page)}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            slugs = [re.sub(r"[^\w\- ]", "", t).lower().replace(" ", "-") for t in titles]
            assert heading in slugs, f"{name(page)}: {target}"


def test_the_readme_is_short_and_its_targets_exist():
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) <= 7000
    first_screen = text.splitlines()[:25]
    rules = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert any(line.startswith(f"    make {target}") for line in first_screen)
    for target in re.findall(r"(?:`|^    )make (\w+)", text, re.M):
        assert re.search(rf"^{target}:", rules, re.M), f"make {target}"


def test_pages_use_front_doors_only():
    """`from objstress.fem import ...`, never a deeper path; notebooks, too."""
    import json

    texts = {name(p): p.read_text() for p in PAGES if p.name != "changes-0.2.md"}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        texts[name(path)] = "\n".join("".join(cell["source"]) for cell in cells)
    for where, text in texts.items():
        deep = re.findall(r"^\s*(?:from|import) (objstress\.\w+\.[\w.]+)", text, re.M)
        assert not deep, f"{where}: {deep[0]}"


@pytest.mark.parametrize("what", ["case", "settings"])
def test_every_key_of_a_yaml_file_is_described(what, monkeypatch):
    pytest.importorskip("objstress.fem" if what == "case" else "objstress")
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    import from_code

    rows = [line for line in getattr(from_code, what)().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    bare = [row for row in rows if row.endswith("|  |")]
    assert not bare, "\n".join(bare)


def test_an_own_form_is_found_by_its_marks():
    text = (ROOT / "docs/howto/own-form.md").read_text()
    inside = text.split("<!-- own script -->")[1].split("<!-- end of own script -->")[0]
    assert inside.count("```python") == 3
