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
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sip.errors import SiptrailError, Unreachable
from sip.text import printable
from siptrail import __version__, options
from siptrail.memory import forget_pages, share_heaps

if TYPE_CHECKING:
    from capture.sources.scapy import Sniffer
    from siptrail.settings import Settings

from siptrail.places import DEFAULT_LISTEN

MOST_FILES = 1 << 16


@click.command()
@click.option("-i", "--interface", multiple=True, help="Record this interface (repeatable; default: all).")
@options.path("--store", help="Folder of the store.")
@click.option("--listen", help=f"ADDR:PORT of the API (default {DEFAULT_LISTEN}).")
@click.option("--keep", help="How long calls are kept (default 7d).")
@click.option("--source", help="What records: ring, scapy (slow, portable) or auto.")
@click.option("--filter", help="A BPF expression instead of the built-in kernel filter.")
@click.option("--hep", multiple=True, help="Take HEP on ADDR:PORT (UDP and TCP) or tls:ADDR:PORT (repeatable).")
@click.option("--token", help="Bearer token that clients must send.")
@click.option("--insecure", is_flag=True, help="Listen beyond loopback without a token.")
@click.option("--webhook", help="Send alerts to this URL (JSON).")
@click.option("--node", help="This machine's name in lists.")
@click.option("--read-only", is_flag=True, help="Only answer from a shared store: record and change nothing.")
@click.option("--user", help="Go on as this user once the sockets are open (needs root).")
@options.config
@options.path("--demo", help="Import the captures in this folder first.")
def run(
    interface: tuple[str, ...],
    store: Path | None,
    listen: str | None,
    keep: str | None,
    source: str | None,
    filter: str | None,
    hep: tuple[str, ...],
    token: str | None,
    insecure: bool,
    webhook: str | None,
    node: str | None,
    read_only: bool,
    user: str | None,
    config: Path | None,
    demo: Path | None,
) -> None:
    """Record: capture, index, alerts and the HTTP API in one process."""
    from siptrail.config import load

    settings = load(
        config,
        interfaces=list(interface) or None,
        store=store,
        listen=listen,
        keep=keep,
        source=source,
        filter=filter,
        hep=list(hep) or None,
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
        settings = replace(settings, sinks={**settings.sinks, "webhook": {"url": webhook}})
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


@click.command()
@click.option("-i", "--interface", multiple=True, help="Look at this interface (repeatable; default: all).")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How long to listen on the wire.")
@options.path("--store", help="Folder of the store.")
@options.several(options.url, options.token, options.config, options.as_json)
def doctor(
    interface: tuple[str, ...],
    seconds: float,
    store: Path | None,
    url: str | None,
    token: str | None,
    config: Path | None,
    as_json: bool,
) -> int:
    """Why do I see nothing? Checks rights, interfaces, what goes by, the clock, the disk; says what to do."""
    from capture.packetsockets import PacketSockets
    from siptrail.config import load

    sockets = PacketSockets()
    from api.client import HttpDesk
    from siptrail.doctor import Examination, examine

    settings = load(config, interfaces=list(interface) or None, store=store)
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
