"""From the call list to every screen and back, by the keys a sngrep user knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import NARROW, WIDE, drive, see
from tests.tui.memory_desk import MemoryDesk, summary
from tui.app import SiptrailApp


def two_calls() -> MemoryDesk:
    return MemoryDesk([summary("good@example.org", 1), summary("bad@example.org", 2, failed=True, from_user="carol")])


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_list_flow_message_and_back(size: tuple[int, int]) -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        shown = await see(app, pilot, "carol", "failed", "completed", "2 calls", "F7 Filter", "F1 Help")
        assert shown.index("carol") < shown.index("alice"), "the newest call is on top"
        await pilot.press("enter")
        await see(app, pilot, "Call flow", "bad@example.org", "488", "▶", "◀", "Via: SIP/2.0/UDP", "CRITICAL", "Esc")
        await pilot.press("down", "enter")
        await see(app, pilot, "2/3", "SIP/2.0 488 Not Acceptable Here", "n Next")
        await pilot.press("escape", "q")
        await see(app, pilot, "2 calls")

    drive(two_calls(), script, size)


def test_raw_message_has_its_sdp_and_steps_through_the_call() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        await pilot.press("r")
        await see(app, pilot, "1/3", "INVITE sip:bob@example.org SIP/2.0", "a=rtpmap:18 G729/8000")
        await pilot.press("n", "n", "n")
        await see(app, pilot, "3/3", "ACK sip:bob@example.org")

    drive(two_calls(), script)


def test_findings_lead_to_the_line_they_rest_on() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        await pilot.press("d")
        await see(app, pilot, "CRITICAL", "WARNING", "a=rtpmap:18 G729/8000", "Allow PCMA", "RFC 3264", "2 findings")
        await pilot.press("enter")
        await see(app, pilot, "1/3", "a=rtpmap:18 G729/8000")
        await pilot.press("escape", "escape", "down", "d")
        await see(app, pilot, "Nothing is wrong", "good@example.org")

    drive(two_calls(), script)


def test_selected_calls_share_one_ladder() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        await pilot.press("space", "space")
        await see(app, pilot, "2 selected")
        await pilot.press("enter")
        shown = await see(app, pilot, "Call flow", "488", "180", "1/10")
        assert "bad@example.org" in shown and "good@example.org" in shown

    drive(two_calls(), script)


def test_preview_can_be_hidden_and_moved() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        await pilot.press("enter")
        await see(app, pilot, "Via: SIP/2.0/UDP")
        assert not app.screen.has_class("beside")
        await pilot.press("w")
        assert app.screen.has_class("beside")
        await pilot.press("t")
        await pilot.pause()
        assert not app.screen.query_one("#preview").display
        await pilot.resize_terminal(*WIDE)
        await see(app, pilot, "488")

    drive(two_calls(), script)


def test_help_opens_over_any_screen() -> None:
    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        await see(app, pilot, "carol")
        for key in ("f1", "h", "question_mark"):
            await pilot.press(key)
            await see(app, pilot, "Keys", "this help", "save the original packets")
            await pilot.press("escape")
            await see(app, pilot, "2 calls")
        await pilot.press("enter", "f1")
        await see(app, pilot, "Keys")

    drive(two_calls(), script)


def test_text_from_the_wire_is_neither_markup_nor_control() -> None:
    hostile = "[red]x[/]\x1b]0;t\x07"

    async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
        shown = await see(app, pilot, "[red]x[/]")
        assert "\x1b" not in shown and "\x07" not in shown

    drive(MemoryDesk([summary("a[bold]@x", from_user=hostile)]), script, WIDE)


class TestSave:
    """F2 writes the Desk's bytes, and never over a file without asking."""

    def test_writes_the_bytes(self, tmp_path: Path) -> None:
        target = tmp_path / "out.pcap"

        async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
            await self.open(app, pilot, target)
            await see(app, pilot, "Saved")

        drive(two_calls(), script)
        assert target.read_bytes() == b"frames of bad@example.org"

    def test_asks_before_it_replaces(self, tmp_path: Path) -> None:
        target = tmp_path / "o.pcap"
        target.write_bytes(b"mine")

        async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
            await self.open(app, pilot, target)
            await see(app, pilot, "exists")
            assert target.read_bytes() == b"mine"
            await pilot.press("enter")
            await see(app, pilot, "Saved")

        drive(two_calls(), script, WIDE)
        assert target.read_bytes() == b"frames of bad@example.org"

    def test_an_error_is_one_line_and_the_dialog_stays(self, tmp_path: Path) -> None:
        async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
            await self.open(app, pilot, tmp_path / "no" / "such.pcap")
            await see(app, pilot, "cannot write", "No such file", "Save packets")
            await pilot.press("escape")
            await see(app, pilot, "2 calls")

        drive(two_calls(), script, WIDE)

    def test_selected_calls_get_a_file_each(self, tmp_path: Path) -> None:
        async def script(app: SiptrailApp, pilot: Pilot[None]) -> None:
            await see(app, pilot, "carol")
            await pilot.press("space", "space")
            await self.open(app, pilot, tmp_path / "x.pcap")
            await see(app, pilot, "Saved")

        drive(two_calls(), script, WIDE)
        assert (tmp_path / "x-1.pcap").read_bytes() == b"frames of bad@example.org"
        assert (tmp_path / "x-2.pcap").read_bytes() == b"frames of good@example.org"

    @staticmethod
    async def open(app: SiptrailApp, pilot: Pilot[None], path: Path) -> None:
        await see(app, pilot, "carol")
        await pilot.press("f2")
        await see(app, pilot, "Save packets", ".pcap")
        app.screen.query_one("#name").value = str(path)  # type: ignore[attr-defined]
        await pilot.pause()
        await pilot.press("enter")
