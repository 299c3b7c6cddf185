"""The HTTP API: routes on a Desk, and nothing that a Desk could answer itself.

Handlers are plain functions, so that the framework runs them on worker threads: a Desk may block. Call-IDs reach
them exactly as they are on the wire (api.wire). Every error is {"detail": "…"}.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from alerts.book import AlertBook
from api import ladders, pages, schema
from api.guard import Guard
from api.metrics import build_registry, exposition
from api.records import trace_to_json
from api.reference import reference_routes
from api.resends import resend_routes
from api.starts import start_routes
from api.store import StoreKeeper, store_routes
from api.turnstile import Turnstile
from api.wire import WireText, routed_call_id
from diagnose.codec_table import tables
from diagnose.compare import compare
from diagnose.desk import Desk, headline_of, trace_of
from diagnose.engine import Rule, load_rules
from index.summary import rfc3339
from sip.errors import Busy, Misread, NotFound, SiptrailError, TooMuch, Unreachable

log = logging.getLogger("siptrail.api")

STATUS: dict[type[Exception], int] = {NotFound: 404, Unreachable: 503, Busy: 503, TooMuch: 504, SiptrailError: 400}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": schema.Problem, "description": "The request is wrong, or what it asks for is not there"},
    "5XX": {"model": schema.Problem, "description": "The service cannot answer now"},
}
PCAP_TYPES = {"pcap": "application/vnd.tcpdump.pcap", "pcapng": "application/x-pcapng"}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"


Importer = Callable[[Path, Path | None, bool], dict[str, Any]]
"""Imports a capture file of the service's machine, with a key log or none; whether even once more."""
CALL_ID = "Percent-encoded, with '/' as %2F; any byte but CR and LF; matched exactly"


def call_id_of(call_id: Annotated[str, InPath(description=CALL_ID)]) -> str:
    """The Call-ID of the path."""
    return routed_call_id(call_id)


def other_of(other: Annotated[str, InPath(description=CALL_ID)]) -> str:
    """The second Call-ID of the path."""
    return routed_call_id(other)


CallId = Annotated[str, Depends(call_id_of)]
WithLegs = Annotated[bool, Query(description="together with the legs that are the same call beyond a switch")]
OtherCallId = Annotated[str, Depends(other_of)]


def create_app(
    desk: Desk,
    *,
    alerts: AlertBook | None = None,
    token: str | None = None,
    interfaces: Callable[[], list[dict[str, Any]]] | None = None,
    importer: Importer | None = None,
    keeper: StoreKeeper | None = None,
    registry: CollectorRegistry | None = None,
    rules: Sequence[Rule] | None = None,
    version: str,
) -> FastAPI:
    """The application. Without `importer` there is no way to import, without `keeper` none to keep the store; without
    `token` nobody is asked for one; `rules` are those that are explained (the shipped ones when not given)."""
    app = FastAPI(
        title="siptrail",
        version=version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        description="Recorded SIP calls: search, ladder, messages, findings, original packets.",
    )
    app.include_router(call_routes(desk), prefix="/api/v1", responses=PROBLEMS)
    app.include_router(service_routes(desk, alerts, interfaces, importer), prefix="/api/v1", responses=PROBLEMS)
    app.include_router(start_routes(desk), prefix="/api/v1", responses=PROBLEMS)
    app.include_router(resend_routes(desk), prefix="/api/v1", responses=PROBLEMS)
    if keeper is not None:
        app.include_router(store_routes(keeper), prefix="/api/v1", responses=PROBLEMS)
    app.include_router(reference_routes(load_rules() if rules is None else rules), prefix="/api/v1", responses=PROBLEMS)
    app.include_router(outer_routes(build_registry(desk, alerts, registry, interfaces), version))
    for kind in STATUS:
        app.add_exception_handler(kind, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)
    app.add_middleware(WireText)
    app.add_middleware(Turnstile)
    app.add_middleware(Guard, token=token)
    return app


def call_routes(desk: Desk) -> APIRouter:
    """Lists of calls, and everything about one."""
    router = APIRouter(tags=["calls"])

    @router.get("/calls", responses={200: {"model": schema.Calls}})
    def calls(
        filter: Annotated[str, Query(description="field:value terms; empty for all calls")] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> JSONResponse:
        """Calls that match the filter, newest first."""
        page = desk.calls(filter, limit, before)
        return JSONResponse(
            {
                "calls": [c.to_json() for c in page.calls],
                "next": page.next,
                "matched": page.matched,
                "searched": None if page.searched is None else rfc3339(page.searched),
                "progress": page.progress,
            }
        )

    @router.get("/calls/{call_id}", responses={200: {"model": schema.Call}})
    def call(call_id: CallId) -> JSONResponse:
        """One call."""
        return JSONResponse(desk.call(call_id).to_json())

    @router.get("/calls/{call_id}/messages", responses={200: {"model": schema.Messages}})
    def messages(call_id: CallId) -> JSONResponse:
        """Its messages in order, with their exact bytes."""
        return JSONResponse(trace_to_json(desk.trace(call_id)))

    @router.get("/calls/{call_id}/findings", responses={200: {"model": schema.Findings}})
    def findings(call_id: CallId) -> JSONResponse:
        """What is wrong with it, headline first."""
        found = [f.to_json() for f in desk.findings(call_id)]
        return JSONResponse({"call_id": call_id, "findings": found})

    @router.get("/calls/{call_id}/legs", responses={200: {"model": schema.Legs}})
    def legs_of(call_id: CallId) -> JSONResponse:
        """The Call-IDs that are the same call beyond a switch, and what each link rests on."""
        return JSONResponse(desk.legs(call_id).to_json())

    @router.get("/calls/{call_id}/media", responses={200: {"model": schema.CallMedia}})
    def media(call_id: CallId) -> JSONResponse:
        """Its offers and answers side by side, stream by stream."""
        found = [t.to_json() for t in tables(desk.trace(call_id))]
        return JSONResponse({"call_id": call_id, "exchanges": found})

    @router.get("/calls/{call_id}/compare/{other}", responses={200: {"model": schema.Comparison}})
    def compared(call_id: CallId, other: OtherCallId) -> JSONResponse:
        """What differs between it and another call, the most telling first."""
        return JSONResponse(compare(desk.trace(call_id), desk.trace(other)).to_json())

    @router.get(
        "/calls/{call_id}/pcap",
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in PCAP_TYPES.values()}}},
    )
    def pcap(call_id: CallId, legs: WithLegs = False) -> Response:
        """Its original frames: pcap with nanoseconds, or pcapng when link types differ."""
        data = desk.pcap(call_id, legs)
        suffix = "pcapng" if data[:4] == PCAPNG_MAGIC else "pcap"
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", call_id)[:64].strip("_") or "call"
        return Response(
            data,
            media_type=PCAP_TYPES[suffix],
            headers={"Content-Disposition": f'attachment; filename="{name}.{suffix}"'},
        )

    @router.get(
        "/calls/{call_id}/ladder",
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in ladders.BY_TYPE}}},
    )
    def ladder(call_id: CallId, legs: WithLegs = False, accept: Annotated[str, Header()] = "*/*") -> Response:
        """Its ladder in the form that Accept prefers; text where it does not matter."""
        drawing = ladders.negotiate(accept)
        trace = trace_of(desk, call_id, legs)
        return Response(
            drawing.render(trace, headline_of(desk, call_id)), media_type=drawing.media_type, headers={"Vary": "Accept"}
        )

    def ladder_as(drawing: ladders.Drawing) -> Callable[[str, bool], Response]:
        def drawn(call_id: CallId, legs: WithLegs = False) -> Response:
            trace = trace_of(desk, call_id, legs)
            return Response(drawing.render(trace, headline_of(desk, call_id)), media_type=drawing.media_type)

        return drawn

    for drawing in ladders.DRAWINGS:
        router.add_api_route(
            f"/calls/{{call_id}}/ladder.{drawing.suffix}",
            ladder_as(drawing),
            response_class=Response,
            name=f"ladder_{drawing.suffix}",
            description=f"Its ladder as {drawing.media_type}.",
            responses={200: {"content": {drawing.media_type: {}}}},
        )
    return router


def service_routes(
    desk: Desk,
    alerts: AlertBook | None,
    interfaces: Callable[[], list[dict[str, Any]]] | None,
    importer: Importer | None,
) -> APIRouter:
    """What the service itself sees and does."""
    router = APIRouter(tags=["service"])

    @router.get("/alerts", responses={200: {"model": schema.Alerts}})
    def list_alerts() -> JSONResponse:
        """Open alerts, then those that closed recently."""
        return JSONResponse({"alerts": alerts.alerts() if alerts is not None else []})

    @router.get("/stats", responses={200: {"model": schema.Counts}})
    def stats() -> JSONResponse:
        """What was seen and what was lost."""
        return JSONResponse(asdict(desk.stats()))

    @router.get("/interfaces", responses={200: {"model": schema.Interfaces}})
    def list_interfaces() -> JSONResponse:
        """What is being recorded."""
        return JSONResponse({"interfaces": interfaces() if interfaces is not None else []})

    if importer is not None:

        @router.post("/imports", responses={200: {"model": dict[str, Any]}})
        def imports(request: schema.ImportRequest) -> JSONResponse:
            """Import a capture file that lies on the service's machine."""
            keylog = None if request.keylog is None else _absolute(request.keylog)
            return JSONResponse(importer(_absolute(request.path), keylog, request.again))

    return router


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise SiptrailError(f"{text!r} is not an absolute path on the service's machine")
    return path


def outer_routes(registry: CollectorRegistry, version: str) -> APIRouter:
    """For monitoring, and for people with a browser."""
    router = APIRouter()

    @router.get("/healthz", tags=["service"], responses={200: {"model": schema.Health}})
    async def healthz() -> JSONResponse:
        """Alive; needs no token and asks nothing of the store."""
        return JSONResponse({"service": "siptrail", "status": "ok", "version": version})

    @router.get("/metrics", tags=["service"], response_class=PlainTextResponse, responses=PROBLEMS)
    def metrics() -> Response:
        """For Prometheus."""
        return Response(exposition(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    for path, page in pages.PAGES.items():
        router.add_api_route(path, _shown(page), include_in_schema=False, response_class=HTMLResponse)
    return router


def _shown(page: pages.Page) -> Callable[[], HTMLResponse]:
    def show() -> HTMLResponse:
        return HTMLResponse(page.html, headers={"Content-Security-Policy": page.policy})

    return show


def _told(request: Request, error: Exception) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    where = {"position": error.position} if isinstance(error, Misread) else {}
    again = {"Retry-After": "1"} if isinstance(error, Busy) else None
    return JSONResponse({"detail": str(error), **where}, status, again)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    texts = [f"{' '.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
    return JSONResponse({"detail": "; ".join(texts)}, 400)


def _broken(request: Request, error: Exception) -> Response:
    # The framework logs the traceback; the caller gets no insides.
    return JSONResponse({"detail": "the service failed to answer this; its log says why"}, 500)
