"""The filter language: one way to say which calls, for the command line, the terminal UI and the API.

    from:441632* src:203.0.113.0/24 code:5xx (state:failed or talk:<2s) not ua:~asterisk since:2h  07911

Words side by side mean `and`. A word without a key is a number, a Call-ID or an IP address by its shape. It compiles to
SQL with parameters: nothing of a user's text becomes SQL. It reads no clock: "since:2h" counts from the time given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from index.summary import from_rfc3339
from sip.errors import SiptrailError
from sip.ip import literal

Sql = tuple[str, list[object]]


class FilterError(SiptrailError):
    """A filter that cannot be understood; `column` is the 1-based place of the character that is wrong."""

    def __init__(self, what: str, text: str, at: int) -> None:
        self.column = at + 1
        super().__init__(f"filter: {what} at character {at + 1} of {text!r}")


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter over the columns of `index.rollup.CALLS`."""

    sql: str
    parameters: tuple[object, ...]

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
}
_PLACES = {"src": ("src",), "dst": ("dst",), "ip": ("src", "dst")}
_NUMBERS = {"pdd": "pdd_ms", "ring": "ring_ms", "talk": "talk_ms", "messages": "messages"}
KEYS = tuple(sorted([*_TEXT, *_PLACES, *_NUMBERS, "code", "since", "until", "finding"]))
_TOKEN = re.compile(r"""\s*(?:(?P<paren>[()])|(?P<word>(?:[^\s()"]|"(?:[^"\\]|\\.)*"?)+))""")
_SCALE = {"ms": 1.0, "s": 1e3, "m": 6e4, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
_FOLDED = frozenset({"method", "state", "transport", "codec"})


def parse_filter(text: str, now_ns: int) -> Filter:
    """Compile `text`; FilterError says what is wrong and where."""
    tokens: list[tuple[str, int]] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if not match:
            raise FilterError("cannot read this", text, at)
        tokens.append(
            (match["paren"] or match["word"], match.start("paren") if match["paren"] else match.start("word"))
        )
        at = match.end()
    if not tokens:
        return Filter("true", ())
    parser = _Parser(text, tokens, now_ns)
    sql, parameters = parser.either()
    if parser.at < len(tokens):
        raise FilterError("a bracket closes that none opened", text, tokens[parser.at][1])
    return Filter(sql, tuple(parameters))


class _Parser:
    def __init__(self, text: str, tokens: list[tuple[str, int]], now: int) -> None:
        self.text, self.tokens, self.now, self.at = text, tokens, now, 0
        self.depth = 0

    def peek(self) -> str | None:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else None

    def either(self) -> Sql:
        parts = [self.both()]
        while (self.peek() or "").lower() == "or":
            self.at += 1
            parts.append(self.both())
        return _join(parts, " OR ")

    def both(self) -> Sql:
        parts = [self.one()]
        while (word := self.peek()) is not None and word != ")" and word.lower() != "or":
            if word.lower() == "and":
                self.at += 1
            parts.append(self.one())
        return _join(parts, " AND ")

    def one(self) -> Sql:
        if self.at >= len(self.tokens):
            raise FilterError("something is missing", self.text, len(self.text))
        word, place = self.tokens[self.at]
        self.at += 1
        if word == "(" or word.lower() == "not":
            self.depth += 1
            if self.depth > 50:
                raise FilterError("nested too deep", self.text, place)
            sql, parameters = self.either() if word == "(" else self.one()
            self.depth -= 1
            if word == "(":
                if self.peek() != ")":
                    raise FilterError("this bracket is not closed", self.text, place)
                self.at += 1
                return sql, parameters
            return f"NOT coalesce({sql}, false)", parameters
        if word == ")" or word.lower() in ("and", "or"):
            raise FilterError(f"{word!r} needs something before it", self.text, place)
        key, colon, value = word.partition(":")
        if colon and key.lower() in KEYS:
            if not value:
                raise FilterError(f"{key}: needs a value", self.text, place + len(word))
            return self.term(key.lower(), value, place + len(key) + 1)
        if colon and re.fullmatch(r"[a-z]{2,12}", key) and not literal(word) and "@" not in word:
            raise FilterError(f"there is no key {key!r} (keys: {', '.join(KEYS)})", self.text, place)
        return _free(_unquoted(word))

    def term(self, key: str, value: str, place: int) -> Sql:
        if key in _TEXT:
            return _any(_TEXT[key], lambda column: _text(column, value, key))
        if key in _PLACES:
            return _any(_PLACES[key], lambda side: self.address(side, _unquoted(value), place))
        if key in _NUMBERS:
            return self.amount(_NUMBERS[key], value, place)
        if key == "code":
            if re.fullmatch(r"[1-6]xx", value, re.IGNORECASE):
                low = int(value[0]) * 100
                return "final_code BETWEEN ? AND ?", [low, low + 99]
            return self.amount("final_code", value, place)
        if key == "finding":
            return "call_id IN (SELECT call_id FROM findings WHERE name LIKE ? ESCAPE '\\')", [_like(_unquoted(value))]
        moment = self.moment(_unquoted(value), place)
        return ("start >= ?", [moment]) if key == "since" else ("start <= ?", [moment])

    def amount(self, column: str, value: str, place: int) -> Sql:
        match = re.fullmatch(r"(<=|>=|<|>|=)?(\d+(?:\.\d+)?)([a-z]*)", value)
        unit = match[3] if match else ""
        if not match or (unit and (unit not in _SCALE or not column.endswith("_ms"))):
            example = "talk:>4s" if column.endswith("_ms") else "code:503"
            raise FilterError(f"{value!r} is no amount (write for example {example})", self.text, place)
        # A bare number of a duration means seconds: that is how people speak of them.
        number = float(match[2]) * (_SCALE[unit or "s"] if column.endswith("_ms") else 1)
        return f"{column} {match[1] or '='} ?", [number]

    def address(self, side: str, value: str, place: int) -> Sql:
        host, port = value, None
        if match := re.fullmatch(r"(?:\[(.+)\]|([^:]+)):(\d+)", value):
            host, port = match[1] or match[2], int(match[3])
        parameters: list[object]
        if "/" in host:
            try:
                net = ip_network(host, strict=False)
            except ValueError:
                raise FilterError(
                    f"{host!r} is no network (write for example 203.0.113.0/24)", self.text, place
                ) from None
            if not isinstance(net, IPv4Network):
                if net.prefixlen == 128:
                    return f"{side}_ip = ?", [str(net.network_address)]
                raise FilterError("networks are searched for IPv4 only; give the IPv6 address", self.text, place)
            low = int(net.network_address)
            number = " + ".join(
                f"TRY_CAST(split_part({side}_ip, '.', {i + 1}) AS BIGINT) * {256 ** (3 - i)}" for i in range(4)
            )
            sql, parameters = f"({side}_ip LIKE '%.%' AND {number} BETWEEN ? AND ?)", [low, low + net.num_addresses - 1]
        elif "*" in host:
            sql, parameters = f"{side}_ip LIKE ? ESCAPE '\\'", [_like(host)]
        else:
            found = literal(host)
            if found is None:
                raise FilterError(f"{host!r} is no IP address", self.text, place)
            sql, parameters = f"{side}_ip = ?", [str(found)]
        if port is not None:
            return f"({sql} AND {side}_port = ?)", [*parameters, port]
        return sql, list(parameters)

    def moment(self, value: str, place: int) -> int:
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|d)", value):
            return self.now - int(float(match[1]) * _SCALE[match[2]] * 1e6)
        day_ns = 86_400_000_000_000
        if match := re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", value):
            stamp = (
                self.now // day_ns * day_ns
                + (int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)) * 1_000_000_000
            )
            return stamp if stamp <= self.now else stamp - day_ns
        try:
            return from_rfc3339(value if "T" in value else value + "T00:00:00Z")
        except ValueError:
            raise FilterError(
                f"{value!r} is no time (write 2h, 10:42 or 2026-01-31T10:42:00Z, in UTC)", self.text, place
            ) from None


def _join(parts: list[Sql], word: str) -> Sql:
    if len(parts) == 1:
        return parts[0]
    return "(" + word.join(p[0] for p in parts) + ")", [x for p in parts for x in p[1]]


def _any(columns: tuple[str, ...], make: Callable[[str], Sql]) -> Sql:
    return _join([make(c) for c in columns], " OR ")


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def _text(column: str, value: str, key: str) -> Sql:
    contains = value.startswith("~")
    value = _unquoted(value[1:] if contains else value)
    if key == "codec":
        return "list_contains(string_split(lower(codecs), ','), ?)", [value.lower()]
    if contains:
        return f"contains(lower({column}), ?)", [value.lower()]
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
        number = word.lstrip("+").removeprefix("00") if not word.startswith("*") else word
        pattern = "%" + _like(number) + ("" if word.endswith("*") else "%")
        return "(from_user LIKE ? ESCAPE '\\' OR to_user LIKE ? ESCAPE '\\' OR call_id = ?)", [pattern, pattern, word]
    return "(call_id = ? OR contains(call_id, ?) OR from_user = ? OR to_user = ?)", [word, word, word, word]
