"""Runs the terminal program on a Desk in memory and says what is on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from diagnose.desk import Desk
from tui.app import SiptrailApp

NARROW, WIDE = (80, 24), (200, 50)


def drive(
    desk: Desk, script: Callable[[SiptrailApp, Pilot[None]], Awaitable[None]], size: tuple[int, int] = NARROW, live: bool = False
) -> None:
    """Run the script against the program; the first list of calls is not waited for."""

    async def run() -> None:
        app = SiptrailApp(desk, "test.pcap", live)
        async with app.run_test(size=size) as pilot:
            await script(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Let the program work until something holds; a minute without it is a failure."""
    for _ in range(6000):
        await pilot.pause()
        if true():
            await pilot.pause()
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never came true; the screen shows:\n{'?'}")


def screen_text(app: SiptrailApp) -> str:
    """What the user sees now, as plain lines."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join(line.text for line in lines[:height])


async def see(app: SiptrailApp, pilot: Pilot[None], *texts: str) -> str:
    """Wait until all these texts are on the screen."""
    for _ in range(3000):
        await pilot.pause()
        shown = screen_text(app)
        if all(text in shown for text in texts):
            return shown
        await asyncio.sleep(0.01)
    raise AssertionError(f"not on the screen: {[t for t in texts if t not in shown]}\n{shown}")
