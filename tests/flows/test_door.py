"""The door: the one place that creates and places, and what it does when something is wrong around it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from merchant import Merchant, cancel
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.errors import Fenced
from blocks.commerce_layer.resources import OrderCopyDraft
from flows.cli.prefect_server import free_port
from flows.rules.acts import Place
from flows.tasks.door import open_door
from flows.tasks.shop import Shop, open_shop

ROOT = Path(__file__).resolve().parents[2]


class Mentions(ast.NodeVisitor):
    """What a file says of sending things to a shop: `(function, what)`; the function is empty at module level."""

    NAMES = frozenset(
        {"create_order_copy", "place_order", "_wire", "_patch", "_transport", "_http", "Wire", "Transport"}
    )
    METHODS = frozenset({"write", "request", "post", "patch", "put", "send", "stream", "build_request", "urlopen"})
    TEXTS = frozenset({"create_order_copy", "place_order", "POST", "_place", "order_copies", "_wire", "_patch"})
    LIBRARIES = frozenset({"requests", "aiohttp", "urllib3", "urllib.request", "http.client", "socket"})
    DYNAMIC = frozenset(
        {"getattr", "attrgetter", "methodcaller", "__import__", "import_module", "eval", "exec", "vars"}
    )

    def __init__(self, source: str) -> None:
        self.found: set[tuple[str, str]] = set()
        self._function = ""
        self.visit(ast.parse(source))

    def _note(self, what: str) -> None:
        self.found.add((self._function, what))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before, self._function = self._function, node.name
        self.generic_visit(node)
        self._function = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name that `ast` wants

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._note_module(alias.name)
            if alias.name.split(".")[0] == "httpx" and (alias.asname or alias.name != "httpx"):
                self._note("httpx under another name")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._note_module(f"{node.module}.{alias.name}")
            self._note_module(node.module or "")
            self._note_name(alias.name)
            if (node.module or "").split(".")[0] == "httpx":
                self._note_httpx(alias.name)

    def _note_module(self, module: str) -> None:
        for library in self.LIBRARIES:
            if module == library or module.startswith(f"{library}."):
                self._note(library)

    def _note_name(self, name: str) -> None:
        if name in self.NAMES:
            self._note(name)

    def _note_httpx(self, name: str) -> None:
        # Errors are for catching, and requests are built elsewhere; everything else can send.
        if not name.endswith(("Error", "Exception", "Timeout", "Protocol", "Request", "Response", "Limits")):
            self._note(f"httpx.{name}")

    def visit_Name(self, node: ast.Name) -> None:
        self._note_name(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._note_name(node.attr)
        if isinstance(node.value, ast.Name) and node.value.id == "httpx":
            self._note_httpx(node.attr)
        elif node.attr in self.METHODS:
            self._note(f".{node.attr}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        constants = all(isinstance(each, ast.Constant) for each in node.args[1:2])
        if called in self.DYNAMIC and not (called == "getattr" and constants):
            self._note(called)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring says much, and does nothing
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        for text in self.TEXTS:
            if isinstance(node.value, str) and re.search(rf"(?<![a-z_]){text}(?![a-z_])", node.value, re.IGNORECASE):
                self._note(f"{text!r}")


CLIENT, WIRE, TRANSPORT = (f"blocks/commerce_layer/{name}.py" for name in ("client", "wire", "transport"))
ALLOWED = {
    # The two that matter: one function alone creates, and one alone places.
    ("flows/tasks/door.py", "_create", "create_order_copy"),
    ("flows/tasks/placements.py", "_place", "place_order"),
    # The task that steps through the door has the name that people see.
    ("flows/tasks/sweeping.py", "", "create_order_copy"),
    ("flows/tasks/sweeping.py", "_create", "create_order_copy"),
    ("flows/tasks/by_hand.py", "", "create_order_copy"),
    ("flows/tasks/by_hand.py", "create_by_hand", "create_order_copy"),
    # The client: what each of its methods may write is in its own words.
    *((CLIENT, "create_order_copy", what) for what in (".write", "'POST'")),
    *((CLIENT, "place_order", what) for what in ("_patch", "'_place'")),
    *((CLIENT, do, "_patch") for do in ("update_subscription", "hand_over_subscription", "update_order")),
    (CLIENT, "use_payment_source", "_patch"),
    *((CLIENT, do, ".write") for do in ("_patch", "record_on_subscription")),
    *((CLIENT, "", what) for what in ("'order_copies'", "Wire")),
    *((CLIENT, name, "_wire") for name in ("__init__", "__aexit__", "requests_made", "shop_time", "claims")),
    *((CLIENT, name, "_wire") for name in ("create_order_copy", "get_order", "_patch", "_pages")),
    (CLIENT, "record_on_subscription", "_wire"),
    (CLIENT, "__init__", "Wire"),
    ("blocks/commerce_layer/resources.py", "", "'order_copies'"),
    # The connection below it.
    *((WIRE, "", what) for what in ("Transport", "'POST'")),
    (WIRE, "write", "'POST'"),
    *((WIRE, "_request_token", what) for what in ("_transport", "'POST'")),
    *((WIRE, name, "_transport") for name in ("__init__", "shop_time", "close", "_exchange", "_request", "_send")),
    (WIRE, "__init__", "Transport"),
    (WIRE, "_send", ".send"),
    *((TRANSPORT, "__init__", what) for what in ("_http", "httpx.AsyncClient", ".build_request")),
    *((TRANSPORT, "send", what) for what in ("_http", ".send")),
    (TRANSPORT, "__init__", ".write"),  # a timeout
    (TRANSPORT, "close", "_http"),
    # Attributes of plain data, read by name.
    ("blocks/commerce_layer/rate_limit/stores.py", "dump", "getattr"),
    ("blocks/policy_terms.py", "retry_delays", "getattr"),
    ("blocks/renewal_policy.py", "terms", "getattr"),
    ("flows/__main__.py", "_end_on_signals", "getattr"),
    ("flows/tasks/prompt_client.py", "passed", "getattr"),
    # Words: a class of requests in the budget, the names of tasks, what is printed or read from the sandbox's file.
    ("flows/tasks/states.py", "", "'create_order_copy'"),
    ("blocks/commerce_layer/rate_limit/budget.py", "", "'POST'"),
    *(("flows/cli/demo.py", *says) for says in (("_copies_in", "'order_copies'"), ("_print_summary", "'POST'"))),
    ("flows/cli/up.py", "_print_addresses", "'POST'"),
    # Prefect's API, free ports and host names.
    *(("flows/tasks/published_leases.py", "read_board", what) for what in (".request", "'POST'")),
    *(("flows/cli/prefect_server.py", "", what) for what in ("socket", "urllib.request")),
    *(("flows/cli/prefect_server.py", "wait_until_it_answers", what) for what in (".request", ".urlopen")),
    ("flows/cli/setup.py", "_keeps_leases_in_memory", ".request"),
    ("flows/tasks/fuse.py", "", "socket"),
}  # fmt: skip
"""Every place in production code that says a word of sending, as `(file, function, what)`."""


def everything_said() -> set[tuple[str, str, str]]:
    files = [*(ROOT / "flows").rglob("*.py"), *(ROOT / "blocks").rglob("*.py")]
    ours = [file for file in files if "sandbox" not in file.relative_to(ROOT).parts]
    assert {ROOT / "flows" / "renew.py", ROOT / CLIENT} <= set(ours)
    return {
        (file.relative_to(ROOT).as_posix(), *mention) for file in ours for mention in Mentions(file.read_text()).found
    }


def test_one_function_alone_creates_and_one_alone_places() -> None:
    assert everything_said() - ALLOWED == set(), "only the door may send what costs money"
    assert ALLOWED - everything_said() == set(), "what nobody needs any more is an open door"


LOOPHOLES = {
    "a client of its own": "import httpx\nasync def f():\n    async with httpx.AsyncClient() as http: ...",
    "a request at once": "import httpx\nhttpx.post(url)",
    "httpx under another name": "import httpx as h\nh.get(url)",
    "a part of httpx": "from httpx import AsyncClient",
    "another library": "import requests",
    "the standard library": "from urllib.request import urlopen",
    "somebody's session": "async def f(session): await session.post(url, json=body)",
    "an address": "def f(api): return f'{api}/order_copies'",
    "a method": "def f(send): send('POST', body)",
    "the connection of the client": "async def f(client): await client._wire.write(method, kind, endpoint)",
    "a method of the connection": "def f(wire): return wire.write",
    "a connection of its own": "from blocks.commerce_layer.wire import Wire",
    "the client's own patch": "async def f(client): await client._patch(ORDERS, Order, order_id, attributes, view)",
    "the trigger": "ATTRIBUTES = {'_place': True}",
    "the creation itself": "async def f(shop): await shop.client.create_order_copy(draft, fence=fence)",
    "the creation, not called": "class Other:\n    make = CommerceLayer.create_order_copy",
    "the placement in a lambda": "place = lambda client: client.place_order",
    "the creation by name": "def f(client): return getattr(client, 'create_order_copy')",
    "the creation by a name made up": "def f(client, what): return getattr(client, 'create_' + what)",
    "the creation by operator": "from operator import methodcaller\ncreate = methodcaller(name)",
    "a module by name": "import importlib\nimportlib.import_module(name)",
}


@pytest.mark.parametrize("loophole", LOOPHOLES)
def test_a_way_around_the_door_is_found(loophole: str) -> None:
    found = {("flows/tasks/ledger.py", *mention) for mention in Mentions(LOOPHOLES[loophole]).found}
    assert found - ALLOWED


def test_what_only_reads_and_records_is_none_of_the_doors_business() -> None:
    innocent = """async def f(shop, reference):
    "Finds what the POST to order_copies made."
    await shop.client.find_order_copies([reference])
    await shop.client.update_subscription(reference, metadata={"places": 1, "posted": True})"""
    assert Mentions(innocent).found == set()


async def opened(merchant: Merchant) -> Shop:
    return await open_shop(merchant.name, merchant.name, None).__aenter__()


async def test_a_renewal_steps_through_once(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(1)["subscription_ids"]
    async with open_shop(merchant.name, merchant.name, None) as shop, open_door(shop, ids) as door:
        await door.step_through(door.renewals[0])
        with pytest.raises(RuntimeError, match="has stepped through a door of this run already"):
            await door.step_through(door.renewals[0])
    assert len(merchant.copies()) == 1


async def test_a_fence_that_fell_after_the_look_lets_nothing_out(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(3)["subscription_ids"]
    merchant.sandbox.reset_counters()
    async with open_shop(merchant.name, merchant.name, None) as shop, open_door(shop, ids) as door:
        for lease in door._leases.values():
            lease.confirmed_at -= lease.times.fence_after + 1
        steps = [await door.step_through(renewal) for renewal in door.renewals]

    assert all(isinstance(step.evidence.error, Fenced) for step in steps)  # type: ignore[union-attr]
    assert "POST /api/order_copies" not in merchant.sandbox.counters()["requests"]


async def test_a_fence_that_falls_while_the_rate_limit_makes_us_wait_lets_nothing_out(merchant: Merchant) -> None:
    source_order_id = merchant.sandbox.seed(1)["source_order_ids"][0]
    merchant.sandbox.fault("throttle", method="POST", path="/api/order_copies", times=1)
    asked = 0

    def fence() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Fenced("the lease is over")

    block = await CommerceLayerCredentials.aload(merchant.name)
    async with block.get_client() as client:
        draft = OrderCopyDraft(source_order_id=source_order_id, reference="a@b", metadata={})
        with pytest.raises(Fenced):
            await client.create_order_copy(draft, fence=fence)
    assert merchant.copies() == []


async def test_a_fallen_fence_places_no_order_either(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined", times=1)
    await merchant.sweep()
    merchant.sandbox.advance(2 * 86_400)
    async with open_shop(merchant.name, merchant.name, None) as shop, open_door(shop, [made["id"]]) as door:
        for lease in door._leases.values():
            lease.lost = "somebody took it"
        (step,) = [await door.step_through(renewal) for renewal in door.renewals]
        for lease in door._leases.values():
            lease.lost = ""  # nobody took it: it is to be given back

    assert isinstance(step.act, Place)
    assert isinstance(step.evidence.error, Fenced)  # type: ignore[union-attr]
    assert merchant.rows("SELECT * FROM orders WHERE status = 'placed' AND id NOT IN (SELECT source_order_id FROM"
                         " order_subscriptions)") == []  # fmt: skip


async def test_who_was_cancelled_or_postponed_a_moment_ago_drops_out(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(3)["subscription_ids"]
    block = await CommerceLayerCredentials.aload(merchant.name)
    async with open_shop(merchant.name, merchant.name, None) as shop:
        async with block.get_client() as customer:
            await cancel(customer, ids[0])
            await customer.update_subscription(ids[1], next_run_at=merchant.sandbox.clock().replace(year=2030))
        async with open_door(shop, [*ids, "unknownIdX"]) as door:
            assert [renewal.subscription_id for renewal in door.renewals] == [ids[2]]
            reasons = {skipped.subscription_id: skipped.reason.value for skipped in door.skipped}
    assert reasons == {ids[0]: "cancelled", ids[1]: "not_due", "unknownIdX": "gone"}


async def test_without_prefect_nothing_is_created(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(1)["subscription_ids"]
    async with open_shop(merchant.name, merchant.name, None) as shop:
        address = shop.leases._api._client.base_url
        shop.leases._api._client.base_url = f"http://127.0.0.1:{free_port()}/api/"
        with pytest.raises(Exception, match="Prefect's API cannot be reached"):
            async with open_door(shop, ids):
                pytest.fail("the door opened without a lease")
        shop.leases._api._client.base_url = address
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}), pytest.raises(Exception):  # noqa: B017, PT011
        await opened(merchant)
    assert merchant.copies() == []
