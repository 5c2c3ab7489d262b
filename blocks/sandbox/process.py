"""The process of a sandbox that another program starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol


class SandboxProcess(Protocol):
    """What is used of the process of a sandbox: a part of `subprocess.Popen`."""

    pid: int

    @property
    def stdin(self) -> IO[bytes] | None:
        """Its standard input; the sandbox ends when it is closed."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its standard output; the first line has the addresses."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it without a chance to tidy up."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit status."""


def start_process(options: Sequence[str]) -> SandboxProcess:
    """Start `python -m blocks.sandbox` with these options."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603  our own module and the caller's options
        [sys.executable, "-m", "blocks.sandbox", *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
