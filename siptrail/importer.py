"""`siptrail import`: hands files to the running service, or writes them into the store itself, with a progress bar."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sip.errors import SiptrailError
from sip.text import printable
from siptrail.places import default_store
from siptrail.tlstable import ADVICE

if TYPE_CHECKING:
    import pyarrow as pa

    from index.captures import Look
    from index.importing import ImportResult

WONDER = 0.5
"""Seconds after which somebody who waits wants to see something."""


def run_import(
    files: list[str],
    store: Path | None,
    url: str | None,
    token: str | None,
    as_json: bool,
    keylog: Path | None = None,
    again: bool = False,
) -> int:
    """Import each file; one line each, a summary of what was not SIP. Returns the exit code: that of the worst file."""
    results: list[dict[str, Any]] = []
    worst = 0
    remote = None
    if store is None:
        from api.client import HttpDesk
        from siptrail.places import DEFAULT_LISTEN

        desk = HttpDesk(url or f"http://{DEFAULT_LISTEN}", token)
        if url is not None or desk.alive():
            remote = desk
    if remote is None:
        worst = _into_store(files, store or default_store(), results, keylog, again)
    else:
        for name in files:
            try:
                if name == "-":
                    raise SiptrailError(
                        "a running service cannot read standard input; save the capture to a file, "
                        "or stop the service and use --store"
                    )
                began = time.monotonic()
                keys = keylog.resolve() if keylog is not None else None
                record = remote.import_file(Path(name).resolve(), keys, again)
                results.append(record | {"seconds": time.monotonic() - began})
            except SiptrailError as error:
                worst = max(worst, _complain(error))
    for record in results:
        print(json.dumps(record) if as_json else line(record))
    return worst


def line(r: dict[str, Any]) -> str:
    """One file's result in words."""
    if r.get("already"):
        before = r["already"]
        name = "" if before["name"] == r["file"] else f" as {printable(before['name'])}"
        return (
            f"{printable(r['file'])}: imported{name} at {before['at']} already, {before['messages']:,} SIP messages; "
            "left out (--again imports it once more)"
        )
    rate = f" ({r['messages'] / r['seconds']:,.0f} messages/s)" if r.get("seconds") else ""
    parts = [f"{printable(r['file'])}: {r['messages']:,} SIP messages from {r['packets']:,} packets{rate}"]
    lost = [
        f"{r[k]:,} {text}"
        for k, text in (
            ("not_sip", "not SIP"),
            ("unreadable", "unreadable"),
            ("fragments_lost", "fragments lost"),
            ("stream_gaps", "gaps in TCP streams"),
            ("encrypted", "encrypted (TLS)"),
            ("keepalives", "keep-alives"),
        )
        if r.get(k)
    ]
    if lost:
        parts.append(", ".join(lost))
    if r.get("decrypted"):
        parts.append(f"{r['decrypted']:,} read with TLS keys")
    elif r.get("encrypted"):
        parts.append(ADVICE)
    if r.get("damage"):
        parts.append(f"warning: {printable(r['damage'])}")
    return "; ".join(parts)


class _Bar:
    """How far the import of a file is, on a terminal; drawn once somebody would wonder. What draws it takes longer to
    load than a small file takes."""

    def __init__(self, name: str, began: float | None = None) -> None:
        self.began = time.monotonic() if began is None else began
        self._name = printable(Path(name).name if name != "-" else "standard input")
        self._drawn: Any = None

    def show(self, result: ImportResult, share: float | None) -> None:
        """After each block: what was read, and how much of the file that is."""
        seconds = time.monotonic() - self.began
        if self._drawn is None:
            if seconds < WONDER or not sys.stderr.isatty():
                return
            self._drawn = self._draw(seconds)
        said = f"{result.messages:,} messages, {result.messages / max(seconds, 1e-3):,.0f}/s"
        said = said if share is None else f"{share:4.0%} {said}"
        total = None if share is None else 1.0
        self._drawn.update(self._drawn.task_ids[0], completed=share or 0.0, total=total, said=said)

    def _draw(self, seconds: float) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        bar.add_task(self._name, total=1.0, said="")
        bar.tasks[0].start_time = bar.get_time() - seconds
        bar.start()
        return bar

    def close(self) -> None:
        if self._drawn is not None:
            self._drawn.stop()


def _into_store(files: list[str], folder: Path, results: list[dict[str, Any]], keylog: Path | None, again: bool) -> int:
    from index.lake import Lake
    from siptrail.config import load

    settings = load(None)
    worst = 0
    keys = str(keylog) if keylog is not None else None
    ports = frozenset(settings.sip_ports), frozenset(settings.ws_ports)
    beside = ThreadPoolExecutor(2)
    try:
        # The store opens, and says whether it has the first file, while kernels are loaded and that file is begun.
        opening = beside.submit(
            Lake, folder, memory=settings.memory, say=_tell, shared=settings.shared(), node=settings.node
        )
        from capture.warm import warm_up
        from index.archive import Archive
        from index.captures import content_of, import_once, known, look_up
        from index.importing import Beside, FirstSeqs, NotStored, Reading, flat, import_file
        from index.lake import counted
        from siptrail.service_summary import summary
        from siptrail.warming import say_when_compiling

        say_when_compiling()
        content = beside.submit(content_of, files[0], keylog)
        looked = beside.submit(lambda: (content.result(), known(opening.result(), content.result())))
        warm_up(streams=False)
        seqs = FirstSeqs()

        def read(name: str) -> Reading:
            return Reading(name, *ports, seqs.next(), keys)

        began: float | None = None
        begun: Reading | None = None
        # What is wrong with it is told when it is its turn. Of a pipe nothing can be read twice, and nothing may come.
        if Path(files[0]).is_file():
            with suppress(SiptrailError):
                began, begun = time.monotonic(), read(files[0])
                begun.ahead(looked.done)
        archive = Archive(opening.result(), time.time_ns)
    finally:
        beside.shutdown(wait=False, cancel_futures=False)

    def into(reading: Reading, bar: _Bar, now: int, beside: Beside) -> ImportResult:
        def all_beside(result: ImportResult) -> dict[str, pa.Table]:
            return {**beside(result), "counts": counted(now, settings.node, flat(result.counters))}

        return import_file(
            archive,
            reading,
            settings.node,
            imported_at=now,
            progress=bar.show,
            beside=all_beside,
        )

    look: Look = lambda *_: looked.result()  # noqa: E731
    try:
        for name in files:
            with closing(_Bar(name, began)) as bar:
                try:
                    with closing(begun or read(name)) as reading:
                        work = partial(into, reading, bar)
                        result = import_once(archive, name, again, work, keylog, look, reading.ahead)
                except SiptrailError as error:
                    worst = max(worst, _complain(error))
                    if isinstance(error, NotStored):
                        break
                    continue
                finally:
                    look, begun, began = look_up, None, None
                results.append(summary(result, name) | {"seconds": time.monotonic() - bar.began})
    finally:
        archive.close()
    return worst


def _tell(text: str) -> None:
    print(f"siptrail: {printable(text)}", file=sys.stderr)


def _complain(error: SiptrailError) -> int:
    print(f"siptrail: {printable(str(error))}", file=sys.stderr)
    return error.exit_code
