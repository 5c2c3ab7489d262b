"""No request, however odd, makes the sandbox answer 5xx or not at all."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.sandbox.api.filters import PREDICATES
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES

EXAMPLES = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

KINDS = sorted(RESOURCE_TYPES)
NAMES = sorted(
    {name for kind in RESOURCE_TYPES.values() for name in (*kind.attributes, *kind.relationships, *kind.triggers)}
)
ODD = [
    "", "0", "-1", "true", "null", "NaN", "1e400", "9" * 30, "2026-03-01T06:00:00Z", "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00", "%", "\\", "'", '"', "a,b", ",", "{}", '{"a":{"b":[1]}}', "[", "é", "\x00", "..", "/",
]  # fmt: skip

word = st.one_of(st.sampled_from(ODD), st.text(max_size=12))
parameter = st.one_of(
    st.tuples(st.builds("filter[q][{}_{}]".format, st.sampled_from([*NAMES, "id"]), st.sampled_from(PREDICATES)), word),
    st.tuples(st.builds("filter[q][{}]".format, word), word),
    st.tuples(st.just("sort"), st.one_of(word, st.lists(st.sampled_from(NAMES), max_size=3).map(",".join))),
    st.tuples(st.just("include"), st.one_of(word, st.lists(st.sampled_from(NAMES), max_size=4).map(".".join))),
    st.tuples(st.builds("fields[{}]".format, st.sampled_from(KINDS)), st.one_of(word, st.sampled_from(NAMES))),
    st.tuples(st.sampled_from(["page[number]", "page[size]", "page[x]", "filter", "filter[q]", "filter[q][]"]), word),
    st.tuples(word, word),
)
json_value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), word),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(word, inner, max_size=3)),
    max_leaves=8,
)


def with_query(path: str, parameters: list[tuple[str, str]]) -> str:
    encoded = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)
    return f"{path}?{encoded}" if encoded else path


def sane(response: httpx.Response) -> None:
    assert response.status_code < 500, (response.request.method, response.request.url, response.request.content)
    if response.content:
        response.json()


@pytest.fixture
def ids(caller, source):
    copy_id = caller.copy(source["source_order_id"])
    webhook = caller.create("webhooks", {"topic": "orders.place", "callback_url": "http://127.0.0.1:9/"}).json()[
        "data"
    ]["id"]
    return {
        "order_copies": copy_id, "order_subscriptions": source["id"], "orders": source["source_order_id"],
        "customers": source["customer_id"], "webhooks": webhook,
        "customer_payment_sources": source["customer_payment_source_id"],
    }  # fmt: skip


@EXAMPLES
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "BREW"]),
    kind=st.one_of(st.sampled_from(KINDS), word),
    rest=st.lists(st.one_of(word, st.sampled_from(NAMES), st.just("relationships")), max_size=4),
    parameters=st.lists(parameter, max_size=4),
)
def test_any_path_and_query_is_answered_without_a_5xx(caller, method, kind, rest, parameters):
    path = "/".join(quote(part, safe="") for part in [kind, *rest])
    sane(caller.http.request(method, with_query(f"{caller.sandbox.api_url}/{path}", parameters)))


@EXAMPLES
@given(kind=st.sampled_from(KINDS), parameters=st.lists(parameter, min_size=1, max_size=4))
def test_any_query_on_a_list_is_answered_without_a_5xx(caller, kind, parameters):
    sane(caller.http.get(with_query(f"/{kind}", parameters)))


@EXAMPLES
@given(data=st.data(), kind=st.sampled_from(KINDS), update=st.booleans())
def test_any_document_is_answered_without_a_5xx(caller, ids, data, kind, update):
    known = RESOURCE_TYPES[kind]
    names = sorted([*known.attributes, *known.triggers])
    attributes = data.draw(st.one_of(st.dictionaries(st.sampled_from(names), json_value, max_size=4), json_value))
    linkage = st.builds(
        lambda target: {"data": {"type": target, "id": ids.get(target, "none")}}, st.sampled_from(KINDS)
    )
    related = sorted(known.relationships) or ["none"]
    relationships = data.draw(
        st.one_of(st.dictionaries(st.sampled_from(related), st.one_of(linkage, json_value), max_size=3), json_value)
    )
    document = {"type": kind, "attributes": attributes, "relationships": relationships}
    if update:
        document["id"] = ids.get(kind, "none")
    method, path = ("PATCH", f"/{kind}/{document['id']}") if update else ("POST", f"/{kind}")
    sane(caller.http.request(method, path, content=json.dumps({"data": document}).encode("utf-8", "surrogatepass")))


@EXAMPLES
@given(frequency=st.sampled_from(["hourly", "monthly", "two-months", "yearly", "0 6 29 2 *"]), members=st.data())
def test_any_subscription_that_is_accepted_can_be_shown_and_triggered(caller, source, frequency, members):
    instant = st.sampled_from(
        ["0001-01-01T00:00:00Z", "2026-03-01T05:00:00Z", "2026-03-31T06:00:00Z", "9999-12-31T00:00:00Z"]
    )
    attributes = {
        "frequency": frequency,
        "activate_by_source_order": members.draw(st.booleans()),
        "starts_at": members.draw(instant),
        "expires_at": members.draw(st.one_of(st.none(), instant)),
        "renewal_alert_period": members.draw(st.one_of(st.none(), st.sampled_from([1, 720, 0, 10**12]))),
    }
    created = caller.create("order_subscriptions", attributes, source_order=("orders", source["source_order_id"]))
    sane(created)
    if created.status_code == 201:
        key = created.json()["data"]["id"]
        for trigger in ("_activate", "_deactivate", "_activate", "_cancel"):
            sane(caller.update("order_subscriptions", key, **{trigger: True}))
        sane(caller.http.delete(f"/order_subscriptions/{key}"))


def nested(depth, inner="1"):
    """JSON with `depth` nested objects, written by hand because libraries refuse to nest this deep."""
    return '{"a":' * depth + inner + "}" * depth


@pytest.mark.parametrize("depth", [200, 253, 255, 300, 900, 1000, 1100, 100_000])
@pytest.mark.parametrize(
    "document",
    [
        '{"data":{"type":"order_subscriptions","id":"ID","attributes":{"metadata":DEEP}}}',
        '{"data":{"type":"order_subscriptions","id":"ID","attributes":{"reference":DEEP}}}',
        '{"data":{"type":"order_subscriptions","id":DEEP,"attributes":{}}}',
        '{"data":{"type":DEEP,"id":"ID"}}',
        '{"data":{"type":"order_subscriptions","id":"ID","attributes":DEEP}}',
        '{"data":{"type":"order_subscriptions","id":"ID","relationships":{"customer_payment_source":DEEP}}}',
        '{"data":{"type":"order_subscriptions","id":"ID","relationships":{"customer_payment_source":{"data":DEEP}}}}',
        '{"data":{"type":"orders","id":"ID","relationships":{"market":{"data":{"type":DEEP,"id":"x"}}}}}',
        "DEEP",
    ],
)
def test_json_of_any_depth_is_answered_without_a_5xx(caller, source, depth, document):
    path, key = (
        ("orders", source["source_order_id"]) if '"orders"' in document else ("order_subscriptions", source["id"])
    )
    answer = caller.http.patch(f"/{path}/{key}", content=document.replace("ID", key).replace("DEEP", nested(depth)))

    sane(answer)
    assert answer.status_code in ({200, 400, 422} if "metadata" in document else {400, 422})


def test_metadata_is_stored_up_to_a_depth_that_can_be_shown_again(caller, source):
    statuses = [
        caller.http.patch(
            f"/order_subscriptions/{source['id']}",
            content=f'{{"data":{{"type":"order_subscriptions","id":"{source["id"]}",'
            f'"attributes":{{"metadata":{nested(depth)}}}}}}}',
        ).status_code
        for depth in (200, 300, 1100)
    ]
    shown = caller.get(f"/order_subscriptions/{source['id']}")

    assert statuses == [200, 422, 400]
    assert shown.status_code == 200
    assert caller.filtered("/order_subscriptions", metadata_jcont=nested(200), id_eq=source["id"])


@pytest.mark.parametrize("depth", [300, 1000, 1100])
@pytest.mark.parametrize(
    ("control", "member"), [("faults", "times"), ("subscriptions", "metadata"), ("seed", "policy")]
)
def test_a_control_with_json_of_any_depth_is_answered_without_a_5xx(sandbox, caller, depth, control, member):
    body = f'{{"{member}": {nested(depth)}, "subscriptions": 1}}'
    sane(caller.http.post(f"{sandbox.url}/_sandbox/{control}", content=body))
    sandbox.clear_faults()


CONTROLS = [
    "info", "seed", "subscriptions", "failures", "faults", "counters", "pay", "payment_sources", "release", "limits",
    "webhooks", "openapi.json", "lag", "none",
]  # fmt: skip
MEMBERS = [
    "order_id", "kind", "times", "customer_id", "order_copy_id", "status", "frequency", "metadata", "nth",
    "next_run_at", "failures", "frequencies", "due", "total_cents", "source_order_id", "copies_per_delivery",
    "instance", "policy", "action", "match", "starts_at", "automatic", "list_lag_seconds", "resources",
]  # fmt: skip


@EXAMPLES
@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    control=st.sampled_from(CONTROLS),
    body=st.one_of(json_value, st.dictionaries(st.sampled_from(MEMBERS), json_value, max_size=3)),
)
def test_any_control_is_answered_without_a_5xx(sandbox, caller, method, control, body):
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    sane(caller.http.request(method, f"{sandbox.url}/_sandbox/{control}", content=content))
    sandbox.clear_faults()
    sandbox.lag_lists(0)


@EXAMPLES
@given(content=st.one_of(st.binary(max_size=60), json_value.map(lambda value: json.dumps(value).encode())), kind=word)
def test_any_token_request_is_answered_without_a_5xx(sandbox, caller, content, kind):
    for path in ("token", "revoke", "tokeninfo"):
        for announced in ("application/json", "application/x-www-form-urlencoded"):
            headers = {"Content-Type": announced, "Authorization": f"Basic x{quote(kind)}"}
            url = f"{sandbox.url}/oauth/{path}"
            method = "GET" if path == "tokeninfo" else "POST"
            sane(caller.http.request(method, url, content=content, headers=headers))


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, b"431"),
        (b"GET /api/orders HTTP/1.0\r\n\r\n", b"401"),
    ],
)
def test_bytes_that_are_not_http_are_refused_and_the_connection_ends(sandbox, raw, status):
    host, port = sandbox.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=60)) as connection:
        connection.sendall(raw)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece

    assert answer.startswith(b"HTTP/1.1 " + status)


def test_requests_in_pieces_in_chunks_and_pipelined_are_all_answered(caller, sandbox):
    host, port = sandbox.url.removeprefix("http://").split(":")
    head = b"POST /_sandbox/clock HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = head + b'8\r\n{"advanc\r\n7\r\ne": 0.0\r\n1\r\n}\r\n0\r\n\r\n'
    last = b"GET /_sandbox/clock HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with closing(socket.create_connection((host, int(port)), timeout=60)) as connection:
        for start in range(0, len(chunked), 7):
            connection.sendall(chunked[start : start + 7])
        connection.sendall(chunked + last)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece

    assert answer.count(b"HTTP/1.1 200") == 3
