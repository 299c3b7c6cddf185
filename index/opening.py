"""How a call began and how far it got. It loads nothing: the service names it before it gives up its rights."""

from __future__ import annotations

from dataclasses import dataclass

from index.trace import Endpoint
from sip.message import SipMessage


@dataclass(frozen=True, slots=True)
class Opening:
    """A call's first INVITE and its times (ns); None means "not seen"."""

    call_id: str
    at: int
    src: Endpoint
    dst: Endpoint
    sip: SipMessage
    rang: int | None
    """The first provisional response but 100."""
    answered: int | None
    failed: int | None
    code: int
    """Of the last failure."""
    ended: int | None
    """BYE or CANCEL, whoever sent it."""
    last: int
    correlation: str = ""
    """What the agent that sent its first INVITE in HEP calls the call it belongs to."""
