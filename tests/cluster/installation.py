"""The recipe of `deploy/` as plain processes: PostgreSQL database, Redis, two API servers, services and two workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from cluster.balancer import Balancer
from cluster.recipe import DEPLOY, settings
from own_postgres import OwnPostgres, own_postgres

from flows.cli.prefect_server import SETTINGS, ServiceDidNotStart, free_port, wait_until_it_answers
from flows.cli.processes import process

API_SERVERS = ("api-1", "api-2")
SERVICES = "services"
WORKERS = ("worker-1", "worker-2")
PREFECT = (sys.executable, "-m", "prefect")
ROOT = DEPLOY.parent


@dataclass
class Program:
    """One process of the installation, which can be killed and started again."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    answers: str | None = None
    """An address that answers once it is up."""
    child: psutil.Popen | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self.child is not None
        return int(self.child.pid)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        opened = process(self.command, self.environment, self.log, without=SETTINGS)
        self.child = self._stack.enter_context(opened)
        if self.answers is not None:
            wait_until_it_answers(self.answers, self.child, self.log)

    def kill(self) -> None:
        """Kill it with SIGKILL, together with all that it has started: its machine is gone."""
        assert self.child is not None
        family = [self.child, *self.child.children(recursive=True)]
        for each in family:
            with suppress(psutil.Error):
                each.send_signal(signal.SIGKILL)
        self.child.wait()

    def stop(self) -> None:
        """End it."""
        self._stack.close()


class Installation:
    """All of it, on ports that were free. `api_url` is the one address for both API servers."""

    def __init__(self, home: Path, postgres: OwnPostgres, port: int | None = None) -> None:
        self.home, self.postgres = home, postgres
        self.balanced, self.redis_port = port or free_port(), free_port()
        self.api_ports = [free_port() for _ in API_SERVERS]
        self.url = f"http://127.0.0.1:{self.balanced}"
        self.api_url = f"{self.url}/api"
        self.redis = Program("redis", self._redis_command(), {}, home / "redis.log")
        self.programs = {each.name: each for each in self._programs()}

    @property
    def client_environment(self) -> dict[str, str]:
        """The settings of a worker, or of a command that an operator types."""
        return {
            **settings("worker.env"),
            "PREFECT_HOME": str(self.home / "client"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start everything in the order of `compose.yaml`, and end it in the reverse order."""
        with ExitStack() as opened:
            self.home.mkdir(parents=True, exist_ok=True)
            opened.callback(self.redis.stop)
            self.start_redis()
            self._prefect(self._server_environment("migrate"), "server", "database", "upgrade", "--yes")
            opened.enter_context(Balancer(self.api_ports, self.balanced))
            for name in (*API_SERVERS, SERVICES):
                self._start(name, opened)
            self._prefect_script()
            for name in WORKERS:
                self._start(name, opened)
            yield

    def start_redis(self) -> None:
        """Start Redis, or start it again with what it has on disk."""
        self.redis.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.redis_port), 1):
                return
            time.sleep(0.05)
        raise ServiceDidNotStart(f"Redis did not start; its log is {self.redis.log}")

    def ended(self) -> list[Program]:
        """The programs that have ended by themselves."""
        all_of_it = [self.redis, *self.programs.values()]
        return [each for each in all_of_it if each.child is not None and each.child.poll() is not None]

    def prefect(self, *arguments: str) -> str:
        """Run the `prefect` command as an operator; returns what it printed."""
        return self._prefect(self.client_environment, *arguments)

    def _start(self, name: str, opened: ExitStack) -> None:
        program = self.programs[name]
        opened.callback(program.stop)
        program.start()

    def _prefect_script(self) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        _run(["sh", str(DEPLOY / "set-up.sh")], {**self.client_environment, "PATH": path})

    def _prefect(self, environment: Mapping[str, str], *arguments: str) -> str:
        return _run([*PREFECT, *arguments], environment)

    def _redis_command(self) -> Sequence[str]:
        return (
            "redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", str(self.home),
            "--appendonly", "yes", "--maxmemory-policy", "noeviction",
        )  # fmt: skip

    def _programs(self) -> Iterator[Program]:
        for name, port in zip(API_SERVERS, self.api_ports, strict=True):
            command = (*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-services")
            answers = f"http://127.0.0.1:{port}/api/health"
            yield Program(name, command, self._server_environment(name), self.home / f"{name}.log", answers)
        services = (*PREFECT, "server", "services", "start")
        yield Program(SERVICES, services, self._server_environment(SERVICES), self.home / f"{SERVICES}.log")
        for name in WORKERS:
            command = (
                *PREFECT, "worker", "start", "--pool", "perennial", "--type", "process", "--limit", "3", "--name", name,
            )  # fmt: skip
            environment = {**self.client_environment, "PREFECT_HOME": str(self.home / name)}
            yield Program(name, command, environment, self.home / f"{name}.log")

    def _server_environment(self, name: str) -> dict[str, str]:
        redis = f"redis://127.0.0.1:{self.redis_port}"
        return {
            **settings("server.env"),
            "PREFECT_HOME": str(self.home / name),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.postgres.url,
            "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
            "PREFECT_REDIS_MESSAGING_URL": f"{redis}/0",
            "PREFECT_SERVER_DOCKET_URL": f"{redis}/1",
            "PREFECT_UI_API_URL": self.api_url,
        }


@contextmanager
def installation(home: Path, port: int | None = None) -> Iterator[Installation]:
    """Everything, running, until the block ends. Raises NoPostgres, ServiceDidNotStart."""
    with own_postgres() as postgres:
        made = Installation(home, postgres, port)
        with made.running():
            yield made


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(SETTINGS)}
    done = subprocess.run(
        command, cwd=ROOT, env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServiceDidNotStart(f"`{' '.join(command[-4:])}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout
