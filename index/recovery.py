"""After a crash: what the spool still holds goes into the store, once. It parses nothing itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from capture.ports import DEFAULT_SIP_PORTS, DEFAULT_WS_PORTS
from index.archive import Archive
from index.importing import import_file
from sip.errors import SiptrailError

log = logging.getLogger("siptrail")


def recover(
    archive: Archive,
    node: str,
    say: Callable[[str], None],
    sip_ports: frozenset[int] = DEFAULT_SIP_PORTS,
    ws_ports: frozenset[int] = DEFAULT_WS_PORTS,
) -> None:
    """Import the segments that an earlier run left behind, but for those whose rows it had committed."""
    spool, lake = archive.spool, archive.lake
    assert spool is not None and lake is not None
    committed = lake.spooled()
    for name in spool.left_over():
        if name not in committed:
            try:
                result = import_file(
                    archive,
                    str(spool.folder / name),
                    node,
                    sip_ports=sip_ports,
                    ws_ports=ws_ports,
                    first_seq=int(time.time()) << 30,
                    segments=[name],
                )
                say(f"recovered {result.messages} messages of the last run from {name}")
            except SiptrailError as error:
                log.warning("the spool segment %s cannot be read and is left where it is: %s", name, error)
                continue
        spool.forget([name])
    lake.forget_spooled(committed)
