"""The first row of an answer.

`fetchone` leaves a transaction open that only ends when the cursor goes, and then, over a network, with the
interpreter's lock held: all of capture would wait for a server that is out of reach.
"""

from __future__ import annotations

from typing import Any

import duckdb


def first_row(answer: duckdb.DuckDBPyConnection) -> tuple[Any, ...] | None:
    """Of an answer that is short; None where it is empty."""
    rows = answer.fetchall()
    return rows[0] if rows else None


def count_of(answer: duckdb.DuckDBPyConnection) -> int:
    """The number that an answer consists of."""
    return int(answer.fetchall()[0][0])
