"""What words, codes and numbers mean, over HTTP: the same texts as `siptrail explain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from api import schema
from diagnose.engine import Rule
from diagnose.explain import explain

TOPIC = "A finding, status code, method, Q.850 cause (q850:34), sum of a NAT test (nat_uac_test 19) or term"


def reference_routes(rules: Sequence[Rule]) -> APIRouter:
    """Explanations, with those of the rules that the service runs."""
    router = APIRouter(tags=["reference"])

    @router.get("/explain/{topic:path}", responses={200: {"model": schema.Explanations}})
    def explained(topic: Annotated[str, InPath(description=TOPIC)]) -> JSONResponse:
        """What it means, what to look at next, and where it is written."""
        return JSONResponse({"topic": topic, "explanations": [e.to_json() for e in explain(topic, rules)]})

    return router
