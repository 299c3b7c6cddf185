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
import sys
from pathlib import Path
from typing import Any

import click
from click.exceptions import Exit, NoArgsIsHelpError

from sip.errors import Misread, SiptrailError, Unreachable
from sip.text import printable
from siptrail import __version__, options
from siptrail.appliance import doctor, run
from siptrail.desks import find_desk
from siptrail.overview_commands import alerts, resends, stats
from siptrail.store_commands import retention, store_app

call_id = click.argument("call_id", metavar="CALL-ID")


@click.group("siptrail", cls=options.Commands)
def app() -> None:
    """An always-on flight recorder for SIP: record, find, explain, draw, export."""


app.add_command(run)


@app.command("import")
@click.argument("files", nargs=-1, required=True, help="pcap or pcapng files, also gzip; '-' is standard input.")
@options.several(options.store, options.url, options.token, options.keylog)
@click.option("--again", is_flag=True, help="Even captures whose content is in the store.")
@options.as_json
def import_(
    files: tuple[str, ...],
    store: Path | None,
    url: str | None,
    token: str | None,
    keylog: Path | None,
    again: bool,
    as_json: bool,
) -> None:
    """Index captures into the store (through the service when it runs), with a progress bar."""
    from siptrail.importer import run_import

    if store is not None and url is not None:
        raise SiptrailError("--url and --store exclude each other; give one of them")
    raise Exit(run_import(list(files), store, url, token, as_json, keylog, again))


@app.command()
@click.argument("file", required=False, help="A capture file; without it: the running service.")
@options.several(options.url, options.token, options.store, options.keylog)
def tui(file: str | None, url: str | None, token: str | None, store: Path | None, keylog: Path | None) -> None:
    """Calls in the terminal: live from the service, or a capture file alone."""
    if file == "-":
        raise SiptrailError(
            "the terminal UI needs the keyboard, so it cannot read a capture from standard input; save it to a file"
        )
    if not sys.stdout.isatty():
        raise SiptrailError("standard output is not a terminal; use `siptrail calls` for lists")
    desk = find_desk(url, token, store, file, wait=False, keylog=keylog)
    if file is not None or store is not None:
        from capture.jit import tell_compiling

        tell_compiling(None)  # the screen is the terminal UI's now
    from tui.app import run_tui

    run_tui(desk, file or url or (str(store) if store else "live"), live=file is None)
    desk.close()


@app.command()
@click.argument("filter", default="", help="Filter, e.g. 'from:4416* state:failed since:2h'.")
@options.as_json
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated, with a header line.")
@click.option(
    "--limit",
    "-n",
    type=options.Count(min=1),
    default=100,
    show_default=True,
    help="At most this many (newest first).",
)
@options.asked
def calls(
    filter: str,
    as_json: bool,
    as_csv: bool,
    limit: int,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
    keylog: Path | None,
) -> None:
    """List calls, newest first."""
    desk = find_desk(url, token, store, pcap, keylog=keylog)
    writer: Any = None
    shown, before, looking = 0, None, False
    from index.summary import rfc3339
    from siptrail.output import call_line, csv_cell, header_line

    while shown < limit:
        page = desk.calls(filter, min(1000, limit - shown), before)
        if looking:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            looking = False
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
        if page.searched is not None and sys.stderr.isatty():
            share = "" if page.progress is None else f"{page.progress:4.0%}, "
            line = f"{share}looked at calls since {rfc3339(page.searched)[:19]}Z; Ctrl-C stops"
            print(f"\r\x1b[K{line}\r", end="", file=sys.stderr, flush=True)
            looking = True
    if not shown and not as_json and not as_csv:
        print("no calls match" if filter else "no calls recorded yet")
    elif before is not None and not as_json:
        print(f"… more calls match; raise --limit (now {limit}) or narrow the filter", file=sys.stderr)
    desk.close()


@app.command()
@call_id
@click.option("--messages", is_flag=True, help="Every message in full.")
@click.option("--media", is_flag=True, help="Offers and answers side by side: codecs, DTMF, SRTP.")
@click.option("--dissect", is_flag=True, help="Wireshark's own tree of every message (needs tshark).")
@options.as_json
@options.asked
def show(
    call_id: str,
    messages: bool,
    media: bool,
    dissect: bool,
    as_json: bool,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
    keylog: Path | None,
) -> None:
    """One call: summary, findings, and its messages."""
    from siptrail.config import load
    from siptrail.output import show_call

    desk = find_desk(url, token, store, pcap, keylog=keylog)
    if dissect:
        from siptrail.dissect import dissect_call

        print(dissect_call(desk.pcap(call_id), load(None).sip_ports))
    else:
        print(show_call(desk, call_id, messages, as_json, media))
    desk.close()


@app.command()
@call_id
@click.option("--format", "-f", default="text", show_default=True, help="text, svg, mermaid or json.")
@options.legs
@options.asked
def ladder(
    call_id: str,
    format: str,
    legs: bool,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
    keylog: Path | None,
) -> None:
    """Draw the call."""
    from diagnose.desk import headline_of, trace_of
    from siptrail.output import draw

    desk = find_desk(url, token, store, pcap, keylog=keylog)
    print(draw(trace_of(desk, call_id, legs), format, headline_of(desk, call_id)))
    desk.close()


@app.command("pcap")
@call_id
@click.option("-o", "--output", required=True, help="File to write; '-' is standard output.")
@options.legs
@options.asked
def pcap_(
    call_id: str,
    output: str,
    legs: bool,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
    keylog: Path | None,
) -> None:
    """Write the call's original packets to a capture file."""
    desk = find_desk(url, token, store, pcap, keylog=keylog)
    data = desk.pcap(call_id, legs)
    if output == "-":
        sys.stdout.buffer.write(data)
    else:
        try:
            Path(output).write_bytes(data)
        except OSError as error:
            raise Unreachable(f"cannot write {output}: {(error.strerror or str(error)).lower()}") from error
    desk.close()


@app.command("legs")
@call_id
@options.as_json
@options.asked
def legs_(
    call_id: str,
    as_json: bool,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
    keylog: Path | None,
) -> None:
    """The same call beyond a switch that gives each leg a Call-ID of its own, and what each link rests on."""
    from siptrail.output import legs_text

    desk = find_desk(url, token, store, pcap, keylog=keylog)
    print(legs_text(desk.legs(call_id), as_json))
    desk.close()


@app.command()
@click.argument("target", metavar="CALL-ID|FILE")
@options.as_json
@options.asked
def diagnose(
    target: str,
    as_json: bool,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
    keylog: Path | None,
) -> None:
    """Say what is wrong with a call, or with every call of a capture file."""
    from diagnose.local import LocalDesk
    from siptrail.output import diagnosis

    whole_file = url is None and store is None and pcap is None and Path(target).is_file()
    desk = find_desk(url, token, store, target if whole_file else pcap, keylog=keylog)
    told = desk.judged() if isinstance(desk, LocalDesk) and whole_file else [(target, desk.findings(target))]
    text, bad = diagnosis(told, as_json, whole_file)
    if text:
        print(text)
    desk.close()
    raise Exit(1 if bad else 0)


@app.command()
@click.argument("first", metavar="CALL-ID", help="The good call.")
@click.argument("second", metavar="CALL-ID", help="The bad one.")
@click.option("--other-pcap", help="The second call is in this capture file.")
@options.as_json
@options.several(options.url, options.token, options.store, options.pcap)
def compare(
    first: str,
    second: str,
    other_pcap: str | None,
    as_json: bool,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
) -> None:
    """Say what differs between two calls: their steps, headers and SDP, the most telling first."""
    from siptrail.output import compared

    if pcap == other_pcap == "-":
        raise SiptrailError("--pcap and --other-pcap cannot both be standard input; save one to a file")
    desk = find_desk(url, token, store, pcap)
    other = desk if other_pcap is None else find_desk(None, None, None, other_pcap)
    print(compared(desk.trace(first), other.trace(second), as_json))
    desk.close()
    if other is not desk:
        other.close()


@app.command()
@click.argument("topic", nargs=-1, help="A finding, code, method, cause, NAT test or term; without it: what there is.")
@options.as_json
def explain(topic: tuple[str, ...], as_json: bool) -> None:
    """Say what a finding, a code or a term means, and what to look at next."""
    from siptrail.config import load
    from siptrail.explaining import kinds, meanings

    wanted = " ".join(topic).strip()
    if not wanted:
        print(kinds(as_json))
        return
    from diagnose.engine import load_rules
    from diagnose.explain import explain as explain_topic

    print(meanings(wanted, explain_topic(wanted, load_rules(load(None).rules)), as_json))


for overview in (stats, alerts, resends):
    app.add_command(overview)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"siptrail {__version__}")


for keeping in (doctor, retention, store_app):
    app.add_command(keeping)


def main() -> None:
    """The program: runs a command and turns errors into one line and an exit code."""
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # nobody is there, or it is none
            stream.flush()
    logging.shutdown()
    # Everything is closed and written by now; taking the libraries apart would cost each command a quarter of a second.
    os._exit(code)


def marked(error: Misread) -> str:
    """The text that cannot be read, as far as it fits on a line, and under it a mark where it is wrong."""
    at = error.position - 1
    first = max(0, at - 60)
    before, after = printable(error.text[first:at]), printable(error.text[at : at + 40])
    return f"  {before}{after}\n  {' ' * len(before)}^"


def _run() -> int:
    try:
        code = _answer()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except SiptrailError as error:
        print(f"siptrail: {printable(str(error))}", file=sys.stderr)
        if isinstance(error, Misread):
            print(marked(error), file=sys.stderr)
        return error.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        print(f"siptrail: {printable(error.format_message().rstrip('.'))} (see siptrail --help)", file=sys.stderr)
        return 2
    except (SystemExit, BrokenPipeError):
        return 0  # a reader that has seen enough, as in `siptrail calls | head`
    except KeyboardInterrupt:
        return 130
    except UnicodeEncodeError as error:
        print(f"siptrail: {error.object!a} is no text in UTF-8; check how it was typed", file=sys.stderr)
        return 2
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(f"siptrail: {error.strerror or error}{where}", file=sys.stderr)
        return 3


def _answer() -> int:
    try:
        return int(app(prog_name="siptrail", standalone_mode=False) or 0)
    except NoArgsIsHelpError as error:
        print(error.format_message())
        return 2


if __name__ == "__main__":
    main()
