"""Two selected calls side by side, by one key."""

from __future__ import annotations

from textual.pilot import Pilot

from tests.tui.driving import NARROW, drive, see
from tests.tui.memory_desk import MemoryDesk, summary
from tui.app import SiptrailApp


def two_calls() -> MemoryDesk:
    return MemoryDesk([summary("good@example.org", 1), summary("bad@example.org", 2, failed=True, from_user="carol")])


def test_two_selected_calls_are_compared_the_earlier_one_as_a() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        await pilot.press("space", "space")
        await see(app, pilot, "2 selected, v compares")
        await pilot.press("v")
        shown = await see(app, pilot, "Compare", "final response to INVITE", "A  200 OK", "B  488 Not Acceptable")
        assert shown.index("A  good@example.org") < shown.index("B  bad@example.org")
        await pilot.press("x")
        await see(app, pilot, "A  bad@example.org", "B  200 OK")
        await pilot.press("escape")
        await see(app, pilot, "2 calls")

    drive(two_calls(), script, NARROW)


def test_the_key_asks_for_two_calls() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        await pilot.press("v")
        await see(app, pilot, "select two calls")
        await pilot.press("space", "v")
        await see(app, pilot, "select two calls", "1 selected")

    drive(two_calls(), script)


def test_a_call_that_is_gone_is_one_line() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        await pilot.press("space", "space")
        desk = app.desk
        assert isinstance(desk, MemoryDesk)
        desk.rows.clear()
        await pilot.press("v")
        await see(app, pilot, "Compare", "no call")

    drive(two_calls(), script)
