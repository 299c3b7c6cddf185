"""The pieces of a live test: a wire, somebody who records it, a second pair of eyes, phones, a receiver of webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.frames import Tcpdump
from tests.end_to_end.network import Network
from tests.end_to_end.phones import Phones
from tests.end_to_end.recorder import Recorder


@dataclass
class Live:
    """Everything runs, and nothing has been said on the wire yet."""

    network: Network
    folder: Path
    recorder: Recorder
    tcpdump: Tcpdump
    phones: Phones


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """A recorder on a wire of its own; all of it is gone afterwards."""
    with Network() as network:
        recorder, tcpdump = Recorder(network.near, tmp_path), Tcpdump(network.near, tmp_path)
        recorder.start()
        yield Live(network, tmp_path, recorder, tcpdump, Phones(network, tmp_path))
