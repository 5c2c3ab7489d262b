"""A headless Chromium, controlled through its DevTools protocol: open a page, wait for words, take a picture."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from flows.cli.processes import process

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60.0
"""Seconds within which a page must show the words; the first page loads the whole UI."""


class Browser:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def open(self, url: str, *words: str) -> str:
        """
        Open a page; returns its visible text once all `words` are on it.

        Raises:
            AssertionError: they did not appear; the message has the text of the page.
        """
        await self._call("Page.navigate", url=url)
        return await self.wait_for(*words)

    async def wait_for(self, *words: str) -> str:
        """The visible text of the page, values of fields included, once all `words` are on it."""
        script = (
            "document.body.innerText + '\\n' + "
            "[...document.querySelectorAll('input, textarea')].map(field => field.value).join('\\n')"
        )
        text = ""
        for _ in range(int(PATIENCE / 0.2)):
            answer = await self._call("Runtime.evaluate", expression=script, returnByValue=True)
            text = str(answer.get("result", {}).get("value", ""))
            if all(word.lower() in text.lower() for word in words):
                return text
            await asyncio.sleep(0.2)
        raise AssertionError(
            f"{[word for word in words if word.lower() not in text.lower()]} are not on the page:\n{text}"
        )

    async def choose(self, tab: str) -> None:
        """Choose the tab with this name."""
        script = (
            "[...document.querySelectorAll('[role=tablist] > *')]"
            f".find(each => each.innerText.trim() === {json.dumps(tab)}).click()"
        )
        answer = await self._call("Runtime.evaluate", expression=script)
        assert "exceptionDetails" not in answer, f"there is no tab {tab!r}"

    async def become(self, *, width: int, colours: str) -> None:
        """Show pages as a screen of this width does (a phone's below 500 px), whose owner prefers `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": colours}]
        await self._call("Emulation.setEmulatedMedia", features=features)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        await self._call("Emulation.setDeviceMetricsOverride", **screen)

    async def value_of(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        answer = await self._call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def picture(self, path: Path) -> None:
        """Save what is visible as PNG."""
        answer = await self._call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async for message in self._socket:
            answer: dict[str, Any] = json.loads(message)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
        raise AssertionError("the browser has closed the connection")


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """A browser with a profile of its own, which ends with the block."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(prefix="perennial-browser-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--remote-debugging-port=0", f"--user-data-dir={home}", "--window-size=1500,1100", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--lang=en-US", "about:blank",
        ]  # fmt: skip
        with process(command, {}, home / "chromium.log"):
            port = await _port(home / "DevToolsActivePort")
            async with httpx.AsyncClient(trust_env=False) as http:
                tabs = (await http.get(f"http://127.0.0.1:{port}/json")).json()
            url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with connect(url, max_size=None, proxy=None) as socket:
                yield Browser(socket)


async def _port(announced: Path) -> int:
    for _ in range(int(PATIENCE / 0.1)):
        if announced.exists() and (lines := announced.read_text().split()):  # noqa: ASYNC240 - two lines
            return int(lines[0])
        await asyncio.sleep(0.1)
    raise AssertionError("chromium did not start")
