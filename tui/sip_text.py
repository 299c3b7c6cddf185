"""A SIP message as coloured text. Every character from the wire is made printable; nothing is read as markup."""

from __future__ import annotations

from rich.text import Text

from capture import flags
from index.ladder import clock
from index.trace import TraceMessage
from sip.text import printable, text_of

KEY_HEADERS = {"call-id", "i", "from", "f", "to", "t", "via", "v", "contact", "m", "cseq", "reason", "warning"}


def code_style(code: int) -> str:
    """Colour of a response."""
    return ("", "cyan", "green", "yellow", "red", "red", "red")[code // 100] if 100 <= code < 700 else ""


def heading(message: TraceMessage, number: int, count: int) -> Text:
    """One line: which message, when, from where to where, and what is special about it."""
    notes = [*flags.names(message.flags)]
    if message.retransmission:
        notes.append("retransmission")
    if message.seen > 1:
        notes.append(f"seen {message.seen}×")
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{number}/{count} {clock(message.ts)} ", "bold")
    text.append(f"{message.src} → {message.dst} {message.transport.upper()}", "bold")
    if notes:
        text.append("  " + ", ".join(notes), "yellow")
    return text


def body_text(message: TraceMessage, marked: str = "") -> Text:
    """The whole message; the line `marked` (evidence of a finding) stands out."""
    text, in_body = Text(), False
    lines = text_of(message.sip.raw).split("\n")
    for number, line in enumerate(lines):
        line = line.removesuffix("\r")
        shown = printable(line)
        if marked and shown.strip() == marked.strip():
            text.append(shown, "bold black on yellow")
        elif number == 0:
            text.append(shown, "bold " + (code_style(message.sip.code) or "yellow"))
        elif in_body:
            text.append(shown[:2], "magenta").append(shown[2:]) if shown[1:2] == "=" else text.append(shown)
        elif not line:
            in_body = True
        else:
            name, colon, value = shown.partition(":")
            style = "bold cyan" if name.strip().lower() in KEY_HEADERS else "cyan"
            text.append(name, style).append(colon + value) if colon else text.append(shown)
        text.append("\n")
    text.rstrip()
    return text
