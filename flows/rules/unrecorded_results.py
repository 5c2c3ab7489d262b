"""What people read when a result could not be recorded. The result stays valid, and the next run records it."""

from datetime import datetime

from blocks.commerce_layer.errors import AccessDenied, CommerceLayerError, NotFound, Refused
from flows.rules.results import RenewalResult
from flows.rules.skips import Skipped
from flows.rules.summaries import RenewalLine
from flows.rules.zones import in_words

_WAY_OUT = "let the API client update order subscriptions, or see what is wrong with this one"


def is_refusal(error: CommerceLayerError) -> bool:
    """Whether Commerce Layer refused, and will refuse again. A lost answer is not a refusal."""
    return isinstance(error, (Refused, NotFound, AccessDenied))


def unrecorded_line(result: RenewalResult, error: CommerceLayerError, now: datetime) -> RenewalLine:
    """
    The line of a result that could not be written because of `error`, at `now` (UTC, the shop's clock).

    A refusal needs a person at once: it recurs in every later run, and the next period is never reached. Anything else
    needs a person only after the policy's `stuck_after`.
    """
    line = RenewalLine.of(result)
    if is_refusal(error):
        told = f"{result.sentence}; NOT RECORDED, and refused ({error}): {_WAY_OUT}. It is not charged twice"
        return line.model_copy(update={"sentence": told, "needs_person": True})
    told, since = result.unrecorded(str(error)), _since(result)
    if now - since >= result.renewal.policy.stuck_after_delay:
        told += f"; and so it has gone since {in_words(since, result.renewal.zone)}: look at it"
        return line.model_copy(update={"sentence": told, "needs_person": True})
    return line.model_copy(update={"sentence": told})


def unrecorded_skip_line(skipped: Skipped, error: CommerceLayerError) -> RenewalLine:
    """The line of a subscription that is left alone, if that could not be written because of `error`."""
    line = RenewalLine.of(skipped)
    if is_refusal(error):
        told = f"{skipped.sentence}; NOT RECORDED, and refused ({error}): {_WAY_OUT}"
        return line.model_copy(update={"sentence": told, "needs_person": True})
    told = f"{skipped.sentence}; not recorded yet ({error}); the next sweep decides anew"
    return line.model_copy(update={"sentence": told, "open_since": skipped.due})


def _since(result: RenewalResult) -> datetime:
    if result.is_settled and result.placed_at is not None:
        return result.placed_at
    before = result.renewal.state
    # A retry's period has been due for long, and only this attempt is not recorded.
    return before.unsettled_since or (result.happened if before.attempt else result.renewal.due)
