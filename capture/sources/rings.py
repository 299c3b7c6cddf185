"""The rings of live capture: `workers` of them an interface, opened alike at the start and whenever one comes back.

It owns which rings share the flows of an interface. It starts no thread and decodes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from capture.bpf import Program
from capture.netdevices import ETHERNET, device
from capture.packetsockets import PacketSockets
from capture.sources.ring import NEW_GROUP, Ring, open_ring

BLOCK_BYTES = 1 << 18
"""A frame is at most 64 KiB, unless both ends were told to build larger ones (BIG TCP)."""
FEWEST_BLOCKS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """How an interface is recorded."""

    program: Callable[[int], Program]
    """The kernel's filter for a link type."""
    workers: int = 1
    ring_mb: int = 64
    hardware_time: bool = False


class Rings:
    """Opens rings; safe to use from any thread."""

    def __init__(self, sockets: PacketSockets, plan: Plan) -> None:
        self._sockets, self.plan = sockets, plan
        self._lock = threading.Lock()
        self._groups: dict[str, int] = {}

    def open(self, name: str) -> list[Ring]:
        """All rings of an interface, or none and the reason."""
        rings: list[Ring] = []
        try:
            with self._lock:
                self._groups.pop(name, None)
                for _ in range(self.plan.workers):
                    rings.append(self._ring(name))
        except BaseException:
            for ring in rings:
                ring.close()
            raise
        return rings

    def again(self, old: Ring) -> Ring:
        """A ring for an interface that came back, instead of one that could not follow it."""
        name = old.interface.name
        with self._lock:
            old.close()
            if self._groups.get(name) == old.group:
                del self._groups[name]  # the first one that comes back; the others find the new group
            return self._ring(name)

    def _ring(self, name: str) -> Ring:
        found = device(name)
        ring = open_ring(
            name,
            program=self.plan.program(found.link_type if found is not None else ETHERNET),
            block_bytes=BLOCK_BYTES,
            blocks=max(FEWEST_BLOCKS, (self.plan.ring_mb << 20) // BLOCK_BYTES // self.plan.workers),
            fanout=self._groups.get(name, NEW_GROUP) if self.plan.workers > 1 else None,
            sockets=self._sockets,
            hardware_time=self.plan.hardware_time,
        )
        if ring.group is not None:
            self._groups[name] = ring.group
        return ring
