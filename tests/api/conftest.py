"""One server for all tests of this folder that need no options."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from desk_of_sip import ODD_CALL_IDS, SipDesk, serving


@pytest.fixture(scope="session")
def desk() -> SipDesk:
    return SipDesk(list(ODD_CALL_IDS))


@pytest.fixture(scope="session")
def url(desk: SipDesk) -> Iterator[str]:
    with serving(desk, interfaces=lambda: [{"name": "eth0", "recording": True}]) as address:
        yield address
