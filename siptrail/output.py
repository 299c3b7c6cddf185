"""What the commands print: lists, one call, diagnosis, statistics. Pure text; the wire's text is made printable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from capture.flags import names as flag_names
from diagnose.codec_table import tables
from diagnose.codec_text import render as render_media
from diagnose.compare import compare
from diagnose.compare_text import render as render_comparison
from diagnose.desk import Desk
from diagnose.finding import Finding
from index.ladder import Ladder, layout, leg_name
from index.ladder_json import render_json
from index.ladder_mermaid import render_mermaid
from index.ladder_svg import render_svg
from index.ladder_text import render_text
from index.legs import CallLegs, Link
from index.summary import CallSummary, Stats, rfc3339
from index.trace import CallTrace
from sip.errors import SiptrailError
from sip.text import printable
from siptrail.tlstable import ADVICE, tls_lines

_COLUMNS = (
    ("start", 21),
    ("method", 9),
    ("from", 16),
    ("to", 16),
    ("source", 21),
    ("destination", 21),
    ("msgs", 4),
    ("state", 10),
    ("code", 4),
    ("talk", 8),
    ("what is wrong", 0),
)


def header_line() -> str:
    """Column titles of `call_line`."""
    return "  ".join(title.upper().ljust(width) for title, width in _COLUMNS).rstrip()


def call_line(call: CallSummary) -> str:
    """One call on one line."""
    cells = (
        rfc3339(call.start)[5:26].replace("T", " "),
        call.method,
        call.from_user,
        call.to_user,
        call.src,
        call.dst,
        str(call.messages),
        call.state,
        str(call.final_code or ""),
        seconds(call.talk_ms),
        call.headline or call.final_reason or "",
    )
    # The Call-ID goes last on a line of its own: it is what every other command wants, and it must stay whole.
    line = "  ".join(_fit(printable(c), w) for c, (_, w) in zip(cells, _COLUMNS, strict=True)).rstrip()
    return f"{line}\n  {printable(call.call_id)}"


def _fit(text: str, width: int) -> str:
    if not width or len(text) <= width:
        return text.ljust(width)
    return text[: width - 1] + "…"


def seconds(ms: float | None) -> str:
    """Milliseconds as seconds in words; '' for what did not happen."""
    return "" if ms is None else f"{ms / 1000:.1f}s" if ms < 600_000 else f"{ms / 60000:.0f}min"


def csv_cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula and no terminal for an escape."""
    text = ";".join(value) if isinstance(value, list) else "" if value is None else str(value)
    text = printable(text)
    return "'" + text if text[:1] in ("=", "+", "-", "@") and not _number(text) else text


def _number(text: str) -> bool:
    return text.lstrip("+-").replace(".", "", 1).isdigit()


def draw(trace: CallTrace, format: str, headline: str = "") -> str:
    """The ladder in one of its formats."""
    renderers: dict[str, Callable[[Ladder], str]] = {
        "text": render_text,
        "svg": render_svg,
        "mermaid": render_mermaid,
        "json": lambda shape: json.dumps(render_json(shape), indent=2, ensure_ascii=False),
    }
    if format not in renderers:
        raise SiptrailError(f"{format!r} is no ladder format; choose text, svg, mermaid or json")
    return renderers[format](layout(trace, headline=headline)).rstrip("\n")


def show_call(desk: Desk, call_id: str, messages: bool, as_json: bool, media: bool = False) -> str:
    """Summary, findings and ladder of a call; every message in full, or offers and answers, when asked."""
    call, trace, findings = desk.call(call_id), desk.trace(call_id), desk.findings(call_id)
    if as_json:
        record = call.to_json() | {"findings": [f.to_json() for f in findings]}
        if messages:
            record["messages"] = [
                {
                    "number": n,
                    "ts": rfc3339(m.ts),
                    "src": str(m.src),
                    "dst": str(m.dst),
                    "transport": m.transport,
                    "interface": m.interface,
                    "seen": m.seen,
                    "retransmission": m.retransmission,
                    "flags": flag_names(m.flags),
                    "text": m.sip.raw.decode("utf-8", "backslashreplace"),
                }
                for n, m in enumerate(trace.messages, 1)
            ]
        record["legs"] = [c.call_id for c in desk.legs(call_id).calls if c.call_id != call_id]
        if media:
            record["media"] = [t.to_json() for t in tables(trace)]
        return json.dumps(record, ensure_ascii=True)
    out = [
        f"Call-ID  {printable(call.call_id)}",
        f"State    {call.state}"
        + (f" ({call.final_code} {printable(call.final_reason or '')})" if call.final_code else ""),
        f"From     {printable(call.from_user)}  ({call.src})",
        f"To       {printable(call.to_user)}  ({call.dst})",
        f"Time     {rfc3339(call.start)} to {rfc3339(call.end)}, {call.messages} messages",
    ]
    facts = [
        f"{name} {seconds(value)}"
        for name, value in (("post-dial delay", call.pdd_ms), ("ringing", call.ring_ms), ("talk", call.talk_ms))
        if value is not None
    ]
    if call.codecs:
        facts.append("codecs " + ", ".join(printable(c) for c in call.codecs))
    if facts:
        out.append("Facts    " + "; ".join(facts))
    if call.flags:
        out.append("Capture  " + ", ".join(flag_names(call.flags)))
    out += [f"Leg      {line}" for line in _other_legs(desk.legs(call_id))]
    out += ["", *(finding_text(f) for f in findings)]
    if messages:
        for n, m in enumerate(trace.messages, 1):
            marks = (" (retransmission)" if m.retransmission else "") + (f" (seen {m.seen} ×)" if m.seen > 1 else "")
            out += [
                "",
                f"--- {n}  {rfc3339(m.ts)}  {m.src} → {m.dst}  {m.transport}  {m.interface}{marks}",
                *(
                    printable(line)
                    for line in m.sip.raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
                ),
            ]
    if media:
        out += ["", render_media(tables(trace))]
    if not messages and not media:
        out += ["", draw(trace, "text")]
    return "\n".join(out).rstrip()


def legs_text(legs: CallLegs, as_json: bool) -> str:
    """The legs of a call as a list, each with what its link rests on."""
    if as_json:
        return json.dumps(legs.to_json(), ensure_ascii=True)
    if len(legs.calls) == 1:
        return "this call has no other leg here" + (f"\n{_CAPPED}" if legs.capped else "")
    names = {call.call_id: leg_name(n) for n, call in enumerate(legs.calls)}
    out = [f"   {header_line()}"]
    for call in legs.calls:
        line, _, call_id = call_line(call).partition("\n")
        out += [f"{names[call.call_id]}  {line}", f"   {call_id}"]
        out += [f"     {_made_for(x, names)}" for x in legs.links if x.child == call.call_id]
    if len(legs.sure) < len(legs.calls):
        out.append("Doubtful legs are neither drawn nor exported with --legs; look at each on its own.")
    return "\n".join([*out, *([_CAPPED] if legs.capped else [])])


def _other_legs(legs: CallLegs) -> list[str]:
    return [
        f"{'' if call.call_id in legs.sure else 'perhaps '}{printable(call.call_id)}  "
        f"({call.src} to {call.dst}, {call.state}{f' {call.final_code}' if call.final_code else ''})"
        for call in legs.calls
        if call.call_id != legs.call_id
    ]


_CAPPED = "So many calls were alike at that time that not all were looked at: a leg may be missing."


def _made_for(x: Link, names: dict[str, str]) -> str:
    doubt = "perhaps " if x.doubtful else ""
    return f"{doubt}made for {names[x.parent]}: {printable(x.why)}"


def finding_text(f: Finding) -> str:
    """One finding in words."""
    out = [f"{f.severity.upper()} ({f.confidence})  {f.name}: {printable(f.headline)}"]
    for e in f.evidence:
        where = f"message {e.message}: " if e.message else ""
        out.append(f"    {where}{printable(e.text)}" + (f"\n      > {printable(e.line)}" if e.line else ""))
    out.append(f"    What to do: {printable(f.advice)}  [{f.reference}]")
    return "\n".join(out)


def diagnosis(
    told: Iterable[tuple[str, tuple[Finding, ...]]], as_json: bool, whole_file: bool = False
) -> tuple[str, bool]:
    """Findings by Call-ID as text or JSON, of one call or of a whole file; and whether any is an error or worse."""
    out, bad, quiet, number = [], False, 0, 0
    for one, findings in told:
        number += 1
        bad = bad or any(f.severity in ("critical", "error") for f in findings)
        if as_json:
            out.append(json.dumps({"call_id": one, "findings": [f.to_json() for f in findings]}, ensure_ascii=True))
        elif findings:
            out += ["" if not out else "\n", f"Call-ID {printable(one)}", *(finding_text(f) for f in findings)]
        else:
            quiet += 1
    if not as_json:
        if not whole_file and quiet:
            out.append("nothing wrong found in this call's signalling")
        elif whole_file:
            out.append(f"{number} {'call' if number == 1 else 'calls'}, {number - quiet} with findings")
    return "\n".join(x for x in out if x).strip("\n"), bad


def compared(first: CallTrace, second: CallTrace, as_json: bool) -> str:
    """What differs between two calls."""
    found = compare(first, second)
    return json.dumps(found.to_json(), ensure_ascii=True) if as_json else render_comparison(found)


def stats_text(stats: Stats, as_json: bool) -> str:
    """The counters, for people or machines."""
    from dataclasses import asdict

    record = asdict(stats)
    if as_json:
        return json.dumps(record)
    out = []
    for key, value in record.items():
        if key == "tls":
            lines = list(tls_lines(value or []))
            if stats.encrypted and not stats.decrypted:
                lines.append(ADVICE)
            out += [f"{key if n == 0 else '':18}{line}" for n, line in enumerate(lines)]
        elif isinstance(value, dict):
            text = ", ".join(
                f"{printable(k)} {printable(str(v))}"
                for k, v in sorted(value.items(), key=lambda kv: -kv[1] if isinstance(kv[1], int) else 0)
            )
            out.append(f"{key:18}{text or '-'}")
        elif value is not None:
            out.append(f"{key:18}{value}")
    return "\n".join(out)
