"""The route that tells of every single call what alert rules count: when it began, and whether it matches.

It answers about a day at most, so that whoever wants more asks in parts and shows how far it is.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from diagnose.desk import CountingDesk, Desk
from index.columns import DAY_NS
from index.questions import PER
from index.summary import from_rfc3339
from sip.errors import SiptrailError


def start_routes(desk: Desk) -> APIRouter:
    """The route, where the desk can answer it."""
    router = APIRouter(tags=["service"])
    if not isinstance(desk, CountingDesk):
        return router
    counting = desk

    @router.get("/starts", responses={200: {"model": dict[str, Any]}})
    def starts(
        filter: Annotated[str, Query(description="calls that match")],
        since: Annotated[str, Query(description="RFC 3339; they began then or later")],
        until: Annotated[str, Query(description="RFC 3339; a day after `since` at most")],
        of: Annotated[str | None, Query(description="other calls that are told of, too")] = None,
        per: Annotated[str, Query(description="what they are told apart by")] = "none",
    ) -> JSONResponse:
        """Of each call: value of `per`, start, whether it matches, when it was answered or failed, end (ns)."""
        low, high = day_between(since, until)
        if per not in PER:
            raise SiptrailError(f"per {per!r} is none of {', '.join(PER)}")
        told = counting.starts(filter, of, per, low, high)
        return JSONResponse({"calls": [[c.value, c.start, c.matches, c.settled, c.end] for c in told]})

    return router


def day_between(since: str, until: str) -> tuple[int, int]:
    """The times of a query that counts over all of a day at most (ns)."""
    low, high = _time(since), _time(until)
    if high - low > DAY_NS:
        raise SiptrailError("until is more than a day after since; ask for one day after the other")
    return low, high


def _time(text: str) -> int:
    try:
        return from_rfc3339(text)
    except ValueError as error:
        raise SiptrailError(f"{text!r} is no time; write for example 2026-01-31T10:42:00Z") from error
