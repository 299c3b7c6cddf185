"""What the store's commands print for people: retention, check, statistics, backup. Pure text."""

from __future__ import annotations

from typing import Any

from index.rebuild import Rebuilt
from index.retention import in_bytes
from sip.text import printable


def retention_text(record: dict[str, Any]) -> str:
    """What retention did, or would do, for people."""
    verb = "would remove" if record["dry_run"] else "removed"
    out = [f"{verb} {hour['text']}" for hour in record["hours"]]
    if not out:
        out = ["nothing must go"]
    total = sum(hour["size"] for hour in record["hours"])
    hours = len({(hour["slot"]["day"], hour["slot"]["hour"]) for hour in record["hours"]})
    if record["dry_run"]:
        out.append(f"{hours} hours, {in_bytes(total)} of {in_bytes(record['size'])}")
    else:
        out.append(
            f"{hours} hours, {in_bytes(total)}; {in_bytes(record['freed'])} came free at once, "
            f"{in_bytes(record['size'])} are taken"
        )
    return "\n".join(out)


def stats_text(record: dict[str, Any]) -> str:
    """Tables, hours, and what takes the disk."""
    out = [f"{'table':12}{'files':>8}{'rows':>14}{'bytes':>12}"]
    for name, t in record["tables"].items():
        out.append(f"{name:12}{t['files']:>8,}{t['rows']:>14,}{in_bytes(t['bytes']):>12}")
    if record["hours"]:
        out += ["", f"{'hour':18}{'files':>8}{'messages':>14}{'bytes':>12}"]
    for h in record["hours"]:
        out.append(f"{h['hour']:18}{h['files']:>8,}{h['messages']:>14,}{in_bytes(h['bytes']):>12}")
    out += [
        "",
        f"on disk     {in_bytes(record['bytes'])}: catalogue {in_bytes(record['catalogue_bytes'])}, spool "
        f"{in_bytes(record['spool_bytes'])}, {in_bytes(record['waiting_bytes'])} soon to be deleted",
        f"snapshots   {record['snapshots']}",
    ]
    return "\n".join(out)


def check_text(record: dict[str, Any]) -> str:
    """What is damaged, by hour, or that nothing is."""
    depth = "read to the end" if record["deep"] else "looked at; --deep reads them to the end"
    head = f"{record['files']} files, {in_bytes(record['bytes'])}, {depth}"
    if not record["faults"]:
        return f"{head}: nothing is damaged"
    out = [f"{head}: {len(record['faults'])} damaged"]
    for f in record["faults"]:
        out.append(f"  {f['hour'] or 'no hour':17} {f['table']:9} {printable(f['file'])}: {printable(f['what'])}")
    out.append("`siptrail store check --repair` sets them aside, so that the rest answers (no service may be running)")
    return "\n".join(out)


def rebuilt_text(done: Rebuilt) -> str:
    """What came of it, and what is lost."""
    rows = ", ".join(f"{done.rows[t]:,} {t}" for t in ("messages", "frames", "calls"))
    out = [f"a new catalogue names {done.files} files: {rows}"]
    if done.doubled:
        out.append(f"{done.doubled} files were left out: their rows are in others, too")
    out += [f"set aside {printable(str(path))}: {printable(why)}" for path, why in done.aside]
    if done.hours:
        out.append("these hours lost messages or frames: " + ", ".join(str(s) for s in sorted(done.hours)))
    return "\n".join(out)


def backup_text(record: dict[str, Any]) -> str:
    """What was copied."""
    return (
        f"{printable(record['folder'])}: {record['files']} files, {in_bytes(record['size'])}; "
        f"{in_bytes(record['copied'])} of it are new"
    )
