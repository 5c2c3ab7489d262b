"""Refusals as JSON:API error documents."""

from __future__ import annotations

import orjson

from blocks.sandbox.http.messages import Response
from blocks.sandbox.shop.problems import Problem

JSON_API_ERROR = "application/vnd.api+json; charset=utf-8"


def error_response(problem: Problem) -> Response:
    """The refusal with its status and its error objects."""
    return Response(problem.status, orjson.dumps({"errors": problem.errors}), JSON_API_ERROR, dict(problem.headers))
