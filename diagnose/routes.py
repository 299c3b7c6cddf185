"""Which way a call was sent: next hops tried one after the other, and requests that come round to the same host."""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.call import SECOND, Call, Step
from diagnose.refusals import CHALLENGES, party, said


@dataclass(frozen=True, slots=True)
class Attempt:
    """One next hop of a host, and what came of it."""

    invite: Step
    final: Step | None

    @property
    def outcome(self) -> str:
        """'503 Service Unavailable'."""
        return said(self.final.m.sip) if self.final else "no final answer"


def attempts(call: Call) -> list[list[Attempt]]:
    """For each host that went on to another next hop after a failure: the hops in order.

    A challenge is no failure, a redirection is followed by its own will, and branches sent at once are a fork."""
    sent: dict[tuple[str, str], list[Step]] = {}
    for i in call.invites:
        to = i.m.sip.to
        sent.setdefault((party(i.m, sender=True), to.uri.user if to else ""), []).append(i)
    out = []
    for steps in sent.values():
        chain = [Attempt(steps[0], call.final_of(steps[0]))]
        for i in steps[1:]:
            now = Attempt(i, call.final_of(i))
            if i.m.dst == chain[-1].invite.m.dst:
                chain[-1] = now  # The same hop once more: with credentials, or just again.
            elif _failed(chain[-1], i):
                chain.append(now)
            else:
                break
        if len(chain) > 1:
            out.append(chain)
    return out


def _failed(before: Attempt, then: Step) -> bool:
    """The attempt was over when the next began."""
    if before.final is None or before.final.number > then.number:
        return then.m.ts - before.invite.m.ts >= SECOND
    code = before.final.m.sip.code
    return code >= 400 and code not in CHALLENGES


def circle(call: Call) -> list[Step]:
    """One request that came to the same host three times or more, each time with all Vias of the time before."""
    arrivals: dict[tuple[str, str, str], list[Step]] = {}
    for i in call.invites:
        user = i.m.sip.uri.partition("@")[0]
        arrivals.setdefault((i.m.dst.ip, i.side, user), []).append(i)
    found = max((_chain(steps) for steps in arrivals.values() if len(steps) > 2), key=len, default=[])
    return found if len(found) > 2 else []


def _chain(steps: list[Step]) -> list[Step]:
    out = [steps[0]]
    for s in steps[1:]:
        before = branches(out[-1])
        if len(before) < len(branches(s)) and before <= branches(s):
            out.append(s)
    return out


def branches(step: Step) -> set[str]:
    """The branches of all Vias."""
    return {v.branch for v in step.m.sip.vias if v.branch}
