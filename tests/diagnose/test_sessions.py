"""Who speaks where one fault has several consequences: CANCELs, closed ports, refused changes."""

from __future__ import annotations

from calls import (
    CALLED,
    CALLER,
    NAT,
    OK_TIMES,
    PHONE,
    PROXY,
    Packet,
    ack,
    bye,
    findings,
    one,
    only,
    reply,
    request,
    resent,
    sdp,
)
from cases_sessions import CANCEL, INVITE, TALK, changed, crossed

BOTH = {"heard": frozenset({NAT, PROXY})}


def test_an_answer_after_a_cancel_is_no_missing_ack_as_well() -> None:
    ok = resent(crossed(False)[-1], *OK_TIMES)
    over = Packet(37.1, CALLED, CALLER, bye(CALLED, from_tag="called", to_tag="caller"))
    gone = Packet(37.2, CALLER, CALLED, reply(over.raw, 481, "Call/Transaction Does Not Exist"))
    call = (*crossed(False)[:-1], *ok, over, gone)
    assert [f.name for f in findings(*call, **BOTH)] == ["answer-crossed-cancel"]
    without = [p for p in call if b"CANCEL" not in p.raw]
    assert {f.name for f in findings(*without, **BOTH)} >= {"missing-ack", "dialog-unknown-to-peer"}


def moved(*lost: Packet, later: bytes) -> list[Packet]:
    """A telephone registers, something is sent to its port in vain, and it comes back from another port."""
    told = {"via": f"{PHONE}:5060", "contact": ""}
    first = request("REGISTER", **told)
    return [
        Packet(0, f"{NAT}:31044", CALLED, first),
        Packet(0.1, CALLED, f"{NAT}:31044", reply(first, 200)),
        *lost,
        Packet(300, f"{NAT}:31077", CALLED, later),
        Packet(300.1, CALLED, f"{NAT}:31077", reply(later, 200)),
    ]


def test_what_is_lost_at_a_closed_port_is_told_with_the_port() -> None:
    ping = request("OPTIONS", via=CALLED, branch="z9hG4bKping", cseq=7)
    lost = resent(Packet(200, CALLED, f"{NAT}:31044", ping), 0.5, 1.5, 3.5)
    again = request("REGISTER", via=f"{PHONE}:5060", contact="", cseq=2, branch="z9hG4bK2")
    named = {f.name for f in findings(*moved(*lost, later=again), **BOTH)}
    assert "nat-binding-expired" in named and "request-unanswered" not in named
    assert one("request-unanswered", *moved(*lost, later=again)[:-2], until=300, **BOTH)


def test_a_bye_to_a_closed_port_is_told_with_the_port() -> None:
    invite = request(via=f"{PHONE}:5060", contact=f"<sip:alice@{NAT}:31044>", body=sdp(NAT))
    here = f"{NAT}:31044"
    over = bye(CALLED, from_tag="called", to_tag="caller")
    back = request("INVITE", via=f"{PHONE}:5060", cseq=2, to_tag="called", branch="z9hG4bKre", body=sdp(NAT))
    call = [
        Packet(0, here, CALLED, invite),
        Packet(1, CALLED, here, reply(invite, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY))),
        Packet(1.1, here, CALLED, ack(invite).replace(CALLER.encode(), f"{PHONE}:5060".encode())),
        *resent(Packet(200, CALLED, here, over), *OK_TIMES),
        Packet(240, f"{NAT}:31077", CALLED, back),
        Packet(240.1, CALLED, f"{NAT}:31077", reply(back, 481, "No Such Call")),
    ]
    named = {f.name for f in findings(*call, **BOTH)}
    assert "nat-binding-expired" in named and "bye-unanswered" not in named
    assert one("bye-unanswered", *call[:-2], **BOTH).severity == "warning"


def test_a_bye_after_a_missing_ack_is_context() -> None:
    ok = Packet(1, CALLED, CALLER, reply(INVITE, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY)))
    over = bye(CALLED, from_tag="called", to_tag="caller")
    lost = resent(Packet(33, CALLED, CALLER, over), *OK_TIMES)
    call = (Packet(0, CALLER, CALLED, INVITE), *resent(ok, *OK_TIMES), *lost)
    assert one("bye-unanswered", *call, **BOTH).severity == "info"
    assert one("missing-ack", *call, **BOTH).severity == "critical"


def test_a_change_that_is_refused_is_no_matter_of_codecs_the_call_already_has() -> None:
    assert only("no-common-codec", *changed(488, "Not Acceptable Here")) == []
    other = request(body=sdp(NAT, "9"), branch="z9hG4bKre", cseq=2, to_tag="called")
    refused = Packet(10.1, CALLED, CALLER, reply(other, 488, "Not Acceptable Here"))
    assert one("no-common-codec", *TALK, Packet(10, CALLER, CALLED, other), refused)


def test_a_cancel_that_ran_into_a_timeout_was_written_rightly() -> None:
    gone = Packet(37, CALLED, CALLER, reply(CANCEL, 408, "Request Timeout"))
    found = one("cancel-refused", *crossed(False)[:3], gone, **BOTH)
    assert "the hop behind it is gone" in found.advice and "has to repeat" not in found.advice


def test_a_cancel_that_was_heeded_is_no_race() -> None:
    ended = Packet(5.1, CALLED, CALLER, reply(INVITE, 487, "Request Terminated"))
    own_ack = Packet(5.2, CALLER, CALLED, request("ACK", to_tag="called", contact=""))
    call = (*crossed(False)[:-1], ended, own_ack)
    assert any(p.raw == CANCEL for p in call)
    assert only("answer-crossed-cancel", *call, **BOTH) == []
