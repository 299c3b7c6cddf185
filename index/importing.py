"""A capture file into an archive: the same for `siptrail import`, a file opened in the terminal UI, and recovery.

What TLS hides is read beside the rest where there are keys for it: plain messages come only from here, others only
from `capture.sources.keylog`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pyarrow as pa

from capture.flags import NO_MESSAGE
from capture.frames import FrameBlock
from capture.pipeline import Counters, Decoder, MessageBlock
from capture.ports import DEFAULT_SIP_PORTS, DEFAULT_WS_PORTS
from capture.sources.keylog import Decryption, keys_for
from capture.sources.pcapfile import PcapFile
from capture.tlspeers import TlsPeer
from index.archive import Archive
from index.columns import Rows, to_rows
from index.copies import Copies
from index.lake import NOTHING, Written
from sip.errors import Unreachable

FLUSH_MESSAGES = 100_000
FIRST_MESSAGES = 25_000
"""The first batch is smaller, and the next ones grow, so that the second core does not wait long for work."""
FLUSH_BYTES = 80 << 20
WRITERS = 2
AHEAD = 16
"""Blocks of a file that are read before the store is open: some 100,000 messages."""
MESSAGES_SEEN, SECONDS_SEEN = 1_000_000, 5.0
"""What is written is shown to readers once there is so much of it, or the first of it waited so long: a commit takes as
long as writing a quarter of a batch."""


class FirstSeqs:
    """Where the `seq` of each import begins: after those of the imports before, here and (by the clock) elsewhere."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """One caller at a time."""
        self._last = max(int(time.time()), self._last + 1)
        return self._last << 30


class NotStored(Unreachable):
    """The store takes no more; what was read before is in it."""


@dataclass(slots=True)
class ImportResult:
    """What a file held."""

    file: str
    messages: int = 0
    counters: Counters = field(default_factory=Counters)
    damage: str | None = None
    first: int | None = None
    last: int | None = None
    unknown_links: tuple[int, ...] = ()
    tls: tuple[TlsPeer, ...] = ()
    """Who speaks TLS to whom on SIP ports."""
    refused: dict[str, int] = field(default_factory=dict)
    """TCP connections on SIP ports that a server turned away, by server."""

    def warn(self, text: str | None) -> None:
        """Add to what was wrong."""
        self.damage = f"{self.damage}; {text}" if self.damage and text else text or self.damage


class Reading:
    """A capture file and the messages in it, block by block; it may begin before there is a store to put them in."""

    def __init__(
        self,
        path: str,
        sip_ports: frozenset[int] = DEFAULT_SIP_PORTS,
        ws_ports: frozenset[int] = DEFAULT_WS_PORTS,
        first_seq: int = 0,
        keylog: str | None = None,
    ) -> None:
        """`keylog` names a file with TLS secrets. Raises Unreachable when a file cannot be read at all."""
        self.keys = keys_for(path, keylog)
        self.ports = sip_ports | ws_ports
        self.source = PcapFile(path)
        self.decoder = Decoder(sip_ports, first_seq, ws_ports)
        self._all = ((block, self.decoder.feed(block)) for block in self.source.blocks())
        self._ahead: deque[tuple[FrameBlock, list[MessageBlock]]] = deque()
        self._failed: Exception | None = None

    def ahead(self, enough: Callable[[], bool]) -> None:
        """Read what is needed soon, until it is `enough` or AHEAD blocks are there. What goes wrong is told later.

        Nothing of what has TLS keys, which is read beside the rest block by block, and nothing from a pipe: who feeds
        that may take any time."""
        if self.keys is not None or self.source.size is None:
            return
        try:
            while len(self._ahead) < AHEAD and not enough():
                self._ahead.append(next(self._all))
        except StopIteration:
            pass
        except Exception as error:
            self._failed = error

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def blocks(self) -> Iterator[tuple[FrameBlock, list[MessageBlock]]]:
        """Each block of the file with the messages that it completes."""
        while self._ahead:
            yield self._ahead.popleft()
        if self._failed is not None:
            raise self._failed
        yield from self._all


Beside = Callable[[ImportResult], Mapping[str, pa.Table]]
"""What is to be stored with the last messages of a file, all or nothing: rows of small tables by their names."""


def import_file(
    archive: Archive,
    capture: str | Reading,
    node: str,
    *,
    sip_ports: frozenset[int] = DEFAULT_SIP_PORTS,
    ws_ports: frozenset[int] = DEFAULT_WS_PORTS,
    first_seq: int = 0,
    imported_at: int | None = None,
    segments: Sequence[str] = (),
    progress: Callable[[ImportResult, float | None], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    keylog: str | None = None,
    beside: Beside = lambda _: NOTHING,
) -> ImportResult:
    """Read a capture file ('-' is standard input), or the rest of one, into the archive. `progress` is told after each
    block; `stop` ends it early. What is to be stored `beside` the messages is asked for when all are read, and stored
    with the last of them.

    Raises Unreachable when a file cannot be read at all; damage further in is reported in the result."""
    reading = Reading(capture, sip_ports, ws_ports, first_seq, keylog) if isinstance(capture, str) else capture
    source, decoder, copies = reading.source, reading.decoder, Copies()
    result = ImportResult(source.name, counters=decoder.counters)
    batches = _Batches(archive, node, segments, imported_at)
    decryption: Decryption | None = None
    try:
        decryption = reading.keys.decrypt(reading.ports, stop) if reading.keys is not None else None
        for block, messages in reading.blocks():
            batches.add(messages, copies, result, len(block.data))
            if decryption is not None:
                batches.add(decoder.take(decryption.feed(block)), copies, result)
            if progress:
                progress(result, source.position())
            if stop():
                result.damage = "stopped before the end"
                break
        else:
            result.warn(source.damage)
        if decryption is not None:
            batches.add(decoder.take(decryption.flush()), copies, result)
            result.warn(decryption.complaint)
        batches.add(decoder.flush(), copies, result)
        batches.finish(lambda: beside(result))
        result.tls = decoder.tls_peers()
        result.refused = {row.server: row.count for row in decoder.refused()}
    finally:
        batches.close()
        if decryption is not None:
            decryption.close()
        reading.close()
    return result


class _Batches:
    """What was read and is not stored yet. Without a store it stays in the archive's memory, searchable at once.

    Writing overlaps with reading: batches are put in order and written by two threads, and a third one is read
    meanwhile, so that every core has work and memory is bounded. Rows are made of messages by whoever has time."""

    def __init__(self, archive: Archive, node: str, segments: Sequence[str], imported_at: int | None) -> None:
        self._archive, self._node, self._segments, self._imported_at = archive, node, segments, imported_at
        self._writers = ThreadPoolExecutor(WRITERS, "import-write")
        self._writing: deque[Future[Written]] = deque()
        self._showing: Future[None] | None = None
        self._unseen: list[Written] = []
        """Written, and not shown to readers."""
        self._waits_since = 0.0
        self._rows: list[Rows | MessageBlock] = []
        self._messages = self._size = 0
        self._enough = FIRST_MESSAGES

    def add(self, blocks: list[MessageBlock], copies: Copies, result: ImportResult, held: int = 0) -> None:
        """Take messages in; `held`: bytes that they keep in memory beside their own."""
        self._size += held
        for block in blocks:
            copies.mark(block)
            if self._archive.lake is None:
                self._archive.add(to_rows(block, self._node))
            elif self._idle():
                # A writer waits for this batch, so it makes the rows as well.
                self._rows.append(block)
            else:
                self._rows.append(to_rows(block, self._node))
            self._messages += len(block)
            result.messages += int((block.flags & NO_MESSAGE == 0).sum())
            low, high = int(block.ts.min()), int(block.ts.max())
            result.first = low if result.first is None else min(result.first, low)
            result.last = high if result.last is None else max(result.last, high)
        if self._rows and (self._messages >= self._enough or self._size >= FLUSH_BYTES):
            self._enough = min(2 * self._enough, FLUSH_MESSAGES)
            if len(self._writing) == WRITERS:
                self._wait()
            # The rows are the writer's alone, so that their memory comes free once they are written.
            self._writing.append(self._writers.submit(self._write, self._rows))
            self._rows, self._messages, self._size = [], 0, 0

    def finish(self, beside: Callable[[], Mapping[str, pa.Table]]) -> None:
        """Store the rest; the segments that held all of it are named with the last of it, and what goes beside it."""
        if self._archive.lake is None:
            return
        with _not_stored():
            last = self._write(self._rows) if self._rows else None
            while self._writing:
                self._take(self._writing.popleft())
            self._unseen += [last] if last is not None else []
            self._seen()
            # Of what cannot be published nothing stays, so `close` must not try it again.
            unseen, self._unseen = self._unseen, []
            self._archive.publish(unseen, self._segments, self._imported_at, beside())

    def _idle(self) -> bool:
        """Whether a writer has nothing to do."""
        return sum(not w.done() for w in self._writing) < WRITERS

    def _write(self, rows: list[Rows | MessageBlock]) -> Written:
        """Store a batch, which is the caller's no more."""
        made = [to_rows(r, self._node) if isinstance(r, MessageBlock) else r for r in rows]
        rows.clear()
        return self._archive.write(made)

    def _wait(self) -> None:
        with _not_stored():
            self._take(self._writing.popleft())
            if (
                sum(w.messages for w in self._unseen) >= MESSAGES_SEEN
                or time.monotonic() - self._waits_since > SECONDS_SEEN
            ):
                self._seen()
                self._showing = self._writers.submit(self._archive.publish, self._unseen, (), self._imported_at)
                self._unseen = []

    def _take(self, writing: Future[Written]) -> None:
        written = writing.result()
        if not self._unseen:
            self._waits_since = time.monotonic()
        self._unseen.append(written)

    def _seen(self) -> None:
        """What was to be shown is, or its error is raised."""
        showing, self._showing = self._showing, None
        if showing is not None:
            showing.result()

    def close(self) -> None:
        """Wait until nothing is being written. What was written before something went wrong is shown, if it can be."""
        self._writers.shutdown(cancel_futures=True)
        self._unseen += [w.result() for w in self._writing if not w.cancelled() and w.exception() is None]
        self._writing.clear()
        if self._unseen:
            unseen, self._unseen = self._unseen, []
            with suppress(Unreachable):  # why it came to this is being told
                self._archive.publish(unseen, (), self._imported_at)


@contextmanager
def _not_stored() -> Iterator[None]:
    try:
        yield
    except Unreachable as error:
        raise NotStored(str(error)) from error


def flat(counters: Counters) -> dict[str, int]:
    """A decoder's counters under their public names."""
    careful = counters.careful
    return {
        "packets": counters.packets,
        "not_sip": counters.not_sip + careful.get("not_sip", 0),
        "unreadable": counters.unreadable + careful.get("unreadable", 0),
        "fragments_lost": careful.get("fragments_lost", 0),
        "stream_gaps": careful.get("stream_gaps", 0),
        "keepalives": counters.keepalives,
        "encrypted": careful.get("encrypted", 0),
        "decrypted": counters.decrypted,
        "tunnels_too_deep": careful.get("tunnels_too_deep", 0),
        "evicted": careful.get("evicted", 0),
    }
