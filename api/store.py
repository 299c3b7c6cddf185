"""Routes for whoever keeps the store: what would go and why.

They hand over to a StoreKeeper and nothing else.
"""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel


class StoreKeeper(Protocol):
    """Who has the store open."""

    def retention(self, dry_run: bool) -> dict[str, Any]: ...


class RetentionRequest(BaseModel):
    dry_run: bool = True
    """Only say what would go."""


def store_routes(keeper: StoreKeeper) -> APIRouter:
    """Everything below /store."""
    router = APIRouter(prefix="/store", tags=["store"])

    @router.post("/retention", responses={200: {"model": dict[str, Any]}})
    def retention(request: RetentionRequest) -> JSONResponse:
        """Hours that must go, and why; gone afterwards unless it is a dry run."""
        return JSONResponse(keeper.retention(request.dry_run))

    return router
