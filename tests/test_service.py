"""The service: answers, refusals, limits, and workers that are killed."""

import asyncio
import gzip
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure

from objstress.calculators.registry import make_calculator
from objstress.calculators.universal import UniversalPotential
from objstress.errors import InputError
from objstress.properties.crystal import crystal_properties
from objstress.properties.sources.calculator import CalculatorSource, stiffness_evaluations
from objstress.service.parsing import parse_structure
from objstress.symmetry.reading import read_primitive_cell
from tests.conftest import DATA

pytest.importorskip("fastapi")
pytest.importorskip("pebble")
from starlette.testclient import TestClient

from objstress.service import work
from objstress.service.answers import Answers
from objstress.service.app import create_app
from objstress.service.jobs import ServiceSettings
from objstress.service.schema import POSCAR, PropertiesAnswer

COPPER = (DATA.parent / "crystals" / "copper.cif").read_text()
MAGNESIUM = (DATA.parent / "crystals" / "magnesium.cif").read_text()
SILICON = (DATA / "silicon.cif").read_text()
STRETCHED = Structure.from_str(SILICON, fmt="cif").apply_strain(1e-3).to(fmt="cif")
BCC = "bcc\n2.87\n1 0 0\n0 1 0\n0 0 1\nCu\n2\ndirect\n0 0 0\n0.5 0.5 0.5\n"
ODD = """
import os, time
from ase.calculators.emt import EMT
class Sleeper(EMT):
    def calculate(self, *args):
        time.sleep(60)
class Killed(EMT):
    def calculate(self, *args):
        os.kill(os.getpid(), 9)
class Hungry(EMT):
    def calculate(self, *args):
        bytearray(16 << 30)
class Broken(EMT):
    def calculate(self, *args):
        raise KeyError("a bug")
class Counted(EMT):
    def __init__(self):
        super().__init__()
        with open(__file__ + ".loads", "a") as file:
            file.write("once ")
class Blind(EMT):
    def calculate(self, *args):
        super().calculate(*args)
        self.results["stress"] = self.results["stress"] * float("nan")
"""
SPECIAL = ("emt", "stillinger-weber", "kumagai")
HOST = {"base_url": "http://127.0.0.1"}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A module of calculators that misbehave; workers take this process's path over."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd_calculators.py").write_text(ODD)
    sys.path.insert(0, str(folder))
    yield [
        f"odd_calculators:{name}"
        for name in ("Sleeper", "Killed", "Hungry", "Broken", "Blind", "Counted")
    ]
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def client(folder):
    app = create_app(
        ServiceSettings(models=SPECIAL, workers=1, queue=4, answers=3, max_atoms=20, cache=folder)
    )
    with TestClient(app, **HOST) as client:
        yield client


@pytest.fixture(scope="module")
def fragile(odd, folder):
    app = create_app(ServiceSettings(models=("emt", *odd), workers=1, queue=1, cache=folder))
    with TestClient(app, raise_server_exceptions=False, **HOST) as client:
        yield client


@pytest.fixture(scope="module")
def hasty(odd, folder):
    """For what takes for ever: a limit that a busy machine may reach with anything else."""
    app = create_app(
        ServiceSettings(models=("emt", *odd), workers=1, queue=1, timeout=3.0, cache=folder)
    )
    with TestClient(app, raise_server_exceptions=False, **HOST) as client:
        yield client


def ask(client, structure, model="emt", **others):
    return client.post("/v1/properties", json={"structure": structure, "model": model, **others})


def assert_problem(response, status, kind, *words):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    assert problem["type"] == f"/docs#{kind}"
    for word in words:
        assert word in problem["detail"]


def assert_works(client):
    """A worker meets a bug and says so: cheaper than a crystal under a time limit."""
    assert_problem(ask(client, COPPER, "odd_calculators:Broken"), 500, "internal", "KeyError")


def copper(edge):
    """POSCAR of a crystal that no other edge gives, Angstrom."""
    return f"Cu\n{edge}\n0 .5 .5\n.5 0 .5\n.5 .5 0\nCu\n1\ndirect\n0 0 0\n"


class TestAnswers:
    @pytest.mark.parametrize(
        ("path", "model", "ions"),
        [
            (DATA / "silicon.cif", "stillinger-weber", "relaxed"),
            (DATA / "silicon.cif", "kumagai", "clamped"),
            (DATA.parent / "crystals" / "copper.cif", "emt", "relaxed"),
        ],
    )
    def test_is_what_crystal_properties_says(self, client, path, model, ions):
        answer = ask(client, path.read_text(), model, ions=ions).json()
        direct = crystal_properties(path, model, ions=ions)
        for key, value in json.loads(json.dumps(direct.to_dict())).items():
            assert answer[key] == value, key
        assert answer["positions_A"] == direct.structure.cart_coords.tolist()
        PropertiesAnswer.model_validate(answer)

    def test_formats_give_the_same(self, client):
        structure = Structure.from_str(COPPER, fmt="cif")
        texts = [
            ask(client, COPPER),
            ask(client, structure.to(fmt="poscar"), format="poscar"),
            ask(client, structure.to_json(), format="json"),
            ask(client, structure.as_dict(), format="json"),
            client.post(
                "/v1/properties?model=emt", content=COPPER, headers={"Content-Type": "text/plain"}
            ),
        ]
        c11 = [r.json()["stiffness_ieee_GPa"][0][0] for r in texts]
        assert c11 == pytest.approx([c11[0]] * 5, rel=1e-6)

    def test_the_conventional_cell_is_that_of_the_crystal(self, client):
        cell = ask(client, COPPER).json()["conventional_cell_A"]
        lengths = [sum(x * x for x in row) ** 0.5 for row in cell]
        assert lengths == pytest.approx([3.5898] * 3, abs=1e-4)

    def test_an_unstable_crystal_is_an_answer(self, client):
        answer = ask(client, BCC, format="poscar").json()
        assert answer["stable"] is False
        assert answer["stability"]["eigenvalues"][0] < 0
        assert len(answer["stability"]["softest_strain"]) == 3
        assert "averages" not in answer

    def test_equal_crystals_at_once_are_computed_once(self, client):
        jobs = client.app.state.jobs
        done = jobs.done
        with ThreadPoolExecutor(4) as pool:
            text = copper(3.61)
            same = lambda k: ask(client, text.replace("Cu", f"{k}", 1), format="poscar")  # noqa: E731
            answers = list(pool.map(same, [0, 0, 1, 1]))
        assert {r.status_code for r in answers} == {200}
        assert jobs.done == done + 1


class TestModels:
    def test_each_is_loaded_once(self, odd, tmp_path):
        """By a service of its own: one whose worker another test has killed loads again."""
        (module,) = (p for f in sys.path for p in Path(f).glob("odd_calculators.py"))
        loads = Path(f"{module}.loads")
        loads.unlink(missing_ok=True)
        app = create_app(ServiceSettings(models=("emt", *odd), workers=1, cache=tmp_path))
        with TestClient(app, **HOST) as client:
            assert ask(client, COPPER, odd[5]).status_code == 200
            assert ask(client, copper(3.6), odd[5], format="poscar").status_code == 200
            assert client.get("/health").json()["workers"] == 1
        assert loads.read_text() == "once "

    def test_the_first_that_knows_the_elements_answers(self, client):
        assert ask(client, COPPER, None).json()["model"] == "emt"
        answer = ask(client, SILICON, None).json()
        assert answer["model"] == "stillinger-weber"
        assert answer["model_version"].startswith("matscipy ")
        response = client.post("/v1/properties", json={"structure": COPPER})
        assert response.json()["model"] == "emt"
        words = ["no model for Mg", "emt, stillinger-weber, kumagai"]
        assert_problem(ask(client, MAGNESIUM, None), 422, "refused", *words)

    def test_universal_potentials_come_before_special_ones(self, folder):
        pytest.importorskip("chgnet")
        app = create_app(ServiceSettings(models=("emt", "chgnet"), workers=1, cache=folder))
        with TestClient(app, **HOST) as client:
            answer = ask(client, COPPER, None).json()
            assert (answer["model"], answer["model_version"][:13]) == ("chgnet", "CHGNet 0.3.0,")
            row = client.get("/v1/models").json()["models"][1]
        assert row["functional"] == "PBE+U"
        assert "Deng" in row["citation"]
        assert "too soft" in row["faults"]

    def test_without_models_the_best_universal_potential_is_taken(self, monkeypatch):
        monkeypatch.setattr(UniversalPotential, "installed", True)
        assert work.default_models() == (("sevennet",), "")
        monkeypatch.setattr(UniversalPotential, "installed", False)
        assert work.default_models()[0] == ()
        assert "pip install objstress[universal]" in work.default_models()[1]


class TestCache:
    def test_a_crystal_is_computed_once_however_it_is_written(self, client):
        jobs = client.app.state.jobs
        structure = Structure.from_str(COPPER, fmt="cif")
        first = ask(client, COPPER)
        before = jobs.cached, jobs.done
        shifted = structure.copy().translate_sites(range(4), [0.5, 0.5, 0])
        for text, format in [
            (COPPER, "cif"),
            ("# a remark\n" + COPPER, "cif"),
            (structure.to_json(), "json"),
            (shifted.to_json(), "json"),
            ((structure * (1, 1, 2)).to_json(), "json"),
        ]:
            again = ask(client, text, format=format)
            assert again.headers["cache-status"] == "objstress; hit"
            assert again.content == first.content
        assert (jobs.cached, jobs.done) == (before[0] + 5, before[1])

    @pytest.mark.parametrize(
        "change",
        [
            {"ions": "clamped"},
            {"model": "kumagai"},
            {"structure": STRETCHED},
        ],
    )
    def test_whatever_changes_the_answer_is_another_question(self, client, change):
        asked = {"structure": SILICON, "model": "stillinger-weber"}
        assert ask(client, **asked).status_code == 200
        assert ask(client, **asked).headers["cache-status"] == "objstress; hit"
        other = ask(client, **asked | change)
        assert other.status_code == 200
        assert other.headers["cache-status"] == "objstress; fwd=miss"

    def test_another_file_of_one_name_is_another_model(self, tmp_path, monkeypatch):
        told = []
        for content in (b"one", b"two"):
            (tmp_path / "a.law").write_bytes(content)
            monkeypatch.setattr(work, "find_model", lambda model: model)
            monkeypatch.setattr(work, "_loaded", {})
            told.append(work._load(str(tmp_path / "a.law"))[1])
        assert told[0] != told[1]

    def test_damaged_files_are_computed_anew(self, client, folder):
        first = ask(client, COPPER)
        (path,) = [p for p in folder.iterdir() if p.read_bytes().endswith(first.content)]
        whole = path.read_bytes()
        for damaged in (b"", b"\xff\x00", whole[:-9], whole.replace(b"emt", b"EMT")):
            path.write_bytes(damaged)
            again = ask(client, COPPER)
            assert again.headers["cache-status"] == "objstress; fwd=miss"
            assert again.content == first.content
            assert path.read_bytes() == whole

    def test_it_is_bounded_and_survives_a_restart(self, tmp_path):
        answers = Answers(tmp_path / "new", 3)
        for k in range(5):
            answers.keep(f"{k}", f"answer {k}")
            os.utime(tmp_path / "new" / f"{k}", (k, k))
            assert answers.find("0") == "answer 0"  # which makes it young
        assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["0", "3", "4"]
        assert Answers(tmp_path / "new", 3).find("4") == "answer 4"

    def test_a_folder_that_cannot_be_is_no_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        answers = Answers(tmp_path / "file" / "folder", 3)
        answers.keep("key", "answer")
        assert answers.find("key") is None


class TestCost:
    def test_what_would_take_too_long_is_refused_at_once(self, hasty, odd):
        hasty.app.state.jobs.models["emt"]["seconds"] = (1.0, 10.0)
        with ThreadPoolExecutor(1) as pool:
            busy = pool.submit(ask, hasty, copper(3.55), odd[0], format="poscar")
            response = ask(hasty, copper(3.56), format="poscar")
            assert not busy.done()
        words = ["about 165 s by emt", "1 atoms", "15 evaluations", "3 s", "--timeout"]
        assert_problem(response, 422, "too-costly", *words)

    @pytest.mark.parametrize(
        ("structure", "name"),
        [
            (Structure.from_str(COPPER, fmt="cif"), "emt"),
            (Structure.from_str(SILICON, fmt="cif"), "stillinger-weber"),
            (Structure([[2.8, 0, 0], [0, 2.8, 0], [0, 0, 3.6]], ["Cu", "Au"],
                       [[0, 0, 0], [0.5, 0.5, 0.5]]), "emt"),
        ],
    )  # fmt: skip
    def test_evaluations_are_about_as_many_as_expected(self, structure, name):
        calculator = make_calculator(name)
        calculate, count = calculator.calculate, 0

        def counted(*arguments):
            nonlocal count
            count += 1
            calculate(*arguments)

        calculator.calculate = counted
        crystal_properties(structure, calculator)
        expected = stiffness_evaluations(read_primitive_cell(structure))
        assert expected == pytest.approx(count, rel=0.3)

    def test_the_time_of_an_evaluation_is_measured(self, odd):
        fixed, atom = CalculatorSource.named("emt").evaluation_seconds()
        assert 0 <= fixed < 1
        assert 0 < atom < 1
        assert CalculatorSource.named(odd[0]).evaluation_seconds() is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("structure", "format", "words"),
        [
            ("/etc/passwd", "cif", ["CIF"]),
            ("", "cif", ["CIF"]),
            ("data_x\n" * 1000, "cif", ["CIF"]),
            (MAGNESIUM, "cif", ["no model for element Mg"]),
            (COPPER.replace("0.500000000000  1\n", "0.500000000000  0.5\n", 1), "cif",
             ["(Cu:0.5) is partly occupied"]),
            (COPPER + "_space_group_magn.number_BNS  62.448\n", "cif", ["magnetic"]),
            (COPPER + "_magnetic_space_group.transform_to_standard_Pp_abc  a,b,c;0,0,0\n", "cif",
             ["magnetic"]),
            ("_" * 200_000, "cif", []),
            ("poscar\n3.6\n1 0 0\n0 1 0\n0 0 1\nCu\n111111111111111111\ndirect\n0 0 0\n", "poscar",
             []),
            (COPPER.replace("Cu1  1  0.000000000000  0.5", "Cu1  1  0.000000000000  0.01"), "cif",
             []),
            (BCC.replace("0.5 0.5 0.5", "0.05 0 0"), "poscar",
             ["atoms overlap", "1 (Cu)", "2 (Cu)"]),
            (BCC.replace("2.87", "0.1"), "poscar", ["overlap"]),
            (BCC.replace("0 0 1", "0 0 0", 1), "poscar", []),
            (BCC.replace("Cu\n", ""), "poscar", ["name its elements"]),
            (BCC.replace("Cu", "Xx"), "poscar", []),
            (BCC.replace("0.5 0.5 0.5", "nan 0 0"), "poscar", ["finite"]),
            ("[1]", "json", ["object"]),
            ("{" * 500, "json", ["JSON"]),
            ("[" * 100_000, "json", ["JSON"]),
            ('{"@module": "os", "@class": "system", "command": "id"}', "json", ["@module"]),
            ('{"@module": "pymatgen.core.structure", "@class": "Structure"}', "json", ["lattice"]),
        ],
    )  # fmt: skip
    def test_bad_structures(self, client, structure, format, words):
        assert_problem(ask(client, structure, format=format), 422, "refused", *words)

    def test_a_structure_that_relaxes_to_another_symmetry(self, client):
        # bcc, sheared a little: it falls to a close-packed one.
        text = BCC.replace("1 0 0\n", "1.06 0 0\n", 1)
        response = ask(client, text, format="poscar")
        assert_problem(response, 422, "refused", "relaxes from point group 4/mmm to m-3m")

    def test_too_many_atoms(self, client):
        structure = Structure.from_str(COPPER, fmt="cif") * (2, 2, 2)
        response = ask(client, structure.as_dict(), format="json")
        assert_problem(response, 422, "refused", "32", "20")

    def test_unknown_model(self, client):
        for name in ("nosuch", "os:system", "/etc/passwd", "x.law", "bks"):
            assert_problem(ask(client, COPPER, name), 404, "unknown-model", name, "kumagai")

    def test_unknown_keys_and_values(self, client):
        response = client.post("/v1/properties", json={"structure": COPPER, "modle": "emt"})
        assert_problem(response, 422, "invalid", "model")
        response = ask(client, COPPER, arguments={})
        assert_problem(response, 422, "invalid", "unknown key 'arguments'")
        response = ask(client, COPPER, formt="cif")
        assert_problem(response, 422, "invalid", "did you mean format?")
        assert_problem(ask(client, COPPER, ions="free"), 422, "invalid", "ions")
        assert_problem(ask(client, {"a": 1}), 422, "invalid", "structure")
        response = client.post("/v1/properties?model=emt&x=1", content=COPPER)
        assert_problem(response, 422, "invalid", "'x'")

    def test_bodies_that_are_no_request(self, client):
        def post(content, kind="application/json"):
            return client.post("/v1/properties", content=content, headers={"Content-Type": kind})

        assert_problem(post(b"{"), 400, "malformed", "JSON")
        assert_problem(post(b"[]"), 422, "invalid")
        assert_problem(post(b"\xff", "text/plain"), 400, "malformed", "UTF-8")
        assert_problem(post(b"x", "text/plain"), 422, "refused", "CIF")
        pickled = pickle.dumps({"structure": COPPER, "model": "emt"})
        assert_problem(post(pickled), 400, "malformed")
        assert_problem(post(pickled, "application/octet-stream"), 415, "wrong-type")

    @pytest.mark.parametrize("kind", ["application/json", "text/plain"])
    def test_bodies_as_http_has_them(self, client, kind):
        content = json.dumps({"structure": COPPER, "model": "emt"})
        query = {} if kind == "application/json" else {"model": "emt"}
        text = content if kind == "application/json" else "# Körner, µ\n" + COPPER

        def post(body, **headers):
            return client.post(
                "/v1/properties",
                params=query,
                content=body,
                headers={"Content-Type": kind} | headers,
            )

        plain = post(text.encode())
        assert plain.status_code == 200, plain.text
        half = len(text) // 2
        members = gzip.compress(text[:half].encode()) + gzip.compress(text[half:].encode())
        for body, headers in (
            (gzip.compress(text.encode()), {"Content-Encoding": "gzip"}),
            (members, {"Content-Encoding": "gzip"}),
            (zlib.compress(text.encode()), {"Content-Encoding": "deflate"}),
            (b"\xef\xbb\xbf" + text.encode(), {}),
            (text.encode("latin-1"), {"Content-Type": f"{kind}; charset=ISO-8859-1"}),
            (text.encode("utf-16"), {"Content-Type": f'{kind}; charset="utf-16"'}),
        ):
            answer = post(body, **headers)
            assert answer.status_code == 200, (headers, answer.text)
            assert answer.json() == plain.json()
        bomb = gzip.compress(b"x" * 3_000_000)
        assert_problem(post(bomb, **{"Content-Encoding": "gzip"}), 413, "too-large")
        assert_problem(
            post(b"no gzip", **{"Content-Encoding": "gzip"}), 400, "malformed", "not gzip"
        )
        broken = gzip.compress(text.encode())[:-20]
        assert_problem(post(broken, **{"Content-Encoding": "gzip"}), 400, "malformed", "breaks off")
        brotli = post(b"x", **{"Content-Encoding": "br"})
        assert_problem(brotli, 415, "wrong-type", "'br'")
        assert brotli.headers["accept-encoding"] == "gzip, deflate"
        for charset in ("klingon", "base64", "idna"):
            answer = post(b"x", **{"Content-Type": f"{kind}; charset={charset}"})
            assert_problem(answer, 415, "wrong-type", charset)

    @pytest.mark.parametrize("path", ["/", "/docs", "/health", "/v1/models", "/openapi.json"])
    def test_head_is_get_without_the_body(self, client, path):
        head, get = client.head(path), client.get(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(get.content))
        assert head.headers["content-type"] == get.headers["content-type"]

    def test_addresses_and_methods(self, client):
        assert_problem(client.get("/nosuch"), 404, "not-found", "/nosuch")
        assert_problem(client.get("/page/../app.py"), 404, "not-found")
        assert_problem(client.get("/page/%2e%2e/app.py"), 404, "not-found")
        response = client.get("/v1/properties")
        assert_problem(response, 405, "wrong-method", "GET")
        assert response.headers["allow"] == "POST"

    def test_other_hosts_and_other_sites(self, client):
        response = client.get("/health", headers={"Host": "evil.example:8765"})
        assert_problem(response, 400, "foreign-host", "evil.example")
        assert client.get("/health", headers={"Host": "localhost:8765"}).status_code == 200
        assert client.get("/health", headers={"Host": "[::1]:8765"}).status_code == 200
        response = client.post(
            "/v1/properties", content="x", headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert_problem(response, 403, "cross-site")


class TestLimits:
    def test_a_body_that_says_how_large_it_is(self, client):
        assert_problem(ask(client, "x" * 300_000), 413, "too-large", str(256 * 1024))

    def test_a_body_that_does_not_say_is_not_read_to_its_end(self):
        taken, sent = [], []

        async def receive():
            taken.append(10_000)
            return {"type": "http.request", "body": b"x" * 10_000, "more_body": True}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/properties", "raw_path": b"",
            "query_string": b"", "headers": [(b"host", b"localhost")], "http_version": "1.1",
            "scheme": "http", "server": ("localhost", 80), "client": ("localhost", 1),
        }  # fmt: skip
        asyncio.run(create_app(ServiceSettings(max_body=50_000))(scope, receive, send))
        assert sent[0]["status"] == 413
        assert sum(taken) <= 60_000

    def test_a_body_that_does_not_come(self):
        sent = []

        async def receive():
            await asyncio.sleep(60)

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/properties", "raw_path": b"",
            "query_string": b"", "headers": [(b"host", b"localhost")], "http_version": "1.1",
            "scheme": "http", "server": ("localhost", 80), "client": ("localhost", 1),
        }  # fmt: skip
        asyncio.run(create_app(ServiceSettings(body_seconds=0.05))(scope, receive, send))
        assert sent[0]["status"] == 408

    def test_the_time_limit_kills_and_the_next_request_works(self, hasty, odd):
        begun = time.monotonic()
        assert_problem(ask(hasty, COPPER, odd[0]), 504, "too-slow", "3 s")
        assert time.monotonic() - begun < 12
        assert_works(hasty)

    def test_a_killed_worker_is_replaced(self, fragile, odd):
        assert_problem(ask(fragile, COPPER, odd[1]), 422, "crashed")
        assert_works(fragile)

    def test_a_worker_has_bounded_memory(self, fragile, odd):
        assert_problem(ask(fragile, COPPER, odd[2]), 422, "refused", "memory")

    def test_numbers_that_are_none(self, fragile, odd):
        response = ask(fragile, COPPER, odd[4])
        assert_problem(response, 422, "refused")

    def test_a_bug_is_the_service_s_own_and_tells_nothing(self, fragile, odd):
        assert_problem(ask(fragile, COPPER, odd[3]), 500, "internal", "KeyError")
        assert "a bug" not in ask(fragile, COPPER, odd[3]).text

    def test_a_full_queue(self, hasty, odd):
        results = []

        def go(k):
            results.append(ask(hasty, copper(3.6 + k / 100), odd[0], format="poscar"))

        threads = [threading.Thread(target=go, args=(k,)) for k in range(2)]
        for thread in threads:
            thread.start()
        while hasty.get("/health").json()["waiting"] < 1:
            assert any(thread.is_alive() for thread in threads)
            time.sleep(0.01)
        response = ask(hasty, copper(3.7), odd[0], format="poscar")
        assert_problem(response, 429, "busy", "ask again")
        assert int(response.headers["retry-after"]) >= 1
        for thread in threads:
            thread.join()
        assert [r.status_code for r in results] == [504, 504]
        assert_works(hasty)

    def test_a_stopping_service_refuses(self, odd, folder):
        app = create_app(
            ServiceSettings(models=("emt", odd[0]), workers=1, timeout=3.0, cache=folder)
        )
        jobs = app.state.jobs
        with TestClient(app, **HOST) as client, ThreadPoolExecutor(2) as pool:
            texts = [copper(3.6 + k / 100) for k in range(2)]
            waiting = [pool.submit(ask, client, x, odd[0], format="poscar") for x in texts]
            while client.get("/health").json()["waiting"] < 1:
                assert not all(request.done() for request in waiting)
                time.sleep(0.01)
            time.sleep(0.3)
            jobs.refuse_more()
            assert_problem(ask(client, COPPER), 503, "stopping")
            assert sorted(w.result().status_code for w in waiting) == [503, 504]
            assert client.get("/health").json()["status"] == "stopping"

    def test_settings_and_models_are_checked_at_the_start(self):
        with pytest.raises(InputError, match="workers"):
            ServiceSettings(workers=0)
        with pytest.raises(InputError, match="nosuch"):
            create_app(ServiceSettings(models=("nosuch",), workers=1)).state.jobs.start()
        with pytest.raises(InputError, match="one name"):
            create_app(ServiceSettings(models=("emt", "emt"), workers=1)).state.jobs.start()


class TestAddresses:
    def test_models(self, client):
        rows = {row["name"]: row for row in client.get("/v1/models").json()["models"]}
        assert list(rows) == ["emt", "stillinger-weber", "kumagai"]
        assert rows["kumagai"]["elements"] == ["Si"]
        assert rows["emt"]["version"].startswith("ase ")
        assert not rows["emt"]["universal"]

    def test_health(self, client):
        found = client.get("/health").json()
        assert found["status"] == "ok"
        assert found["workers"] == 1

    def test_headers_are_on_every_answer(self, client):
        for response in (
            client.get("/"), client.get("/docs"), client.get("/page/page.js"),
            client.get("/nosuch"), client.get("/health"), ask(client, "x"),
        ):  # fmt: skip
            assert response.headers["content-security-policy"].startswith("default-src 'self';")
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["referrer-policy"] == "no-referrer"
            assert "access-control-allow-origin" not in response.headers

    def test_pages_name_no_other_host(self, client):
        folder = Path(sys.modules["objstress.service.app"].PAGE)
        for path in folder.iterdir():
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            for line in text.splitlines():
                assert "//" not in line.replace("http://127.0.0.1", "") or "// " in line, line
            assert "style=" not in text
            assert "onclick" not in text
        for kind in json.loads(client.get("/openapi.json").text)["paths"]:
            assert client.get(kind).status_code in (200, 405)

    def test_openapi_is_right_and_its_examples_work(self, client):
        content = client.get("/openapi.json").json()
        assert content["openapi"].startswith("3.1")

        def references(value):
            if isinstance(value, dict):
                yield from [value["$ref"]] if "$ref" in value else []
                value = list(value.values())
            if isinstance(value, list):
                for each in value:
                    yield from references(each)

        for reference in references(content):
            place = content
            for part in reference.removeprefix("#/").split("/"):
                place = place[part]
        assert {"200", "404", "413", "422", "429", "503", "504"} <= set(
            content["paths"]["/v1/properties"]["post"]["responses"]
        )
        for example in content["components"]["schemas"]["PropertiesRequest"]["examples"]:
            assert client.post("/v1/properties", json=example).status_code == 200

    def test_every_problem_is_described(self, client):
        from objstress.service.problems import PROBLEMS

        page = client.get("/docs").text
        for kind, (status, _) in PROBLEMS.items():
            assert f'<tr id="{kind}"><td>{status}</td>' in page


class TestParsing:
    def test_no_file_is_opened_and_nothing_is_run(self):
        bad = []
        known = ("open", "subprocess", "os.system", "os.exec", "pickle.find_class", "compile")

        def watch(event, arguments):
            if watching and event.startswith(known) and not str(arguments[0]).startswith("<"):
                bad.append((event, arguments))

        # CVE-2024-23346: pymatgen once evaluated this, and lets sympy evaluate what is left of it.
        attack = (
            COPPER + "\n_space_group_magn.transform_BNS_Pp_abc  'a,b,[d for d in ().__class__."
            '__mro__[1].__getattribute__ ( *[().__class__.__mro__[1]]+["__sub" + "classes__"]) () '
            'if d.__name__ == "BuiltinImporter"][0].load_module ("os").system ("touch pwned");0,0,0'
            "'\n_space_group_magn.number_BNS  62.448\n"
        )
        texts = [(COPPER, "cif"), ("/etc/passwd", "cif"), ("/etc/passwd", "poscar"),
                 (POSCAR, "poscar"), ("/etc/passwd", "json"), (attack, "cif"),
                 ('{"@module": "os", "@class": "system"}', "json")]  # fmt: skip

        def all_of_them():
            for text, format in texts:
                try:
                    parse_structure(text, format, 100)
                except InputError:
                    continue

        watching = False
        all_of_them()  # modules that are loaded at first use
        sys.addaudithook(watch)
        watching = True
        all_of_them()
        watching = False
        assert not bad
        assert not Path("pwned").exists()

    @pytest.mark.parametrize(
        ("edges", "message"),
        [
            ("4 0 0\n0 4 0\n0 0 1001\n", "longer than 1000 Angstrom"),
            ("4 0 0\n0 4 0\n4 4 0.004\n", "no volume"),
            ("0.01 0 0\n0 0.01 0\n0 0 0.01\n", "no volume"),
        ],
    )
    def test_cells_that_would_take_for_ever_are_refused(self, edges, message):
        text = f"cell\n1.0\n{edges}Cu\n1\ndirect\n0 0 0\n"
        with pytest.raises(InputError, match=message):
            parse_structure(text, "poscar", 100)

    @settings(
        max_examples=200, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def test_mutated_texts_are_read_or_refused(self, data):
        as_json = Structure.from_str(POSCAR, fmt="poscar").to_json()
        text, format = data.draw(
            st.sampled_from([(COPPER, "cif"), (POSCAR, "poscar"), (BCC, "poscar"),
                             (as_json, "json")])
        )  # fmt: skip
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(text)))
            cut = data.draw(st.integers(0, 12))
            put = data.draw(
                st.one_of(st.text(max_size=8), st.sampled_from(["nan", "1e308", "-1", "\n", "'"]))
            )
            text = text[:start] + put + text[start + cut :]
        refusal, found = "", None
        try:
            found = parse_structure(text, format, 50)
        except InputError as error:
            refusal = str(error)
        assert "\n" not in refusal
        assert found is None or (0 < len(found) <= 50 and found.is_ordered)


def alive(pid):
    """Whether a process runs; one that has ended may wait to be looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_starts_and_stops_cleanly(tmp_path):
    code = """
import sys
from objstress.service.app import serve
from objstress.service.jobs import ServiceSettings
if __name__ == "__main__":
    settings = ServiceSettings(models=("emt",), workers=1, body_seconds=1.0)
    serve(settings, "127.0.0.1", 0, lambda x: print(x, flush=True))
"""
    (tmp_path / "run.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", tmp_path / "run.py"], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("objstress serves at http://127.0.0.1:")
        import httpx

        address = line.split()[-1]
        assert httpx.get(f"{address}/health").json()["status"] == "ok"
        assert httpx.head(f"{address}/health").text == ""
        # Heads of requests that never end take no place for long.
        port = int(address.rpartition(":")[2])
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
        for connection in waiting:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert httpx.get(f"{address}/health", timeout=60).json()["status"] == "ok"
        for connection in waiting:
            connection.settimeout(60)
            assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
            connection.close()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        there = children.read_text().split() if children.exists() else []
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
        begun = time.monotonic()
        while any(map(alive, there)) and time.monotonic() - begun < 60:
            time.sleep(0.05)
        assert not any(map(alive, there))
    finally:
        process.kill()
