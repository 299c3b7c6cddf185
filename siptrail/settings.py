"""What siptrail can be told, with its defaults: plain values that check themselves.

Texts and tables become these in `siptrail.config`. Where nothing is told, nothing but the standard library is needed.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from capture.ports import DEFAULT_SIP_PORTS, DEFAULT_WS_PORTS
from index.shared import Bucket, Shared
from sip.standalone import STANDALONE
from siptrail.amounts import address, duration_ns, share, size_bytes
from siptrail.places import DEFAULT_LISTEN, default_store

if TYPE_CHECKING:
    from index.leg import LegRules


STRICT = {"extra": "forbid"}
"""pydantic's word for: a setting that does not exist is an error."""


class WrongSetting(ValueError):
    """A setting that cannot be: which one ("legs.digits"; "" where it is several), and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


def _only_log() -> dict[str, dict[str, Any]]:
    return {"log": {}}


def _checked(name: str, read: Callable[[str], object], values: Iterable[str | None]) -> None:
    """Each of `values` can be read."""
    for value in values:
        if value is None:
            continue
        try:
            read(value)
        except ValueError as error:
            raise WrongSetting(name, str(error)) from error


def _between(name: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        wanted = f"{least} or more" if most is None else f"{least} to {most}"
        raise WrongSetting(name, f"{value} is not {wanted}")


def _pattern(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error


def _server(text: str) -> None:
    if not re.fullmatch(r"https?://[^/]+/?", text):
        raise ValueError(f"{text!r} is not an address of a server; write for example http://10.0.0.5:8333")


def _share_of_one(text: str) -> None:
    if share(text) is None:
        raise ValueError("'off' would leave the store in disorder; write for example 75%")


def _method(text: str) -> None:
    if text not in STANDALONE:
        raise ValueError(f"{text!r} does not stand outside of calls; there are {', '.join(STANDALONE)}")


def _hep(text: str) -> None:
    address(text.removeprefix("tls:"))


@dataclass(frozen=True)
class LegSettings:
    """How the legs of a call through a switch are recognised."""

    __pydantic_config__: ClassVar = STRICT

    headers: list[str] = field(default_factory=list)
    """Headers of the user's own whose value names the call, beside the usual ones."""
    digits: int = 7
    """Numbers that end in so many equal digits are one number with different prefixes."""
    strip: list[str] = field(default_factory=list)
    """Regular expressions for what stands before a number and is no part of it, for example 1234#."""
    hosts: list[list[str]] = field(default_factory=list)
    """Groups of addresses that are one switch."""

    def __post_init__(self) -> None:
        _between("legs.digits", self.digits, 4, 15)
        _checked("legs.strip", _pattern, self.strip)

    def rules(self) -> LegRules:
        """The same as linking wants it."""
        from index.leg import LegRules  # an import of a capture links nothing

        hosts = tuple(frozenset(group) for group in self.hosts)
        return LegRules(tuple(self.headers), self.digits, tuple(self.strip), hosts)


@dataclass(frozen=True)
class S3Settings:
    """How the object store of a shared store is reached."""

    __pydantic_config__: ClassVar = STRICT

    endpoint: str | None = None
    """http://HOST:PORT or https://HOST:PORT of the server; Amazon's where there is none."""
    region: str = field(default_factory=lambda: os.environ.get("AWS_REGION", "us-east-1"))
    key_id: str = field(default_factory=lambda: os.environ.get("AWS_ACCESS_KEY_ID", ""))
    secret: str = field(default_factory=lambda: os.environ.get("AWS_SECRET_ACCESS_KEY", ""), repr=False)
    path_style: bool = True
    """The bucket stands in the path of addresses; false: in the host's name."""

    def __post_init__(self) -> None:
        _checked("s3.endpoint", _server, [self.endpoint])


@dataclass(frozen=True)
class RuleSettings:
    """One table of `alert_rules`."""

    __pydantic_config__: ClassVar = STRICT

    filter: str = ""
    """Which calls are counted."""
    within: str = "5m"
    """Those that began so long ago, or later."""
    of: str | None = None
    """Only calls that match this, too; shares are of them."""
    per: str = "none"
    """One alert for each value of this."""
    at_least: int | None = None
    share: str | None = None
    at_most: int | None = None
    share_below: str | None = None
    of_at_least: int | None = None
    clear_below: int | None = None
    resent: str | None = None
    """A greater share than this of the requests to one host was sent again; no calls are counted then."""
    headline: str = ""


@dataclass(frozen=True)
class Settings:
    """Everything `siptrail run` can be told."""

    __pydantic_config__: ClassVar = STRICT

    interfaces: list[str] = field(default_factory=list)
    """Interfaces to record; empty: all that are up."""
    source: Literal["auto", "ring", "scapy"] = "auto"
    """What records: the kernel's ring, or scapy (slow, portable). auto: scapy only where there is no ring."""
    filter: str | None = None
    """A BPF expression of the user's own instead of the built-in kernel filter."""
    store: Path = field(default_factory=default_store)
    catalogue: str | None = None
    """postgresql://USER@HOST/DATABASE: the catalogue of a store that several machines share."""
    data: str | None = None
    """Where the files of a shared store are: s3://BUCKET/PREFIX, or a folder that all its machines have."""
    s3: S3Settings = field(default_factory=S3Settings)
    """The object store of a shared store."""
    read_only: bool = False
    """Only answer from a shared store: record nothing, change nothing."""
    spool_budget: str = "10GB"
    """Most that the spool may take of the disk while a shared store is out of reach."""
    listen: str = DEFAULT_LISTEN
    token: str | None = None
    insecure: bool = False
    keep: str = "7d"
    """How long calls are kept."""
    keep_methods: dict[str, str] = field(default_factory=dict)
    """What outside of calls is kept for less time, by method, for example {OPTIONS = "1d"}."""
    store_budget: str | None = None
    """Most that the store may take of the disk, for example 50GB; the oldest hours go first."""
    disk_high_water: str = "95%"
    """How full the store's disk may become, whoever fills it, before the oldest hours go; off: as full as it gets."""
    node: str = field(default_factory=socket.gethostname)
    """This machine's name in rows and lists."""
    sip_ports: list[int] = field(default_factory=lambda: sorted(DEFAULT_SIP_PORTS))
    ws_ports: list[int] = field(default_factory=lambda: sorted(DEFAULT_WS_PORTS))
    """TCP ports where SIP over WebSocket may be."""
    hep: list[str] = field(default_factory=list)
    """Addresses that take HEP: ADDR:PORT (UDP and TCP) or tls:ADDR:PORT."""
    hep_certificate: str | None = None
    """PEM file of the certificate for tls: addresses."""
    hep_certificate_key: str | None = None
    """PEM file of its key, where it is not in the same file."""
    hep_key: str | None = None
    """What agents must send as their authentication key; packets without it are dropped and counted."""
    ring_mb: int = 64
    """Kernel ring per interface."""
    workers: int = 1
    """Threads per interface; the kernel shares flows out among them."""
    hardware_time: bool = False
    """Frames keep the time that the device put on them, where it does."""
    user: str | None = None
    """Who the service runs as once its sockets are open; whoever starts it, unless told otherwise."""
    allow_root: bool = False
    """As a daemon, too, go on with user id 0 (without any capability)."""
    upkeep_share: str = "75%"
    """How much of one processor may be taken to put the store in order."""
    memory: str = "512MB"
    """DuckDB's memory limit."""
    hot_mb: int = 512
    """Rows in memory before new ones are dropped (and counted), should the store stall."""
    base_url: str | None = None
    """How others reach this service; used for links in alerts."""
    rules: Path | None = None
    """Folder with the user's own diagnosis rules."""
    legs: LegSettings = field(default_factory=LegSettings)
    """How the legs of a call are recognised."""
    sinks: dict[str, dict[str, Any]] = field(default_factory=_only_log)
    """Alert sinks by name with their settings, for example {"webhook": {"url": "https://…"}}."""
    alert_clear: str = "5m"
    """Quiet time after which an alert closes."""
    alert_rules: dict[str, RuleSettings] = field(default_factory=dict)
    """Alert rules of the user's own, by name."""

    def __post_init__(self) -> None:
        for name, read, values in (
            ("keep", duration_ns, [self.keep]),
            ("alert_clear", duration_ns, [self.alert_clear]),
            ("keep_methods", _method, self.keep_methods),
            ("keep_methods", duration_ns, self.keep_methods.values()),
            ("spool_budget", size_bytes, [self.spool_budget]),
            ("store_budget", size_bytes, [self.store_budget]),
            ("upkeep_share", _share_of_one, [self.upkeep_share]),
            ("disk_high_water", share, [self.disk_high_water]),
            ("hep", _hep, self.hep),
            ("listen", address, [self.listen]),
        ):
            _checked(name, read, values)
        _between("ring_mb", self.ring_mb, 1)
        _between("workers", self.workers, 1, 64)
        if self.rules is not None and not self.rules.is_dir():
            raise WrongSetting("rules", f"{self.rules} is no folder")
        self._is_whole()

    def _is_whole(self) -> None:
        if (self.catalogue is None) != (self.data is None):
            missing = "data" if self.data is None else "catalogue"
            raise WrongSetting("", f"a shared store needs catalogue and data, and {missing} is missing")
        if self.catalogue is not None and not re.match(r"postgres(ql)?://", self.catalogue):
            raise WrongSetting("", "catalogue is not postgresql://USER@HOST/DATABASE")
        if self.data is not None and not self.data.startswith("s3://") and not Path(self.data).is_absolute():
            raise WrongSetting("", f"data {self.data!r} is neither s3://BUCKET/PREFIX nor a folder from the root on")
        if self.read_only and self.catalogue is None:
            raise WrongSetting("", "read_only needs a shared store (catalogue and data)")

    def shared(self) -> Shared | None:
        """The store of several machines that these settings name."""
        if self.catalogue is None or self.data is None:
            return None
        if not self.data.startswith("s3://"):
            return Shared(self.catalogue, Path(self.data), self.read_only)
        s = self.s3
        session = os.environ.get("AWS_SESSION_TOKEN", "")
        bucket = Bucket(self.data, s.endpoint, s.region, s.key_id, s.secret, session, s.path_style)
        return Shared(self.catalogue, bucket, self.read_only)
