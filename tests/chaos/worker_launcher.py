"""Worker processes that a test can start, kill, stop and wait for; see `worker_process.py`."""

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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from merchant import Merchant


@dataclass
class Worker:
    """One process that runs a flow."""

    pid: int
    result_file: Path
    log: Path
    ended: threading.Event = field(default_factory=threading.Event)
    status: int | None = None

    async def wait(self, seconds: float = 120) -> dict[str, Any] | None:
        """Wait for the result of its run: `None` if it was killed. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not self.ended.is_set():  # noqa: ASYNC110 - many tasks wait at the same time, and there are few threads
                await asyncio.sleep(0.01)
        if self.status == 0:
            result: dict[str, Any] = json.loads(self.result_file.read_text())
            return result
        said = self.log.read_text()[-3000:]
        assert self.status == -signal.SIGKILL, f"worker {self.pid} ended with {self.status}; all have said: {said}"
        return None

    def send(self, signal_number: int) -> None:
        """Kill, stop or continue it, unless it has already ended."""
        if not self.ended.is_set():
            os.kill(self.pid, signal_number)

    def kill(self) -> None:
        """End it at once."""
        self.send(signal.SIGKILL)

    async def stop(self) -> None:
        """Stop it until it gets SIGCONT."""
        self.send(signal.SIGSTOP)
        await self.until_stopped()

    async def until_stopped(self) -> bool:
        """Wait until it is stopped. Returns False if it has ended instead."""
        while not self.ended.is_set():
            with suppress(OSError):
                if self._is_stopped():
                    return True
            await asyncio.sleep(0.02)
        return False

    def _is_stopped(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class WorkerLauncher:
    """A context manager that starts workers, and kills those that still run at its end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="workers-")
        self._started: queue.Queue[int] = queue.Queue()
        self._workers: dict[int, Worker] = {}
        self._process: subprocess.Popen[bytes]
        self._reader: threading.Thread

    def __enter__(self) -> WorkerLauncher:
        self._log = Path(self._folder.name) / "workers.log"
        log = self._log.open("wb")
        script = Path(__file__).with_name("worker_process.py")
        paths = os.pathsep.join(map(str, [*script.parents[1:3], *filter(None, [os.environ.get("PYTHONPATH")])]))
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
        """What the workers wrote to standard error."""
        return self._log.read_text()

    def start(self, merchant: Merchant, *, flow: str = "sweep", advance_clock: bool = True, **job: Any) -> Worker:
        """
        Start one run of a flow in a process of its own.

        Further options: kill_at (a key of `worker_process.KILL_POINTS`) with nth and signal; parameters; disk_is_full;
        prefect (the address of another server); clock_jumps_by (seconds); clock (the address of a `SharedClock` to
        follow instead of advancing the sandbox's clock).
        """
        assert self._process.stdin is not None
        result_file = Path(self._folder.name) / f"{uuid4()}.json"
        parameters = {"credentials": merchant.name, "policy": merchant.name, **job.pop("parameters", {})}
        told = {"flow": flow, "advance_clock": advance_clock, "sandbox": merchant.sandbox.url}
        told |= {"result": str(result_file)}
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
                self._workers[said["started"]] = Worker(said["started"], Path(), self._log)
                self._started.put(said["started"])
            elif "ended" in said:
                worker = self._workers[said["ended"]]
                worker.status = said["status"]
                worker.ended.set()


async def until_hit(merchant: Merchant, worker: Worker | None = None, hits: int = 1) -> None:
    """Wait until this many requests have met a fault of the sandbox. Fails if `worker` ends first."""
    async with asyncio.timeout(200):
        while merchant.sandbox.counters()["faults"] < hits:
            assert worker is None or not worker.ended.is_set(), "the worker ended too early"
            await asyncio.sleep(0.02)


async def until_posted(merchant: Merchant, count: int = 1, worker: Worker | None = None) -> None:
    """Wait until this many requests to create an order copy have arrived. Fails if `worker` ends first."""
    async with asyncio.timeout(200):
        while merchant.sandbox.counters()["requests"].get("POST /api/order_copies", 0) < count:
            assert worker is None or not worker.ended.is_set(), "the worker ended too early"
            await asyncio.sleep(0.01)
