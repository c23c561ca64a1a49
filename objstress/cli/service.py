"""`objstress serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from objstress.cli.app import app, chosen_potential, say

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@app.command()
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or file of a model; repeat for several. If not given, the best universal "
            "potential installed."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8765,
    workers: Annotated[int, typer.Option(help="Number of worker processes.")] = 2,
    queue: Annotated[
        int, typer.Option(help="Number of requests that may wait; more are refused.")
    ] = 32,
    timeout: Annotated[
        float,
        typer.Option(
            help="Time limit for one structure, seconds; one expected to take longer is refused."
        ),
    ] = 600.0,
    max_atoms: Annotated[
        int, typer.Option(help="Largest number of atoms in a cell as it is given.")
    ] = 1000,
    max_body: Annotated[int, typer.Option(help="Largest request, bytes.")] = 256 * 1024,
) -> None:
    """Serve elastic properties over HTTP, with a web page.

    The service listens on this machine only unless --host says otherwise, and has no passwords.
    """
    from objstress.service.app import serve as run
    from objstress.service.jobs import ServiceSettings

    local = host in LOOPBACK
    if not local:
        say(f"warning: others may reach {host}; the service has no passwords")
    settings = ServiceSettings(
        models=tuple(model or [chosen_potential()]),
        workers=workers,
        queue=queue,
        timeout=timeout,
        max_atoms=max_atoms,
        max_body=max_body,
        hosts=ServiceSettings.hosts if local else (),
    )
    run(settings, host, port, say)
