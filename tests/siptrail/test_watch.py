"""Which calls the alert thread looks at, and when: the failed, the silent, and nobody else."""

from __future__ import annotations

import pyarrow as pa

from index.columns import FRAMES, Rows
from siptrail.watch import CHALLENGE_NS, SETTLE_NS, SILENCE_NS, FailureWatch

SECOND = 1_000_000_000


def seen(*messages: tuple[str, int, int]) -> Rows:
    """(Call-ID, code, time in s) of INVITEs and their responses."""
    columns = {
        "call_id": pa.array([m[0] for m in messages]).dictionary_encode(),
        "code": pa.array([m[1] for m in messages], pa.int16()),
        "ts": [m[2] * SECOND for m in messages],
        "method": pa.array(["INVITE"] * len(messages)).dictionary_encode(),
        "in_dialog": [False] * len(messages),
    }
    return Rows(pa.record_batch(columns), pa.RecordBatch.from_pylist([], FRAMES))


def due(watch: FailureWatch, seconds: float) -> list[str]:
    return watch.due(int(seconds * SECOND))


def test_a_failure_is_due_when_it_has_settled_and_once() -> None:
    watch = FailureWatch()
    watch.observe(seen(("a", 0, 0), ("a", 100, 0), ("a", 503, 1)))
    assert due(watch, 1 + SETTLE_NS / SECOND - 0.1) == []
    assert due(watch, 1 + SETTLE_NS / SECOND) == ["a"]
    assert due(watch, 1000) == []


def test_an_answer_from_another_branch_ends_the_matter() -> None:
    watch = FailureWatch()
    watch.observe(seen(("a", 0, 0), ("a", 503, 0), ("a", 0, 1), ("a", 200, 1)))
    assert due(watch, 1000) == []


def test_a_challenge_waits_for_credentials_and_a_later_failure_does_not() -> None:
    watch = FailureWatch()
    watch.observe(seen(("a", 0, 0), ("a", 407, 0), ("b", 0, 0), ("b", 401, 0)))
    watch.observe(seen(("b", 0, 1), ("b", 403, 1)))
    assert due(watch, 1 + SETTLE_NS / SECOND) == ["b"]
    assert due(watch, CHALLENGE_NS / SECOND) == ["a"]


def test_silence_is_due_after_the_transaction_and_any_response_breaks_it() -> None:
    watch = FailureWatch()
    watch.observe(seen(("a", 0, 0), ("b", 0, 0), ("a", 0, 16), ("b", 100, 1)))
    assert due(watch, SILENCE_NS / SECOND - 1) == []
    assert due(watch, SILENCE_NS / SECOND) == ["a"]


def test_what_was_told_is_no_news_when_it_is_sent_again() -> None:
    watch = FailureWatch()
    watch.observe(seen(("a", 0, 0), ("a", 503, 0)))
    assert due(watch, 10) == ["a"]
    watch.done("a")
    watch.observe(seen(("a", 503, 11)))
    assert due(watch, 100) == []


def test_a_flood_is_handed_out_in_portions() -> None:
    watch = FailureWatch()
    watch.observe(seen(*((f"call-{n}", 503, 0) for n in range(1200))))
    assert [len(due(watch, 10)) for _ in range(4)] == [500, 500, 200, 0]


def test_what_comes_last_in_a_batch_counts() -> None:
    """Challenged and tried again without any answer: silence is measured from the second try."""
    watch = FailureWatch()
    watch.observe(seen(("a", 0, 0), ("a", 401, 1), ("a", 0, 2), ("a", 0, 3), ("b", 0, 0), ("b", 100, 1)))
    silent = 2 + SILENCE_NS / SECOND
    assert due(watch, silent - 1) == ["a"]  # the challenge
    assert due(watch, silent - 0.001) == []
    assert due(watch, silent) == ["a"]
    watch.observe(seen(("c", 0, 50)))
    watch.observe(seen(("d", 0, 51), ("c", 180, 51)))
    assert due(watch, 1000) == ["d"]
