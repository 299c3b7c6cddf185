"""`siptrail alerts --dry-run` says what the service would have said, of a store, of a capture and through a service."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alerts.rehearsal import rehearse
from api.client import HttpDesk
from diagnose.local import LocalDesk, open_store
from index.lake import Lake
from sip.errors import SiptrailError
from siptrail.cli import app
from tests.api.conftest import serving
from tests.siptrail.switch import FIRST, SECOND, START, capture
from tests.siptrail.test_rule_watch import Night, S, answered, failing

EVENING = [
    *failing(2, 9), *failing(100.5, 12), *answered(100.7, 40), *failing(400.5, 3, SECOND, 404), *answered(900.5, 45),
]  # fmt: skip
RULES: dict[str, dict[str, Any]] = {
    "many": dict(filter="state:failed", at_least=10, within="1m"),
    "each": dict(filter="state:failed", at_least=3, within="20s", per="dst"),
    "hysteresis": dict(filter="state:failed", at_least=10, clear_below=2, within="1m"),
    "share": dict(filter="code:5xx", at_least=9, share="40%", within="1m"),
    "silence": dict(filter="method:INVITE", at_most=0, within="2m"),
    "answers": dict(
        filter="(state:in-call or state:completed)", of="method:INVITE", of_at_least=3, share_below="30%", per="dst"
    ),
}
CONFIG = """
alert_clear = "30s"

[alert_rules.carrier-b]
filter = "dst:203.0.113.50 code:5xx"
at_least = 10
within = "1m"
per = "dst"

[alert_rules.silent]
filter = "method:INVITE"
at_most = 0
within = "5m"
"""


@pytest.mark.parametrize("name", RULES)
def test_it_opens_and_closes_when_the_service_does(tmp_path: Path, name: str) -> None:
    night = Night(tmp_path, *EVENING, clear=30, **RULES[name])
    night.now = START - night.rules[0].within  # the first look has everything behind it that it wants
    night.archive.live_since = night.now
    live: list[tuple[str, str, int]] = []
    while night.now < START + 1200 * S:
        live += [
            (n.action, n.peer, night.now) for n in night.until((night.now - START) // S + 5) if n.action != "update"
        ]
    (rule,) = night.rules
    desk = LocalDesk(night.archive)
    settings, of = RULES[name], "method:INVITE" if rule.of is not None else None
    low = START - rule.within
    told = desk.starts(settings["filter"], of, rule.per, low, night.now)
    episodes, _ = rehearse(rule, told, low, night.now, 30 * S)
    expected = [("open", rule.peer(e.value), e.opened) for e in episodes]
    expected += [("close", rule.peer(e.value), e.closed) for e in episodes if e.closed is not None]
    assert live and sorted(live, key=lambda x: (x[2], x)) == sorted(expected, key=lambda x: (x[2], x))


def run(*arguments: str, code: int = 0) -> list[str]:
    result = CliRunner().invoke(app, ["alerts", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout.splitlines()


def test_on_a_capture_a_store_and_a_service(tmp_path: Path) -> None:
    config = tmp_path / "siptrail.toml"
    config.write_text(CONFIG)
    pcap, store = str(capture(tmp_path / "evening.pcap", *EVENING)), tmp_path / "store"
    arguments = ["--dry-run", "--config", str(config), "--since", "7d"]
    told = run(*arguments, "--pcap", pcap)
    assert told[0].startswith("  opened 2026-01-05T10:01:") and told[0].endswith(f"most 12  dst {FIRST}")
    assert told[1].startswith("carrier-b: 1 alert since 2026-01-05T10:00:02Z; 0 to 12 calls in 1m")
    assert told[2].startswith("  opened 2026-01-05T10:11:") and "fewest 0" in told[2] and "closed 2026" in told[2]
    assert told[3].startswith("silent: 1 alert since")

    first, second = (json.loads(line) for line in run(*arguments, "--pcap", pcap, "--json"))
    (alert,) = first["alerts"]
    assert (first["rule"], first["most"], alert["value"], alert["count"]) == ("carrier-b", 12, FIRST, 12)
    assert len(second["alerts"]) == 1 and second["fewest"] == 0

    later = (time.time_ns() - START) // S * S - 2000 * S
    recent = str(capture(tmp_path / "recent.pcap", *([(ts + later, data) for ts, data in leg] for leg in EVENING)))
    result = CliRunner().invoke(app, ["import", recent, "--store", str(store)], catch_exceptions=False)
    assert result.exit_code == 0
    lines = run(*arguments, "--since", "2h", "--store", str(store), "--json")
    ((alert_too,), _) = (json.loads(line)["alerts"] for line in lines)
    assert {k: alert_too[k] for k in ("value", "count")} == {k: alert[k] for k in ("value", "count")}

    desk = open_store(Lake(store))
    with serving(desk) as url:
        told = desk.starts("code:5xx", "method:INVITE", "dst", START + later, START + later + 1200 * S)
        assert (
            HttpDesk(url).starts("code:5xx", "method:INVITE", "dst", START + later, START + later + 1200 * S)
            == told
            != []
        )
        assert run("--url", url) == ["no alert is open, and none closed lately"]


def test_without_rules_or_a_service_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pcap = str(capture(tmp_path / "one.pcap", *failing(1, 1)))
    with pytest.raises(SiptrailError, match="no alert rules; write one into the file that --config names"):
        run("--dry-run", "--pcap", pcap)
    with pytest.raises(SiptrailError, match="add --dry-run"):
        run("--pcap", pcap)
    monkeypatch.setenv("SIPTRAIL_ALERT_RULES", '{"x": {"filter": "code:5xx", "at_least": 1}}')
    with pytest.raises(SiptrailError, match="--since: 'soon' is not a duration"):
        run("--dry-run", "--pcap", pcap, "--since", "soon")
    assert run("--dry-run", "--pcap", pcap)[-1].startswith("x: 0 alerts since")
