"""What a command that only reads the shop says when it cannot answer."""

from __future__ import annotations

import json
import sys

from blocks.commerce_layer.errors import CommerceLayerError
from flows.cli.prefect_errors import PrefectUnavailable
from flows.run.context import ClocksDiffer, NotSetUp, Unreachable

CANNOT_ANSWER = (CommerceLayerError, PrefectUnavailable, NotSetUp, Unreachable, ClocksDiffer)
"""The errors that are told in one sentence."""


def refuse(error: Exception | str, *, machine: bool) -> int:
    """Print why there is no answer, for machines as JSON too. Returns the exit code 2."""
    print(error, file=sys.stderr)
    if machine:
        print(json.dumps({"error": str(error), "exit_code": 2}))
    return 2
