"""A desk over HTTP: the same questions as in the service's own process, asked of a running service.

It owns the mapping of HTTP answers to our errors. It loads no web framework.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from alerts.links import CALLS, call_url, quoted
from api.records import resends_from_json, trace_from_json
from diagnose.finding import Finding
from index.legs import CallLegs
from index.questions import Resends, Start
from index.summary import CallPage, CallSummary, Stats, from_rfc3339, rfc3339
from index.trace import CallTrace
from sip.errors import Misread, NotFound, SiptrailError, TooMuch, Unreachable

SUFFIXES = {"text": "txt", "svg": "svg", "mermaid": "mmd", "json": "json"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ALIVE_SECONDS = 2.0


class HttpDesk:
    """Answers `diagnose.desk.Desk` from the service at `url`."""

    def __init__(self, url: str, token: str | None = None, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname)
            httpx.URL(self.url)
        except (ValueError, httpx.InvalidURL):
            valid = False
        if not valid:
            raise SiptrailError(f"{url!r} is not the address of a service; write for example http://127.0.0.1:8060")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy in the environment is for the outside world, not for this machine.
        self._client = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            trust_env=parts.hostname not in LOOPBACK,
        )

    # ---------------------------------------------------------------- the Desk

    def calls(self, filter: str = "", limit: int = 100, before: str | None = None) -> CallPage:
        query = f"?limit={limit}&filter={quoted(filter)}" + (f"&before={quoted(before)}" if before else "")
        record = self._json(f"{self.url}{CALLS}{query}")
        searched = record.get("searched")
        return CallPage(
            tuple(CallSummary.from_json(c) for c in record["calls"]),
            record["next"],
            record["matched"],
            from_rfc3339(searched) if searched else None,
            record.get("progress"),
        )

    def call(self, call_id: str) -> CallSummary:
        return CallSummary.from_json(self._json(self._call(call_id)))

    def trace(self, call_id: str) -> CallTrace:
        return trace_from_json(self._json(self._call(call_id, "messages")))

    def findings(self, call_id: str, legs: bool = True) -> tuple[Finding, ...]:
        return tuple(Finding.from_json(f) for f in self._json(self._call(call_id, "findings"))["findings"])

    def legs(self, call_id: str) -> CallLegs:
        return CallLegs.from_json(self._json(self._call(call_id, "legs")))

    def pcap(self, call_id: str, legs: bool = False) -> bytes:
        return self._get(self._call(call_id, "pcap") + ("?legs=true" if legs else "")).content

    def stats(self) -> Stats:
        record = self._json(f"{self.url}/api/v1/stats")
        return Stats(**{f.name: record[f.name] for f in fields(Stats) if f.name in record})

    def progress(self) -> float | None:
        return None

    def close(self) -> None:
        self._client.close()

    # ---------------------------------------------------------------- more than a Desk

    def alive(self) -> bool:
        """Whether a siptrail service answers there."""
        try:
            answer = self._client.get(f"{self.url}/healthz", timeout=ALIVE_SECONDS)
            return answer.is_success and answer.json().get("service") == "siptrail"
        except (httpx.HTTPError, ValueError, AttributeError):
            return False

    def ladder_text(self, call_id: str, format: str = "text") -> str:
        """The ladder as text, svg, mermaid or json, drawn by the service."""
        if format not in SUFFIXES:
            raise SiptrailError(f"{format!r} is not a ladder format; there are {', '.join(SUFFIXES)}")
        return self._get(self._call(call_id, f"ladder.{SUFFIXES[format]}")).content.decode("utf-8")

    def import_file(self, path: Path, keylog: Path | None = None, again: bool = False) -> dict[str, Any]:
        """Let the service import a capture file that lies on its machine; takes as long as it takes.

        So does the key log that opens its TLS. `again`: even if its content is in the store."""
        asked = {"path": str(path), "again": again} | ({"keylog": str(keylog)} if keylog is not None else {})
        record: dict[str, Any] = self._decoded(
            self._ask("POST", f"{self.url}/api/v1/imports", json=asked, timeout=None)
        )
        return record

    def ask_store(self, method: str, what: str, values: dict[str, Any]) -> dict[str, Any]:
        """Ask whoever keeps the service's store; takes as long as it takes."""
        more: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        url = f"{self.url}/api/v1/store/{what}"
        record: dict[str, Any] = self._decoded(self._ask(method, url, timeout=None, **more))
        return record

    def alerts(self) -> list[dict[str, Any]]:
        """Open alerts, then recently closed ones."""
        found: list[dict[str, Any]] = self._json(f"{self.url}/api/v1/alerts")["alerts"]
        return found

    def starts(self, filter: str, of: str | None, per: str, since: int, until: int) -> list[Start]:
        """What alert rules count of every single call (see `diagnose.desk.CountingDesk`)."""
        query = f"?filter={quoted(filter)}&per={per}&since={rfc3339(since)}&until={rfc3339(until)}"
        query += f"&of={quoted(of)}" if of is not None else ""
        return [Start(*call) for call in self._json(f"{self.url}/api/v1/starts{query}")["calls"]]

    def resends(self, since: int, until: int, step: int, per: str) -> list[Resends]:
        """Requests that were sent again, by host (see `diagnose.desk.ResendDesk`)."""
        query = f"?since={rfc3339(since)}&until={rfc3339(until)}&step={step // 10**9}&per={per}"
        return [resends_from_json(row) for row in self._json(f"{self.url}/api/v1/resends{query}")["hosts"]]

    def interfaces(self) -> list[dict[str, Any]]:
        """What is being recorded."""
        found: list[dict[str, Any]] = self._json(f"{self.url}/api/v1/interfaces")["interfaces"]
        return found

    # ---------------------------------------------------------------- HTTP

    def _call(self, call_id: str, part: str = "") -> str:
        return call_url(self.url, call_id, part)

    def _json(self, url: str) -> Any:
        return self._decoded(self._get(url))

    def _decoded(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise Unreachable(f"{self.url} answers, but not as a siptrail service; check the address") from error

    def _get(self, url: str) -> httpx.Response:
        return self._ask("GET", url)

    def _ask(self, method: str, url: str, **more: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, url, **more)
        except httpx.TimeoutException as error:
            raise Unreachable(f"the service at {self.url} did not answer in time; it may be busy, try again") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            text = f"no service answers at {self.url} ({why}); start `siptrail run`, or check --url"
            raise Unreachable(text) from error
        if answer.is_success:
            return answer
        detail = _detail(answer)
        if answer.status_code == 401:
            raise Unreachable(f"the service at {self.url} wants a token; give --token or set SIPTRAIL_TOKEN")
        if answer.status_code == 404:
            raise NotFound(detail)
        if answer.status_code == 504:
            raise TooMuch(detail)
        if 400 <= answer.status_code < 500:
            place = _position(answer)
            if place is not None:
                raise Misread(detail, parse_qs(urlsplit(url).query).get("filter", [""])[0], place)
            raise SiptrailError(detail)
        raise Unreachable(f"the service at {self.url} cannot answer: {detail}" if answer.status_code != 503 else detail)


def _position(answer: httpx.Response) -> int | None:
    """Which character of a filter is wrong."""
    try:
        place = answer.json().get("position")
    except (ValueError, AttributeError):
        return None
    return place if isinstance(place, int) else None


def _detail(answer: httpx.Response) -> str:
    """The error's own text in one line."""
    try:
        text = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        text = f"{answer.status_code} {answer.reason_phrase}"
    return " ".join(text.split())
