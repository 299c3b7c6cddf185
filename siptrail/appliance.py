"""The commands that need this machine rather than a desk: `run`, the appliance, and `doctor`.

They open their packet sockets before anything else is imported; `cli` puts them on the command line.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sip.errors import SiptrailError, Unreachable
from sip.text import printable
from siptrail import __version__
from siptrail.memory import forget_pages, share_heaps
from siptrail.options import AsJson, Config, Token, Url

if TYPE_CHECKING:
    from capture.sources.scapy import Sniffer
    from siptrail.config import Settings

from siptrail.places import DEFAULT_LISTEN

MOST_FILES = 1 << 16


def run(
    interface: Annotated[
        list[str] | None, typer.Option("-i", "--interface", help="Record this interface (repeatable; default: all).")
    ] = None,
    store: Annotated[Path | None, typer.Option("--store", help="Folder of the store.")] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help=f"ADDR:PORT of the API (default {DEFAULT_LISTEN}).")
    ] = None,
    keep: Annotated[str | None, typer.Option("--keep", help="How long calls are kept (default 7d).")] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="What records: ring, scapy (slow, portable) or auto.")
    ] = None,
    filter: Annotated[
        str | None, typer.Option("--filter", help="A BPF expression instead of the built-in kernel filter.")
    ] = None,
    hep: Annotated[
        list[str] | None,
        typer.Option("--hep", help="Take HEP on ADDR:PORT (UDP and TCP) or tls:ADDR:PORT (repeatable)."),
    ] = None,
    token: Annotated[str | None, typer.Option("--token", help="Bearer token that clients must send.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without a token.")] = False,
    webhook: Annotated[str | None, typer.Option("--webhook", help="Send alerts to this URL (JSON).")] = None,
    node: Annotated[str | None, typer.Option("--node", help="This machine's name in lists.")] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only answer from a shared store: record and change nothing.")
    ] = False,
    user: Annotated[
        str | None, typer.Option("--user", help="Go on as this user once the sockets are open (needs root).")
    ] = None,
    config: Config = None,
    demo: Annotated[Path | None, typer.Option("--demo", help="Import the captures in this folder first.")] = None,
) -> None:
    """Record: capture, index, alerts and the HTTP API in one process."""
    from siptrail.config import load

    settings = load(
        config,
        interfaces=interface,
        store=store,
        listen=listen,
        keep=keep,
        source=source,
        filter=filter,
        hep=hep,
        token=token,
        insecure=insecure or None,
        node=node,
        read_only=read_only or None,
        user=user,
    )
    # Before anything else is imported: libraries start threads, and a thread keeps the rights it was born with.
    sniffers = _sniffers(settings)
    from capture.packetsockets import PacketSockets

    leave_root = None
    if hasattr(os, "geteuid"):
        from siptrail.account import leaving_root

        leave_root = leaving_root(settings)
    share_heaps()
    _many_files()
    sockets = PacketSockets(settings.workers, leave_root)
    from siptrail.service import Service
    from siptrail.warming import warm_up

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if webhook:
        settings = settings.model_copy(update={"sinks": {**settings.sinks, "webhook": {"url": webhook}}})
    warm_up()
    service = Service(settings, sockets, lambda text: print(f"siptrail: {text}", flush=True), sniffers)
    # What is loaded now stays to the end. The garbage collector would look at all of it again and again, which costs
    # diagnosis a quarter of its speed and some calls a tenth of a second.
    gc.collect()
    gc.freeze()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.request_stop())
    service.start()
    forget_pages()
    recorded = (
        ", ".join(
            [name for name in service.recorder.recording() if name != "hep"] + [f"HEP on {h}" for h in settings.hep]
        )
        or "nothing"
    )
    here = f"http://{settings.listen}"
    where = settings.store if settings.data is None else f"{settings.data}, shared"
    print(f"siptrail {__version__}: recording {recorded}; store {where} (keeps {settings.keep})", flush=True)
    print(f"  web page and API   {here}/   (reference: {here}/docs)", flush=True)
    print(
        "  terminal UI        siptrail tui" + ("" if settings.listen == DEFAULT_LISTEN else f" --url {here}"),
        flush=True,
    )
    if demo is not None:
        for path in sorted(demo.glob("*.pcap*")):
            try:
                service.import_path(path)
            except SiptrailError as error:
                print(f"siptrail: {error}", file=sys.stderr)
        print(f"  demo               the captures of {demo} are in the list", flush=True)
    service.wait()
    print("siptrail: stopping; writing what is in memory", flush=True)
    service.stop()


def _sniffers(settings: Settings) -> dict[str, Sniffer]:
    """Scapy's sockets, where scapy records: they need the rights that are given up next."""
    if settings.source == "ring" or (settings.source == "auto" and hasattr(socket, "AF_PACKET")):
        return {}
    from capture.sources.scapy import open_sniffers

    try:
        return open_sniffers(settings.interfaces, settings.filter, settings.sip_ports, settings.ws_ports)
    except Unreachable as error:
        if settings.source == "scapy" or settings.interfaces:
            raise
        print(f"siptrail: not recording: {error}", flush=True)
        return {}


def _many_files() -> None:
    """As many open files as the system allows: a thousand people may ask at once, and each has a socket."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def doctor(
    interface: Annotated[
        list[str] | None, typer.Option("-i", "--interface", help="Look at this interface (repeatable; default: all).")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="How long to listen on the wire.")] = 10.0,
    store: Annotated[Path | None, typer.Option("--store", help="Folder of the store.")] = None,
    url: Url = None,
    token: Token = None,
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """Why do I see nothing? Checks rights, interfaces, what goes by, the clock, the disk; says what to do."""
    from capture.packetsockets import PacketSockets
    from siptrail.config import load

    sockets = PacketSockets()
    from api.client import HttpDesk
    from siptrail.doctor import Examination, examine

    settings = load(config, interfaces=interface, store=store)
    desk = HttpDesk(url or f"http://{settings.listen}", token or settings.token)
    service = desk.interfaces() if url is not None or desk.alive() else None
    if sockets.missing is None and not as_json:
        print(f"siptrail: listening for {seconds:.0f} s …", file=sys.stderr)
    problems = 0
    rules = (desk.stats().rules or {}) if service is not None else {}
    for found in examine(Examination(settings, sockets, seconds, service, rules)):
        problems += found.status == "problem"
        if as_json:
            print(json.dumps(asdict(found)))
            continue
        print(f"{found.status:8} {found.name:10} {printable(found.text)}", flush=True)
        if found.advice:
            print(f"{'':8} {'':10} → {printable(found.advice)}", flush=True)
    return 1 if problems else 0
