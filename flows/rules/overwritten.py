"""
Restores the counts of a state that another system has overwritten, or that was never recorded.

A CRM that reads a subscription and writes it back later restores old metadata. The counts would begin anew, and the
customer's card would be tried for ever. But the order keeps its errors with their times, and so does each failed copy.
So no state counts fewer attempts than they show.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from blocks.commerce_layer.resource_errors import ResourceError
from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.cards import another_card_of, failed_with_another, is_paid_with
from flows.rules.failed_attempts import ONE_ATTEMPT, FailedAttempt, attempts_on_order, failed_copies
from flows.rules.order_copies import FAILED_STATUSES, CopiesOfPeriod
from flows.rules.prepared_copies import has_failed_ahead
from flows.rules.renewal import Renewal
from flows.rules.retries import ON_THE_CARD, next_attempt
from flows.rules.state import ERROR_LENGTH, Outcome, RenewalState


def order_to_ask(renewal: Renewal) -> str | None:
    """The id of the renewal's order, if it has more errors than the state has attempts: then its errors are read."""
    copy = _open_copy(renewal)
    order = copy.target_order if copy else None
    tells_more = order is not None and (order.errors_count or 0) > renewal.state.attempt
    return order.id if order is not None and tells_more else None


def as_the_shop_tells(renewal: Renewal, errors: Sequence[ResourceError], as_of: datetime) -> Renewal:
    """
    The renewal with a state that counts at least the failed attempts that the shop shows.

    `errors` are those of its order. The next attempt waits as the policy says, counted from the last failed one. If the
    retries are used up, or the card must not be tried again, the state is held; its outcome says which. Neither
    concerns a card that the subscription got since then.
    """
    copies, copy, policy = CopiesOfPeriod.of(renewal.found), _open_copy(renewal), renewal.policy
    if copies.placed or copies.refused:  # charged, or a person decides whether it goes on
        return renewal
    tried = [each for each in copies.ended if not has_failed_ahead(each, renewal.due, renewal.state)]
    failed = failed_copies(tried, policy)
    charges = attempts_on_order(errors, policy) if copy is not None else []
    told = [*failed, *charges]
    if len(told) <= renewal.state.attempt:
        return renewal
    if copy is None:
        return _after_failed_copies(renewal, told, copies.ended[-1], as_of)
    counted = _counted(renewal, told, charges, copy, copy.target_order)
    if failed_with_another(renewal.payment_source_id, counted):
        counted = counted.model_copy(update={"held": False, "next_attempt_at": None})
    return renewal.with_state(counted)


def _open_copy(renewal: Renewal) -> OrderCopy | None:
    """The canonical copy, if its order is open."""
    copies = CopiesOfPeriod.of(renewal.found)
    return copies.live[0] if copies.live and not copies.placed else None


def _after_failed_copies(
    renewal: Renewal, told: Sequence[FailedAttempt], newest: OrderCopy, as_of: datetime
) -> Renewal:
    """
    Counts the failed copies when there is no order to place. The newest one is counted when it is recorded, which comes
    next.

    If its wait is over, it is counted here: it need not be recorded, and another copy may be made.
    """
    counted = _counted(renewal, told, [], newest, newest.target_order)
    is_over = counted.next_attempt_at is not None and counted.next_attempt_at <= as_of
    if newest.status in FAILED_STATUSES and is_over:
        return renewal.with_state(counted)
    earlier = told[:-1] if newest.status in FAILED_STATUSES else told
    if len(earlier) <= renewal.state.attempt:
        return renewal
    counts = _counted(renewal, earlier, [], newest, None)
    update = {"attempt": counts.attempt, "failures": counts.failures}
    return renewal.with_state(renewal.state.model_copy(update=update))


def _counted(
    renewal: Renewal,
    told: Sequence[FailedAttempt],
    charges: Sequence[FailedAttempt],
    copy: OrderCopy,
    order: Order | None,
) -> RenewalState:
    """The state after all these failed attempts; `charges` are those of them that may have reached the card."""
    before, policy = renewal.state, renewal.policy
    last = max(told, key=lambda each: each.at)
    cls = last.failure.cls
    by_class = Counter(each.failure.cls.value for each in told)
    failures = {name: max(by_class[name], before.failures.get(name, 0)) for name in {*by_class, *before.failures}}
    card = card_that_failed(renewal, order)
    counts = _with_charges(before, [each.at for each in charges if each.failure.cls in ON_THE_CARD], card)
    following = next_attempt(policy, cls, failures[cls], counts.attempts, last.at)
    is_over = last.failure.permanent or following is None
    outcome = Outcome.EXHAUSTED if following is None else Outcome.NEEDS_ATTENTION
    return counts.model_copy(
        update={
            "attempt": len(told), "failures": failures,
            "outcome": outcome if is_over else Outcome.RETRY_SCHEDULED,
            "order_copy_id": copy.id, "target_order_id": order.id if order else None,
            "error_class": cls.value, "error": last.failure.text[:ERROR_LENGTH],
            "next_attempt_at": None if is_over else following, "held": is_over,
            # If no card is known to have failed, the present one waits, too.
            "payment_source_id": card or renewal.payment_source_id,
        }
    )  # fmt: skip


def card_that_failed(renewal: Renewal, order: Order | None) -> str | None:
    """
    The card that this order was to be paid with when it failed last; None when that is not known.

    It is the subscription's or, if that one was attached later, the one that the state names, else the order's token.
    """
    current = renewal.payment_source_id
    if order is None or current is None or not renewal.policy.reuse_wallet:
        return None
    if is_paid_with(order, renewal.card):
        return current
    another, named = another_card_of(order, renewal.card), renewal.state.payment_source_id
    return named if another is not None and named not in {None, current} else another


def _with_charges(state: RenewalState, told: Sequence[datetime], card: str | None) -> RenewalState:
    """
    The state with all charges that the shop tells of; those that it lacks were made with this card, if that is known.

    We record a charge seconds after the shop does: such a pair is one charge.
    """
    missing = [moment for moment in told if all(abs(moment - known) > ONE_ATTEMPT for known in state.attempts)]
    for moment in sorted(missing):
        state = state.model_copy(update=state.counting(moment, card))
    return state.model_copy(update={"attempts": sorted(state.attempts)})
