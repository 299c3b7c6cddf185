"""Alert rules in the configuration: their settings, and what is wrong with them in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from index.filter import Filter, FilterError, parse_filter
from index.questions import PER, REQUESTS_BY, REQUESTS_FEW
from sip.errors import Misread, SiptrailError
from siptrail.amounts import duration_ns

if TYPE_CHECKING:
    from alerts.rule import AlertRule

WITHOUT = frozenset({"text", "since", "until"})
"""Keys of the filter language that a rule cannot use: `within` says the time, and texts take too long to look for."""
SHORTEST, LONGEST = "10s", "1d"
OWN = ("invite-failed", "invite-unanswered")
"""Rules that are always there."""


class RuleSettings(BaseModel):
    """One table of `alert_rules`."""

    model_config = ConfigDict(extra="forbid")

    filter: str = ""
    """Which calls are counted."""
    within: str = "5m"
    """Those that began so long ago, or later."""
    of: str | None = None
    """Only calls that match this, too; shares are of them."""
    per: str = "none"
    """One alert for each value of this."""
    at_least: int | None = Field(default=None, ge=1)
    share: str | None = None
    at_most: int | None = Field(default=None, ge=0)
    share_below: str | None = None
    of_at_least: int | None = Field(default=None, ge=1)
    clear_below: int | None = Field(default=None, ge=1)
    resent: str | None = None
    """A greater share than this of the requests to one host was sent again; no calls are counted then."""
    headline: str = Field(default="", max_length=200)

    def compiled(self, name: str, place: str = "") -> AlertRule:
        """The rule; SiptrailError says which of its settings is wrong, and `place` where it stands."""
        from alerts.rule import AlertRule  # commands without rules need not wait for NumPy

        def at(key: str = "") -> str:
            return f"setting alert_rules.{name}{key and '.'}{key}{place}"

        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) or name in OWN:
            raise SiptrailError(f"{at()}: this name cannot be had; write for example [alert_rules.carrier-b-fails]")
        if self.per not in PER:
            raise SiptrailError(f"{at('per')}: {self.per!r} is none of {', '.join(PER)}")
        if self.resent is not None:
            return self._of_requests(name, at)
        ways = [k for k in ("at_least", "at_most", "share_below") if getattr(self, k) is not None]
        if len(ways) != 1:
            told = " and ".join(ways) + " exclude each other" if ways else "it never speaks"
            raise SiptrailError(f"{at()}: {told}; give one of at_least, at_most, share_below and resent")
        many = self.at_least is not None
        for key in ("share", "clear_below"):
            if getattr(self, key) is not None and not many:
                raise SiptrailError(f"{at(key)} goes with at_least; remove it")
        if self.at_least is not None and self.clear_below is not None and self.clear_below > self.at_least:
            raise SiptrailError(f"{at('clear_below')}: {self.clear_below} is more than at_least; write less")
        where = _filter(at("filter"), self.filter)
        of = None if self.of is None else _filter(at("of"), self.of)
        if of is None and (self.share or self.share_below):
            of = parse_filter("method:INVITE", 0)
        if of is None and self.of_at_least is not None:
            raise SiptrailError(f"{at('of_at_least')} goes with of, the calls that it counts; give both")
        if of is None and not many and self.per != "none":
            raise SiptrailError(
                f"{at('per')}: who is silent is in no list; give `of`, too, or write a rule for each {self.per}"
            )
        within = _span(at("within"), self.within)
        return AlertRule(
            name,
            where,
            of,
            within,
            self.per,
            self.at_least,
            _share(at("share"), self.share),
            self.at_most,
            _share(at("share_below"), self.share_below),
            self.of_at_least or (0 if of is None or many else 1),
            self.clear_below,
            self.headline,
        )

    def _of_requests(self, name: str, at: Callable[[str], str]) -> AlertRule:
        from alerts.rule import AlertRule

        given = set(self.model_fields_set) - {"resent", "within", "per", "of_at_least", "headline"}
        if given:
            raise SiptrailError(f"{at(min(given))} does not go with resent, which counts no calls; remove it")
        if self.per not in ("none", *REQUESTS_BY):
            raise SiptrailError(f"{at('per')}: with resent it is dst or src; write one of them")
        return AlertRule(
            name,
            parse_filter("", 0),
            None,
            _span(at("within"), self.within),
            "dst" if self.per == "none" else self.per,
            of_at_least=self.of_at_least or REQUESTS_FEW,
            headline=self.headline,
            resent=_share(at("resent"), self.resent),
        )


def compiled(settings: Mapping[str, RuleSettings], place: str = "") -> tuple[AlertRule, ...]:
    """All rules, in order."""
    return tuple(rule.compiled(name, place) for name, rule in settings.items())


def _filter(here: str, text: str) -> Filter:
    try:
        if not text.strip():
            raise SiptrailError(f"{here}: it is empty; write for example method:INVITE")
        return parse_filter(text, 0, WITHOUT)
    except FilterError as error:
        what = str(error).removeprefix("filter: ")
        raise Misread(f"{here}: {what}", error.text, error.position) from error


def _span(here: str, text: str) -> int:
    try:
        value = duration_ns(text)
    except ValueError as error:
        raise SiptrailError(f"{here}: {error}") from error
    if not duration_ns(SHORTEST) <= value <= duration_ns(LONGEST):
        raise SiptrailError(f"{here}: {text} is not between {SHORTEST} and {LONGEST}")
    return value


def _share(here: str, text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text.strip())
    if not match or not 0 < float(match[1]) <= 100:
        raise SiptrailError(f"{here}: {text!r} is no share; write for example 20%")
    return float(match[1]) / 100
