"""The signed statement about a caller in an Identity header (PASSporT: RFC 8224, 8225, 8588), read without its key."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Passport:
    """What the statement claims; nobody has checked its signature here."""

    attest: str
    orig: str
    dest: tuple[str, ...]
    issued: int | None
    """Seconds since the epoch."""


def read(value: str) -> Passport | None:
    """The claims of an Identity header's value, None where they cannot be read (as in the compact form)."""
    parts = value.partition(";")[0].strip().split(".")
    claims = _json(parts[1]) if len(parts) == 3 else None
    if not isinstance(claims, dict):
        return None
    dest, issued = claims.get("dest"), claims.get("iat")
    called = dest.get("tn", []) if isinstance(dest, dict) else []
    return Passport(
        str(claims.get("attest") or ""),
        _number(claims.get("orig")),
        tuple(str(n) for n in (called if isinstance(called, list) else [called])),
        issued if isinstance(issued, int) and not isinstance(issued, bool) else None,
    )


def _number(orig: Any) -> str:
    return str(orig.get("tn") or orig.get("uri") or "") if isinstance(orig, dict) else ""


def _json(part: str) -> Any:
    try:
        return json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
