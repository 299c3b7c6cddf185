"""Ports on which SIP is expected unless the configuration names others. It opens and judges nothing."""

from __future__ import annotations

DEFAULT_SIP_PORTS = frozenset({5060, 5061, 5080})
"""Everything on these is taken for SIP; on other ports a packet must begin like SIP."""
DEFAULT_WS_PORTS = frozenset({80, 5066, 8080, 8088})
"""Where SIP over WebSocket (RFC 7118) is met in the clear: HTTP, FreeSWITCH, application servers, Asterisk."""
