"""Whatever JSON an answer holds, the client reads it or says what is wrong with it; nothing else is ever raised."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.transport import Unanswered
from blocks.commerce_layer.wire import _understood

MODELS = {"order_subscriptions": OrderSubscription, "order_copies": OrderCopy, "orders": Order}
SOUND: dict[str, dict[str, Any]] = {
    "order_subscriptions": {"status": "inactive", "frequency": "monthly"},
    "order_copies": {"status": "completed"},
    "orders": {"status": "pending"},
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "-1", "1e999", "2026-13-01", "paid"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
kinds = st.sampled_from(sorted(MODELS))


def read(kind: str, document: dict[str, Any]) -> Any:
    """What the client makes of a list of these resources."""
    model = MODELS[kind]

    def understand(answer: jsonapi.Fields) -> list[Any]:
        return [model.model_validate(item) for item in jsonapi.many(answer)]

    return _understood(json.dumps(document).encode(), understand)


@st.composite
def odd_attributes(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    kind = draw(kinds)
    names = st.sampled_from(sorted(MODELS[kind].model_fields))
    return kind, {**SOUND[kind], **draw(st.dictionaries(names, values, min_size=1, max_size=3))}


@given(odd_attributes())
def test_any_value_in_any_attribute_is_read_or_named(row: tuple[str, dict[str, Any]]) -> None:
    kind, attributes = row

    found = read(kind, {"data": [{"type": kind, "id": "one", "attributes": attributes}]})

    if isinstance(found, Unanswered):
        assert "the answer is not a valid" in found.reason
    else:
        assert [each.id for each in found] == ["one"]


@given(kinds, st.dictionaries(st.sampled_from(["type", "id", "attributes", "relationships", "links", "meta"]), values))
def test_any_form_of_a_resource_is_read_or_refused(kind: str, members: dict[str, Any]) -> None:
    read(kind, {"data": [{"type": kind, "id": "one", "attributes": SOUND[kind], **members}]})


@given(kinds, st.dictionaries(st.sampled_from(["data", "included", "meta", "links"]), values))
def test_any_form_of_a_document_is_read_or_refused(kind: str, members: dict[str, Any]) -> None:
    read(kind, {"data": [], **members})


@given(kinds, values, values, values)
def test_any_linkage_and_any_included_resource_is_read_or_refused(
    kind: str, linkage: Any, included: Any, identifier: Any
) -> None:
    relationships = {"target_order": {"data": linkage}, "tags": {"data": [linkage]}, "customer": linkage,
                     "source_order": {"data": {"type": "orders", "id": identifier}}}  # fmt: skip
    item = {"type": kind, "id": "one", "attributes": SOUND[kind], "relationships": relationships}

    read(kind, {"data": [item], "included": [included, {"type": identifier, "id": identifier}]})
