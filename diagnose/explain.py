"""What a word, a code or a number means: findings, status codes, methods, Q.850 causes, NAT tests, terms.

It owns how a topic is read. It works offline and looks at no call; the words stand in diagnose.texts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from diagnose.engine import Rule
from diagnose.glossary import TERMS, by_name, key
from diagnose.texts.causes import CAUSES
from diagnose.texts.methods import METHODS
from diagnose.texts.nat_bits import FUNCTIONS, Function
from diagnose.texts.status_4xx import CLIENT_ERRORS
from diagnose.texts.status_others import OTHERS
from sip.codes import Q850, STATUS, q850, reason_phrase
from sip.errors import NotFound

STATUSES = {**CLIENT_ERRORS, **OTHERS}
KINDS = (
    ("finding", "a finding by its name", "missing-rport"),
    ("status", "a SIP status code or its phrase", "488"),
    ("method", "a SIP method", "PRACK"),
    ("q850", "a Q.850 (ISDN) cause", "q850:34"),
    ("nat-test", "the sum of a NAT test, for Kamailio and OpenSIPS", "nat_uac_test 19"),
    ("term", "a term", "rport"),
)
"""The kinds of topics: name, words, example."""
_CAUSE = re.compile(r"(?:q ?\.? ?850|isup|cause)[ :;=]*(?:cause)?[ :;=]*(\d{1,3})")
_CODE = re.compile(r"(?:(?:sip|status|code|response)[ :]*)*(\d{3})")
_NAT = re.compile(r"(?:nat uac test|client nat test)|(?:kamailio|opensips)(?=.*\d)")
CLASSES = ("provisional response", "success", "redirection", "client error", "server error", "global failure")
NEAREST = 5


@dataclass(frozen=True, slots=True)
class Explanation:
    """One meaning of a topic."""

    kind: str
    name: str
    means: str
    look: str = ""
    """What to look at next."""
    reference: str = ""
    severity: str = ""
    """Of a finding, as a rule."""
    facts: tuple[str, ...] = ()
    """Lines that belong to it: bits of a sum, codes of the other network."""

    def to_json(self) -> dict[str, Any]:
        """JSON object of the public contract."""
        return asdict(self)


def explain(topic: str, rules: Sequence[Rule]) -> tuple[Explanation, ...]:
    """All meanings of a topic, the nearest first; NotFound with the nearest names where there is none."""
    wanted = key(topic)
    found = tuple(_found(wanted, rules))
    if found:
        return found
    near = nearest(wanted, rules)
    hint = f"; did you mean {', '.join(near)}?" if near else "; `siptrail explain` lists what there is"
    raise NotFound(f"nothing is known about {topic.strip()[:60]!r}{hint}")


def _found(wanted: str, rules: Sequence[Rule]) -> Iterator[Explanation]:
    if _NAT.search(wanted):
        yield from nat_tests(wanted)
        return
    cause = _CAUSE.fullmatch(wanted)
    if cause:
        yield from _cause(int(cause[1]))
        return
    code = _CODE.fullmatch(wanted)
    if code:
        yield from _status(int(code[1]))
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 4:
        yield from _cause(int(wanted))
    yield from (_finding(rule) for rule in rules if key(rule.name) == wanted)
    for number, phrase in STATUS.items():
        if wanted in (key(phrase), key(f"{number} {phrase}")):
            yield from _status(number)
    method = METHODS.get(wanted.upper())
    if method:
        yield Explanation("method", wanted.upper(), method.means, method.look, method.reference)
    for number, words in Q850.items():
        if wanted == key(words):
            yield from _cause(number)
    term = by_name().get(wanted)
    if term:
        text = TERMS[term]
        others = (f"also: {', '.join(text.names)}",) if text.names else ()
        yield Explanation("term", term, text.means, text.look, text.reference, facts=others)


def _finding(rule: Rule) -> Explanation:
    return Explanation(
        "finding",
        rule.name,
        " ".join(rule.explanation.split()),
        "`siptrail diagnose CALL-ID` tells the evidence and what to do about it in that call.",
        rule.reference,
        rule.severity,
    )


def _status(code: int) -> Iterator[Explanation]:
    if not 100 <= code <= 699:
        return
    text = STATUSES.get(code)
    if text is None:
        general = code // 100 * 100
        means = f"Not registered. A {CLASSES[code // 100 - 1]}: whoever does not know it treats it as {general}."
        if code < 200:
            means = "Not registered. A provisional response: whoever does not know it treats it as 183."
        look = "Ask the maker of the equipment that sent it; read its reason phrase and Reason header."
        yield Explanation("status", f"{code} {reason_phrase(code)}", means, look, "RFC 3261 section 8.1.3.2")
        return
    causes = [c for c, (answer, _) in CAUSES.items() if answer == str(code)]
    facts = tuple(f"made of Q.850 cause {c} ({q850(c)}) by RFC 3398 section 7.2.4.1" for c in causes)
    yield Explanation("status", f"{code} {reason_phrase(code)}", text.means, text.look, text.reference, facts=facts)


def _cause(number: int) -> Iterator[Explanation]:
    if number not in CAUSES:
        return
    answer, means = CAUSES[number]
    if answer.isdigit():
        sip = f"in SIP: {answer} {reason_phrase(int(answer))} (RFC 3398 section 7.2.4.1)"
    elif answer:
        sip = f"in SIP: {answer} (RFC 3398 section 7.2.4.1)"
    else:
        sip = "in SIP: 500, as every cause without a code of its own (RFC 3398 section 7.2.4.1)"
    look = "The Reason header of a response or BYE carries it: who wrote it there, the far network or a gateway?"
    name = f"Q.850 cause {number}: {q850(number)}"
    yield Explanation("q850", name, means, look, "ITU-T Q.850, RFC 6432", facts=(sip,))


def nat_tests(wanted: str) -> Iterator[Explanation]:
    """What the flags in a sum compare, one explanation a dialect; without a number, all its flags."""
    numbers = re.findall(r"\d+", wanted)
    total = int(numbers[0]) if len(numbers) == 1 and len(numbers[0]) < 7 else None
    if numbers and total is None:
        return
    name = "client_nat_test" if "client nat test" in wanted else "nat_uac_test"
    named = [d for d in ("kamailio", "opensips") if d in wanted]
    for function in FUNCTIONS:
        if function.name == name and (not named or function.dialect in named):
            yield _nat_test(function, total)


def _nat_test(function: Function, total: int | None) -> Explanation:
    held = [f for f in function.flags if total is None or f.value & total]
    rest = (total or 0) & ~sum(f.value for f in held)
    facts = [f"{f.value}  {f.name}: {f.compares}" for f in held]
    if rest:
        facts.append(f"{rest}  no test of {function.dialect}")
    title = f"{function.dialect} {function.name}" + ("" if total is None else f" {total}")
    if total is None:
        means = "Each flag is a test; flags are added up, and the function is true when any of them is."
    elif held:
        means = f"{total} = {' + '.join(str(f.value) for f in held)}" + (f" + {rest}" if rest else "")
        means += ". True when any of these tests is."
    else:
        means = f"{total} holds no test: the function is never true."
    look = "Say the dialect with the number: above 16 the same flag is another test in the other proxy."
    if function.name == "client_nat_test":
        look = "Say the dialect with the number: only OpenSIPS has flag 8."
    module = f"{function.dialect}, module {function.module}"
    return Explanation("nat-test", title, means, look, module, facts=tuple(facts))


def nearest(wanted: str, rules: Sequence[Rule]) -> list[str]:
    """Names of topics that look most like it."""
    names = {key(n): n for n in _names(rules)}
    inside = [n for k, n in names.items() if len(wanted) > 2 and wanted in k]
    close = [names[k] for k in difflib.get_close_matches(wanted[:60], names, NEAREST, 0.55)]
    return list(dict.fromkeys(close + inside))[:NEAREST]


def _names(rules: Sequence[Rule]) -> Iterator[str]:
    yield from (rule.name for rule in rules)
    yield from METHODS
    yield from TERMS
    yield from (other for text in TERMS.values() for other in text.names)
    yield from STATUS.values()
    yield from ("nat_uac_test", "client_nat_test")
    yield from (f"q850:{number}" for number in CAUSES)
    yield from (str(code) for code in STATUS)
