"""Two calls side by side: noise is left out, what differs is told, the most telling first."""

from __future__ import annotations

from typing import Any

import pytest
from calls import CALLED, CALLER, FAR, NAT, PROXY, Packet, answered, bye, reply, request, sdp, trace

from diagnose.compare import LONGEST, Comparison, compare
from diagnose.compare_text import render

CODECS = ("a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no", "a=rtpmap:101 telephone-event/8000", "a=ptime:20")


def call(offer: str = "", answer: str = "", code: int = 200, reason: str = "OK", **more: Any) -> list[Packet]:
    return [*answered(offer or sdp(NAT), answer or sdp(PROXY), code, reason, **more)]


def told(a: list[Packet], b: list[Packet]) -> Comparison:
    return compare(trace(*a), trace(*b))


def whats(c: Comparison) -> list[str]:
    return [d.what for d in c.differences]


def one(a: list[Packet], b: list[Packet], what: str) -> tuple[str, str]:
    """Both sides of the one difference of that name."""
    (found,) = [d for d in told(a, b).differences if d.what == what]
    return found.first, found.second


def test_equal_calls_with_other_addresses_tags_branches_and_ports() -> None:
    other = f"{FAR}:5070"
    invite = request(
        via=other, branch="z9hG4bKother", contact=f"<sip:alice@{other}>", body=sdp(FAR, port=9), from_tag="x"
    )
    there = [
        Packet(100, other, CALLED, invite),
        Packet(
            100.9, CALLED, other, reply(invite, 200, body=sdp(PROXY, port=7), contact=f"<sip:bob@{CALLED}>", to_tag="y")
        ),
        Packet(101, other, CALLED, request("ACK", via=other, branch="z9hG4bKa", to_tag="y", from_tag="x", contact="")),
    ]
    found = told(call(), there)
    assert found.differences == () and all(p.equal for p in found.steps) and not found.cut
    assert "Nothing differs but" in render(found)


def test_the_final_code_leads_then_what_the_offer_had_before() -> None:
    good, bad = call(offer=sdp(NAT, "0 8")), call(offer=sdp(NAT, "18"), code=488, reason="Not Acceptable Here")
    found = told(good, bad)
    assert whats(found)[:2] == ["final response to INVITE", "SDP audio 1 codecs"]
    assert one(good, bad, "final response to INVITE") == ("200 OK", "488 Not Acceptable Here")
    assert one(good, bad, "SDP audio 1 codecs") == ("PCMU/8000, PCMA/8000", "G729/8000")
    assert (found.first.outcome, found.second.outcome) == ("200 OK", "488 Not Acceptable Here")


def test_a_missing_and_an_extra_step() -> None:
    good = [*call(), Packet(9, CALLER, CALLED, bye())]
    found = told(good[:2], good)
    assert [(p.first is None, p.second is None) for p in found.steps] == [(False, False)] * 2 + [(True, False)] * 2
    assert [(d.what, d.first, d.second, d.numbers) for d in found.differences] == [
        ("step ACK", "-", "sent once", (None, 3)),
        ("step BYE", "-", "sent once", (None, 4)),
    ]
    assert [d.first for d in told(good, good[:2]).differences] == ["sent once", "sent once"]


def test_repetitions_are_one_step() -> None:
    good = call()
    lost = [good[0], Packet(0.5, CALLER, CALLED, good[0].raw), Packet(1.5, CALLER, CALLED, good[0].raw), *good[1:]]
    found = told(good, lost)
    assert len(found.steps) == 3
    assert one(good, lost, "repetitions of INVITE") == ("once", "3 times")


def test_slow_answers_are_told_but_not_slow_people() -> None:
    def ringing(at: float, answered_at: float) -> list[Packet]:
        invite, final, ack = call()
        early = Packet(at, CALLED, CALLER, reply(invite.raw, 180, "Ringing"))
        return [
            invite,
            early,
            Packet(answered_at, CALLED, CALLER, final.raw),
            Packet(answered_at + 1, CALLER, CALLED, ack.raw),
        ]

    found = told(ringing(0.2, 5), ringing(6, 8))
    assert [(d.kind, d.first, d.second) for d in found.differences] == [("time", "200 ms", "6.0 s")]
    assert told(ringing(0.2, 1), ringing(0.9, 2)).differences == ()
    (late,) = told(ringing(0.2, 1), ringing(0.2, 20)).differences
    assert late.weight < 20, "when somebody picks up the phone says little"


BASE = sdp(NAT, "18 101", *CODECS)
CHANGES = {
    "fmtp": (
        sdp(NAT, "18 101", CODECS[0], "a=fmtp:18 annexb=yes", *CODECS[2:]),
        "SDP audio 1 fmtp of G729/8000",
        "annexb=no",
        "annexb=yes",
    ),
    "direction": (BASE + "a=sendonly\r\n", "SDP audio 1 direction", "sendrecv", "sendonly"),
    "ptime": (BASE.replace("ptime:20", "ptime:30"), "SDP audio 1 ptime", "20", "30"),
    "refused": (BASE.replace("audio 4000", "audio 0"), "SDP audio 1 stream", "wanted", "refused (port 0)"),
    "profile": (BASE.replace("RTP/AVP", "RTP/SAVP"), "SDP audio 1 profile", "RTP/AVP", "RTP/SAVP"),
    "keys": (
        BASE + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\n",
        "SDP audio 1 keys",
        "-",
        "crypto AES_CM_128_HMAC_SHA1_80",
    ),
    "streams": (BASE + "m=video 5000 RTP/AVP 34\r\n", "SDP streams", "audio", "audio, video"),
    "address": (
        BASE.replace(f"c=IN IP4 {NAT}", "c=IN IP4 10.9.9.9"),
        "SDP audio 1 address",
        f"{NAT} (host 1)",
        "10.9.9.9 (private, no host of this call)",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_sdp_differences_are_told_alone(name: str) -> None:
    changed, what, first, second = CHANGES[name]
    (d,) = told(call(offer=BASE), call(offer=changed)).differences
    assert (d.what, d.first, d.second, d.numbers) == (what, first, second, (1, 1))
    assert "secret" not in render(told(call(offer=BASE), call(offer=changed)))


HEADERS = {
    "User-Agent": (["User-Agent: A 1"], ["User-Agent: B 2"], "User-Agent", "A 1", "B 2"),
    "Supported": (
        ["Supported: timer, 100rel"],
        ["Supported: 100rel,replaces"],
        "Supported",
        "also timer",
        "also replaces",
    ),
    "order of a set": (["Allow: INVITE, ACK"], ["Allow: ack,invite"], None, "", ""),
    "Session-Expires": (
        ["Session-Expires: 1800"],
        ["x: 90;refresher=uas"],
        "Session-Expires",
        "1800",
        "90;refresher=uas",
    ),
    "Require": ([], ["Require: 100rel"], "Require", "-", "100rel"),
    "Record-Route": (
        ["Record-Route: <sip:p;lr>, <sip:q;lr>"],
        ["Record-Route: <sip:p;lr>"],
        "Record-Route headers",
        "2",
        "1",
    ),
    "own headers": ([], ["X-Trunk: gold"], "header X-Trunk", "-", "present"),
    "noise": (["Max-Forwards: 70", "Date: today"], ["Max-Forwards: 68"], None, "", ""),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header_differences_are_told_alone(name: str) -> None:
    mine, theirs, what, first, second = HEADERS[name]
    found = told([call(extra=mine)[0]], [call(extra=theirs)[0]]).differences
    assert [(d.what, d.first, d.second) for d in found] == ([(what, first, second)] if what else [])


def test_a_private_contact_and_missing_rport() -> None:
    good = [call()[0]]
    bad = [Packet(0, CALLER, CALLED, request(body=sdp(NAT), rport=False, contact="<sip:alice@192.168.1.20:5060>"))]
    assert one(good, bad, "Contact host") == (f"{NAT} (host 1)", "192.168.1.20 (private, no host of this call)")
    assert one(good, bad, "Via rport") == ("present", "-")
    assert whats(told(good, bad))[0] == "Contact host"


def test_the_way_a_number_is_written_counts_more_than_the_number() -> None:
    def dialled(number: str) -> list[Packet]:
        return [Packet(0, CALLER, CALLED, request().replace(b"sip:bob@", f"sip:{number}@".encode()))]

    assert whats(told(dialled("+441632960001"), dialled("+441632960002"))) == ["Request-URI user", "To user"]
    first = told(dialled("+441632960001"), dialled("01632960001")).differences[0]
    assert (first.what, first.first, first.second) == ("Request-URI number format", "+441632960001", "01632960001")
    assert first.weight > 50 > told(dialled("+441632960001"), dialled("+441632960002")).differences[0].weight


def test_hops_that_say_the_same_are_told_once() -> None:
    def through(agent: str) -> list[Packet]:
        raw = request(extra=[f"User-Agent: {agent}"])
        return [Packet(0, CALLER, CALLED, raw), Packet(0.1, CALLED, f"{FAR}:5060", raw)]

    (d,) = told(through("A"), through("B")).differences
    assert (d.what, d.times) == ("User-Agent", 2)


def test_what_a_refusal_says_of_itself_is_told_and_its_missing_sdp_is_not() -> None:
    bad = call(code=488, reason="Not Acceptable Here")
    invite = bad[0].raw
    bad[1] = Packet(
        1, CALLED, CALLER, reply(invite, 488, "Not Acceptable Here", extra=['Warning: 305 p "Incompatible"'])
    )
    found = whats(told(call(), bad))
    assert found[:2] == ["final response to INVITE", "Warning"] and "SDP" not in found


def test_long_calls_are_cut_and_it_is_said() -> None:
    many = [Packet(n, CALLER, CALLED, request("OPTIONS", branch=f"z9hG4bK{n}", cseq=n + 1)) for n in range(LONGEST + 5)]
    found = told(many, many)
    assert found.cut and len(found.steps) == LONGEST and found.differences == ()
    assert f"its first {LONGEST} steps" in render(found)


def test_nothing_of_the_wire_reaches_the_terminal_unescaped_and_lines_fit() -> None:
    bad = [Packet(0, CALLER, CALLED, request(extra=["User-Agent: \x1b[2J" + "x" * 2000]))]
    text = render(told([call()[0]], bad))
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 80 and len(text) < 1500
