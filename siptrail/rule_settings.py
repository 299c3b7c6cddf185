"""Alert rules in the configuration: made of their settings, or what is wrong with them in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from index.filter import Filter, FilterError, parse_filter
from index.questions import PER, REQUESTS_BY, REQUESTS_FEW
from sip.errors import Misread, SiptrailError
from siptrail.amounts import duration_ns
from siptrail.settings import RuleSettings

if TYPE_CHECKING:
    from alerts.rule import AlertRule

WITHOUT = frozenset({"text", "since", "until"})
"""Keys of the filter language that a rule cannot use: `within` says the time, and texts take too long to look for."""
SHORTEST, LONGEST = "10s", "1d"
OWN = ("invite-failed", "invite-unanswered")
"""Rules that are always there."""
LONGEST_HEADLINE = 200
LEAST = {"at_least": 1, "at_most": 0, "of_at_least": 1, "clear_below": 1}
_WITH_RESENT = frozenset({"resent", "within", "per", "of_at_least", "headline"})


def compiled(settings: Mapping[str, RuleSettings], place: str = "") -> tuple[AlertRule, ...]:
    """All rules, in order; `place` says where they stand."""
    return tuple(_compiled(rule, name, place) for name, rule in settings.items())


def _compiled(rule: RuleSettings, name: str, place: str) -> AlertRule:
    """The rule; SiptrailError says which of its settings is wrong, and `place` where it stands."""
    from alerts.rule import AlertRule  # commands without rules need not wait for NumPy

    def at(key: str = "") -> str:
        return f"setting alert_rules.{name}{key and '.'}{key}{place}"

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) or name in OWN:
        raise SiptrailError(f"{at()}: this name cannot be had; write for example [alert_rules.carrier-b-fails]")
    for key, least in LEAST.items():
        if (value := getattr(rule, key)) is not None and value < least:
            raise SiptrailError(f"{at(key)}: {value} is less than {least}; write {least} or more")
    if len(rule.headline) > LONGEST_HEADLINE:
        raise SiptrailError(
            f"{at('headline')}: {len(rule.headline)} letters are more than {LONGEST_HEADLINE}; write less"
        )
    if rule.per not in PER:
        raise SiptrailError(f"{at('per')}: {rule.per!r} is none of {', '.join(PER)}")
    if rule.resent is not None:
        return _of_requests(rule, name, at)
    ways = [k for k in ("at_least", "at_most", "share_below") if getattr(rule, k) is not None]
    if len(ways) != 1:
        told = " and ".join(ways) + " exclude each other" if ways else "it never speaks"
        raise SiptrailError(f"{at()}: {told}; give one of at_least, at_most, share_below and resent")
    many = rule.at_least is not None
    for key in ("share", "clear_below"):
        if getattr(rule, key) is not None and not many:
            raise SiptrailError(f"{at(key)} goes with at_least; remove it")
    if rule.at_least is not None and rule.clear_below is not None and rule.clear_below > rule.at_least:
        raise SiptrailError(f"{at('clear_below')}: {rule.clear_below} is more than at_least; write less")
    where = _filter(at("filter"), rule.filter)
    of = None if rule.of is None else _filter(at("of"), rule.of)
    if of is None and (rule.share or rule.share_below):
        of = parse_filter("method:INVITE", 0)
    if of is None and rule.of_at_least is not None:
        raise SiptrailError(f"{at('of_at_least')} goes with of, the calls that it counts; give both")
    if of is None and not many and rule.per != "none":
        raise SiptrailError(
            f"{at('per')}: who is silent is in no list; give `of`, too, or write a rule for each {rule.per}"
        )
    within = _span(at("within"), rule.within)
    return AlertRule(
        name,
        where,
        of,
        within,
        rule.per,
        rule.at_least,
        _share(at("share"), rule.share),
        rule.at_most,
        _share(at("share_below"), rule.share_below),
        rule.of_at_least or (0 if of is None or many else 1),
        rule.clear_below,
        rule.headline,
    )


def _of_requests(rule: RuleSettings, name: str, at: Callable[[str], str]) -> AlertRule:
    from alerts.rule import AlertRule

    given = {f.name for f in fields(rule) if getattr(rule, f.name) != f.default} - _WITH_RESENT
    if given:
        raise SiptrailError(f"{at(min(given))} does not go with resent, which counts no calls; remove it")
    if rule.per not in ("none", *REQUESTS_BY):
        raise SiptrailError(f"{at('per')}: with resent it is dst or src; write one of them")
    return AlertRule(
        name,
        parse_filter("", 0),
        None,
        _span(at("within"), rule.within),
        "dst" if rule.per == "none" else rule.per,
        of_at_least=rule.of_at_least or REQUESTS_FEW,
        headline=rule.headline,
        resent=_share(at("resent"), rule.resent),
    )


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
