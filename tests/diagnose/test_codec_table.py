"""Offers and answers side by side: what was agreed, who sends, why a stream was refused, where media goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls import CALLED, CALLER, FAR, NAT, PHONE, PROXY, Packet, ack, answered, reply, request, sdp, trace

from diagnose.codec_table import Stream, Table, tables
from diagnose.codec_text import render

OFFER = sdp(NAT, "8 18 101", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=ptime:20")
ANSWER = sdp(PROXY, "18 96", "a=rtpmap:96 telephone-event/8000", "a=fmtp:18 annexb=no")
SECRET = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"


def exchange(offer: str = OFFER, answer: str = ANSWER, code: int = 200, reason: str = "OK") -> Table:
    (found,) = tables(trace(*answered(offer, answer, code, reason)))
    return found


def stream(offer: str = OFFER, answer: str = ANSWER, code: int = 200, reason: str = "OK") -> Stream:
    return exchange(offer, answer, code, reason).streams[0]


def test_codecs_keep_their_order_and_numbers_and_the_common_ones_are_marked() -> None:
    s = stream()
    assert [(f.pt, f.name, f.fmtp, f.agreed) for f in s.offer.formats] == [
        ("8", "PCMA/8000", "", False),
        ("18", "G729/8000", "", True),
        ("101", "telephone-event/8000", "0-15", True),
    ]
    assert s.answer is not None
    assert [(f.pt, f.name, f.agreed) for f in s.answer.formats] == [
        ("18", "G729/8000", True),
        ("96", "telephone-event/8000", True),
    ]
    assert (s.state, s.agreed, s.flow, s.why) == ("agreed", ("G729/8000",), "both ways", "")
    assert (s.offer.dtmf, s.answer.dtmf) == (("101/8000 (0-15)",), ("96/8000",))
    assert (s.offer.ptime, s.answer.ptime, s.offer.address, s.offer.port) == ("20", "", NAT, 4000)


@pytest.mark.parametrize(
    ("offered", "got", "flow"),
    [
        ("sendrecv", "sendrecv", "both ways"),
        ("sendonly", "recvonly", "from the offerer only"),
        ("sendrecv", "sendonly", "from the answerer only"),
        ("recvonly", "recvonly", "nobody sends"),
        ("inactive", "inactive", "nobody sends"),
    ],
)
def test_who_sends(offered: str, got: str, flow: str) -> None:
    s = stream(OFFER + f"a={offered}\r\n", ANSWER + f"a={got}\r\n")
    assert (s.flow, s.offer.direction, s.answer.direction if s.answer else "") == (flow, offered, got)


def test_srtp_is_told_without_its_keys() -> None:
    sdes = OFFER.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {SECRET}\r\n"
    dtls = OFFER.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF") + "a=fingerprint:SHA-256 AB:CD\r\na=setup:actpass\r\n"
    assert stream(sdes, sdes).offer.srtp == ("crypto AES_CM_128_HMAC_SHA1_80",)
    assert stream(dtls, dtls).offer.srtp == ("fingerprint sha-256", "setup actpass")
    assert stream(dtls, dtls).offer.profile == "UDP/TLS/RTP/SAVPF"
    found = tables(trace(*answered(sdes, sdes)))
    assert SECRET not in render(found) and SECRET not in str(found[0].to_json())


def test_a_refusal_with_what_would_be_possible() -> None:
    s = stream(sdp(NAT, "18"), sdp(PROXY, "0 8"), 488, "Not Acceptable Here")
    assert (s.state, s.answer) == ("refused", None)
    assert s.why == f"488 Not Acceptable Here from {PROXY}; no common codec: it could take PCMU/8000, PCMA/8000"
    s = stream(OFFER, OFFER.replace("RTP/AVP", "RTP/SAVP"), 488, "Not Acceptable Here")
    assert s.why.endswith("it was offered as RTP/AVP, the other side takes RTP/SAVP")


def test_a_refusal_that_says_nothing_and_one_that_is_not_about_media() -> None:
    def failed(code: int, reason: str, *extra: str) -> Stream:
        invite, _, _ = answered(OFFER, ANSWER)
        final = Packet(1, CALLED, CALLER, reply(invite.raw, code, reason, extra=extra))
        return tables(trace(invite, final))[0].streams[0]

    assert "does not say what did not fit" in failed(488, "Not Acceptable Here").why
    assert 'Warning: 304 p "x"' in failed(488, "Not Acceptable Here", 'Warning: 304 p "x"').why
    assert failed(486, "Busy Here").why == f"486 Busy Here from {PROXY}: the call failed, not this stream alone"


def test_streams_that_are_refused_in_an_answer() -> None:
    video = OFFER + "m=video 5000 RTP/AVP 34\r\n"
    first, second = exchange(video, ANSWER + "m=video 0 RTP/AVP 34\r\n").streams
    assert (first.state, second.state) == ("agreed", "refused")
    assert second.why.startswith("the answerer takes no video") and second.agreed == ()
    assert "fewer streams" in exchange(video, ANSWER).streams[1].why
    both = OFFER.replace("RTP/AVP", "RTP/SAVP") + OFFER[OFFER.index("m=audio") :]
    plain = ANSWER[ANSWER.index("m=audio") :]
    pair = exchange(both, ANSWER.replace("audio 4000 RTP/AVP", "audio 0 RTP/SAVP") + plain).streams
    assert pair[0].why == "stream 2, of the same kind as RTP/AVP, was taken in its place"
    assert "no common codec" in stream(sdp(NAT, "18"), sdp(PROXY, "8", port=0)).why
    assert stream(sdp(NAT, "8", port=0), sdp(PROXY, "8", port=0)).why == "the offer itself switches it off (port 0)"
    assert "port 0 in the answer" in stream(sdp(NAT, "8"), sdp(PROXY, "8", port=0)).why


def test_an_answer_with_nothing_of_the_offer_is_said() -> None:
    s = stream(sdp(NAT, "18"), sdp(PROXY, "8"))
    assert (s.state, s.agreed) == ("agreed", ()) and "names no codec of the offer" in s.why


def test_fax_has_formats_without_codecs() -> None:
    fax = f"v=0\r\no=- 1 1 IN IP4 {NAT}\r\ns=-\r\nc=IN IP4 {NAT}\r\nt=0 0\r\nm=image 4000 udptl t38\r\n"
    s = stream(fax, fax)
    assert (s.state, s.agreed, s.why, s.offer.formats[0].name) == ("agreed", ("t38",), "", "t38")


def test_a_late_offer_is_answered_in_the_ack() -> None:
    invite = request()
    final = reply(invite, 200, body=ANSWER, contact=f"<sip:bob@{CALLED}>")
    call = [Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, final)]
    (t,) = tables(trace(*call, Packet(1.1, CALLER, CALLED, ack(invite, body=OFFER))))
    assert (t.offered_in, t.offer, t.offerer, t.answered_in, t.answer) == ("200 OK", 2, PROXY, "ACK", 3)
    assert t.streams[0].state == "agreed"
    (t,) = tables(trace(*call, Packet(1.1, CALLER, CALLED, ack(invite))))
    assert t.streams[0].state == "open" and "ACK" in t.streams[0].why


def test_hops_that_pass_it_on_are_counted_and_a_reinvite_is_an_exchange_of_its_own() -> None:
    first = answered(OFFER, ANSWER)
    onward = [replace(p, at=p.at + 0.01, src=CALLED, dst=f"{FAR}:5060") for p in first[:1]]
    back = [replace(p, at=p.at - 0.01, src=f"{FAR}:5060", dst=CALLED) for p in first[1:2]]
    again = request(body=OFFER + "a=sendonly\r\n", cseq=2, to_tag="called", branch="z9hG4bK2")
    held = reply(again, 200, body=ANSWER + "a=recvonly\r\n")
    found = tables(trace(*first, *onward, *back, Packet(9, CALLER, CALLED, again), Packet(9.1, CALLED, CALLER, held)))
    assert [(t.number, t.hops, t.offered_in) for t in found] == [(1, 2, "INVITE"), (2, 1, "re-INVITE")]
    assert found[1].streams[0].flow == "from the offerer only"
    assert "the same on 1 more hop" in render(found)


ADDRESSES = {
    NAT: "",
    "0.0.0.0": "hold",
    "media.example.org": "is a name",
    PHONE: "behind NAT",
    PROXY: "takes part in the signalling",
    "203.0.113.77": "neighbour",
    FAR: "media relay",
    "2001:db8::1": "the other IP version",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_why_media_is_elsewhere(address: str) -> None:
    body = OFFER.replace(f"c=IN IP4 {NAT}", f"c=IN IP{6 if ':' in address else 4} {address}")
    note = stream(body).offer.note
    assert ADDRESSES[address] in note and bool(note) == bool(ADDRESSES[address])


def test_a_relay_that_a_proxy_put_in() -> None:
    invite = request(body=OFFER)
    onward = request(body=OFFER.replace(f"c=IN IP4 {NAT}", f"c=IN IP4 {FAR}"), branch="z9hG4bKp", via=CALLED)
    call = [Packet(0, CALLER, CALLED, invite), Packet(0.1, CALLED, "192.0.2.200:5060", onward)]
    notes = [t.streams[0].offer.note for t in tables(trace(*call))]
    assert notes == ["", f"{PROXY} put it in place of {NAT}: media goes through a relay (SBC, rtpengine, rtpproxy)"]


def test_text_of_the_wire_is_made_printable_and_lines_fit() -> None:
    text = render(tables(trace(*answered(OFFER + f"a=fmtp:18 \x1b[2J{'y' * 100}\r\n", ANSWER))))
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 80


def test_a_call_without_sdp() -> None:
    found = tables(trace(Packet(0, CALLER, CALLED, request("OPTIONS"))))
    assert found == () and render(found) == "no offer with SDP was seen in this call"
