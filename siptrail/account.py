"""Who the service runs as once its sockets are open: as a daemon never user id 0, unless told so.

It owns the change of the user and hands the store's folder over to that user. It must import nothing that starts a
thread: it works before the capabilities are dropped.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

from capture.privileges import become
from sip.errors import SiptrailError, Unreachable
from siptrail.settings import Settings

CODE = Path(__file__).resolve().parents[1]


def leaving_root(settings: Settings) -> Callable[[], None] | None:
    """What changes the user, called when the sockets are open; None where nothing is to be changed."""
    now = os.geteuid()
    if settings.user is None:
        if now == 0 and is_daemon() and not settings.allow_root:
            raise SiptrailError(
                "refusing to stay root as a daemon: set DynamicUser=yes and AmbientCapabilities=CAP_NET_RAW in the "
                "unit, give --user NAME, or set allow_root = true"
            )
        return None
    try:
        account = pwd.getpwnam(settings.user)
    except KeyError as error:
        raise SiptrailError(f"there is no user {settings.user!r}; check --user") from error
    if account.pw_uid == 0 and not settings.allow_root:
        raise SiptrailError(f"--user {settings.user} is root: name another user, or set allow_root = true")
    if account.pw_uid == now:
        return None
    if now != 0:
        raise SiptrailError(f"only root can change to --user {settings.user}; leave it out, or start as root")
    return lambda: _leave(account, settings.store)


def is_daemon() -> bool:
    """Whether systemd started this very process (its children see the same variables, but have other ids)."""
    started = os.environ.get("SYSTEMD_EXEC_PID")
    if started is None:  # before systemd 248
        return "INVOCATION_ID" in os.environ and os.getppid() == 1
    return started == str(os.getpid())


def _leave(account: pwd.struct_passwd, store: Path) -> None:
    try:
        store.mkdir(parents=True, exist_ok=True)
        if not any(store.iterdir()):
            os.chown(store, account.pw_uid, account.pw_gid)
    except OSError as error:
        raise Unreachable(f"cannot make the store {store}: {(error.strerror or str(error)).lower()}") from error
    become(account.pw_uid, account.pw_gid)
    os.environ["HOME"] = account.pw_dir
    files = [path for path in (store, store / "catalogue.duckdb", store / "spool") if path.exists()]
    if not files or not all(os.access(path, os.R_OK | os.W_OK) for path in files) or not os.access(store, os.X_OK):
        name = account.pw_name
        raise Unreachable(f"user {name} cannot write the store {store}: chown -R {name} {store}, and let it in there")
    for path in (CODE, Path(os.__file__).parent):
        if not os.access(path, os.R_OK | os.X_OK):
            raise Unreachable(f"user {account.pw_name} cannot read {path}: install siptrail where all may read")
    if "NUMBA_CACHE_DIR" not in os.environ and not os.access(CODE / "capture", os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = str(store / "kernels")
