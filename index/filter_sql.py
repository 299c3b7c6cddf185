"""SQL conditions of the filter language, over named columns: texts and patterns, addresses of networks, free words.

Each is SQL with `?` for every parameter: nothing of a user's text becomes SQL. What words mean which condition is
`index.filter_words`' matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network

from sip.ip import literal

Sql = tuple[str, list[object]]
"""An expression, and its parameters in order."""
FOLDED = frozenset({"method", "state", "transport", "codec", "ended"})
"""Keys whose values are written in one case only, so that a user may write either."""
QUOTED = r'"((?:[^"\\]|\\.)*)"'


def in_network(column: str, net: IPv4Network | IPv6Network) -> Sql:
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


def joined(parts: list[Sql], word: str) -> Sql:
    if len(parts) == 1:
        return parts[0]
    return "(" + word.join(p[0] for p in parts) + ")", [x for p in parts for x in p[1]]


def any_of(columns: tuple[str, ...], make: Callable[[str], Sql]) -> Sql:
    return joined([make(c) for c in columns], " OR ")


def short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def unquoted(value: str) -> str:
    """Quotes keep a value together wherever they stand in it; a backslash in them keeps a quote."""
    return re.sub(QUOTED, lambda m: re.sub(r"\\(.)", r"\1", m[1], flags=re.DOTALL), value, flags=re.DOTALL)


def like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def text_is(column: str, value: str, key: str) -> Sql:
    contains = value.startswith("~")
    value = unquoted(value[1:] if contains else value)
    if contains:
        return f"contains(lower({column}), ?)", [value.lower()]
    if key == "codec":
        # A list in one column; the whole name of any codec in it.
        is_it = "lambda c: c LIKE ? ESCAPE '\\'"
        return f"len(list_filter(string_split(lower({column}), ','), {is_it})) > 0", [like(value.lower())]
    if "*" in value:
        return f"{column} {'I' if key in FOLDED else ''}LIKE ? ESCAPE '\\'", [like(value)]
    if key in FOLDED:
        return f"{column} = ?", [value.upper() if key == "method" else value.lower()]
    return f"{column} = ?", [value]


def free_word(word: str) -> Sql:
    """A word on its own, by its shape: an address, a telephone number, or (part of) a Call-ID."""
    found = literal(word)
    if found is not None:
        return "(src_ip = ? OR dst_ip = ?)", [str(found), str(found)]
    if re.fullmatch(r"\+?[0-9*#]{2,}", word):
        # The two ways to begin an international number; a short 00 is the number itself.
        number = word.removeprefix("+")
        number = number.removeprefix("00") if len(number) > 6 else number
        pattern = f"%{like(number)}%"
        return "(from_user LIKE ? ESCAPE '\\' OR to_user LIKE ? ESCAPE '\\' OR call_id = ?)", [pattern, pattern, word]
    if "*" in word:
        return any_of(("call_id", "from_user", "to_user"), lambda column: text_is(column, word, ""))
    return "(call_id = ? OR contains(call_id, ?) OR from_user = ? OR to_user = ?)", [word, word, word, word]
