"""Questions to the Desk that never hold up a key: each runs in a thread, and its answer comes back as a message.

Threads only post messages; the screen's handlers change what is shown. They are daemon threads of our own because
an executor would be joined at exit, and a desk that hangs would then keep the user from quitting.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from textual.message import Message
from textual.screen import Screen

from diagnose.desk import Desk
from sip.errors import SiptrailError
from sip.text import printable

NAME = "ask-"
"""What the names of the threads begin with."""


def let_finish(seconds: float) -> bool:
    """Give open questions this long in all before the interpreter ends; True when none is left.

    A thread that is inside the database's own code when the interpreter ends takes the process down with an abort.
    One that waits for a socket does no harm, so a service that hangs costs the user these seconds at most.
    """
    until = time.monotonic() + seconds
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


class Answered(Message):
    """The answer to one question, or why there is none."""

    def __init__(self, topic: str, ticket: int, value: Any, error: str) -> None:
        super().__init__()
        self.topic, self.ticket, self.value, self.error = topic, ticket, value, error


class AskingScreen(Screen[None]):
    """A screen that asks a Desk. A newer question of the same topic, or Esc, makes an older answer worthless."""

    AUTO_FOCUS: ClassVar[str | None] = ""
    """Screens say themselves what has the keys, so that a hidden input never has them for a moment."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self._tickets = 0
        self._open: dict[str, tuple[int, Callable[[Any], None]]] = {}

    def ask(self, topic: str, question: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Ask in a thread; `then` gets the answer in the user interface's own thread."""
        self._tickets += 1
        ticket = self._tickets
        self._open[topic] = (ticket, then)

        def run() -> None:
            value, error = None, ""
            try:
                value = question()
            except SiptrailError as problem:
                error = str(problem) or type(problem).__name__
            except Exception as problem:  # a defect in the desk must not end the program
                error = f"internal error: {type(problem).__name__}: {problem}"
            with contextlib.suppress(RuntimeError):  # the program ended meanwhile
                self.post_message(Answered(topic, ticket, value, error))

        threading.Thread(target=run, name=f"{NAME}{topic}", daemon=True).start()
        self.waiting_changed()

    def is_waiting(self, *topics: str) -> bool:
        """Is one of these questions (any question when none is named) still open?"""
        return any(topic in self._open for topic in topics) if topics else bool(self._open)

    def stop_waiting(self, *topics: str) -> bool:
        """Forget these open questions; True when there was one."""
        gone = [self._open.pop(topic) for topic in topics if topic in self._open]
        self.waiting_changed()
        return bool(gone)

    def on_answered(self, answer: Answered) -> None:
        """Take an answer that is still wanted."""
        ticket, then = self._open.get(answer.topic, (0, None))
        if ticket != answer.ticket or then is None:
            return
        del self._open[answer.topic]
        if answer.error:
            self.failed(answer.topic, printable(" ".join(answer.error.split("\n"))))
        else:
            then(answer.value)
        self.waiting_changed()

    def failed(self, topic: str, error: str) -> None:
        """Tell the user in one line; screens with a place of their own for it override this."""
        self.notify(error, title=topic, severity="error", markup=False)

    def waiting_changed(self) -> None:
        """A question was opened or closed; screens that show it override this."""
