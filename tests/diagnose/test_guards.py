"""Silence is believed only where this capture would have seen the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls import (
    CALLED,
    CALLER,
    FAR,
    INVITE_TIMES,
    NAT,
    PROXY,
    SECOND,
    START,
    Packet,
    bye,
    findings,
    one,
    only,
    reply,
    request,
    resent,
    trace,
)
from cases import INVITE, no_ack, unanswered

from capture.flags import FRAGMENT_LOST, STREAM_GAP, TRUNCATED
from diagnose.engine import diagnose as judge
from diagnose.engine import load_rules
from index.trace import Loss

BOTH = frozenset({NAT, PROXY})
LOST = (Loss("eth0", START, START + SECOND, 9, "kernel"),)
SILENT = "invite-unanswered"


def test_the_deadline_is_64_times_t1() -> None:
    assert only(SILENT, *unanswered()[:3], heard=BOTH, until=31.9) == []
    assert one(SILENT, *unanswered()[:3], heard=BOTH, until=32.1)


@pytest.mark.parametrize("sends", [1, 2, 7])
def test_the_sends_are_counted(sends: int) -> None:
    found = one(SILENT, *unanswered()[:sends], heard=BOTH)
    assert f"({sends} sent)" in found.headline
    assert f"was sent {sends} × within {[0, *INVITE_TIMES][sends - 1]:.1f} s" in found.evidence[0].text


def test_only_one_direction_is_visible() -> None:
    """No packet to the caller was ever captured, so its answers would not be either."""
    assert [f.name for f in findings(*unanswered(), heard=frozenset({PROXY}))] == ["one-sided-capture"]
    assert [f.name for f in findings(*unanswered(), heard=BOTH)] == [SILENT]


def test_only_answers_are_visible() -> None:
    """The called side is never spoken to, though it answers: its requests pass elsewhere."""
    ok = Packet(50, CALLED, CALLER, reply(INVITE, 200))
    assert one("one-sided-capture", ok).evidence[0].text.startswith("200 for INVITE from 198.51.100.10")
    assert only("one-sided-capture", replace(ok, at=1), since=0) == [], "the INVITE may be older than the capture"


def test_the_call_began_before_the_capture() -> None:
    begun = request(to_tag="called", cseq=7)
    assert findings(*resent(Packet(0, CALLER, CALLED, begun), 0.5, 1.5), heard=BOTH) == ()
    no_start = [p for p in no_ack() if p.raw != INVITE]
    assert only("missing-ack", *no_start, heard=BOTH) == []
    assert one("missing-ack", *no_ack(), heard=BOTH)


@pytest.mark.parametrize(("name", "call"), [(SILENT, unanswered()), ("missing-ack", no_ack())])
def test_capture_loss_lowers_confidence(name: str, call: tuple[Packet, ...]) -> None:
    assert one(name, *call, heard=BOTH).confidence == "certain"
    doubted = one(name, *call, heard=BOTH, losses=LOST)
    assert doubted.confidence == "possible"
    assert "9 packets were lost by the capture" in doubted.evidence[-1].text
    assert one("capture-loss", *call, heard=BOTH, losses=LOST).severity == "info"


@pytest.mark.parametrize("flag", [STREAM_GAP, FRAGMENT_LOST])
def test_a_hole_in_the_call_lowers_confidence(flag: int) -> None:
    call = [replace(p, flags=flag) if n == 2 else p for n, p in enumerate(unanswered())]
    assert one(SILENT, *call, heard=BOTH).confidence == "possible"
    assert "message 3" in one("capture-loss", *call, heard=BOTH).headline


def test_what_an_agent_cut_is_no_fault_of_the_snap_length() -> None:
    called = trace(*(replace(p, flags=TRUNCATED) if n == 0 else p for n, p in enumerate(unanswered())), heard=BOTH)
    for interface, words in (("eth0", "was cut by the capture's snap length"), ("hep:fs", "not handed over whole")):
        seen = replace(called, messages=tuple(replace(m, interface=interface) for m in called.messages))
        (found,) = [f for f in judge(seen, load_rules(None)) if f.name == "capture-loss"]
        assert words in found.headline
        assert ("FreeSWITCH" in found.advice) == (interface == "hep:fs")


def test_the_file_ends_before_the_answer_is_due() -> None:
    for name in (SILENT, "one-sided-capture"):
        assert only(name, *unanswered()[:3], heard=BOTH if name == SILENT else frozenset({PROXY}), until=20) == []


def test_the_clock_was_set_while_the_answer_was_due() -> None:
    """Two hours between an INVITE and its resend: it was not the network that took so long."""
    jumped = [replace(p, at=p.at + 7200) if p.at > 3 else p for p in unanswered()]
    assert only(SILENT, *jumped, heard=BOTH) == []


def test_a_long_talk_is_no_jump() -> None:
    """A silent first target, then four hours of talk by way of a second."""
    again = request(branch="z9hG4bK2", cseq=1)
    calls = (
        *unanswered()[:2],
        Packet(5, CALLER, f"{FAR}:5060", again),
        Packet(6, f"{FAR}:5060", CALLER, reply(again, 200)),
        Packet(14_400, CALLER, f"{FAR}:5060", bye()),
    )
    found = one(SILENT, *calls)
    assert found.severity == "warning"
    assert found.evidence[-1].text == f"another target, {FAR}, then answered: the call did not fail"
    assert found.evidence[-1].message == 4


def test_each_silent_target_is_named() -> None:
    second = Packet(33, CALLER, f"{FAR}:5060", request(branch="z9hG4bK2"))
    found = only(SILENT, *unanswered(), second, heard=BOTH)
    assert [f.headline for f in found] == [
        f"Nothing came back from {CALLED} for the INVITE (7 sent).",
        f"Nothing came back from {FAR}:5060 for the INVITE (1 sent).",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        Packet(40, CALLED, CALLER, reply(INVITE, 503, "Late")),
        Packet(1, f"{FAR}:5060", CALLER, reply(INVITE, 486, "Busy Here")),
        Packet(1, CALLED, CALLER, reply(INVITE, 100, "Trying").replace(b"z9hG4bK1", b"z9hG4bKspoilt")),
    ],
    ids=["late", "from another address", "with another branch"],
)
def test_anything_that_came_back_is_not_nothing(answer: Packet) -> None:
    assert only(SILENT, *unanswered(), answer) == []


def test_old_branches_belong_to_their_own_hop() -> None:
    """Without the magic cookie two hops may use the same branch: the answer on one is none on the other."""
    old = request(branch="1")
    calls = (
        Packet(0, CALLER, CALLED, old),
        Packet(0.1, CALLED, CALLER, reply(old, 100, "Trying")),
        Packet(0.2, CALLED, f"{FAR}:5060", old),
    )
    assert FAR in one(SILENT, *calls).headline


def test_rules_are_loaded_when_none_are_given() -> None:
    made = replace(trace(*unanswered()), heard=BOTH)
    assert judge(made) == judge(made, load_rules())
