"""The appliance: capture, index, retention, alerts and the HTTP API in one process.

    ring threads ──► decode ──► archive (hot rows + spool)
                                   │ keeper thread: sync 1 s, flush 15 s, counters
                                   │ upkeep thread: retention, order, deletion
                                   │ alert thread: due calls ► diagnosis ► alert book ► sinks
                                   │ rules thread: the user's own rules ► counts ► alert book ► sinks
                                   └ API threads

It owns the threads and the order of starting and stopping. Capture waits for nobody: what does not fit is counted.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from alerts.book import AlertBook
from alerts.dispatch import Dispatcher
from api.serve import ApiServer, check_bind
from api.server import create_app
from capture.packetsockets import PacketSockets
from capture.pipeline import MessageBlock
from capture.sources.scapy import Sniffer
from diagnose.engine import fingerprint, load_rules
from diagnose.local import LocalDesk
from index.archive import Archive
from index.captures import import_once
from index.columns import to_rows
from index.copies import Copies
from index.importing import Beside, FirstSeqs, ImportResult, Reading, flat, import_file
from index.lake import Lake
from index.recovery import recover, segment_rows
from index.spool import Spool
from index.trace import Loss
from sip.errors import SiptrailError
from siptrail import __version__
from siptrail.alarm import Alarm
from siptrail.amounts import address, duration_ns, size_bytes
from siptrail.analyst import Analyst
from siptrail.ledger import Ledger
from siptrail.memory import Haste, give_back, shrink
from siptrail.recording import Recorder
from siptrail.rule_settings import compiled
from siptrail.rule_watch import RuleWatch
from siptrail.service_summary import summary
from siptrail.settings import Settings
from siptrail.storekeeping import Keeper
from siptrail.watch import FailureWatch

log = logging.getLogger("siptrail")

FLUSH_SECONDS = 15.0
FLUSH_MESSAGES = 100_000
FLUSH_BYTES = 80 << 20
SOME_SECONDS, SOME_BYTES, UNHURRIED_BYTES = 5.0, 8 << 20, 32 << 20
"""Not so often that the store gets many small files, yet early enough that what is in memory stays little: so much at
once only in haste."""
GIVE_BACK_SECONDS = 5.0
KEEP_SECONDS = 0.2
"""How often the keeper looks what there is to do."""
MUCH_SECONDS = 3.0
"""Who has so much to write after less than this is in haste: more than some 30,000 messages a second."""
HASTE_SECONDS = 5.0
"""After so long without much to do, memory counts more than time."""
MOST_SECONDS = 30.0
"""Flushing again and again, before anything else that the keeper has to do."""
UPKEEP_SECONDS = 60.0
CATCH_UP_SECONDS = 5.0
ALERT_SECONDS = 1.0
REST, BUSY_REST = 5.5, 9.0
"""So much longer than a round of alerts took is the pause after it; and while capture needs the machine."""
RULE_SECONDS, RULE_REST = 1.0, 9.0
"""The user's own rules take a tenth of a processor's time at most."""
SWITCH_SECONDS = 0.0005
"""How long another thread may hold capture up for the interpreter's lock; the default is ten times that."""


class Service:
    """`start()`, then `wait()` until `stop()`; afterwards every message that was seen is in the store."""

    def __init__(
        self,
        settings: Settings,
        sockets: PacketSockets,
        say: Callable[[str], None],
        sniffers: dict[str, Sniffer] | None = None,
    ) -> None:
        self.settings = settings
        self._sockets, self._sniffers = sockets, sniffers or {}
        self._sip_ports, self._ws_ports = frozenset(settings.sip_ports), frozenset(settings.ws_ports)
        self.say = say
        self._stop = threading.Event()
        self._haste = Haste()
        self._seqs = FirstSeqs()
        self._hasty, self._last_much = False, 0.0
        """More comes in than memory should be spared for; and when it was noticed last."""
        self._threads: list[threading.Thread] = []
        self._imports = threading.Lock()
        self.watch = FailureWatch()
        self._copies = Copies()

    # ---------------------------------------------------------------- life

    def start(self) -> None:
        """Open everything; raises a one-line error when something the user asked for cannot be had."""
        s = self.settings
        host, port = address(s.listen)
        check_bind(host, s.token, s.insecure)
        self.recorder = Recorder(s, self._sockets, self.say, self._sniffers)
        try:
            lake = Lake(s.store, memory=s.memory, say=self.say, shared=s.shared(), node=s.node, patient=True)
        except BaseException:
            self.recorder.close()
            raise
        try:
            self.ledger = Ledger(lake, s.node)
            self.archive = Archive(lake, time.time_ns)
            if not s.read_only:
                self.archive.spool = Spool(
                    s.store / "spool", budget=size_bytes(s.spool_budget) if lake.shared else None
                )
            self.archive.losses = self.ledger.between
            self.desk = LocalDesk(
                self.archive,
                self.ledger.totals,
                load_rules(s.rules),
                self.ledger.tls,
                s.legs.rules(),
                fingerprint(s.rules),
                self.ledger.refused,
            )
            self.analyst = Analyst(self.archive.calls_of, self.desk.diagnosed, self.desk.unsettled)
            self.keeper = Keeper(lake, s, flush=self._flush)
            if not s.read_only:
                recover(self.archive, s.node, self.say, self._sip_ports, self._ws_ports)
            base = s.base_url or f"http://{s.listen}"
            self.book = AlertBook(quiet_ns=duration_ns(s.alert_clear), base_url=base)
            self.alarm = Alarm(self.desk, self.watch, self.book, self.analyst.expect)
            self.own_alerts = RuleWatch(
                self.archive, compiled(s.alert_rules), self.book, s.node if lake.shared else None
            )
            self.dispatcher = Dispatcher(s.sinks)
            app = create_app(
                self.desk,
                alerts=self.book,
                token=s.token,
                interfaces=self.interfaces,
                importer=self.import_path,
                keeper=self.keeper,
                registry=self._metrics(),
                rules=self.desk.rules,
                version=__version__,
            )
            self.server = ApiServer(app, host, port)
            self.server.start()
        except BaseException:
            self.recorder.close()
            lake.close()
            raise
        if self.recorder.live:
            self.archive.live_since = time.time_ns()
        sys.setswitchinterval(SWITCH_SECONDS)
        self.recorder.start(self._take, self.ledger)
        if s.read_only:
            return
        self._spawn("keeper", self._keep)
        self._spawn("sync", self._sync)
        self._spawn("upkeep", self._keep_up)
        self._spawn("alerts", self._alert)
        if s.alert_rules:
            self._spawn("rules", self._look_at_rules)
        self._spawn("analyst", self._analyse)

    def _metrics(self) -> CollectorRegistry:
        registry = self.analyst.metrics()
        self.alarm.metrics(registry)
        self.own_alerts.metrics(registry)
        spool = self.archive.spool
        if self.archive.lake_is_shared and spool is not None:
            what = "Spool segments that wait because the shared store was out of reach"
            Gauge("siptrail_spool_waiting", what, registry=registry).set_function(lambda: len(spool.parked))
        return registry

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
        self.recorder.stop()
        for thread in self._threads:
            thread.join(30)
        self.server.stop()
        self.dispatcher.close()
        try:
            if not self.settings.read_only:
                self._flush()
                self.ledger.store()
        except SiptrailError as error:
            if not self.archive.lake_is_shared:
                raise
            log.error("%s; the spool keeps what is not stored for the next start", error)
        finally:
            self.archive.close()

    def _spawn(self, name: str, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    # ---------------------------------------------------------------- keeping

    def _take(self, messages: MessageBlock) -> bool:
        """Make messages searchable, unless the store has stalled for too long."""
        if self.archive.hot_rows()[1] > self.settings.hot_mb << 20:
            return False
        self._copies.mark(messages)
        rows = to_rows(messages, self.settings.node)
        self.archive.add(rows, messages)
        self.watch.observe(rows)
        self.analyst.observe(rows)
        return True

    def _sync(self) -> None:
        """Whatever the store does meanwhile, a power cut takes a second at most."""
        while not self._stop.wait(1.0):
            try:
                if self.archive.spool is not None:
                    self.archive.spool.sync()
            except OSError as error:
                log.error("the spool cannot be made safe: %s", (error.strerror or str(error)).lower())

    def _keep(self) -> None:
        last_flush = given_back = time.monotonic()
        failing = 0
        while not self._stop.wait(KEEP_SECONDS):
            try:
                if self.archive.lake is not None:
                    self.archive.lake.reopen()
                now, (messages, size) = time.monotonic(), self.archive.hot_rows()
                late, some = now - last_flush > FLUSH_SECONDS, size > SOME_BYTES and now - last_flush > SOME_SECONDS
                some = some or (size > UNHURRIED_BYTES and not self._hasty)
                much = messages > FLUSH_MESSAGES or size > FLUSH_BYTES
                if much and now - last_flush < MUCH_SECONDS:
                    self._hurry()
                elif self._hasty and now - self._last_much > HASTE_SECONDS:
                    self._hasty = False
                    self._haste.end()
                if messages and (late or some or much):
                    self._flush_most()
                    self.archive.verdicts.keep()
                    self.ledger.store()
                    last_flush = time.monotonic()
                self._catch_up()
                if not self._hasty and now - given_back > GIVE_BACK_SECONDS:
                    (shrink if last_flush > given_back else give_back)()
                    given_back = now
                failing = 0
            except Exception as error:
                # Rows stay hot and the spool stays on disk: the next round tries again.
                if failing % 20 == 0:
                    log.error("the store could not be written (%s); trying again", " ".join(str(error).split())[:300])
                failing += 1
                self._park()
                self._stop.wait(2.0)

    def _hurry(self) -> None:
        self._last_much = time.monotonic()
        if not self._hasty:
            self._hasty = True
            self._haste.begin()

    def _park(self) -> None:
        """A shared store may be out of reach for long: what memory has no room for waits in the spool alone."""
        messages, size = self.archive.hot_rows()
        if not self.archive.lake_is_shared or (messages <= FLUSH_MESSAGES and size <= FLUSH_BYTES):
            return
        try:
            count, (lost, low, high) = self.archive.park()
        except OSError as error:
            log.error("the spool cannot be written: %s", error)
            return
        log.warning("the store is out of reach: %d messages wait in the spool until it is back", count - lost)
        if lost:
            log.error("%d messages are given up: the spool has no room for them (spool_budget)", lost)
            self.ledger.lost(Loss("the spool", low, high, lost, "spool"), "queue_drops")

    def _catch_up(self) -> None:
        """Store what waits in the spool, for some seconds."""
        spool, until = self.archive.spool, time.monotonic() + CATCH_UP_SECONDS
        while spool is not None and spool.parked and not self._stop.is_set() and time.monotonic() < until:
            name = spool.parked[0]
            rows = segment_rows(spool.folder / name, self.settings.node, self._sip_ports, self._ws_ports)
            if rows is None:
                spool.parked.remove(name)  # told, and left where it is
                continue
            self.archive.catch_up(name, rows)
            if not spool.parked:
                log.info("all that waited in the spool is stored")

    def _flush_most(self) -> None:
        """Flush, and again while much came in meanwhile; to the last row it would never end under live traffic."""
        until = time.monotonic() + MOST_SECONDS
        while True:
            self.archive.flush()
            messages, size = self.archive.hot_rows()
            if time.monotonic() > until or (messages < FLUSH_MESSAGES and size < FLUSH_BYTES):
                return
            self._hurry()

    def _flush(self) -> None:
        while self.archive.flush():
            pass

    def _keep_up(self) -> None:
        while True:
            try:
                self.keeper.upkeep.round(time.time_ns(), self._stop.is_set)
            except Exception as error:
                log.error("the store's upkeep failed (%s); trying again", " ".join(str(error).split())[:200])
            if self._stop.wait(UPKEEP_SECONDS):
                return

    def interfaces(self) -> list[dict[str, Any]]:
        """What each recorded interface has seen since the start."""
        return self.ledger.interfaces(self.recorder.recording())

    def import_path(self, path: Path, keylog: Path | None = None, again: bool = False) -> dict[str, Any]:
        """Import a capture file that this machine can read, with the TLS keys of a key log if there is one; `again`:
        even if its content is in the store."""

        def work(now: int, beside: Beside) -> ImportResult:
            return import_file(self.archive, reading, self.settings.node, imported_at=now, beside=beside)

        keys = str(keylog) if keylog is not None else None
        with (
            self._imports,
            self._haste.during(),
            closing(Reading(str(path), self._sip_ports, self._ws_ports, self._seqs.next(), keys)) as reading,
        ):
            result = import_once(self.archive, str(path), again, work, keylog, meanwhile=reading.ahead)
            if isinstance(result, ImportResult):
                self.ledger.add_import(flat(result.counters), result.tls, result.refused)
                self.ledger.store()
            return summary(result, str(path))

    def _analyse(self) -> None:
        while not self._stop.is_set():
            try:
                with self.archive.fresh_will_do():
                    self.analyst.work(self._stop)
            except Exception as error:
                log.error("calls could not be diagnosed (%s); going on", " ".join(str(error).split())[:200])
                self._stop.wait(2.0)

    # ---------------------------------------------------------------- alerts

    def _alert(self) -> None:
        pause = ALERT_SECONDS
        while not self._stop.wait(pause):
            began = time.monotonic()
            try:
                with self.archive.fresh_will_do():
                    notices = self.alarm.round(time.time_ns())
                for notice in (*notices, *self.book.tick(time.time_ns())):
                    self.dispatcher.send(notice)
            except Exception:
                log.exception("a round of alerts failed")
            # However many calls fail, capture has most of the time for itself, and nearly all when it needs that.
            pause = max(ALERT_SECONDS, (BUSY_REST if self.analyst.busy else REST) * (time.monotonic() - began))

    def _look_at_rules(self) -> None:
        pause = RULE_SECONDS
        while not self._stop.wait(pause):
            began = time.monotonic()
            try:
                with self.archive.fresh_will_do():
                    notices = self.own_alerts.round(time.time_ns())
                for notice in notices:
                    self.dispatcher.send(notice)
            except Exception:
                log.exception("a round of alert rules failed")
            pause = max(RULE_SECONDS, RULE_REST * (time.monotonic() - began))
