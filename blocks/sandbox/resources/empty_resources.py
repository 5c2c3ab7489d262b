"""
Resource types that are always empty here.

They exist because other types are related to them: lists, includes, filters and related paths answer as in a shop that
does not use them. They have no tables.

Their notation: a line with the type's name, then indented its attributes (`name`, or `name:kind` where it is not text),
behind `->` its relationships to one and behind `=>` those to many. A relationship is `name`, or `name:type` where the
type is not the name, or for `->` not its plural with an s.
"""

from __future__ import annotations

from collections.abc import Iterator

from blocks.sandbox.resources.definitions import NOTHING, ResourceType, resource_type

UNSUPPORTED = {
    *("adyen_gateways", "axerve_gateways", "bing_geocoders", "braintree_gateways"),
    *("checkout_com_gateways", "cleanups", "customer_password_resets", "easypost_pickups"),
    *("exports", "external_gateways", "google_geocoders", "imports"),
    *("in_stock_subscriptions", "klarna_gateways", "manual_gateways", "paypal_gateways"),
    *("satispay_gateways", "stripe_gateways", "talon_one_accounts"),
}
"""The types of Commerce Layer that nothing here is related to; their addresses answer 404."""


def empty_types(table: str) -> tuple[ResourceType, ...]:
    """Read types from a table in the notation above."""
    read: dict[str, dict[str, list[str]]] = {}
    words: list[str] = []
    for line in filter(str.strip, table.splitlines()):
        if not line.startswith(" "):
            lists = read[line] = {"->": [], "=>": [], "": []}
            words = lists[""]
            continue
        for word in line.split():
            if word in lists:
                words = lists[word]
            else:
                words.append(word)
    return tuple(_empty_type(name, lists) for name, lists in read.items())


def _empty_type(name: str, lists: dict[str, list[str]]) -> ResourceType:
    attributes = (f"{attribute} {kind or 'text'} fs" for attribute, _, kind in map(_parts, lists[""]))
    return resource_type(name, "\n".join(attributes), "\n".join(_relationships(lists)), actions="lr", is_empty=True)


def _relationships(lists: dict[str, list[str]]) -> Iterator[str]:
    for arrow, plural in (("->", "s"), ("=>", "")):
        for name, _, target in map(_parts, lists[arrow]):
            yield f"{name} {arrow} {target or name + plural} {NOTHING} {'x' if name == 'event_stores' else 'f'}"


def _parts(word: str) -> tuple[str, str, str]:
    return word.partition(":")
