"""The words of the filter language, made SQL conditions over the columns of `index.rollup.CALLS`, one after the other.

It knows the keys, how words are joined, and what is wrong with a text; it reads no clock and runs nothing.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from ipaddress import ip_network

from index.filter_sql import QUOTED, Sql, any_of, free_word, in_network, joined, like, short, text_is, unquoted
from index.summary import from_rfc3339
from sip.errors import Misread
from sip.ip import literal
from sip.nat import DIALECTS, NAMES, mask_of

TEXT = {
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
PLACES = {"src": ("src",), "dst": ("dst",), "ip": ("src", "dst")}
NUMBERS = {
    "pdd": "pdd_ms",
    "ring": "ring_ms",
    "talk": "talk_ms",
    "messages": "messages",
    "retransmissions": "retransmissions",
}
KEYS = tuple(sorted([*TEXT, *PLACES, *NUMBERS, "code", "since", "until", "finding", "text", "nat"]))
FIRST_KEYS = frozenset({"from", "to", "number", "ua", "node", "method", "transport", "call-id", "text", *PLACES})
"""What a call has from its first message on, and what is known of it by its Call-ID."""
TOKEN = re.compile(rf'\s*(?:(?P<paren>[()])|(?P<word>(?:[^\s()"]|{QUOTED})+))', re.DOTALL)
SCALE = {"ms": 1.0, "s": 1e3, "m": 6e4, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
UNKNOWN = "NULL::BOOLEAN"
DAY_NS = 86_400_000_000_000
_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_WITH_PORT = re.compile(r"(?:\[(.+)\]|([^:]+)):([0-9]+)")


class FilterError(Misread):
    """A filter that cannot be understood; `column` is the 1-based place of the character that is wrong."""

    def __init__(self, what: str, text: str, at: int) -> None:
        self.column = at + 1
        super().__init__(f"filter: {what} at character {at + 1} of {short(text, 200)!r}", text, at + 1)


class Parser:
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
        if not self.negated and any(sql == UNKNOWN for sql, _ in parts):
            return UNKNOWN, []  # any call may match
        return joined(parts, " OR ")

    def both(self) -> Sql:
        parts = self.all_of_both()
        if not self.negated:  # what is left is plain comparisons, by which whole files are left out
            parts = [part for part in parts if part[0] != UNKNOWN] or [(UNKNOWN, [])]
        return joined(parts, " AND ")

    def all_of_both(self) -> list[Sql]:
        parts = [self.one()]
        while (word := self.peek()) is not None and word != ")" and word.lower() != "or":
            if word.lower() == "and":
                self.at += 1
            parts.append(self.one())
        return parts

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
            if sql == UNKNOWN or self.negated:
                return (sql if sql == UNKNOWN else f"NOT ({sql})"), parameters
            return f"coalesce(NOT ({sql}), true)", parameters
        if word == ")" or word.lower() in ("and", "or"):
            raise FilterError(f"{word!r} needs something before it", self.text, place)
        sql, parameters = self.leaf(word, place)
        # What a call does not have, such as a code, it does not match; only its findings are not known.
        if sql == UNKNOWN or not (self.unknown and self.negated):
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
        word = unquoted(word)
        if not word:
            raise FilterError("there is nothing to look for", self.text, place)
        match = _WITH_PORT.fullmatch(word)
        host = match[1] or match[2] if match else word.partition("/")[0]
        if host != word and literal(host):
            return any_of(PLACES["ip"], lambda side: self.address(side, word, place))
        return free_word(word)

    def term(self, key: str, value: str, place: int) -> Sql:
        if value == "~":
            raise FilterError(f"{key}:~ needs a value", self.text, place + 1)
        if key in self.without:
            raise FilterError(f"{key}: has no place here", self.text, place - len(key) - 1)
        if key in self.unknown:
            return UNKNOWN, []
        if key in TEXT:
            return any_of(TEXT[key], lambda column: text_is(column, value, key))
        if key in PLACES:
            return any_of(PLACES[key], lambda side: self.address(side, unquoted(value), place))
        if key in NUMBERS:
            return self.amount(NUMBERS[key], unquoted(value), place)
        if key == "nat":
            return self.nat(unquoted(value).lower(), place)
        if key == "code":
            value = unquoted(value)
            if re.fullmatch(r"[1-6]xx", value, re.IGNORECASE):
                low = int(value[0]) * 100
                return "final_code BETWEEN ? AND ?", [low, low + 99]
            return self.amount("final_code", value, place)
        if key == "text":
            wanted = unquoted(value.removeprefix("~")).lower()
            if len(wanted) < 3:
                raise FilterError("text: needs three characters or more", self.text, place)
            self.texts.append(wanted)
            return "call_id IN (SELECT call_id FROM texts WHERE text = ?)", [wanted]
        if key == "finding":
            self.asks = True
            condition, parameters = text_is("name", value, key)
            return f"call_id IN (SELECT call_id FROM findings WHERE {condition})", parameters
        moment = self.moment(unquoted(value), place)
        if not self.inside:
            self.bounds[key].append(moment)
        return ("start >= ?", [moment]) if key == "since" else ("start <= ?", [moment])

    def nat(self, value: str, place: int) -> Sql:
        """A test by its name, or a proxy's own number with the proxy's name: a number alone means two things."""
        dialect, equals, digits = value.partition("=")
        if equals:
            if dialect not in DIALECTS:
                raise FilterError(f"{short(dialect)!r} is none of {', '.join(DIALECTS)}", self.text, place)
            mask = mask_of(dialect, int(digits)) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
            if not mask:
                at = place + len(dialect) + 1
                raise FilterError(f"{dialect} has no NAT test {short(digits)!r}", self.text, at)
            return "nat & ? <> 0", [mask]
        names = [name for name in NAMES if fnmatchcase(name, value.replace("[", "[[]").replace("?", "[?]"))]
        if not names:
            if value.isdigit():
                what = f"{short(value)} means other tests to each proxy: write kamailio={short(value)} or opensips=…"
                raise FilterError(what, self.text, place)
            raise FilterError(f"there is no NAT test {short(value)!r} ({', '.join(NAMES)})", self.text, place)
        mask = 0
        for name in names:
            mask |= NAMES[name]
        return "nat & ? <> 0", [mask]

    def amount(self, column: str, value: str, place: int) -> Sql:
        match = re.fullmatch(r"(<=|>=|<|>|=)?([0-9]+(?:\.[0-9]+)?)([a-z]*)", value)
        unit = match[3] if match else ""
        if not match or (unit and (unit not in SCALE or not column.endswith("_ms"))):
            example = "talk:>4s" if column.endswith("_ms") else "code:503"
            raise FilterError(f"{short(value)!r} is no amount (write for example {example})", self.text, place)
        # A bare number of a duration means seconds: that is how people speak of them.
        number = float(match[2]) * (SCALE[unit or "s"] if column.endswith("_ms") else 1)
        return f"{column} {match[1] or '='} ?", [number]

    def address(self, side: str, value: str, place: int) -> Sql:
        host, port = value, None
        if match := _WITH_PORT.fullmatch(value):
            host, port = match[1] or match[2], int(match[3][:6])
            if port > 65535:
                raise FilterError(f"{short(match[3])} is no port", self.text, place)
        parameters: list[object]
        if "/" in host:
            try:
                net = ip_network(host, strict=False)
            except ValueError:
                raise FilterError(
                    f"{short(host)!r} is no network (write for example 203.0.113.0/24)", self.text, place
                ) from None
            sql, parameters = in_network(f"{side}_ip", net)
        elif "*" in host:
            sql, parameters = f"{side}_ip LIKE ? ESCAPE '\\'", [like(host)]
        else:
            found = literal(host)
            if found is None:
                raise FilterError(f"{short(host)!r} is no IP address", self.text, place)
            sql, parameters = f"{side}_ip = ?", [str(found)]
        if port is not None:
            return f"({sql} AND {side}_port = ?)", [*parameters, port]
        return sql, list(parameters)

    def moment(self, value: str, place: int) -> int:
        if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|min|h|d)", value):
            # Longer ago than there is time is all of the time.
            return max(0, self.now - int(min(float(match[1]) * SCALE[match[2]] * 1e6, self.now)))
        if match := _TIME_OF_DAY.fullmatch(value):
            seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)
            stamp = self.now // DAY_NS * DAY_NS + seconds * 1_000_000_000
            return stamp if stamp <= self.now else stamp - DAY_NS
        try:
            return from_rfc3339(value if "T" in value else value + "T00:00:00Z")
        except ValueError:
            raise FilterError(
                f"{short(value)!r} is no time (write 2h, 10:42 or 2026-01-31T10:42:00Z, in UTC)", self.text, place
            ) from None
