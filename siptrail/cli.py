"""The command line: parses arguments, finds who can answer (service, store or capture file), prints.

It owns exit codes (0 fine, 1 not found or findings of severity error, 2 wrong use, 3 cannot reach the service or the
store) and the one-line form of errors. It computes nothing about calls.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagnose.desk import Desk
from sip.errors import SiptrailError, Unreachable
from sip.text import printable
from siptrail import __version__
from siptrail.config import DEFAULT_LISTEN, Settings, default_store, load

if TYPE_CHECKING:
    from capture.sources.scapy import Sniffer

app = typer.Typer(
    name="siptrail",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An always-on flight recorder for SIP: record, find, explain, draw, export.",
)

Url = Annotated[
    str | None, typer.Option("--url", help="The service to ask (default: the local one).", envvar="SIPTRAIL_URL")
]
Token = Annotated[str | None, typer.Option("--token", help="The service's token.", envvar="SIPTRAIL_TOKEN")]
Store = Annotated[Path | None, typer.Option("--store", help="Open this store directly (no service may have it open).")]
Pcap = Annotated[str | None, typer.Option("--pcap", help="Read this capture file alone; '-' is standard input.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.")]


def find_desk(url: str | None, token: str | None, store: Path | None, pcap: str | None, wait: bool = True) -> Desk:
    """Whoever can answer: the capture file, the store, the service at `url` or the local one, or the default store."""
    if sum(x is not None for x in (url, store, pcap)) > 1:
        raise SiptrailError("--url, --store and --pcap exclude each other; give one of them")
    if pcap is not None:
        from diagnose.engine import load_rules
        from diagnose.local import FileDesk

        settings = load(None)
        rules = load_rules(settings.rules)
        file = FileDesk(pcap, settings.node, frozenset(settings.sip_ports), wait, frozenset(settings.ws_ports), rules)
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
    from diagnose.engine import load_rules
    from diagnose.local import open_store
    from index.lake import Lake

    if not (folder / "catalogue.duckdb").exists():
        raise Unreachable(f"there is no store at {folder}; check --store, or import a capture first")
    return open_store(Lake(folder), load_rules(load(None).rules))


@app.command()
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
    user: Annotated[
        str | None, typer.Option("--user", help="Go on as this user once the sockets are open (needs root).")
    ] = None,
    config: Config = None,
    demo: Annotated[Path | None, typer.Option("--demo", help="Import the captures in this folder first.")] = None,
) -> None:
    """Record: capture, index, alerts and the HTTP API in one process."""
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
        user=user,
    )
    # Before anything else is imported: libraries start threads, and a thread keeps the rights it was born with.
    sniffers = _sniffers(settings)
    from capture.packetsockets import PacketSockets

    leave_root = None
    if hasattr(os, "geteuid"):
        from siptrail.account import leaving_root

        leave_root = leaving_root(settings)
    sockets = PacketSockets(settings.workers, leave_root)
    from siptrail.service import Service

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if webhook:
        settings = settings.model_copy(update={"sinks": {**settings.sinks, "webhook": {"url": webhook}}})
    _warm_up()
    service = Service(settings, sockets, lambda text: print(f"siptrail: {text}", flush=True), sniffers)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.request_stop())
    service.start()
    recorded = (
        ", ".join(
            [name for name in service.recorder.recording() if name != "hep"] + [f"HEP on {h}" for h in settings.hep]
        )
        or "nothing"
    )
    here = f"http://{settings.listen}"
    print(f"siptrail {__version__}: recording {recorded}; store {settings.store} (keeps {settings.keep})", flush=True)
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


def _warm_up() -> None:
    """Compile (or load) the kernels before a socket opens; say so the first time."""
    from capture.warm import warm_up
    from index.columns import to_rows

    began = time.monotonic()
    timer = threading.Timer(
        1.5, lambda: print("siptrail: compiling the decoding kernels (first start only) …", flush=True)
    )
    timer.daemon = True
    timer.start()
    for block in warm_up():
        to_rows(block, "")
    timer.cancel()
    logging.getLogger("siptrail").debug("kernels ready after %.2f s", time.monotonic() - began)


@app.command("import")
def import_(
    files: Annotated[list[str], typer.Argument(help="pcap or pcapng files, also gzip; '-' is standard input.")],
    store: Store = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Index captures into the store (through the service when it runs), with a progress bar."""
    from siptrail.importer import run_import

    if store is not None and url is not None:
        raise SiptrailError("--url and --store exclude each other; give one of them")
    raise typer.Exit(run_import(files, store, url, token, as_json))


@app.command()
def tui(
    file: Annotated[str | None, typer.Argument(help="A capture file; without it: the running service.")] = None,
    url: Url = None,
    token: Token = None,
    store: Store = None,
) -> None:
    """Calls in the terminal: live from the service, or a capture file alone."""
    if file == "-":
        raise SiptrailError(
            "the terminal UI needs the keyboard, so it cannot read a capture from standard input; save it to a file"
        )
    if not sys.stdout.isatty():
        raise SiptrailError("standard output is not a terminal; use `siptrail calls` for lists")
    desk = find_desk(url, token, store, file, wait=False)
    from tui.app import run_tui

    run_tui(desk, file or url or (str(store) if store else "live"), live=file is None)
    desk.close()


@app.command()
def calls(
    filter: Annotated[str, typer.Argument(help="Filter, e.g. 'from:4416* state:failed since:2h'.")] = "",
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, with a header line.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many (newest first).")] = 100,
    url: Url = None,
    token: Token = None,
    store: Store = None,
    pcap: Pcap = None,
) -> None:
    """List calls, newest first."""
    desk = find_desk(url, token, store, pcap)
    writer: Any = None
    shown, before = 0, None
    from siptrail.output import call_line, csv_cell, header_line

    while shown < limit:
        page = desk.calls(filter, min(1000, limit - shown), before)
        for call in page.calls:
            record = call.to_json()
            if as_json:
                print(json.dumps(record, ensure_ascii=True))
            elif as_csv:
                if writer is None:
                    writer = csv.DictWriter(sys.stdout, list(record), lineterminator="\n")
                    writer.writeheader()
                writer.writerow({k: csv_cell(v) for k, v in record.items()})
            else:
                if not shown:
                    print(header_line())
                print(call_line(call))
            shown += 1
        before = page.next
        if before is None:
            break
    if not shown and not as_json and not as_csv:
        print("no calls match" if filter else "no calls recorded yet")
    elif before is not None and not as_json:
        print(f"… more calls match; raise --limit (now {limit}) or narrow the filter", file=sys.stderr)
    desk.close()


@app.command()
def show(
    call_id: Annotated[str, typer.Argument(metavar="CALL-ID")],
    messages: Annotated[bool, typer.Option("--messages", help="Every message in full.")] = False,
    dissect: Annotated[
        bool, typer.Option("--dissect", help="Wireshark's own tree of every message (needs tshark).")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    store: Store = None,
    pcap: Pcap = None,
) -> None:
    """One call: summary, findings, and its messages."""
    from siptrail.output import show_call

    desk = find_desk(url, token, store, pcap)
    if dissect:
        from siptrail.dissect import dissect_call

        print(dissect_call(desk.pcap(call_id), load(None).sip_ports))
    else:
        print(show_call(desk, call_id, messages, as_json))
    desk.close()


@app.command()
def ladder(
    call_id: Annotated[str, typer.Argument(metavar="CALL-ID")],
    format: Annotated[str, typer.Option("--format", "-f", help="text, svg, mermaid or json.")] = "text",
    url: Url = None,
    token: Token = None,
    store: Store = None,
    pcap: Pcap = None,
) -> None:
    """Draw the call."""
    from siptrail.output import draw

    desk = find_desk(url, token, store, pcap)
    print(draw(desk.trace(call_id), format))
    desk.close()


@app.command("pcap")
def pcap_(
    call_id: Annotated[str, typer.Argument(metavar="CALL-ID")],
    output: Annotated[str, typer.Option("-o", "--output", help="File to write; '-' is standard output.")],
    url: Url = None,
    token: Token = None,
    store: Store = None,
    pcap: Pcap = None,
) -> None:
    """Write the call's original packets to a capture file."""
    desk = find_desk(url, token, store, pcap)
    data = desk.pcap(call_id)
    if output == "-":
        sys.stdout.buffer.write(data)
    else:
        try:
            Path(output).write_bytes(data)
        except OSError as error:
            raise Unreachable(f"cannot write {output}: {(error.strerror or str(error)).lower()}") from error
    desk.close()


@app.command()
def diagnose(
    target: Annotated[str, typer.Argument(metavar="CALL-ID|FILE")],
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    store: Store = None,
    pcap: Pcap = None,
) -> None:
    """Say what is wrong with a call, or with every call of a capture file."""
    from siptrail.output import diagnosis

    whole_file = url is None and store is None and pcap is None and Path(target).is_file()
    desk = find_desk(url, token, store, target if whole_file else pcap)
    text, bad = diagnosis(desk, None if whole_file else target, as_json)
    if text:
        print(text)
    desk.close()
    raise typer.Exit(1 if bad else 0)


@app.command()
def stats(
    as_json: AsJson = False, url: Url = None, token: Token = None, store: Store = None, pcap: Pcap = None
) -> None:
    """Count packets, messages, calls and losses."""
    from siptrail.output import stats_text

    desk = find_desk(url, token, store, pcap)
    print(stats_text(desk.stats(), as_json))
    desk.close()


@app.command()
def version() -> None:
    """Print the version."""
    print(f"siptrail {__version__}")


@app.command()
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

    sockets = PacketSockets()
    from api.client import HttpDesk
    from siptrail.doctor import Examination, examine

    settings = load(config, interfaces=interface, store=store)
    desk = HttpDesk(url or f"http://{settings.listen}", token or settings.token)
    service = desk.interfaces() if url is not None or desk.alive() else None
    if sockets.missing is None and not as_json:
        print(f"siptrail: listening for {seconds:.0f} s …", file=sys.stderr)
    problems = 0
    for found in examine(Examination(settings, sockets, seconds, service)):
        problems += found.status == "problem"
        if as_json:
            print(json.dumps(asdict(found)))
            continue
        print(f"{found.status:8} {found.name:10} {printable(found.text)}", flush=True)
        if found.advice:
            print(f"{'':8} {'':10} → {printable(found.advice)}", flush=True)
    return 1 if problems else 0


def main() -> None:
    """The program: runs a command and turns errors into one line and an exit code."""
    code = _run()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    # Everything is closed and written by now; taking the libraries apart would cost each command a quarter of a second.
    os._exit(code)


def _run() -> int:
    try:
        return int(app(standalone_mode=False) or 0)
    except SiptrailError as error:
        print(f"siptrail: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        print(f"siptrail: {printable(error.format_message())} (see siptrail --help)", file=sys.stderr)
        return 2
    except SystemExit:
        return 0  # typer's answer to a reader that has seen enough, as in `siptrail calls | head`
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(f"siptrail: {error.strerror or error}{where}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    main()
