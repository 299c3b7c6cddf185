"""HttpDesk against a real server: what comes back equals what the desk behind it holds."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from desk_of_sip import FINDING, ODD_CALL_IDS, STATS, SipDesk, serving, summary_of, trace_of

from api.client import HttpDesk
from sip.errors import NotFound, SiptrailError, Unreachable
from sip.text import bytes_of


@pytest.mark.parametrize("call_id", ODD_CALL_IDS)
def test_every_call_id_round_trips(url: str, call_id: str) -> None:
    client = HttpDesk(url)
    assert client.call(call_id) == summary_of(call_id)
    assert client.trace(call_id) == trace_of(call_id)
    assert client.findings(call_id) == (FINDING,)
    assert client.pcap(call_id) == b"\x4d\x3c\xb2\xa1" + bytes_of(call_id)
    assert client.ladder_text(call_id, "svg").lstrip().startswith("<")


def test_messages_keep_bytes_that_are_not_text(url: str) -> None:
    raw = HttpDesk(url).trace("a/b").messages[0].sip.raw
    assert raw.endswith(b"\r\n\r\n\xff\x00")


@pytest.mark.parametrize("call_id", ["a", "b", "%", "a%2fb", "plain@192.0.2.1 ", "PLAIN@192.0.2.1", "é"])
def test_only_the_exact_call_id_is_found(url: str, call_id: str) -> None:
    with pytest.raises(NotFound, match="no call has the Call-ID"):
        HttpDesk(url).call(call_id)


def test_list_passes_filter_limit_and_mark_exactly(desk: SipDesk, url: str) -> None:
    page = HttpDesk(url).calls('call_id:"a+b & c=%2F" é', 2, "1:\uefff next&x")
    assert desk.asked[-1] == ('call_id:"a+b & c=%2F" é', 2, "1:\uefff next&x")
    assert page.calls == (summary_of(ODD_CALL_IDS[0]), summary_of(ODD_CALL_IDS[1]))
    assert (page.next, page.matched) == ("1:\uefff next", len(ODD_CALL_IDS))


def test_stats_interfaces_alerts(url: str) -> None:
    client = HttpDesk(url)
    assert client.stats() == STATS
    assert client.interfaces() == [{"name": "eth0", "recording": True}]
    assert client.alerts() == []


def test_wrong_filter_is_the_users_error_in_the_services_words(url: str) -> None:
    with pytest.raises(SiptrailError, match=r"^filter: '\(' is never closed$") as caught:
        HttpDesk(url).calls("(")
    assert caught.value.exit_code == 2


def test_error_kinds_cross_the_wire() -> None:
    with (
        serving(SipDesk([], error=Unreachable("the store is gone"))) as url,
        pytest.raises(Unreachable, match=r"^the store is gone$"),
    ):
        HttpDesk(url).calls()
    with serving(SipDesk([], error=ZeroDivisionError("inside"))) as url, pytest.raises(Unreachable) as caught:
        HttpDesk(url).calls()
    assert "inside" not in str(caught.value)


def test_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = HttpDesk(url)
    assert not client.alive()
    with pytest.raises(Unreachable, match="no service answers") as caught:
        client.stats()
    assert "\n" not in str(caught.value)


def test_somebody_else_listens() -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        client = HttpDesk(f"http://127.0.0.1:{server.server_port}")
        assert not client.alive()
        with pytest.raises(Unreachable, match="not as a siptrail service"):
            client.stats()
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("url", ["127.0.0.1:8060", "ftp://x", "http://", "http://[::1", ""])
def test_address_that_is_none(url: str) -> None:
    with pytest.raises(SiptrailError, match="not the address of a service"):
        HttpDesk(url)


def test_alive_and_import() -> None:
    got: list[Path] = []

    def importer(path: Path, keylog: Path | None, again: bool) -> dict[str, Any]:
        got.append(path)
        if path.name == "missing.pcap":
            raise Unreachable(f"cannot read {path}")
        return {"file": path.name, "messages": 3}

    with serving(SipDesk([]), importer=importer) as url:
        client = HttpDesk(url)
        assert client.alive()
        assert client.import_file(Path("/captures/a b.pcap")) == {"file": "a b.pcap", "messages": 3}
        assert got == [Path("/captures/a b.pcap")]
        with pytest.raises(Unreachable, match=r"^cannot read /captures/missing\.pcap$"):
            client.import_file(Path("/captures/missing.pcap"))
        with pytest.raises(SiptrailError, match="not an absolute path"):
            client.import_file(Path("a.pcap"))
    assert len(got) == 2
    with serving(SipDesk([])) as url, pytest.raises(NotFound):
        HttpDesk(url).import_file(Path("/captures/a.pcap"))


def test_ladder_formats(url: str) -> None:
    client = HttpDesk(url)
    assert "488" in client.ladder_text("a/b")
    assert client.ladder_text("a/b", "mermaid").startswith("sequenceDiagram")
    assert isinstance(json.loads(client.ladder_text("a/b", "json")), dict)
    with pytest.raises(SiptrailError, match="not a ladder format"):
        client.ladder_text("a/b", "png")
