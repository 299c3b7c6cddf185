"""Hosts to which requests are sent again and again: the command, the API, and alert rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.client import HttpDesk
from diagnose.local import open_store
from index.lake import Lake
from sip.errors import SiptrailError
from siptrail.cli import app
from siptrail.resending import told
from siptrail.rule_settings import compiled
from siptrail.settings import RuleSettings
from tests.api.conftest import serving
from tests.index.stored import capture, frame, message, put
from tests.siptrail.switch import START
from tests.siptrail.test_rule_watch import Night

S = 1_000_000_000
BUSY, CALM, PBX = "198.51.100.30", "198.51.100.40", "203.0.113.5"
Packets = list[tuple[int, bytes]]


def options(name: str, at: float, to: int, sends: int = 1, copies: int = 1) -> Packets:
    """One OPTIONS to a host, sent so often 0.5 s apart, every packet captured so often; each has its own IP number."""
    text = message("OPTIONS sip:x@b.example SIP/2.0", name, "1 OPTIONS")
    out = []
    for n in range(sends):
        packet = bytearray(frame(text, 5, to))
        packet[18:20] = (1 + n + 10 * len(name)).to_bytes(2, "big")
        out += [(START + round((at + 0.5 * n) * S) + c * 1_000_000, bytes(packet)) for c in range(copies)]
    return out


def evening(copies: int = 1) -> list[Packets]:
    """40 requests to a calm host, one of them twice; 30 to another, 20 of them twice, and 5 ten minutes later, once."""
    calm = [options(f"calm-{n}", n, 40, 2 if n == 7 else 1, copies) for n in range(40)]
    busy = [options(f"busy-{n}", n, 30, 2 if n < 20 else 1, copies) for n in range(30)]
    return [*calm, *busy, *(options(f"late-{n}", 600 + n, 30, 1, copies) for n in range(5))]


def run(*words: str) -> list[str]:
    done = CliRunner().invoke(app, ["resends", *words])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


@pytest.mark.parametrize("copies", [1, 2], ids=["once", "by a mirror, too"])
def test_the_worst_host_comes_first_and_a_mirror_s_copies_are_no_resends(tmp_path: Path, copies: int) -> None:
    path = capture(tmp_path / "evening.pcap", *evening(copies))
    first, second = run("--pcap", str(path))
    assert first == (
        f"{BUSY}: 36% of 55 requests to it were sent again, most from 2026-01-05T10:00:00Z on: 40% of 50 in 5m; "
        "path loss or an overloaded element"
    )
    assert second == f"{CALM}: 2% of 41 requests to it were sent again"
    (sender,) = [json.loads(line) for line in run("--pcap", str(path), "--per", "src", "--json")]
    assert (sender["host"], sender["requests"], sender["resent"], sender["storm"]) == (PBX, 96, 21, True)
    assert all(c.startswith(("busy-", "calm-")) for c in sender["examples"])


def test_nothing_was_sent_again(tmp_path: Path) -> None:
    path = capture(tmp_path / "calm.pcap", options("one", 0, 40))
    assert run("--pcap", str(path)) == ["no request over UDP was sent again"]


def test_a_store_and_its_service_tell_the_same(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "store")
    put(lake, tmp_path / "evening.pcap", *evening())
    desk = open_store(lake)
    alone = list(told(desk, None, "dst", True))
    with serving(desk) as url:
        client = HttpDesk(url)
        low, high = START, START + 700 * S
        assert client.resends(low, high, 300 * S, "dst") == desk.resends(low, high, 300 * S, "dst")
        with pytest.raises(SiptrailError, match="more than a day after since"):
            client.resends(low, low + 2 * 86_400 * S, 300 * S, "dst")
    assert [json.loads(line)["host"] for line in alone] == [BUSY, CALM]
    desk.close()


def rule(**more: Any) -> dict[str, Any]:
    return {"resent": "20%", **more}


def test_an_alert_rule_raises_it_and_it_closes(tmp_path: Path) -> None:
    night = Night(tmp_path, *evening(), clear=30, **rule(within="1m", headline="Resends"))
    notices = night.until(300)
    assert [(n.action, n.peer) for n in notices if n.action != "update"] == [("open", BUSY), ("close", BUSY)]
    opened = notices[0]
    assert opened.headline.startswith("Resends: ") and f" requests to {BUSY} in 1m were sent again" in opened.headline
    assert opened.of is not None and opened.count > 0.2 * opened.of and opened.of >= 20
    assert opened.call_ids and all(c.startswith("busy-") for c in opened.call_ids)


def test_few_requests_and_a_smaller_share_say_nothing(tmp_path: Path) -> None:
    assert Night(tmp_path, *evening(), **rule(within="1m", of_at_least=60)).until(120) == []
    assert Night(tmp_path, *evening(), **{**rule(within="1m"), "resent": "60%"}).until(120) == []


def test_it_can_be_tried_on_a_capture(tmp_path: Path) -> None:
    path = capture(tmp_path / "evening.pcap", *evening())
    config = tmp_path / "siptrail.toml"
    config.write_text('[alert_rules.again]\nresent = "20%"\n')
    done = CliRunner().invoke(app, ["alerts", "--dry-run", "--config", str(config), "--pcap", str(path)])
    first, last = done.stdout.splitlines()
    assert "opened 2026-01-05T10:05:00Z" in first and f"most 20 of 50  dst {BUSY}" in first
    assert last.startswith("again: 1 alert since") and last.endswith("0 to 20 resends in 5m")


WRONG = {
    "filter": ({"filter": "dst:1.2.3.4"}, "alert_rules.mine.filter does not go with resent"),
    "at_least": ({"at_least": 3}, "alert_rules.mine.at_least does not go with resent"),
    "per": ({"per": "from"}, "with resent it is dst or src"),
    "share": ({"resent": "often"}, "'often' is no share"),
}


@pytest.mark.parametrize(("more", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_it_is_one_line(more: dict[str, Any], said: str) -> None:
    with pytest.raises(SiptrailError, match=said):
        compiled({"mine": RuleSettings(**{**rule(), **more})})
