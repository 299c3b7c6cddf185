"""The API as other programs meet it: bytes on a socket, headers, errors, the token, metrics."""

from __future__ import annotations

import http.client
import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from desk_of_sip import SipDesk, serving
from prometheus_client.parser import text_string_to_metric_families

from alerts.book import AlertBook
from alerts.event import FailureEvent
from api.client import HttpDesk
from api.ladders import negotiate
from api.serve import ApiServer, check_bind
from api.server import create_app
from sip.errors import SiptrailError, Unreachable


def get(url: str, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The target goes out exactly as written: no library tidies its dots and escapes."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("target", "call_id"),
    [
        ("/api/v1/calls/a%2Fb", "a/b"),
        ("/api/v1/calls/a%2Fladder", "a/ladder"),
        ("/api/v1/calls/%252F", "%2F"),
        ("/api/v1/calls/a%252Fb", "a%2Fb"),
        ("/api/v1/calls/..", ".."),
        ("/api/v1/calls/%2E%2E", ".."),
        ("/api/v1/calls/", ""),
        ("/api/v1/calls/a+b", "a+b"),
        ("/api/v1/calls/%ff%80%20not%20UTF-8", "\uefff\uef80 not UTF-8"),
        ("/api/v1/calls/%70lain@192.0.2.1?x=/y", "plain@192.0.2.1"),
        ("/api/v1/calls/messages", "messages"),
        ("/api/v1/calls/=", "="),
    ],
)
def test_call_id_is_decoded_once_and_after_splitting(url: str, target: str, call_id: str) -> None:
    status, _, body = get(url, target)
    assert (status, json.loads(body).get("call_id")) == (200, call_id)


@pytest.mark.parametrize(
    "target", ["/api/v1/calls/a/b", "/api/v1/%63alls/a%2Fb", "/api/v1/calls/a%2Fb/none", "/none", "/api/v1/"]
)
def test_what_is_not_there_is_404_with_a_detail(url: str, target: str) -> None:
    status, headers, body = get(url, target)
    assert status == 404 and headers["content-type"] == "application/json"
    assert isinstance(json.loads(body)["detail"], str)


def test_query_bytes_that_are_not_utf8_reach_the_desk(desk: SipDesk, url: str) -> None:
    assert get(url, "/api/v1/calls?filter=%ff+a%2Bb&limit=1")[0] == 200
    assert desk.asked[-1] == ("\uefff a+b", 1, None)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "filter=("])
def test_wrong_queries_are_400_in_one_line(url: str, query: str) -> None:
    status, _, body = get(url, f"/api/v1/calls?{query}")
    detail = json.loads(body)["detail"]
    assert status == 400 and isinstance(detail, str) and "\n" not in detail


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/plain; charset=utf-8"),
        ("image/svg+xml", "image/svg+xml"),
        ("text/vnd.mermaid", "text/vnd.mermaid; charset=utf-8"),
        ("application/json;q=0.5, image/svg+xml;q=0.9", "image/svg+xml"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "image/svg+xml"),
    ],
)
def test_ladder_by_accept(url: str, accept: str, kind: str) -> None:
    status, headers, _ = get(url, "/api/v1/calls/a%2Fb/ladder", Accept=accept)
    assert (status, headers["content-type"], headers["vary"]) == (200, kind, "Accept")


def test_ladder_that_nobody_can_draw(url: str) -> None:
    assert get(url, "/api/v1/calls/a%2Fb/ladder", Accept="image/png")[0] == 400
    with pytest.raises(SiptrailError):
        negotiate("text/plain;q=0")


@pytest.mark.parametrize("suffix", ["txt", "svg", "mmd", "json"])
def test_ladder_by_suffix_whatever_accept_says(url: str, suffix: str) -> None:
    by_suffix = get(url, f"/api/v1/calls/a%2Fladder/ladder.{suffix}", Accept="image/png")
    assert by_suffix[0] == 200 and by_suffix[2]


def test_pcap_is_a_download_with_a_harmless_name(url: str) -> None:
    status, headers, body = get(url, "/api/v1/calls/%22%27%3C%3E%26/pcap")
    assert status == 200 and body.startswith(b"\x4d\x3c\xb2\xa1")
    assert headers["content-disposition"] == 'attachment; filename="call.pcap"'


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_run_their_own_script_only(url: str, path: str) -> None:
    status, headers, body = get(url, path)
    policy = headers["content-security-policy"]
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert re.search(r"script-src 'sha256-[^ ]+';", policy) and "default-src 'none'" in policy
    html = body.decode()
    assert not re.search(r"""(src|href)=["']?(https?:)?//|innerHTML|insertAdjacentHTML|document\.write""", html)
    assert not re.search(r"\son[a-z]+=", html.split("<script>")[0])


def test_svg_alone_may_not_run_scripts(url: str) -> None:
    headers = get(url, "/api/v1/calls/a%2Fb/ladder.svg")[1]
    assert "sandbox" in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"


def test_token() -> None:
    with serving(SipDesk(["c"]), token="s3cret-é") as url:
        for target in ("/", "/docs", "/openapi.json", "/metrics", "/api/v1/stats", "/api/v1/calls/c", "/none"):
            status, headers, body = get(url, target)
            assert (status, headers["www-authenticate"]) == (401, "Bearer"), target
            assert "token" in json.loads(body)["detail"]
        assert get(url, "/healthz")[0] == 200
        assert get(url, "/api/v1/stats?token=s3cret-%C3%A9")[0] == 200
        assert get(url, "/api/v1/stats?token=s3cret")[0] == 401
        assert get(url, "/api/v1/stats?token=")[0] == 401
        assert get(url, "/api/v1/stats", Authorization="Basic s3cret")[0] == 401
    with serving(SipDesk(["c"]), token="s3cret") as url:
        assert get(url, "/api/v1/stats", Authorization="Bearer s3cret")[0] == 200
        assert get(url, "/api/v1/stats", Authorization="Bearer s3cre")[0] == 401
        assert HttpDesk(url, "s3cret").call("c").call_id == "c"
        with pytest.raises(Unreachable, match="wants a token"):
            HttpDesk(url, "wrong").call("c")


def test_metrics() -> None:
    book = AlertBook()
    for i in range(4):
        book.feed(FailureEvent(1, '192.0.2.9"', 503, "", f"c{i}", "h", ""), 1)
    with serving(SipDesk([]), alerts=book) as url:
        text = httpx.get(f"{url}/metrics").text
        alerts = httpx.get(f"{url}/api/v1/alerts").json()["alerts"]
    samples = {
        (s.name, *sorted(s.labels.values())): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }
    assert samples["siptrail_packets_total",] == 10
    assert samples["siptrail_kernel_drops_total",] == 5
    assert samples["siptrail_stored_final_responses", "488", "INVITE"] == 1
    assert samples["siptrail_invite_failures_total", '192.0.2.9"', "503", "invite-failed"] == 4
    assert samples["siptrail_alerts_open",] == 1
    assert samples["siptrail_stored_requests", "other"] == 4
    assert samples["siptrail_stored_final_responses", "other", "other"] == 2
    assert [(a["state"], a["count"]) for a in alerts] == [("open", 4)]


def test_port_in_use_is_one_line(url: str) -> None:
    port = urlsplit(url).port
    assert port is not None
    with pytest.raises(Unreachable, match=rf"^cannot listen on 127.0.0.1:{port}: .*--listen$"):
        ApiServer(create_app(SipDesk([]), version="0")).start("127.0.0.1", port)


def test_stop_frees_the_port() -> None:
    with serving(SipDesk([])) as url:
        port = urlsplit(url).port
    assert port is not None
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "token", "insecure", "fine"),
    [
        ("127.0.0.1", None, False, True),
        ("::1", None, False, True),
        ("localhost", None, False, True),
        ("127.8.8.8", None, False, True),
        ("0.0.0.0", None, False, False),
        ("::", None, False, False),
        ("192.0.2.1", "", False, False),
        ("example.org", None, False, False),
        ("", None, False, False),
        ("0.0.0.0", "t", False, True),
        ("0.0.0.0", None, True, True),
    ],
)
def test_beyond_loopback_only_with_a_token(host: str, token: str | None, insecure: bool, fine: bool) -> None:
    if fine:
        check_bind(host, token, insecure)
        return
    with pytest.raises(SiptrailError, match="without a token"):
        check_bind(host, token, insecure)


def test_import_wants_json_so_that_a_foreign_page_cannot_send_it() -> None:
    got: list[Path] = []

    def importer(path: Path, keylog: Path | None, again: bool) -> dict[str, Any]:
        got.append(path)
        return {}

    with serving(SipDesk([]), importer=importer) as url:
        body, plain = '{"path": "/x"}', {"Content-Type": "text/plain"}
        assert httpx.post(f"{url}/api/v1/imports", content=body, headers=plain).status_code == 400
        assert not got
        assert httpx.post(f"{url}/api/v1/imports", json={"path": "/x"}).status_code == 200
    assert got == [Path("/x")]


def test_metrics_of_each_interface() -> None:
    def interfaces() -> list[dict[str, Any]]:
        return [{"name": "eth0", "recording": True, "kernel_drops": 3}, {"name": "hep", "recording": False, "rtcp": 2}]

    with serving(SipDesk([]), interfaces=interfaces) as url:
        text = httpx.get(f"{url}/metrics").text
    assert 'siptrail_interface_kernel_drops_total{interface="eth0"} 3.0' in text
    assert 'siptrail_interface_rtcp_total{interface="hep"} 2.0' in text
    assert 'siptrail_interface_recording{interface="hep"} 0.0' in text


def test_topics_are_explained(url: str) -> None:
    for target, name in (("488", "488 Not Acceptable Here"), ("nat_uac_test%2019", "kamailio nat_uac_test 19")):
        status, _, body = get(url, f"/api/v1/explain/{target}")
        assert status == 200 and json.loads(body)["explanations"][0]["name"] == name
    assert json.loads(get(url, "/api/v1/explain/STIR%2FSHAKEN")[2])["topic"] == "STIR/SHAKEN"
    status, _, body = get(url, "/api/v1/explain/hairpn")
    assert status == 404 and "hairpin" in json.loads(body)["detail"]


@pytest.mark.parametrize("other", ["a%2Fb", "%FF%80%20not%20UTF-8", "%2E%2E", "%2F%2F", "x%2Fladder.svg", "%3D"])
def test_two_calls_with_odd_call_ids_are_compared(url: str, other: str) -> None:
    status, _, body = get(url, f"/api/v1/calls/plain@192.0.2.1/compare/{other}")
    answer = json.loads(body)
    assert status == 200 and answer["equal"] is True and answer["differences"] == []
    found = answer["second"]["call_id"]
    assert found == {"%FF%80%20not%20UTF-8": "\uefff\uef80 not UTF-8"}.get(other, unquote(other))
    assert [p["first"]["text"] for p in answer["steps"]] == [p["second"]["text"] for p in answer["steps"]]


def test_comparing_with_a_call_that_is_not_there(url: str) -> None:
    status, _, body = get(url, "/api/v1/calls/plain@192.0.2.1/compare/none")
    assert status == 404 and "no call has the Call-ID" in json.loads(body)["detail"]


def test_media_of_a_call_without_sdp(url: str) -> None:
    status, _, body = get(url, "/api/v1/calls/a%2Fb/media")
    assert status == 200 and json.loads(body) == {"call_id": "a/b", "exchanges": []}
