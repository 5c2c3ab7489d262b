"""The charts of the report, drawn by pygal as SVG. Their colours are variables of the page, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pygal
from pygal.style import Style

from flows.rules.amounts import amount_cell
from flows.rules.renewal_reports import DayRow, RenewalReport, Standing

WIDE, NARROW = 980, 400
"""Widths in pixels: a chart is drawn twice, and the page shows the one that fits."""

CURRENCIES_DRAWN = 3
"""For how many currencies the money is drawn; the table has all."""


@dataclass(frozen=True)
class Chart:
    """One chart, drawn for a wide and for a narrow page, with the names and colours of its series."""

    title: str
    wide: str
    narrow: str
    legend: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Series:
    name: str
    colour: str
    values: Sequence[float | None]


def charts_of(report: RenewalReport) -> list[Chart]:
    """The charts that have something to show."""
    days = report.days
    charts = [_renewals(days)] if report.renewed or report.at_risk else []
    charts += [_money(days, currency) for currency in _currencies(days)]
    return charts + ([_classes(report), _retries(report)] if report.at_risk else [])


def _renewals(days: Sequence[DayRow]) -> Chart:
    series = [
        _Series("renewed at once", "first", [day.first for day in days]),
        _Series("recovered", "recovered", [day.recovered.orders for day in days]),
    ]
    return _chart("Renewals by day", pygal.StackedBar, _day_labels(days), series)


def _money(days: Sequence[DayRow], currency: str) -> Chart:
    series = [
        _Series("came at risk", "risk", [day.at_risk.cents[currency] for day in days]),
        _Series("recovered", "recovered", [day.recovered.cents[currency] for day in days]),
    ]
    title = f"Money at risk and recovered by day, {currency}"
    return _chart(
        title,
        pygal.Bar,
        _day_labels(days),
        series,
        value=lambda cents: amount_cell(round(cents), currency).removesuffix(f" {currency}"),
    )


def _classes(report: RenewalReport) -> Chart:
    rows = report.classes[::-1]  # pygal draws the first at the bottom
    groups = (
        ("recovered", "recovered", (Standing.RECOVERED,)),
        ("recovered since", "first", (Standing.RECOVERED_SINCE,)),
        ("waits for a retry, or under way", "waits", (Standing.RETRY_SCHEDULED, Standing.UNDER_WAY)),
        ("waits for a person", "risk", (Standing.HELD,)),
        ("given up", "lost", (Standing.GIVEN_UP,)),
    )
    series = [
        _Series(name, colour, [sum(row.standings[each] for each in standings) or None for row in rows])
        for name, colour, standings in groups
    ]
    labels = [row.cls.value for row in rows]
    return _chart("Failed renewals by class, and how they stand", pygal.HorizontalStackedBar, labels, series)


def _retries(report: RenewalReport) -> Chart:
    rows = [row for row in report.attempts if row.number > 1]
    series = [
        _Series("renewed", "recovered", [row.renewed.orders or None for row in rows]),
        _Series("failed again", "risk", [row.made - row.renewed.orders or None for row in rows]),
    ]
    labels = [f"retry {row.number - 1}" for row in rows]
    return _chart(
        "What each retry brought", pygal.HorizontalStackedBar, labels[::-1], [_reversed(one) for one in series]
    )


def _reversed(series: _Series) -> _Series:
    return _Series(series.name, series.colour, series.values[::-1])


def _currencies(days: Iterable[DayRow]) -> list[str]:
    """The currencies with money at risk, those with the most renewals first."""
    counts: dict[str, int] = {}
    for day in days:
        for currency in {*day.at_risk.cents, *day.recovered.cents} - {""}:
            counts[currency] = counts.get(currency, 0) + 1
    return sorted(counts, key=lambda currency: (-counts[currency], currency))[:CURRENCIES_DRAWN]


def _day_labels(days: Sequence[DayRow]) -> list[str]:
    return [f"{row.day.day} {row.day:%b}" for row in days]


def _chart(title: str, kind: Any, labels: Sequence[str], series: Sequence[_Series], value: Any = None) -> Chart:
    series = [one for one in series if any(one.values)] or list(series[:1])
    drawn = [_drawn(kind, labels, series, width, value) for width in (WIDE, NARROW)]
    return Chart(title, drawn[0], drawn[1], [(one.name, one.colour) for one in series])


def _drawn(kind: Any, labels: Sequence[str], series: Sequence[_Series], width: int, value: Any) -> str:
    is_horizontal = kind is pygal.HorizontalStackedBar
    style = Style(
        background="transparent", plot_background="transparent", foreground="var(--ink)", opacity="1",
        foreground_strong="var(--ink)", foreground_subtle="var(--line)", guide_stroke_color="var(--line)",
        major_guide_stroke_color="var(--line)", guide_stroke_dasharray="none", major_guide_stroke_dasharray="none",
        colors=tuple(f"var(--{one.colour})" for one in series), value_colors=("var(--on-bar)",) * len(series),
        font_family="inherit", label_font_size=13, major_label_font_size=13, value_font_size=12,
    )  # fmt: skip
    chart = kind(
        style=style, js=[], width=width, height=60 + 44 * len(labels) if is_horizontal else 260, show_legend=False,
        margin=4, margin_right=18, spacing=4, disable_xml_declaration=True, rounded_bars=2,
        print_values=is_horizontal, print_zeroes=False, show_minor_x_labels=is_horizontal,
        x_labels_major_count=min(len(labels), 10 if width == WIDE else 4),
        value_formatter=value or (lambda count: f"{count:.0f}"), truncate_label=-1, min_scale=3, max_scale=6,
    )  # fmt: skip
    chart.add_xml_filter(_without_scripts)
    chart.x_labels = labels
    for one in series:
        chart.add(one.name, one.values)
    return str(chart.render(is_unicode=True))


def _without_scripts(drawing: Any) -> Any:
    """The page has no scripts; pygal draws its configuration for one in any case."""
    for part in list(drawing.iter()):
        for script in [each for each in part if each.tag == "script"]:
            part.remove(script)
    return drawing
