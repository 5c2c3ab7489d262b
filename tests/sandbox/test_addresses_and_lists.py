"""The addresses of the API, and its lists: pages, cursors, related resources, versions."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import httpx
from api_errors import error


def test_an_unknown_resource_is_answered_404(caller):
    assert error(caller.get("/unicorns")) == (404, "RECORD_NOT_FOUND")


def test_related_resources_can_be_read_at_their_own_urls(caller, source):
    copy_id = caller.copy(source["source_order_id"])

    order = caller.get(f"/order_copies/{copy_id}/source_order").json()["data"]
    nothing = caller.get(f"/order_copies/{copy_id}/target_order").json()["data"]
    copies = caller.get(f"/orders/{source['source_order_id']}/order_copies").json()
    linkage = caller.get(f"/order_copies/{copy_id}/relationships/source_order").json()["data"]

    assert order["id"] == source["source_order_id"]
    assert nothing is None
    assert [one["id"] for one in copies["data"]] == [copy_id]
    assert copies["meta"]["record_count"] == 1
    assert linkage == {"type": "orders", "id": source["source_order_id"]}
    assert error(caller.get(f"/order_copies/{copy_id}/colour")) == (404, "RECORD_NOT_FOUND")


def test_an_encoded_slash_belongs_to_the_id(caller, source):
    key = source["source_order_id"]

    assert error(caller.http.get(f"/orders/{key}%2Fcustomer")) == (404, "RECORD_NOT_FOUND")
    assert caller.http.get(f"/orders/{key}/customer").json()["data"]["id"] == source["customer_id"]
    assert caller.http.get(f"/%6Frders/{key}").status_code == 200


def test_pages_contain_every_resource_once_and_link_to_each_other(caller, sandbox):
    ids = set(sandbox.seed(23, due="2031-01-01T00:00:00Z")["subscription_ids"])
    seen = []
    url = "/order_subscriptions?page[size]=10&filter[q][next_run_at_eq]=2031-01-01T00:00:00Z"
    while url:
        page = caller.http.get(url).json()
        assert page["meta"] == {"record_count": 23, "page_count": 3}
        seen += [one["id"] for one in page["data"]]
        assert ("prev" in page["links"]) == (len(seen) > 10)
        url = page["links"].get("next")

    assert sorted(seen) == sorted(ids)


def test_an_empty_list_has_no_pages_and_its_last_page_is_the_first(caller):
    page = caller.http.get("/order_copies?filter[q][reference_eq]=nothing-has-this").json()

    assert page["meta"] == {"record_count": 0, "page_count": 0}
    assert "page%5Bnumber%5D=1" in page["links"]["last"]
    assert "next" not in page["links"]


def test_reading_a_list_by_id_cursor_finds_every_resource_once(caller, sandbox):
    ids = set(sandbox.seed(40, due="2032-01-01T00:00:00Z")["subscription_ids"])
    seen: list[str] = []
    while True:
        page = caller.http.get(
            "/order_subscriptions",
            params={
                "sort": "id",
                "page[size]": 25,
                "filter[q][id_gt]": seen[-1] if seen else "",
                "filter[q][next_run_at_eq]": "2032-01-01T00:00:00Z",
            },
        ).json()["data"]
        if not page:
            break
        seen += [one["id"] for one in page]

    assert sorted(seen) == seen
    assert set(seen) == ids
    assert len(seen) == 40


def test_event_stores_are_listed_by_a_cursor_without_counts(caller, sandbox, source):
    ids = [f"1786606199{number:03}-0" for number in range(60)]
    with closing(sqlite3.connect(sandbox.database)) as database, database:
        row = "INSERT INTO event_stores (id, event, resource_id, metadata) VALUES (?, 'update', ?, '{}')"
        database.executemany(row, [(each, source["source_order_id"]) for each in ids])
    seen, sizes = [], []
    url = f"/orders/{source['source_order_id']}/event_stores?page[number]=1&page[size]=25&filter[q][event_eq]=update"
    while url:
        page = caller.http.get(url).json()
        assert page["meta"] == {}
        assert not page["links"].keys() - {"next"}
        seen += [one["id"] for one in page["data"]]
        sizes.append(len(page["data"]))
        url = page["links"].get("next")

    assert seen == sorted(ids, reverse=True)
    assert sizes == [25, 25, 10]
    assert len(caller.get("/event_stores").json()["data"]) == 10
    assert error(caller.http.get("/orders?page[after]=x")) == (400, "PARAM_NOT_ALLOWED")


def test_singletons_have_no_id_in_their_url(caller, sandbox):
    assert caller.get("/organization").json()["data"]["attributes"]["slug"] == sandbox.organization
    application = caller.get("/application").json()["data"]
    assert application["type"] == "applications"
    assert application["links"]["self"].endswith("/api/application")
    assert application["attributes"]["kind"] == "integration"


def test_a_fieldset_of_a_type_that_no_answer_contains_is_ignored(caller):
    plain = caller.get("/application").json()

    assert caller.http.get("/application?fields[addresses]=id,city").json() == plain
    assert error(caller.http.get("/application?fields[unicorns]=id")) == (400, "INVALID_RESOURCE")


def test_the_number_of_a_market_is_a_number(caller, source):
    numbers = [one["attributes"]["number"] for one in caller.filtered("/markets", number_eq="1")]

    assert numbers == [1]


def test_an_order_copy_is_listed_among_the_order_factories(caller, source):
    copy_id = caller.copy(source["source_order_id"])

    found = caller.filtered("/order_factories", source_order_id_eq=source["source_order_id"])

    assert [(one["id"], one["attributes"]["type"]) for one in found] == [(copy_id, "order_copies")]


def test_an_order_on_which_others_depend_cannot_be_deleted(caller, source):
    assert error(caller.http.delete(f"/orders/{source['source_order_id']}")) == (423, "LOCKED")


def test_a_versioned_path_is_the_same_api_and_its_links_stay_in_the_version(caller, sandbox, source):
    plain = caller.get("/orders", include="customer").text
    versioned = httpx.get(
        f"{sandbox.api_url}/2026-05/orders", params={"include": "customer"}, headers=caller.http.headers
    )
    assert versioned.text == plain.replace("/api/", "/api/2026-05/")

    sandbox.reset_counters()
    body = {"data": {"type": "orders", "id": source["source_order_id"], "attributes": {"reference": "versioned"}}}
    own = versioned.json()["data"][0]["links"]["self"].rpartition("/")[0]
    assert caller.http.patch(f"{own}/{source['source_order_id']}", json=body).status_code == 200
    assert sandbox.counters()["requests"] == {"PATCH /api/orders/{id}": 1}
    assert caller.http.get(f"{sandbox.api_url}/latest/orders").status_code == 404
