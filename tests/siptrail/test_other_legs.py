"""What other legs tell is in lists, searches and stored findings, too, and is worked out again when it changes."""

from __future__ import annotations

from pathlib import Path

from diagnose.local import LocalDesk
from index.archive import Archive
from siptrail.analyst import Analyst
from tests.siptrail.switch import CUSTOMER, FIRST, SECOND, START, SWITCH, Packets, capture, leg, rows_of

S = 1_000_000_000


class Recording:
    """Legs as they come, with diagnosis in the background; the clock is the test's."""

    def __init__(self, folder: Path, *legs: Packets) -> None:
        self.now = START
        self.archive = Archive(None, lambda: self.now)
        self.desk = LocalDesk(self.archive)
        self.analyst = Analyst(self.archive.calls_of, self.desk.diagnosed, self.desk.unsettled)
        self._packets = sorted(p for packets in legs for p in packets)
        self._folder = folder

    def until(self, *seconds: float) -> None:
        """Record up to each of these times, and look at what is due then."""
        for at in seconds:
            before, self.now = self.now, START + int(at * S)
            fresh = [p for p in self._packets if before <= p[0] < self.now]
            for rows in rows_of(capture(self._folder / "part.pcap", fresh)) if fresh else ():
                self.archive.add(rows)
                self.analyst.observe(rows)
            self.analyst.look(self.now)

    def kept(self, call_id: str) -> tuple[str, ...]:
        """What stands in the store of this call."""
        (call,) = self.archive.calls_of([call_id], 0)
        return tuple(name for v in self.archive.known_verdicts([call]) for name, _, _ in v.findings)


FAILED = leg("out-1-7f3c", SWITCH, FIRST, 0.2, (0.3, 100), (0.5, 503))


def test_a_leg_that_another_carrier_made_good(tmp_path: Path) -> None:
    incoming = leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.11, 100), (20.01, 200), (30, "BYE"))
    second = leg("out-2-7f3d", SWITCH, SECOND, 0.6, (0.7, 100), (1.5, 180), (20, 200), (30, "BYE"))
    here = Recording(tmp_path, incoming, FAILED, second)
    here.until(3)
    assert here.kept("out-1-7f3c")[:1] == ("server-error",), "nobody knows yet that it will be answered"
    here.until(*range(4, 45))
    assert here.kept("out-1-7f3c")[:1] == ("answered-on-another-leg",)
    (listed,) = here.desk.calls("finding:answered-on-another-leg").calls
    assert listed.headline == (
        f"This leg failed with 503 Service Unavailable, but the call was answered by way of {SECOND}:5060."
    )
    assert listed.severity == "info" and here.desk.call("out-1-7f3c").headline == listed.headline
    assert here.desk.findings("out-1-7f3c")[0].headline == listed.headline
    here.until(300)
    assert here.analyst.waiting() == 0


def test_a_refusal_that_was_passed_on_and_one_of_the_switch_itself(tmp_path: Path) -> None:
    passed_on = leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.11, 100), (0.51, 503))
    own = leg("in-b5582", CUSTOMER, SWITCH, 0.4, (0.41, 100), (0.45, 404), number="442079460000", caller="491700001")
    here = Recording(tmp_path, passed_on, FAILED, own)
    here.until(3)
    assert "refused-on-next-leg" in here.kept("in-a4471") and "not-sent-on" in here.kept("in-b5582")
    assert [c.call_id for c in here.desk.calls("finding:refused-on-next-leg").calls] == ["in-a4471"]
    assert [c.call_id for c in here.desk.calls("finding:not-sent-on").calls] == ["in-b5582"]
