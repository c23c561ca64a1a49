"""The service under load, and under inputs made to break it.

`python -m benchmarks.service` writes service.json. Everything runs on this machine and talks to
127.0.0.1 alone:

- 200 clients at once for a minute, a tenth of their bodies malformed; half of the rest are one of
  few structures (the cache answers), half are new. Memory is the proportional set size (PSS) of the
  server, its fork server and its workers, pages that they share counted once.
- 10,000 texts made from good ones by mutation, and from nothing: first all of them through the
  parser, within the memory that a worker has, then each twentieth through the service.
- Schemathesis asks what OpenAPI promises.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from objstress.io.files import write_json
from objstress.reports import Claim, claims_table, environment

CLIENTS, SECONDS, SETTLED = 200, 60.0, 15.0
FUZZED, ASKED_EACH = 10_000, 20
PARSER_SECONDS = 5.0
"""A text that takes longer hangs."""
DATA = Path(__file__).parents[1] / "data"
SERVER = """
import sys
from pathlib import Path
from objstress.service.app import serve
from objstress.service.jobs import ServiceSettings
if __name__ == "__main__":
    models = ("emt", "stillinger-weber", "kumagai")
    settings = ServiceSettings(models, workers=2, queue=32, timeout=20.0, cache=Path(sys.argv[1]))
    serve(settings, "127.0.0.1", 0, lambda line: print(line, flush=True))
"""


class Service:
    """The service in a process of its own."""

    def __enter__(self) -> Service:
        self.folder = tempfile.TemporaryDirectory()
        script = Path(self.folder.name) / "run.py"
        script.write_text(SERVER)
        self.log = open(Path(self.folder.name) / "log", "w+")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", script, self.folder.name + "/answers"],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1]
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()
        self.folder.cleanup()

    def memory(self) -> float:
        """PSS of all its processes, MB."""
        total, todo = 0, [self.process.pid]
        while todo:
            pid = todo.pop()
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(rollup.partition("Pss:")[2].split()[0])
                for task in Path(f"/proc/{pid}/task").iterdir():
                    todo += map(int, (task / "children").read_text().split())
            except (OSError, ValueError):
                continue  # it has just ended
        return total / 1024


def structures() -> list[tuple[str, str, str]]:
    """(text, format, model) that the models can answer."""
    poscar = "Cu\n3.6\n0 .5 .5\n.5 0 .5\n.5 .5 0\nCu\n1\ndirect\n0 0 0\n"
    tetragonal = "CuAu\n1\n2.8 0 0\n0 2.8 0\n0 0 3.6\nCu Au\n1 1\ndirect\n0 0 0\n.5 .5 .5\n"
    from pymatgen.core import Structure

    return [
        ((DATA / "crystals" / "copper.cif").read_text(), "cif", "emt"),
        ((DATA / "silicon" / "silicon.cif").read_text(), "cif", "stillinger-weber"),
        (poscar, "poscar", "emt"),
        (tetragonal, "poscar", "emt"),
        (Structure.from_str(poscar, fmt="poscar").to_json(), "json", "emt"),
    ]


WORDS = [
    "nan", "inf", "-1", "0", "1e308", "1e-308", "99999999999999999999", "'", '"', ";", "\n", "\r",
    "\t", " ", "\x00", "\ufeff", "é", "loop_", "data_", "_cell_length_a", "?", ".", "(", "{", "[",
    "Xx", "D", "Cu2+", "Og", "x,y,z", "-y+1/4,x,z", "9**9**9", "__import__('os')", "/etc/passwd",
    "direct", "cartesian", "selective dynamics", "null", "true", "1/0", "save_", "#",
]  # fmt: skip


def mutated(text: str, rng: random.Random) -> str:
    """A few cuts, words, swapped lines and repeats."""
    for _ in range(rng.randint(1, 5)):
        kind = rng.randrange(6)
        start = rng.randint(0, len(text))
        end = min(len(text), start + rng.choice((0, 1, 3, 30, 300)))
        lines = text.split("\n")
        if kind == 0:
            text = text[:start] + text[end:]
        elif kind == 1:
            text = text[:start] + rng.choice(WORDS) + text[end:]
        elif kind == 2:
            text = text[:start] + text[start:end] * rng.randint(2, 20) + text[end:]
        elif kind == 3:
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
        elif kind == 4:
            numbers = [k for k, c in enumerate(text) if c.isdigit()]
            for k in rng.sample(numbers, min(3, len(numbers))):
                text = text[:k] + str(rng.randrange(10)) + text[k + 1 :]
        else:
            text = text[:start] + "".join(map(chr, rng.choices(range(1, 300), k=8))) + text[start:]
    return text


def fuzzed(count: int) -> list[tuple[str, str]]:
    """(text, format); a twentieth from nothing, a tenth under a wrong format."""
    rng = random.Random(0)
    known = [(text, format) for text, format, _ in structures()]
    found = []
    for _ in range(count):
        text, format = rng.choice(known)
        if rng.random() < 0.05:
            text = "".join(rng.choices(WORDS, k=rng.randint(0, 60)))
        if rng.random() < 0.1:
            format = rng.choice(("cif", "poscar", "json"))
        found.append((mutated(text, rng), format))
    return found


PARSE = """
import json, signal, sys, time, warnings
from collections import Counter
from objstress.errors import InputError
from objstress.service import work
warnings.simplefilter("ignore")
work.begin(2 * 1024**3)
class Hung(Exception): pass
def late(*_): raise Hung
signal.signal(signal.SIGALRM, late)
count, slowest, strange = Counter(), 0.0, []
for text, format in json.load(open(sys.argv[1])):
    begun = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
    try:
        work.parse_structure(text, format, 100)
        count["read"] += 1
    except InputError:
        count["refused"] += 1
    except Hung:
        count["hung"] += 1
        strange.append([format, text[:3000], "hung"])
    except Exception as error:
        count["crashed"] += 1
        strange.append([format, text[:3000], repr(error)[:200]])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    slowest = max(slowest, time.perf_counter() - begun)
print(json.dumps({"count": count, "slowest_s": slowest, "strange": strange[:20]}))
"""


def fuzz_parser(inputs: list[tuple[str, str]]) -> dict[str, Any]:
    """All texts in one process; a dead one is a crash."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(inputs, file)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PARSE, file.name, str(PARSER_SECONDS)],
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
    if done.returncode != 0:
        return {"count": {"crashed": 1}, "slowest_s": 0.0, "strange": [done.stderr[-2000:]]}
    return json.loads(done.stdout.splitlines()[-1])


def fuzz_service(address: str, inputs: list[tuple[str, str]]) -> dict[str, Any]:
    """Some of the texts as requests, one after the other on each of four lines."""
    statuses: Counter[int] = Counter()
    server_errors: list[Any] = []

    async def line(client: httpx.AsyncClient, mine: list[tuple[str, str]]) -> None:
        for text, format in mine:
            body = {"structure": text, "format": format, "model": "emt"}
            answer = await client.post("/v1/properties", json=body)
            statuses[answer.status_code] += 1
            if answer.status_code >= 500:
                server_errors.append([answer.status_code, format, text[:3000], answer.text[:300]])

    async def all_lines() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as client:
            await asyncio.gather(*(line(client, inputs[k::4]) for k in range(4)))

    begun = time.perf_counter()
    asyncio.run(all_lines())
    return {
        "statuses": {str(k): v for k, v in sorted(statuses.items())},
        "server_errors": server_errors[:10],
        "seconds": time.perf_counter() - begun,
    }


def load(service: Service) -> dict[str, Any]:
    """Many clients at once."""
    good = structures()
    rng = random.Random(1)
    seen: list[tuple[str, int, float]] = []
    lost: Counter[str] = Counter()
    memory: list[tuple[float, float]] = []
    end = time.perf_counter() + SECONDS
    begun = time.perf_counter()

    def body(number: int) -> tuple[str, bytes]:
        draw = rng.random()
        text, format, model = rng.choice(good)
        if draw < 0.1:
            broken = [b"{", b"\xff\x00", b"[]", b'{"structure": 1}', b"x" * 300_000, b""]
            whole = {"structure": mutated(text, rng), "format": format, "model": model}
            if rng.random() < 0.5:
                return "malformed", rng.choice(broken)
            return "malformed", json.dumps(whole).encode()
        if draw < 0.55:
            return "known", json.dumps(
                {"structure": text, "format": format, "model": model}
            ).encode()
        text, format, model = rng.choice([row for row in good if row[1] == "poscar"])
        name, scale, rest = text.split("\n", 2)
        text = f"{name}\n{float(scale) * rng.uniform(0.98, 1.02):.6f}\n{rest}"
        whole = {"structure": text, "format": format, "model": model}
        return "new", json.dumps(whole).encode()

    async def client(number: int, pool: httpx.AsyncClient) -> None:
        k = 0
        while time.perf_counter() < end:
            kind, content = body(number * 1_000_000 + k)
            k += 1
            start = time.perf_counter()
            try:
                answer = await pool.post(
                    "/v1/properties", content=content, headers={"Content-Type": "application/json"}
                )
            except httpx.HTTPError as error:
                lost[type(error).__name__] += 1
                continue
            seen.append((kind, answer.status_code, time.perf_counter() - start))
            if answer.status_code == 429:  # less than is asked for, so that the queue stays full
                await asyncio.sleep(min(2.0, float(answer.headers["retry-after"])) * rng.random())

    async def watch() -> None:
        while time.perf_counter() < end:
            now = time.perf_counter() - begun
            memory.append((now, await asyncio.to_thread(service.memory)))
            await asyncio.sleep(1.0)

    async def all_clients() -> None:
        limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
        async with httpx.AsyncClient(
            base_url=service.address, timeout=120, limits=limits, trust_env=False
        ) as pool:
            await asyncio.gather(watch(), *(client(k, pool) for k in range(CLIENTS)))

    asyncio.run(all_clients())
    took = time.perf_counter() - begun

    def times(kind: str, status: int) -> dict[str, float]:
        own = sorted(t for k, s, t in seen if k == kind and s == status)
        if not own:
            return {"number": 0}
        return {
            "number": len(own),
            "p50_s": own[len(own) // 2],
            "p99_s": own[min(len(own) - 1, int(0.99 * len(own)))],
        }

    # Medians of five seconds: a worker that is being replaced is there twice, or not at all.
    settled = [m for t, m in memory if SETTLED <= t < SETTLED + 5]
    last = [m for t, m in memory if t > SECONDS - 5]
    return {
        "clients": CLIENTS,
        "seconds": took,
        "requests": len(seen),
        "requests_per_second": len(seen) / took,
        "computed_per_second": sum(k == "new" and s == 200 for k, s, _ in seen) / took,
        "statuses": {str(k): v for k, v in sorted(Counter(s for _, s, _ in seen).items())},
        "by_kind": {f"{k} {s}": times(k, s) for k, s in sorted({(k, s) for k, s, _ in seen})},
        "share_429": sum(s == 429 for _, s, _ in seen) / len(seen),
        "lost": dict(lost),
        "memory_MB": [[round(t, 1), round(m, 1)] for t, m in memory],
        "memory_growth": statistics.median(last) / statistics.median(settled) - 1,
    }


def promises(address: str) -> dict[str, Any]:
    """What Schemathesis finds, from its own command line."""
    command = [
        Path(sys.executable).parent / "schemathesis", "run", f"{address}/openapi.json",
        "--max-examples", "50", "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance",
        "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=600, check=False, cwd=folder
        )
    return {"exit": done.returncode, "summary": done.stdout.splitlines()[-25:]}


def main() -> None:
    parser = argparse.ArgumentParser(description="the service under load and under bad input")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    out = parser.parse_args().out
    inputs = fuzzed(FUZZED)
    parsed = fuzz_parser(inputs)
    with Service() as service:
        under_load = load(service)
        asked = fuzz_service(service.address, inputs[::ASKED_EACH])
        promised = promises(service.address)
    statuses = under_load["statuses"]
    errors = sum(n for s, n in statuses.items() if int(s) >= 500)
    fuzz_errors = sum(n for s, n in asked["statuses"].items() if int(s) >= 500)
    count = parsed["count"]
    claims = [
        Claim("answers 5xx under load", errors, 0),
        Claim("connections lost under load", sum(under_load["lost"].values()), 0),
        Claim("growth of memory, second 15 to 60", under_load["memory_growth"], 0.05),
        Claim("fuzzed texts read or refused", sum(map(count.get, ("read", "refused"), (0, 0))),
              FUZZED, at_least=True),
        Claim("fuzzed texts that crash the parser", count.get("crashed", 0), 0),
        Claim("fuzzed texts that hang", count.get("hung", 0), 0),
        Claim("answers 5xx to fuzzed requests", fuzz_errors, 0),
        Claim("schemathesis: broken promises (exit status)", promised["exit"], 0),
    ]  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_json(
        out / "service.json",
        {
            "claims": [claim.to_dict() for claim in claims],
            "load": under_load,
            "fuzz_parser": {"texts": len(inputs)} | parsed,
            "fuzz_service": {"requests": len(inputs[::ASKED_EACH])} | asked,
            "schemathesis": promised,
            "environment": environment(),
        },
    )
    print(claims_table(claims))


if __name__ == "__main__":
    main()
