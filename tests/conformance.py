"""
Sends generated requests to a sandbox, and checks each answer against the sandbox's own OpenAPI description.

`make conform` does so at length, `tests/sandbox/test_conformance.py` briefly and always with the same requests.
Schemathesis generates what the description allows. Here some of it is made realistic, so that answers other than
refusals come, too: ids are those of resources that exist. Some requests lack what they need, so that all refusals come.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from blocks.sandbox.running import RunningSandbox

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPTIONS = ("--limits", "off", "--clock", "2026-03-01T06:00:00Z", "--frozen")
_CONFIG = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})  # the session has the token
NOWHERE = "http://127.0.0.1:9/"
ENDED_AFTERWARDS = {"/_sandbox/faults", "/_sandbox/lag"}
REVOKING = {"/_sandbox/tokens/revoke", "/oauth/revoke"}
SPOILED = ["accept", "content-type", "token", "limit", "etag", "etag"]
"""What is wrong with, or added to, some requests on purpose."""


class Conformance:
    """One sandbox, what exists in it, and what it answered."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.answered: Counter[tuple[str, int]] = Counter()
        """How many answers there were, by operation and status."""
        self.violations: list[str] = []
        self.log_in()
        self.ids = self._make_resources()
        described = httpx.get(f"{sandbox.url}/_sandbox/openapi.json", trust_env=False).json()
        schema = schemathesis.openapi.from_dict(described, config=_CONFIG)
        self.operations = [found.ok() for found in schema.get_all_operations()]

    def log_in(self) -> None:
        """Get a token for all later requests."""
        client = {"client_id": self.sandbox.client_id, "client_secret": self.sandbox.client_secret}
        granted = httpx.post(
            self.sandbox.auth_url, json={"grant_type": "client_credentials", **client}, timeout=60, trust_env=False
        )
        self.session.headers["Authorization"] = f"Bearer {granted.json()['access_token']}"

    def _make_resources(self) -> dict[str, list[str]]:
        """Some of everything: subscriptions with orders, customers and cards, copies that failed, webhooks, events."""
        made = [self.sandbox.create_subscription() for _ in range(4)]
        made += [self.sandbox.create_subscription(failure="declined", status="active", automatic=True)]
        self._create("webhooks", {"topic": "order_copies.create", "callback_url": NOWHERE})
        self._create("tags", {"name": "conformance"})
        for each in made:
            source = {"data": {"type": "orders", "id": each["source_order_id"]}}
            self._create("order_copies", {"place_target_order": True}, source_order=source)
        self.sandbox.advance(3600)
        listed = self.session.get(f"{self.sandbox.url}/_sandbox/openapi.json").json()["paths"]
        kinds = [path.removeprefix("/api/") for path, item in listed.items() if path.count("/") == 2 and "get" in item]
        return {kind: found for kind in kinds if (found := self._ids_of(kind))}

    def _create(self, kind: str, attributes: dict[str, Any], **relationships: Any) -> None:
        document = {"data": {"type": kind, "attributes": attributes, "relationships": relationships}}
        media = {"Content-Type": "application/vnd.api+json"}
        self.session.post(f"{self.sandbox.api_url}/{kind}", json=document, headers=media).raise_for_status()

    def _ids_of(self, kind: str) -> list[str]:
        data = self.session.get(f"{self.sandbox.api_url}/{kind}").json().get("data", [])
        return [one["id"] for one in data] if isinstance(data, list) else []

    def check(self, case: Any, spoiled: str) -> None:
        """
        Send a request and check its answer.

        Raises:
            FailureGroup: the answer is not as described.
        """
        headers = self._headers(case, spoiled)
        response = case.call(base_url=self.sandbox.url, session=self.session, headers=headers, timeout=60)
        if case.operation.path in ENDED_AFTERWARDS:
            self.sandbox.clear_faults()
            self.sandbox.lag_lists(0)
        if case.operation.path in REVOKING:
            self.log_in()
        self.answered[(case.operation.label, response.status_code)] += 1
        case.validate_response(response, checks=CHECKS)

    def _headers(self, case: Any, spoiled: str) -> dict[str, str]:
        if spoiled == "limit" and case.operation.path.startswith("/api/"):
            self.sandbox.fault("throttle", times=1)
        return {
            "accept": {"Accept": "text/html"},
            "content-type": {"Content-Type": "text/plain"} if case.method in {"POST", "PATCH"} else {},
            "token": {"Authorization": "Bearer nonsense"},
            "etag": {"If-None-Match": "*"},
        }.get(spoiled, {})


@st.composite
def cases(draw: DrawFn, conformance: Conformance, operation: Any) -> Any:
    """A request to this operation."""
    mode = draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    case = draw(operation.as_strategy(generation_mode=mode))
    make_safe(case)
    if draw(st.integers(0, 4)) < 4:
        make_realistic(case, lambda kind: draw(st.sampled_from(conformance.ids.get(kind, ["none"]))))
    return case


def make_safe(case: Any) -> None:
    """Leave out what takes long or calls other hosts."""
    body = case.body
    if not isinstance(body, dict):
        return
    attributes = _member(_member(body, "data"), "attributes")
    if "callback_url" in attributes:
        attributes["callback_url"] = NOWHERE
    if case.operation.path == "/_sandbox/clock":
        body.pop("set", None)
        body |= {"rate": 0, "advance": 60} if "advance" in body else {"rate": 0}
    if case.operation.path == "/_sandbox/seed":
        body |= {name: min(count, 3) for name, count in body.items() if isinstance(count, int)}


def make_realistic(case: Any, choose: Callable[[str], str]) -> None:
    """Put ids of what exists in the place of generated ones, and a known frequency in that of another."""
    kind = case.operation.path.split("/")[2]
    if isinstance(case.path_parameters, dict) and "id" in case.path_parameters:
        case.path_parameters["id"] = choose(kind)
    if not isinstance(case.body, dict):
        return
    data = _member(case.body, "data")
    if "frequency" in _member(data, "attributes"):
        data["attributes"]["frequency"] = "monthly"
    if "id" in data:
        data["id"] = case.path_parameters["id"]
    for linkage in _identifiers(_member(data, "relationships")):
        linkage["id"] = choose(linkage["type"])
    for name, value in case.body.items():
        if name.endswith("_id") and isinstance(value, str):
            case.body[name] = choose(_KIND_OF.get(name, f"{name.removesuffix('_id')}s"))


_KIND_OF = {"order_copy_id": "order_copies", "source_order_id": "orders"}


def _member(value: Any, name: str) -> dict[str, Any]:
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, dict) else {}


def _identifiers(relationships: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in relationships.values():
        data = one.get("data") if isinstance(one, dict) else None
        for identifier in data if isinstance(data, list) else [data]:
            if isinstance(identifier, dict) and isinstance(identifier.get("type"), str):
                yield identifier


def run(examples: int, chosen: int, most: int = 10_000) -> Conformance:
    """
    Send this many requests to each of the operations, or to `most` of them; the same ones for the same seed.
    """
    with opened() as conformance:
        for operation in in_order(conformance.operations, chosen)[:most]:
            try:
                send(conformance, operation, examples, chosen)
            except FailureGroup as found:
                conformance.violations.append(f"{operation.label}\n{found}")
        return conformance


def in_order(operations: list[Any], chosen: int) -> list[Any]:
    """First what differs most: the related paths of all types are many and alike."""
    shuffled = Random(chosen).sample(operations, len(operations))
    return sorted(shuffled, key=lambda operation: "}/" in operation.path)


def send(conformance: Conformance, operation: Any, examples: int, chosen: int) -> None:
    """
    Send requests to one operation.

    Raises:
        FailureGroup: an answer is not as described.
    """

    @seed(f"{chosen} {operation.label}")
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(conformance, operation), spoiled=st.sampled_from([*["nothing"] * 6, *SPOILED]))
    def check(case: Any, spoiled: str) -> None:
        conformance.check(case, spoiled)

    check()


@contextmanager
def opened() -> Iterator[Conformance]:
    """A sandbox for it."""
    with RunningSandbox(*OPTIONS) as sandbox:
        yield Conformance(sandbox)


def main() -> int:
    """Run, and print how many answers of each status there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="how many requests to send to each operation")
    parser.add_argument("--seed", type=int, default=1, help="another number, other requests")
    given_options = parser.parse_args()
    conformance = run(given_options.examples, given_options.seed)
    statuses: Counter[int] = Counter()
    for (_, status), count in conformance.answered.items():
        statuses[status] += count
    operations = {label for label, _ in conformance.answered}
    print(*conformance.violations, sep="\n\n")
    print(f"{sum(statuses.values())} answers of {len(operations)} operations, {len(conformance.violations)} violations")
    print("  ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    return 1 if conformance.violations else 0


if __name__ == "__main__":
    sys.exit(main())
