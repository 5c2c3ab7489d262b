"""The report as one file of HTML, which loads nothing: its charts and its style are in it. Every text is escaped."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from blocks.policy import Policy
from flows.cli.report_charts import charts_of
from flows.rules.dashboard_links import Dashboard
from flows.rules.outside_text import plain
from flows.rules.renewal_reports import RenewalReport, Standing, total
from flows.rules.report_texts import (
    OPEN_COLUMNS,
    ROWS_SHOWN,
    UNKNOWN,
    amounts,
    open_row,
    retries_in_words,
    sentence,
    share,
    title,
)
from flows.rules.zones import with_year


def page_of(report: RenewalReport, dashboard: Dashboard, policy: Policy, policy_name: str) -> str:
    """The complete page."""
    # autoescape: names and error texts come from outside.
    environment = Environment(
        autoescape=True, loader=PackageLoader("flows.cli", ""), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"amounts": amounts, "plain": plain}
    open_rows = [open_row(each, report, dashboard) for each in report.not_recovered[:ROWS_SHOWN]]
    return environment.get_template("report.html.jinja").render(
        report=report, dashboard=dashboard, policy_name=policy_name, title=title(report), sentence=sentence(report),
        read_at=with_year(report.read_at, report.zone), charts=charts_of(report), share=share, Standing=Standing,
        renewed=total(report.renewed), at_risk=total(each.renewal for each in report.at_risk),
        recovered=total(each.renewal for each in report.recovered), lost=total(report.lost),
        not_recovered=total(each.renewal for each in report.not_recovered),
        since=total(each.renewal for each in report.those(Standing.RECOVERED_SINCE)),
        numbers=sorted({number for row in report.classes for number in row.by_attempt}),
        retries=retries_in_words(policy, report), open_columns=OPEN_COLUMNS, open_rows=open_rows, unknown=UNKNOWN,
    )  # fmt: skip
