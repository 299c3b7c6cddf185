"""All recorded calls, wherever their rows are: hot rows in memory and, where there is one, the lake on disk.

It owns every query, and the one moment that each of them sees. It knows no wire format, no rules and no HTTP.
Readers may come from any thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capture.flags import NO_MESSAGE
from capture.frames import Frame
from index.call_hours import conditions
from index.columns import FRAMES, HOUR_NS, MESSAGES, SANE
from index.connections import messages_only, with_ends
from index.deadlines import Deadlines
from index.filter import Filter
from index.findings import Verdict, Verdicts
from index.hours import by_slot, data_files, from_to, hours
from index.intake import Intake
from index.lake import Lake
from index.listing import newest_calls, summaries
from index.look import Look, one_of
from index.opening import Opening
from index.openings import openings
from index.questions import Question, Resends, Start, Tally
from index.resends import resends
from index.rows import first_row
from index.summary import CallSummary
from index.surroundings import Surroundings
from index.tally import gather, starts, tally
from index.text_search import Texts, TextSearch, budget
from index.totals import count_messages
from index.trace import CallTrace, Loss
from index.traces import build_trace
from sip.errors import NotFound, SiptrailError, TooMuch, Unreachable

log = logging.getLogger(__name__)
DEADLINE = 30.0
"""Seconds a query may take."""
NEARBY_NS = 2_000_000_000
"""Losses so close to a call may have hit it."""


class Archive(Intake):
    """Hot rows and the lake as one. Without a lake everything stays in memory (a capture file on its own)."""

    def __init__(self, lake: Lake | None, now: Callable[[], int], memory: str = "512MB") -> None:
        super().__init__(lake)
        self.now = now
        self.live_since: int | None = None
        """Start of live capture (ns), None where this archive only holds files."""
        self.losses: Callable[[int, int], tuple[Loss, ...]] = lake.losses if lake else lambda start, end: ()
        self._own = None if lake else duckdb.connect(config={"memory_limit": memory, "threads": 2})
        self._fresh_will_do = threading.local()
        self.verdicts = Verdicts(lake)
        self._text_search = TextSearch()
        self._deadlines = Deadlines()

    @property
    def _con(self) -> duckdb.DuckDBPyConnection:
        if self.lake is not None:
            return self.lake.con
        assert self._own is not None
        return self._own

    def known_verdicts(self, calls: Sequence[CallSummary]) -> list[Verdict]:
        """What was said of these calls before, the latest of each."""
        if not calls:
            return []
        if self.lake is None:
            with closing(self._con.cursor()) as cur:
                return self.verdicts.of(cur, {c.call_id: c.start for c in calls})
        with self.lake.reading() as cur:
            return self.verdicts.of(cur, {c.call_id: c.start for c in calls})

    @contextmanager
    def fresh_will_do(self) -> Iterator[None]:
        """Meanwhile, in this thread, what is in memory answers where a shared store cannot be reached: alerts go on."""
        self._fresh_will_do.now = True
        try:
            yield
        finally:
            self._fresh_will_do.now = False

    @contextmanager
    def _look(self, deadline: float | None = None) -> Iterator[Look]:
        """One moment of hot rows and lake."""
        stored = False
        with self._moment:
            away = self.lake.away if self.lake else None
            if away is not None and not getattr(self._fresh_will_do, "now", False):
                raise away
            cur = self._con.cursor()
            if self.lake and away is None:
                # The first look pins the snapshot, so that it fits the hot rows taken in the same moment.
                try:
                    cur.execute("BEGIN")
                    cur.execute("SELECT name FROM lake.about LIMIT 1").fetchall()
                    stored = True
                except duckdb.Error as error:
                    cur.close()
                    self.lake.note(error)
                    if not self.lake.shared or not getattr(self._fresh_will_do, "now", False):
                        raise self._unreadable(error) from error
                    cur = self._con.cursor()
            with self._lock:
                hot = tuple(self._hot)
        deadline = DEADLINE if deadline is None else deadline
        watched = ExitStack()
        try:
            watched.enter_context(self._deadlines.within(cur, deadline))
            messages = pa.Table.from_batches([h.rows.messages for h in hot], MESSAGES)
            frames = pa.Table.from_batches([h.rows.frames for h in hot], FRAMES)
            # Arrow cannot filter views, so the frames themselves stay out of SQL.
            places = pa.array(np.arange(frames.num_rows))
            narrow = frames.drop_columns(["frame"]).append_column("place", places)
            cur.register("hot_messages", messages)
            cur.register("hot_frames", narrow)
            yield Look(
                cur,
                {"messages": messages, "frames": narrow},
                frames["frame"],
                self.lake if stored else None,
                lambda only: self._hot_calls.of(hot) if only is None else self._hot_calls.of_some(hot, only),
            )
        except duckdb.InterruptException as error:
            raise TooMuch(
                f"the search took longer than {deadline:g} s; narrow it, for example with since:1h"
            ) from error
        except duckdb.OutOfMemoryException as error:
            raise TooMuch("the search needs more memory than allowed; narrow it, for example with since:1h") from error
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.FatalException) as error:
            if self.lake is None:
                raise
            self.lake.note(error)
            raise self._unreadable(error) from error
        finally:
            watched.close()
            if stored:
                with suppress(duckdb.Error):
                    cur.execute("ROLLBACK")  # closing would do so, too, and hold the interpreter's lock meanwhile
            cur.close()

    def _unreadable(self, error: duckdb.Error) -> Exception:
        assert self.lake is not None
        what = f"{self.lake.called} cannot be read: {self.lake.catalogue.reason(error)}"
        return Unreachable(what if self.lake.shared else f"{what}; import into another with --store")

    def calls(
        self, where: Filter | None, limit: int, before: tuple[int, str] | None = None, now: int | None = None
    ) -> list[CallSummary]:
        """Newest calls first (by start, then Call-ID) that match; `before` is the last row of the page before."""
        now = self.now() if now is None else now
        if where and where.texts and where.found is None:
            raise ValueError("the texts of this filter were not looked for")
        with self._look() as look:
            if where and where.found is not None:
                where.found.show(look.cur)
            if where and where.possible is not None:
                self.verdicts.show(look.cur)
            return newest_calls(look, where, limit, before, now)

    def look_for(self, where: Filter, before: int | None, seconds: float) -> tuple[Texts, int | None]:
        """Look for the filter's texts in messages, from the newest call that began before a time (ns) back, for about
        so long; an hour at least. Returns what was found, and since when calls were looked at: None for all."""
        texts, over = Texts(where.texts), budget(seconds)
        with self._look() as look:
            frames = look.hot["frames"]
            self._text_search.hot(texts, frames["call_id"], (look.frames, frames["payload"]))
            if not look.stored:
                return texts, None
            if where.since is None:
                raise SiptrailError("text: looks into every message; say since when beside it, for example since:2h")
            newest = first_row(look.cur.execute("SELECT max(last_ts) FROM lake.calls"))
            tops = [t for t in (before, where.until) if t is not None]
            must = min([*tops, newest[0] if newest and newest[0] is not None else 0])
            # A call that began at the end of an hour has most of its messages in the next one.
            files = by_slot(data_files(look.cur, ["frames", "packed"])) if self.lake else {}
            for slot in sorted(files, reverse=True):
                if not where.since - HOUR_NS < slot.start <= must + HOUR_NS:
                    continue
                some = slot.end <= must
                if some and over():
                    return texts, slot.end
                state = frozenset(f.path for f in files[slot])
                if not self._text_search.stored(texts, look.cur, slot, state, over if some else lambda: False):
                    return texts, slot.end
        return texts, None

    def call(self, call_id: str) -> CallSummary:
        """One call; NotFound when no message carries this Call-ID."""
        with self._look() as look:
            look.need_calls(pa.array([call_id], pa.string()))
            slots = look.hours([call_id])
            rows = look.source("calls", conditions(slots), one_of(slots))
            one = f"SELECT * FROM ({rows}) WHERE call_id = ?"
            found = summaries(look.cur, one, "true", [call_id], 1, self.now())
        if not found:
            raise unknown(call_id)
        return found[0]

    def calls_of(self, call_ids: Sequence[str], since: int, likely: int | None = None) -> list[CallSummary]:
        """Those of the calls that were alive after `since` (ns), in one query; unknown ones are left out. `likely`:
        most of them began after that time, and only for those that did not is looked further back."""
        if not call_ids:
            return []
        with self._look() as look:
            cur = look.cur
            wanted = pa.array(list(call_ids), pa.string())
            look.need_calls(wanted)
            cur.register("wanted", pa.table({"call_id": wanted}))
            some = "SELECT s.* FROM ({}) s JOIN wanted USING (call_id)"
            first = since if likely is None else max(since, likely)
            rows = look.source("calls", wanted=from_to(first, SANE[1]))
            cur.execute(f"CREATE TEMP TABLE found AS {some.format(rows)} WHERE last_ts >= {first}")
            if first > since:
                begun = cur.execute("SELECT DISTINCT call_id FROM found WHERE initial").to_arrow_table()["call_id"]
                wanted = wanted.filter(pc.invert(pc.is_in(wanted, begun)))
                if len(wanted):
                    cur.register("wanted", pa.table({"call_id": wanted}))
                    rows = look.source("calls", wanted=from_to(since, first))
                    cur.execute(f"INSERT INTO found {some.format(rows)} WHERE last_ts >= {since} AND last_ts < {first}")
            return summaries(cur, "SELECT * FROM found", "true", [], len(call_ids), self.now())

    def openings(self, call_ids: Sequence[str], between: tuple[int, int] | None = None) -> dict[str, Opening]:
        """How these calls began; what has no INVITE is left out. `between`: they did so between these times (ns)."""
        if not call_ids:
            return {}
        with self._look() as look:
            wanted = pa.array(list(call_ids), pa.string())
            look.need_calls(wanted)
            if between is None:
                slots = look.hours(call_ids)
                inside, among = conditions(slots), one_of(slots)
                calls = look.source("calls", inside, among)
            else:
                inside, among = (hours(*between),), from_to(*between)
                # A call may be answered, and end, in the hour after the one in which it began.
                calls = look.calls_between(between[0], between[1] + HOUR_NS)
            there = {t: look.stored_rows(t, among) if look.stored else None for t in ("messages", "frames", "packed")}
            return openings(look.cur, wanted, calls, look.hot, look.frames, there, " OR ".join(inside))

    def ask(
        self,
        sql: str,
        parameters: dict[str, Any],
        tables: Mapping[str, pa.Table] | None = None,
        between: tuple[int, int] | None = None,
        steps: Mapping[str, str] | None = None,
    ) -> list[tuple[Any, ...]]:
        """What a question over partial call rows gives; `{source}` in it stands for those rows, and it may name
        `tables`. `between`: those of the hours from one time (ns) to another. `steps`: questions that come first, whose
        answers are tables, too, for those that follow."""
        with self._look() as look:
            for name, table in (tables or {}).items():
                look.cur.register(name, table)
            source = look.source("calls") if between is None else look.calls_between(*between)
            for name, step in (steps or {}).items():
                look.cur.register(name, look.cur.execute(step.format(source=source), parameters).to_arrow_table())
            return look.cur.execute(sql.format(source=source), parameters).fetchall()

    def tallies(self, questions: Sequence[Question], node: str | None = None) -> tuple[list[list[Tally]], bool]:
        """Answers to all of these questions, and whether the store had its say: under `fresh_will_do` there may be
        only what is in memory. `node`: calls that it recorded."""
        if not questions:
            return [], True
        with self._counted(questions, self.now(), node) as look:
            return [tally(look.cur, q, self.now()) for q in questions], look.stored or self.lake is None

    def resends(
        self, since: int, until: int, step: int, per: str, node: str | None = None
    ) -> tuple[list[Resends], bool]:
        """Requests that were sent again, by host (see index.resends), and whether the store had its say. `node`: those
        that it recorded."""
        with self._look() as look:
            messages = look.source("messages", (hours(since, until),), from_to(since, until))
            found = resends(look.cur, messages, since, until, step, per, node)
            return found, look.stored or self.lake is None

    def starts(self, question: Question, until: int) -> list[Start]:
        """Every single call that the question is about and that began until then (ns)."""
        with self._counted([question], until, None) as look:
            return list(starts(look.cur, question))

    @contextmanager
    def _counted(self, questions: Sequence[Question], until: int, node: str | None) -> Iterator[Look]:
        with self._look() as look:
            if any(f is not None and f.possible is not None for q in questions for f in (q.among, q.where)):
                self.verdicts.show(look.cur)
            gather(look.cur, look.source("calls"), questions, self.now(), until, node)
            yield look

    def traces(
        self, call_ids: Sequence[str], alone: bool = False, between: tuple[int, int] | None = None
    ) -> dict[str, CallTrace]:
        """The messages of several calls, parsed; calls that are not there are left out. `alone`: without what the tap
        heard and lost around them, which takes most of the time. `between`: no message is from outside these times."""
        with self._look() as look:
            cur = look.cur
            messages, frames = look.fetch(call_ids, between)
            if "" in messages:
                messages[""] = messages_only(messages[""])
            # Of some nothing was seen but the ICMP errors that quote them.
            messages = {c: rows for c, rows in messages.items() if any(not r["flags"] & NO_MESSAGE for r in rows)}
            if not messages:
                return {}
            if alone:
                return {c: build_trace(c, rows, frames.get(c, []), 0, 0) for c, rows in messages.items()}
            out = {}
            low = min(rows[0]["ts"] for rows in messages.values())
            high = max(rows[-1]["ts"] for rows in messages.values())
            around = Surroundings(cur, look.calls_between, low, high, self.lake is None)
            try:
                losses = self.losses(low - NEARBY_NS, high + NEARBY_NS)
            except (duckdb.Error, Unreachable):
                if look.stored:
                    raise
                losses = ()
            for call_id, rows in messages.items():
                start, end = rows[0]["ts"], rows[-1]["ts"]
                live = self.live_since is not None and start >= self.live_since
                span = (self.live_since or 0, self.now()) if live else around.listened(start, end)
                here = {r["node"] for r in rows} | {""}
                near = tuple(
                    x for x in losses if x.start <= end + NEARBY_NS and x.end >= start - NEARBY_NS and x.node in here
                )
                out[call_id] = build_trace(call_id, rows, frames.get(call_id, []), *span, losses=near)
            for call_id, hosts in around.heard(out).items():
                out[call_id] = replace(out[call_id], heard=hosts)
            return with_ends(look, out)

    def trace(self, call_id: str) -> CallTrace:
        """One call's messages; NotFound when there is none."""
        found = self.traces([call_id])
        if call_id not in found:
            raise unknown(call_id)
        return found[call_id]

    def frames(self, call_ids: Sequence[str]) -> list[Frame]:
        """The original frames of the calls in capture order, each once."""
        with self._look() as look:
            _, frames = look.fetch(call_ids)
        rows = sorted((r for rows in frames.values() for r in rows), key=lambda r: (r["frame_ts"], r["seq"], r["part"]))
        out: list[Frame] = []
        seen: set[tuple[Any, ...]] = set()
        for r in rows:
            # Several messages in one TCP segment each refer to the same frame; real copies of a packet differ in seq
            # and stand in different rows with part 0, so only frames of reassembled messages can be the same one twice.
            key = (r["frame_ts"], r["interface"], r["link"], r["frame"])
            if r["payload"] is not None or r["part"] > 0:
                if key in seen:
                    continue
                seen.add(key)
            out.append(Frame(r["frame_ts"], r["link"], r["interface"], r["original"], bytes(r["frame"])))
        return out

    def message_stats(self) -> dict[str, Any]:
        """Counts over all stored messages: messages, call_ids, methods, finals, transports, flags, first, last."""
        with self._look(120.0) as look:
            return count_messages(look.cur, look.source("messages"))

    def close(self) -> None:
        """Close the store; hot rows that were not flushed are gone."""
        if self.spool is not None:
            self.spool.close()
        if self.lake is None:
            self._con.close()
            return
        try:
            self.verdicts.keep()
        except (SiptrailError, OSError, duckdb.Error) as error:
            # They are worked out again when they are asked for: not worth a line beside a command's own error.
            log.info("findings are not kept: %s", " ".join(str(error).split())[:200])
        self.lake.close()


def unknown(call_id: str) -> NotFound:
    """The error that says so."""
    return NotFound(f"no call with Call-ID {call_id!r} is recorded here; `siptrail calls` lists what is")
