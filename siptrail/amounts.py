"""Durations, sizes, shares and addresses as people write them in settings."""

from __future__ import annotations

import re

_SIZES = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration_ns(text: str) -> int:
    """'7d', '12h', '30m' as nanoseconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration; write for example 7d, 12h or 30m")
    return int(float(match[1]) * _UNITS[match[2]] * 1_000_000_000)


def size_bytes(text: str) -> int:
    """'50GB' or '800MB' as bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]B)", text.strip().upper())
    if not match:
        raise ValueError(f"{text!r} is not a size; write for example 50GB or 800MB")
    return int(float(match[1]) * _SIZES[match[2]])


def share(text: str) -> float | None:
    """'95%' as 0.95; None for 'off'."""
    if text.strip().lower() == "off":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", text.strip())
    if not match or not 0 < float(match[1]) < 100:
        raise ValueError(f"{text!r} is not a share of the disk; write for example 95%, or off")
    return float(match[1]) / 100


def address(text: str) -> tuple[str, int]:
    """'127.0.0.1:8060' or '[::1]:8060' as (host, port)."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not ADDR:PORT; write for example 127.0.0.1:8060")
    return host.strip("[]") or "127.0.0.1", int(port)
