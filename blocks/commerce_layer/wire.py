"""One request to Commerce Layer: wait for the rate limit, get a token, send, and understand the answer."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import SecretStr, ValidationError

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.auth import AccessTokens, ExpectedShop
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import (
    AuthenticationFailed,
    ErrorItem,
    InvalidToken,
    NotConnected,
    NotFound,
    ReadFailed,
    Throttled,
    WriteFateUnknown,
    error_for_answer,
)
from blocks.commerce_layer.rate_limit import Answer, Kind, RateBudget, Slot
from blocks.commerce_layer.transport import Answered, Timeouts, Transport, Unanswered, is_loopback

Method = Literal["GET", "POST", "PATCH", "DELETE"]
Compose = Callable[[], Awaitable[jsonapi.Fields]]
"""Makes a request's body right before it is sent, from what was just read."""
T = TypeVar("T")

READ_TRIES = 4
THROTTLED_TRIES = 5
FIRST_BACKOFF_SECONDS = 0.5
TOKEN_ENDPOINT = "oauth/token"  # noqa: S105 - a path, not a password
DELETE_TRIES = 4
_EMPTY = b'{"data": null}'


@dataclass(frozen=True, slots=True)
class _Call:
    """A request before it has a token."""

    method: Method
    kind: Kind
    endpoint: str
    resource_id: str | None = None
    params: Mapping[str, str] | None = None
    body: jsonapi.Fields | Compose | None = None

    async def content(self) -> bytes | None:
        """The body as it is sent."""
        body = await self.body() if callable(self.body) else self.body
        return None if body is None else json.dumps(body).encode()

    @property
    def target(self) -> str:
        """Path below the API's root."""
        return self.endpoint if self.resource_id is None else f"{self.endpoint}/{quote(self.resource_id, safe='')}"

    @property
    def is_list(self) -> bool:
        """Whether it reads a whole list."""
        return self.method == "GET" and self.resource_id is None

    @property
    def path(self) -> str:
        """Path as people know it."""
        return f"/api/{self.target}"


class Wire:
    """The connection to one organization's API and to the token endpoint."""

    def __init__(
        self,
        *,
        api_url: str,
        auth_url: str,
        client_id: str,
        client_secret: SecretStr,
        shop: ExpectedShop,
        budget: RateBudget,
        timeouts: Timeouts,
        connections: int,
    ) -> None:
        self._api_url, self._auth_url, self._budget = api_url.rstrip("/"), auth_url, budget
        self.requests_made: Counter[tuple[str, str]] = Counter()
        self.last_answers: dict[str, Answer] = {}
        """What the last answer to each HTTP method said about the rate limit."""
        self.tokens = AccessTokens(self._request_token, client_id, client_secret, shop)
        # A proxy in the environment is for other hosts, not for a sandbox on this machine.
        self._transport = Transport(timeouts, connections, use_proxies=not is_loopback(api_url))

    @property
    def shop_time(self) -> datetime | None:
        """The `Date` of the last answer that had one, UTC."""
        return self._transport.answered_at

    async def close(self) -> None:
        """Close connections; requests that still run fail."""
        await self.tokens.close()
        await self._transport.close()
        await self._budget.close()

    async def read(
        self,
        endpoint: str,
        understand: Callable[[jsonapi.Fields], T],
        *,
        resource_id: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> T:
        """
        GET a document and understand it, in up to four tries with growing pauses.

        Raises ReadFailed when no try got a usable answer, or an ApiError when the API refused.
        """
        call = _Call("GET", "read", endpoint, resource_id, params=params)
        reason = ""
        for attempt in range(READ_TRIES):
            if attempt:
                await current_clock().sleep(backoff(attempt))
            outcome = await self._exchange(call, understand)
            if not isinstance(outcome, Unanswered):
                return outcome
            reason = outcome.reason if outcome.sent else self._unreachable(outcome)
        raise ReadFailed(call.path, reason, READ_TRIES)

    async def write(
        self,
        method: Literal["POST", "PATCH"],
        kind: Kind,
        endpoint: str,
        understand: Callable[[jsonapi.Fields], T],
        *,
        body: jsonapi.Fields | Compose,
        resource_id: str | None = None,
        params: Mapping[str, str] | None = None,
        tries: int = 1,
        reference: str | None = None,
    ) -> T:
        """
        POST or PATCH a document. Only a write that may be repeated gets more than one of `tries`.

        If `body` is a function, it is called for each try, after all waiting for the rate limit.

        Raises NotConnected, WriteFateUnknown (with `reference`), or an ApiError, and whatever `body` raises.
        """
        call = _Call(method, kind, endpoint, resource_id, params=params, body=body)
        may_be_done, reason = False, ""
        for attempt in range(tries):
            if attempt:
                await current_clock().sleep(backoff(attempt))
            outcome = await self._exchange(call, understand)
            if not isinstance(outcome, Unanswered):
                return outcome
            may_be_done, reason = may_be_done or outcome.sent, outcome.reason
        if may_be_done:
            raise WriteFateUnknown(method, call.path, reason, reference)
        raise NotConnected(method, call.path, reason)

    async def delete(self, endpoint: str, resource_id: str) -> None:
        """DELETE a resource. It may be repeated: what does not exist any more counts as deleted. Raises as `write`."""
        call = _Call("DELETE", "delete", endpoint, resource_id)
        outcome: Unanswered | None = None
        for attempt in range(DELETE_TRIES):
            if attempt:
                await current_clock().sleep(backoff(attempt))
            try:
                outcome = await self._exchange(call, lambda _: None)
            except NotFound:
                return
            if outcome is None:
                return
        assert outcome is not None
        raise WriteFateUnknown(call.method, call.path, outcome.reason)

    def _unreachable(self, outcome: Unanswered) -> str:
        return (
            f"{self._api_url} cannot be reached ({outcome.reason}). Check the network, and the block's field `api_url`"
        )

    async def _exchange(self, call: _Call, understand: Callable[[jsonapi.Fields], T]) -> T | Unanswered:
        """One request, repeated only if it was certainly not carried out: after 429, and once with a new token."""
        refused_token: str | None = None
        throttled = 0
        while True:
            async with (
                self._budget.take(call.kind, call.endpoint) as slot,
                self._transport.connection(call.method),
            ):
                token = await self.tokens.current(instead_of=refused_token)
                # Last, after all waiting: what a body is composed from must still be true when it is sent.
                request = self._request(call, await call.content(), token.text)
                outcome = await self._send(request, call.endpoint, slot)
            if isinstance(outcome, Unanswered):
                return outcome
            if slot.answer is not None:
                self.last_answers[call.method] = slot.answer
            if outcome.status < HTTPStatus.BAD_REQUEST:
                return _understood(_EMPTY if outcome.status == HTTPStatus.NO_CONTENT else outcome.body, understand)
            errors = jsonapi.error_items(outcome.body)
            if outcome.status == HTTPStatus.NOT_FOUND and call.is_list:
                errors = (*errors, self._no_such_list())
            refusal = error_for_answer(outcome.status, errors, call.method, call.path)
            throttled += isinstance(refusal, Throttled)
            if isinstance(refusal, InvalidToken) and refused_token is None:
                refused_token = token.text
            elif not isinstance(refusal, Throttled) or throttled >= THROTTLED_TRIES:
                raise refusal

    def _no_such_list(self) -> ErrorItem:
        """Refuse a 404 of a list: one resource may not exist, but if a whole list does not, this is not the API."""
        return ErrorItem(detail=f"is {self._api_url} an API? Check the block's field `api_url`, which ends in /api")

    def _request(self, call: _Call, content: bytes | None, token: str) -> httpx.Request:
        headers = {"Authorization": f"Bearer {token}", "Accept": jsonapi.MEDIA_TYPE}
        if content is not None:
            headers["Content-Type"] = jsonapi.MEDIA_TYPE
        url = f"{self._api_url}/{call.target}"
        return self._transport.build(call.method, url, params=call.params, content=content, headers=headers)

    async def _send(self, request: httpx.Request, endpoint: str, slot: Slot) -> Answered | Unanswered:
        self.requests_made[request.method, endpoint] += 1
        return await self._transport.send(request, slot)

    async def _request_token(self, fields: dict[str, str]) -> Mapping[str, Any]:
        """Post a token request. It may be repeated: the endpoint returns the same token."""
        reason = ""
        for attempt in range(READ_TRIES):
            if attempt:
                await current_clock().sleep(backoff(attempt))
            async with self._budget.take("token", TOKEN_ENDPOINT) as slot:
                request = self._transport.build(
                    "POST", self._auth_url, json=fields, headers={"Accept": "application/json"}
                )
                outcome = await self._send(request, TOKEN_ENDPOINT, slot)
            if isinstance(outcome, Unanswered):
                reason = outcome.reason
            elif outcome.status < HTTPStatus.BAD_REQUEST:
                return _token_fields(outcome.body)
            elif outcome.status == HTTPStatus.TOO_MANY_REQUESTS:
                reason = "the token endpoint's rate limit is used up"
            else:
                raise _refused_credentials(outcome)
        # The request that needs the token was not sent, and may be repeated.
        raise NotConnected("POST", TOKEN_ENDPOINT, reason)


def backoff(attempt: int) -> float:
    """Seconds before try `attempt` + 1: 0.5, 1, 2, ... and up to half more at random, so that tries spread out."""
    return FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1) * random.uniform(1, 1.5)  # noqa: S311 - no secret depends on it


def _understood(body: bytes, understand: Callable[[jsonapi.Fields], T]) -> T | Unanswered:
    try:
        return understand(jsonapi.parse(body))
    except ValidationError as error:
        # Only the place, not the value: it may be a customer's.
        where = ", ".join(".".join(map(str, item["loc"])) for item in error.errors()[:3])
        return Unanswered(f"the answer is not a valid {error.title}: {where}", sent=True)
    except jsonapi.MalformedDocument as error:
        return Unanswered(str(error), sent=True)


def _token_fields(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if isinstance(fields, dict):
        return fields
    raise AuthenticationFailed("The token endpoint did not answer in JSON. Check the block's field `auth_url`.")


def _refused_credentials(answer: Answered) -> AuthenticationFailed:
    said = "; ".join(str(item) for item in jsonapi.error_items(answer.body)) or "no reason given"
    check = "Check the block's fields `client_id` and `client_secret`, and `auth_url` if it was changed."
    return AuthenticationFailed(f"The token endpoint answered {answer.status}: {said}. {check}", answer.status)
