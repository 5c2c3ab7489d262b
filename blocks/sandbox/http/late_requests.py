"""
Requests that are carried out after they arrive: behind a slow proxy, or in a transaction that commits late.

A request that is not carried out yet when the sandbox ends never is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Protocol

from blocks.sandbox.http.faults import Fault
from blocks.sandbox.http.messages import Delivery, Request, Response
from blocks.sandbox.shop.shop import Shop

CarryOut = Callable[[], Response]


class Answer(Protocol):
    """Carries a request out and returns the response; `authorized` means that its token was checked before."""

    def __call__(self, request: Request, *, authorized: bool = False) -> Response:
        """Answer one request."""
        ...


class LateRequests:
    """Answers the requests that the fault `late` hits, and with `late_creations` all that create an order copy."""

    def __init__(self, shop: Shop, answer: Answer) -> None:
        self._shop = shop
        self._answer = answer

    async def answer(self, request: Request, fault: Fault) -> Response:
        """Carry the request out later; the fault says when and how it is answered."""
        carry_out: CarryOut | None = partial(self._answer, request)
        expected = Response(0)
        if fault.stamp == "arrival":
            expected, carry_out = self._begin(request)
        if carry_out is None:
            return _delivered(fault, expected)
        committed = self._carried_out_after(fault.seconds, carry_out)
        return await committed if fault.answer == "at_commit" else _delivered(fault, expected)

    def accept(self, request: Request, seconds: float) -> Response:
        """Answer a request at once, and commit it later with the times and ids of its arrival."""
        response, carry_out = self._begin(request)
        if carry_out is not None:
            self._carried_out_after(seconds, carry_out)
        return response

    def _begin(self, request: Request) -> tuple[Response, CarryOut | None]:
        """The answer, and what carries the request out later as of now (None: it is refused)."""
        arrived_at = self._shop.now_text()
        with self._shop.database.dry_run() as ids:
            expected = self._answer(request)
        if expected.status >= HTTPStatus.BAD_REQUEST:  # nothing is left to carry out later
            return self._answer(request), None
        return expected, partial(self._carry_out_as_of, arrived_at, ids, request)

    def _carried_out_after(self, seconds: float, carry_out: CarryOut) -> asyncio.Future[Response]:
        committed: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._shop.after(seconds, lambda: committed.set_result(carry_out()))
        return committed

    def _carry_out_as_of(self, arrived_at: str, ids: list[str], request: Request) -> Response:
        with self._shop.as_of(arrived_at), self._shop.database.with_ids(ids):
            return self._answer(request, authorized=True)


def _delivered(fault: Fault, response: Response) -> Response:
    return Response(response.status, delivery=Delivery.RESET) if fault.answer == "lost" else response
