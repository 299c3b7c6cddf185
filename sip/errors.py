"""The one base of every error that is the user's to mend.

Its text is a single line: what happened, to which input, what to do. The command line prints
it and exits with `exit_code` (2 wrong use, 3 cannot reach the service or the store, 1 not found).
"""


class SiptrailError(Exception):
    """A user's error in one line."""

    exit_code = 2


class Misread(SiptrailError):
    """A text of the user's that cannot be read; `position` is the 1-based place of the character that is wrong."""

    def __init__(self, what: str, text: str, position: int) -> None:
        super().__init__(what)
        self.text, self.position = text, position


class TooMuch(SiptrailError):
    """A search that did not end in time, or that needs more memory than it may have; never an empty list."""


class Busy(SiptrailError):
    """More was asked at once than can be answered."""

    exit_code = 3


class NotFound(SiptrailError):
    """What was asked for is not there."""

    exit_code = 1


class Unreachable(SiptrailError):
    """The service, the store, a capture file or an interface cannot be opened."""

    exit_code = 3
