"""`perennial stop` and `perennial go`: whether customers may be charged, for every flow on this Prefect server."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from flows.cli.prefect_errors import PrefectUnavailable, calling_prefect
from flows.rules.stop_switch import GO, VARIABLE, StopSwitch, stopped
from flows.run.stop_switch import switch_now


def stop(reason: Annotated[str, Parameter(name="REASON")], /) -> int:
    """
    Stop all charging, within ten seconds also in what runs already. Returns the exit code.

    Copies are still made, but no customer is charged until `perennial go`. A new deployment or a restart changes
    nothing.

    Args:
        reason: Why, in a few words; every run says it.
    """
    if not reason.strip():
        print("give a reason: every run says it, and people will ask", file=sys.stderr)
        return 2
    return _tell(lambda before: stopped(reason, datetime.now(UTC), before))


def go() -> int:
    """Charge customers again. Returns the exit code. The next sweep places the orders that wait."""
    return _tell(lambda _: GO)


def _tell(value: Any) -> int:
    try:
        with calling_prefect():
            now = asyncio.run(_set(value))
    except PrefectUnavailable as error:
        print(f"nothing was changed: {error}", file=sys.stderr)
        return 2
    print(f"{now.sentence}; what runs now knows it within ten seconds")
    print(f"it is the Prefect variable {VARIABLE}, which you can edit in the UI as well")
    return 0


async def _set(value: Any) -> StopSwitch:
    async with get_client() as prefect:
        before = await prefect.read_variable_by_name(VARIABLE)
        new = value(await switch_now(prefect))
        if before is None:
            await prefect.create_variable(VariableCreate(name=VARIABLE, value=new))
        else:
            await prefect.update_variable(VariableUpdate(name=VARIABLE, value=new))
        return await switch_now(prefect)
