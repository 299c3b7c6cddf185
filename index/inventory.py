"""How much the store holds: files, rows and bytes by table and by hour. It only reads."""

from __future__ import annotations

from typing import Any

from index.hours import Slot, by_slot, data_files
from index.lake import Lake
from index.rows import first_row
from index.schema import PARTITIONED, TABLES


def inventory(lake: Lake) -> dict[str, Any]:
    """As JSON: tables, hours, snapshots, and what takes the disk."""
    with lake.reading() as cur:
        files = data_files(cur, local=lake.place.local)
        rows: dict[str, int] = {}
        by_hour: dict[Slot, int] = {}
        for table in TABLES:
            found = first_row(cur.execute(f"SELECT count(*) FROM lake.{table}"))
            rows[table] = int(found[0]) if found else 0
        sql = "SELECT day, hour, count(*) FROM lake.messages GROUP BY ALL"
        for day, hour, count in cur.execute(sql).fetchall():
            by_hour[Slot(str(day), int(hour))] = int(count)
        snapshots = first_row(cur.execute("SELECT count(*) FROM ducklake_snapshots('lake')"))
    live = sum(f.size for f in files)
    size, beside = lake.size(), lake.size_beside_data()
    return {
        "tables": {
            table: {
                "files": sum(f.table == table for f in files),
                "rows": rows[table],
                "bytes": sum(f.size for f in files if f.table == table),
            }
            for table in TABLES
        },
        "hours": [
            {
                "hour": str(slot),
                "messages": by_hour.get(slot, 0),
                "files": len(inside),
                "bytes": sum(f.size for f in inside),
                "tables": {t: sum(f.size for f in inside if f.table == t) for t in PARTITIONED},
            }
            for slot, inside in sorted(by_slot(files).items())
        ],
        "snapshots": int(snapshots[0]) if snapshots else 0,
        "bytes": size,
        "catalogue_bytes": sum(p.stat().st_size for p in lake.folder.glob("catalogue.duckdb*")),
        "spool_bytes": sum(p.stat().st_size for p in (lake.folder / "spool").glob("*")),
        "waiting_bytes": max(0, size - beside - live),
    }
