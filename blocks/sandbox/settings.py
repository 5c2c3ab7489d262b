"""The settings of a sandbox. The command line sets them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """
    One sandbox organization and how it behaves.

    Durations are seconds of the sandbox's clock. The real durations of order copies are neither documented
    nor recorded, so these are choices.
    """

    organization: str = "perennial-sandbox"
    mode: str = "test"
    client_id: str = "sandbox-client-id"
    client_secret: str = "sandbox-client-secret"  # noqa: S105  it protects nothing: it is printed at start
    seed: int = 1
    queue_seconds: float = 0.5
    """From creation of a copy until a worker picks it up."""
    copy_seconds: float = 1.5
    """From the start of a copy until it is completed or failed."""
    copy_spread: float = 0.5
    """Copy durations lie between (1 - spread) and (1 + spread) times `copy_seconds`."""
    slow_seconds: float = 120.0
    """Duration of a copy whose source order has the failure `slow`, and of a placing with `slow_placing`."""
    list_lag_seconds: float = 0.0
    """How old the data is that lists show; 0 = the present."""
    late_creations: float = 0.0
    """How long after its arrival the creation of an order copy is committed, with the `created_at` of its arrival."""
    promotion_percent: float = 0.0
    """The discount that promotions give now. `apply_promotions` uses it instead of copying the source order's."""
    auto_capture: bool = False
    """Placed orders are `paid` instead of `authorized`."""
    copy_prices: str = "price-list"
    """What a SKU with the price of the market's list costs in a copy: what the list says now, or the `source-order`."""
    copy_pays: str = "source-order"
    """Whose card pays for a copy that was made through the API: `source-order`, `newest` or `subscription`."""
    missing_card: str = "pending"
    """Where that card has left the wallet: the target order stays `pending`, or the `newest` card pays."""
    native_pays: str = "subscription"
    """Whose card pays for a run of the native engine: `subscription` or `source-order`."""
    created_card: str = "source-order"
    """The card of a subscription that is created through the API: the source order's, or `none`."""
    occurrencies: str = "runs"
    """What `occurrencies` of a subscription counts: all `runs` of the native engine, or `successes`."""
    past_expiry: str = "keeps"
    """The status of an active subscription past `expires_at`: it `keeps` its own, or is `inactive`."""
    pending_without_card: str = "off"
    """With `on`, an active subscription becomes `pending` when no card of the wallet can pay its next run."""
    failed_target: str = "pending"
    """The status of the target order of a copy that failed while placing it: `pending` or `draft`."""
    aborted_leaves: str = "nothing"
    """What an aborted copy leaves: `nothing`, or a pending target `order`."""
    refused_place: str = "rolls-back"
    """Whether a refused `_place` `keeps` the other attributes of its PATCH, or `rolls-back`."""
    placed_again: str = "charges-once"
    """Whether `_place` of a placed order changes nothing, so that all of them charge once, or `charges-again`."""
    shown_card: str = "token"
    """What an order that gets a card shows of it: its `token`, or `nothing`, and a payment source of its own."""
    refusal_shows: str = "error"
    """What a refused placing leaves on its order: a `resource_errors` entry, or `nothing`."""
    copied_source: str = "unchanged"
    """Whether copying an order leaves it `unchanged`, or `changes` its `updated_at`."""
    meta: str = "resource"
    """Where `mode`, `organization_id` and `trace_id` stand: in the `meta` of each resource, or of the `document`."""
    token_seconds: int = 7200
    limits: str = "documented"
    limit_scale: float = 1.0
    limit_clock: str = "real"
    write_counters: str = "shared"
    count_blocked: bool = False
    durable: bool = False
