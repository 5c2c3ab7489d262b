"""The command line: `python -m flows COMMAND`, or `perennial COMMAND` once installed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from flows.cli.app import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code; 130 after Ctrl-C."""
    _end_on_signals()
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return 130


def _end_on_signals() -> None:
    """Let SIGTERM and a closed terminal end a command as Ctrl-C does, so that nothing is left running."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes its background commands ignore it
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` asked for that
            signal.signal(number, _stop)


def _stop(_signal_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)  # only on this signal does asyncio end its tasks in order


if __name__ == "__main__":
    sys.exit(main())
