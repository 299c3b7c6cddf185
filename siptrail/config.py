"""Settings: defaults, then the configuration file (TOML), then SIPTRAIL_… variables, then the command line.

Texts and tables become the values of `siptrail.settings` by pydantic, which is only loaded where there are some: it
takes a tenth of a second."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from sip.errors import SiptrailError
from siptrail.settings import Settings, WrongSetting


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
    if not values:
        return Settings()

    def place(name: str) -> str:
        return f" in {config}" if config is not None and name.partition(".")[0] in from_file else ""

    settings = _settings_of(values, place)
    if settings.alert_rules:
        from siptrail.rule_settings import compiled

        compiled(settings.alert_rules, place("alert_rules"))
    return settings


def _environment() -> dict[str, Any]:
    """What SIPTRAIL_… variables say: lists and tables are JSON, all else is text. Other variables are not ours."""
    ours = {name.upper(): value for name, value in os.environ.items() if name.upper().startswith("SIPTRAIL_")}
    told = {f.name: value for f in fields(Settings) if (value := ours.get(f"SIPTRAIL_{f.name.upper()}")) is not None}
    if not told:
        return {}
    kinds = get_type_hints(Settings)
    for name, value in told.items():
        kind = get_origin(kinds[name]) or kinds[name]
        if kind not in (list, dict) and not is_dataclass(kind):
            continue
        try:
            told[name] = json.loads(value)
        except ValueError as error:
            raise SiptrailError(
                f"the variable SIPTRAIL_{name.upper()} cannot be read: {error}; write lists as JSON"
            ) from error
    return told


def _settings_of(values: dict[str, Any], place: Callable[[str], str]) -> Settings:
    """The settings that have these values; `place` says where a wrong one stands."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(p) for p in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            there = f"there is no setting {name}{place(name)}; check its spelling, or remove it"
            raise SiptrailError(there) from error
        wrong = first.get("ctx", {}).get("error")
        if isinstance(wrong, WrongSetting):
            name = wrong.name
        reason = first["msg"].removeprefix("Value error, ")
        raise SiptrailError(f"setting {name or 'settings'}{place(name)}: {reason}") from error
