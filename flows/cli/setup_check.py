"""`perennial setup --check`: reads back what was set up, and names each misconfiguration with its way out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from rich.console import Console
from rich.markup import escape

from flows.cli.alarms import SWEEP
from flows.cli.checked import Checked
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.prefect_checks import check_alarms, check_deployments, check_pool, check_server, check_switch
from flows.cli.shop_checks import check_shop
from flows.rules.outside_text import printable


async def check_setup() -> list[Checked]:
    """All that can be read back, in the order in which it is set up. Changes nothing."""
    async with get_client() as prefect:
        return [each async for each in _all(prefect)]


async def _all(prefect: PrefectClient) -> AsyncIterator[Checked]:
    credentials, policy = await _blocks_of_the_sweep(prefect)
    for part in (
        check_server(prefect),
        check_shop(prefect, credentials, policy),
        check_deployments(prefect),
        check_pool(prefect),
        check_alarms(prefect),
        check_switch(prefect),
    ):
        async for each in part:
            yield each


async def _blocks_of_the_sweep(prefect: PrefectClient) -> tuple[str, str]:
    """The names of the blocks that the deployed sweep uses."""
    try:
        parameters = (await prefect.read_deployment_by_name(SWEEP)).parameters
    except ObjectNotFound:
        parameters = {}
    return str(parameters.get("credentials") or CREDENTIALS), str(parameters.get("policy") or POLICY)


def tell(checked: Sequence[Checked]) -> int:
    """Print a line for each. Returns the exit code: 1 when something is not as it should be."""
    console = Console(highlight=False, soft_wrap=True)
    wide = max(len(each.what) for each in checked)
    for each in checked:
        mark = "[green]ok   [/]" if each.is_right else "[red]WRONG[/]"
        console.print(f"{mark}  {escape(each.what):{wide}}  {escape(printable(each.found))}")
        if each.way_out:
            console.print(f"{'':{wide + 9}}{escape(printable(each.way_out))}")
    wrong = sum(not each.is_right for each in checked)
    console.print(f"\n[bold]{f'{wrong} to be corrected' if wrong else 'all is as it should be'}[/]")
    return int(wrong > 0)
