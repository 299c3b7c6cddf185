"""The filter language: one way to say which calls, for the command line, the terminal UI and the API.

    from:441632* src:203.0.113.0/24 code:5xx (state:failed or talk:<2s) not ua:~asterisk since:2h  07911

Words side by side mean `and`. A word without a key is a number, a Call-ID or an IP address by its shape. It compiles to
SQL with parameters: nothing of a user's text becomes SQL. It reads no clock: "since:2h" counts from the time given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from index.summary import from_rfc3339
from sip.errors import Misread
from sip.ip import literal
from sip.nat import DIALECTS, NAMES, mask_of

if TYPE_CHECKING:
    from index.text_search import Texts

Sql = tuple[str, list[object]]


class FilterError(Misread):
    """A filter that cannot be understood; `column` is the 1-based place of the character that is wrong."""

    def __init__(self, what: str, text: str, at: int) -> None:
        self.column = at + 1
        super().__init__(f"filter: {what} at character {at + 1} of {_short(text, 200)!r}", text, at + 1)


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


_TEXT = {
    "from": ("from_user",),
    "to": ("to_user",),
    "number": ("from_user", "to_user"),
    "reason": ("final_reason",),
    "ua": ("user_agent",),
    "node": ("node",),
    "method": ("method",),
    "state": ("state",),
    "transport": ("transport",),
    "codec": ("codecs",),
    "call-id": ("call_id",),
    "interface": ("interface",),
    "pai": ("pai",),
    "diversion": ("diversion",),
    "ended": ("ended_by",),
}
_PLACES = {"src": ("src",), "dst": ("dst",), "ip": ("src", "dst")}
_NUMBERS = {
    "pdd": "pdd_ms",
    "ring": "ring_ms",
    "talk": "talk_ms",
    "messages": "messages",
    "retransmissions": "retransmissions",
}
KEYS = tuple(sorted([*_TEXT, *_PLACES, *_NUMBERS, "code", "since", "until", "finding", "text", "nat"]))
FIRST_KEYS = frozenset({"from", "to", "number", "ua", "node", "method", "transport", "call-id", "text", *_PLACES})
"""What a call has from its first message on, and what is known of it by its Call-ID."""
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_TOKEN = re.compile(rf'\s*(?:(?P<paren>[()])|(?P<word>(?:[^\s()"]|{_QUOTED})+))', re.DOTALL)
_SCALE = {"ms": 1.0, "s": 1e3, "m": 6e4, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
_UNKNOWN = "NULL::BOOLEAN"
_DAY_NS = 86_400_000_000_000
_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_WITH_PORT = re.compile(r"(?:\[(.+)\]|([^:]+)):([0-9]+)")
_FOLDED = frozenset({"method", "state", "transport", "codec", "ended"})


def parse_filter(text: str, now_ns: int, without: frozenset[str] = frozenset()) -> Filter:
    """Compile `text`; FilterError says what is wrong and where. `without`: keys that make no sense here."""
    if strange := re.search("[\ud800-\udfff]", text):
        raise FilterError("this is no character", text, strange.start())
    tokens: list[tuple[str, int]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if not match:
            # Only a quote can stand where no word and no bracket begins.
            raise FilterError("this quote is not closed", text, text.index('"', at))
        tokens.append((match["paren"] or match["word"], match.start(match.lastgroup or "word")))
        at = match.end()
    if not tokens:
        return Filter("true", ())
    parser = _Parser(text, tokens, now_ns, without=without)
    sql, parameters = parser.either()
    if parser.at < len(tokens):
        raise FilterError("a bracket closes that none opened", text, tokens[parser.at][1])
    possible = None
    if parser.asks:
        loose, some = _Parser(text, tokens, now_ns, unknown=frozenset({"finding"})).either()
        possible = Filter("true", ()) if loose == _UNKNOWN else Filter(loose, tuple(some))
    rough = _Parser(text, tokens, now_ns, unknown=frozenset(KEYS) - FIRST_KEYS)
    loose, some = rough.either()
    hint = None if loose == _UNKNOWN else (loose, some)
    if possible is not None:
        possible = replace(possible, rough=hint)
    return Filter(
        sql,
        tuple(parameters),
        possible,
        tuple(dict.fromkeys(parser.texts)),
        max(parser.bounds["since"], default=None),
        min(parser.bounds["until"], default=None),
        rough=hint,
        only_times=_Parser(text, tokens, now_ns, unknown=frozenset({"since", "until"})).either()[0] == _UNKNOWN,
    )


class _Parser:
    def __init__(
        self,
        text: str,
        tokens: list[tuple[str, int]],
        now: int,
        unknown: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.text, self.tokens, self.now, self.at = text, tokens, now, 0
        self.depth = 0
        self.unknown = unknown
        """Keys that nothing is known of yet."""
        self.without = without
        self.negated = 0
        """NOTs around the present word."""
        self.asks = False
        """Findings are asked for."""
        self.texts: list[str] = []
        """Looked for in messages."""
        self.inside = 0
        """Brackets and negations around the present word."""
        self.bounds: dict[str, list[int]] = {"since": [], "until": []}
        """Times that hold whatever else does."""

    def peek(self) -> str | None:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else None

    def either(self) -> Sql:
        parts = [self.both()]
        while (self.peek() or "").lower() == "or":
            self.at += 1
            if not self.inside:
                self.bounds = {"since": [], "until": []}  # they hold for one side only
            self.inside += 1
            parts.append(self.both())
            self.inside -= 1
        if not self.negated and any(sql == _UNKNOWN for sql, _ in parts):
            return _UNKNOWN, []  # any call may match
        return _join(parts, " OR ")

    def both(self) -> Sql:
        parts = [self.one()]
        while (word := self.peek()) is not None and word != ")" and word.lower() != "or":
            if word.lower() == "and":
                self.at += 1
            parts.append(self.one())
        if not self.negated:  # what is left is plain comparisons, by which whole files are left out
            parts = [part for part in parts if part[0] != _UNKNOWN] or [(_UNKNOWN, [])]
        return _join(parts, " AND ")

    def one(self) -> Sql:
        if self.at >= len(self.tokens):
            raise FilterError("something is missing", self.text, len(self.text))
        word, place = self.tokens[self.at]
        self.at += 1
        if word == "(" or word.lower() == "not":
            self.depth += 1
            self.inside += 1
            if self.depth > 50:
                raise FilterError("nested too deep", self.text, place)
            self.negated += word != "("
            sql, parameters = self.either() if word == "(" else self.one()
            self.negated -= word != "("
            self.depth -= 1
            self.inside -= 1
            if word == "(":
                if self.peek() != ")":
                    raise FilterError("this bracket is not closed", self.text, place)
                self.at += 1
                return sql, parameters
            if not self.unknown:
                return f"NOT coalesce({sql}, false)", parameters
            # Of findings that nobody has looked for, neither they nor their absence is known.
            if sql == _UNKNOWN or self.negated:
                return (sql if sql == _UNKNOWN else f"NOT ({sql})"), parameters
            return f"coalesce(NOT ({sql}), true)", parameters
        if word == ")" or word.lower() in ("and", "or"):
            raise FilterError(f"{word!r} needs something before it", self.text, place)
        sql, parameters = self.leaf(word, place)
        # What a call does not have, such as a code, it does not match; only its findings are not known.
        if sql == _UNKNOWN or not (self.unknown and self.negated):
            return sql, parameters
        return f"coalesce({sql}, false)", parameters

    def leaf(self, word: str, place: int) -> Sql:
        key, colon, value = word.partition(":")
        if colon and key.lower() in KEYS:
            if not value:
                raise FilterError(f"{key}: needs a value", self.text, place + len(word))
            return self.term(key.lower(), value, place + len(key) + 1)
        if colon and re.fullmatch(r"[A-Za-z][A-Za-z-]{1,15}", key) and not literal(word) and "@" not in word:
            raise FilterError(f"there is no key {key!r} (keys: {', '.join(KEYS)})", self.text, place)
        word = _unquoted(word)
        if not word:
            raise FilterError("there is nothing to look for", self.text, place)
        match = _WITH_PORT.fullmatch(word)
        host = match[1] or match[2] if match else word.partition("/")[0]
        if host != word and literal(host):
            return _any(_PLACES["ip"], lambda side: self.address(side, word, place))
        return _free(word)

    def term(self, key: str, value: str, place: int) -> Sql:
        if value == "~":
            raise FilterError(f"{key}:~ needs a value", self.text, place + 1)
        if key in self.without:
            raise FilterError(f"{key}: has no place here", self.text, place - len(key) - 1)
        if key in self.unknown:
            return _UNKNOWN, []
        if key in _TEXT:
            return _any(_TEXT[key], lambda column: _text(column, value, key))
        if key in _PLACES:
            return _any(_PLACES[key], lambda side: self.address(side, _unquoted(value), place))
        if key in _NUMBERS:
            return self.amount(_NUMBERS[key], _unquoted(value), place)
        if key == "nat":
            return self.nat(_unquoted(value).lower(), place)
        if key == "code":
            value = _unquoted(value)
            if re.fullmatch(r"[1-6]xx", value, re.IGNORECASE):
                low = int(value[0]) * 100
                return "final_code BETWEEN ? AND ?", [low, low + 99]
            return self.amount("final_code", value, place)
        if key == "text":
            wanted = _unquoted(value.removeprefix("~")).lower()
            if len(wanted) < 3:
                raise FilterError("text: needs three characters or more", self.text, place)
            self.texts.append(wanted)
            return "call_id IN (SELECT call_id FROM texts WHERE text = ?)", [wanted]
        if key == "finding":
            self.asks = True
            condition, parameters = _text("name", value, key)
            return f"call_id IN (SELECT call_id FROM findings WHERE {condition})", parameters
        moment = self.moment(_unquoted(value), place)
        if not self.inside:
            self.bounds[key].append(moment)
        return ("start >= ?", [moment]) if key == "since" else ("start <= ?", [moment])

    def nat(self, value: str, place: int) -> Sql:
        """A test by its name, or a proxy's own number with the proxy's name: a number alone means two things."""
        dialect, equals, digits = value.partition("=")
        if equals:
            if dialect not in DIALECTS:
                raise FilterError(f"{_short(dialect)!r} is none of {', '.join(DIALECTS)}", self.text, place)
            mask = mask_of(dialect, int(digits)) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
            if not mask:
                at = place + len(dialect) + 1
                raise FilterError(f"{dialect} has no NAT test {_short(digits)!r}", self.text, at)
            return "nat & ? <> 0", [mask]
        names = [name for name in NAMES if fnmatchcase(name, value.replace("[", "[[]").replace("?", "[?]"))]
        if not names:
            if value.isdigit():
                what = f"{_short(value)} means other tests to each proxy: write kamailio={_short(value)} or opensips=…"
                raise FilterError(what, self.text, place)
            raise FilterError(f"there is no NAT test {_short(value)!r} ({', '.join(NAMES)})", self.text, place)
        mask = 0
        for name in names:
            mask |= NAMES[name]
        return "nat & ? <> 0", [mask]

    def amount(self, column: str, value: str, place: int) -> Sql:
        match = re.fullmatch(r"(<=|>=|<|>|=)?([0-9]+(?:\.[0-9]+)?)([a-z]*)", value)
        unit = match[3] if match else ""
        if not match or (unit and (unit not in _SCALE or not column.endswith("_ms"))):
            example = "talk:>4s" if column.endswith("_ms") else "code:503"
            raise FilterError(f"{_short(value)!r} is no amount (write for example {example})", self.text, place)
        # A bare number of a duration means seconds: that is how people speak of them.
        number = float(match[2]) * (_SCALE[unit or "s"] if column.endswith("_ms") else 1)
        return f"{column} {match[1] or '='} ?", [number]

    def address(self, side: str, value: str, place: int) -> Sql:
        host, port = value, None
        if match := _WITH_PORT.fullmatch(value):
            host, port = match[1] or match[2], int(match[3][:6])
            if port > 65535:
                raise FilterError(f"{_short(match[3])} is no port", self.text, place)
        parameters: list[object]
        if "/" in host:
            try:
                net = ip_network(host, strict=False)
            except ValueError:
                raise FilterError(
                    f"{_short(host)!r} is no network (write for example 203.0.113.0/24)", self.text, place
                ) from None
            sql, parameters = _inside(f"{side}_ip", net)
        elif "*" in host:
            sql, parameters = f"{side}_ip LIKE ? ESCAPE '\\'", [_like(host)]
        else:
            found = literal(host)
            if found is None:
                raise FilterError(f"{_short(host)!r} is no IP address", self.text, place)
            sql, parameters = f"{side}_ip = ?", [str(found)]
        if port is not None:
            return f"({sql} AND {side}_port = ?)", [*parameters, port]
        return sql, list(parameters)

    def moment(self, value: str, place: int) -> int:
        if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|min|h|d)", value):
            # Longer ago than there is time is all of the time.
            return max(0, self.now - int(min(float(match[1]) * _SCALE[match[2]] * 1e6, self.now)))
        if match := _TIME_OF_DAY.fullmatch(value):
            seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)
            stamp = self.now // _DAY_NS * _DAY_NS + seconds * 1_000_000_000
            return stamp if stamp <= self.now else stamp - _DAY_NS
        try:
            return from_rfc3339(value if "T" in value else value + "T00:00:00Z")
        except ValueError:
            raise FilterError(
                f"{_short(value)!r} is no time (write 2h, 10:42 or 2026-01-31T10:42:00Z, in UTC)", self.text, place
            ) from None


def _inside(column: str, net: IPv4Network | IPv6Network) -> Sql:
    """Addresses of a network. They are kept as texts (RFC 5952), so that each is made a number, or digits, first."""
    low, high = int(net.network_address), int(net.broadcast_address)
    if isinstance(net, IPv4Network):
        number = " + ".join(
            f"TRY_CAST(split_part({column}, '.', {i + 1}) AS BIGINT) * {256 ** (3 - i)}" for i in range(4)
        )
        return f"({column} LIKE '%.%' AND {number} BETWEEN ? AND ?)", [low, high]
    left, right = (f"string_split(nullif(split_part({column}, '::', {k}), ''), ':')" for k in (1, 2))
    left, right = f"coalesce({left}, [])", f"coalesce({right}, [])"
    # "::" stands for as many groups of zeros as are missing.
    zeros = f"list_transform(range(8 - len({left}) - len({right})), lambda z: '0')"
    digits = f"list_transform(list_concat(list_concat({left}, {zeros}), {right}), lambda g: lpad(g, 4, '0'))"
    return f"({column} LIKE '%:%' AND array_to_string({digits}, '') BETWEEN ? AND ?)", [f"{low:032x}", f"{high:032x}"]


def _join(parts: list[Sql], word: str) -> Sql:
    if len(parts) == 1:
        return parts[0]
    return "(" + word.join(p[0] for p in parts) + ")", [x for p in parts for x in p[1]]


def _any(columns: tuple[str, ...], make: Callable[[str], Sql]) -> Sql:
    return _join([make(c) for c in columns], " OR ")


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _unquoted(value: str) -> str:
    """Quotes keep a value together wherever they stand in it; a backslash in them keeps a quote."""
    return re.sub(_QUOTED, lambda m: re.sub(r"\\(.)", r"\1", m[1], flags=re.DOTALL), value, flags=re.DOTALL)


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def _text(column: str, value: str, key: str) -> Sql:
    contains = value.startswith("~")
    value = _unquoted(value[1:] if contains else value)
    if contains:
        return f"contains(lower({column}), ?)", [value.lower()]
    if key == "codec":
        # A list in one column; the whole name of any codec in it.
        is_it = "lambda c: c LIKE ? ESCAPE '\\'"
        return f"len(list_filter(string_split(lower({column}), ','), {is_it})) > 0", [_like(value.lower())]
    if "*" in value:
        return f"{column} {'I' if key in _FOLDED else ''}LIKE ? ESCAPE '\\'", [_like(value)]
    if key in _FOLDED:
        return f"{column} = ?", [value.upper() if key == "method" else value.lower()]
    return f"{column} = ?", [value]


def _free(word: str) -> Sql:
    """A word on its own, by its shape: an address, a telephone number, or (part of) a Call-ID."""
    found = literal(word)
    if found is not None:
        return "(src_ip = ? OR dst_ip = ?)", [str(found), str(found)]
    if re.fullmatch(r"\+?[0-9*#]{2,}", word):
        # The two ways to begin an international number; a short 00 is the number itself.
        number = word.removeprefix("+")
        number = number.removeprefix("00") if len(number) > 6 else number
        pattern = f"%{_like(number)}%"
        return "(from_user LIKE ? ESCAPE '\\' OR to_user LIKE ? ESCAPE '\\' OR call_id = ?)", [pattern, pattern, word]
    if "*" in word:
        return _any(("call_id", "from_user", "to_user"), lambda column: _text(column, word, ""))
    return "(call_id = ? OR contains(call_id, ?) OR from_user = ? OR to_user = ?)", [word, word, word, word]
