"""One sandbox for the tests of a module, without limits and with a stopped clock, and a caller for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from blocks.sandbox.running import RunningSandbox

JSON_API = "application/vnd.api+json"


class Caller:
    """A plain HTTP client with a token; it shares no code with the project's client."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(base_url=sandbox.api_url, trust_env=False, timeout=60.0)
        self.http.headers.update({"Accept": JSON_API, "Content-Type": JSON_API})
        self.log_in()

    def log_in(self) -> str:
        token = str(self.grant()["access_token"])
        self.http.headers["Authorization"] = f"Bearer {token}"
        return token

    def grant(self) -> dict[str, Any]:
        body = {
            "grant_type": "client_credentials",
            "client_id": self.sandbox.client_id,
            "client_secret": self.sandbox.client_secret,
        }
        answer: dict[str, Any] = httpx.post(self.sandbox.auth_url, json=body, trust_env=False).json()
        return answer

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.http.get(path, params=params)

    def filtered(self, path: str, **filters: str) -> list[dict[str, Any]]:
        response = self.http.get(path, params={f"filter[q][{name}]": value for name, value in filters.items()})
        assert response.status_code == 200, response.text
        data: list[dict[str, Any]] = response.json()["data"]
        return data

    def create(self, kind: str, attributes: dict[str, Any] | None = None, **related: tuple[str, str]) -> httpx.Response:
        relationships = {name: {"data": {"type": target, "id": key}} for name, (target, key) in related.items()}
        data = {"type": kind, "attributes": attributes or {}, "relationships": relationships}
        return self.http.post(f"/{kind}", json={"data": data})

    def copy(self, source_order_id: str, **attributes: Any) -> str:
        attributes = {"place_target_order": True, **attributes}
        response = self.create("order_copies", attributes, source_order=("orders", source_order_id))
        assert response.status_code == 201, response.text
        return str(response.json()["data"]["id"])

    def update(self, kind: str, key: str, **attributes: Any) -> httpx.Response:
        return self.http.patch(f"/{kind}/{key}", json={"data": {"type": kind, "id": key, "attributes": attributes}})

    def relate(self, kind: str, key: str, name: str, target: tuple[str, str]) -> httpx.Response:
        related = {name: {"data": {"type": target[0], "id": target[1]}}}
        return self.http.patch(f"/{kind}/{key}", json={"data": {"type": kind, "id": key, "relationships": related}})

    def attributes(self, kind: str, key: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.get(f"/{kind}/{key}").json()["data"]["attributes"]
        return answer

    def target(self, copy_id: str) -> dict[str, Any] | None:
        answer: dict[str, Any] | None = self.http.get(f"/order_copies/{copy_id}/target_order").json()["data"]
        return answer


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox("--limits", "off", "--clock", "2026-03-01T06:00:00Z", "--frozen") as running:
        yield running


@pytest.fixture
def caller(sandbox: RunningSandbox) -> Iterator[Caller]:
    sandbox.clear_faults()
    made = Caller(sandbox)
    yield made
    made.http.close()


@pytest.fixture
def source(sandbox: RunningSandbox) -> dict[str, Any]:
    """An adopted subscription that is due, with its placed source order."""
    return sandbox.create_subscription()


@pytest.fixture
def make_caller() -> Iterator[Callable[[RunningSandbox], Caller]]:
    """Makes callers for sandboxes other than the module's own."""
    made: list[Caller] = []

    def make(running: RunningSandbox) -> Caller:
        made.append(Caller(running))
        return made[-1]

    yield make
    for caller in made:
        caller.http.close()
