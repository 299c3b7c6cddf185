"""The call list while calls come in, while the desk is slow, and when it fails."""

from __future__ import annotations

import threading

from textual.pilot import Pilot

from index.summary import CallSummary
from sip.errors import Unreachable
from tests.tui.driving import WIDE, drive, screen_text, see, until
from tests.tui.memory_desk import MemoryDesk, summary
from tui.app import SiptrailApp
from tui.asking import let_finish
from tui.call_list import FIRST, PAGE, REFRESH_MOST, CallListScreen
from tui.call_table import CallTable


def many(count: int) -> list[CallSummary]:
    return [summary(f"call-{i}@x", i, failed=i % 2 == 0, from_user=f"user{i:05d}") for i in range(count)]


def table_of(app: SiptrailApp) -> CallTable:
    return app.screen.query_one(CallTable)


def list_of(app: SiptrailApp) -> CallListScreen:
    assert isinstance(app.screen, CallListScreen)
    return app.screen


def test_filter_by_f7_and_slash() -> None:
    desk = MemoryDesk(many(10))

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "10 calls")
        await pilot.press("f7", *"failed", "enter")
        await see(app, pilot, "5 calls", "filter: failed")
        await pilot.press("slash")
        for _ in "failed":
            await pilot.press("backspace")
        await pilot.press("enter")
        await see(app, pilot, "10 calls")

    drive(desk, script)
    assert ("failed", FIRST, None) in desk.asked, "the filter is the desk's to apply"


def test_a_bad_filter_is_told_in_one_line_and_can_be_mended() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "10 calls")
        await pilot.press("f7", *"failed(", "enter")
        await see(app, pilot, "failed▲(   this bracket is not closed")
        await pilot.press("delete", "enter")  # the cursor is where the error is
        shown = await see(app, pilot, "5 calls")
        assert "bracket" not in shown

    drive(MemoryDesk(many(10)), script)


def test_keys_typed_into_the_filter_do_not_act() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "10 calls")
        await pilot.press("f7", *"qdrs p")
        await pilot.pause()
        assert isinstance(app.screen, CallListScreen)
        await see(app, pilot, "qdrs p", "Esc Close")
        await pilot.press("escape")
        assert table_of(app).has_focus

    drive(MemoryDesk(many(10)), script)


def test_a_refresh_keeps_the_cursor_on_its_call_and_its_line() -> None:
    desk = MemoryDesk(many(100))

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "100 calls")
        await pilot.press("pagedown", "pagedown", "down")
        table = table_of(app)
        under, line = table.calls[table.cursor].call_id, table.cursor - int(table.scroll_y)
        assert line > 0 and table.scroll_y > 0
        desk.rows = many(107)
        await pilot.press("f5")
        await see(app, pilot, "107 calls")
        assert table.calls[table.cursor].call_id == under
        assert table.cursor - int(table.scroll_y) == line

    drive(desk, script)


def test_new_calls_come_up_by_themselves_when_live_and_not_when_paused() -> None:
    desk = MemoryDesk(many(1))

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "1 call ")
        desk.rows = many(3)
        await see(app, pilot, "3 calls")
        await pilot.press("p")
        await see(app, pilot, "paused")
        await until(pilot, lambda: not list_of(app).is_waiting())
        asked = len(desk.asked)
        list_of(app).tick()
        await until(pilot, lambda: not list_of(app).is_waiting())
        assert len(desk.asked) == asked

    drive(desk, script, live=True)


def test_long_lists_are_fetched_as_they_are_scrolled_and_drawn_by_the_screen() -> None:
    desk = MemoryDesk(many(5000))

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, f"{PAGE} of 5000 calls")
        table = table_of(app)
        for page in range(2, 9):
            await pilot.press("end")
            await until(pilot, lambda page=page: len(table.calls) == page * PAGE)  # type: ignore[misc]
        ids = [call.call_id for call in table.calls]
        assert ids == [f"call-{i}@x" for i in range(4999, 4999 - 8 * PAGE, -1)]
        desk.rows = many(5001)
        await pilot.press("f5")
        await until(pilot, lambda: len(table.calls) == 8 * PAGE + 1)
        assert desk.asked[-1] == ("", REFRESH_MOST, None), "a refresh does not ask for all that was scrolled through"
        await pilot.press("end")
        await until(pilot, lambda: len(table.calls) == 9 * PAGE)
        assert len({call.call_id for call in table.calls}) == 9 * PAGE

    drive(desk, script)


def test_a_slow_desk_holds_up_no_key() -> None:
    gate = threading.Event()
    desk = MemoryDesk(many(3), gate=gate, share=0.43)

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "0 calls", "reading 43%")
        await pilot.press("f1")
        await see(app, pilot, "this help")
        await pilot.press("escape")
        await pilot.press("f7", *"abc", "escape")
        assert list_of(app).is_waiting("calls")
        gate.set()
        await see(app, pilot, "3 calls")

    drive(desk, script)


def test_escape_stops_waiting_and_a_late_answer_is_ignored() -> None:
    gate = threading.Event()
    desk = MemoryDesk(many(3), gate=gate)

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "Esc stops")
        await pilot.press("escape")
        assert not list_of(app).is_waiting("calls")
        gate.set()
        await until(pilot, lambda: not [t for t in threading.enumerate() if t.name == "ask-calls"])
        assert table_of(app).calls == []
        await pilot.press("f5")
        await see(app, pilot, "3 calls")

    drive(desk, script)


def test_quitting_does_not_wait_for_a_desk_that_hangs() -> None:
    gate = threading.Event()

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "Esc stops")
        await pilot.press("q")
        await pilot.pause()

    drive(MemoryDesk(many(3), gate=gate), script)
    hanging = [thread for thread in threading.enumerate() if thread.name == "ask-calls"]
    assert hanging and all(thread.daemon for thread in hanging)
    assert not let_finish(0.0), "it is bounded while the desk hangs"
    gate.set()
    assert let_finish(60.0), "and sees the last answer out when there is one"


def test_an_unreachable_service_is_told_and_recovers() -> None:
    desk = MemoryDesk(many(3), error=Unreachable("cannot reach http://127.0.0.1:8060: connection refused"))

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "cannot reach http://127.0.0.1:8060")
        desk.error = None
        shown = await see(app, pilot, "3 calls")
        assert "cannot reach" not in shown
        desk.error = Unreachable("cannot reach it")
        await pilot.press("enter")
        await see(app, pilot, "Call flow", "cannot reach it")

    drive(desk, script, live=True)


def test_a_defect_in_the_desk_does_not_end_the_program() -> None:
    desk = MemoryDesk(many(3), error=ZeroDivisionError("x"))  # type: ignore[arg-type]

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "internal error: ZeroDivisionError")

    drive(desk, script)


def test_lost_packets_are_shown() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "7 lost · 2 incomplete · 3 unreadable")

    drive(MemoryDesk(many(3), kernel_drops=7, fragments_lost=2, unreadable=3), script)


def test_escape_twice_quits() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "3 calls")
        await pilot.press("escape")
        await see(app, pilot, "Esc again quits")
        await pilot.press("escape")
        await pilot.pause()
        assert not app.is_running

    drive(MemoryDesk(many(3)), script)


def test_wide_screens_show_the_headline_in_the_row() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "10 calls", "What is wrong")
        assert screen_text(app).count("the offer has only G729") >= 5

    drive(MemoryDesk(many(10)), script, WIDE)


def test_the_first_answer_is_a_screen_full_and_the_rest_follows_by_itself() -> None:
    desk = MemoryDesk(many(1000))

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, f"{PAGE} of 1000 calls")

    drive(desk, script)
    assert [limit for _, limit, _ in desk.asked][:2] == [FIRST, PAGE]
