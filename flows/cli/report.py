"""`perennial report`: the page of a month, from what Commerce Layer has recorded."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate

from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.options import From, To
from flows.cli.prefect_errors import calling_prefect
from flows.cli.private_files import write_private
from flows.cli.refusals import refuse
from flows.cli.span_reading import PROBLEMS, SpanRead, reading
from flows.rules.outside_text import plain
from flows.rules.renewal_reports import RenewalReport, report_of
from flows.rules.report_texts import facts, markdown_of, sentence

ARTIFACT = "renewal-report"
"""Key of the artifact in Prefect; each report is a new version of it."""

PAGE = Path("report.html")


class NotWritten(OSError):  # noqa: N818 - the name says what happened
    """The page could not be written; the message names the file and the way out."""


def report(
    *,
    first: From,
    last: To,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"), metavar="FILE")] = None,
    machine: Annotated[bool, Parameter(name="--json")] = False,
    credentials: str = CREDENTIALS,
    policy: str = POLICY,
) -> int:
    """
    Write a page about the renewals of a span, and the same as a Markdown artifact in Prefect; the shop is only read.

    Returns the exit code: 0 when the report was made, 2 when it could not be: the message says why.

    Args:
        first: The first day where the merchant is, or an instant (UTC).
        last: The last day, which is included, or an instant (UTC), which is not.
        output: The file to write, report.html if left out; it replaces an older one.
        machine: Print the figures as JSON, for machines; the page is written only if a file is named.
        credentials: Name of the credentials block.
        policy: Name of the policy block: its time zone and its failure patterns are used.
    """
    file = output or (None if machine else PAGE)
    try:
        _look_for_folder(file)
        with calling_prefect():
            figures = asyncio.run(_report(first, last, file, credentials, policy))
    except (*PROBLEMS, NotWritten) as error:
        return refuse(error, machine=machine)
    if machine:
        print(json.dumps(figures, indent=2))
    else:
        print(f"{plain(figures['sentence'])}\n{file}, and the artifact {ARTIFACT} in Prefect")
    return 0


def _look_for_folder(file: Path | None) -> None:
    """Raise NotWritten if the file has no folder: better now than after all has been read."""
    if file is not None and not file.parent.is_dir():
        raise NotWritten(f"There is no folder {file.parent}: make it, or name another file with --output.")


async def _report(first: date, last: date, file: Path | None, credentials: str, policy: str) -> dict[str, Any]:
    async with reading(first, last, credentials, policy) as read:
        made = report_of(read.history.renewals, read.history.subscriptions, read.span, read.run.policy, read.run.now())
        if file is not None:
            await _publish(read, made, file)
        return facts(made, read.dashboard)


async def _publish(read: SpanRead, made: RenewalReport, file: Path) -> None:
    from flows.cli.report_page import page_of  # it draws charts: only this command pays for that import

    page = page_of(made, read.dashboard, read.run.policy, read.run.policy_name)
    try:
        await asyncio.to_thread(write_private, file, page)
    except OSError as error:
        raise NotWritten(f"{file} cannot be written ({error.strerror}): name another file with --output") from error
    text = markdown_of(made, read.dashboard)
    artifact = ArtifactCreate(type="markdown", key=ARTIFACT, data=text, description=sentence(made))
    async with get_client() as prefect:  # prefect.artifacts are for runs, and this is none
        await prefect.create_artifact(artifact)
