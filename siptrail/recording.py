"""Live capture: one thread a ring, one for HEP. Each turns what arrives into rows and counts what it could not take.

It owns the sockets and their threads. It waits for nobody: where rows are not taken, they are counted as lost.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from capture import bpf
from capture.netdevices import list_interfaces
from capture.packetsockets import PacketSockets
from capture.pipeline import Decoder, MessageBlock, from_payloads
from capture.sources.hep import HepReceiver, server_context
from capture.sources.ring import Ring, open_ring
from capture.sources.scapy import Sniffer
from diagnose.local import flat
from index.trace import Loss
from sip.errors import SiptrailError, Unreachable
from siptrail.config import Settings, address
from siptrail.ledger import Ledger

log = logging.getLogger("siptrail")

Take = Callable[[MessageBlock], bool]
"""Makes messages searchable; False where there is no room for them."""
LOOK_NS = 500_000_000
"""How often the kernel is asked what it dropped."""
KINDS = {"unreadable": "unreadable", "fragments_lost": "fragment", "stream_gaps": "stream"}
"""Counters that mean something was missed, and how a loss names them."""


class Recorder:
    """Opened first, started later; `stop` returns when all that was seen has been handed over."""

    def __init__(
        self, settings: Settings, sockets: PacketSockets, say: Callable[[str], None], sniffers: dict[str, Sniffer]
    ) -> None:
        self._settings = settings
        self._ports = frozenset(settings.sip_ports), frozenset(settings.ws_ports)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._recording: dict[str, bool] = {}
        self._hep: HepReceiver | None = None
        self._rings: list[tuple[str, Ring | Sniffer]] = list(sniffers.items())
        self._recording.update(dict.fromkeys(sniffers, True))
        try:
            if not sniffers:
                self._open_rings(sockets, say)
            self._open_hep()
        except BaseException:
            self.close()
            raise
        finally:
            sockets.close()

    @property
    def live(self) -> bool:
        """Whether anything is recorded."""
        return bool(self._rings) or self._hep is not None

    def recording(self) -> dict[str, bool]:
        """Every interface, and whether it is there."""
        return dict(self._recording)

    def start(self, take: Take, ledger: Ledger) -> None:
        """Hand messages to `take`, and counts to `ledger`, from now on."""
        self._take, self._ledger = take, ledger
        for index, (name, ring) in enumerate(self._rings):
            self._spawn(f"capture-{name}", self._capture, name, ring, index)
        if self._hep is not None:
            self._spawn("capture-hep", self._receive, len(self._rings))

    def stop(self) -> None:
        """Hand over what is in the rings, and close."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self.close()

    def close(self) -> None:
        """Close all sockets."""
        for _, ring in self._rings:
            ring.close()
        if self._hep is not None:
            self._hep.close()
        self._rings, self._hep = [], None

    def _spawn(self, name: str, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _open_rings(self, sockets: PacketSockets, say: Callable[[str], None]) -> None:
        s = self._settings
        if sockets.missing is not None:
            if s.interfaces:
                raise Unreachable(f"cannot record {', '.join(s.interfaces)}: {sockets.missing}")
            say(f"not recording: {sockets.missing}")
            say("imports and the API work all the same")
            return
        devices = {d.name: d for d in list_interfaces()}
        wanted = [n for n in s.interfaces if n != "any"] or [d.name for d in devices.values() if d.up]
        for number, name in enumerate(dict.fromkeys(wanted)):
            link = devices[name].link_type if name in devices else 1
            program = (
                bpf.compile_user(s.filter, link)
                if s.filter
                else bpf.default_program(s.sip_ports, s.ws_ports, link_type=link)
            )
            # The rings of one interface share its flows; fragments are put together before they are shared out.
            group = (os.getpid() * 31 + number) & 0xFFFF if s.workers > 1 else None
            for _ in range(s.workers):
                ring = open_ring(
                    name,
                    program=program,
                    block_bytes=1 << 18,
                    blocks=max(4, 4 * s.ring_mb // s.workers),
                    fanout=group,
                    sockets=sockets,
                )
                self._rings.append((name, ring))
            self._recording[name] = True

    def _open_hep(self) -> None:
        s = self._settings
        if not s.hep:
            return
        self._hep = HepReceiver((s.hep_key or "").encode())
        for where in s.hep:
            secure = where.startswith("tls:")
            if secure and s.hep_certificate is None:
                raise SiptrailError(f"--hep {where} needs hep_certificate, the PEM file of a certificate")
            tls = server_context(s.hep_certificate or "", s.hep_certificate_key) if secure else None
            self._hep.listen(*address(where.removeprefix("tls:")), tls)
        self._recording["hep"] = True

    def _capture(self, name: str, ring: Ring | Sniffer, index: int) -> None:
        decoder = Decoder(self._ports[0], (int(time.time()) << 30) + (index << 26), self._ports[1])
        seen: dict[str, int] = {}
        drops, last_look = 0, time.time_ns()
        while True:
            stopping = self._stop.is_set()
            try:
                block = ring.poll(0.0 if stopping else 0.2)
            except SiptrailError as error:
                log.warning("%s", error)
                # The ring binds its old socket again when the interface is back, without any right.
                self._recording[name] = False
                if self._stop.wait(1.0):
                    return
                continue
            self._recording[name] = True
            try:
                for messages in decoder.feed(block) if block is not None else (decoder.flush() if stopping else []):
                    self._hand_over(name, messages)
            except Exception:
                log.exception("a block of frames from %s could not be decoded", name)
                self._ledger.add(name, {"unreadable": len(block) if block is not None else 0})
            now, counts = time.time_ns(), flat(decoder.counters)
            new = {key: value - seen.get(key, 0) for key, value in counts.items() if value > seen.get(key, 0)}
            if new:
                self._ledger.add(name, new)
                for key in KINDS.keys() & new.keys():
                    self._ledger.lost(Loss(name, last_look, now, new[key], KINDS[key]))
            seen = counts
            if now - last_look > LOOK_NS or stopping:
                lost = ring.losses()[1]
                if lost > drops:
                    self._ledger.lost(Loss(name, last_look, now, lost - drops, "kernel"), "kernel_drops")
                drops, last_look = lost, now
            if stopping and block is None:
                return

    def _receive(self, index: int) -> None:
        receiver, seq = self._hep, (int(time.time()) << 30) + (index << 26)
        assert receiver is not None
        seen: Counter[str] = Counter()
        drops, last_look = 0, time.time_ns()
        while not self._stop.is_set():
            payloads = receiver.poll(0.2)
            try:
                if payloads:
                    self._hand_over("hep", from_payloads(payloads, np.arange(seq, seq + len(payloads))))
                    seq += len(payloads)
            except Exception:
                log.exception("HEP packets could not be decoded")
            self._ledger.add("hep", receiver.counters - seen)
            seen = receiver.counters.copy()
            now, lost = time.time_ns(), receiver.losses()
            if lost > drops:
                self._ledger.lost(Loss("hep", last_look, now, lost - drops, "kernel"), "kernel_drops")
            drops, last_look = lost, now

    def _hand_over(self, name: str, messages: MessageBlock) -> None:
        try:
            taken = self._take(messages)
        except OSError as error:
            log.error("cannot write the spool: %s", error)
            taken = False
        if not taken:
            first = int(messages.ts[0])
            self._ledger.lost(Loss(name, first, time.time_ns(), len(messages), "queue"), "queue_drops")
