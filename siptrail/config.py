"""Settings: defaults, then the configuration file (TOML), then SIPTRAIL_… variables, then the command line."""

from __future__ import annotations

import json
import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from capture.ports import DEFAULT_SIP_PORTS, DEFAULT_WS_PORTS
from index.leg import LegRules
from index.shared import Bucket, Shared
from sip.errors import SiptrailError
from sip.standalone import STANDALONE
from siptrail.amounts import duration_ns, size_bytes
from siptrail.places import DEFAULT_LISTEN, default_store
from siptrail.rule_settings import RuleSettings, compiled


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


def _only_log() -> dict[str, dict[str, Any]]:
    return {"log": {}}


class LegSettings(BaseModel):
    """How the legs of a call through a switch are recognised."""

    model_config = ConfigDict(extra="forbid")

    headers: list[str] = Field(default_factory=list)
    """Headers of the user's own whose value names the call, beside the usual ones."""
    digits: int = Field(default=7, ge=4, le=15)
    """Numbers that end in so many equal digits are one number with different prefixes."""
    strip: list[str] = Field(default_factory=list)
    """Regular expressions for what stands before a number and is no part of it, for example 1234#."""
    hosts: list[list[str]] = Field(default_factory=list)
    """Groups of addresses that are one switch."""

    @field_validator("strip")
    @classmethod
    def _are_patterns(cls, value: list[str]) -> list[str]:
        for one in value:
            try:
                re.compile(one)
            except re.error as error:
                raise ValueError(f"{one!r} is no regular expression: {error}") from error
        return value

    def rules(self) -> LegRules:
        """The same as linking wants it."""
        hosts = tuple(frozenset(group) for group in self.hosts)
        return LegRules(tuple(self.headers), self.digits, tuple(self.strip), hosts)


class S3Settings(BaseModel):
    """How the object store of a shared store is reached."""

    model_config = ConfigDict(extra="forbid")

    endpoint: str | None = None
    """http://HOST:PORT or https://HOST:PORT of the server; Amazon's where there is none."""
    region: str = Field(default_factory=lambda: os.environ.get("AWS_REGION", "us-east-1"))
    key_id: str = Field(default_factory=lambda: os.environ.get("AWS_ACCESS_KEY_ID", ""))
    secret: SecretStr = Field(default_factory=lambda: SecretStr(os.environ.get("AWS_SECRET_ACCESS_KEY", "")))
    path_style: bool = True
    """The bucket stands in the path of addresses; false: in the host's name."""

    @field_validator("endpoint")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/]+/?", value):
            raise ValueError(f"{value!r} is not an address of a server; write for example http://10.0.0.5:8333")
        return value


class Settings(BaseModel):
    """Everything `siptrail run` can be told."""

    model_config = ConfigDict(extra="forbid")

    interfaces: list[str] = Field(default_factory=list)
    """Interfaces to record; empty: all that are up."""
    source: Literal["auto", "ring", "scapy"] = "auto"
    """What records: the kernel's ring, or scapy (slow, portable). auto: scapy only where there is no ring."""
    filter: str | None = None
    """A BPF expression of the user's own instead of the built-in kernel filter."""
    store: Path = Field(default_factory=default_store)
    catalogue: str | None = None
    """postgresql://USER@HOST/DATABASE: the catalogue of a store that several machines share."""
    data: str | None = None
    """Where the files of a shared store are: s3://BUCKET/PREFIX, or a folder that all its machines have."""
    s3: S3Settings = Field(default_factory=S3Settings)
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
    keep_methods: dict[str, str] = Field(default_factory=dict)
    """What outside of calls is kept for less time, by method, for example {OPTIONS = "1d"}."""
    store_budget: str | None = None
    """Most that the store may take of the disk, for example 50GB; the oldest hours go first."""
    disk_high_water: str = "95%"
    """How full the store's disk may become, whoever fills it, before the oldest hours go; off: as full as it gets."""
    node: str = Field(default_factory=socket.gethostname)
    """This machine's name in rows and lists."""
    sip_ports: list[int] = Field(default_factory=lambda: sorted(DEFAULT_SIP_PORTS))
    ws_ports: list[int] = Field(default_factory=lambda: sorted(DEFAULT_WS_PORTS))
    """TCP ports where SIP over WebSocket may be."""
    hep: list[str] = Field(default_factory=list)
    """Addresses that take HEP: ADDR:PORT (UDP and TCP) or tls:ADDR:PORT."""
    hep_certificate: str | None = None
    """PEM file of the certificate for tls: addresses."""
    hep_certificate_key: str | None = None
    """PEM file of its key, where it is not in the same file."""
    hep_key: str | None = None
    """What agents must send as their authentication key; packets without it are dropped and counted."""
    ring_mb: int = Field(default=64, ge=1)
    """Kernel ring per interface."""
    workers: int = Field(default=1, ge=1, le=64)
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
    legs: LegSettings = Field(default_factory=LegSettings)
    """How the legs of a call are recognised."""
    sinks: dict[str, dict[str, Any]] = Field(default_factory=_only_log)
    """Alert sinks by name with their settings, for example {"webhook": {"url": "https://…"}}."""
    alert_clear: str = "5m"
    """Quiet time after which an alert closes."""
    alert_rules: dict[str, RuleSettings] = Field(default_factory=dict)
    """Alert rules of the user's own, by name."""

    @field_validator("keep", "alert_clear")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        duration_ns(value)
        return value

    @field_validator("keep_methods")
    @classmethod
    def _are_methods(cls, value: dict[str, str]) -> dict[str, str]:
        for method, keep in value.items():
            if method not in STANDALONE:
                raise ValueError(f"{method!r} does not stand outside of calls; there are {', '.join(STANDALONE)}")
            duration_ns(keep)
        return value

    @field_validator("spool_budget", "store_budget")
    @classmethod
    def _is_size(cls, value: str | None) -> str | None:
        if value is not None:
            size_bytes(value)
        return value

    @field_validator("upkeep_share")
    @classmethod
    def _is_share_of_one(cls, value: str) -> str:
        if share(value) is None:
            raise ValueError("'off' would leave the store in disorder; write for example 75%")
        return value

    @field_validator("disk_high_water")
    @classmethod
    def _is_share(cls, value: str) -> str:
        share(value)
        return value

    @field_validator("rules")
    @classmethod
    def _is_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is no folder")
        return value

    @field_validator("hep")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        for one in value:
            address(one.removeprefix("tls:"))
        return value

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        address(value)
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Settings:
        if (self.catalogue is None) != (self.data is None):
            missing = "data" if self.data is None else "catalogue"
            raise ValueError(f"a shared store needs catalogue and data, and {missing} is missing")
        if self.catalogue is not None and not re.match(r"postgres(ql)?://", self.catalogue):
            raise ValueError("catalogue is not postgresql://USER@HOST/DATABASE")
        if self.data is not None and not self.data.startswith("s3://") and not Path(self.data).is_absolute():
            raise ValueError(f"data {self.data!r} is neither s3://BUCKET/PREFIX nor a folder from the root on")
        if self.read_only and self.catalogue is None:
            raise ValueError("read_only needs a shared store (catalogue and data)")
        return self

    def shared(self) -> Shared | None:
        """The store of several machines that these settings name."""
        if self.catalogue is None or self.data is None:
            return None
        if not self.data.startswith("s3://"):
            return Shared(self.catalogue, Path(self.data), self.read_only)
        s = self.s3
        secret = s.secret.get_secret_value()
        bucket = Bucket(
            self.data, s.endpoint, s.region, s.key_id, secret, os.environ.get("AWS_SESSION_TOKEN", ""), s.path_style
        )
        return Shared(self.catalogue, bucket, self.read_only)


def _environment() -> dict[str, Any]:
    """What SIPTRAIL_… variables say: lists and tables are JSON, all else is text. Other variables are not ours."""
    out: dict[str, Any] = {}
    ours = {name.upper(): value for name, value in os.environ.items()}
    for name, field in Settings.model_fields.items():
        value = ours.get(f"SIPTRAIL_{name.upper()}")
        if value is None:
            continue
        out[name] = value
        kind = get_origin(field.annotation) or field.annotation
        if not (isinstance(kind, type) and issubclass(kind, (list, dict, BaseModel))):
            continue
        try:
            out[name] = json.loads(value)
        except ValueError as error:
            raise SiptrailError(
                f"the variable SIPTRAIL_{name.upper()} cannot be read: {error}; write lists as JSON"
            ) from error
    return out


def load(config: Path | None, **given: Any) -> Settings:
    """Settings from the file, the environment and the command line (`None` means not given); one-line errors."""
    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = tomllib.loads(config.read_text("utf-8"))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SiptrailError(f"cannot read the configuration {config}: {reason}; check --config") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SiptrailError(f"the configuration {config} is not TOML: {error}; mend that place") from error
    environment = _environment()
    from_file = set(values) - set(environment)
    values |= environment | {k: v for k, v in given.items() if v is not None}
    try:
        settings = Settings(**values)
        compiled(settings.alert_rules, f" in {config}" if "alert_rules" in from_file else "")
        return settings
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "settings"
        place = f" in {config}" if config is not None and first["loc"] and first["loc"][0] in from_file else ""
        if first["type"] == "extra_forbidden":
            raise SiptrailError(f"there is no setting {where}{place}; check its spelling, or remove it") from error
        reason = first["msg"].removeprefix("Value error, ")
        raise SiptrailError(f"setting {where}{place}: {reason}") from error
