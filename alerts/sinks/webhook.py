"""Notices as JSON by HTTP POST.

Options: `url` (required), `timeout` in seconds (default 10), `headers` (a table, for the receiver's own token).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from alerts.event import Notice
from alerts.sink import Refused, Sink
from sip.errors import SiptrailError

TRY_AGAIN = (408, 425, 429)
"""The client errors that pass by themselves (RFC 9110 section 15.5.9, RFC 8470, RFC 6585)."""


class WebhookSink:
    """Posts each notice; raises unless the receiver says 2xx."""

    def __init__(self, url: str, timeout: float, headers: Mapping[str, str]) -> None:
        self.url = url
        self.client = httpx.Client(timeout=timeout, headers=dict(headers))

    def send(self, notice: Notice) -> None:
        answer = self.client.post(self.url, json=notice.to_json())
        if answer.is_success:
            return
        # The address may hold a secret, so only the host is named.
        text = f"{answer.url.host} answered {answer.status_code}"
        if answer.status_code < 500 and answer.status_code not in TRY_AGAIN:
            raise Refused(text)
        raise ConnectionError(text)


def open_sink(config: Mapping[str, Any]) -> Sink:
    """The sink with these options."""
    url = str(config.get("url", ""))
    if not url.startswith(("http://", "https://")):
        raise SiptrailError(f"alert sink webhook: url {url!r} is not an http:// or https:// address")
    return WebhookSink(url, float(config.get("timeout", 10.0)), config.get("headers", {}))
