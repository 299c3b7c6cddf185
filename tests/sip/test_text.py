"""Text that loses no byte of the wire, and text that nothing obeys."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sip.text import bytes_of, printable, text_of

_PIECES = st.lists(
    st.one_of(
        st.binary(max_size=4),
        st.sampled_from(
            [b"\xee", b"\xbe", b"\xbf", b"\x80", b"\xee\xbe\x80", b"\xee\xbf\xbf", b"\xe2\x82", b"\xed\xa0\x80"]
        ),
        st.text(max_size=3).map(lambda t: t.encode("utf-8", "surrogatepass")),
    ),
    max_size=8,
).map(b"".join)


@given(st.one_of(_PIECES, st.binary(max_size=40)))
@example(b"\xee\xbe\x80\x80\xee\xbe")
def test_every_bytes_come_back(raw: bytes) -> None:
    assert bytes_of(text_of(raw)) == raw


@given(_PIECES, _PIECES)
@example(b"\x80", b"\xee\xbe\x80")
def test_different_bytes_are_different_text(one: bytes, other: bytes) -> None:
    assert (text_of(one) == text_of(other)) == (one == other)


@given(_PIECES)
def test_the_text_can_be_stored(raw: bytes) -> None:
    """No surrogates: a database, a JSON file and a terminal take it."""
    assert text_of(raw).encode("utf-8").decode("utf-8") == text_of(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"plain", "plain"),
        ("ümlaut €".encode(), "ümlaut €"),
        (b"\xff", "\uefff"),
        (b"a\xe2\x82b", "a\uefe2\uef82b"),
        (b"\x00\x7f", "\x00\x7f"),
        ("\uef80".encode(), "\uefee\uefbe\uef80"),
    ],
)
def test_text(raw: bytes, text: str) -> None:
    assert text_of(raw) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("INVITE sip:a@b", "INVITE sip:a@b"),
        ("Müller 山田", "Müller 山田"),
        ("\x1b[31mred", "␛[31mred"),
        ("\x00\t\r\n", "␀␉␍␊"),
        ("\x7f", "␡"),
        ("\x85\x9b", "\\x85\\x9b"),
        ("\u202eevil\u2066", "\\u{202e}evil\\u{2066}"),
        ("a\u2028b\u200bc", "a\\u{2028}b\\u{200b}c"),
        ("\uefff", "\\xff"),
        ("\ue000\ud800", "\\u{e000}\\u{d800}"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=60))
def test_nothing_printable_can_be_obeyed(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert printable(shown) == shown


def test_every_character_at_once() -> None:
    """Every code point there is: none slips through, and every one that is safe stays what it is."""
    for code in range(0x110000):
        c = chr(code)
        shown = printable(c)
        assert shown.isprintable() and (shown == c) == c.isprintable()
