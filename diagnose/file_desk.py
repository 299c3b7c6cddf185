"""The desk on one capture file: in memory, read in the background, answering from what has been read so far."""

from __future__ import annotations

import threading

from capture.ports import DEFAULT_WS_PORTS
from diagnose.engine import Rule
from diagnose.local import LIST_BUDGET, LocalDesk
from index.archive import Archive
from index.importing import ImportResult, flat, import_file
from index.leg import LegRules
from index.summary import CallSummary


class FileDesk(LocalDesk):
    """One capture file in memory, read in the background; answers from what has been read so far."""

    def __init__(
        self,
        path: str,
        node: str,
        sip_ports: frozenset[int],
        wait: bool,
        ws_ports: frozenset[int] = DEFAULT_WS_PORTS,
        rules: tuple[Rule, ...] | None = None,
        keylog: str | None = None,
        leg_rules: LegRules | None = None,
    ) -> None:
        self._last = 0
        archive = Archive(None, lambda: self._last, memory="2GB")
        self.result: ImportResult | None = None
        super().__init__(
            archive,
            lambda: flat(self.result.counters) if self.result else {},
            rules,
            lambda: self.result.tls if self.result else (),
            leg_rules,
            refused=lambda: self.result.refused if self.result else {},
        )
        self._stop = False
        self._ready, self._over = threading.Event(), threading.Event()
        self._progress = 0.0
        self._failed: BaseException | None = None
        self._thread = threading.Thread(
            target=self._read, args=(path, node, sip_ports, ws_ports, keylog), name="read-file", daemon=True
        )
        self._thread.start()
        try:
            (self._over if wait else self._ready).wait()
        except BaseException:
            # Interrupted: what the thread has open (a program, files with plain text) must not stay behind.
            # An interrupted join() takes the thread for ended, hence the event.
            self._stop = True
            self._over.wait(10)
            raise
        if self._failed is not None:
            raise self._failed

    def with_findings(self, calls: list[CallSummary], budget: float = LIST_BUDGET) -> list[CallSummary]:
        """None while the file is being read: half a capture looks like a call that nobody answered."""
        return calls if self._progress is not None else super().with_findings(calls, budget)

    def _read(
        self, path: str, node: str, sip_ports: frozenset[int], ws_ports: frozenset[int], keylog: str | None
    ) -> None:
        def told(result: ImportResult, share: float | None) -> None:
            self.result, self._last = result, result.last or 0
            self._progress = share if share is not None else 0.0
            self._ready.set()

        try:
            self.result = import_file(
                self.archive,
                path,
                node,
                sip_ports=sip_ports,
                ws_ports=ws_ports,
                progress=told,
                stop=lambda: self._stop,
                keylog=keylog,
            )
            self._last = self.result.last or 0
            self.loading_error = self.result.damage
        except BaseException as error:
            self._failed = error
        finally:
            self._progress = None
            self._ready.set()
            self._over.set()

    def close(self) -> None:
        self._stop = True
        self._thread.join(10)
        super().close()
