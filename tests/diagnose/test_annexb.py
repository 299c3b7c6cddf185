"""G.729 annexb: nine combinations in two readings, odd spellings, and when nothing is to be said."""

from __future__ import annotations

import pytest
from calls import NAT, PROXY, answered, findings, one, only, sdp, told

from diagnose.annexb import read

VALUES = {"yes": ("a=fmtp:18 annexb=yes",), "no": ("a=fmtp:18 annexb=no",), "absent": ()}
NINE = [
    # offer, answer, by the standard, by habit, which rule, how severe
    ("yes", "yes", True, True, None, None),
    ("yes", "absent", True, False, "g729-annexb-ambiguous", "warning"),
    ("yes", "no", False, False, "g729-annexb-mismatch", "warning"),
    ("absent", "yes", True, False, "g729-annexb-ambiguous", "warning"),
    ("absent", "absent", True, False, "g729-annexb-ambiguous", "warning"),
    ("absent", "no", False, False, "g729-annexb-mismatch", "warning"),
    ("no", "yes", False, False, "g729-annexb-mismatch", "warning"),
    ("no", "absent", False, False, "g729-annexb-mismatch", "info"),
    ("no", "no", False, False, None, None),
]


@pytest.mark.parametrize(("offer", "answer", "standard", "habit", "name", "severity"), NINE)
def test_nine_combinations(
    offer: str, answer: str, standard: bool, habit: bool, name: str | None, severity: str | None
) -> None:
    reading = read(offer, answer)
    assert (reading.standard, reading.habit) == (standard, habit)
    found = findings(*answered(sdp(NAT, "18", *VALUES[offer]), sdp(PROXY, "18", *VALUES[answer])))
    assert [(f.name, f.severity) for f in found] == ([(name, severity)] if name else [])
    if name:
        words = {True: "in use", False: "not in use"}
        assert f"RFC 7261 (absent means yes): Annex B {words[standard]}" in told(found[0])
        assert f"older habit (absent means no): Annex B {words[habit]}" in told(found[0])


def test_only_an_ignored_no_is_called_ignored() -> None:
    for offer, answer, *_ in NINE:
        found = findings(*answered(sdp(NAT, "18", *VALUES[offer]), sdp(PROXY, "18", *VALUES[answer])))
        ignored = any("ignored the offer" in f.headline for f in found)
        assert ignored == ((offer, answer) == ("no", "yes"))


@pytest.mark.parametrize(
    "written", ["annexb=No", "annexb = no", " annexb = no ", "ANNEXB=NO", "foo=1;annexb=no", "annexb=no; bar=yes"]
)
def test_spellings_that_count(written: str) -> None:
    """Parameters are case-insensitive and separated by semicolons."""
    said_no = sdp(PROXY, "18", f"a=fmtp:18 {written}")
    assert findings(*answered(sdp(NAT, "18", *VALUES["no"]), said_no)) == ()
    assert one("g729-annexb-mismatch", *answered(sdp(NAT, "18", *VALUES["yes"]), said_no))


@pytest.mark.parametrize("written", ["no", "yes", "annexb=0", "annexb=1", "annexb:no", "annexb", "annexb=nope"])
def test_spellings_that_no_standard_knows(written: str) -> None:
    """They are read as absent, and the finding says what was written."""
    odd = sdp(NAT, "18", f"a=fmtp:18 {written}")
    found = one("g729-annexb-ambiguous", *answered(odd, sdp(PROXY, "18", *VALUES["yes"])))
    assert f"the offer's fmtp {written!r} is a form of annexb that no standard knows" in told(found)


def test_parameters_of_something_else_are_not_odd() -> None:
    found = one("g729-annexb-ambiguous", *answered(sdp(NAT, "18", "a=fmtp:18 mode=no-vad"), sdp(PROXY, "18")))
    assert "no standard knows" not in told(found)


def test_the_last_of_several_lines_counts() -> None:
    offer = sdp(NAT, "18", "a=fmtp:18 annexb=yes", "a=fmtp:18 annexb=no")
    found = one("g729-annexb-mismatch", *answered(offer, sdp(PROXY, "18", *VALUES["yes"])))
    assert "offered no" in found.headline
    assert "several fmtp lines for payload type 18; the last one was read" in told(found)


def test_a_line_for_another_payload_type_counts_for_nothing() -> None:
    offer = sdp(NAT, "18 101", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 annexb=no")
    found = one("g729-annexb-ambiguous", *answered(offer, sdp(PROXY, "18", *VALUES["yes"])))
    assert "the offer says 'annexb=no' for payload type 101" in told(found)


def test_a_payload_type_of_its_own_is_found_by_name() -> None:
    offer = sdp(NAT, "96", "a=rtpmap:96 g729/8000", "a=fmtp:96 annexb=no")
    answer = sdp(PROXY, "97", "a=rtpmap:97 G729/8000", "a=fmtp:97 annexb=yes")
    assert "a=fmtp:96 annexb=no" in one("g729-annexb-mismatch", *answered(offer, answer)).advice


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (sdp(NAT, "18 0"), sdp(PROXY, "0")),
        (sdp(NAT, "0"), sdp(PROXY, "0")),
        (sdp(NAT, "18 0"), sdp(PROXY, "18", port=0)),
        (sdp(NAT, "18", port=0), sdp(PROXY, "18", port=0)),
    ],
    ids=["G.729 was not chosen", "nor offered", "the stream is refused", "nor wanted"],
)
def test_nothing_is_said_about_streams_without_it(offer: str, answer: str) -> None:
    packets = answered(offer, answer)
    assert only("g729-annexb-ambiguous", *packets) == only("g729-annexb-mismatch", *packets) == []
