"""
Whether this API client may write subscriptions. Checked once a sweep, before anything is charged.

A renewal that is charged and cannot be recorded stays due, and its next period is never reached. So each sweep sends
one PATCH without changes to its first subscription. That is one write a sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from prefect.logging import get_run_logger

from blocks.commerce_layer.changes import SubscriptionChange
from blocks.commerce_layer.errors import AccessDenied, ApiError, CommerceLayerError, Refused
from flows.rules.renewal import Renewal, Skipped, SkipReason
from flows.rules.waves import BrakePulled
from flows.run.context import Run

REFUSED_IN_A_ROW = 3
"""After this many subscriptions in a row that cannot be written, the subscriptions are not the cause."""


class WritePermission:
    """Checks once in a sweep whether subscriptions can be written."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._one_at_a_time = asyncio.Lock()
        self._is_known = False
        self.brake: BrakePulled | None = None
        """Why nothing may be charged; None unless the check has shown that."""

    async def check(self, renewals: Sequence[Renewal]) -> Mapping[str, Skipped]:
        """
        Check, unless it is known already; other callers wait for the answer.

        Returns the subscriptions among `renewals` that must not be charged, because they themselves cannot be written.
        """
        refused: dict[str, Skipped] = {}
        async with self._one_at_a_time:
            for renewal in renewals:
                if self._is_known:
                    break
                if (error := await self._ask(renewal)) is not None:
                    refused[renewal.subscription_id] = _refused(renewal, error)
                    self._conclude(len(refused), error)
        # If no subscription can be written, the checked ones are not the cause: they stay due like the others.
        return {} if self.brake is not None else refused

    async def _ask(self, renewal: Renewal) -> CommerceLayerError | None:
        """Why this subscription cannot be written; None when it can, or when the answer does not show it."""

        async def change_nothing() -> SubscriptionChange:
            return SubscriptionChange()

        try:
            await self._run.client.record_on_subscription(renewal.subscription_id, change_nothing)
        except AccessDenied as error:
            return error
        except ApiError as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                return error
            get_run_logger().info(
                "whether subscriptions can be written is not known before the first record: %s", error
            )
        except CommerceLayerError as error:
            get_run_logger().warning("whether subscriptions can be written is not known: %s", error)
        self._is_known = True
        return None

    def _conclude(self, in_a_row: int, error: CommerceLayerError) -> None:
        forbidden = isinstance(error, Refused) and error.status == HTTPStatus.FORBIDDEN
        if isinstance(error, AccessDenied) or forbidden or in_a_row >= REFUSED_IN_A_ROW:
            self._is_known = True
            self.brake = BrakePulled(
                f"subscriptions cannot be written ({error}), so nothing was charged: let the API client update order "
                "subscriptions"
            )


def _refused(renewal: Renewal, error: CommerceLayerError) -> Skipped:
    sentence = (
        f"it cannot be written ({error}), so it is not charged: it could not be recorded. See what is wrong with it in "
        "the dashboard"
    )
    return Skipped(renewal.subscription_id, renewal.due, SkipReason.NOT_WRITABLE, sentence)
