"""An alert rule of the user's own on a wire with real calls: from the configuration to the receiver of webhooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.network import FAR, NEAR, Network
from tests.end_to_end.patience import until
from tests.end_to_end.phones import ANSWERS, NO_CAPACITY, Phones
from tests.end_to_end.recorder import Recorder, Webhook

pytestmark = pytest.mark.needs("root", "sipp", "ip")
RULES = {
    "no-room": {"filter": "state:failed code:503", "of": "method:INVITE", "at_least": 4, "share": "50%", "per": "dst",
                "within": "5m", "headline": "The carrier has no room"},
    "never": {"filter": "code:404", "at_least": 1},
    "silent": {"filter": "method:INVITE", "at_most": 0, "within": "10s"},
}  # fmt: skip


def test_a_rule_of_the_users_own_from_the_settings_to_the_receiver(tmp_path: Path) -> None:
    with Network() as network:
        recorder = Recorder(network.near, tmp_path, alert_clear="3s", alert_rules=json.dumps(RULES))
        recorder.start()
        webhook, phones = Webhook(network.near), Phones(network, tmp_path)
        try:
            until(lambda: _of(webhook, "silent", "open"), "nobody notices the silence", 60)
            phones.call_and_wait("good", ANSWERS, 2)
            phones.call_and_wait("full", NO_CAPACITY, 6)
            until(lambda: _of(webhook, "no-room", "open"), "the rule does not speak", 60)
            # It would be silent again where nobody looks for ten seconds.
            phones.call("full-again", NO_CAPACITY, 300, rate=1)
            until(lambda: _of(webhook, "silent", "close"), "the trunk still counts as silent", 60)
            (told,) = _of(webhook, "no-room", "open")
            assert told["peer"] in (NEAR, FAR) and 4 <= told["count"] <= told["of"] <= 8
            assert told["headline"].startswith("The carrier has no room: ")
            assert len(told["examples"]) == 3
            for example in told["examples"]:
                assert example["call_id"].startswith("full-")
                assert "503" in recorder.get(example["ladder"]).text
            listed = {a["rule"]: a for a in recorder.get("/api/v1/alerts").json()["alerts"]}
            assert listed["no-room"]["state"] == "open" and "never" not in listed
            assert "The carrier has no room" in recorder.run("alerts")
            assert 'siptrail_alert_rule_calls{rule="never"} 0.0' in recorder.get("/metrics").text
            assert "no-room" in recorder.log(), "the log is a receiver, too"
        finally:
            webhook.close()
            recorder.end()


def _of(webhook: Webhook, rule: str, action: str) -> list[dict[str, Any]]:
    return [n for n in webhook.notices if n["rule"] == rule and n["action"] == action]
