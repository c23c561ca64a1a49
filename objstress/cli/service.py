"""The command `serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from objstress.cli.app import app, say
from objstress.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@app.command()
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Name or file, again for more [emt, stillinger-weber, kumagai]."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8765,
    workers: Annotated[int, typer.Option(help="Processes that compute.")] = 2,
    queue: Annotated[int, typer.Option(help="Requests that may wait for them.")] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds that one structure may take.")] = 60.0,
    max_atoms: Annotated[int, typer.Option(help="Of a cell.")] = 100,
    max_body: Annotated[int, typer.Option(help="Bytes of a request.")] = 256 * 1024,
) -> None:
    """A web page and an HTTP service for the elastic properties of crystals."""
    try:
        from objstress.service.app import serve as run
        from objstress.service.jobs import DEFAULT_MODELS, ServiceSettings
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing: pip install objstress[service]") from None

    local = host in LOOPBACK
    if not local:
        say(f"warning: {host} may be reached by others; the service knows no passwords")
    settings = ServiceSettings(
        models=tuple(model or DEFAULT_MODELS),
        workers=workers,
        queue=queue,
        timeout=timeout,
        max_atoms=max_atoms,
        max_body=max_body,
        hosts=ServiceSettings.hosts if local else (),
    )
    run(settings, host, port, say)
