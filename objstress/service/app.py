"""The service: its addresses, and how it starts and stops."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import difflib
import json
import zlib
from collections.abc import AsyncIterator, Callable
from email.message import Message
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from objstress.service.guard import Guard
from objstress.service.jobs import Job, Jobs, ServiceSettings
from objstress.service.patience import patient_protocol
from objstress.service.problems import Problem
from objstress.service.schema import (
    Health,
    ModelRow,
    Models,
    ProblemBody,
    PropertiesAnswer,
    PropertiesRequest,
    problem_responses,
)

PAGE = Path(__file__).parent / "page"
CHARSETS = ("utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252", "utf-16")
"""Python's names of the encodings that a body may have."""
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""{content encoding: what zlib calls it}."""

_QUERY = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "description": f"for a text/plain body; {text}",
        "schema": {"type": "string"} | ({"enum": values} if values else {}),
    }
    for name, values, text in (
        ("model", [], "a name from /v1/models; by default the first that knows the elements"),
        ("format", ["cif", "poscar", "json"], "cif by default"),
        ("ions", ["relaxed", "clamped"], "relaxed by default"),
    )
]


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """The service as a FastAPI application; its workers start with it.

    `app.state.jobs.start()` starts the workers earlier.

    Args:
        settings: by default those of `ServiceSettings()`.
    """
    settings = settings or ServiceSettings()
    jobs = Jobs(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(jobs.start)
        yield
        await asyncio.to_thread(jobs.stop)

    app = FastAPI(
        title="objstress",
        version=version("objstress"),
        description="Elastic properties of a crystal from its structure.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
    )
    app.state.jobs = jobs
    app.add_middleware(Guard, hosts=settings.hosts)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return error.response(request.url.path)

    @app.exception_handler(HTTPException)
    async def http_problem(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        kind = {404: "not-found", 405: "wrong-method"}.get(error.status_code, "malformed")
        detail = {
            "not-found": f"nothing at {path[:200]}; see /docs",
            "wrong-method": f"{path[:200]} does not accept {request.method}",
        }.get(kind, str(error.detail))
        return Problem(kind, detail, error.headers).response(path)

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> Response:
        return Problem("internal", "the service has failed; see its log").response(request.url.path)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html", headers={"Cache-Control": "no-cache"})

    @app.get("/health")
    async def health() -> Health:
        """Whether the service accepts requests, and how many it has answered."""
        return Health(
            status="stopping" if jobs.stopping else "ok",
            version=app.version,
            workers=settings.workers,
            waiting=jobs.waiting,
            done=jobs.done,
            failed=jobs.failed,
            cached=jobs.cached,
        )

    @app.get("/v1/models")
    async def models() -> Models:
        """The models that the operator offers."""
        return Models(models=[ModelRow(**row) for row in jobs.models.values()])

    @app.post(
        "/v1/properties",
        response_model=None,
        responses={
            200: {
                "description": "Elastic constants and derived properties",
                "headers": {
                    "Cache-Status": {
                        "description": "objstress; hit where the answer was kept from before",
                        "schema": {"type": "string"},
                    }
                },
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/PropertiesAnswer"}
                    }
                },
            },
            **problem_responses(
                "malformed", "foreign-host", "cross-site", "unknown-model", "slow-body",
                "too-large", "wrong-type", "invalid", "refused", "too-costly", "crashed", "busy",
                "stopping", "too-slow",
            ),
        },
        openapi_extra={
            "parameters": _QUERY,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/PropertiesRequest"}
                    },
                    "text/plain": {"schema": {"type": "string"}},
                },
            },
        },
    )  # fmt: skip
    async def properties(request: Request) -> Response:
        """Elastic properties of a structure: JSON, or the text alone with query parameters."""
        job = await _read(request, settings)
        answer, cached = await jobs.answer(job)
        status = "objstress; hit" if cached else "objstress; fwd=miss"  # RFC 9211
        return Response(answer, headers={"Cache-Status": status}, media_type="application/json")

    app.openapi = _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """FastAPI's schema, completed by the bodies that FastAPI does not read or write itself."""
    fastapi_schema = app.openapi

    def openapi() -> dict[str, Any]:
        content = fastapi_schema()
        schemas = content.setdefault("components", {}).setdefault("schemas", {})
        for model in (PropertiesRequest, PropertiesAnswer, ProblemBody):
            template = "#/components/schemas/{model}"
            schemas[model.__name__] = model.model_json_schema(ref_template=template)
        return content

    return openapi


async def _read(request: Request, settings: ServiceSettings) -> Job:
    """The request's body, checked.

    Raises:
        Problem: too large, too slow, of an unknown type, malformed, or no `PropertiesRequest`.
    """
    header = request.headers.get("content-type", "text/plain")
    kind = header.partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        raise Problem("wrong-type", f"{kind[:100]!r}: send application/json or text/plain")
    body = await _body(request, settings)
    query = request.query_params
    try:
        if kind == "application/json":
            if query:
                raise Problem("invalid", f"{next(iter(query))[:100]}: belongs in the JSON body")
            asked = PropertiesRequest.model_validate_json(_text(body, header))
        else:  # curl --data-binary @x.cif calls the body a form by default
            asked = PropertiesRequest.model_validate({**query, "structure": _text(body, header)})
    except ValidationError as error:
        raise _invalid(error) from None
    text = asked.structure
    if not isinstance(text, str):
        if asked.format != "json":
            raise Problem(
                "invalid", f"structure: an object has format 'json', not {asked.format!r}"
            )
        text = json.dumps(text)
    return Job(text, asked.format, asked.model, asked.ions)


async def _body(request: Request, settings: ServiceSettings) -> bytes:
    largest = settings.max_body
    too_large = Problem("too-large", f"the body has more than {largest} bytes")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > largest:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > largest:
                    raise too_large
    except TimeoutError:
        raise Problem(
            "slow-body", f"the body did not arrive within {settings.body_seconds:g} s"
        ) from None
    return _unpacked(bytes(body), request.headers.get("content-encoding", ""), too_large, largest)


def _unpacked(body: bytes, encoding: str, too_large: Problem, largest: int) -> bytes:
    """The body without its content encoding, read no further than the largest size."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in WINDOWS:
        raise Problem(
            "wrong-type",
            f"content encoding {encoding[:100]!r}: send gzip, deflate or none",
            {"Accept-Encoding": "gzip, deflate"},
        )
    content = b""
    while body:  # gzip may have several members
        unpack = zlib.decompressobj(WINDOWS[encoding])
        try:
            content += unpack.decompress(body, largest + 1 - len(content))
        except zlib.error:
            raise Problem("malformed", f"the body is not {encoding}") from None
        if len(content) > largest:
            raise too_large
        if not unpack.eof:
            raise Problem("malformed", f"the body is {encoding} that breaks off")
        body = unpack.unused_data
    return content


def _text(body: bytes, header: str) -> str:
    """The body as text, of the declared encoding or else UTF-8, without a byte-order mark."""
    parsed = Message()
    parsed["content-type"] = header
    given = parsed.get_param("charset", "utf-8")
    charset = str(given[-1] if isinstance(given, tuple) else given).strip()
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        name = ""
    if name not in CHARSETS:
        raise Problem("wrong-type", f"charset {charset[:100]!r}: send UTF-8")
    try:
        return body.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise Problem("malformed", f"the body is not {charset.upper()} text") from None


def _invalid(error: ValidationError) -> Problem:
    """The first error of a request, by its key."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    known = list(PropertiesRequest.model_fields)
    key = ".".join(str(part) for part in first["loc"])[:100]
    if first["type"] == "json_invalid":
        return Problem("malformed", f"the body is no JSON ({first['msg']})")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return Problem("invalid", f"unknown key {key!r}: {hint}")
    return Problem("invalid", f"{key}: {first['msg']}" if key else first["msg"])


class _Server(uvicorn.Server):
    """Reports where it listens, and refuses waiting requests as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self.jobs, self.say = jobs, say

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            self.say(f"objstress serves at http://{host}:{port}")

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.jobs.refuse_more()
        super().handle_exit(sig, frame)


def serve(settings: ServiceSettings, host: str, port: int, say: Callable[[str], None]) -> None:
    """Run the service until SIGTERM or SIGINT; running requests get a few seconds to finish.

    Args:
        settings: of the service.
        host: address to listen at.
        port: 0 takes a free one.
        say: called with one line that holds the address, once the service listens.

    Raises:
        InputError: a model that cannot be loaded.
    """
    app = create_app(settings)
    jobs: Jobs = app.state.jobs
    jobs.start()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=10,
        ws="none",
        http=patient_protocol(settings.body_seconds),
        proxy_headers=False,
    )
    try:
        _Server(config, jobs, say).run()
    except KeyboardInterrupt:  # uvicorn raises it again when it has stopped
        pass
    finally:
        jobs.stop()
