"""What the watch found: in one sentence, as a table, and as data for machines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flows.rules.dashboard_links import Dashboard
from flows.rules.open_failures import OpenFailure
from flows.rules.outside_text import markdown
from flows.rules.references import period_text
from flows.rules.watching import WatchFinding

ROWS_SHOWN = 200
"""How many rows the table has; the counts cover all findings."""


@dataclass(frozen=True, slots=True)
class WatchReport:
    """
    All findings, the worst first, among a shop's `subscriptions` (their number) at `as_of` (UTC).

    `open_failures`, without amounts, are none of the findings: sweeps report them.
    """

    as_of: datetime
    dashboard: Dashboard
    subscriptions: int
    findings: Sequence[WatchFinding]
    open_failures: Sequence[OpenFailure] = ()

    @property
    def sentence(self) -> str:
        """`2 need a person: 1 overdue, 1 held`, or that nothing is wrong."""
        looked_at = f"{self.subscriptions} subscription{'' if self.subscriptions == 1 else 's'} looked at"
        if not self.findings:
            return f"nothing is overdue or left unfinished; {looked_at}"
        counts = Counter(each.alarm for each in self.findings)
        parts = ", ".join(f"{count} {alarm}" for alarm, count in counts.items())
        need = "needs" if len(self.findings) == 1 else "need"
        return f"{len(self.findings)} {need} a person: {parts}; {looked_at}"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything, as plain data that JSON can hold."""
        return {
            "organization": self.dashboard.organization,
            "mode": self.dashboard.mode,
            "as_of": self.as_of.isoformat(),
            "sentence": self.sentence,
            "subscriptions": self.subscriptions,
            "found": [self._as_data(each) for each in self.findings],
        }

    @property
    def table_rows(self) -> list[dict[str, str]]:
        """Rows for an artifact; texts from outside are escaped."""
        rows = [
            {
                "alarm": each.alarm.value,
                "subscription": markdown(each.subscription_id),
                "customer": markdown(each.email or ""),
                "since": period_text(each.since) if each.since else "",
                "what": markdown(each.sentence),
                "in Commerce Layer": self._link(each),
            }
            for each in self.findings[:ROWS_SHOWN]
        ]
        if len(self.findings) > ROWS_SHOWN:
            more = f"and {len(self.findings) - ROWS_SHOWN} more, none worse than these"
            rows.append({**dict.fromkeys(rows[0], ""), "alarm": "…", "what": more})
        return rows

    def _as_data(self, finding: WatchFinding) -> dict[str, str | None]:
        return {
            "alarm": finding.alarm.value,
            "subscription_id": finding.subscription_id,
            "order_id": finding.order_id,
            "customer_email": finding.email,
            "since": finding.since.isoformat() if finding.since else None,
            "sentence": finding.sentence,
            "link": self._link(finding),
        }

    def _link(self, finding: WatchFinding) -> str:
        if finding.order_id is not None:
            return self.dashboard.order(finding.order_id)
        return self.dashboard.subscription(finding.subscription_id) if finding.subscription_id else ""
