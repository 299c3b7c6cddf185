"""The route that tells which hosts are sent the same requests again and again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from api.records import resends_to_json
from api.starts import day_between
from diagnose.desk import Desk, ResendDesk
from index.questions import REQUESTS_BY, WITHIN_NS
from sip.errors import SiptrailError

S = 1_000_000_000


def resend_routes(desk: Desk) -> APIRouter:
    """The route, where the desk can answer it."""
    router = APIRouter(tags=["service"])
    if not isinstance(desk, ResendDesk):
        return router
    counting = desk

    @router.get("/resends", responses={200: {"model": dict[str, Any]}})
    def resends(
        since: Annotated[str, Query(description="RFC 3339")],
        until: Annotated[str, Query(description="RFC 3339; a day after `since` at most")],
        step: Annotated[int, Query(description="seconds that are counted together", ge=1, le=86_400)] = WITHIN_NS // S,
        per: Annotated[str, Query(description="dst: requests to a host, src: those that it sends")] = "dst",
    ) -> JSONResponse:
        """Requests over UDP and how many of them were sent again, by host and slot of time, the most first."""
        low, high = day_between(since, until)
        if per not in REQUESTS_BY:
            raise SiptrailError(f"per {per!r} is none of {', '.join(REQUESTS_BY)}")
        return JSONResponse({"hosts": [resends_to_json(r) for r in counting.resends(low, high, step * S, per)]})

    return router
