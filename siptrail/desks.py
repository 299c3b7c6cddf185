"""Who can answer a command: a capture file, a store, or a service. Errors say what to give instead."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sip.errors import SiptrailError, Unreachable
from sip.text import printable
from siptrail.places import DEFAULT_LISTEN, default_store

if TYPE_CHECKING:
    from diagnose.desk import Desk


def find_desk(
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
    wait: bool = True,
    keylog: Path | None = None,
) -> Desk:
    """Whoever can answer: the capture file, the store, the service at `url` or the local one, or the default store."""
    from siptrail.config import load

    if sum(x is not None for x in (url, store, pcap)) > 1:
        raise SiptrailError("--url, --store and --pcap exclude each other; give one of them")
    if keylog is not None and pcap is None:
        raise SiptrailError("--keylog opens a capture file: give it with --pcap FILE, `siptrail tui FILE` or an import")
    if pcap is not None:
        from diagnose.engine import load_rules
        from diagnose.file_desk import FileDesk
        from siptrail.warming import say_when_compiling

        say_when_compiling()
        settings = load(None)
        rules = load_rules(settings.rules)
        ports, ws_ports = frozenset(settings.sip_ports), frozenset(settings.ws_ports)
        keys = str(keylog) if keylog is not None else None
        if keys is not None and sys.stderr.isatty():
            print(f"siptrail: decrypting {printable(pcap)} …", file=sys.stderr)
        file = FileDesk(pcap, settings.node, ports, wait, ws_ports, rules, keys, settings.legs.rules())
        if wait and file.loading_error:
            print(f"siptrail: warning: {printable(pcap)}: {printable(file.loading_error)}", file=sys.stderr)
        return file
    if store is not None:
        return _store_desk(store)
    from api.client import HttpDesk

    desk = HttpDesk(url or f"http://{os.environ.get('SIPTRAIL_LISTEN', DEFAULT_LISTEN)}", token)
    if url is not None or desk.alive():
        return desk
    if (default_store() / "catalogue.duckdb").exists():
        return _store_desk(default_store())
    raise Unreachable(
        f"no service answers at {DEFAULT_LISTEN} and there is no store at {default_store()}; "
        "start `siptrail run`, or give --url, --store or --pcap FILE"
    )


def _store_desk(folder: Path) -> Desk:
    from diagnose.engine import fingerprint, load_rules
    from diagnose.local import open_store
    from index.lake import Lake
    from siptrail.config import load
    from siptrail.warming import say_when_compiling

    say_when_compiling()
    settings = load(None)
    shared = settings.shared()
    if shared is None and not (folder / "catalogue.duckdb").exists():
        raise Unreachable(f"there is no store at {folder}; check --store, or import a capture first")
    return open_store(
        Lake(folder, say=_tell, shared=shared, node=settings.node),
        load_rules(settings.rules),
        settings.legs.rules(),
        fingerprint(settings.rules),
    )


def _tell(text: str) -> None:
    print(f"siptrail: {text}", file=sys.stderr)
