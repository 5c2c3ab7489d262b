"""`make cluster`: everything that `deploy/` runs, as plain processes beside a sandbox, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from cluster.installation import Installation
from cluster.shop import cluster
from own_postgres import NoPostgres

from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import ServiceDidNotStart, how_it_ended

SCALE = 0.1
"""The documented limits, ten times faster, as in the demo."""


def main() -> int:
    """Run all of it. Returns 1 if it could not start, or if one of its processes has ended."""
    given = _arguments()
    print("starting PostgreSQL database, Redis, two API servers, services and two workers (a minute) ...", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="perennial-cluster-") as home:
            _run(Path(home), given.subscriptions, given.port)
    except KeyboardInterrupt:
        return 0
    except (NoPostgres, ServiceDidNotStart, FileNotFoundError) as error:
        print(error, file=sys.stderr)
    return 1


def _run(home: Path, subscriptions: int, port: int | None) -> None:
    limits, policy = RateLimits(window_scale=SCALE), Policy(batch_size=100)
    with RunningSandbox("--limit-scale", str(SCALE)) as sandbox, cluster(home, sandbox, limits, policy, port) as made:
        sandbox.seed(subscriptions)
        made.prefect("deployment", "run", "renew-subscriptions/renew-subscriptions", "--param", "distribute=true")
        _print_addresses(made, sandbox, subscriptions)
        while not (ended := made.ended()):
            time.sleep(1)
        for program in ended:
            assert program.child is not None
            print(f"{program.name} is gone: {how_it_ended(program.child)}. Its log is {program.log}", file=sys.stderr)


def _print_addresses(made: Installation, sandbox: RunningSandbox, subscriptions: int) -> None:
    processes = "\n".join(f"  {each.name:9} process {each.pid}" for each in (made.redis, *made.programs.values()))
    print(f"""
A first sweep of {subscriptions} subscriptions has started, in batches on both workers.

  Prefect   {made.url}   (one address for api-1 and api-2)
  database  {made.postgres.url}
  sandbox   {sandbox.url}/_sandbox/info
  logs      {made.home}

{processes}

Ctrl-C stops everything, and removes database and logs.""")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make cluster", description="The installation of deploy/ as processes.")
    parser.add_argument("--subscriptions", type=int, default=500, help="how many are due (500)")
    parser.add_argument("--port", type=int, help="of the Prefect UI; a free one if left out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
