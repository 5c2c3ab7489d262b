"""Runs the watch after each sweep of the simulated year: it must find nothing that a sweep has not reported."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from blocks.policy import Policy
from flows.rules.dashboard_links import Dashboard
from flows.rules.watching import Alarm, WatchFinding, WatchLimits

if TYPE_CHECKING:
    from merchant import Ended, Merchant

    from blocks.commerce_layer.client import CommerceLayer

LEFT_BY_A_BRAKE = {Alarm.OVERDUE, Alarm.RETRY_OVERDUE}
"""When its brake stops a sweep, it reports these as a number, not one by one."""

QUIET = {"renewed", "already renewed"}


class Watcher:
    """Watches the shop after each sweep, and collects the alarms that no sweep has reported."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.false_alarms: list[str] = []
        self.found: Counter[Alarm] = Counter()
        self._reported: set[str] = set()
        self._said: dict[str, str] = {}

    async def check(self, merchant: Merchant, ended: Ended) -> Counter[str]:
        """Read what the sweep reported, and run the watch. Returns the requests that the watch made."""
        import stored_runs  # it imports Prefect, see _watch

        rows = await stored_runs.table(ended.flow_run_id)
        self._said = {row["renewal"].partition("@")[0]: f"{row['outcome']}: {row['why']}" for row in rows}
        self._reported |= {row["renewal"].partition("@")[0] for row in rows if row["outcome"] not in QUIET}
        async with merchant.dashboard() as client:
            await client.claims()
            await self._watch(merchant, ended, client)
            return Counter(_named(*request) for request in client.requests_made.elements())

    async def _watch(self, merchant: Merchant, ended: Ended, client: CommerceLayer) -> None:
        # Prefect reads its settings when it is first imported, and a year that runs alone sets them first.
        from flows.run.oversight import look_over

        as_of, dashboard = merchant.sandbox.clock(), Dashboard(merchant.sandbox.organization, "test")
        report = await look_over(client, dashboard, self._policy, as_of, WatchLimits())
        for each in report.findings:
            self.found[each.alarm] += 1
            if not self._is_known(each, braked=bool(ended.facts["brake"])):
                said = self._said.get(each.subscription_id, "nothing")
                alarm = f"{as_of:%Y-%m-%d %H:%M}: {each.alarm} {each.subscription_id}: {each.sentence}"
                self.false_alarms.append(f"{alarm} (the sweep said {said})")

    def _is_known(self, finding: WatchFinding, *, braked: bool) -> bool:
        if finding.alarm in LEFT_BY_A_BRAKE:
            return braked
        return finding.subscription_id in self._reported


def _named(method: str, resource: str) -> str:
    return f"{method} /{resource}" if resource.startswith("oauth") else f"{method} /api/{resource}"
