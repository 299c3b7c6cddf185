"""Commands for whoever keeps the store: `siptrail retention`.

They ask the running service, or open the store themselves where none runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from sip.errors import SiptrailError, Unreachable
from siptrail.config import DEFAULT_LISTEN, Settings, load
from siptrail.options import AsJson, Config, Store, Token, Url

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why.")]


def retention(
    dry_run: DryRun = False,
    keep: Annotated[str | None, typer.Option("--keep", help="How long calls are kept (default 7d).")] = None,
    config: Config = None,
    store: Store = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Remove the hours that must go: past their time, or the store or its disk is too full."""
    from siptrail.storekeeping import retention_text

    with asked(url, token, store, config, keep=keep) as ask:
        record = ask("POST", "retention", {"dry_run": dry_run})
    print(json.dumps(record) if as_json else retention_text(record))


Ask = Callable[[str, str, dict[str, Any]], dict[str, Any]]
"""A question to the keeper of the store, wherever that is: `ask("POST", "retention", {"dry_run": True})`."""


@contextmanager
def asked(url: str | None, token: str | None, store: Path | None, config: Path | None, **given: Any) -> Iterator[Ask]:
    """Who can answer for the store: the running service, else the store itself, opened here."""
    if store is not None and url is not None:
        raise SiptrailError("--url and --store exclude each other; give one of them")
    remote = service(url, token) if store is None else None
    if remote is not None:
        told = [f"--{name}" for name, value in given.items() if value is not None]
        if config is not None or told:
            raise SiptrailError(
                f"the running service has settings of its own; leave out {', '.join(told) or '--config'}, "
                "or give --store"
            )
        try:
            yield remote.ask_store
        finally:
            remote.close()
        return
    settings = load(config, store=store, **given)
    with opened(settings) as keeper:
        yield lambda method, what, values: getattr(keeper, what)(**values)


def service(url: str | None, token: str | None) -> Any:
    """The service that was named, or the local one where it runs; else None."""
    from api.client import HttpDesk

    desk = HttpDesk(url or f"http://{os.environ.get('SIPTRAIL_LISTEN', DEFAULT_LISTEN)}", token)
    if url is not None or desk.alive():
        return desk
    desk.close()
    return None


@contextmanager
def opened(settings: Settings) -> Iterator[Any]:
    """The keeper of a store that no service has open."""
    from index.lake import Lake
    from siptrail.storekeeping import Keeper

    if not (settings.store / "catalogue.duckdb").exists():
        raise Unreachable(f"there is no store at {settings.store}; check --store, or import a capture first")
    lake = Lake(settings.store, memory=settings.memory)
    try:
        yield Keeper(lake, settings, alone=True)
    finally:
        lake.close()
