"""Session descriptions: which address, which direction and which codecs each stream has, and what garbage gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.sdp import Codec, Media, parse_sdp

OFFER = b"""v=0
o=- 1 2 IN IP4 192.0.2.9
s=call
c=IN IP4 192.0.2.1/127
t=0 0
a=inactive
a=ice-lite
m=audio 4000 RTP/AVP 0 18 96 101 13
a=rtpmap:96 opus/48000/2
a=rtpmap:101 telephone-event/8000
a=rtpmap:99 AMR/8000
a=fmtp:18 annexb=no
a=fmtp:99 octet-align=1
a=fmtp:101 0-16
a=sendonly
a=rtcp-mux
m=video 4002/2 RTP/SAVPF 97
c=IN IP6 2001:db8::2
a=rtpmap:97 H264/90000
m=image 0 udptl t38
c=IN IP4
"""


def streams(body: bytes) -> tuple[Media, ...]:
    sdp = parse_sdp(body)
    assert sdp is not None
    return sdp.media


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_offer(end: bytes) -> None:
    sdp = parse_sdp(OFFER.replace(b"\n", end))
    assert sdp is not None
    assert (sdp.origin, sdp.connection) == ("- 1 2 IN IP4 192.0.2.9", "192.0.2.1")
    assert sdp.attributes == (("inactive", None), ("ice-lite", None))
    audio, video, image = sdp.media
    assert (audio.kind, audio.port, audio.proto, audio.formats) == (
        "audio",
        4000,
        "RTP/AVP",
        ("0", "18", "96", "101", "13"),
    )
    assert (audio.connection, audio.address, audio.direction) == (None, "192.0.2.1", "sendonly")
    assert audio.codecs == (
        Codec(0, "PCMU", 8000, 1),
        Codec(18, "G729", 8000, 1, "annexb=no"),
        Codec(96, "opus", 48000, 2),
        Codec(101, "telephone-event", 8000, 1, "0-16"),
        Codec(13, "CN", 8000, 1),
    )
    assert (audio.attribute("rtcp-mux"), audio.attribute("ptime"), audio.attribute("fmtp")) == (
        "",
        None,
        "18 annexb=no",
    )
    assert (video.port, video.connection, video.address, video.direction) == (
        4002,
        "2001:db8::2",
        "2001:db8::2",
        "inactive",
    )
    assert (image.port, image.codecs, image.connection, image.address) == (0, (), "", "")
    assert sdp.lines[audio.lines[1][0]] == audio.lines[1][1] == "a=rtpmap:96 opus/48000/2"


def test_a_map_or_parameters_for_another_payload_type_change_nothing() -> None:
    (audio,) = streams(b"v=0\nm=audio 1 RTP/AVP 96\na=rtpmap:97 opus/48000\na=fmtp:97 useinbandfec=1\n")
    assert audio.codecs == (Codec(96, "pt96", 0, 1),)


@pytest.mark.parametrize(
    ("attribute", "codec"),
    [
        (b"a=rtpmap:8 G722/8000", Codec(8, "G722", 8000, 1)),
        (b"a=rtpmap:8 G729a", Codec(8, "G729a", 0, 1)),
        (b"a=rtpmap:8 L16/44100/x", Codec(8, "L16", 44100, 1)),
        (b"a=rtpmap:8 L16/fast/0", Codec(8, "L16", 0, 1)),
        (b"a=rtpmap:8", Codec(8, "PCMA", 8000, 1)),
        (b"a=rtpmap:8 ", Codec(8, "PCMA", 8000, 1)),
        (b"a=rtpmap:eight opus/48000", Codec(8, "PCMA", 8000, 1)),
        (b"a=rtpmap", Codec(8, "PCMA", 8000, 1)),
        (b"a=fmtp:8", Codec(8, "PCMA", 8000, 1, "")),
        (b"a=fmtp: 8 x", Codec(8, "PCMA", 8000, 1, "x")),
        (b"A=rtpmap:8 opus/48000", Codec(8, "PCMA", 8000, 1)),
    ],
)
def test_one_attribute(attribute: bytes, codec: Codec) -> None:
    (audio,) = streams(b"v=0\nm=audio 1 RTP/AVP 8\n" + attribute)
    assert audio.codecs == (codec,)


@pytest.mark.parametrize(
    ("line", "port", "proto", "formats"),
    [
        (b"m=", -1, "", ()),
        (b"m=audio", -1, "", ()),
        (b"m=audio port RTP/AVP 0", -1, "RTP/AVP", ("0",)),
        (b"m=audio 99999 RTP/AVP 0", 99999, "RTP/AVP", ("0",)),
        (b"m=audio 9999999999 RTP/AVP 0", -1, "RTP/AVP", ("0",)),
        (b"m=audio " + b"9" * 5000 + b" RTP/AVP 0", -1, "RTP/AVP", ("0",)),
        (b"m=audio -1 RTP/AVP 0", -1, "RTP/AVP", ("0",)),
        (b"m=audio 5  RTP/AVP   0", 5, "RTP/AVP", ("0",)),
        (b"m=audio 5 RTP/AVP -3 x 999999999999", 5, "RTP/AVP", ("-3", "x", "999999999999")),
    ],
)
def test_media_lines(line: bytes, port: int, proto: str, formats: tuple[str, ...]) -> None:
    (media,) = streams(b"v=0\n" + line + b"\n")
    assert (media.port, media.proto, media.formats) == (port, proto, formats)
    assert all(c.pt >= 0 for c in media.codecs)


@pytest.mark.parametrize(
    ("session", "media", "direction"),
    [
        ("", "", "sendrecv"),
        ("a=sendonly", "", "sendonly"),
        ("a=sendonly", "a=recvonly", "recvonly"),
        ("", "a=inactive", "inactive"),
        ("", "a=sendonly:x", "sendonly"),
        ("", "a=SENDONLY", "sendrecv"),
    ],
)
def test_direction(session: str, media: str, direction: str) -> None:
    (audio,) = streams(f"v=0\n{session}\nm=audio 1 RTP/AVP 0\n{media}\n".encode())
    assert audio.direction == direction


@pytest.mark.parametrize("body", [b"", b"\r\n", b"hello", b"<xml/>", b"\x00\x01\x02\x03", b"\xff" * 100])
def test_what_is_no_session_description(body: bytes) -> None:
    assert parse_sdp(body) is None


def test_no_media() -> None:
    sdp = parse_sdp(b"v=0\nc=IN IP4 192.0.2.1\n")
    assert sdp is not None and sdp.media == ()


@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(OFFER.split(b"\n")), max_size=20).map(b"\n".join)))
def test_nothing_raises(body: bytes) -> None:
    sdp = parse_sdp(body)
    if sdp is not None:
        assert len(sdp.media) == sum(line.startswith("m=") for line in sdp.lines)
        for media in sdp.media:
            assert media.address == (media.connection if media.connection is not None else sdp.connection or "")
            assert all(sdp.lines[n] == text for n, text in media.lines)
