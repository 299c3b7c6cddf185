"""A capture file into an archive: the same for `siptrail import`, a file opened in the terminal UI, and recovery.

What TLS hides is read beside the rest where there are keys for it: plain messages come only from here, others only
from `capture.sources.keylog`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from capture.flags import QUOTED
from capture.pipeline import Counters, Decoder, MessageBlock
from capture.ports import DEFAULT_SIP_PORTS, DEFAULT_WS_PORTS
from capture.sources.keylog import Decryption, keys_for
from capture.sources.pcapfile import PcapFile
from capture.tlspeers import TlsPeer
from index.archive import Archive
from index.columns import to_rows
from index.copies import Copies

FLUSH_MESSAGES = 100_000
FLUSH_BYTES = 80 << 20


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

    def warn(self, text: str | None) -> None:
        """Add to what was wrong."""
        self.damage = f"{self.damage}; {text}" if self.damage and text else text or self.damage


def import_file(
    archive: Archive,
    path: str,
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
) -> ImportResult:
    """Read `path` ('-' is standard input) into the archive. `progress` is told after each block; `stop` ends it early.

    `keylog` names a file with TLS secrets. Raises Unreachable when a file cannot be read at all; damage further in is
    reported in the result."""
    keys = keys_for(path, keylog)
    source = PcapFile(path)
    decoder, copies = Decoder(sip_ports, first_seq, ws_ports), Copies()
    result = ImportResult(source.name, counters=decoder.counters)
    # Writing overlaps with reading, one batch behind: both cores work, and memory stays bounded.
    writer = ThreadPoolExecutor(1, "import-flush")
    writing: Future[int] | None = None
    handed, size = 0, 0
    decryption: Decryption | None = None
    try:
        decryption = keys.decrypt(sip_ports | ws_ports, stop) if keys is not None else None
        for block in source.blocks():
            _add(archive, decoder.feed(block), copies, node, result)
            if decryption is not None:
                _add(archive, decoder.take(decryption.feed(block)), copies, node, result)
            if archive.lake is not None:
                size += len(block.data)
                if result.messages - handed >= FLUSH_MESSAGES or size >= FLUSH_BYTES:
                    if writing is not None:
                        writing.result()
                    writing, handed, size = writer.submit(archive.flush, (), imported_at), result.messages, 0
            if progress:
                progress(result, source.position())
            if stop():
                result.damage = "stopped before the end"
                break
        else:
            result.warn(source.damage)
        if decryption is not None:
            _add(archive, decoder.take(decryption.flush()), copies, node, result)
            result.warn(decryption.complaint)
        _add(archive, decoder.flush(), copies, node, result)
        if writing is not None:
            writing.result()
        archive.flush(segments, imported_at)
        result.tls = decoder.tls_peers()
    finally:
        writer.shutdown()
        if decryption is not None:
            decryption.close()
        source.close()
    return result


def _add(archive: Archive, blocks: list[MessageBlock], copies: Copies, node: str, result: ImportResult) -> None:
    for block in blocks:
        copies.mark(block)
        archive.add(to_rows(block, node))
        result.messages += int((block.flags & QUOTED == 0).sum())
        low, high = int(block.ts.min()), int(block.ts.max())
        result.first = low if result.first is None else min(result.first, low)
        result.last = high if result.last is None else max(result.last, high)
