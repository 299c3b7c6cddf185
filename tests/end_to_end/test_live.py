"""`siptrail run` on a real interface with real calls: what a support engineer gets at the other end."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Live
from tests.end_to_end.frames import Seen, Tcpdump, frames, times_seen
from tests.end_to_end.network import FAR, NEAR, Network
from tests.end_to_end.patience import until
from tests.end_to_end.phones import ANSWERS, BUSY, NO_CAPACITY, Phones
from tests.end_to_end.recorder import Recorder, Webhook

pytestmark = pytest.mark.needs("root", "sipp", "tshark", "tcpdump", "ip")
GOOD, FULL, OCCUPIED = 4, 5, 2
CALLS = GOOD + FULL + OCCUPIED


@dataclass
class Evening:
    """A recorder that has seen answered, refused and busy calls, and what tcpdump saw of them."""

    recorder: Recorder
    folder: Path
    calls: dict[str, dict[str, Any]]
    seen: list[Seen]
    notices: list[dict[str, Any]]

    def messages(self, call_id: str) -> int:
        """How many there were; a busy machine may have sent some again."""
        return sum(frame.call_id == call_id for frame in self.seen)


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    folder = tmp_path_factory.mktemp("evening")
    with Network() as network:
        webhook = Webhook(network.near)
        recorder, tcpdump = Recorder(network.near, folder, alert_clear="3s"), Tcpdump(network.near, folder)
        recorder.start()
        phones = Phones(network, folder)
        for name, port, count in (("good", ANSWERS, GOOD), ("full", NO_CAPACITY, FULL), ("busy", BUSY, OCCUPIED)):
            phones.call_and_wait(name, port, count)
        ended = "state:completed or state:failed or state:busy"
        until(lambda: len(recorder.calls(ended)) == CALLS, "the calls do not end in the list")
        # The alert closes some time after the last failure, and whatever else might be sent had time to come.
        until(lambda: any(n["action"] == "close" for n in webhook.notices), "no alert was opened and closed")
        yield Evening(recorder, folder, recorder.calls(), tcpdump.frames(), webhook.notices)
        webhook.close()


def test_the_list_has_every_call_with_its_state_and_facts(evening: Evening) -> None:
    lines = [json.loads(line) for line in evening.recorder.run("calls", "--json").splitlines()]
    calls = {line["call_id"]: line for line in lines}
    assert len(lines) == len(calls) == CALLS
    kinds = {
        "good": ("completed", 200, "OK", "sipp", ["PCMU"], ANSWERS),
        "full": ("failed", 503, "All trunks busy", "caller", ["PCMA"], NO_CAPACITY),
        "busy": ("busy", 486, "Busy Here", "caller", ["PCMA"], BUSY),
    }
    for call_id, call in calls.items():
        state, code, reason, caller, codecs, port = kinds[call_id.split("-")[0]]
        assert (call["state"], call["final_code"], call["final_reason"]) == (state, code, reason), call
        assert (call["method"], call["from_user"], call["to_user"]) == ("INVITE", caller, "service")
        assert (call["src"], call["dst"], call["transport"]) == (f"{NEAR}:{port + 1000}", f"{FAR}:{port}", "udp")
        assert call["codecs"] == codecs
        assert call["messages"] == evening.messages(call_id)
        talked = call["talk_ms"]
        assert (talked is not None and talked >= 300) if state == "completed" else talked is None
        mine = [frame.ts for frame in evening.seen if frame.call_id == call_id]
        assert call["start"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(min(mine))))


def test_a_filter_finds_the_failed_ones(evening: Evening) -> None:
    found = evening.recorder.run("calls", "state:failed", "--json").splitlines()
    assert sorted(json.loads(line)["call_id"] for line in found) == [f"full-{i + 1}" for i in range(FULL)]


def test_the_ladder_shows_both_ends_and_every_message_in_order(evening: Evening) -> None:
    text = evening.recorder.run("ladder", "good-1")
    assert f"{NEAR}:{ANSWERS + 1000}" in text and f"{FAR}:{ANSWERS}" in text
    rows = [line for line in text.splitlines() if re.match(r" *\d+ +\d\d:\d\d:\d\d", line)]
    assert len(rows) == evening.messages("good-1")
    places = [text.index(word) for word in ("INVITE (SDP)", "180 Ringing", "200 OK (SDP)", "ACK", "BYE")]
    assert places == sorted(places)
    assert "503 All trunks busy" in evening.recorder.run("ladder", "full-1")


@pytest.mark.parametrize("call_id", ["good-1", "full-2", "busy-1"])
def test_the_pcap_has_the_frames_of_the_wire_and_tshark_reads_them(evening: Evening, call_id: str) -> None:
    out = evening.folder / f"{call_id}.pcap"
    evening.recorder.run("pcap", call_id, "-o", str(out))
    given, wire = frames(out), [frame for frame in evening.seen if frame.call_id == call_id]
    assert [frame.data for frame in given] == [frame.data for frame in wire]
    # Both clocks are the kernel's; a slip of units or of the time zone would be thousands of times as much.
    assert all(abs(a.ts - b.ts) < 1 for a, b in zip(given, wire, strict=True))
    fields = "-T fields -e sip.Call-ID -e _ws.malformed -e udp.length"
    done = subprocess.run(
        ["tshark", "-r", str(out), "-Y", "sip", *fields.split()], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(row[0], row[1]) for row in rows] == [(call_id, "")] * len(wire)


def test_one_alert_tells_of_the_503_and_none_of_the_486(evening: Evening) -> None:
    assert {(n["rule"], n["peer"], n["code"]) for n in evening.notices} == {("invite-failed", FAR, 503)}
    assert len({n["id"] for n in evening.notices}) == 1
    actions = [n["action"] for n in evening.notices]
    assert actions[0] == "open" and actions[-1] == "close" and set(actions[1:-1]) <= {"update"}
    last = evening.notices[-1]
    assert last["count"] == FULL
    assert "503 All trunks busy" in last["headline"]
    names = [example["call_id"] for example in last["examples"]]
    assert len(set(names)) == 3 and set(names) <= {f"full-{i + 1}" for i in range(FULL)}
    assert last["first"] == min(c["end"] for c in evening.calls.values() if c["state"] == "failed")


def test_the_links_of_an_alert_lead_to_its_calls(evening: Evening) -> None:
    for example in evening.notices[-1]["examples"]:
        ladder, pcap = (evening.recorder.get(example[part]) for part in ("ladder", "pcap"))
        assert (ladder.status_code, pcap.status_code) == (200, 200)
        assert ladder.headers["content-type"].startswith("image/svg+xml") and "503 All trunks busy" in ladder.text
        assert pcap.content == evening.recorder.pcap(example["call_id"])


def test_metrics_count_what_went_by(evening: Evening) -> None:
    def value(sample: str) -> float:
        return float(re.search(rf"^{re.escape(sample)} (\S+)$", text, re.M)[1])  # type: ignore[index]

    text = evening.recorder.get("/metrics").text
    messages = len(evening.seen)
    assert value("siptrail_packets_total") == value("siptrail_stored_messages") == messages
    assert value('siptrail_interface_packets_total{interface="near0"}') == messages
    assert value("siptrail_stored_calls") == CALLS
    assert value(f'siptrail_invite_failures_total{{code="503",peer="{FAR}",rule="invite-failed"}}') == FULL
    assert text.count("siptrail_invite_failures_total{") == 1
    assert value('siptrail_alert_deliveries_total{outcome="sent",sink="webhook"}') == len(evening.notices)
    for name in ("not_sip", "kernel_drops", "queue_drops", "unreadable"):
        assert value(f"siptrail_{name}_total") == 0


def test_failed_calls_are_diagnosed_before_anybody_asks(evening: Evening) -> None:
    def done() -> float:
        text = evening.recorder.get("/metrics").text
        return float(re.search(r"^siptrail_diagnosis_done (\S+)", text, re.MULTILINE)[1])  # type: ignore[index]

    until(lambda: done() >= FULL, "failed calls are not diagnosed")


def test_a_message_can_be_found_right_after_it_was_on_the_wire(live: Live) -> None:
    def send(number: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind((NEAR, 0))
            text = (
                f"OPTIONS sip:far@{FAR} SIP/2.0\r\nVia: SIP/2.0/UDP {NEAR};branch=z9hG4bK{number}\r\n"
                f"From: <sip:near@{NEAR}>;tag=1\r\nTo: <sip:far@{FAR}>\r\nCall-ID: ping-{number}\r\n"
                "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            out.sendto(text.encode(), (FAR, 5060))

    waits = []
    for number in range(5):
        live.network.near.inside(send, number)
        sent = time.monotonic()
        until(lambda n=number: f"ping-{n}" in live.recorder.calls(), "the message cannot be found")  # type: ignore[misc]
        waits.append(time.monotonic() - sent)
    # It takes some 0.1 s; five are for machines that do much else.
    assert max(waits) < 5, waits


def test_calls_over_tcp_in_one_connection_and_in_one_each(live: Live) -> None:
    live.phones.answer_over_tcp()
    names = [
        *live.phones.call_and_wait("together", ANSWERS, 200, rate=200, over="t1"),
        *live.phones.call_and_wait("alone", ANSWERS, 20, over="tn"),
    ]
    until(lambda: len(live.recorder.calls("state:completed transport:tcp")) == len(names), "calls over TCP are missing")
    calls = live.recorder.calls("transport:tcp")
    assert set(calls) == set(names)
    assert {call["messages"] for call in calls.values()} == {6}, "each message once"
    assert {call["final_code"] for call in calls.values()} == {200}
    stats = json.loads(live.recorder.run("stats", "--json"))
    assert (stats["stream_gaps"], stats["unreadable"], stats["kernel_drops"]) == (0, 0, 0)


def check_all_is_there_once(live: Live, blind: list[tuple[float, float]]) -> None:
    """Hold the steady calls' frames against those of tcpdump, which also saw what came while nobody recorded."""
    given: Counter[bytes] = Counter()
    path = live.folder / "call.pcap"
    for call_id in live.recorder.calls("call-id:steady*"):
        path.write_bytes(live.recorder.pcap(call_id))
        given += times_seen(frames(path))
    seen = [f for f in live.tcpdump.frames() if f.call_id.startswith("steady")]
    owed = [f for f in seen if not any(start <= f.ts <= end for start, end in blind)]
    doubled, missing = given - times_seen(seen), times_seen(owed) - given
    assert not doubled, f"{len(doubled)} frames were never on the wire, or not so often: {list(doubled)[:3]}"
    assert not missing, f"{len(missing)} of {len(owed)} frames are missing: {list(missing)[:3]}"


def test_sigterm_loses_nothing_and_the_next_start_doubles_nothing(live: Live) -> None:
    blind: list[tuple[float, float]] = []
    live.phones.call("steady", ANSWERS, 1000, rate=3)
    for number in (1, 2):
        until(lambda n=number: len(live.tcpdump.frames()) > 30 * n, "no calls on the wire")  # type: ignore[misc]
        asked = time.time()
        assert live.recorder.end() == 0
        if number == 2:
            live.phones.hang_up()
        live.recorder.start()
        blind.append((asked, time.time()))
    assert "recovered" not in live.recorder.log(), "something was left in the spool"
    check_all_is_there_once(live, blind)


def test_kill_9_costs_a_second_at_most_whenever_it_comes(live: Live) -> None:
    spool = live.recorder.store / "spool"
    blind: list[tuple[float, float]] = []

    def kill() -> None:
        asked = time.time()
        assert live.recorder.end(signal.SIGKILL) == -signal.SIGKILL
        live.recorder.start()
        blind.append((asked - 1, time.time()))

    live.phones.call("steady", ANSWERS, 1000, rate=3)
    until(lambda: len(live.tcpdump.frames()) > 30, "no calls on the wire")
    kill()
    assert "recovered" in live.recorder.log()
    # Once more at the moment when rows have just gone from the spool into the store.
    first = set(until(lambda: list(spool.glob("*.pcapng")), "nothing is spooled"))
    until(lambda: not first & set(spool.glob("*.pcapng")), "the spool is never taken over", 60)
    kill()
    live.phones.hang_up()
    # What comes out last went in last.
    live.phones.call_and_wait("last", ANSWERS, 1)
    until(lambda: "last-1" in live.recorder.calls("state:completed"), "the last call is not there")
    check_all_is_there_once(live, blind)


def test_a_receiver_that_is_down_gets_the_alert_later(live: Live) -> None:
    live.phones.call_and_wait("full", NO_CAPACITY, 1)
    until(lambda: "trying again" in live.recorder.log(), "the receiver's absence is not noticed")
    assert "full-1" in live.recorder.calls("state:failed")
    webhook = Webhook(live.network.near)
    until(lambda: webhook.notices, "the alert never comes", 60)
    webhook.close()
    assert [(n["action"], n["code"], n["examples"][0]["call_id"]) for n in webhook.notices] == [("open", 503, "full-1")]


def test_an_interface_that_vanishes_is_reported_and_recorded_again_when_it_is_back(live: Live) -> None:
    def recording() -> bool:
        return bool(live.recorder.get("/api/v1/interfaces").json()["interfaces"][0]["recording"])

    live.phones.call_and_wait("before", ANSWERS, 1)
    until(lambda: "before-1" in live.recorder.calls(), "the call before is not there")
    assert recording()
    live.network.cut()
    until(lambda: not recording(), "nobody notices that the interface is gone")
    assert re.search(r"WARNING .*near0", live.recorder.log())
    assert 'siptrail_interface_recording{interface="near0"} 0.0' in live.recorder.get("/metrics").text
    assert "before-1" in live.recorder.calls()

    live.network.connect()
    until(recording, "the interface is back and is not recorded")
    live.phones.call_and_wait("after", ANSWERS, 1)
    until(lambda: "after-1" in live.recorder.calls(), "the call after is not there")
    assert live.recorder.end() == 0
