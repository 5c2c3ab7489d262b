"""JSON:API as Commerce Layer speaks it, checked against what is documented or was recorded."""

from __future__ import annotations

import re

import pytest
from api_errors import error


def test_a_copy_has_every_documented_attribute_and_relationship(caller, source):
    data = caller.get(f"/order_copies/{caller.copy(source['source_order_id'])}").json()["data"]

    assert set(data["attributes"]) == {
        "type", "status", "started_at", "completed_at", "failed_at", "errors_log", "errors_count", "place_target_order",
        "reuse_wallet", "created_at", "updated_at", "reference", "reference_origin", "metadata", "cancel_source_order",
        "apply_promotions", "skip_errors", "ignore_invalid_coupon",
    }  # fmt: skip
    assert set(data["relationships"]) == {
        "source_order",
        "target_order",
        "events",
        "event_stores",
        "order_subscription",
    }
    assert data["meta"]["mode"] == "test"


def test_an_id_is_ten_letters_and_a_time_has_milliseconds_and_z(caller, source):
    data = caller.get(f"/order_copies/{caller.copy(source['source_order_id'])}").json()["data"]

    assert re.fullmatch(r"[A-Za-z]{10}", data["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data["attributes"]["created_at"])


def test_only_included_relationships_have_linkage(caller, source):
    copy_id = caller.copy(source["source_order_id"])

    plain = caller.get(f"/order_copies/{copy_id}").json()
    included = caller.get(f"/order_copies/{copy_id}", include="source_order,target_order").json()

    assert set(plain["data"]["relationships"]["source_order"]) == {"links"}
    assert "included" not in plain
    linked = included["data"]["relationships"]
    assert linked["source_order"]["data"] == {"type": "orders", "id": source["source_order_id"]}
    assert linked["target_order"]["data"] is None
    assert [one["id"] for one in included["included"]] == [source["source_order_id"]]


def test_an_include_can_follow_dots_and_to_many_relationships(caller, source):
    caller.copy(source["source_order_id"])

    document = caller.get(f"/order_subscriptions/{source['id']}", include="source_order.order_copies,customer").json()

    assert {one["type"] for one in document["included"]} == {"orders", "order_copies", "customers"}
    order = next(one for one in document["included"] if one["type"] == "orders")
    assert len(order["relationships"]["order_copies"]["data"]) == 1


def test_sparse_fields_apply_to_included_resources_too(caller, source):
    copy_id = caller.copy(source["source_order_id"])
    document = caller.http.get(
        f"/order_copies/{copy_id}?include=source_order&fields[order_copies]=status,source_order&fields[orders]=number"
    ).json()

    assert set(document["data"]["attributes"]) == {"status"}
    assert set(document["data"]["relationships"]) == {"source_order"}
    assert set(document["included"][0]["attributes"]) == {"number"}
    assert "relationships" not in document["included"][0]


def test_empty_members_are_left_out(caller, source):
    nothing = caller.http.get(f"/orders/{source['source_order_id']}?fields[orders]=id").json()["data"]

    assert list(nothing) == ["id", "type", "links", "meta"]


def test_members_come_in_the_order_of_recorded_answers(caller, source):
    data = caller.get(f"/orders/{source['source_order_id']}").json()["data"]

    assert list(data) == ["id", "type", "links", "attributes", "relationships", "meta"]
    assert list(data["attributes"])[-5:] == ["created_at", "updated_at", "reference", "reference_origin", "metadata"]
    assert set(data["meta"]) == {"mode", "organization_id", "trace_id"}
    assert re.fullmatch(r"[0-9a-f]{64}", data["meta"]["trace_id"])


def test_a_patch_replaces_metadata_as_a_whole(caller, source):
    caller.update("order_subscriptions", source["id"], metadata={"a": 1, "b": {"c": 2}})
    caller.update("order_subscriptions", source["id"], metadata={"b": 3})

    assert caller.attributes("order_subscriptions", source["id"])["metadata"] == {"b": 3}


def test_create_is_answered_201_update_200_delete_204_and_a_later_read_404(caller, source):
    created = caller.create("order_copies", {}, source_order=("orders", source["source_order_id"]))
    copy_id = created.json()["data"]["id"]

    assert created.status_code == 201
    assert "location" not in created.headers
    assert caller.update("order_copies", copy_id, reference="r").status_code == 200
    deleted = caller.http.delete(f"/order_copies/{copy_id}")
    assert (deleted.status_code, deleted.content, deleted.headers.get("content-type")) == (204, b"", None)
    assert error(caller.get(f"/order_copies/{copy_id}")) == (404, "RECORD_NOT_FOUND")


def test_success_and_error_carry_their_media_types(caller, source):
    assert caller.get("/orders").headers["content-type"] == "application/vnd.api+json"
    assert caller.get("/orders/none").headers["content-type"] == "application/vnd.api+json; charset=utf-8"


def test_answers_have_the_headers_that_were_recorded(caller, source):
    order = f"/orders/{source['source_order_id']}"
    shown, refused = caller.get(order), caller.get("/orders/none")
    ids = {shown.headers["X-Request-Id"], refused.headers["X-Request-Id"], caller.get(order).headers["X-Request-Id"]}

    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in ids)
    assert shown.headers["Vary"] == refused.headers["Vary"] == "Accept, Accept-Encoding, Origin"
    assert shown.headers["Cache-Control"] == "max-age=0, private, must-revalidate"
    assert re.fullmatch(r'W/"[0-9a-f]{32}"', shown.headers["ETag"])
    assert (refused.headers["Cache-Control"], refused.headers.get("ETag")) == ("no-cache", None)


def test_a_caller_that_has_the_document_is_not_sent_it_again(caller, source):
    key = source["source_order_id"]
    order = f"/orders/{key}"
    tag = caller.get(order).headers["ETag"]

    for given in (tag, f'"x", {tag}', "*"):
        same = caller.http.get(order, headers={"If-None-Match": given})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    change = {"data": {"type": "orders", "id": key, "attributes": {"reference": "changed"}}}
    assert caller.http.patch(order, headers={"If-None-Match": tag}, json=change).status_code == 200
    assert caller.http.get(order, headers={"If-None-Match": tag}).headers["ETag"] != tag


def test_wrong_accept_and_content_type_headers_are_refused(caller, source):
    html = caller.http.get("/orders", headers={"Accept": "text/html"})
    json_body = caller.http.post("/order_copies", content=b"{}", headers={"Content-Type": "application/json"})

    assert error(html) == (406, "NOT_ACCEPTABLE")
    assert error(json_body) == (415, "UNSUPPORTED_MEDIA_TYPE")
    for accepted in ("*/*", "", "APPLICATION/VND.API+JSON", "text/html, Application/Vnd.Api+Json; q=0.5"):
        assert caller.http.get("/orders", headers={"Accept": accepted}).status_code == 200
    assert caller.http.get("/orders", headers={"Content-Type": "application/vnd.api+json"}).status_code == 200


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("page[size]=26", "INVALID_PAGE_VALUE"),
        ("page[size]=0", "INVALID_PAGE_VALUE"),
        ("page[number]=0", "INVALID_PAGE_VALUE"),
        ("page[number]=x", "INVALID_PAGE_VALUE"),
        ("page[offset]=1", "PARAM_NOT_ALLOWED"),
        ("page=2", "INVALID_PAGE_OBJECT"),
        ("fields=status", "INVALID_FIELD_FORMAT"),
        ("colour=red", "PARAM_NOT_ALLOWED"),
        ("sort=metadata", "INVALID_SORT_CRITERIA"),
        ("include=colour", "INVALID_INCLUDE"),
        ("include=event_stores", "INVALID_INCLUDE"),
        ("fields[order_copies]=colour", "INVALID_FIELD"),
        ("fields[colours]=red", "INVALID_RESOURCE"),
        ("filter[q][colour_eq]=red", "FILTER_NOT_ALLOWED"),
        ("filter[q][status_like]=red", "FILTER_NOT_ALLOWED"),
        ("filter[q][errors_log_eq]=red", "FILTER_NOT_ALLOWED"),
        ("filter[status]=red", "INVALID_FILTERS_SYNTAX"),
        ("filter[q][created_at_gt]=yesterday", "INVALID_FILTER_VALUE"),
        ("filter[q][errors_count_gt]=many", "INVALID_FILTER_VALUE"),
        ("filter[q][metadata_jcont]={", "INVALID_FILTER_VALUE"),
    ],
)
def test_an_invalid_query_is_refused_with_its_error_code(caller, query, code):
    assert error(caller.http.get(f"/order_copies?{query}")) == (400, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "INVALID_DATA_FORMAT"),
        (b"[]", 400, "INVALID_DATA_FORMAT"),
        (b"{}", 400, "PARAM_MISSING"),
        (b'{"data": {"attributes": {}}}', 400, "PARAM_MISSING"),
        (b'{"data": {"type": "orders"}}', 400, "INVALID_RESOURCE"),
        (b'{"data": {"type": "order_copies"}}', 422, "VALIDATION_ERROR"),
        (b'{"data": {"type": "order_copies", "attributes": {"status": "completed"}}}', 400, "PARAM_NOT_ALLOWED"),
        (b'{"data": {"type": "order_copies", "attributes": {"colour": "red"}}}', 400, "PARAM_NOT_ALLOWED"),
        (b'{"data": {"type": "order_copies", "attributes": {"metadata": 5}}}', 422, "VALIDATION_ERROR"),
        (b'{"data":{"type":"order_copies","relationships":{"source_order":"x"}}}', 400, "INVALID_LINKS_OBJECT"),
        (b'{"data":{"type":"order_copies","relationships":{"source_order":{}}}}', 400, "INVALID_LINKS_OBJECT"),
        (b'{"data":{"type":"order_copies","relationships":{"source_order":{"data":[]}}}}', 400, "INVALID_LINKS_OBJECT"),
        (
            b'{"data":{"type":"order_copies","relationships":{"source_order":{"data":{"type":"orders"}}}}}',
            400,
            "INVALID_LINKS_OBJECT",
        ),
        (
            b'{"data":{"type":"order_copies","relationships":{"source_order":{"data":{"type":"skus","id":"x"}}}}}',
            400,
            "TYPE_MISMATCH",
        ),
        (
            b'{"data":{"type":"order_copies","relationships":{"source_order":{"data":{"type":"orders","id":"x"}}}}}',
            422,
            "VALIDATION_ERROR",
        ),
        (
            b'{"data": {"type": "order_copies", "relationships": {"order_subscription": {"data": null}}}}',
            400,
            "PARAM_NOT_ALLOWED",
        ),
    ],
)
def test_an_invalid_create_is_refused_with_its_error_code(caller, body, status, code):
    assert error(caller.http.post("/order_copies", content=body)) == (status, code)


def test_a_validation_error_points_at_the_wrong_member(caller):
    refused = caller.create("order_copies", {}).json()["errors"][0]

    assert refused["source"] == {"pointer": "/data/relationships/source_order"}
    assert refused["detail"] == "source_order - must exist"
    assert refused["meta"] == {"error": "blank"}


def test_a_method_that_a_resource_does_not_support_is_answered_405(caller, source):
    assert error(caller.http.delete("/orders")) == (405, "METHOD_NOT_ALLOWED")
    assert error(caller.http.post("/events", json={})) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("method", ["PUT", "TRACE", "BREW"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/orders", "GET, HEAD, POST, OPTIONS"),
        ("/orders/x", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/orders/x/customer", "GET, HEAD, OPTIONS"),
        ("/orders/x/relationships/customer", "GET, HEAD, OPTIONS"),
        ("/organization", "GET, HEAD, OPTIONS"),
        ("/event_callbacks", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_405_says_what_is_allowed_whatever_the_media_types_are(caller, method, path, allowed):
    refused = caller.http.request(method, path, headers={"Accept": "text/html", "Content-Type": "text/plain"})

    assert error(refused) == (405, "METHOD_NOT_ALLOWED")
    assert refused.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/api/orders", "/oauth/token"])
def test_a_browser_may_ask_without_a_token_what_it_may_send(caller, sandbox, path):
    asking = {"Authorization": "", "Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    headers = {**asking, "Access-Control-Request-Headers": "authorization,content-type"}
    answer = caller.http.options(f"{sandbox.url}{path}", headers=headers)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "POST" in answer.headers["Allow"].split(", ")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == answer.headers["Allow"]
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
    assert caller.http.get("/orders", headers={"Origin": "x"}).headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in caller.get("/orders").headers


def test_there_are_no_methods_where_there_is_nothing(caller):
    for path in (
        "/unicorns",
        "/orders/x/colour",
        "/orders/x/relationships",
        "/orders/x/links/customer",
        "/event_stores/x",
    ):
        assert error(caller.http.options(path)) == (404, "RECORD_NOT_FOUND"), path
