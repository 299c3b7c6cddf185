"""Alert rules of the user's own, on recorded calls and a clock of their own: when they open, count and close."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alerts.book import AlertBook
from alerts.event import Notice
from index.archive import Archive
from index.lake import Lake
from sip.errors import Misread, SiptrailError
from siptrail.rule_settings import compiled
from siptrail.rule_watch import RuleWatch
from siptrail.settings import RuleSettings
from tests.siptrail.switch import CUSTOMER, FIRST, SECOND, START, SWITCH, Packets, capture, leg, rows_of

S = 1_000_000_000


class Night:
    """A service that records these legs, with one rule, and a round of it every five seconds."""

    def __init__(self, folder: Path, *legs: Packets, lake: Lake | None = None, clear: int = 60, **rule: Any) -> None:
        self.now = START
        self.archive = Archive(lake, lambda: self.now)
        self.archive.live_since = START - 3600 * S
        self.book = AlertBook(quiet_ns=clear * S, base_url="https://trail.example.com")
        self.rules = compiled({"mine": RuleSettings(**rule)})
        self.watch = RuleWatch(self.archive, self.rules, self.book)
        self._packets = sorted(p for packets in legs for p in packets)
        self._folder = folder

    def until(self, second: int, store: bool = False, step: int = 5) -> list[Notice]:
        """Go on to this second after the start."""
        out = []
        while self.now < START + second * S:
            before, self.now = self.now, self.now + step * S
            fresh = [p for p in self._packets if before <= p[0] < self.now]
            for rows in rows_of(capture(self._folder / "part.pcap", fresh)) if fresh else ():
                self.archive.add(rows)
            if store:
                self.archive.flush()
            out += self.watch.round(self.now) + self.book.tick(self.now)
        return out


def failing(first: float, count: int, carrier: str = FIRST, code: int = 503, every: float = 1.0) -> list[Packets]:
    return [
        leg(f"{carrier}-{first + n * every}", SWITCH, carrier, first + n * every, (first + n * every + 0.2, code))
        for n in range(count)
    ]


def answered(first: float, count: int, carrier: str = FIRST, every: float = 1.0, ring: float = 0.2) -> list[Packets]:
    return [
        leg(
            f"good-{carrier}-{first + n * every}", SWITCH, carrier, first + n * every,
            (first + n * every + 0.1, 180), (first + n * every + ring, 200), (first + n * every + ring + 2, "BYE"),
        )
        for n in range(count)
    ]  # fmt: skip


def told(notices: list[Notice]) -> list[tuple[str, str, int]]:
    return [(n.action, n.peer, n.count) for n in notices]


def test_so_many_calls_that_match_open_an_alert_and_it_closes_when_they_are_over(tmp_path: Path) -> None:
    rule = dict(filter=f"dst:{FIRST} state:failed code:5xx", at_least=10, within="1m", headline="Carrier B refuses")
    night = Night(tmp_path, *failing(2, 9), *failing(30, 3, SECOND), *failing(200, 12), **rule)
    assert night.until(200) == [], "nine of this carrier"
    opened, *rest = night.until(215)
    assert (opened.action, opened.rule, opened.peer, opened.code) == ("open", "mine", "all", None)
    assert opened.headline.startswith("Carrier B refuses: 1") and opened.headline.endswith(" calls in 1m")
    assert (opened.count, opened.of) == (12, None) or opened.count in (10, 11)
    assert opened.first == START + 200 * S and opened.last > opened.first
    assert len(opened.call_ids) == 3 and all(c.startswith(FIRST) for c in opened.call_ids)
    assert opened.to_json()["examples"][0]["ladder"].startswith("https://trail.example.com/api/v1/calls/203")
    (listed,) = night.book.alerts()
    assert (listed["state"], listed["rule"], listed["count"]) == ("open", "mine", 12)
    (closed,) = [n for n in night.until(500) if n.action == "close"]
    assert closed.id == opened.id and closed.count == 12 and not rest
    assert night.book.failures() == {}, "the counter of failed INVITEs counts failed INVITEs"


def test_one_alert_for_each_value_and_one_that_is_told_again(tmp_path: Path) -> None:
    legs = [*failing(1, 4), *failing(1, 5, SECOND), *failing(1, 2, SWITCH)]
    night = Night(tmp_path, *legs, filter="state:failed", at_least=4, within="30s", per="dst")
    assert sorted(told(night.until(10))) == [("open", FIRST, 4), ("open", SECOND, 4)]
    again = night.until(110)
    assert sorted(told(again)) == [("close", FIRST, 4), ("close", SECOND, 5), ("update", SECOND, 5)]


def test_a_share_is_of_the_calls_beside(tmp_path: Path) -> None:
    few = [*failing(1, 10, every=2), *answered(0.5, 60, every=0.3)]
    rule = dict(filter="state:failed", at_least=10, within="1m", share="20%", per="dst")
    assert Night(tmp_path, *few, **rule).until(40) == [], "10 of 70 are less than 20%"
    (opened,) = Night(tmp_path, *few, **(rule | {"share": "14%"})).until(40)
    assert (opened.count, opened.of) == (10, 70)
    assert opened.headline == f"mine: 10 of 70 calls (14%) in 1m for dst {FIRST}"
    (opened,) = Night(tmp_path, *few, **(rule | {"of": "code:5xx"})).until(40)
    assert (opened.count, opened.of) == (10, 10), "of what the user says"


def test_between_the_two_thresholds_an_alert_stays_as_it_is(tmp_path: Path) -> None:
    legs = [*failing(1, 10, every=0.1), *failing(40, 12, every=10), *failing(165, 7, every=20)]
    rule = dict(filter="state:failed", at_least=10, within="1m")
    night = Night(tmp_path, *legs, clear=10, clear_below=3, **rule)
    assert told(night.until(240)) == [("open", "all", 10), ("update", "all", 12)], "three in a minute close nothing"
    assert [n.action for n in Night(tmp_path, *legs, clear=10, **rule).until(100)] == ["open", "update", "close"]
    assert told(night.until(400)) == [("close", "all", 12)]


def test_an_alert_does_not_close_between_two_looks(tmp_path: Path) -> None:
    night = Night(tmp_path, *failing(1, 4), clear=3, filter="state:failed", at_least=4, within="1m")
    told = []
    for second in range(5, 100):
        told += [
            (n.action, second)
            for n in (night.until(second) if second % 5 == 0 else night.book.tick(START + second * S))
        ]
    assert [action for action, _ in told] == ["open", "close"] and told[1][1] > 60


def test_a_trunk_that_falls_silent(tmp_path: Path) -> None:
    legs = [*answered(1, 30, every=10), *answered(900, 1)]
    night = Night(tmp_path, *legs, filter=f"src:{SWITCH} method:INVITE", at_most=0, within="5m")
    (opened,) = night.until(880, step=20)
    assert (opened.action, opened.count, opened.headline) == ("open", 0, "mine: 0 calls in 5m")
    assert START + 580 * S < opened.last < START + 620 * S and opened.call_ids == ()
    assert [n.action for n in night.until(1000, step=20)] == ["close"]


def test_a_service_that_has_just_started_knows_of_no_silence(tmp_path: Path) -> None:
    night = Night(tmp_path, filter="method:INVITE", at_most=0, within="5m")
    night.archive.live_since = START
    assert night.until(295) == []
    assert [n.action for n in night.until(310)] == ["open"]
    night = Night(tmp_path, filter="method:INVITE", at_most=0, within="5m")
    night.archive.live_since = None
    assert night.until(600) == [], "and one that does not record knows of none at all"


def test_zero_answers_are_told_of_whoever_gives_none(tmp_path: Path) -> None:
    busy = [leg(f"busy-{n}", SWITCH, SECOND, n, (n + 0.2, 404)) for n in range(1, 22)]
    rule = dict(filter="state:in-call or state:completed", of="method:INVITE", of_at_least=20, per="dst", within="5m")
    night = Night(tmp_path, *answered(1, 40), *busy, at_most=0, **rule)
    (opened,) = night.until(60)
    assert (opened.peer, opened.count) == (SECOND, 0) and opened.of in (20, 21) and len(opened.call_ids) == 3
    some = Night(tmp_path, *busy, *answered(22, 1, SECOND), share_below="10%", **rule)
    assert [n.peer for n in some.until(60)] == [SECOND]
    assert Night(tmp_path, *busy, *answered(22, 1, SECOND), share_below="4%", **rule).until(60) == []


def test_calls_that_still_ring_are_not_held_against_a_carrier(tmp_path: Path) -> None:
    rule = dict(filter="state:in-call or state:completed", of="method:INVITE", of_at_least=20, within="5m", at_most=0)
    assert Night(tmp_path, *answered(1, 30, every=0.05, ring=20), **rule).until(60) == []
    waiting = [leg(f"never-{n}", SWITCH, FIRST, 1 + n / 20, (1.5 + n / 20, 180)) for n in range(30)]
    night = Night(tmp_path, *waiting, **rule)
    assert night.until(180) == [] and [n.action for n in night.until(200)] == ["open"], "but nothing rings for ever"


def test_counting_goes_by_the_code_too(tmp_path: Path) -> None:
    legs = [*failing(1, 5), *failing(1, 5, SECOND, 404), *failing(7, 2, SECOND, 408)]
    (one, other) = sorted(
        Night(tmp_path, *legs, filter="state:failed", per="code", at_least=5, within="1m").until(20),
        key=lambda n: n.code or 0,
    )
    assert [(n.peer, n.code, n.count) for n in (one, other)] == [("all", 404, 5), ("all", 503, 5)]
    assert one.id != other.id


def test_what_is_stored_counts_like_what_is_in_memory_and_older_calls_do_not(tmp_path: Path) -> None:
    """The hour ends meanwhile: long calls have rows in both, and began before the time that counts."""
    edge = 3600
    long = [leg(f"long-{n}", SWITCH, FIRST, edge - 1200, (edge - 1199, 200), (edge + 5 + n, "BYE")) for n in range(20)]
    legs = [*long, *failing(edge - 4, 8)]
    for store in (True, False):
        lake = Lake(tmp_path / f"store-{store}")
        night = Night(tmp_path, *legs, lake=lake, filter=f"dst:{FIRST}", at_least=5, within="1m")
        night.now = START + (edge - 1210) * S
        try:
            assert {n.count for n in night.until(edge - 1110, store, 50)[:1]} == {20}
            assert max(a["count"] for a in night.book.alerts()) == 20
            night.book = night.watch._book = AlertBook(quiet_ns=600 * S)
            night.until(edge - 60, store, 525)
            night.until(edge + 55, store)
            (listed,) = night.book.alerts()
            assert listed["count"] == 8, "calls that began before count no more, whatever hour their rows are in"
        finally:
            night.archive.close()


def test_a_finding_counts_once_it_is_known(tmp_path: Path) -> None:
    night = Night(tmp_path, *failing(1, 5), filter="finding:capacity-*", at_least=5, within="1m")
    assert night.until(20) == []
    from diagnose.local import LocalDesk

    LocalDesk(night.archive).with_findings(night.archive.calls(None, 100))
    names = {name for c in LocalDesk(night.archive).with_findings(night.archive.calls(None, 9)) for name in c.findings}
    night = Night(tmp_path, *failing(1, 5), filter=f"finding:{min(names)}", at_least=5, within="1m")
    night.until(10)
    LocalDesk(night.archive).with_findings(night.archive.calls(None, 100))
    assert told(night.until(20)) == [("open", "all", 5)]


def test_notices_hold_no_header(tmp_path: Path) -> None:
    legs = [leg(f"c{n}", CUSTOMER, FIRST, n, (n + 0.1, 503), extra="Authorization: Digest x") for n in range(1, 5)]
    (opened,) = Night(tmp_path, *legs, filter="state:failed", at_least=4, within="1m").until(20)
    assert "Digest" not in str(opened.to_json())


WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a key that is none": (
        dict(filter="dst:1.2.3.4 colour:red", at_least=1),
        ("mine.filter:", "'colour'", "character 13"),
    ),
    "a time": (dict(filter="code:503 since:2h", at_least=1), ("mine.filter: since: has no place here", "character 10")),
    "a text": (dict(filter="text:abc", at_least=1), ("text: has no place here", "character 1 ")),
    "an empty filter": (dict(filter=" ", at_least=1), ("mine.filter: it is empty", "method:INVITE")),
    "a bad `of`": (dict(filter="code:503", of="(", at_least=1, share="1%"), ("mine.of: ", "character")),
    "no threshold": (dict(filter="code:503"), ("mine: it never speaks", "at_least, at_most, share_below and resent")),
    "two thresholds": (dict(filter="code:503", at_least=1, at_most=1), ("at_least and at_most exclude each other",)),
    "a share of nothing": (dict(filter="code:503", at_least=1, share="20"), ("mine.share: '20' is no share", "20%")),
    "a share of few": (dict(filter="code:503", at_most=1, share="20%"), ("mine.share goes with at_least",)),
    "a high clear_below": (
        dict(filter="code:503", at_least=1, clear_below=2),
        ("clear_below: 2 is more than",),
    ),
    "no duration": (dict(filter="code:503", at_least=1, within="soon"), ("mine.within: 'soon' is not a duration",)),
    "too short": (dict(filter="code:503", at_least=1, within="1s"), ("mine.within: 1s is not between 10s and 1d",)),
    "an unknown per": (dict(filter="code:503", at_least=1, per="day"), ("mine.per: 'day' is none of src, dst",)),
    "silence of whom": (dict(filter="code:503", at_most=0, per="dst"), ("mine.per: who is silent is in no list",)),
    "of nothing": (dict(filter="code:503", at_most=0, of_at_least=2), ("mine.of_at_least goes with of",)),
    "at least none": (dict(filter="code:503", at_least=0), ("mine.at_least: 0 is less than 1",)),
    "less than none": (dict(filter="code:503", at_most=-1), ("mine.at_most: -1 is less than 0",)),
    "a long headline": (
        dict(filter="code:503", at_least=1, headline="x" * 201),
        ("mine.headline: 201 letters are more than 200",),
    ),
}


@pytest.mark.parametrize("rule", WRONG, ids=WRONG)
def test_a_wrong_rule_is_told_in_one_line_that_names_it(rule: str) -> None:
    settings, words = WRONG[rule]
    with pytest.raises(SiptrailError) as error:
        compiled({"mine": RuleSettings(**settings)}, " in my.toml")
    text = str(error.value)
    assert text.startswith("setting alert_rules.mine") and " in my.toml" in text and "\n" not in text
    for word in words:
        assert word.replace("mine.", "") in text.replace(" in my.toml", ""), text
    if "character" in text:
        assert isinstance(error.value, Misread)


@pytest.mark.parametrize("name", ["", "invite-failed", "a b", "x" * 65, "\x1b[2J"])
def test_a_name_that_cannot_be_had(name: str) -> None:
    with pytest.raises(SiptrailError, match="this name cannot be had"):
        compiled({name: RuleSettings(filter="code:503", at_least=1)})
