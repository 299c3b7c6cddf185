"""Commands for whoever keeps the store: `siptrail retention` and `siptrail store …`.

They ask the running service, or open the store themselves where none runs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sip.errors import SiptrailError, Unreachable
from siptrail import options
from siptrail.places import DEFAULT_LISTEN

if TYPE_CHECKING:
    from siptrail.settings import Settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go, and why.")
@click.option("--keep", help="How long calls are kept (default 7d).")
@options.several(options.config, options.store, options.url, options.token, options.as_json)
def retention(
    dry_run: bool,
    keep: str | None,
    config: Path | None,
    store: Path | None,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Remove the hours that must go: past their time, or the store or its disk is too full."""
    from siptrail.store_output import retention_text

    with asked(url, token, store, config, keep=keep) as ask:
        record = ask("POST", "retention", {"dry_run": dry_run})
    print(json.dumps(record) if as_json else retention_text(record))


@click.group("store", cls=options.Commands)
def store_app() -> None:
    """Look after the store: check, backup, restore, stats."""


@store_app.command()
@options.several(options.config, options.store, options.url, options.token, options.as_json)
def stats(config: Path | None, store: Path | None, url: str | None, token: str | None, as_json: bool) -> None:
    """Files, rows and bytes by table and by hour; snapshots; what takes the disk."""
    from siptrail.store_output import stats_text

    with asked(url, token, store, config) as ask:
        record = ask("GET", "stats", {})
    print(json.dumps(record) if as_json else stats_text(record))


@store_app.command()
@click.option("--deep", is_flag=True, help="Read every file to its end.")
@click.option("--repair", is_flag=True, help="Set damaged files aside; the rest answers.")
@options.several(options.config, options.store, options.url, options.token, options.as_json)
def check(
    deep: bool,
    repair: bool,
    config: Path | None,
    store: Path | None,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Is every file there, and can it be read? Exit code 1 where one is damaged."""
    from siptrail.store_output import check_text, rebuilt_text

    with asked(url, token, store, config) as ask:
        record = ask("GET", "check", {"deep": deep})
    print(json.dumps(record) if as_json else check_text(record))
    if not record["faults"]:
        return
    if not repair:
        raise click.exceptions.Exit(1)
    from index.rebuild import repair as set_aside

    folder = _nobody_else(url, token, store, config)
    done = set_aside(folder, deep, lambda text: print(text, file=sys.stderr))
    if done is not None:
        print(rebuilt_text(done), file=sys.stderr if as_json else sys.stdout)


@store_app.command()
@click.option("--deep", is_flag=True, help="Read every file to its end first.")
@options.store
def rebuild(deep: bool, store: Path | None) -> None:
    """Make a new catalogue from the files, where the old one is damaged."""
    from index.rebuild import rebuild as make_anew
    from siptrail.config import load
    from siptrail.store_output import rebuilt_text

    folder = _own(load(None, store=store))
    if not (folder / "data").is_dir():
        raise Unreachable(f"there are no files of a store at {folder}; check --store")
    print(rebuilt_text(make_anew(folder, deep, lambda text: print(text, file=sys.stderr))))
    print(
        "What this loses: rows that are in no readable file. What may come back until retention takes it again: hours "
        "that went within the last hours. The old catalogue is in the folder `damaged`."
    )


@store_app.command()
@click.argument(
    "folder",
    metavar="DIR",
    type=options.PATH,
    help="Empty, or with an older backup of this store.",
)
@options.several(options.store, options.url, options.token, options.as_json)
def backup(folder: Path, store: Path | None, url: str | None, token: str | None, as_json: bool) -> None:
    """Copy the store to a folder, also while it records. Again into the same folder: only what is new is copied."""
    from siptrail.store_output import backup_text

    with asked(url, token, store, None) as ask:
        record = ask("POST", "backup", {"path": str(folder.resolve())})
    print(json.dumps(record) if as_json else backup_text(record))


@store_app.command()
@click.argument("folder", metavar="DIR", type=options.PATH, help="The folder of a backup.")
@options.store
def restore(folder: Path, store: Path | None) -> None:
    """Make a store of a backup, where there is none yet."""
    from index.backup import restore as bring_back
    from siptrail.config import load
    from siptrail.store_output import check_text

    settings = load(None, store=store)
    _own(settings)
    made = bring_back(folder, settings.store)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(made.made / 1e9))
    print(f"restored {settings.store} as it was at {when} UTC")
    with opened(settings) as keeper:
        print(check_text(keeper.check(False)))


def _own(settings: Settings) -> Path:
    """The store's folder, where it is all there is of it."""
    if settings.shared() is not None:
        raise SiptrailError(
            "a shared store is backed up, restored and mended with the means of its servers: pg_dump and pg_restore "
            "for the catalogue, versions or copies of the bucket; see docs/cluster.md"
        )
    return settings.store


def _nobody_else(url: str | None, token: str | None, store: Path | None, config: Path | None) -> Path:
    """The store's folder, where no service has it open."""
    from siptrail.config import load

    if store is None and service(url, token) is not None:
        raise SiptrailError("a running service has the store open; stop it first, then repair")
    return _own(load(config, store=store))


Ask = Callable[[str, str, dict[str, Any]], dict[str, Any]]
"""A question to the keeper of the store, wherever that is: `ask("POST", "retention", {"dry_run": True})`."""


@contextmanager
def asked(url: str | None, token: str | None, store: Path | None, config: Path | None, **given: Any) -> Iterator[Ask]:
    """Who can answer for the store: the running service, else the store itself, opened here."""
    from siptrail.config import load

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

    shared = settings.shared()
    if shared is None and not (settings.store / "catalogue.duckdb").exists():
        raise Unreachable(f"there is no store at {settings.store}; check --store, or import a capture first")
    lake = Lake(
        settings.store,
        memory=settings.memory,
        say=lambda text: print(f"siptrail: {text}", file=sys.stderr),
        shared=shared,
        node=settings.node,
    )
    try:
        yield Keeper(lake, settings, alone=shared is None)
    finally:
        lake.close()
