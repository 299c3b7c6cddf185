"""The other legs of a call, by one key."""

from __future__ import annotations

from textual.pilot import Pilot

from tests.tui.driving import NARROW, drive, see
from tests.tui.memory_desk import MemoryDesk, summary
from tui.app import SiptrailApp


def test_the_key_draws_the_other_leg_with_the_call_and_leaves_it_out_again() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "second")
        await pilot.press("enter")
        await see(app, pilot, "Call flow", "INVITE (SDP)")
        await pilot.press("x")
        await see(app, pilot, "A INVITE", "B INVITE", "in@example.org  +  out@example.org")
        await pilot.press("x")
        shown = await see(app, pilot, " INVITE (SDP)")
        assert "A INVITE" not in shown

    desk = MemoryDesk([summary("in@example.org", 1), summary("out@example.org", 2, from_user="second")])
    drive(desk, script, NARROW)


def test_a_call_without_other_legs_says_so() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        await pilot.press("enter")
        await see(app, pilot, "Call flow")
        await pilot.press("x")
        await see(app, pilot, "No other leg of this call was found")

    drive(MemoryDesk([summary("bad@example.org", 1, failed=True, from_user="carol")]), script, NARROW)
