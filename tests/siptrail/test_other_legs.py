"""What other legs tell is in lists, searches and stored findings, too, and is worked out again when it changes."""

from __future__ import annotations

from pathlib import Path

from diagnose.finding import Finding
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


def finding(here: Recording, call_id: str, name: str) -> Finding:
    (found,) = [f for f in here.desk.findings(call_id) if f.name == name]
    return found


def told(found: Finding) -> str:
    return "\n".join(e.text for e in found.evidence)


def test_where_a_slow_post_dial_delay_was_spent(tmp_path: Path) -> None:
    incoming = leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.11, 100), (9.01, 180), (15.01, 200), (30, "BYE"))
    tried = leg("out-1-7f3c", SWITCH, FIRST, 0.2, (0.3, 100), (2.2, 503))
    slow = leg("out-2-7f3d", SWITCH, SECOND, 2.3, (2.4, 100), (9, 180), (15, 200), (30, "BYE"))
    here = Recording(tmp_path, incoming, tried, slow)
    here.until(40)
    found = finding(here, "in-a4471", "slow-post-dial-delay")
    assert found.headline == (
        f"It took 8.9 s from the INVITE until {CUSTOMER} heard of ringing or an answer, 6.7 s of it behind {SECOND}."
    )
    assert f"leg out-1-7f3c went to {FIRST}:5060 after 0.1 s, and ended with 503 after 2.0 s" in told(found)
    assert f"leg out-2-7f3d went to {SECOND}:5060 after 2.2 s, and rang or was answered after 6.7 s" in told(found)


def test_a_call_that_is_stuck_further_on(tmp_path: Path) -> None:
    incoming = leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.11, 100), (14, "CANCEL"), (14.1, 487))
    further = leg("out-1-7f3c", SWITCH, FIRST, 0.2, (0.3, 100), (14.01, "CANCEL"), (14.2, 487))
    here = Recording(tmp_path, incoming, further)
    here.until(60)
    found = finding(here, "in-a4471", "stuck-after-trying")
    assert f"it went on to {FIRST}:5060 as leg out-1-7f3c: ended with 487" in told(found)


def test_a_redirection_that_was_followed_with_a_call_of_its_own(tmp_path: Path) -> None:
    incoming = leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.11, 100), (2, 200), (9, "BYE"))
    moved = leg("out-1-7f3c", SWITCH, FIRST, 0.2, (0.3, 302), contact=f"sip:441632960077@{SECOND}")
    followed = leg("out-2-7f3d", SWITCH, SECOND, 0.31, (0.4, 100), (1.99, 200), (9, "BYE"))
    here = Recording(tmp_path, incoming, moved, followed)
    here.until(20)
    found = finding(here, "out-1-7f3c", "redirected")
    assert f"and the call went to {SECOND}:5060" in found.headline
    assert f"leg out-2-7f3d from {SWITCH}:5060 to {SECOND}:5060: completed" in told(found)


def test_a_limit_stands_beside_what_was_going_on_at_that_moment(tmp_path: Path) -> None:
    def number(n: int) -> dict[str, str]:
        return {"number": f"4416329{n:05d}", "caller": f"49301234{n:04d}"}

    up = [leg(f"up-{n}", SWITCH, FIRST, 1 + n, (1.1 + n, 200), (90, "BYE"), **number(n)) for n in range(5)]
    over = [leg(f"over-{n}", SWITCH, FIRST, 2, (2.5, 200), (8, "BYE"), **number(50 + n)) for n in range(2)]
    new = [leg(f"new-{n}", SWITCH, FIRST, 19.5 + n / 10, (40, 486), **number(60 + n)) for n in range(3)]
    others = [leg("other", CUSTOMER, FIRST, 19.9, (20, 200), (90, "BYE"), **number(70))]
    full = leg("full", SWITCH, FIRST, 20.0, (20.1, 503), **number(80), reasons={503: "Server at max channels"})
    here = Recording(tmp_path, *up, *over, *new, *others, full)
    here.until(60)
    found = finding(here, "full", "capacity-rejection")
    assert found.headline == (
        f"{FIRST} refused the call for capacity: 503 Server at max channels; {SWITCH} had 5 calls up there and began "
        "4 in that second."
    )
    assert f"from everybody {FIRST} got 5 in that second, and had 6 up" in told(found)
