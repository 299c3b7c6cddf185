"""What TLS tells in the clear: hellos and alerts, from real handshakes, and from whatever bytes come."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.careful import CarefulDecoder
from capture.frames import Frame
from capture.limits import Limits
from capture.tlspeers import TlsAlert, TlsPeer, merged
from capture.tlsrecords import ALERTS, MOST_HELLO, MOST_READ, Alert, ClientHello, ServerHello, TlsReader
from tests.capture.tlstalk import NAME, V12, V13, Talk, certificate
from tests.capture.wire import A6, B6, A, B, decode, ether, frame, ip4, ip6, sip, syn, tcp, tcp_frame

VERSION = {V12: "TLS 1.2", V13: "TLS 1.3"}
FATAL = b"\x15\x03\x03\x00\x02\x02\x28"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


def told(frames: Iterable[Frame], limits: Limits | None = None) -> tuple[TlsPeer, ...]:
    """The table after these frames, none of which is SIP."""
    decoder = CarefulDecoder(limits=limits or Limits())
    assert decode(frames, decoder, flush=True) == []
    return decoder.tls_peers()


def payloads(talk: Talk, from_client: bool) -> bytes:
    """What one side of it sent."""
    port = (talk.sport if from_client else talk.dport).to_bytes(2, "big")
    return b"".join(f.data[54:] for f in talk.frames if f.data[34:36] == port)


# ---------------------------------------------------------------- real handshakes


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", [V12, V13])
def test_a_handshake_tells_name_protocol_and_version(pem: Path, version: ssl.TLSVersion) -> None:
    talk = Talk(pem, version, alpn=("sip/2", "http/1.1")).handshake().say(sip()).say(sip("two"), False)
    (peer,) = told(talk.frames)
    assert (peer.client, peer.server, peer.connections, peer.unanswered) == (A, f"{B}:5061", 1, 0)
    assert (peer.server_names, peer.versions, peer.alerts) == ((NAME,), (VERSION[version],), ())
    # TLS 1.3 encrypts which one the server took, so both offers are told.
    assert peer.alpn == (("sip/2",) if version is V12 else ("sip/2", "http/1.1"))
    with_data = [f for f in talk.frames if len(f.data) > 54]
    assert peer.segments == len(with_data)
    assert peer.bytes == sum(len(f.data) - 54 for f in with_data)
    assert (peer.first, peer.last) == (with_data[0].ts, with_data[-1].ts)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", [V12, V13])
def test_who_refuses_the_certificate_is_told(pem: Path, version: ssl.TLSVersion) -> None:
    (peer,) = told(Talk(pem, version, trusting=False).handshake().frames)
    assert peer.alerts == (TlsAlert("client", "fatal", "unknown_ca", 1),)
    assert peer.unanswered == 0


@pytest.mark.needs("openssl")
def test_a_client_hello_without_an_answer(pem: Path) -> None:
    talk = Talk(pem).handshake()
    (peer,) = told(f for f in talk.frames if f.data[36:38] == b"\x13\xc5")
    assert (peer.connections, peer.unanswered, peer.versions) == (1, 1, ("TLS 1.3",))
    hello_of = talk.frames[2].data[54:]
    given_up = frame(
        ether(ip4(6, tcp(record(21, b"\x01\x5a"), 1001 + len(hello_of), sport=talk.sport, dport=5061))), 10**8
    )
    (peer,) = told([talk.frames[0], talk.frames[2], given_up])
    assert (peer.unanswered, peer.alerts) == (1, (TlsAlert("client", "warning", "user_canceled", 1),))
    silent = Talk(pem, sport=40002, start=10**9).handshake()
    (peer,) = told([*talk.frames, *(f for f in silent.frames if f.data[36:38] == b"\x13\xc5")])
    assert (peer.connections, peer.unanswered) == (2, 1)


@pytest.mark.needs("openssl")
def test_a_server_that_refuses_has_answered(pem: Path) -> None:
    talk = Talk(pem).handshake()
    refused = frame(ether(ip4(6, tcp(FATAL, 70_001, sport=5061, dport=talk.sport), src=B, dst=A)), 10**7)
    (peer,) = told([*talk.frames[:3], refused])
    assert peer.alerts == (TlsAlert("server", "fatal", "handshake_failure", 1),)
    assert peer.unanswered == 0


@pytest.mark.needs("openssl")
def test_segments_in_any_order_and_ports_used_again(pem: Path) -> None:
    first, again = Talk(pem, segment=100).handshake(), Talk(pem, V12, start=10**9, first_byte=5_000_000).handshake()
    swapped = list(first.frames)
    swapped[2], swapped[3] = swapped[3], swapped[2]
    (peer,) = told([*swapped, *again.frames])
    assert (peer.server_names, peer.connections, peer.unanswered) == ((NAME,), 2, 0)
    assert peer.versions == ("TLS 1.3", "TLS 1.2")


@pytest.mark.needs("openssl")
@given(cuts=st.lists(st.integers(1, 900), max_size=6), version=st.sampled_from([V12, V13]))
def test_however_segments_cut_it(pem: Path, cuts: list[int], version: ssl.TLSVersion) -> None:
    stream = payloads(Talk(pem, version, alpn=("sip/2",)).handshake(), True)
    reader, out, at = TlsReader(), [], 0
    for cut in sorted(cuts):
        out += reader.feed(stream[at:cut])
        at = max(at, cut)
    out += reader.feed(stream[at:])
    assert [e for e in out if isinstance(e, ClientHello)] == [ClientHello(NAME, ("sip/2",), (VERSION[version],))]


# ---------------------------------------------------------------- joined midway, other roads, bounds


def test_a_connection_joined_midway_has_its_roles_by_the_port() -> None:
    record = b"\x17\x03\x03\x00\x10" + bytes(16)
    back = frame(ether(ip6(6, tcp(record, 5, sport=5061, dport=40000), src=B6, dst=A6)), 1)
    there = frame(ether(ip6(6, tcp(record, 5, sport=40000, dport=5061), src=A6, dst=B6)), 2)
    (peer,) = told([back, there])
    assert (peer.client, peer.server, peer.connections, peer.segments) == (A6, f"[{B6}]:5061", 1, 2)
    assert (peer.server_names, peer.versions, peer.unanswered) == ((), (), 0)


def test_elsewhere_tls_is_none_of_our_business() -> None:
    decoder = CarefulDecoder()
    decode([syn(1, 443), tcp_frame(FATAL, 1, dport=443)], decoder)
    assert decoder.tls_peers() == () and decoder.counters["encrypted"] == 0


def test_the_table_is_bounded_and_the_silent_go_first() -> None:
    limits = Limits(tls_peers=3, tls_connections=2)
    frames = [frame(ether(ip6(6, tcp(FATAL, 1, dport=5061), src=f"2001:db8::{n:x}", dst=B6)), n) for n in range(1, 9)]
    assert [p.client for p in told(frames, limits)] == ["2001:db8::8", "2001:db8::7", "2001:db8::6"]


def test_tables_become_one() -> None:
    one = TlsPeer(A, f"{B}:5061", 1, 2, 3, 10, 20, ("a",), (), ("TLS 1.2",), (TlsAlert("client", "fatal", "x", 1),), 1)
    two = TlsPeer(A, f"{B}:5061", 1, 2, 3, 5, 15, ("b",), ("sip",), ("TLS 1.2",), one.alerts, 0)
    other = TlsPeer(A, f"{B}:5062", 1, 1, 1, 30, 30, (), (), (), (), 0)
    last, both = merged((one,), (two, other))
    assert last == other
    assert (both.connections, both.segments, both.bytes, both.first, both.last, both.unanswered) == (2, 4, 6, 5, 20, 1)
    assert (both.server_names, both.alpn, both.versions) == (("a", "b"), ("sip",), ("TLS 1.2",))
    assert both.alerts == (TlsAlert("client", "fatal", "x", 2),)
    assert merged((one,), (two, other), most=1) == (other,)


# ---------------------------------------------------------------- bytes of anybody


def record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def hello(kind: int, extensions: bytes, version: bytes = b"\x03\x03") -> bytes:
    suites = b"\x00\x02\x13\x01\x01\x00" if kind == 1 else b"\x13\x01\x00"
    body = version + bytes(32) + b"\x00" + suites + len(extensions).to_bytes(2, "big") + extensions
    return record(22, bytes((kind,)) + len(body).to_bytes(3, "big") + body)


def test_reserved_values_mean_nothing() -> None:
    offers = b"\x00\x2b\x00\x07\x06\x7a\x7a\x03\x04\x03\x03" + b"\x00\x10\x00\x0b\x00\x09\x02\x6a\x6a\x05sip/2"
    assert TlsReader().feed(hello(1, offers)) == [ClientHello("", ("sip/2",), ("TLS 1.3", "TLS 1.2"))]
    assert TlsReader().feed(hello(1, b"", b"\x03\x01")) == [ClientHello("", (), ("TLS 1.0",))]
    assert TlsReader().feed(hello(2, b"\x00\x2b\x00\x02\x7f\x1c")) == [ServerHello("0x7f1c", "")]


def test_a_name_cannot_bring_control_characters() -> None:
    name = b"a\x1b[31m\xff"
    extension = b"\x00\x00" + (len(name) + 5).to_bytes(2, "big") + (len(name) + 3).to_bytes(2, "big") + b"\x00\x00"
    (found,) = TlsReader().feed(hello(1, extension + bytes((len(name),)) + name))
    assert isinstance(found, ClientHello) and found.server_name == "a\x1b[31m\\xff", "made printable where it is shown"


def test_only_alerts_in_the_clear_are_read() -> None:
    encrypted = record(21, bytes(26))
    assert TlsReader().feed(encrypted + record(21, b"\x01\x5a") + record(21, b"\x07\xc7")) == [
        Alert("warning", "user_canceled"),
        Alert("level 7", "alert 199"),
    ]
    reader = TlsReader()
    assert reader.feed(record(23, bytes(30)) + FATAL) == [] and reader.done
    assert ALERTS[48] == "unknown_ca"


def test_after_change_cipher_spec_a_handshake_is_encrypted() -> None:
    assert TlsReader().feed(record(20, b"\x01") + hello(1, b"") + FATAL) == [Alert("fatal", "handshake_failure")]


def test_no_more_is_held_than_one_hello_needs() -> None:
    reader = TlsReader()
    assert reader.feed(record(22, b"\x01" + (MOST_HELLO + 1).to_bytes(3, "big") + bytes(9000))) == []
    assert reader._handshake is None and not reader.done
    for _ in range(MOST_READ // 9000):
        reader.feed(record(22, bytes(9000)))
    assert reader.done


@given(st.binary(max_size=400))
def test_any_bytes_are_taken(data: bytes) -> None:
    TlsReader().feed(data)
    for start in (b"\x16\x03\x01", hello(1, b"")[:60], hello(2, b"")[:47]):
        reader = TlsReader()
        for n in range(0, len(start + data), 7):
            reader.feed((start + data)[n : n + 7])


@given(st.binary(max_size=120), st.sampled_from((1, 2)))
def test_any_extensions_are_taken(data: bytes, kind: int) -> None:
    assert len(TlsReader().feed(hello(kind, data))) <= 1
