"""Live capture: one thread a ring, one for HEP. Each turns what arrives into rows and counts what it could not take.

It owns the sockets and their threads. It waits for nobody: where rows are not taken, they are counted as lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from capture import bpf
from capture.netdevices import device, list_interfaces, stamps_frames
from capture.packetsockets import PacketSockets
from capture.pipeline import Decoder, MessageBlock, from_payloads
from capture.sources.hep import HepReceiver, server_context
from capture.sources.ring import NoSpareSocket, Replaced, Ring
from capture.sources.rings import Plan, Rings
from capture.sources.scapy import Sniffer
from index.importing import flat
from index.trace import Loss
from sip.errors import SiptrailError, Unreachable
from siptrail.amounts import address
from siptrail.ledger import Ledger
from siptrail.settings import Settings

log = logging.getLogger("siptrail")

Take = Callable[[MessageBlock], bool]
"""Makes messages searchable; False where there is no room for them."""
LOOK_NS = 500_000_000
"""How often the kernel is asked what it dropped."""
WATCH_SECONDS = 1.0
"""How often new interfaces are looked for."""
GONE_NS = 60_000_000_000
"""After so long an interface that is gone is forgotten, where all there are get recorded."""
LAST_ROUNDS = 2.0
"""Seconds for what agents sent before the end, and still send."""
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
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._recording: dict[str, bool] = dict.fromkeys(sniffers, True)
        self._sources: list[Ring | Sniffer] = list(sniffers.values())
        self._hep: HepReceiver | None = None
        self._sockets = sockets
        self._started = 0
        self._watching: threading.Thread | None = None
        self._told: set[str] = set()
        """Interfaces whose trouble is in the log already."""
        self._short = threading.Event()
        """Some interface waits for a socket."""
        self._any = (
            not settings.read_only
            and not sniffers
            and sockets.missing is None
            and (not settings.interfaces or "any" in settings.interfaces)
        )
        """Everything that is up is recorded, and whatever comes up later."""
        filter = settings.filter
        self._rings = Rings(
            sockets,
            Plan(
                (lambda link: bpf.compile_user(filter, link))
                if filter
                else (lambda link: bpf.default_program(settings.sip_ports, settings.ws_ports, link_type=link)),
                settings.workers,
                settings.ring_mb,
                settings.hardware_time,
            ),
        )
        try:
            if not sniffers and not settings.read_only:
                self._open_rings(say)
            if not settings.read_only:
                self._open_hep()
        except BaseException:
            self.close()
            raise

    @property
    def live(self) -> bool:
        """Whether anything is recorded."""
        return bool(self._sources) or self._any or self._hep is not None

    def recording(self) -> dict[str, bool]:
        """Every interface, and whether it is there."""
        with self._lock:
            return dict(self._recording)

    def start(self, take: Take, ledger: Ledger) -> None:
        """Hand messages to `take`, and counts to `ledger`, from now on."""
        self._take, self._ledger = take, ledger
        for source in list(self._sources):
            self._spawn(f"capture-{_name(source)}", self._capture, source)
        if self._hep is not None:
            self._spawn("capture-hep", self._receive)
        if self._any:
            self._watching = threading.Thread(target=self._watch, name="capture-watch", daemon=True)
            self._watching.start()

    def stop(self) -> None:
        """Hand over what is in the rings, and close."""
        self._stop.set()
        if self._watching is not None:
            self._watching.join(30)  # it adds threads
        for thread in self._threads:
            thread.join(30)
        self.close()

    def close(self) -> None:
        """Close all sockets."""
        for source in self._sources:
            source.close()
        if self._hep is not None:
            self._hep.close()
        self._sources, self._hep = [], None
        self._sockets.close()

    def _spawn(self, name: str, target: Callable[..., None], *args: Any) -> None:
        # Each thread numbers its messages from a place of its own, later ones from a later one.
        first_seq = (int(time.time()) << 30) + (self._started << 26)
        self._started += 1
        args = (*args, first_seq)
        self._threads = [t for t in self._threads if t.is_alive()]
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        self._sockets.threads.start(thread)
        self._threads.append(thread)

    def _open_rings(self, say: Callable[[str], None]) -> None:
        wanted = [n for n in self._settings.interfaces if n != "any"]
        if self._sockets.missing is not None:
            if wanted:
                raise Unreachable(f"cannot record {', '.join(wanted)}: {self._sockets.missing}")
            say(f"not recording: {self._sockets.missing}")
            say("imports and the API work all the same")
            return
        self._plan_is_sound()
        if self._any:
            wanted += [d.name for d in list_interfaces() if d.up]
        for name in dict.fromkeys(wanted):
            self._open(name)

    def _plan_is_sound(self) -> None:
        if self._settings.filter:
            self._rings.plan.program(1)  # a mistake in it is told before anything opens, whatever interfaces there are

    def _open(self, name: str) -> list[Ring]:
        rings = self._rings.open(name)
        if self._settings.hardware_time and not stamps_frames(name):
            log.warning("interface %s has no clock for the frames that it receives: the kernel's is used", name)
        with self._lock:
            self._sources += rings
            self._recording[name] = True
        return rings

    def _watch(self) -> None:
        """Record interfaces that come up later."""
        while not self._stop.wait(WATCH_SECONDS):
            up = [d.name for d in list_interfaces() if d.up]
            self._told &= {*up, *self._recording}
            short = False
            for name in up:
                if name in self._recording:
                    continue
                try:
                    rings = self._open(name)
                except SiptrailError as error:
                    short = short or isinstance(error, NoSpareSocket)
                    self._tell(name, error)
                    continue
                log.info("interface %s came up and is recorded", name)
                for ring in rings:
                    self._spawn(f"capture-{name}", self._capture, ring)
            if short:
                self._short.set()
            else:
                self._short.clear()

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

    def _tell(self, name: str, error: Exception) -> None:
        if name not in self._told:
            self._told.add(name)
            log.warning("%s", error)

    def _capture(self, source: Ring | Sniffer, first_seq: int) -> None:
        # Where HEP comes to this very machine, what goes by on the wire is the same once more.
        name, decoder = _name(source), Decoder(self._ports[0], first_seq, self._ports[1], hep=self._hep is None)
        seen: dict[str, int] = {}
        drops, cut, last_look, gone_since, told = 0, 0, time.time_ns(), 0, 0
        newest, heard = 0, 0.0
        while True:
            stopping = self._stop.is_set()
            block = None
            try:
                block = source.poll(0.0 if stopping else 0.2)
                gone_since = 0
                with self._lock:
                    self._recording[name] = True
            except SiptrailError as error:
                now = time.time_ns()
                if not gone_since:
                    log.warning("%s", error)
                    gone_since = now
                with self._lock:
                    self._recording[name] = False
                if isinstance(source, Ring) and not stopping and (isinstance(error, Replaced) or source.closed):
                    new = self._follow(source)
                    if new is not None:
                        self._missed(source, drops, cut, last_look)
                        source, drops, cut = new, 0, 0
                        continue
                if self._any and isinstance(source, Ring) and self._give_up(source, now - gone_since):
                    stopping = True
                # The ring binds its old socket again when the interface is back, without any right.
                elif not stopping:
                    stopping = self._stop.wait(WATCH_SECONDS)
            try:
                if block is not None:
                    newest, heard = int(block.ts[-1]), time.monotonic()
                    found = decoder.feed(block)
                elif stopping:
                    found = decoder.flush()
                else:
                    # Silence is time, too, by the clock that stamps the frames: somebody may wait for a fragment.
                    found = decoder.tick(newest + int((time.monotonic() - heard) * 1e9)) if newest else []
                for messages in found:
                    self._hand_over(name, messages)
            except Exception:
                log.exception("a block of frames from %s could not be decoded", name)
                self._ledger.add(name, {"unreadable": len(block) if block is not None else 0})
            now, counts = time.time_ns(), flat(decoder.counters)
            new_counts = {key: value - seen.get(key, 0) for key, value in counts.items() if value > seen.get(key, 0)}
            if new_counts:
                self._ledger.add(name, new_counts)
                for key in KINDS.keys() & new_counts.keys():
                    self._ledger.lost(Loss(name, last_look, now, new_counts[key], KINDS[key]))
            seen = counts
            if now - last_look > LOOK_NS or stopping:
                drops, cut = self._missed(source, drops, cut, last_look)
                last_look = now
                if refused := {row.server: row.count for row in decoder.refused()}:
                    self._ledger.saw_refusals(first_seq, refused)
                if counts["encrypted"] > told:
                    self._ledger.saw_tls(first_seq, decoder.tls_peers())
                    told = counts["encrypted"]
            if stopping and block is None:
                return

    def _missed(self, source: Ring | Sniffer, drops: int, cut: int, since: int) -> tuple[int, int]:
        """Tell what was lost beyond these counts; returns the new ones."""
        name, now, lost = _name(source), time.time_ns(), source.losses()[1]
        if lost > drops:
            self._ledger.lost(Loss(name, since, now, lost - drops, "kernel"), "kernel_drops")
        if source.cut > cut:
            self._ledger.lost(Loss(name, since, now, source.cut - cut, "cut"), "cut_frames")
        return lost, source.cut

    def _follow(self, old: Ring) -> Ring | None:
        """A new ring for an interface that came back; None where there is none yet."""
        try:
            new = self._rings.again(old)
        except SiptrailError as error:
            if isinstance(error, NoSpareSocket):
                self._tell(old.interface.name, error)
            return None
        with self._lock:
            self._sources = [new if s is old else s for s in self._sources]
        return new

    def _give_up(self, ring: Ring, gone_ns: int) -> bool:
        """Forget an interface that is gone for long, or whose socket is wanted for another one."""
        name = ring.interface.name
        if (gone_ns < GONE_NS and not self._short.is_set()) or device(name) is not None:
            return False
        ring.release()
        with self._lock:
            self._sources = [s for s in self._sources if s is not ring]
            if not any(_name(s) == name for s in self._sources):
                self._recording.pop(name, None)
        log.info("interface %s is gone and forgotten; should it come back, it is recorded as a new one", name)
        return True

    def _receive(self, seq: int) -> None:
        receiver = self._hep
        assert receiver is not None
        seen: Counter[str] = Counter()
        drops, last_look, last_round = 0, time.time_ns(), 0.0
        while True:
            stopping = self._stop.is_set()
            last_round = last_round or (time.monotonic() + LAST_ROUNDS if stopping else 0.0)
            payloads = receiver.poll(0.0 if stopping else 0.2)
            try:
                if payloads:
                    self._hand_over("hep", from_payloads(payloads, np.arange(seq, seq + len(payloads))))
                    seq += len(payloads)
            except Exception:
                log.exception("HEP packets could not be decoded")
                self._ledger.add("hep", {"unreadable": len(payloads)})
            self._ledger.add("hep", receiver.counters - seen)
            seen = receiver.counters.copy()
            now, lost = time.time_ns(), receiver.losses()
            if lost > drops:
                self._ledger.lost(Loss("hep", last_look, now, lost - drops, "kernel"), "kernel_drops")
            drops, last_look = lost, now
            if stopping and (not payloads or time.monotonic() > last_round):
                return

    def _hand_over(self, name: str, messages: MessageBlock) -> None:
        if not self._take(messages):
            first = int(messages.ts[0])
            self._ledger.lost(Loss(name, first, time.time_ns(), len(messages), "queue"), "queue_drops")


def _name(source: Ring | Sniffer) -> str:
    return source.interface.name if isinstance(source, Ring) else source.name
