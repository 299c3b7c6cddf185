"""One alert opens, counts and closes; equal failures do not flood."""

from __future__ import annotations

import json

from failures import START, event

from alerts.book import MINUTE_NS, OTHER, AlertBook

SECOND = 1_000_000_000


def test_a_thousand_equal_failures_are_one_alert() -> None:
    book = AlertBook(base_url="http://h:1")
    notices = [n for i in range(1000) for n in book.feed(event(i, at=START + i), START + i)]
    assert [n.action for n in notices] == ["open"]
    (listed,) = book.alerts()
    assert (listed["state"], listed["count"], len(listed["examples"])) == ("open", 1000, 3)
    assert book.failures() == {("invite-failed", "198.51.100.9", "503"): 1000}


def test_updates_come_once_a_cooldown_and_only_with_news() -> None:
    book = AlertBook(quiet_ns=10 * MINUTE_NS, cooldown_ns=MINUTE_NS)
    book.feed(event(0), START)
    assert book.feed(event(1), START + MINUTE_NS - 1) == []
    assert [(n.action, n.count) for n in book.tick(START + MINUTE_NS)] == [("update", 2)]
    assert book.tick(START + 3 * MINUTE_NS) == []
    assert [(n.action, n.count) for n in book.feed(event(2), START + 3 * MINUTE_NS)] == [("update", 3)]


def test_closes_after_quiet_time_and_opens_anew() -> None:
    book = AlertBook(quiet_ns=300 * SECOND)
    (opened,) = book.feed(event(0, at=START), START)
    book.feed(event(1, at=START + 7), START + 7)
    assert [n.action for n in book.tick(START + 300 * SECOND)] == ["update"]
    (closed,) = book.tick(START + 7 + 300 * SECOND)
    assert (closed.action, closed.count, closed.first, closed.last) == ("close", 2, START, START + 7)
    assert closed.id == opened.id
    assert book.tick(START + 900 * SECOND) == []
    assert [a["state"] for a in book.alerts()] == ["closed"]
    (again,) = book.feed(event(2, at=START + 901 * SECOND), START + 901 * SECOND)
    assert again.action == "open" and again.count == 1 and again.id != opened.id


def test_peer_code_and_finding_tell_alerts_apart() -> None:
    book = AlertBook()
    for e in (
        event(1),
        event(2, peer="192.0.2.7"),
        event(3, code=500),
        event(4, code=None),
        event(5, code=None, finding="no-response"),
        event(6, finding="capacity"),
    ):
        book.feed(e, START)
    assert sorted((a["rule"], a["peer"], str(a["code"]), a["count"]) for a in book.alerts()) == [
        ("invite-failed", "192.0.2.7", "503", 1),
        ("invite-failed", "198.51.100.9", "500", 1),
        ("invite-failed", "198.51.100.9", "503", 2),  # a code is the key where there is one
        ("invite-unanswered", "198.51.100.9", "None", 1),
        ("invite-unanswered", "198.51.100.9", "None", 1),
    ]


def test_many_peers_are_lumped_together() -> None:
    book = AlertBook(limit=3)
    for i in range(50):
        book.feed(event(i, peer=f"192.0.2.{i}"), START)
    counts = {a["peer"]: a["count"] for a in book.alerts()}
    assert counts == {"192.0.2.0": 1, "192.0.2.1": 1, "192.0.2.2": 1, OTHER: 47}
    assert sum(book.failures().values()) == 50 and len(book.failures()) == 4


def test_links_of_examples() -> None:
    book = AlertBook(base_url="https://trail.example.com/")
    record = book.feed(event(7), START)[0].to_json()
    assert record["examples"] == [
        {
            "call_id": "call/7",
            "ladder": "https://trail.example.com/api/v1/calls/call%2F7/ladder.svg",
            "pcap": "https://trail.example.com/api/v1/calls/call%2F7/pcap",
        }
    ]
    assert set(record) == {
        "id",
        "action",
        "rule",
        "peer",
        "code",
        "finding",
        "headline",
        "count",
        "of",
        "first",
        "last",
        "examples",
    }
    assert record["first"] == "2023-11-14T22:13:20.000000Z"
    json.dumps(record)
