"""What capture counted and what it missed, by interface and over time: from capture threads to the store.

It owns the sums since the start, the TLS table, and the losses that are not in the store yet. It reads no packet.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from capture.tlspeers import TlsPeer, merged
from index.lake import Lake
from index.trace import Loss
from sip.errors import Unreachable

NEAR_NS = 2_000_000_000
"""Losses on one interface closer than this become one."""
MOST = 10_000
MOST_TABLES = 256
"""TLS tables kept; capture threads come and go with their interfaces."""
MOST_REFUSED = 100
"""Servers that are told of."""


class Ledger:
    """Safe to use from any thread."""

    def __init__(self, lake: Lake, node: str) -> None:
        self._lake, self._node = lake, node
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._sums: Counter[str] = Counter()
        self._by_interface: dict[str, Counter[str]] = {}
        self._stored: Counter[str] = Counter()
        self._losses: list[Loss] = []
        self._tls: OrderedDict[int, tuple[TlsPeer, ...]] = OrderedDict()
        self._refused: OrderedDict[int, dict[str, int]] = OrderedDict()
        self._refused_in_files: Counter[str] = Counter()
        """By capture thread."""
        self._imported: tuple[TlsPeer, ...] = ()
        self._on_their_way: list[Loss] = []
        self._known: Counter[str] = Counter()
        """What the store had when it was asked last; a shared one may be out of reach."""

    def add(self, interface: str, counts: Mapping[str, int]) -> None:
        """Count what an interface has seen; the same names are added up over all interfaces."""
        with self._lock:
            self._sums.update(counts)
            self._by_interface.setdefault(interface, Counter()).update(counts)

    def add_import(
        self, counts: Mapping[str, int], tls: tuple[TlsPeer, ...] = (), refused: Mapping[str, int] | None = None
    ) -> None:
        """Count what a file held."""
        with self._lock:
            self._refused_in_files.update(refused or {})
            if len(self._refused_in_files) > MOST:
                self._refused_in_files = Counter(dict(self._refused_in_files.most_common(MOST)))
            self._sums.update(counts)
            self._imported = merged(self._imported, tls)

    def saw_tls(self, source: int, peers: tuple[TlsPeer, ...]) -> None:
        """A capture thread's whole TLS table, in the place of the one it gave before."""
        with self._lock:
            self._tls[source] = peers
            while len(self._tls) > MOST_TABLES:
                self._tls.popitem(last=False)

    def saw_refusals(self, source: int, servers: dict[str, int]) -> None:
        """A capture thread's connections that were turned away, in the place of what it gave before."""
        with self._lock:
            self._refused[source] = servers
            while len(self._refused) > MOST_TABLES:
                self._refused.popitem(last=False)

    def refused(self) -> dict[str, int]:
        """TCP connections on SIP ports that servers turned away since the start, the most first."""
        with self._lock:
            total = Counter(self._refused_in_files)
            for servers in self._refused.values():
                total.update(servers)
        return dict(total.most_common(MOST_REFUSED))

    def tls(self) -> tuple[TlsPeer, ...]:
        """Who spoke TLS to whom on SIP ports since the start, the latest first."""
        with self._lock:
            return merged(self._imported, *self._tls.values())

    def lost(self, loss: Loss, counter: str = "") -> None:
        """Calls that were alive meanwhile will say so; `counter` is what it adds to, '' where that was done already."""
        loss = replace(loss, node=self._node)
        if counter:
            self.add(loss.interface, {counter: loss.count})
        with self._lock:
            for i in range(len(self._losses) - 1, -1, -1):
                last = self._losses[i]
                if (last.interface, last.kind) == (loss.interface, loss.kind):
                    if loss.start - last.end < NEAR_NS:
                        del self._losses[i]
                        loss = replace(loss, start=last.start, count=last.count + loss.count)
                    break
            self._losses.append(loss)
            del self._losses[:-MOST]

    def between(self, start: int, end: int) -> tuple[Loss, ...]:
        """What was missed between two times (ns), stored or not."""
        with self._lock:
            fresh = [x for x in self._on_their_way + self._losses if x.start <= end and x.end >= start]
        try:
            stored = self._lake.losses(start, end)
        except Unreachable:
            if not self._lake.shared:
                raise
            stored = ()  # out of reach; whoever cannot do without the store is told so by other questions
        return tuple(dict.fromkeys((*stored, *fresh)))

    def store(self) -> None:
        """Write what is new to the store."""
        with self._storing:
            with self._lock:
                new = {k: v - self._stored[k] for k, v in self._sums.items()}
                self._on_their_way, self._losses = self._on_their_way + self._losses, []
            self._lake.count(time.time_ns(), self._node, new)
            with self._lock:
                self._stored.update(new)
            self._lake.lose(self._node, self._on_their_way)
            with self._lock:
                self._on_their_way = []

    def totals(self) -> dict[str, int]:
        """Sums since the store began: what earlier runs stored and what this one has counted since."""
        try:
            self._known = Counter(self._lake.counts())
        except Unreachable:
            if not self._lake.shared:
                raise
        total = self._known.copy()
        with self._lock:
            total.update({k: v - self._stored[k] for k, v in self._sums.items()})
        return dict(total)

    def interfaces(self, recording: Mapping[str, bool]) -> list[dict[str, Any]]:
        """What each interface has seen since the start, for `/api/v1/interfaces` and `/metrics`."""
        with self._lock:
            return [
                {"name": name, "recording": alive, **self._by_interface.get(name, {})}
                for name, alive in recording.items()
            ]
