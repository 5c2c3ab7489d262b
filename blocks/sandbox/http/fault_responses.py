"""Changes a response as a fault says."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import orjson

from blocks.sandbox.http.error_documents import error_response
from blocks.sandbox.http.faults import Fault
from blocks.sandbox.http.limits import throttled
from blocks.sandbox.http.messages import BODYLESS, Delivery, Response
from blocks.sandbox.shop import problems
from blocks.sandbox.shop.problems import Problem

_HTML = (
    "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n"
    "<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)


def faulty(fault: Fault, response: Response) -> Response:
    """The response as the fault changes it."""
    match fault.action:
        case "status":
            return _status_answer(fault, response.headers)
        case "reset":
            return Response(response.status, delivery=Delivery.RESET)
        case "close":
            return Response(response.status, delivery=Delivery.CLOSE)
        case "hang":
            return Response(response.status, delivery=Delivery.NEVER)
        case "truncate":
            response.delivery = Delivery.TRUNCATED
        case "slow":
            response.delivery, response.seconds = Delivery.SLOW, float(fault.seconds)
        case "malformed":
            response.body = response.body[: max(1, len(response.body) // 2)] or b"{"
        case "odd":
            response.body = _with_odd_values(fault, response.body)
    return response


def _with_odd_values(fault: Fault, body: bytes) -> bytes:
    document = orjson.loads(body or b"{}")
    data = document.get("data") or []
    for item in [*(data if isinstance(data, list) else [data]), *document.get("included", [])]:
        if "attributes" in item:  # a caller may have asked for relationships only
            item["attributes"] |= fault.changes.get(item["id"], {})
    return orjson.dumps(document) if body else body


# The API's own words for each status, if they are documented or recorded. The others are invented.
_PROBLEMS: dict[int, Callable[[], Problem]] = {
    401: problems.unauthorized,
    403: lambda: _injected(403, "FORBIDDEN", "Forbidden"),
    404: problems.not_found,
    405: lambda: problems.method_not_allowed("This method"),
    406: lambda: problems.not_acceptable("*/*"),
    409: lambda: _injected(409, "RECORD_NOT_UNIQUE", "Record not unique"),
    415: lambda: problems.unsupported_media_type("application/json"),
    422: lambda: problems.invalid("base", "is invalid", "invalid", base=True),
    423: lambda: problems.locked("resource", "unknown"),
}


def _json_problem(status: int) -> Problem:
    known = _PROBLEMS.get(status)
    if known is not None:
        return known()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _injected(status, "INTERNAL_SERVER_ERROR", "Internal server error")
    return _injected(status, "BAD_REQUEST", "Bad request")


def _injected(status: int, code: str, title: str) -> Problem:
    return problems.problem(status, code, title, "Injected by the sandbox.")


def _status_answer(fault: Fault, headers: dict[str, str]) -> Response:
    if fault.status in BODYLESS:
        return Response(fault.status)
    if fault.body == "html":
        return Response(fault.status, _HTML.format(status=fault.status).encode(), "text/html")
    if fault.body == "json":
        if fault.status == HTTPStatus.TOO_MANY_REQUESTS:
            return throttled(headers)
        return error_response(_json_problem(fault.status))
    return Response(fault.status, fault.body.encode(), "text/plain")
