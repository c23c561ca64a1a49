"""Errors as problem+json (RFC 9457), and the headers that every answer carries."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

PROBLEMS = {
    "malformed": (400, "The request cannot be read"),
    "foreign-host": (400, "The request names another host"),
    "cross-site": (403, "The request comes from another site's page"),
    "not-found": (404, "There is nothing at this address"),
    "unknown-model": (404, "There is no such model"),
    "wrong-method": (405, "The address does not accept this method"),
    "slow-body": (408, "The request's body did not arrive in time"),
    "too-large": (413, "The request's body is too large"),
    "wrong-type": (415, "The body has a type that is not accepted"),
    "invalid": (422, "The request is not as described"),
    "refused": (422, "The structure cannot be used"),
    "too-costly": (422, "The structure would take too long"),
    "crashed": (422, "The structure crashed its worker"),
    "busy": (429, "The queue is full"),
    "internal": (500, "The service has failed"),
    "stopping": (503, "The service is stopping"),
    "too-slow": (504, "The time limit was reached"),
}
"""Kind -> (status, title); each is described at /docs#kind."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Problem(Exception):
    """A request that is answered by an error.

    Args:
        kind: a key of `PROBLEMS`.
        detail: one line that names the cause and the remedy.
        headers: of the answer, in addition to `HEADERS`.
    """

    def __init__(self, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.headers = kind, detail, dict(headers or {})

    def response(self, instance: str) -> Response:
        """The error as problem+json.

        Args:
            instance: path of the request.
        """
        status, title = PROBLEMS[self.kind]
        content = {
            "type": f"/docs#{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "instance": instance,
        }
        return Response(
            json.dumps(content),
            status,
            headers=HEADERS | self.headers,
            media_type="application/problem+json",
        )
