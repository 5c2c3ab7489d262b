"""What a command says when it cannot answer, and how it exits."""

from __future__ import annotations

import json
import sys

from blocks.commerce_layer.errors import CommerceLayerError
from flows.cli.prefect_errors import PrefectUnavailable
from flows.rules.outside_text import printable
from flows.run.context import ClocksDiffer, NotSetUp, Unreachable

CANNOT_ANSWER = (CommerceLayerError, PrefectUnavailable, NotSetUp, Unreachable, ClocksDiffer)
"""The errors that are told in one sentence."""


def refuse(error: Exception | str, *, machine: bool = False, code: int = 2) -> int:
    """Print why there is no answer on standard error, and for machines as JSON too. Returns the exit code."""
    print(printable(str(error)), file=sys.stderr)  # it may repeat what the shop said
    if machine:
        print(json.dumps({"error": str(error), "exit_code": int(code)}))
    return code
