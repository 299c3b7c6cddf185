"""Failed calls for the tests of this folder."""

from __future__ import annotations

from typing import Any

from alerts.event import FailureEvent, Notice
from index.summary import CallSummary

START = 1_700_000_000_000_000_000


def call(state: str, code: int | None = None, **more: Any) -> CallSummary:
    values: dict[str, Any] = dict(
        call_id="c1",
        start=START,
        end=START + 9,
        state=state,
        method="INVITE",
        from_user="a",
        to_user="b",
        src="192.0.2.1:5060",
        dst="198.51.100.9:5060",
        transport="udp",
        final_code=code,
        final_reason=None,
        messages=3,
        pdd_ms=None,
        ring_ms=None,
        talk_ms=None,
        codecs=(),
        findings=(),
        headline="",
        severity="",
        node="n1",
    )
    return CallSummary(**(values | more))


def event(
    number: int = 0, peer: str = "198.51.100.9", code: int | None = 503, finding: str = "", at: int = START
) -> FailureEvent:
    return FailureEvent(at, peer, code, "", f"call/{number}", f"INVITE to {peer} failed: {code}", finding)


def notice(number: int = 0, action: str = "open") -> Notice:
    return Notice(
        action,
        "invite-failed",
        "198.51.100.9",
        503,
        "",
        "INVITE failed: 503",
        1,
        START + number,
        START + number,
        (f"call/{number}",),
        "http://127.0.0.1:8060",
    )
