"""The filter language: one way to say which calls, for the command line, the terminal UI and the API.

    from:441632* src:203.0.113.0/24 code:5xx (state:failed or talk:<2s) not ua:~asterisk since:2h  07911

Words side by side mean `and`. A word without a key is a number, a Call-ID or an IP address by its shape. It compiles to
SQL with parameters: nothing of a user's text becomes SQL. It reads no clock: "since:2h" counts from the time given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from index.filter_rough import some_rows
from index.filter_sql import Sql
from index.filter_words import FIRST_KEYS, KEYS, TOKEN, UNKNOWN, FilterError, Parser

if TYPE_CHECKING:
    from index.text_search import Texts

__all__ = ["KEYS", "Filter", "FilterError", "Sql", "parse_filter"]


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter over the columns of `index.rollup.CALLS`."""

    sql: str
    parameters: tuple[object, ...]
    possible: Filter | None = None
    """Where findings are asked for: the calls that may match once they are diagnosed, whatever is known of them now."""
    texts: tuple[str, ...] = ()
    """What must be looked for in messages first; the connection must then have it in `texts` (text, call_id)."""
    since: int | None = None
    """No call matches that began before (ns)."""
    until: int | None = None
    """No call matches that began later (ns)."""
    found: Texts | None = None
    """What was looked for was found in these calls."""
    rough: Sql | None = None
    """What a call's first partial row tells already, over the columns of `index.rollup.CALL_COLUMNS`: no call matches
    whose first row does not. None where that leaves all calls."""
    some: tuple[Sql, ...] = ()
    """What some partial row of each call that matches tells (see `index.filter_rough`); `rough` is among it."""
    only_times: bool = False
    """It asks for nothing but when calls began."""

    def having(self, found: Texts, floor: int | None) -> Filter:
        """The same once its texts were looked for; `floor`: not in calls that began before (ns)."""
        sql = self.sql if floor is None else f"({self.sql}) AND start >= {int(floor)}"
        possible = self.possible.having(found, floor) if self.possible is not None else None
        return replace(self, sql=sql, found=found, possible=possible)

    def to_sql(self) -> Sql:
        """A WHERE expression with `?` for each parameter."""
        return self.sql, list(self.parameters)


def parse_filter(text: str, now_ns: int, without: frozenset[str] = frozenset()) -> Filter:
    """Compile `text`; FilterError says what is wrong and where. `without`: keys that make no sense here."""
    if strange := re.search("[\ud800-\udfff]", text):
        raise FilterError("this is no character", text, strange.start())
    tokens: list[tuple[str, int]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = TOKEN.match(text, at)
        if not match:
            # Only a quote can stand where no word and no bracket begins.
            raise FilterError("this quote is not closed", text, text.index('"', at))
        tokens.append((match["paren"] or match["word"], match.start(match.lastgroup or "word")))
        at = match.end()
    if not tokens:
        return Filter("true", ())
    parser = Parser(text, tokens, now_ns, without=without)
    sql, parameters = parser.either()
    if parser.at < len(tokens):
        raise FilterError("a bracket closes that none opened", text, tokens[parser.at][1])
    possible = None
    if parser.asks:
        loose, some = Parser(text, tokens, now_ns, unknown=frozenset({"finding"})).either()
        possible = Filter("true", ()) if loose == UNKNOWN else Filter(loose, tuple(some))
    rough = Parser(text, tokens, now_ns, unknown=frozenset(KEYS) - FIRST_KEYS)
    loose, some = rough.either()
    hint = None if loose == UNKNOWN else (loose, some)
    rows = some_rows(text, tokens, now_ns)
    rows = rows if hint is None else (hint, *rows)
    if possible is not None:
        possible = replace(possible, rough=hint, some=rows)
    return Filter(
        sql,
        tuple(parameters),
        possible,
        tuple(dict.fromkeys(parser.texts)),
        max(parser.bounds["since"], default=None),
        min(parser.bounds["until"], default=None),
        rough=hint,
        some=rows,
        only_times=Parser(text, tokens, now_ns, unknown=frozenset({"since", "until"})).either()[0] == UNKNOWN,
    )
