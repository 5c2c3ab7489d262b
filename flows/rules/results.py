"""How one renewal ended, and what is to be written about it."""

from dataclasses import dataclass, replace
from datetime import datetime

from blocks.commerce_layer.resources import Order
from blocks.policy import FinalAction
from flows.rules.failures import Failure
from flows.rules.next_action import Hold, HoldReason
from flows.rules.renewal import Renewal
from flows.rules.state import Outcome, RenewalState


@dataclass(frozen=True, slots=True)
class RenewalResult:
    """
    How one renewal ended, and what to write.

    `what` happened and what comes `then` make up the sentence that people read. `happened` is when it happened,
    `placed_at` when its order was placed (both UTC). `state` replaces the renewal state on the subscription.
    `next_run_at` (UTC, later than `happened`) is written in the same request; None leaves it. `final_action` is what
    the policy does once the retries are used up; a cancellation is part of the same request, so that neither is done
    without the other. With `needs_person`, the sweep ends as Failed.
    """

    renewal: Renewal
    outcome: Outcome
    what: str
    state: RenewalState
    happened: datetime
    then: str | None = None
    failure: Failure | None = None
    next_run_at: datetime | None = None
    final_action: FinalAction | None = None
    needs_person: bool = False
    hold: Hold | None = None
    placed_at: datetime | None = None
    paid_by_customer: Order | None = None
    """The order, if the customer paid it at the checkout, perhaps with another card than the subscription's."""
    new_card: str | None = None
    """The wallet card that is set on the subscription in the same request."""

    @property
    def sentence(self) -> str:
        """What happened, and what happens next, in plain words."""
        return "; ".join(part for part in (self.what, self.then) if part)

    @property
    def cancel(self) -> bool:
        """Whether the subscription is to be cancelled."""
        return self.final_action is FinalAction.CANCEL

    def with_new_card(self, card: str) -> "RenewalResult":
        """
        The same result, which also sets the card on the subscription with which the customer paid at the checkout.
        """
        what = f"{self.what}; paid with another card, which is charged from now on"
        return replace(self, what=what, new_card=card)

    def not_cancelled(self, why: str) -> "RenewalResult":
        """The same result after the shop refused to cancel the subscription: a person must cancel it."""
        then = f"it could not be cancelled ({why}): held for a person"
        state = self.state.model_copy(update={"final_action": FinalAction.HOLD.value})
        return replace(self, then=then, state=state, final_action=FinalAction.HOLD, needs_person=True)

    def placed_twice(self, other_order_id: str) -> "RenewalResult":
        """The result after another run recorded another placed order for the same period: a person must act."""
        what = (
            f"two orders of one period are placed ({self.state.target_order_id} and {other_order_id}): "
            "cancel one of them"
        )
        hold = Hold(HoldReason.DUPLICATE, what)
        return replace(self, outcome=Outcome.NEEDS_ATTENTION, what=what, then=None, hold=hold, needs_person=True)

    @property
    def is_settled(self) -> bool:
        """Whether the period is finished: renewed, or skipped by the policy."""
        through = self.state.done_through
        return through is not None and through >= self.renewal.due

    @property
    def was_attempted(self) -> bool:
        """Whether a request that may have reached the customer's card was sent, and failed."""
        return self.failure is not None and self.failure.attempted and self.outcome is not Outcome.UNCONFIRMED

    def unrecorded(self, why: str) -> str:
        """The sentence for a result that could not be recorded."""
        if self.cancel:
            return f"{self.what}; not cancelled yet ({why}); the next run does it"
        return f"{self.sentence}; not recorded yet ({why}); the next run records it"

    @property
    def is_duplicate(self) -> bool:
        """Whether two orders of one period are placed, which must never happen."""
        return self.hold is not None and self.hold.reason is HoldReason.DUPLICATE

    def leaves_more(self, as_of: datetime) -> bool:
        """Whether another period of the subscription is due at `as_of`, and the policy makes it up, too."""
        done, renewal = self.state.done_through, self.renewal
        if renewal.policy.catch_up != "all" or done is None or done < renewal.due or self.cancel:
            return False
        following = renewal.schedule.next_after(done)
        return following <= as_of and (renewal.expires_at is None or following < renewal.expires_at)
