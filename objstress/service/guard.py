"""What holds for every request: hosts and sites that are refused, headers, HEAD."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from objstress.service.problems import HEADERS, Problem


class Guard:
    """Adds headers to every answer; refuses other hosts' names and other sites' pages.

    A page elsewhere could have its own name point to 127.0.0.1 (DNS rebinding), or post a form.
    HEAD is answered as GET is, without the body.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        problem = None
        if self.hosts and name.lower() not in self.hosts:
            problem = Problem("foreign-host", f"this service is not {name[:100]!r}")
        elif scope["method"] == "POST" and headers.get(b"sec-fetch-site") in (
            "cross-site",
            "same-site",
        ):
            problem = Problem("cross-site", "only this service's own page may send requests")
        if problem:
            await problem.response(scope["path"])(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {key.lower() for key, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (key.lower().encode(), value.encode())
                    for key, value in HEADERS.items()
                    if key.lower().encode() not in present
                ]
            if message["type"] == "http.response.body" and scope["method"] == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        await self.app(asked, receive, send_with_headers)
