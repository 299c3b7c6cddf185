"""A switch refused a call itself: no leg of it went out, while other calls were sent on at that time."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.beyond import onward_hosts, refused_by_switch
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.refusals import said, told_by_capacity
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 40, "RFC 3261 section 6 (back-to-back user agent)"


def check(call: Call) -> Iterator[Finding]:
    """One finding, where legs were looked for and the host that refused the call is known to send others on."""
    legs, refusal = call.trace.legs, refused_by_switch(call)
    if legs is None or refusal is None or legs.capped or legs.links:
        return
    switch = refusal.m.src.ip
    if told_by_capacity(refusal.m.sip):
        return  # that says it all
    if switch not in onward_hosts(call):
        return
    invite = next((i for i in call.invites if i.m.dst.ip == switch), refusal)
    yield Finding(
        NAME,
        SEVERITY,
        "likely",
        f"{switch} refused the call itself with {said(refusal.m.sip)}: it sent no leg of it on.",
        (
            fact(invite, f"the INVITE reached {switch}", invite.m.sip.start_line),
            fact(refusal, f"{seconds(refusal.m.ts - invite.m.ts)} later it answered", refusal.m.sip.start_line),
            fact(None, f"{switch} sent other calls on within ten minutes, so its outgoing side is visible here"),
        ),
        f"The call failed inside {switch}, before any carrier was asked: look at what it does with incoming calls "
        "(who may call, credit and limits, number translation, routes for this number) and at its own log.",
        REFERENCE,
        PRECEDENCE,
    )
