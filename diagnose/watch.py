"""Runs jobs one after the other and never waits for one longer than its share of time. It knows nothing of rules.

A job that overruns is left behind in its own thread, which is asked to stop; the next job goes on in a new one.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Overrun(BaseException):
    """Raised inside a job that took too long (not an Exception, so that a job's own `except` lets it pass)."""


class _Runner(threading.Thread, Generic[T]):
    """One thread that works through the jobs until it is done or given up."""

    def __init__(self, jobs: Sequence[Callable[[], T]], first: int) -> None:
        super().__init__(name="rules", daemon=True)
        self.jobs, self.first = jobs, first
        self.outcomes: list[T | BaseException] = []
        self.began = time.monotonic()
        self.given_up = False
        self.lock = threading.Lock()
        self.done = threading.Event()

    def run(self) -> None:
        try:
            for job in self.jobs[self.first :]:
                outcome: T | BaseException
                try:
                    outcome = job()
                except BaseException as error:
                    outcome = error
                with self.lock:
                    if self.given_up:
                        return
                    self.outcomes.append(outcome)
                    self.began = time.monotonic()
            self.done.set()
        except Overrun:
            pass  # It came just after the job had ended by itself.

    def give_up(self, limit: float) -> bool:
        """Stop here when the job at hand has overrun; False when it has not."""
        with self.lock:
            if self.done.is_set() or time.monotonic() - self.began < limit:
                return False
            self.given_up = True
            # Under the lock, so that the thread cannot have ended and its number belong to another.
            # Only Python code can be stopped so; a job that waits inside the operating system stops when it comes back.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident or 0), ctypes.py_object(Overrun))
        return True


def run_all(jobs: Sequence[Callable[[], T]], limit: float) -> Iterator[T | BaseException]:
    """Each job's result, or what it raised; an `Overrun` for one that took longer than `limit` seconds.

    The outcomes before an overrun, and the overrun itself, come before any later job starts."""
    at = 0
    while at < len(jobs):
        runner = _Runner(jobs, at)
        runner.start()
        while not runner.done.wait(max(0.001, runner.began + limit - time.monotonic())):
            if runner.give_up(limit):
                break
        yield from runner.outcomes
        at += len(runner.outcomes)
        if at < len(jobs):
            yield Overrun(f"took longer than {limit:g} s")
            at += 1
