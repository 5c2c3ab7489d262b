"""
A shard whose database is changed right before the audit, for `test_fleet.py`: one period is charged twice, one is lost.

    python tests/chaos/falsified_shard.py FOLDER     prints what the auditor finds, as JSON

It is a program, because a process that leaves out Prefect's engine can run no other test.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

if __name__ == "__main__":  # Prefect reads its settings when it is imported
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"

from chaos.checker import Findings, period_name
from chaos.fleet_shard import Shard, Size, open_shard

FALSE = """
    UPDATE orders SET placed_at = NULL, status = 'pending' WHERE id = (SELECT MIN(target_order_id) FROM owed);
    INSERT INTO order_copies (id, reference, reference_origin, source_order_id, target_order_id, status, created_at,
                              updated_at)
        SELECT 'SecondCopy', c.reference, c.reference_origin, c.source_order_id, 'SecondOrdr', c.status,
               c.created_at, c.updated_at
        FROM order_copies c WHERE c.target_order_id = (SELECT MAX(target_order_id) FROM owed);
    INSERT INTO orders (id, status, placed_at)
        SELECT 'SecondOrdr', 'placed', placed_at FROM orders WHERE id = (SELECT MAX(target_order_id) FROM owed);
"""


class FalsifiedShard(Shard):
    """It is audited once more after the change."""

    def _sweep_until_clean(self, until: datetime, go_on: Callable[[], None]) -> Findings:
        assert super()._sweep_until_clean(until, go_on).is_clean, "without the change, nothing is wrong"
        with closing(sqlite3.connect(self._box.database, isolation_level=None)) as connection:
            connection.execute(
                "CREATE TEMP TABLE owed AS SELECT c.target_order_id FROM order_copies c"
                " JOIN orders o ON o.id = c.target_order_id WHERE o.placed_at IS NOT NULL"
                " AND c.reference IN (SELECT value FROM json_each(?))",
                [json.dumps(self._owed(until))],
            )
            connection.executescript(FALSE)
        return self._auditor.audit(until)

    def _owed(self, until: datetime) -> list[str]:
        """References of the periods that the auditor misses if nobody was charged for them."""
        return [
            period_name((contract.subscription_id, date))
            for contract in self._auditor.contracts.values()
            if contract.cancelled_at is None  # a customer who leaves owes nothing any more
            for date in contract.dates(until)  # what came due while it swept until all was clean is not audited
            if contract.owed_from(date) <= until
        ]


if __name__ == "__main__":
    with open_shard(FalsifiedShard, 1, 1, Size(20, 20), Path(sys.argv[1])) as shard:
        print(json.dumps(shard.run(lambda: None).complaints))
