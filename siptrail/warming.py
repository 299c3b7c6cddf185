"""Kernels ready before the first packet. What was never compiled here is compiled by a process of its own: a compiler
that has run keeps two hundred megabytes to the end of its process, and a service has no end.

`python -m siptrail.warming` is that process: a capture's way through decoder and store and back, in small.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

from capture.jit import compile_in, tell_compiling

log = logging.getLogger("siptrail")


def say_when_compiling() -> None:
    """What was never compiled here takes a while, and who waits is told why."""
    said = "siptrail: compiling the code that reads packets; once only, up to a minute …"
    tell_compiling(lambda: print(said, file=sys.stderr, flush=True))


def warm_up() -> None:
    """Load the kernels of the hot path, or have all of them compiled first."""
    from capture.warm import warm_up as warm_up_capture
    from index.columns import to_rows
    from index.copies import Copies
    from index.packed import warm_up as warm_up_packing

    compile_in([sys.executable, "-m", "siptrail.warming"])
    say_when_compiling()
    began = time.monotonic()
    for block in warm_up_capture():
        Copies(2).mark(block)
        to_rows(block, "")
    warm_up_packing()
    log.debug("kernels ready after %.2f s", time.monotonic() - began)


def rehearse() -> None:
    """All that a service does with kernels, once."""
    from capture.ringwalk import warm_up as warm_up_ring
    from capture.warm import warm_up as warm_up_capture
    from index.archive import Archive
    from index.columns import HOUR_NS, to_rows
    from index.compaction import compact_all
    from index.copies import Copies
    from index.importing import import_file
    from index.lake import Lake
    from index.packed import warm_up as warm_up_packing
    from index.pcapfile import write_capture
    from index.spool import Spool

    warm_up_ring()
    warm_up_packing()
    with tempfile.TemporaryDirectory(prefix="siptrail-") as folder:
        lake = Lake(Path(folder) / "store")
        archive = Archive(lake, time.time_ns)
        archive.spool = Spool(lake.folder / "spool")
        try:
            for _ in range(2):
                for block in warm_up_capture():
                    Copies(2).mark(block)
                    archive.add(to_rows(block, ""), block)
                (call,) = archive.calls(None, 1)
                archive.flush()
            archive.traces([call.call_id])
            compact_all(lake, time.time_ns() + HOUR_NS)
        finally:
            archive.close()
        lake = Lake(lake.folder)  # what is known of its files comes from files now
        again = Archive(lake, time.time_ns)
        try:
            lake.know_hours()
            frames = again.frames([again.trace(call.call_id).call_id])
            for comment in ("", "as pcapng"):
                capture = Path(folder) / "capture"
                capture.write_bytes(write_capture(frames, comment))
                import_file(again, str(capture), "")
        finally:
            again.close()


if __name__ == "__main__":
    rehearse()
