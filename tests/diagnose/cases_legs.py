"""What other legs of a call tell: a call that must fire, and its near miss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from calls import CALL_ID, CALLED, CALLER, START, Packet, reply, request, sdp
from case import Call, Case

from index.legs import CallLegs, Link
from index.summary import CallSummary

INVITE = request(body=sdp())
SWITCH = CALLED.rpartition(":")[0]
MAKERS = frozenset({SWITCH})


def refused(code: int = 503, reason: str = "Service Unavailable") -> Call:
    """The switch refuses at 0.4 s."""
    return (Packet(0, CALLER, CALLED, INVITE), Packet(0.4, CALLED, CALLER, reply(INVITE, code, reason)))


def leg(call_id: str, dst: str, state: str = "failed", code: int | None = 503) -> CallSummary:
    """A leg as it stands in lists."""
    times: tuple[Any, ...] = (None, None, None)
    return CallSummary(
        call_id, START, START + 1, state, "INVITE", "alice", "bob", CALLED, dst, "udp", code,
        {503: "Service Unavailable", 200: "OK", 404: "Not Found"}.get(code or 0, ""), 4, *times, (), (), "", "", "n",
    )  # fmt: skip


OWN = leg(CALL_ID, CALLED)
FIRST, SECOND = leg("first", "203.0.113.50:5060"), leg("second", "203.0.113.60:5060", code=404)
ALONE = CallLegs(CALL_ID, (OWN,), ())


def made(*further: CallSummary, doubtful: bool = False) -> CallLegs:
    """These legs were made for this call."""
    links = (Link(CALL_ID, c.call_id, 90, doubtful, ()) for c in further)
    return CallLegs(CALL_ID, (OWN, *further), tuple(links))


def beside(other: CallSummary) -> CallLegs:
    """This leg and another one were made for the same call."""
    links = (Link("in", CALL_ID, 90, False, ()), Link("in", other.call_id, 90, False, ()))
    return CallLegs(CALL_ID, (leg("in", CALLED), OWN, other), links)


CASES: dict[str, Case] = {
    "not-sent-on": Case(
        refused(404, "Not Found"),
        refused(404, "Not Found"),
        "warning",
        "likely",
        (SWITCH, "404 Not Found"),
        (1, 2, None),
        {"legs": ALONE, "makers": MAKERS},
        {"legs": ALONE},  # nobody saw it send anything on: its outgoing side may not be visible here
    ),
    "refused-on-next-leg": Case(
        refused(),
        refused(),
        "info",
        "likely",
        (SWITCH, "203.0.113.50", "203.0.113.60", "404 Not Found", "as 503 Service Unavailable"),
        (2, None, None),
        {"legs": made(FIRST, SECOND), "makers": MAKERS},
        {"legs": made(FIRST, SECOND, doubtful=True), "makers": MAKERS},
    ),
    "answered-on-another-leg": Case(
        refused(),
        refused(),
        "info",
        "likely",
        ("503 Service Unavailable", "203.0.113.60:5060"),
        (2, None),
        {"legs": beside(replace(SECOND, state="completed", final_code=200))},
        {"legs": beside(SECOND)},
    ),
}
