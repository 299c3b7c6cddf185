"""Words for status codes and Q.850 causes."""

from __future__ import annotations

import pytest

from sip.codes import Q850, STATUS, q850, reason_phrase


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        (100, "Trying"),
        (183, "Session Progress"),
        (200, "OK"),
        (302, "Moved Temporarily"),
        (407, "Proxy Authentication Required"),
        (481, "Call/Transaction Does Not Exist"),
        (486, "Busy Here"),
        (488, "Not Acceptable Here"),
        (487, "Request Terminated"),
        (503, "Service Unavailable"),
        (603, "Decline"),
        (608, "Rejected"),
        # Not registered: the class says what it means (RFC 3261 section 8.1.3.2).
        (199, "Early Dialog Terminated"),
        (172, "Provisional"),
        (299, "Success"),
        (399, "Redirection"),
        (499, "Client Error"),
        (599, "Server Error"),
        (699, "Global Failure"),
        (700, "Unknown"),
        (0, "Unknown"),
        (-1, "Unknown"),
    ],
)
def test_reason_phrase(code: int, phrase: str) -> None:
    assert reason_phrase(code) == phrase


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (1, "Unallocated number"),
        (16, "Normal call clearing"),
        (17, "User busy"),
        (31, "Normal, unspecified"),
        (34, "No circuit available"),
        (102, "Recovery on timer expiry"),
        (127, "Interworking, unspecified"),
        (0, "Unknown cause"),
        (128, "Unknown cause"),
    ],
)
def test_q850(cause: int, text: str) -> None:
    assert q850(cause) == text


def test_the_tables_hold_only_what_can_be_registered() -> None:
    assert all(100 <= code <= 699 and phrase == phrase.strip() != "" for code, phrase in STATUS.items())
    assert all(1 <= cause <= 127 and text for cause, text in Q850.items())
