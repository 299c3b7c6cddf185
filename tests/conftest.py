"""What the machine must have: `@pytest.mark.needs("root", "tshark")` skips with the reason,
or fails it when REQUIRE_ALL=1 (as continuous integration sets)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.neighbours import move_out, pytest_runtest_protocol

__all__ = ["pytest_runtest_protocol"]  # a hook of pytest

# Hundreds of commands are started: they need not each read the source of every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TOP = Path(__file__).resolve().parents[1]

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


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and "NUMBA_DISABLE_JIT" not in os.environ:
        # Once, and not by each of the commands that tests start at the same time: no answer depends on it then.
        subprocess.run([sys.executable, "-m", "siptrail.warming"], cwd=TOP, check=False)
    move_out()


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
