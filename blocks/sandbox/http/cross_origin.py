"""Requests of pages in a browser, which come from another origin (CORS)."""

from __future__ import annotations

from blocks.sandbox.http.messages import Request, Response

_PREFLIGHT_SECONDS = 7200


def allow_origin(request: Request, response: Response) -> None:
    """Let any page read the response; if the request is a preflight, also let it send what it asks for."""
    if "origin" not in request.headers:
        return
    response.headers["Access-Control-Allow-Origin"] = "*"
    if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "OPTIONS")
        response.headers["Access-Control-Allow-Headers"] = request.headers.get("access-control-request-headers", "*")
        response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
