"""
What the controls take and answer, as the OpenAPI description shows it.

Members are written `name:kind`; `name?` may be left out, and `kind?` may be null.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from blocks.sandbox.api.json_schema import KINDS, Schema, array, closed, content, nullable
from blocks.sandbox.http.faults import ACTIONS
from blocks.sandbox.settings import Settings
from blocks.sandbox.shop.failure_kinds import FAILURES

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Control:
    """One control."""

    sentence: str
    takes: str = ""
    answers: str = ""
    is_list: bool = False


_CLOCK = "now:time rate:number next_event_at:time?"
_FAULT = (
    "action:text when:text method:text path:text match:text times:integer? nth:integers share:number status:integer "
    "body:text seconds:number stamp:text answer:text changes:json"
)
_SUBSCRIPTION = (
    "status?:text frequency?:text reference?:text? reference_origin?:text? errors_count?:integer occurrencies?:integer "
    "succeeded_on_last_run?:boolean next_run_at?:time? starts_at?:time? expires_at?:time? last_run_at?:time? "
    "metadata?:json adopted?:boolean automatic?:boolean wallet?:boolean card_ends?:text failure?:text times?:integer? "
    "total_cents?:integer source_order_id?:text"
)
_PRICES = (
    "subtotal_amount_cents?:integer discount_amount_cents?:integer shipping_amount_cents?:integer "
    "total_tax_amount_cents?:integer total_amount_cents?:integer total_amount_with_taxes_cents?:integer "
    "place_total_amount_cents?:integer currency_code?:text skus_count?:integer"
)
_TYPES = {"str": "text", "float": "number", "int": "integer", "bool": "boolean"}
_SETTINGS = " ".join(f"{each.name}:{_TYPES[str(each.type)]}" for each in fields(Settings))

CONTROLS: dict[tuple[str, str], Control] = {
    ("GET", "info"): Control(
        "Settings, organization id and database file.", answers=f"{_SETTINGS} organization_id:text database:text"
    ),
    ("GET", "openapi.json"): Control("This description.", answers="openapi:text info:json paths:json components:json"),
    ("GET", "clock"): Control("The present, the rate, and when the next action is due.", answers=_CLOCK),
    ("POST", "clock"): Control(
        "Any of: `rate` (0 = frozen), `set` to an instant, `advance` by seconds. "
        "Everything due on the way runs in order.",
        takes="rate?:number set?:time advance?:number",
        answers=f"{_CLOCK} events:integer",
    ),
    ("POST", "seed"): Control(
        "Seed `subscriptions` (due, adopted), `active` and `foreign` ones; also due, spread_seconds, frequencies, "
        "failures, active_failures, instance, policy.",
        takes="subscriptions?:integer active?:integer foreign?:integer due?:time? spread_seconds?:number "
        "frequencies?:mix failures?:mix active_failures?:mix instance?:text? policy?:json?",
        answers="subscriptions:integer active:integer foreign:integer subscription_ids?:list source_order_ids?:list",
    ),
    ("POST", "subscriptions"): Control(
        "Create one subscription with explicit fields; returns ids.",
        takes=_SUBSCRIPTION,
        answers="id:text source_order_id:text? customer_id:text? customer_payment_source_id:text? next_run_at:time? "
        "starts_at:time?",
    ),
    ("POST", "failures"): Control(
        "Make order `order_id`, or every order paid with the card `customer_payment_source_id`, fail as `kind`, "
        f"`times` times (null: until cleared); kind null ends it. Kinds: {', '.join(FAILURES)}.",
        takes="order_id?:text customer_payment_source_id?:text kind?:text? times?:integer?",
        answers="order_id?:text customer_payment_source_id?:text kind:text? times:integer?",
    ),
    ("GET", "faults"): Control("The faults that are set.", answers=f"{_FAULT} seen:integer hits:integer", is_list=True),
    ("POST", "faults"): Control(
        "Add a fault with action, when (before, after), method, path, match, times, nth, share, status, body, seconds, "
        "stamp, answer. " + " ".join(f"`{name}`: {sentence}." for name, sentence in ACTIONS.items()),
        takes=_FAULT.replace(":", "?:").replace("action?", "action"),
        answers=f"{_FAULT} seen:integer hits:integer",
    ),
    ("DELETE", "faults"): Control("Remove all faults."),
    ("GET", "counters"): Control(
        "Requests by method, endpoint and status.",
        answers="total:integer requests:counts statuses:counts detail:json throttled:integer faults:integer",
    ),
    ("DELETE", "counters"): Control("Count from zero."),
    ("POST", "pay"): Control(
        "The customer pays order `order_id` at the checkout, with the card `customer_payment_source_id` if given.",
        takes="order_id:text customer_payment_source_id?:text?",
        answers="order_id:text status:text",
    ),
    ("POST", "payment_sources"): Control(
        "The customer `customer_id` adds a card to the wallet.",
        takes="customer_id:text",
        answers="customer_payment_source_id:text",
    ),
    ("POST", "prices"): Control(
        "Change `total_cents`, `currency_code`, `skus_count` of an unplaced order, or copies of a placed one.",
        takes="order_id:text total_cents?:integer currency_code?:text skus_count?:integer",
        answers=_PRICES,
    ),
    ("POST", "payments"): Control(
        "Set the `payment_status` of the order `order_id`.",
        takes="order_id:text payment_status:text",
        answers="order_id:text payment_status:text",
    ),
    ("POST", "release"): Control(
        "Release the stuck copy `order_copy_id`, or the stuck placing of the order `order_id`.",
        takes="order_copy_id?:text order_id?:text",
        answers="order_copy_id?:text order_id?:text",
    ),
    ("POST", "tokens/revoke"): Control("Revoke the token in use.", answers="revoked:integer"),
    ("POST", "lag"): Control(
        "Lists show what was there `list_lag_seconds` ago (0: what is there), all of them or those of `resources`; "
        "reads by id and writes see the present.",
        takes="list_lag_seconds:number resources?:list?",
        answers="list_lag_seconds:number resources:list?",
    ),
    ("DELETE", "limits"): Control("Empty the windows of the rate limits."),
    ("POST", "webhooks"): Control(
        "Deliver each call `copies_per_delivery` times.",
        takes="copies_per_delivery:integer",
        answers="copies_per_delivery:integer",
    ),
}


def control_paths() -> dict[str, Schema]:
    """The paths below /_sandbox, with their operations."""
    paths: dict[str, Schema] = {}
    for (method, name), control in CONTROLS.items():
        paths.setdefault(f"/_sandbox/{name}", {})[method.lower()] = _operation(control)
    return paths


def _operation(control: Control) -> Schema:
    answer = _object(control.answers)
    done = {"description": "Done.", **content(_JSON, array(answer) if control.is_list else answer)}
    refused = {"description": "It is refused, with a reason.", **content(_JSON, closed({"error": KINDS["text"]}))}
    responses = {"200": done, **dict.fromkeys(("400", "404", "422"), refused)}
    operation: Schema = {"summary": control.sentence, "tags": ["controls"], "responses": responses}
    if control.takes:
        operation["requestBody"] = {"required": True, **content(_JSON, _object(control.takes))}
    return operation


def _object(members: str) -> Schema:
    read = list(_read(members))
    return closed({name: schema for name, schema, _ in read}, optional=[name for name, _, optional in read if optional])


def _read(members: str) -> Iterator[tuple[str, Schema, bool]]:
    for word in members.split():
        name, _, kind = word.partition(":")
        schema = KINDS[kind.removesuffix("?")]
        yield name.removesuffix("?"), nullable(schema) if kind.endswith("?") else schema, name.endswith("?")
