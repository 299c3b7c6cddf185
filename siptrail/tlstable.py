"""Who speaks TLS to whom, in words for people: one row a client and server, and what to do about it. Pure text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sip.text import printable

ADVICE = "encrypted: send HEP from the proxy, or give a key log (--keylog) for a capture file"
MOST_ROWS = 20


def tls_lines(rows: list[dict[str, Any]], most: int = MOST_ROWS) -> Iterator[str]:
    """One line a row of `index.summary.tls_record`."""
    for row in rows[:most]:
        yield f"{printable(row['client'])} -> {printable(row['server'])}  {tls_facts(row)}"
    if len(rows) > most:
        yield f"… and {len(rows) - most:,} more"


def tls_facts(row: dict[str, Any]) -> str:
    """What is known of one row."""
    facts = [_counted(row["connections"], "connection"), f"{row['segments']:,} segments", f"{row['bytes']:,} bytes"]
    for key, name in (("versions", ""), ("server_names", "name "), ("alpn", "ALPN ")):
        if row[key]:
            facts.append(name + ", ".join(printable(value) for value in row[key]))
    for alert in row["alerts"]:
        times = f" × {alert['count']:,}" if alert["count"] > 1 else ""
        facts.append(f"{alert['side']} alert {printable(alert['name'])} ({printable(alert['level'])}){times}")
    if row["unanswered"]:
        facts.append(f"{_counted(row['unanswered'], 'ClientHello')} without an answer")
    return ", ".join(facts) + f"; {row['first']} to {row['last']}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
