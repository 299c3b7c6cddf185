"""Runs the terminal program on a Desk in memory and says what is on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.app import App
from textual.pilot import Pilot

from diagnose.desk import Desk
from tui.app import SiptrailApp

NARROW, WIDE = (80, 24), (200, 50)
LOOKS = 600
"""How often to look for what must come before it counts as missing."""


def drive(
    desk: Desk,
    script: Callable[[SiptrailApp, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = NARROW,
    live: bool = False,
) -> None:
    """Run the script against the program; the first list of calls is not waited for."""

    async def run() -> None:
        app = SiptrailApp(desk, "test.pcap", live)
        async with app.run_test(size=size, notifications=True) as pilot:
            await script(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Let the program work until something holds."""
    for _ in range(LOOKS):
        await pilot.pause()
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never came true; the screen shows:\n{screen_text(pilot.app)}")


def screen_text(app: App[None]) -> str:
    """What the user sees now, as plain lines."""
    return "\n".join(line.text for line in app.screen._compositor.render_strips())


async def see(app: SiptrailApp, pilot: Pilot[None], *texts: str) -> str:
    """Wait until all these texts are on the screen."""
    for _ in range(LOOKS):
        await pilot.pause()
        shown = screen_text(app)
        if all(text in shown for text in texts):
            return shown
        await asyncio.sleep(0.01)
    raise AssertionError(f"not on the screen: {[t for t in texts if t not in shown]}\n{shown}")
