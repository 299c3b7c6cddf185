"""Pairs of rules about streams, their protection, and the way through a NAT."""

from __future__ import annotations

from calls import CALLED, CALLER, NAT, PHONE, PROXY, Packet, ack, answered, bye, reply, request, resent, sdp
from case import Call, Case

VIDEO = "m=video 4002 RTP/AVP 34"
EVENTS = "a=rtpmap:101 telephone-event/8000"
CRYPTO = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"


def late(answer: str) -> Call:
    """The 200 makes the offer; the ACK answers, or does not."""
    invite = request()
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(1, CALLED, CALLER, reply(invite, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY))),
        Packet(1.1, CALLER, CALLED, ack(invite, body=answer)),
    )


def secure(address: str, *lines: str) -> str:
    """A body whose audio is secure RTP."""
    return sdp(address, "0", *lines).replace("RTP/AVP", "RTP/SAVP")


def rang(back_to: str) -> Call:
    """A phone behind a NAT asks with rport and asks again; its 180 goes to `back_to`."""
    invite = request(via=f"{PHONE}:5060", contact=f"<sip:alice@{NAT}:31044>")
    first = Packet(0, f"{NAT}:31044", CALLED, invite)
    return (*resent(first, 0.5, 1.5), Packet(0.6, CALLED, back_to, reply(invite, 180, "Ringing")))


def registered(*ports: int, every: float = 300.1) -> Call:
    """A phone behind a NAT registers and registers again, each time from one of these ports."""
    out: list[Packet] = []
    for n, port in enumerate(ports, 1):
        asks = request(
            "REGISTER", via=f"{PHONE}:5060", cseq=n, branch=f"z9hG4bK{n}", contact=f"<sip:alice@{PHONE}:5060>"
        )
        sent = Packet((n - 1) * every, f"{NAT}:{port}", CALLED, asks)
        kept = f"<sip:alice@{PHONE}:5060>;expires=3600"
        out += [sent, Packet(sent.at + 0.1, CALLED, f"{NAT}:{port}", reply(asks, 200, contact=kept))]
    return tuple(out)


def half_rewritten(contact: str) -> Call:
    """The Via and the c= have the public address, o= and perhaps the Contact the private one."""
    body = sdp(NAT).replace(f"o=- 1 1 IN IP4 {NAT}", f"o=- 1 1 IN IP4 {PHONE}")
    invite = request(contact=f"<sip:alice@{contact}:5060>", body=body)
    return (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, reply(invite, 486, "Busy Here")))


def changed(codec: str) -> Call:
    """A re-INVITE in which payload type 97 is `codec`, where it was speex/8000 before."""
    first = answered(sdp(NAT, "97", "a=rtpmap:97 speex/8000"), sdp(PROXY, "97", "a=rtpmap:97 speex/8000"))
    again = request(body=sdp(NAT, "97", f"a=rtpmap:97 {codec}"), cseq=2, branch="z9hG4bK2", to_tag="called")
    ok = reply(again, 200, body=sdp(PROXY, "97", f"a=rtpmap:97 {codec}"), contact=f"<sip:bob@{CALLED}>")
    return (
        *first,
        Packet(9, CALLER, CALLED, again),
        Packet(9.1, CALLED, CALLER, ok.replace(b"97", b"98") if codec != "speex/8000" else ok),
    )


def previewed(port: int) -> Call:
    """A 183 with SDP, and a 200 with `port` where the 183 had 4000."""
    invite = request(body=sdp(NAT))
    ok = reply(invite, 200, body=sdp(PROXY, port=port), contact=f"<sip:bob@{CALLED}>")
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(1, CALLED, CALLER, reply(invite, 183, "Session Progress", body=sdp(PROXY))),
        Packet(5, CALLED, CALLER, ok),
        Packet(5.1, CALLER, CALLED, ack(invite)),
    )


OTHER_KEY = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"
IMAGE = "v=0\r\no=- 1 2 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=image 4006 udptl t38\r\n"


def dtls(address: str, setup: str) -> str:
    """A body as a browser writes it."""
    return secure(address, "a=fingerprint:sha-256 AA:BB", f"a=setup:{setup}").replace("RTP/SAVP", "UDP/TLS/RTP/SAVPF")


def fax(code: int) -> Call:
    """A call that wants to go over to T.38."""
    again = request(body=IMAGE.format(NAT), cseq=2, branch="z9hG4bK2", to_tag="called")
    body = IMAGE.format(PROXY) if code == 200 else ""
    final = reply(again, code, "OK" if body else "Not Acceptable Here", body=body, contact=f"<sip:bob@{CALLED}>")
    return (
        *answered(sdp(NAT, "8"), sdp(PROXY, "8")),
        Packet(9, CALLER, CALLED, again),
        Packet(9.1, CALLED, CALLER, final),
    )


def held(rest: float) -> Call:
    """The caller holds the call, and hangs up `rest` seconds later."""
    again = request(body=sdp(NAT, "0", "a=sendonly"), cseq=2, branch="z9hG4bK2", to_tag="called")
    ok = reply(again, 200, body=sdp(PROXY, "0", "a=recvonly"), contact=f"<sip:bob@{CALLED}>")
    return (
        *answered(sdp(NAT, "0"), sdp(PROXY, "0")),
        Packet(9, CALLER, CALLED, again),
        Packet(10, CALLED, CALLER, ok),
        Packet(10.1, CALLER, CALLED, ack(again)),
        Packet(10 + rest, CALLER, CALLED, bye(cseq=3)),
    )


def amr(offered: str, taken: str) -> Call:
    """AMR with and without octets in line."""
    a, b = (("a=rtpmap:97 AMR/8000", f"a=fmtp:97 octet-align={x}") for x in (offered, taken))
    return answered(sdp(NAT, "97", *a), sdp(PROXY, "97", *b))


def refreshed(version: str, port: int) -> Call:
    """A re-INVITE with another port, whose o= line says `version`; the answer stays what it was."""
    body = sdp(NAT, "0", port=port).replace("o=- 1 1", f"o=- {version}")
    again = request(body=body, cseq=2, branch="z9hG4bK2", to_tag="called")
    ok = reply(again, 200, body=sdp(PROXY, "0"), contact=f"<sip:bob@{CALLED}>")
    return (
        *answered(sdp(NAT, "0"), sdp(PROXY, "0")),
        Packet(9, CALLER, CALLED, again),
        Packet(9.1, CALLED, CALLER, ok),
    )


CASES: dict[str, Case] = {
    "answer-streams-misaligned": Case(
        answered(sdp(NAT, "0", VIDEO), sdp(PROXY, "0")),
        answered(sdp(NAT, "0", VIDEO), sdp(PROXY, "0", VIDEO.replace("4002", "0"))),
        "error",
        "certain",
        (PROXY, "1 m= line", "2"),
        (1, 2, 1),
    ),
    "illegal-direction-in-answer": Case(
        answered(sdp(NAT, "0", "a=recvonly"), sdp(PROXY, "0", "a=recvonly")),
        answered(sdp(NAT, "0", "a=recvonly"), sdp(PROXY, "0", "a=sendonly")),
        "error",
        "certain",
        (PROXY, "recvonly", "neither sends"),
        (1, 2),
    ),
    "late-offer-broken": Case(
        late(""),
        late(sdp(NAT)),
        "critical",
        "certain",
        (NAT, PROXY, "ACK without an answer"),
        (1, 2, 3),
    ),
    "srtp-profile-mismatch": Case(
        answered(secure(NAT, CRYPTO), sdp(PROXY, "0")),
        answered(secure(NAT, CRYPTO), secure(PROXY, CRYPTO)),
        "critical",
        "certain",
        (PROXY, "answers RTP/AVP to an offer of RTP/SAVP"),
        (1, 2),
    ),
    "dtmf-not-agreed": Case(
        answered(sdp(NAT, "0 101", EVENTS), sdp(PROXY, "0")),
        answered(sdp(NAT, "0 101", EVENTS), sdp(PROXY, "0 96", EVENTS.replace("101", "96"))),
        "warning",
        "certain",
        (NAT, f"{PROXY} answers no telephone-event"),
        (1, 2),
    ),
    "reply-to-wrong-place": Case(
        rang(f"{PHONE}:5060"),
        rang(f"{NAT}:31044"),
        "critical",
        "certain",
        (PROXY, f"{PHONE}:5060", f"{NAT}:31044"),
        (1, 3, 4),
    ),
    "nat-binding-expired": Case(
        registered(31044, 52001),
        registered(31044, 31044),
        "warning",
        "possible",
        (NAT, "port 31044", "300.0 s", "calls to it"),
        (1, 3),
    ),
    "sip-alg-suspected": Case(
        half_rewritten(PHONE),
        half_rewritten(NAT),
        "warning",
        "likely",
        (NAT, "2 signs"),
        (1, 1),
    ),
    "payload-type-remapped": Case(
        changed("speex/16000"),
        changed("speex/8000"),
        "error",
        "certain",
        (NAT, "payload type 97 to speex/16000", "speex/8000"),
        (1, 4),
    ),
    "payload-type-undefined": Case(
        answered(sdp(NAT, "97"), sdp(PROXY, "0")),
        answered(sdp(NAT, "97", "a=rtpmap:97 speex/8000"), sdp(PROXY, "0")),
        "error",
        "certain",
        (NAT, "payload type 97", "no audio codec is left"),
        (1,),
    ),
    "ptime-mismatch": Case(
        answered(sdp(NAT, "0", "a=ptime:20"), sdp(PROXY, "0", "a=ptime:60")),
        answered(sdp(NAT, "0", "a=ptime:20"), sdp(PROXY, "0", "a=ptime:20")),
        "info",
        "certain",
        (NAT, "20 ms", PROXY, "60 ms"),
        (1, 2),
    ),
    "stream-refused": Case(
        answered(sdp(NAT, "0", VIDEO), sdp(PROXY, "0", VIDEO.replace("4002", "0"))),
        answered(sdp(NAT, "0", VIDEO), sdp(PROXY, "0", VIDEO)),
        "info",
        "certain",
        (PROXY, "takes no video"),
        (1, 2),
    ),
    "address-family-mismatch": Case(
        answered(sdp(NAT, "0"), sdp(PROXY, "0").replace(f"IP4 {PROXY}", "IP6 2001:db8::7")),
        answered(sdp(NAT, "0"), sdp(PROXY, "0")),
        "error",
        "likely",
        (NAT, "IPv4", PROXY, "IPv6"),
        (1, 2),
    ),
    "early-media-trap": Case(
        previewed(4010),
        previewed(4000),
        "warning",
        "certain",
        (PROXY, "port", "4000 became 4010"),
        (2, 3),
    ),
    "dtls-setup-invalid": Case(
        answered(dtls(NAT, "actpass"), dtls(PROXY, "actpass")),
        answered(dtls(NAT, "actpass"), dtls(PROXY, "active")),
        "error",
        "certain",
        (PROXY, "setup:actpass", "both wait"),
        (1, 2),
    ),
    "sdes-keys-invalid": Case(
        answered(secure(NAT, CRYPTO), secure(PROXY, CRYPTO.replace("_80", "_32"))),
        answered(secure(NAT, CRYPTO), secure(PROXY, OTHER_KEY)),
        "critical",
        "certain",
        (PROXY, "AES_CM_128_HMAC_SHA1_32", "was not offered"),
        (1, 2),
    ),
    "t38-refused": Case(
        fax(488),
        fax(200),
        "error",
        "certain",
        (PROXY, NAT, "488 Not Acceptable Here"),
        (4, 5),
    ),
    "call-left-on-hold": Case(
        held(100),
        held(20),
        "warning",
        "possible",
        (NAT, "100.0 s"),
        (4, 5, 7),
    ),
    "carrier-grade-nat": Case(
        answered(sdp("100.72.3.4"), sdp(PROXY)),
        answered(sdp("100.128.3.4"), sdp(PROXY)),
        "info",
        "certain",
        (NAT, "SDP says 100.72.3.4"),
        (1,),
    ),
    "contact-unreachable": Case(
        answered(sdp(), sdp(PROXY), contact="<sip:alice@0.0.0.0:5060>"),
        answered(sdp(), sdp(PROXY), contact="<sip:alice@0.0.0.0:5060;alias=203.0.113.9~5060~1>"),
        "error",
        "certain",
        (NAT, "sip:alice@0.0.0.0:5060", "no address"),
        (1,),
    ),
    "codec-parameters-differ": Case(
        amr("1", "0"),
        amr("1", "1"),
        "warning",
        "likely",
        (PROXY, NAT, "AMR with octet-align=0"),
        (1, 2),
    ),
    "sdp-version-misused": Case(
        refreshed("1 1", 4010),
        refreshed("1 2", 4010),
        "info",
        "certain",
        (NAT, "version 1"),
        (1, 4),
    ),
}
