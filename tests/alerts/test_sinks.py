"""Notices on their way out: the log, a real HTTP receiver, retries, and a sink that hangs."""

from __future__ import annotations

import http.server
import json
import logging
import threading
from dataclasses import replace
from typing import Any

import pytest
from failures import notice
from prometheus_client import generate_latest

from alerts.dispatch import Dispatcher
from alerts.metrics import REGISTRY
from alerts.sink import sink_names
from alerts.sinks.log import open_sink
from sip.errors import SiptrailError

PATIENCE = 20.0


class Receiver:
    """An HTTP server that answers the given codes first, and 204 from then on."""

    def __init__(self, port: int = 0, answers: tuple[int, ...] = ()) -> None:
        outer = self
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.arrived = threading.Semaphore(0)
        left = list(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.headers.append(dict(self.headers))
                outer.got.append(json.loads(body))
                self.send_response(left.pop(0) if left else 204)
                self.end_headers()
                outer.arrived.release()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=PATIENCE), f"only {len(self.got)} of {count} came"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_sinks_are_found_by_their_files() -> None:
    assert {"log", "prometheus", "webhook"} <= set(sink_names())


def test_webhook_that_is_down_first_gets_everything_in_order() -> None:
    first = Receiver()
    port = first.port
    first.close()
    dispatcher = Dispatcher({"webhook": {"url": f"http://127.0.0.1:{port}/hook"}}, first_wait=0.05)
    for i in range(3):
        dispatcher.send(notice(i))
    receiver = Receiver(port)
    try:
        receiver.wait(3)
        assert receiver.got == [notice(i).to_json() for i in range(3)]
        dispatcher.close()
        assert dispatcher.counts() == {"webhook": {"sent": 3, "dropped": 0, "failed": 0}}
    finally:
        receiver.close()


def test_webhook_tries_again_after_an_error_but_not_after_a_refusal() -> None:
    receiver = Receiver(answers=(503, 429, 204, 404))
    options = {"url": f"http://127.0.0.1:{receiver.port}/", "headers": {"X-Key": "k"}}
    dispatcher = Dispatcher({"webhook": options}, first_wait=0.02)
    try:
        for i in range(3):
            dispatcher.send(notice(i))
        receiver.wait(5)
        dispatcher.close()
        assert [r["id"] for r in receiver.got] == [notice(i).id for i in (0, 0, 0, 1, 2)]
        assert dispatcher.counts()["webhook"] == {"sent": 2, "dropped": 0, "failed": 1}
        assert receiver.headers[0]["X-Key"] == "k"
    finally:
        receiver.close()


def test_a_sink_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    hanging = threading.Event()

    class Hanging(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hanging.wait(PATIENCE)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        with caplog.at_level(logging.WARNING, "siptrail.alerts"):
            dispatcher = Dispatcher({"webhook": {"url": url, "timeout": 1}, "log": {}}, queue_size=5)
            for i in range(5):
                dispatcher.send(notice(i))
            assert dispatcher.counts()["webhook"]["sent"] == 0
            for i in range(5, 100):
                dispatcher.send(notice(i))
            dispatcher.close(patience=0.5)
        counts = dispatcher.counts()
        assert counts["webhook"]["dropped"] >= 94
        assert counts["log"]["sent"] + counts["log"]["dropped"] == 100
    finally:
        hanging.set()
        server.shutdown()
        server.server_close()


def test_a_sink_that_cannot_open_is_skipped_and_the_others_work(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "siptrail.alerts"):
        dispatcher = Dispatcher({"webhook": {"url": "ftp://x"}, "log": {}})
        dispatcher.send(notice())
        dispatcher.close()
    assert "alert sink webhook is not used" in caplog.text
    assert dispatcher.counts() == {"log": {"sent": 1, "dropped": 0, "failed": 0}}


def test_a_sink_that_is_not_there_is_a_wrong_setting() -> None:
    with pytest.raises(SiptrailError, match=r"no alert sink 'pager'; there are log, prometheus, webhook"):
        Dispatcher({"pager": {}})


def test_log_line_has_no_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "siptrail.alerts"):
        open_sink({}).send(replace(notice(), headline="bad\x1b[2J\r\nfake line \u202e", call_ids=("a\nb",)))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert not set("\x1b\r\n\u202e") & set(record.getMessage())
    assert "bad" in record.getMessage()


def test_prometheus_counts_notices() -> None:
    def opened() -> float:
        return (
            REGISTRY.get_sample_value("siptrail_alert_notices_total", {"rule": "invite-failed", "action": "open"}) or 0
        )

    before = opened()
    dispatcher = Dispatcher({"prometheus": {}})
    dispatcher.send(notice())
    dispatcher.send(notice(action="close"))
    dispatcher.close()
    assert opened() == before + 1
    assert b'siptrail_alert_deliveries_total{outcome="sent",sink="prometheus"}' in generate_latest(REGISTRY)
