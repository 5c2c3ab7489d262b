"""JSON:API documents as Commerce Layer really sends them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from odd_shop import page, resource

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.errors import ErrorItem


def test_a_relationship_without_linkage_adds_nothing():
    flat = jsonapi.one({"data": resource("order_copies", "a", status="pending")})

    assert not {"events", "event_ids", "target_order_id"} & flat.keys()


def test_an_included_resource_becomes_part_of_the_one_that_links_to_it():
    document = page(
        resource("order_copies", "a", links={"target_order": {"type": "orders", "id": "t"}}),
        included=[resource("orders", "t", status="placed")],
    )

    (flat,) = jsonapi.many(document)

    assert (flat["target_order_id"], flat["target_order"]["status"]) == ("t", "placed")


def test_null_linkage_adds_no_id():
    assert "target_order_id" not in jsonapi.one({"data": resource("order_copies", "a", links={"target_order": None})})


def test_to_many_linkage_becomes_ids():
    flat = jsonapi.one(
        {"data": resource("order_copies", "a", links={"event_stores": [{"type": "event_stores", "id": "e"}]})}
    )

    assert flat["event_store_ids"] == ("e",)


def test_two_resources_that_include_each_other_cause_no_endless_loop():
    loop = [
        resource("orders", "a", links={"parent": {"type": "orders", "id": "b"}}),
        resource("orders", "b", links={"parent": {"type": "orders", "id": "a"}}),
    ]

    assert jsonapi.many(page(loop[0], included=loop))[0]["parent"]["id"] == "b"


@pytest.mark.parametrize("place", ["resource", "document"])
def test_the_mode_is_read_from_the_resource_or_the_document(place):
    item = resource("order_copies", "a")
    mode = item.pop("meta") if place == "document" else item["meta"]

    assert jsonapi.one({"data": item, "meta": mode})["mode"] == "test"


def test_an_attribute_named_type_replaces_the_resource_type():
    flat = jsonapi.one({"data": resource("order_copies", "a", type="recurring_order_copies") | {}})

    assert (flat["type"], flat["id"]) == ("recurring_order_copies", "a")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"errors": []}', b"\xff\xfe"])
def test_a_body_that_is_not_a_document_is_malformed(body):
    with pytest.raises(jsonapi.MalformedDocument):
        jsonapi.parse(body)


@pytest.mark.parametrize("data", [None, [], "x", {"type": "orders"}, {"id": 5}])
def test_data_that_is_not_a_resource_is_malformed(data):
    with pytest.raises(jsonapi.MalformedDocument):
        jsonapi.one({"data": data})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"errors": {"title": "Too Many Requests", "code": "THROTTLED", "status": 429}}', ["THROTTLED"]),
        (b'{"errors": [{"code": "A", "status": "422"}, {"code": "B"}]}', ["A", "B"]),
        (b'{"errors": [{"code": "A"}, null, "x"]}', ["A"]),
        (b"<html>Bad gateway</html>", []),
        (b'{"errors": null}', []),
        (b"[]", []),
    ],
)
def test_errors_are_read_from_every_shape_of_body(body, expected):
    assert expected == [item.code for item in jsonapi.error_items(body)]


def test_an_error_keeps_pointer_and_meta():
    body = b'{"errors":[{"detail":"x","source":{"pointer":"/data"},"meta":{"error":"out_of_stock"}}]}'

    assert (ErrorItem(detail="x", pointer="/data", meta={"error": "out_of_stock"}),) == jsonapi.error_items(body)


@pytest.mark.parametrize(
    ("meta", "items", "last"),
    [
        ({"record_count": 30}, 25, False),
        ({"record_count": 25}, 25, True),
        ({}, 25, False),
        ({}, 24, True),
        (None, 25, False),
    ],
)
def test_the_last_page_is_recognized_by_the_record_count_or_its_size(meta, items, last):
    assert last is jsonapi.is_last_page({"data": [{}] * items, "meta": meta})


def test_a_time_is_sent_in_utc_with_milliseconds():
    moment = datetime(2026, 3, 1, 8, 0, tzinfo=timezone(timedelta(hours=2)))

    assert jsonapi.instant(moment) == "2026-03-01T06:00:00.000Z"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        jsonapi.instant(datetime(2026, 3, 1))  # noqa: DTZ001 - what must be refused


def test_attributes_that_are_none_are_left_out_and_empty_ones_are_sent():
    body = jsonapi.body_of("orders", {"metadata": {}, "reference": None, "_place": False}, resource_id="a")

    assert body == {"data": {"type": "orders", "id": "a", "attributes": {"metadata": {}, "_place": False}}}


def test_a_time_is_sent_exact_to_the_millisecond():
    assert jsonapi.instant(datetime(2026, 3, 1, 6, 0, 0, 125000, tzinfo=UTC)) == "2026-03-01T06:00:00.125Z"


def test_an_error_text_loses_characters_that_cannot_be_stored():
    body = b'{"errors": [{"title": "card \\ud83d declined\\u0000", "source": {"pointer": "/data/\\udc00x"}}]}'
    [item] = jsonapi.error_items(body)
    assert (item.title, item.pointer) == ("card  declined", "/data/x")
    str(item).encode()
