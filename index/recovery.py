"""What only the spool holds goes into the store, once: after a crash, and after a shared store was out of reach.

It parses nothing itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from capture.pipeline import Decoder
from capture.ports import DEFAULT_SIP_PORTS, DEFAULT_WS_PORTS
from capture.sources.pcapfile import PcapFile
from index.archive import Archive
from index.columns import Rows, to_rows
from index.copies import Copies
from sip.errors import SiptrailError, Unreachable

log = logging.getLogger("siptrail")


def recover(
    archive: Archive,
    node: str,
    say: Callable[[str], None],
    sip_ports: frozenset[int] = DEFAULT_SIP_PORTS,
    ws_ports: frozenset[int] = DEFAULT_WS_PORTS,
) -> None:
    """Store the segments that an earlier run left behind, but for those whose rows it had committed."""
    spool, lake = archive.spool, archive.lake
    assert spool is not None and lake is not None
    try:
        committed = lake.spooled()
    except Unreachable as error:
        if not lake.shared:
            raise
        log.debug("what of the spool is stored is asked later: %s", error)
        committed = set()
    for name in spool.left_over():
        if name in committed:
            spool.forget([name])
            continue
        if lake.shared:
            spool.parked.append(name)  # there may be many, and recording must not wait for them
            continue
        rows = segment_rows(spool.folder / name, node, sip_ports, ws_ports)
        if rows is None:
            continue
        try:
            archive.catch_up(name, rows)
            say(f"recovered {sum(r.messages.num_rows for r in rows)} messages of the last run from {name}")
        except SiptrailError as error:
            log.warning("the spool segment %s waits: %s", name, error)
            spool.parked.append(name)
    if spool.parked:
        say(f"{len(spool.parked)} segments of the last run are being stored")
    if committed:
        lake.forget_spooled(committed)


def segment_rows(
    path: Path,
    node: str,
    sip_ports: frozenset[int] = DEFAULT_SIP_PORTS,
    ws_ports: frozenset[int] = DEFAULT_WS_PORTS,
) -> list[Rows] | None:
    """What a segment holds; None where it cannot be read, which is logged: it is left where it is."""
    try:
        return _rows(path, node, sip_ports, ws_ports)
    except SiptrailError as error:
        log.warning("the spool segment %s cannot be read and is left where it is: %s", path.name, error)
        return None


def _rows(path: Path, node: str, sip_ports: frozenset[int], ws_ports: frozenset[int]) -> list[Rows]:
    source = PcapFile(str(path))
    decoder, copies = Decoder(sip_ports, int(time.time()) << 30, ws_ports), Copies()
    rows: list[Rows] = []
    try:
        for block in source.blocks():
            for messages in decoder.feed(block):
                copies.mark(messages)
                rows.append(to_rows(messages, node))
        for messages in decoder.flush():
            copies.mark(messages)
            rows.append(to_rows(messages, node))
    finally:
        source.close()
    return rows
