"""SIPp as the parties of calls: one that answers and two that refuse at the far end, callers at the near end."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.end_to_end.network import FAR, NEAR, Network
from tests.end_to_end.patience import until

SCENARIOS = Path(__file__).resolve().parents[2] / "fixtures" / "real"
ANSWERS, NO_CAPACITY, BUSY = 5060, 5061, 5080
"""Ports of the far end, all among those that are recorded without further ado."""
REFUSAL = {NO_CAPACITY: "refuse-503.xml", BUSY: "refuse-486.xml"}


class Phones:
    """Both ends."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self._calling: list[subprocess.Popen[bytes]] = []
        self._far(ANSWERS, ["-sn", "uas"])
        for port, scenario in REFUSAL.items():
            self._far(port, ["-sf", str(SCENARIOS / scenario)])
        until(lambda: {ANSWERS, *REFUSAL} <= network.far.udp_ports(), "the far end does not listen")

    def answer_over_tcp(self) -> None:
        """The one that answers does so over TCP, too."""
        self._far(ANSWERS, ["-sn", "uas", "-t", "t1"])
        until(lambda: ANSWERS in self.network.far.tcp_ports(), "the far end does not listen on TCP")

    def _far(self, port: int, scenario: list[str]) -> None:
        words = ["sipp", *scenario, "-i", FAR, "-p", str(port), "-nostdin", "-skip_rlimit"]
        self.network.far.start(words, cwd=self.folder)

    def call(
        self, name: str, port: int, count: int, rate: int = 10, talk_ms: int = 300, over: str = "u1"
    ) -> subprocess.Popen[bytes]:
        """Begin `count` calls with the Call-IDs name-1, name-2, …, `rate` a second; `over`: SIPp's word for UDP (u1),
        one TCP connection (t1), or one for each call (tn)."""
        scenario = ["-sn", "uac"] if port == ANSWERS else ["-sf", str(SCENARIOS / "call-refused.xml")]
        numbers = f"-t {over} -p {port + 1000} -m {count} -r {rate} -d {talk_ms} "
        numbers += "-timeout 60s -timeout_error -nostdin -skip_rlimit"
        words = ["sipp", *scenario, f"{FAR}:{port}", "-i", NEAR, "-cid_str", f"{name}-%u", *numbers.split()]
        self._calling.append(self.network.near.start(words, cwd=self.folder))
        return self._calling[-1]

    def hang_up(self) -> None:
        """No call is begun any more, and those that were have ended."""
        for process in self._calling:
            # SIPp's own word for "finish what you have begun".
            process.send_signal(signal.SIGUSR1)
            process.wait(30)

    def call_and_wait(self, name: str, port: int, count: int, rate: int = 10, over: str = "u1") -> list[str]:
        """Place the calls to their end; their Call-IDs."""
        code = self.call(name, port, count, rate, over=over).wait(90)
        assert code == 0, f"sipp could not place the calls {name}: exit code {code}"
        return [f"{name}-{i + 1}" for i in range(count)]
