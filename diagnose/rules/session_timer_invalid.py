"""Session timer headers that break their own rules: too short, longer in the answer than asked, nobody to refresh."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import whole
from diagnose.refusals import request_of
from diagnose.report import fact
from diagnose.rules.session_interval_too_small import interval

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 80, "RFC 4028 sections 4, 5, 7.1 and 9"
_LEAST = 90
_METHODS = ("INVITE", "UPDATE")


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host that writes such headers, at its first message."""
    told: set[str] = set()
    for s in call.steps:
        sip = s.m.sip
        if s.m.retransmission or s.m.src.ip in told or sip.method not in _METHODS or not sip.first("Session-Expires"):
            continue
        if (not sip.is_request and not 200 <= sip.code < 300) or len(sip.vias) > 1 or not whole(s):
            continue  # What has passed a proxy may be the proxy's value.
        wrong = list(_timer(s)) + ([] if sip.is_request else list(_answer(call, s)))
        if not wrong:
            continue
        told.add(s.m.src.ip)
        severity, what = wrong[0][0], wrong[0][1]
        yield Finding(
            NAME,
            severity,
            "certain",
            f"{s.m.src.ip} writes a session timer that cannot work as it should: {what}.",
            tuple(e for _, _, e in wrong),
            "Correct the session timer of that device (1800 s with refresher=uas or uac is usual), or switch session "
            "timers off there: devices that read the rules differently cut the call.",
            REFERENCE,
            90 if severity == "info" else PRECEDENCE,
        )


def _timer(s: Step) -> Iterator[tuple[str, str, Evidence]]:
    seconds, least = interval(s, "Session-Expires"), interval(s, "Min-SE")
    line = s.header_line("Session-Expires")
    if seconds is None:
        yield "warning", "its value is no number", fact(s, "Session-Expires is no number", line)
        return
    if seconds < _LEAST:
        text = f"{seconds} s are less than the least that is allowed, {_LEAST} s"
        yield "warning", text, fact(s, text, line)
    if s.m.sip.is_request and least is not None and seconds < least:
        text = f"{seconds} s are less than its own Min-SE of {least} s"
        yield "warning", text, fact(s, text, s.header_line("Min-SE"))


def _answer(call: Call, s: Step) -> Iterator[tuple[str, str, Evidence]]:
    """What only the answer can do wrong (section 9)."""
    line, value = s.header_line("Session-Expires"), s.m.sip.first("Session-Expires").replace(" ", "").lower()
    asked = request_of(call, s)
    wanted, given = interval(asked, "Session-Expires") if asked else None, interval(s, "Session-Expires")
    if wanted is not None and given is not None and given > wanted:
        text = f"the answer raises the timer from {wanted} s to {given} s"
        yield "warning", text, fact(s, text, line)
    if ";refresher=" not in value:
        text = "the answer does not say who refreshes the session"
        yield "warning", text, fact(s, text, line)
    elif ";refresher=uac" in value and "timer" not in ",".join(s.m.sip.all("Require")).lower():
        text = "the caller is to refresh the session, and the answer does not require it (Require: timer)"
        yield "info", text, fact(s, text, line)
