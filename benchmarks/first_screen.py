"""How long a user waits for the first calls on the screen: `python benchmarks/first_screen.py COMMAND...`.

Owns: running the terminal UI on a terminal of its own (a pty of 120 x 40) and watching what it draws, from outside.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

DRAWN = b"INVITE"
"""A row of the call list is on the screen once this is."""
PATIENCE = 120.0


def first_screen(command: list[str]) -> tuple[float, float]:
    """Seconds from the start of the process to the first call drawn, and the peak memory in MB until then."""
    started = time.perf_counter()
    process, screen = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.execvp(command[0], command)
    taken, seen = None, b""
    try:
        while time.perf_counter() - started < PATIENCE:
            if not select.select([screen], [], [], 0.05)[0]:
                continue
            try:
                seen = seen[-200_000:] + os.read(screen, 65536)
            except OSError:  # the terminal is gone, and so is the program
                break
            if DRAWN in seen:
                taken = time.perf_counter() - started
                break
    finally:
        # A program that ended by itself is still ours to reap, so its number cannot be anybody else's.
        os.kill(process, signal.SIGKILL)
        _, _, usage = os.wait4(process, 0)
        os.close(screen)
    if taken is None:
        raise SystemExit(f"no call appeared: {seen[-300:].decode('utf-8', 'replace')!r}")
    return taken, usage.ru_maxrss / 1024


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    seconds, peak = first_screen(sys.argv[1:])
    print(f"{seconds:.2f} s, {peak:.0f} MB by then")


if __name__ == "__main__":
    main()
