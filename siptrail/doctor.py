"""`siptrail doctor`: why do I see nothing? Looks at this machine and at what goes by, and says what to do.

Each check is a function that yields its results; `examine` runs them in the order in which they explain each other.
It records nothing and changes nothing.
"""

from __future__ import annotations

import ctypes
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from capture.netdevices import list_interfaces
from capture.packetsockets import PacketSockets
from diagnose.engine import load_rules
from index.summary import tls_record
from sip.errors import SiptrailError
from siptrail.settings import Settings
from siptrail.tlstable import ADVICE, tls_lines
from siptrail.traffic import Traffic, listen

Status = Literal["ok", "note", "problem"]
LOW_SPACE = 2 << 30
STA_UNSYNC = 0x0040
MOST_TLS = 5
"""Clients and servers told of one interface."""
MOST_REFUSED = 3
REFUSED = (
    ("wrong_key", "HEP packets without the right key", "give agents the key that hep_key asks for (docs/hep.md)"),
    ("bad", "packets that are no HEP", "look what sends to that address: HEP wants a port of its own"),
    ("refused", "connections too many", "let fewer agents send over TCP, or over UDP"),
)
"""What the HEP receiver counts, what it means, what to do."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was looked at, what was found, and what to do about it ('' where there is nothing to do)."""

    name: str
    status: Status
    text: str
    advice: str = ""


@dataclass(slots=True)
class Examination:
    """What the checks share."""

    settings: Settings
    sockets: PacketSockets
    seconds: float
    service: list[dict[str, Any]] | None
    """The interfaces of a running service; None where none answers."""
    rules: dict[str, str] = field(default_factory=dict)
    """Rules that the running service has trouble with, and what trouble."""
    traffic: list[Traffic] = field(default_factory=list)


def examine(on: Examination) -> Iterator[Result]:
    """Every check in turn; those that listen take `seconds`."""
    for check in (_rights, _service, _interfaces, _traffic, _clock, _store, _rules):
        yield from check(on)


def _rights(on: Examination) -> Iterator[Result]:
    if on.sockets.missing is None:
        yield Result("rights", "ok", "raw sockets can be opened")
    else:
        yield Result("rights", "problem", "raw sockets cannot be opened", on.sockets.missing)


def _service(on: Examination) -> Iterator[Result]:
    if on.service is None:
        yield Result("service", "note", f"no service answers at {on.settings.listen}", "start it: siptrail run")
        return
    for one in on.service:
        drops = one.get("kernel_drops", 0) + one.get("queue_drops", 0)
        text = f"records {one['name']}: {one.get('packets', 0):,} packets so far, {drops:,} dropped"
        if not one["recording"]:
            yield Result("service", "problem", f"{one['name']} is gone", "recording goes on when the interface is back")
        elif drops:
            yield Result("service", "problem", text, "give the kernel a larger ring (ring_mb), or narrow the filter")
        elif not one.get("packets"):
            yield Result("service", "note", text, "see below what goes by on the wire")
        else:
            yield Result("service", "ok", text)
        for counter, told, advice in REFUSED:
            if one.get(counter):
                yield Result("service", "problem", f"{one['name']}: {one[counter]:,} {told}", advice)
    if not on.service:
        yield Result("service", "problem", "the service records no interface", "see rights above, then restart it")


def _interfaces(on: Examination) -> Iterator[Result]:
    found = {d.name: d for d in list_interfaces()}
    wanted = [n for n in on.settings.interfaces if n != "any"] or list(found)
    for name in wanted:
        device = found.get(name)
        if device is None:
            yield Result("interface", "problem", f"there is no {name}", f"choose from {', '.join(found)}")
        elif not device.up:
            explicit = name in on.settings.interfaces
            advice = f"switch it on: ip link set {name} up"
            yield Result("interface", "problem" if explicit else "note", f"{name} is down", advice)
        else:
            yield Result("interface", "ok", f"{name} is up")
    if not wanted:
        yield Result("interface", "problem", "this machine has no interface to record")


def _traffic(on: Examination) -> Iterator[Result]:
    if on.sockets.missing is not None:
        return
    up = {d.name for d in list_interfaces() if d.up}
    asked = [n for n in on.settings.interfaces if n != "any"]
    names = [n for n in asked if n in up] if asked else sorted(up)
    if not names:
        return
    try:
        on.traffic = listen(names, on.seconds, on.settings, on.sockets)
    except SiptrailError as error:
        yield Result("traffic", "problem", str(error))
        return
    for seen in on.traffic:
        yield from _of_interface(seen, on)
    if not any(t.messages for t in on.traffic):
        yield Result(
            "traffic",
            "problem",
            f"no SIP on any interface within {on.seconds:.0f} s",
            "place a call meanwhile; if it stays so, SIP does not pass here: check the mirror port or the interface",
        )


def _of_interface(seen: Traffic, on: Examination) -> Iterator[Result]:
    where = seen.interface
    if not seen.packets:
        advice = "nothing arrives: check the cable, the mirror (SPAN) session, or the virtual switch's promiscuous mode"
        yield Result("traffic", "note", f"{where}: no packet at all", advice)
        return
    text = f"{where}: {seen.packets:,} packets, {seen.messages:,} SIP messages"
    yield Result(
        "traffic", "ok" if seen.messages else "note", text + (f" on {seen.ports_text()}" if seen.ports else "")
    )
    odd = sorted(p for (kind, p) in seen.ports if kind == "tcp" and p not in on.settings.sip_ports)
    if odd:
        some = ", ".join(map(str, odd[:5]))
        yield Result("traffic", "problem", f"{where}: SIP over TCP on port {some}", "add it to sip_ports")
    if seen.encrypted:
        kind: Status = "note" if seen.messages else "problem"
        yield Result("traffic", kind, f"{where}: {seen.encrypted:,} encrypted packets on SIP ports", ADVICE)
        for line in tls_lines([tls_record(peer) for peer in seen.tls], MOST_TLS):
            yield Result("tls", "note", f"{where}: {line}")
    for row in seen.refused[:MOST_REFUSED]:
        more = f" and {len(row.clients) - 1:,} more" if len(row.clients) > 1 else ""
        text = f"{where}: {row.server} refuses TCP connections ({row.count:,} ×, of {row.clients[0]}{more})"
        advice = "nothing listens there, or a firewall answers for it: start the server, or correct port and transport"
        yield Result("traffic", "problem", text, advice)
    for host in sorted(seen.silent_hosts())[:3]:
        advice = "let the mirror copy both directions (rx and tx)"
        yield Result("traffic", "problem", f"{where}: packets from {host} are seen, none to it", advice)
    if seen.tagged:
        yield Result("traffic", "ok", f"{where}: {seen.tagged:,} packets with VLAN tags; they are read")
    if seen.tunnelled:
        yield Result("traffic", "ok", f"{where}: {seen.tunnelled:,} SIP messages inside tunnels; they are read")
    if seen.oversized:
        advice = f"harmless here; for exact frames switch it off: ethtool -K {where} gro off lro off"
        yield Result(
            "traffic", "note", f"{where}: {seen.oversized:,} packets larger than 1,600 bytes (offload)", advice
        )
    if seen.dropped:
        yield Result("traffic", "problem", f"{where}: the kernel dropped {seen.dropped:,} packets meanwhile")


def _clock(on: Examination) -> Iterator[Result]:
    year = time.gmtime().tm_year
    if not 2024 <= year < 2100:
        yield Result("clock", "problem", f"the clock says {year}", "set it: calls are kept and found by their time")
        return
    flags = _clock_flags()
    if flags is not None and flags & STA_UNSYNC:
        yield Result(
            "clock", "note", "the kernel says the clock is not synchronised", "run chrony or systemd-timesyncd"
        )
    else:
        yield Result("clock", "ok", "the clock is sane" + ("" if flags is None else " and synchronised"))


def _clock_flags() -> int | None:
    """The status word of adjtimex(2); None where it cannot be asked."""
    buffer = (ctypes.c_char * 256)()
    try:
        if ctypes.CDLL(None).adjtimex(buffer) < 0:
            return None
    except AttributeError:
        return None
    # struct timex: modes (int, padded to a long), offset, freq, maxerror, esterror (longs), status (int).
    size = ctypes.sizeof(ctypes.c_long)
    return ctypes.c_int.from_buffer(buffer, 5 * size).value


def _store(on: Examination) -> Iterator[Result]:
    folder = on.settings.store
    place = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    text = f"{folder}: {free / (1 << 30):.1f} GB free"
    if free < LOW_SPACE:
        yield Result("store", "problem", text, "make room, or choose another disk with --store")
    else:
        yield Result("store", "ok", text)
    probe = folder / ".doctor" if folder.exists() else None
    if probe is not None:
        try:
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            advice = "choose a folder that you may write with --store"
            yield Result("store", "problem", f"{folder} cannot be written: {reason}", advice)


def _rules(on: Examination) -> Iterator[Result]:
    for name, trouble in on.rules.items():
        yield Result("rules", "problem", f"{name} {trouble}", "its log entry in the service's log has all detail")
    if on.settings.rules is None:
        return
    broken: dict[str, str] = {}
    rules = load_rules(on.settings.rules, broken)
    for path, why in broken.items():
        yield Result("rules", "problem", f"{path} cannot be loaded: {why}", "correct it; until then it is left out")
    own = [r.name for r in rules if r.own]
    if own:
        yield Result("rules", "ok", f"{len(own)} of your own in {on.settings.rules}: {', '.join(own)}")
    elif not broken:
        yield Result("rules", "note", f"no rule of your own in {on.settings.rules}", "one file a rule: docs/rules.md")
