"""No rule speaks because of messages that only this capture lacks: lost, before its begin, behind its end, or unseen.

Every call of every rule's pair is taken apart in each of these ways. A rule that speaks then and was silent before
reasons from absence, and so has to have asked the guards; the next rule is held to it by its own pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calls import CALL_ID, SECOND, START, Packet, findings, request
from case import Call
from cases import CASES
from test_file import pcap

from diagnose.file_desk import FileDesk
from diagnose.finding import Finding
from index.trace import Loss

DAY, HOUR = 86_400, 3_600
DUE = 32
OF_WHAT_IS_SEEN = {
    "hang-up-reason": "it reads a Reason header to the user, unless a rule that knows more does",
    "server-error": "it tells of a refusal that is there; what would have come of the next try does not unmake it",
    "failover": "it tells of ways that were tried, which are there",
    "capture-loss": "it tells of the loss itself",
    "one-sided-capture": "it tells of the missing direction itself",
}
"""Rules that may speak up when messages are taken away, and why that is no conclusion from absence."""
CALLS = {
    f"{name}, {kind}": (call, dict(tap))
    for name, case in CASES.items()
    for kind, call, tap in (
        ("fires", case.fires, case.tap),
        ("near miss", case.near_miss, case.tap if case.near_tap is None else case.near_tap),
    )
}
each_call = pytest.mark.parametrize(("call", "tap"), CALLS.values(), ids=list(CALLS))


def host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0]


def hosts(call: Call) -> frozenset[str]:
    return frozenset(host(p.dst) for p in call)


def in_order(call: Call) -> list[Packet]:
    return sorted(call, key=lambda p: p.at)


def new(call: Call, tap: dict[str, Any], *less: Packet, **how: Any) -> Iterator[Finding]:
    """What is told of the reduced call and was not told of the whole one."""
    before = {f.name for f in findings(*call, **tap)}
    for f in findings(*less, **{"heard": hosts(call), **tap, **how}):
        if f.name not in before and f.name not in OF_WHAT_IS_SEEN:
            yield f


def told(found: list[Finding]) -> list[str]:
    return [f"{f.name}: {f.headline}" for f in found]


@each_call
def test_what_a_lost_packet_would_have_refuted_is_only_possible(call: Call, tap: dict[str, Any]) -> None:
    times = [START + round(p.at * SECOND) for p in call]
    lost = (Loss("eth0", min(times), max(times) + SECOND, 1, "kernel"),)
    for gone in dict.fromkeys((p.src, p.dst, p.raw) for p in call):
        rest = [p for p in call if (p.src, p.dst, p.raw) != gone]
        if rest:
            sure = [f for f in new(call, tap, *rest, losses=lost) if f.confidence != "possible"]
            assert not told(sure), gone[2][:40]


@each_call
def test_what_came_before_the_capture_began_is_not_missed(call: Call, tap: dict[str, Any]) -> None:
    packets = in_order(call)
    for n in range(1, len(packets)):
        sure = [f for f in new(call, tap, *packets[n:], since=packets[n].at - 0.01) if f.confidence != "possible"]
        assert not told(sure), f"from message {n + 1} on"


@each_call
def test_what_comes_after_the_end_is_not_missed(call: Call, tap: dict[str, Any]) -> None:
    packets = in_order(call)
    for n in range(1, len(packets)):
        end = packets[n - 1].at
        for f in new(call, tap, *packets[:n], until=end + 0.01):
            first = next((e.message for e in f.evidence if e.message is not None), 1)
            waited = end - packets[first - 1].at
            # Four sends in vain tell of themselves, if the finding says that the end came too soon.
            doubted = f.confidence != "certain" and any("capture ends" in e.text for e in f.evidence)
            assert waited >= DUE or doubted, f"{f.name} after {n} messages: {f.headline}"


@each_call
def test_what_goes_past_this_capture_point_is_not_missed(call: Call, tap: dict[str, Any]) -> None:
    for unseen in hosts(call):
        rest = [p for p in call if host(p.dst) != unseen]
        if rest:
            assert not told(list(new(call, tap, *rest, heard=hosts(tuple(rest))))), f"nothing to {unseen} is seen"


@each_call
def test_a_clock_that_is_set_makes_nobody_late(call: Call, tap: dict[str, Any]) -> None:
    packets = in_order(call)
    for n in range(1, len(packets)):
        moved = [*packets[:n], *(replace(p, at=p.at + DAY) for p in packets[n:])]
        sure = [f for f in new(call, tap, *moved) if f.confidence != "possible"]
        assert not told(sure), f"set before message {n + 1}"


# Those whose times contradict the protocol without that are left out.
@pytest.mark.parametrize(
    ("call", "tap"), [p for name, p in CALLS.items() if not name.startswith("clocks-disagree")],
    ids=[name for name in CALLS if not name.startswith("clocks-disagree")],
)  # fmt: skip
def test_a_clock_that_is_set_back_unmakes_no_order(call: Call, tap: dict[str, Any]) -> None:
    packets = [replace(p, number=n) for n, p in enumerate(in_order(call))]
    for n in range(1, len(packets)):
        moved = [*packets[:n], *(replace(p, at=p.at - HOUR) for p in packets[n:])]
        sure = [f for f in new(call, tap, *moved, since=-2 * HOUR) if f.confidence != "possible"]
        assert not told([f for f in sure if f.name != "clocks-disagree"]), f"set back before message {n + 1}"


FROM_FILES = (
    "invite-unanswered",
    "missing-ack",
    "bye-unanswered",
    "request-unanswered",
    "challenge-unanswered",
    "cancel-without-effect",
    "stuck-after-trying",
    "prack-missing",
    "refusal-unacknowledged",
)


@pytest.mark.parametrize("name", FROM_FILES)
def test_a_file_that_ends_too_soon_proves_nothing(name: str, tmp_path: Path) -> None:
    """The same packets, and those of another call up to 40 s later, or to the end; both directions are seen."""
    call = CASES[name].fires
    first = in_order(call)[0]
    seen = {}
    for wait in (40.0, 0.0):
        packets = [p for p in call if wait or p.at - first.at < 3]
        end = max(p.at for p in packets) + wait
        other = [
            Packet(at, src, dst, request("OPTIONS").replace(CALL_ID.encode(), b"other"))
            for src, dst in ((first.dst, first.src), (first.src, first.dst))
            for at in (first.at, end)
        ]
        path = tmp_path / f"{wait:.0f}.pcap"
        path.write_bytes(pcap([*packets, *other]))
        desk = FileDesk(str(path), "n", frozenset({5060}), True)
        try:
            seen[wait] = [f.name for f in desk.findings(CALL_ID)]
        finally:
            desk.close()
    assert name in seen[40.0] and name not in seen[0.0]
