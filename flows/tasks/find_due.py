"""Finding the subscriptions that are due."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from blocks.commerce_layer.jsonapi import pages_of
from blocks.commerce_layer.resources import OrderSubscription
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.summaries import RenewalLine
from flows.run.context import Run
from flows.run.report import Report
from flows.run.states import completed
from flows.sweep.first_look import Due, paid_meanwhile


class NoSuchSubscription(LookupError):  # noqa: N818 - says what is the matter
    """The field `subscriptions` names one that does not exist, or nobody at all. Nobody was renewed."""


@task(task_run_name="find due subscriptions", cache_policy=NO_CACHE)
async def find_due_subscriptions(run: Run, report: Report, only: Sequence[str] | None = None) -> State[list[Due]]:
    """
    The ids of all subscriptions that are due, or of those named in `only` that are, before anything changes the list.

    Read by id cursor: what is renewed meanwhile cannot push anybody off a page. Only ids are kept, so
    100,000 of them weigh a few megabytes; each is read again right before it is renewed. Retries come last: the
    first few must tell whether the shop is well, and a retry that fails does not.

    Raises:
        NoSuchSubscription: `only` names somebody who is not there; nobody is renewed then.
    """
    first_attempts: list[Due] = []
    retries: list[Due] = []
    pages = run.client.iter_due_subscriptions(run.as_of) if only is None else _named(run, only)
    async for page in pages:
        paid = await paid_meanwhile(run.client, page)
        for subscription in page:
            planned = _plan(run, subscription, paid)
            if isinstance(planned, Exception):
                report.add(RenewalLine.unexpected_error(subscription.id, None, planned), was_due=False)
            elif isinstance(planned, Renewal) or planned.settlement is not None:
                (retries if _is_retry(planned) else first_attempts).append(
                    Due(subscription.id, subscription.source_order_id)
                )
            # Who is merely inactive is never touched, and not worth a line: a merchant may have thousands.
            elif only is not None or planned.reason is not SkipReason.NOT_ADOPTED:
                report.add(RenewalLine.of(planned), was_due=False)
    # In an order of this run's own, so that sweeps which run at the same time seldom work on the same subscription.
    shuffle = random.Random(run.identity.flow_run_id).shuffle  # noqa: S311 - no secret depends on it
    shuffle(first_attempts)
    shuffle(retries)
    due = first_attempts + retries
    report.expect(len(due))
    who = "1 subscription is" if len(due) == 1 else f"{len(due)} subscriptions are"
    return completed(f"{who} due at {run.as_of:%Y-%m-%d %H:%M} UTC", due)


def _is_retry(planned: Renewal | Skipped) -> bool:
    return isinstance(planned, Renewal) and planned.state.attempt > 0


def _plan(run: Run, subscription: OrderSubscription, paid: frozenset[str]) -> Renewal | Skipped | Exception:
    try:
        return plan(subscription, run.policy, run.as_of, paid=subscription.id in paid)
    except Exception as error:  # noqa: BLE001 - whatever is odd about one of them is no reason to renew nobody
        get_run_logger().exception("subscription %s cannot be planned", subscription.id)
        return error


async def _named(run: Run, only: Sequence[str]) -> AsyncIterator[list[OrderSubscription]]:
    """The named subscriptions, in pages; all of them were found before the first one is handed on."""
    wanted = list(dict.fromkeys(name.strip() for name in only))
    if not wanted:
        raise NoSuchSubscription(
            "subscriptions is an empty list, which names nobody. Leave it out to renew everyone who is due."
        )
    pages = []
    for asked in pages_of(wanted):
        there = await run.client.get_subscriptions(asked)
        if missing := [name for name in asked if name not in there]:
            raise NoSuchSubscription(_sentence(missing, run.organization))
        pages.append(list(there.values()))
    for page in pages:
        yield page


def _sentence(missing: Sequence[str], organization: str) -> str:
    names = ", ".join(map(repr, missing))
    return (
        f"subscriptions names {names}: there is no such subscription in organization {organization}. An id is the "
        "ten letters in the subscription's address in the dashboard, not its number. Nobody was renewed."
    )
