"""Routes for whoever keeps the store: what is in it, whether it is whole, a copy of it, and what must go.

They hand over to a StoreKeeper and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from sip.errors import SiptrailError


class StoreKeeper(Protocol):
    """Who has the store open."""

    def stats(self) -> dict[str, Any]: ...

    def check(self, deep: bool) -> dict[str, Any]: ...

    def backup(self, path: str) -> dict[str, Any]: ...

    def retention(self, dry_run: bool) -> dict[str, Any]: ...


class RetentionRequest(BaseModel):
    dry_run: bool = True
    """Only say what would go."""


class BackupRequest(BaseModel):
    path: str
    """A folder on the service's machine, empty or with an older backup in it."""


def store_routes(keeper: StoreKeeper) -> APIRouter:
    """Everything below /store."""
    router = APIRouter(prefix="/store", tags=["store"])

    @router.get("/stats", responses={200: {"model": dict[str, Any]}})
    def stats() -> JSONResponse:
        """Files, rows and bytes by table and by hour."""
        return JSONResponse(keeper.stats())

    @router.get("/check", responses={200: {"model": dict[str, Any]}})
    def check(deep: bool = False) -> JSONResponse:
        """Whether every file is there and can be read; `deep`: all of it."""
        return JSONResponse(keeper.check(deep))

    @router.post("/backup", responses={200: {"model": dict[str, Any]}})
    def backup(request: BackupRequest) -> JSONResponse:
        """Copy the store to a folder on the service's machine, while recording goes on."""
        if not Path(request.path).is_absolute() or "\0" in request.path:
            raise SiptrailError(f"{request.path!r} is not an absolute path on the service's machine")
        return JSONResponse(keeper.backup(request.path))

    @router.post("/retention", responses={200: {"model": dict[str, Any]}})
    def retention(request: RetentionRequest) -> JSONResponse:
        """Hours that must go, and why; gone afterwards unless it is a dry run."""
        return JSONResponse(keeper.retention(request.dry_run))

    return router
