"""What single partial rows of a call tell of a filter, so that a list looks at calls that may match and at no others.

A call's outcome, times and codecs come from one or several of its rows. Each condition here holds for at least one row
of every call that matches; it may hold for rows of others. It relies on how `index.rollup` adds rows up: the least and
the greatest of times, the value beside them, bits together. Of what is negated nothing is told.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from index.filter_sql import Sql, any_of, joined, text_is, unquoted
from index.filter_words import NUMBERS, TEXT, UNKNOWN, Parser

_CODES = ("answer_code", "fail_code", "side_code")
_COLUMNS = {
    "reason": ("answer_reason", "fail_reason", "side_reason"),
    "interface": ("coalesce(interface, '')",),
    "pai": ("coalesce(pai, '')",),
    "diversion": ("coalesce(diversion, '')",),
    "codec": ("coalesce(answer_codecs, '')", "coalesce(offer_codecs, '')"),
}
_IN_SET_UP = "(invite_ts IS NOT NULL OR fail_ts IS NOT NULL) AND ring_ts IS NULL AND cancel_ts IS NULL"
_NO_INVITE = "invite_ts IS NULL AND answer_ts IS NULL AND fail_ts IS NULL"
STATES = {
    "busy": "fail_code IN (486, 600)",
    "calling": f"answer_ts IS NULL AND bye_ts IS NULL AND {_IN_SET_UP}",
    "cancelled": "cancel_ts IS NOT NULL OR fail_code = 487 OR method = 'CANCEL'",
    "challenged": "fail_code IN (401, 407) OR side_code IN (401, 407)",
    "completed": "bye_ts IS NOT NULL",
    "declined": "fail_code = 603",
    "failed": "(fail_code NOT BETWEEN 300 AND 399 AND fail_code NOT IN (486, 487, 600, 603)) "
    "OR (side_code NOT BETWEEN 200 AND 299 AND side_code NOT IN (401, 407))",
    "in-call": "bye_ts IS NULL AND (answer_ts IS NOT NULL "
    f"OR ({_NO_INVITE} AND method IN ('ACK', 'BYE', 'PRACK', 'INVITE')))",
    "no-answer": "fail_code IN (408, 480)",
    "ok": "side_code BETWEEN 200 AND 299",
    "pending": f"{_NO_INVITE} AND side_final_ts IS NULL",
    "redirected": "fail_code BETWEEN 300 AND 399",
    "ringing": "ring_ts IS NOT NULL AND answer_ts IS NULL AND bye_ts IS NULL AND cancel_ts IS NULL",
    "unanswered": f"answer_ts IS NULL AND bye_ts IS NULL AND (({_IN_SET_UP} AND trying_ts IS NULL) "
    f"OR ({_NO_INVITE} AND side_final_ts IS NULL))",
}
"""Every state of `index.rollup.CALLS`, and what a row has of a call in it."""
_ENDED = {"caller": "bye_ts IS NOT NULL OR cancel_ts IS NOT NULL", "callee": "bye_ts IS NOT NULL"}
_RANG = "ring_ts IS NOT NULL"
_SPANS = {
    # Column: what ends it, what begins it. Seen with its end only, a span is no longer than it is; with its beginning,
    # no shorter.
    "talk_ms": ("bye_ts", "answer_ts"),
    "pdd_ms": ("least(ring_ts, answer_ts)", "invite_ts"),
}


def some_rows(text: str, tokens: list[tuple[str, int]], now_ns: int) -> tuple[Sql, ...]:
    """Conditions over `index.rollup.CALL_COLUMNS`; each holds for some row of every call that matches the filter. None
    where nothing is told."""
    parser = _Rows(text, tokens, now_ns)
    whole = parser.either()
    if len(parser.together) == 1:
        return tuple(part for part in parser.together[0] if part[0] != UNKNOWN)
    return (whole,) if whole[0] != UNKNOWN else ()


class _Rows(Parser):
    def __init__(self, text: str, tokens: list[tuple[str, int]], now: int) -> None:
        super().__init__(text, tokens, now)
        self.together: list[list[Sql]] = []
        """For each side of an OR that no bracket holds: what is said there with AND."""

    def both(self) -> Sql:
        outermost = self.depth == 0
        parts = self.all_of_both()
        if outermost:
            self.together.append(parts)
        # Two conditions may hold for two rows of a call and for no row together: one of them is told.
        return next((part for part in parts if part[0] != UNKNOWN), (UNKNOWN, []))

    def one(self) -> Sql:
        negated = self.at < len(self.tokens) and self.tokens[self.at][0].lower() == "not"
        found = super().one()
        return (UNKNOWN, []) if negated else found

    def leaf(self, word: str, place: int) -> Sql:
        found = super().leaf(word, place)
        key, colon, _ = word.partition(":")
        return found if colon and key.lower() in _KNOWN else (UNKNOWN, [])

    def term(self, key: str, value: str, place: int) -> Sql:
        if key == "state":
            return _one_of(STATES, value, key)
        if key == "ended":
            return _one_of(_ENDED, value, key)
        if key == "codec" and not value.startswith("~") and "*" not in value:
            return any_of(_COLUMNS[key], lambda c: (f"contains(lower({c}), ?)", [unquoted(value).lower()]))
        if key in _COLUMNS:
            return any_of(_COLUMNS[key], lambda column: text_is(column, value, key))
        sql, parameters = super().term(key, value, place)
        if key == "code":
            return any_of(_CODES, lambda column: (sql.replace("final_code", column), parameters))
        if key in NUMBERS:
            column, comparison, _ = sql.split(" ", 2)
            number = parameters[0]
            assert isinstance(number, float)
            return _amount(column, comparison, number)
        return sql, parameters


_KNOWN = frozenset({"state", "ended", "code", "nat", *_COLUMNS, *NUMBERS})


def _one_of(all_of_them: dict[str, str], value: str, key: str) -> Sql:
    """What rows have of those whose name matches, as `index.filter_sql.text_is` compares it."""
    assert key in TEXT
    wanted = unquoted(value.removeprefix("~")).lower()
    if value.startswith("~"):
        some = [sql for name, sql in all_of_them.items() if wanted in name]
    else:
        pattern = wanted.replace("[", "[[]").replace("?", "[?]")
        some = [sql for name, sql in all_of_them.items() if fnmatchcase(name, pattern)]
    return joined([(f"({sql})", []) for sql in some], " OR ") if some else ("false", [])


def _amount(column: str, comparison: str, number: float) -> Sql:
    up, down = comparison in (">", ">="), comparison in ("<", "<=")
    if column == "messages":
        # Each row has at most what all have together.
        return (UNKNOWN, []) if up else ("messages <= ?", [number])
    if column == "retransmissions":
        some = (number > 0 and not down) or comparison == ">"
        return ("retransmissions > 0", []) if some else (UNKNOWN, [])
    if column == "ring_ms":
        # The later of the answers and of the failures may be in other rows.
        shorter = f"(answer_ts - ring_ts) / 1e6 {comparison} ?"
        return (f"ring_ts IS NOT NULL AND (answer_ts IS NULL OR {shorter})", [number]) if up else (_RANG, [])
    end, begin = _SPANS[column]
    if up:
        return f"{begin} IS NOT NULL AND ({end} IS NULL OR ({end} - {begin}) / 1e6 {comparison} ?)", [number]
    comparison = comparison if down else "<="
    return f"{end} IS NOT NULL AND ({begin} IS NULL OR ({end} - {begin}) / 1e6 {comparison} ?)", [number]
