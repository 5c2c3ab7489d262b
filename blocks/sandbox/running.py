"""Runs a sandbox in a process of its own, for tests, benchmarks and the demo."""

from __future__ import annotations

import json
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil

from blocks.sandbox.process import SandboxProcess, start_process

_START_SECONDS = 30.0


class SandboxFailed(Exception):  # noqa: N818 - the name says what happened
    """The sandbox did not start or refused a control; the message gives the reason."""


class RunningSandbox:
    """
    Starts `python -m blocks.sandbox` on a free port and offers its controls as methods.

    Use it as a context manager, or call `start()` and `stop()`. Further command line options are given as
    strings: `RunningSandbox("--mode", "live", "--limits", "off")`. The process ends when its parent ends,
    even if the parent is killed. The database file is in a temporary folder unless `--database` is given, and
    survives `restart()`.
    """

    start_process = staticmethod(start_process)
    """Starts the process; a program that starts hundreds of sandboxes may have a quicker way."""

    def __init__(self, *options: str) -> None:
        self._options = list(options)
        self._process: SandboxProcess | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._http: httpx.Client | None = None
        self.url = self.api_url = self.auth_url = ""
        self.organization = self.mode = self.client_id = self.client_secret = ""
        self.database = Path()
        self.controls_sent = 0
        """How many controls this object has sent. In between, a frozen clock stands still if only this one is used."""

    def start(self) -> RunningSandbox:
        """
        Start the process and wait until it listens.

        Raises:
            SandboxFailed: the process ended instead; the message has what it wrote to standard error.
        """
        if "--database" not in self._options:
            self._folder = tempfile.TemporaryDirectory(prefix="sandbox-")
        try:
            self._launch("0" if "--port" not in self._options else None)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the process and remove its temporary files."""
        self._end()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def restart(self, *, kill: bool = False) -> None:
        """
        End the process (`kill`: without a chance to tidy up) and start it again.

        Data, port, clock and tokens are kept. Faults, counters and windows of limits are not.
        """
        port = self.url.rpartition(":")[2]
        self._end(kill=kill)
        self._launch(port if "--port" not in self._options else None)

    def __enter__(self) -> RunningSandbox:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    # Clock

    def clock(self) -> datetime:
        """The sandbox's present instant, UTC."""
        return _instant(self._control("GET", "clock")["now"])

    def set_clock(self, instant: datetime | str) -> datetime:
        """Set the clock; moving it forward runs what is due on the way. Returns the new present."""
        text = instant.isoformat() if isinstance(instant, datetime) else instant
        return _instant(self._control("POST", "clock", {"set": text})["now"])

    def advance(self, seconds: float) -> datetime:
        """Move the clock forward and run what is due on the way. Returns the new present."""
        return _instant(self._control("POST", "clock", {"advance": seconds})["now"])

    def freeze(self) -> datetime:
        """Stop the clock; it then moves only by `advance` and `set_clock`. Returns the present."""
        return _instant(self._control("POST", "clock", {"rate": 0})["now"])

    def resume(self, rate: float = 1.0) -> datetime:
        """Let the clock run, `rate` sandbox seconds per real second. Returns the present."""
        return _instant(self._control("POST", "clock", {"rate": rate})["now"])

    # Data

    def seed(self, subscriptions: int = 0, **plan: Any) -> dict[str, Any]:
        """
        Seed demo data.

        Further members: active, foreign, due (ISO), spread_seconds, frequencies, failures (name to count, or to a
        share below 1), active_failures (the same for `active`), instance, policy. Returns the counts, and
        `subscription_ids` and `source_order_ids` when there are at most 1000.
        """
        return self._control("POST", "seed", {"subscriptions": subscriptions, **plan})

    def create_subscription(self, **members: Any) -> dict[str, Any]:
        """
        Create one subscription with explicit fields.

        Members, all optional: status, frequency, next_run_at, starts_at, expires_at, last_run_at (ISO), metadata,
        adopted, automatic, reference, reference_origin, source_order_id, wallet, card_ends, failure, times,
        total_cents, errors_count, occurrencies, succeeded_on_last_run. Returns id, source_order_id, customer_id,
        customer_payment_source_id, next_run_at, starts_at.
        """
        return self._control("POST", "subscriptions", members)

    def set_failure(self, source_order_id: str, kind: str | None, times: int | None = None) -> None:
        """Make copies of this order fail (or, on a target order, its placing); kind None ends it."""
        self._control("POST", "failures", {"order_id": source_order_id, "kind": kind, "times": times})

    def set_card_failure(self, payment_source_id: str, kind: str | None, times: int | None = None) -> None:
        """Make the placing of every order fail that is paid with this card; kind None ends it."""
        given = {"customer_payment_source_id": payment_source_id, "kind": kind, "times": times}
        self._control("POST", "failures", given)

    def customer_pays(self, order_id: str, payment_source_id: str | None = None) -> None:
        """The customer pays this order at the checkout, with this card if one is named, whatever failure it has."""
        self._control("POST", "pay", {"order_id": order_id, "customer_payment_source_id": payment_source_id})

    def add_payment_source(self, customer_id: str) -> str:
        """Let the customer add a card to the wallet; returns its id."""
        return str(self._control("POST", "payment_sources", {"customer_id": customer_id})["customer_payment_source_id"])

    def change_price(self, order_id: str, **members: Any) -> None:
        """
        Change what an unplaced order, or every later copy of a placed one, costs.

        Members: total_cents, currency_code, skus_count.
        """
        self._control("POST", "prices", {"order_id": order_id, **members})

    def set_payment_status(self, order_id: str, status: str) -> None:
        """Set how far an order is paid, e.g. `unpaid` after a chargeback."""
        self._control("POST", "payments", {"order_id": order_id, "payment_status": status})

    def release(self, order_copy_id: str) -> None:
        """Release a stuck copy."""
        self._control("POST", "release", {"order_copy_id": order_copy_id})

    def release_order(self, order_id: str) -> None:
        """Release the stuck placing of this order."""
        self._control("POST", "release", {"order_id": order_id})

    # Faults

    def fault(self, action: str, **members: Any) -> dict[str, Any]:
        """
        Add a fault; see `blocks.sandbox.http.faults.ACTIONS`.

        Members: when (before, after), method, path (with `*`), match (pattern in query or body), times, nth,
        share, status, body (html, json or a text), seconds, stamp (commit, arrival), answer (lost, at_commit, at_once),
        changes (attributes with their values, by id).
        """
        return self._control("POST", "faults", {"action": action, **members})

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are set, with how often each has seen and hit a request."""
        listed: list[dict[str, Any]] = self._request("GET", "faults").json()
        return listed

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._control("DELETE", "faults")

    def revoke_tokens(self) -> None:
        """Revoke the token in use: its bearer gets 401 INVALID_TOKEN."""
        self._control("POST", "tokens/revoke")

    def deliver_webhooks(self, copies: int) -> None:
        """Deliver each webhook call this many times."""
        self._control("POST", "webhooks", {"copies_per_delivery": copies})

    def lag_lists(self, seconds: float, resources: list[str] | None = None) -> None:
        """Let lists (all, or those of these types) show the data as it was `seconds` sandbox seconds ago; 0 ends it."""
        self._control("POST", "lag", {"list_lag_seconds": seconds, "resources": resources})

    # Measuring

    def counters(self) -> dict[str, Any]:
        """Requests so far: total, requests (by method and endpoint), statuses, detail, throttled, faults."""
        return self._control("GET", "counters")

    def reset_counters(self) -> None:
        """Count from zero."""
        self._control("DELETE", "counters")

    def forget_limits(self) -> None:
        """Empty the windows of the rate limits."""
        self._control("DELETE", "limits")

    def info(self) -> dict[str, Any]:
        """Settings, organization id and database path."""
        return self._control("GET", "info")

    # The process and its requests

    def _control(self, method: str, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._request(method, name, body).json()
        return answer

    def _request(self, method: str, name: str, body: dict[str, Any] | None = None) -> httpx.Response:
        if self._http is None:
            raise SandboxFailed("the sandbox is not running; start() it first")
        self.controls_sent += method != "GET"
        response = self._http.request(method, f"/_sandbox/{name}", json=body)
        if response.is_error:
            raise SandboxFailed(response.json().get("error", response.text))
        return response

    @property
    def cpu_seconds(self) -> float:
        """CPU time that the process has taken so far, in seconds."""
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def _launch(self, port: str | None) -> None:
        where = [] if port is None else ["--port", port]
        if self._folder is not None:
            where += ["--database", str(Path(self._folder.name) / "commerce-layer.sqlite")]
        self._process = self.start_process(["--with-parent", *self._options, *where])
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait(_START_SECONDS)
            raise SandboxFailed(f"the sandbox ended with status {status} instead of starting; see standard error")
        ready = json.loads(line)
        for name in ("url", "api_url", "auth_url", "organization", "mode", "client_id", "client_secret"):
            setattr(self, name, ready[name])
        self.database = Path(ready["database"])
        self._http = httpx.Client(base_url=self.url, timeout=120.0, trust_env=False)

    def _end(self, *, kill: bool = False) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
