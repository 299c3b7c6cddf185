"""What the machine must have: `@pytest.mark.needs("root", "tshark")` skips with the reason,
or fails it when REQUIRE_ALL=1 (as continuous integration sets).

Tests run beside each other where pytest has several workers (`-n 2`); `@pytest.mark.alone` is for those that the load
of another one would fail, such as what must not lose a packet."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is no matter of right or wrong, and differs between machines.
settings.register_profile("siptrail", deadline=None)
settings.load_profile("siptrail")


def _has_servers() -> bool:
    try:
        from tests.servers import postgres_programs, weed_program
    except ImportError:
        return False
    return postgres_programs() is not None and weed_program() is not None


HAVE: dict[str, tuple[Callable[[], bool], str]] = {
    "root": (lambda: os.geteuid() == 0, "needs root (raw sockets, network namespaces)"),
    "cluster": (_has_servers, "needs PostgreSQL's programs, SeaweedFS (weed) and the packages of siptrail[cluster]"),
    "corpus": (lambda: bool(os.environ.get("SIPTRAIL_CORPUS")), "needs SIPTRAIL_CORPUS set to a folder of captures"),
}


def reason_missing(thing: str) -> str | None:
    """Why this machine cannot run a test that needs `thing`; None when it can."""
    have, reason = HAVE.get(thing, (lambda: shutil.which(thing) is not None, f"needs the program {thing}"))
    return None if have() else reason


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return (yield)
    # Who waits to be alone holds the door, so that others finish and none begins.
    folder = Path(tempfile.gettempdir())
    with (folder / f"siptrail-{run}.door").open("w") as door, (folder / f"siptrail-{run}.room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for thing in marker.args:
            reason = reason_missing(thing)
            if reason is None:
                continue
            # The corpus is not part of the repository, so a fresh clone cannot be asked for it.
            if os.environ.get("REQUIRE_ALL") == "1" and thing != "corpus":
                pytest.fail(f"REQUIRE_ALL=1 and this test {reason}", pytrace=False)
            pytest.skip(reason)
