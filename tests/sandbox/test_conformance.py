"""The sandbox answers as its OpenAPI description says. The requests are always the same; `make conform` sends more."""

from __future__ import annotations

import conformance


def test_every_answer_has_the_status_the_headers_and_the_schema_of_the_description():
    run = conformance.run(examples=3, chosen=1, most=120)

    assert run.violations == []
    assert {status for _, status in run.answered} >= {200, 201, 204, 304, 400, 401, 403, 404, 406, 415, 422, 429}
    assert len({operation for operation, _ in run.answered}) == 120
