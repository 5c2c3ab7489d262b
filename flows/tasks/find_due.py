"""Finding the subscriptions that are due."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from blocks.commerce_layer import listings
from blocks.commerce_layer.jsonapi import pages_of
from blocks.commerce_layer.pages import Page
from blocks.commerce_layer.resources import OrderSubscription
from flows.rules.due_order import DueEntry, in_order
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.summaries import RenewalLine
from flows.run.context import Run
from flows.run.missing_from_due_list import find_missing_from_due_list, latest
from flows.run.no_such_subscription import NoSuchSubscription
from flows.run.report import Report
from flows.run.states import completed
from flows.run.unreadable import unreadable_line
from flows.sweep.first_look import Due, known_as_paid


@task(task_run_name="find due subscriptions", cache_policy=NO_CACHE)
async def find_due_subscriptions(run: Run, report: Report, only: Sequence[str] | None = None) -> State[list[Due]]:
    """
    The ids of all due subscriptions, or of the due ones in `only`, read before anything changes the list.

    Read by id cursor: renewals meanwhile cannot make the list skip a subscription. Only ids and dates are kept, so
    100,000 of them take a few megabytes; each is read again right before it is renewed. Those that failed before come
    last (`due_order`). Subscriptions that no due list can show are looked for and reported, too.

    Raises:
        NoSuchSubscription: `only` names a subscription that does not exist; then none is renewed.
    """
    entries: list[DueEntry] = []
    not_adopted: list[OrderSubscription] = []
    pages = listings.iter_due(run.client, run.as_of) if only is None else _named(run, only)
    async for page in pages:
        not_adopted = latest(not_adopted)
        for unreadable, error in page.unreadable.items():
            report.add(unreadable_line(unreadable, page.dates.get(unreadable), error, run), was_due=False)
        paid = await known_as_paid(run.client, page.readable)
        for subscription in page.readable:
            planned = _plan(run, subscription, paid)
            if isinstance(planned, Exception):
                report.add(RenewalLine.unexpected_error(subscription.id, None, planned), was_due=False)
            elif isinstance(planned, Renewal) or planned.settlement is not None:
                entries.append(DueEntry.of(subscription, planned))
            # A subscription that is merely inactive is never changed and gets no line: a merchant may have thousands.
            elif only is not None or planned.reason is not SkipReason.NOT_ADOPTED:
                report.add(_line_of(planned, subscription), was_due=False)
            else:
                not_adopted.append(subscription)
    if only is None:
        for missing in await find_missing_from_due_list(run, report, not_adopted):
            report.add(RenewalLine.of(missing), was_due=False)
    due = _in_order(run, entries)
    report.expect(len(due))
    subject = "1 subscription is" if len(due) == 1 else f"{len(due)} subscriptions are"
    return completed(f"{subject} due at {run.as_of:%Y-%m-%d %H:%M} UTC", due)


def _in_order(run: Run, entries: Sequence[DueEntry]) -> list[Due]:
    # Each run uses its own order, so that simultaneous sweeps seldom work on the same subscription.
    shuffle = random.Random(run.identity.flow_run_id).shuffle  # noqa: S311 - no secret depends on it
    ordered = in_order(entries, run.as_of, run.policy.stuck_after_delay, shuffle)
    return [Due(each.subscription_id, each.source_order_id, each.next_run_at) for each in ordered]


def _line_of(skipped: Skipped, subscription: OrderSubscription) -> RenewalLine:
    is_open = skipped.reason.leaves_it_open
    more = {
        "customer_email": subscription.customer_email,
        "open_since": (skipped.due or subscription.next_run_at) if is_open else None,
    }
    return RenewalLine.of(skipped).model_copy(update=more)


def _plan(run: Run, subscription: OrderSubscription, paid: frozenset[str]) -> Renewal | Skipped | Exception:
    try:
        return plan(subscription, run.policy, run.as_of, paid=subscription.id in paid)
    except Exception as error:  # noqa: BLE001 - one odd subscription must not stop the others
        get_run_logger().exception("subscription %s cannot be planned", subscription.id)
        return error


async def _named(run: Run, only: Sequence[str]) -> AsyncIterator[Page[OrderSubscription]]:
    """The named subscriptions, in pages; the first page follows only after all of them were found."""
    wanted = list(dict.fromkeys(name.strip() for name in only))
    if not wanted:
        raise NoSuchSubscription(
            "subscriptions is an empty list. Name at least one subscription, or leave it out to renew all that are due."
        )
    pages = []
    for asked in pages_of(wanted):
        there = await run.client.get_subscriptions(asked)
        if missing := [name for name in asked if name not in there]:
            raise NoSuchSubscription(_sentence(missing, run.organization))
        pages.append(Page(list(there.values())))
    for page in pages:
        yield page


def _sentence(missing: Sequence[str], organization: str) -> str:
    names = ", ".join(map(repr, missing))
    return (
        f"subscriptions names {names}: there is no such subscription in organization {organization}. An id is the "
        "ten letters in the subscription's address in the dashboard, not its number. Nothing was renewed."
    )
