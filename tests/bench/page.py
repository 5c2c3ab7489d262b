"""The figures as a Markdown page, and as a plot for the README."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.figures import Figures, Round, targets_of
from bench.retention import AT_FIRST, PER_DAY, Kept

Results = Sequence[tuple[Round, Sequence[Figures]]]

COLUMNS = (
    "", "renewals", "per minute", "of the limit", "429s", "duplicates", "writes each", "reads each", "task runs each",
    "CPU each", "server CPU each", "sandbox CPU each", "database each", "peak memory", "speed",
)  # fmt: skip

TARGETS = """\
Targets: with limits, at least 97 % of the limit while work is waiting, no 429, and at most 3.0 writes and 0.3 reads per
renewal; without limits, 30 renewals a second with four visible task runs each.
"""


def markdown(
    results: Results, ceiling: str, setting: Sequence[str], missing: Sequence[str], kept: Kept | None = None
) -> str:
    """
    The whole page.

    Args:
        results: the rounds, in order, each with its contestants, ours first.
        ceiling: what the sandbox itself can do, in a sentence.
        setting: sentences on machine and versions.
        missing: the contestants that did not take part, and why.
        kept: what a Prefect server keeps, if it was measured.
    """
    parts = ["# Benchmark\n", "Made by `make bench`; do not edit.\n", "![renewals per minute](bench.svg)\n"]
    parts += [" ".join(setting) + "\n", TARGETS]
    parts += [ceiling + "\n"]
    for round_, figures in results:
        parts += [f"## {round_.name}\n", _table(figures), _targets(round_, figures)]
    parts += [f"- {sentence}" for sentence in missing]
    parts += [_LEGEND] + ([_kept(kept)] if kept else [])
    return "\n".join(parts).rstrip() + "\n"


_LEGEND = """
*per minute*: renewals in a real minute; divide by ten where the windows are ten times shorter. *of the limit*: the
share of the allowed writes that was used while work was waiting. *CPU each*: milliseconds of the contestant's own
process per renewal, *server CPU each*: of the Prefect server. *speed*: how many times as fast as the first row.

All contestants do the same job with the same three writes: copy the order without placing it, wait for the copy, place
its order and write the reference on it in one request, write outcome and next date into the subscription. Only
Perennial reads before it creates, places and records, waits until a copy is 5 s old (`settle_seconds`) before it places
the order, reviews at the end what was created, and survives being killed at any point. It runs without its waves, which
are a deliberate pause. The row *in waves* has the default waves: ten renewals first, then a hundred, then the rest.

The row *prepared* (policy: `prepare_ahead`) has made its copies hours before, in another sweep that is not measured. At
the due time it costs two writes instead of three, so the limits allow half as many renewals again in a minute.

The row *on two hosts* has two processes that send from two addresses, each with half of the subscriptions and a rate
limiter of its own. The limits are those of an address.

Shorter windows shorten nothing else. In the first round `settle_seconds` is still 5 s, which compares to 50 s with the
documented windows, and is a disadvantage. But a read is valid for 10 s there, too, and ten times as many renewals share
it in that time. The round in real time shows what reads cost without this effect.

*database each*: how much the Prefect server's database has grown per renewal, with indexes, once all events are stored,
in SQLite, or in PostgreSQL where the row says so. Nothing has been removed yet: see "What Prefect keeps" in
[operating.md](operating.md).

A sweep also reviews the order copies of the hour before it. Here there are none; with a sweep every hour it costs 0.04
more reads per renewal.

Growth: see *ten times as many*. Of 100,000 subscriptions, a sweep keeps the ids of those that are due, about 7 MB, and
reference, id and time of each order that it has placed, about 28 MB. At most 500 renewals are under way, and the
others are read when their turn comes.
"""


_KEPT = """\
## What the Prefect server keeps

With the retention times of `deploy/server.env`, on SQLite: {per_day} renewals in one sweep a day, for {days} days. Each
day everything in the database is made a day older, and the server's own services remove what is too old. By itself:
`PYTHONPATH=tests python -m bench.retention`.

For each renewal in a sweep of {at_first}, it keeps {at_once:.0f} KB at once, {after_a_day:.0f} KB after a day, when the
events of task runs are removed, and {after_the_events:.0f} KB after a week, when all events are, until the run itself
is removed as well.

{table}"""


def _kept(kept: Kept) -> str:
    shown = [day for day in kept.days if day.number == 1 or day.number % EVERY == 0]
    heads = ("day", "size", "flow runs", "task runs", "events")
    rows = [
        (str(day.number), f"{day.bytes / 1000:.0f} KB", str(day.flow_runs), str(day.task_runs), str(day.events))
        for day in shown
    ]
    sizes = {name: getattr(kept, name) / 1000 for name in ("at_once", "after_a_day", "after_the_events")}
    return _KEPT.format(per_day=PER_DAY, days=len(kept.days), at_first=AT_FIRST, table=_cells([heads, *rows]), **sizes)


EVERY = 15
"""Days between those that the page shows."""


def _targets(round_: Round, figures: Sequence[Figures]) -> str:
    """A line for each target of the round: met, or by how much it was missed, and what bounds it."""
    return "".join(
        f"- {'met' if each.met else '**missed**'}: {each.target} ({each.sentence})\n"
        for each in targets_of(round_, figures)
    )


def text(round_: Round, figures: Sequence[Figures]) -> str:
    """One round for a terminal."""
    return f"\n{round_.name}\n{_table(figures)}{_targets(round_, figures)}"


def _table(figures: Sequence[Figures]) -> str:
    return _cells([COLUMNS, *(_row(each, figures[0]) for each in figures)])


def _cells(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row has the names of the columns."""
    head, *others = rows
    rows = [head, ["---"] * len(head), *others]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |\n" for row in rows
    )


def _row(one: Figures, ours: Figures) -> tuple[str, ...]:
    return (
        one.contestant,
        str(one.renewals),
        f"{60 * one.per_second:.0f}",
        "" if one.share_of_limit is None else f"{one.share_of_limit:.1%}",
        str(one.throttled),
        str(one.duplicates),
        f"{one.writes_each:.2f}",
        f"{one.reads_each:.2f}",
        "" if one.task_runs_each is None else f"{one.task_runs_each:.2f}",
        f"{1000 * one.cpu_each:.0f} ms",
        "" if one.server_cpu_each is None else f"{1000 * one.server_cpu_each:.0f} ms",
        "" if one.sandbox_cpu_each is None else f"{1000 * one.sandbox_cpu_each:.1f} ms",
        "" if one.database_each is None else f"{one.database_each / 1000:.0f} KB",
        f"{one.peak_megabytes:.0f} MB",
        f"{one.per_second / ours.per_second:.2f}",
    )


# --- the plot -----------------------------------------------------------------------------------

WIDTH, BAR, GAP, LABELS, TOP = 720, 22, 8, 200, 34
OURS, OTHERS = "#2f6f4f", "#b9c4bd"


def svg(results: Results) -> str:
    """A bar chart of renewals per minute, with a group for each round, as SVG."""
    groups, height = [], 10
    for round_, figures in results:
        group, below = _group(round_, figures, height)
        groups.append(group)
        height = below
    style = "font-family='system-ui, sans-serif' font-size='13'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' {style}>"
    return "\n".join([head, f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>", *groups, "</svg>"]) + "\n"


def _group(round_: Round, figures: Sequence[Figures], top: int) -> tuple[str, int]:
    fastest = max(each.per_second for each in figures)
    lines = [f"<text x='10' y='{top + 18}' font-weight='600'>{escape(round_.name)}</text>"]
    for number, each in enumerate(figures):
        y = top + TOP + number * (BAR + GAP)
        length = max(2.0, (WIDTH - LABELS - 190) * each.per_second / fastest)
        colour = OTHERS if number else OURS
        said = f"{60 * each.per_second:.0f} a minute" + (f", {each.throttled} refused" if each.throttled else "")
        lines += [
            f"<text x='{LABELS - 10}' y='{y + 16}' text-anchor='end'>{escape(each.contestant)}</text>",
            f"<rect x='{LABELS}' y='{y}' width='{length:.0f}' height='{BAR}' rx='3' fill='{colour}'/>",
            f"<text x='{LABELS + length + 8:.0f}' y='{y + 16}'>{said}</text>",
        ]
    return "\n".join(lines), top + TOP + len(figures) * (BAR + GAP) + 12
