"""The appliance: capture, index, retention, alerts and the HTTP API in one process.

    ring threads ──► decode ──► archive (hot rows + spool)
                                   │ keeper thread: sync 1 s, flush 15 s, retention, counters
                                   │ alert thread: due calls ► diagnosis ► alert book ► sinks
                                   └ API threads

It owns the threads and the order of starting and stopping. Capture waits for nobody: what does not fit is counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alerts.book import AlertBook
from alerts.classify import failure_of
from alerts.dispatch import Dispatcher
from api.serve import ApiServer, check_bind
from api.server import create_app
from capture import bpf
from capture.netdevices import list_interfaces
from capture.packetsockets import PacketSockets
from capture.pipeline import Decoder, MessageBlock, from_payloads
from capture.sources.hep import HepReceiver, server_context
from capture.sources.ring import Ring, open_ring
from diagnose.local import LocalDesk, flat
from index.archive import Archive
from index.columns import to_rows
from index.importing import import_file
from index.lake import Lake
from index.spool import Spool
from index.trace import Loss
from sip.errors import SiptrailError, Unreachable
from siptrail import __version__
from siptrail.config import Settings, address, duration_ns
from siptrail.service_summary import summary
from siptrail.watch import FailureWatch

log = logging.getLogger("siptrail")

FLUSH_SECONDS = 15.0
FLUSH_MESSAGES = 250_000
FLUSH_BYTES = 128 << 20
TIDY_SECONDS = 3600.0


class Service:
    """`start()`, then `wait()` until `stop()`; afterwards every message that was seen is in the store."""

    def __init__(self, settings: Settings, sockets: PacketSockets, say: Callable[[str], None]) -> None:
        self.settings = settings
        self._sockets = sockets
        self._sip_ports, self._ws_ports = frozenset(settings.sip_ports), frozenset(settings.ws_ports)
        self.say = say
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._rings: dict[str, Ring | None] = {}
        self._counts: Counter[str] = Counter()
        self._stored: Counter[str] = Counter()
        self._count_lock = threading.Lock()
        self._losses: list[Loss] = []
        self._imports = threading.Lock()
        self.watch = FailureWatch()

    # ---------------------------------------------------------------- life

    def start(self) -> None:
        """Open everything; raises a one-line error when something the user asked for cannot be had."""
        s = self.settings
        host, port = address(s.listen)
        check_bind(host, s.token, s.insecure)
        rings = self._open_rings()
        self._sockets.close()
        try:
            self._hep = self._open_hep()
            lake = Lake(s.store, memory=s.memory)
        except BaseException:
            _close(rings)
            raise
        try:
            self.archive = Archive(lake, time.time_ns)
            self.archive.spool = Spool(s.store / "spool")
            self.archive.losses = self._losses_between
            self.desk = LocalDesk(self.archive, self.counters)
            self._recover()
            base = s.base_url or f"http://{s.listen}"
            self.book = AlertBook(quiet_ns=duration_ns(s.alert_clear), base_url=base)
            self.dispatcher = Dispatcher(s.sinks)
            app = create_app(
                self.desk,
                alerts=self.book,
                token=s.token,
                interfaces=self.interfaces,
                importer=self.import_path,
                version=__version__,
            )
            self.server = ApiServer(app, host, port)
            self.server.start()
        except BaseException:
            _close(rings)
            lake.close()
            raise
        if rings or self._hep:
            self.archive.live_since = time.time_ns()
        if self._hep:
            self._spawn("hep", self._receive, self._hep, len(rings))
        for index, (name, ring) in enumerate(rings.items()):
            self._spawn(f"capture-{name}", self._capture, name, ring, index)
        self._spawn("keeper", self._keep)
        self._spawn("alerts", self._alert)

    def wait(self) -> None:
        """Until somebody calls `stop`."""
        while not self._stop.wait(1.0):
            pass

    def request_stop(self) -> None:
        """Safe in a signal handler."""
        self._stop.set()

    def stop(self) -> None:
        """Stop capturing, write everything, close."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self.server.stop()
        self._flush()
        self._store_counts()
        self.dispatcher.close()
        self.archive.close()

    def _spawn(self, name: str, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    # ---------------------------------------------------------------- capture

    def _open_rings(self) -> dict[str, Ring]:
        s = self.settings
        if self._sockets.missing is not None:
            if s.interfaces:
                raise Unreachable(f"cannot record {', '.join(s.interfaces)}: {self._sockets.missing}")
            self.say(f"not recording: {self._sockets.missing}")
            self.say("imports and the API work all the same")
            return {}
        wanted = [n for n in s.interfaces if n != "any"]
        devices = {d.name: d for d in list_interfaces()}
        if not wanted:
            wanted = [d.name for d in devices.values() if d.up]
        rings: dict[str, Ring] = {}
        try:
            for name in wanted:
                link = devices[name].link_type if name in devices else 1
                program = (
                    bpf.compile_user(s.filter, link)
                    if s.filter
                    else bpf.default_program(s.sip_ports, s.ws_ports, link_type=link)
                )
                rings[name] = open_ring(
                    name, program=program, block_bytes=1 << 18, blocks=max(4, 4 * s.ring_mb), sockets=self._sockets
                )
        except SiptrailError:
            _close(rings)
            raise
        return rings

    def _capture(self, name: str, ring: Ring, index: int) -> None:
        decoder = Decoder(self._sip_ports, (int(time.time()) << 30) + (index << 26), self._ws_ports)
        self._rings[name] = ring
        last_flat: dict[str, int] = {}
        last_drops, last_look = 0, time.time_ns()
        while True:
            stopping = self._stop.is_set()
            try:
                block = ring.poll(0.0 if stopping else 0.2)
            except SiptrailError as error:
                log.warning("%s", error)
                # The ring binds its old socket again when the interface is back, without any right.
                self._rings[name] = None
                if self._stop.wait(1.0):
                    ring.close()
                    return
                continue
            self._rings[name] = ring
            try:
                for messages in decoder.feed(block) if block is not None else (decoder.flush() if stopping else []):
                    self._record(name, messages)
            except OSError as error:
                log.error("cannot write the spool: %s", error)
                self._lost(Loss(name, last_look, time.time_ns(), 1, "queue"), "queue_drops")
            except Exception:
                log.exception("a block of frames from %s could not be decoded", name)
                with self._count_lock:
                    self._counts["unreadable"] += len(block) if block is not None else 0
            now_flat = flat(decoder.counters)
            with self._count_lock:
                for key, value in now_flat.items():
                    self._counts[key] += value - last_flat.get(key, 0)
                    self._counts[f"{name}:{key}"] += value - last_flat.get(key, 0)
            last_flat = now_flat
            now = time.time_ns()
            if now - last_look > 500_000_000 or stopping:
                drops = ring.losses()[1]
                if drops > last_drops:
                    self._lost(Loss(name, last_look, now, drops - last_drops, "kernel"), "kernel_drops")
                last_drops, last_look = drops, now
            if stopping and block is None:
                ring.close()
                return

    def _record(self, name: str, messages: MessageBlock) -> None:
        """Make messages searchable, or count them where the store has stalled for too long."""
        rows = to_rows(messages, self.settings.node)
        if self.archive.hot_rows()[1] > self.settings.hot_mb << 20:
            self._lost(Loss(name, int(messages.ts[0]), time.time_ns(), len(messages), "queue"), "queue_drops")
            return
        self.archive.add(rows, messages)
        self.watch.observe(rows)

    def _open_hep(self) -> HepReceiver | None:
        s = self.settings
        if not s.hep:
            return None
        receiver = HepReceiver((s.hep_key or "").encode())
        try:
            for where in s.hep:
                secure = where.startswith("tls:")
                if secure and s.hep_certificate is None:
                    raise SiptrailError(f"--hep {where} needs hep_certificate, the PEM file of a certificate")
                tls = server_context(s.hep_certificate or "", s.hep_certificate_key) if secure else None
                receiver.listen(*address(where.removeprefix("tls:")), tls)
        except BaseException:
            receiver.close()
            raise
        return receiver

    def _receive(self, receiver: HepReceiver, index: int) -> None:
        seq = (int(time.time()) << 30) + (index << 26)
        seen: Counter[str] = Counter()
        drops, last_look = 0, time.time_ns()
        while not self._stop.is_set():
            payloads = receiver.poll(0.2)
            try:
                if payloads:
                    self._record("hep", from_payloads(payloads, np.arange(seq, seq + len(payloads))))
                    seq += len(payloads)
            except OSError as error:
                log.error("cannot write the spool: %s", error)
                self._lost(Loss("hep", last_look, time.time_ns(), len(payloads), "queue"), "queue_drops")
            except Exception:
                log.exception("HEP packets could not be decoded")
            with self._count_lock:
                new = receiver.counters - seen
                self._counts.update({f"hep:{name}": count for name, count in new.items()})
                self._counts["packets"] += new["packets"]
            seen = receiver.counters.copy()
            now = time.time_ns()
            if receiver.losses() > drops:
                self._lost(Loss("hep", last_look, now, receiver.losses() - drops, "kernel"), "kernel_drops")
                drops = receiver.losses()
            last_look = now
        receiver.close()

    def _lost(self, loss: Loss, counter: str) -> None:
        with self._count_lock:
            self._counts[counter] += loss.count
            self._counts[f"{loss.interface}:{counter}"] += loss.count
            self._losses.append(loss)
            del self._losses[:-10_000]

    def _losses_between(self, start: int, end: int) -> tuple[Loss, ...]:
        with self._count_lock:
            return tuple(x for x in self._losses if x.start <= end and x.end >= start)

    # ---------------------------------------------------------------- keeping

    def _recover(self) -> None:
        spool, lake = self.archive.spool, self.archive.lake
        assert spool is not None and lake is not None
        committed = lake.spooled()
        left = spool.left_over()
        for name in left:
            if name not in committed:
                path = spool.folder / name
                try:
                    result = import_file(
                        self.archive,
                        str(path),
                        self.settings.node,
                        sip_ports=self._sip_ports,
                        ws_ports=self._ws_ports,
                        first_seq=int(time.time()) << 30,
                        segments=[name],
                    )
                    self.say(f"recovered {result.messages} messages of the last run from {name}")
                except SiptrailError as error:
                    log.warning("the spool segment %s cannot be read and is left where it is: %s", name, error)
                    continue
            spool.forget([name])
        lake.forget_spooled(committed)

    def _keep(self) -> None:
        last_flush = last_tidy = time.monotonic()
        self._retain()
        while not self._stop.wait(1.0):
            spool = self.archive.spool
            try:
                if spool is not None:
                    spool.sync()
                messages, size = self.archive.hot_rows()
                if messages and (
                    time.monotonic() - last_flush > FLUSH_SECONDS or messages > FLUSH_MESSAGES or size > FLUSH_BYTES
                ):
                    self._flush()
                    self._store_counts()
                    last_flush = time.monotonic()
                if time.monotonic() - last_tidy > TIDY_SECONDS:
                    last_tidy = time.monotonic()
                    self._retain()
                    assert self.archive.lake is not None
                    self.archive.lake.tidy(time.time_ns())
            except Exception as error:
                # Rows stay hot and the spool stays on disk: the next round tries again.
                log.error("the store could not be written (%s); trying again", " ".join(str(error).split())[:200])
                self._stop.wait(2.0)

    def _flush(self) -> None:
        while self.archive.flush():
            pass

    def _retain(self) -> None:
        assert self.archive.lake is not None
        for day, hour, n in self.archive.lake.retain(time.time_ns(), duration_ns(self.settings.keep)):
            log.info("removed %s %02d:00 (%d messages): older than %s", day, hour, n, self.settings.keep)

    def _store_counts(self) -> None:
        with self._count_lock:
            new = {k: v - self._stored[k] for k, v in self._counts.items() if ":" not in k}
            self._stored.update(new)
        assert self.archive.lake is not None
        self.archive.lake.count(time.time_ns(), self.settings.node, new)

    def counters(self) -> dict[str, int]:
        """Sums since the store began: what earlier runs stored and what this one has counted since."""
        assert self.archive.lake is not None
        total = Counter(self.archive.lake.counts())
        with self._count_lock:
            for key, value in self._counts.items():
                if ":" not in key:
                    total[key] += value - self._stored[key]
        return dict(total)

    def interfaces(self) -> list[dict[str, Any]]:
        """What each recorded interface has seen since the start."""
        recording = {name: ring is not None for name, ring in self._rings.items()}
        if self._hep is not None:
            recording["hep"] = True
        with self._count_lock:
            return [
                {
                    "name": name,
                    "recording": alive,
                    **{k.partition(":")[2]: v for k, v in self._counts.items() if k.startswith(f"{name}:")},
                }
                for name, alive in recording.items()
            ]

    def import_path(self, path: Path) -> dict[str, Any]:
        """Import a capture file that this machine can read."""
        with self._imports:
            result = import_file(
                self.archive,
                str(path),
                self.settings.node,
                sip_ports=self._sip_ports,
                ws_ports=self._ws_ports,
                first_seq=int(time.time()) << 30,
                imported_at=time.time_ns(),
            )
            counted = flat(result.counters)
            with self._count_lock:
                self._counts.update(counted)
            self._store_counts()
            return summary(result)

    # ---------------------------------------------------------------- alerts

    def _alert(self) -> None:
        while not self._stop.wait(0.5):
            try:
                self._judge_due()
                for notice in self.book.tick(time.time_ns()):
                    self.dispatcher.send(notice)
            except Exception:
                log.exception("a round of alerts failed")

    def _judge_due(self) -> None:
        now = time.time_ns()
        for call_id in self.watch.due(now):
            try:
                call = self.archive.call(call_id)
            except SiptrailError:
                continue
            if call.state == "challenged":
                self.watch.look_again(call_id, call.end + 33_000_000_000)
                continue
            if call.state not in ("failed", "unanswered"):
                continue
            findings = self.desk.findings(call_id)
            event = failure_of(call, findings)
            if event is None:
                continue
            self.watch.done(call_id)
            for notice in self.book.feed(event, now):
                self.dispatcher.send(notice)


def _close(rings: dict[str, Ring]) -> None:
    for ring in rings.values():
        ring.close()
