"""Processes that renew, and that can be killed, stopped and waited for; see `worker_process.py`."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID, uuid4

from flows.tasks.prompt_client import prompt_client, promptly
from merchant import Merchant

LEASE_SECONDS = 130
"""After these many seconds a dead holder's lease is over for sure."""


@dataclass
class Worker:
    """One process that runs a flow."""

    pid: int
    result_file: Path
    ended: threading.Event = field(default_factory=threading.Event)
    status: int | None = None

    async def wait(self, seconds: float = 120) -> dict[str, Any] | None:
        """What its run came to; `None` when it was killed. Raises TimeoutError."""
        if not await asyncio.to_thread(self.ended.wait, seconds):
            raise TimeoutError(f"worker {self.pid} still runs after {seconds} s")
        if self.status == 0:
            result: dict[str, Any] = json.loads(self.result_file.read_text())
            return result
        assert self.status == -signal.SIGKILL, f"worker {self.pid} ended with {self.status}; see the log"
        return None

    def send(self, signal_number: int) -> None:
        """Kill, stop or continue it. It may have ended in between."""
        if not self.ended.is_set():
            os.kill(self.pid, signal_number)

    def leases(self) -> list[str]:
        """The ids of all leases that it ever took."""
        file = self.result_file.with_suffix(".leases")
        return file.read_text().split() if file.exists() else []

    def is_stopped(self) -> bool:
        """Whether it was stopped by SIGSTOP."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class Crew:
    """Starts workers; use it as a context manager. They end with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="crew-")
        self._started: queue.Queue[int] = queue.Queue()
        self._workers: dict[int, Worker] = {}
        self._process: subprocess.Popen[bytes]
        self._reader: threading.Thread

    def __enter__(self) -> Crew:
        log = (Path(self._folder.name) / "crew.log").open("wb")
        script = Path(__file__).with_name("worker_process.py")
        paths = os.pathsep.join([str(script.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.log()[-6000:])
        assert self._process.stdin is not None
        for worker in self._workers.values():
            worker.send(signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait(20)
        self._reader.join(10)
        self._folder.cleanup()

    def log(self) -> str:
        """What the workers said."""
        return (Path(self._folder.name) / "crew.log").read_text()

    def hire(self, merchant: Merchant, *, flow: str = "sweep", wind: bool = True, **job: Any) -> Worker:
        """
        Start one run of a flow in a process of its own.

        Further members: die_at (a place of `worker_process.PLACES`) with nth and signal; parameters; disk_is_full;
        lease_times (fields of `LeaseTimes`); prefect (another address of the server); clock_jumps_by (seconds).
        """
        assert self._process.stdin is not None
        result_file = Path(self._folder.name) / f"{uuid4()}.json"
        parameters = {"credentials": merchant.name, "policy": merchant.name, **job.pop("parameters", {})}
        told = {"flow": flow, "wind": wind, "sandbox": merchant.sandbox.url, "result": str(result_file)}
        self._process.stdin.write(json.dumps({**job, **told, "parameters": parameters}).encode() + b"\n")
        self._process.stdin.flush()
        pid = self._started.get(timeout=120)
        worker = self._workers[pid]
        worker.result_file = result_file
        return worker

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "started" in said:
                self._workers[said["started"]] = Worker(said["started"], Path())
                self._started.put(said["started"])
            elif "ended" in said:
                worker = self._workers[said["ended"]]
                worker.status = said["status"]
                worker.ended.set()


async def let_leases_expire(merchant: Merchant | None = None, *dead: Worker) -> None:
    """
    Do what the Prefect server does when nobody confirms a lease any more, without the wait.

    Of the dead workers only; of everybody when none is named, which is right only while no holder lives. The
    sandbox's clock moves on by as much as it would have taken.
    """
    if dead:
        ended = [UUID(line) for worker in dead for line in worker.leases()]
    else:
        folder = Path(os.environ["PREFECT_HOME"]) / "concurrency_leases"
        ended = [UUID(file.stem) for file in folder.glob("*-*.json")]
    async with prompt_client() as api:
        for lease_id in ended:
            await promptly(api.release_concurrency_slots_with_lease, lease_id)
    if merchant is not None:
        merchant.sandbox.advance(LEASE_SECONDS)
