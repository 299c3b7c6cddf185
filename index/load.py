"""How many calls went from one host to another at a moment: new ones a second, and those that were up.

It reads partial call rows, so it counts what this tap saw of calls that began within the hour before. It judges
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from index.archive import Archive
from index.columns import HOUR_NS

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """The calls that one host got, from one other and from all."""

    src: str
    dst: str
    at: int
    new: int
    """Calls from `src` that began in the second before."""
    up: int
    """Calls from `src` that were answered and not over."""
    new_of_all: int
    up_of_all: int


def loads(archive: Archive, asked: Mapping[str, tuple[str, str, int]]) -> dict[str, Load]:
    """By whatever name they are `asked` for: source, destination and time (ns)."""
    if not asked:
        return {}
    src, dst, at = zip(*asked.values(), strict=True)
    table = pa.table({"name": list(asked), "s": list(src), "d": list(dst), "t": pa.array(at, pa.int64())})
    low, high = min(at) - HOUR_NS, max(at)
    rows = archive.ask(
        f"""WITH near AS (SELECT * FROM ({{source}}) WHERE last_ts >= {low}),
          mine AS (SELECT call_id, min(invite_ts) AS began, arg_min(src_ip, first_key) AS src,
              arg_min(dst_ip, first_key) AS dst FROM near
            WHERE invite_ts BETWEEN {low} AND {high} AND dst_ip IN (SELECT d FROM asked) GROUP BY call_id),
          calls AS (SELECT call_id, any_value(m.src) AS src, any_value(m.dst) AS dst, any_value(began) AS began,
              min(answer_ts) AS answered, min(bye_ts) AS over FROM near JOIN mine m USING (call_id) GROUP BY call_id),
          counted AS (SELECT name, s, d, t, src = s AS own, began > t - {SECOND} AS fresh,
              answered <= t AND coalesce(over > t, true) AS alive
            FROM asked JOIN calls ON dst = d AND began BETWEEN t - {HOUR_NS} AND t)
        SELECT name, s, d, t, count(*) FILTER (own AND fresh), count(*) FILTER (own AND alive),
          count(*) FILTER (fresh), count(*) FILTER (alive) FROM counted GROUP BY name, s, d, t""",
        {},
        {"asked": table},
        (low, high),
    )
    return {name: Load(*counts) for name, *counts in rows}
