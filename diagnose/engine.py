"""Runs the rules over a call. It owns their discovery, their order and their isolation; it judges nothing itself."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from diagnose import rules as shipped
from diagnose.beyond import rescued_by
from diagnose.call import Call, digest
from diagnose.finding import CONFIDENCES, SEVERITIES, Evidence, Finding, public_name
from diagnose.setback import repaired
from diagnose.watch import Overrun, run_all
from index.trace import CallTrace

log = logging.getLogger(__name__)
LIMIT = 10.0
"""Seconds that one rule may spend on one call; a usual one takes a fraction of a millisecond."""
SETTING_UP = 50
"""Findings that are told this early are about why a call was not answered; see Finding.precedence."""
STRIKES = 3
"""A rule that ran out of time so often is left out from then on."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its public name, what it says to users about itself, and its check."""

    name: str
    explanation: str
    check: Callable[[Call], Iterable[Finding]]
    overruns: list[str] = field(default_factory=list, compare=False, repr=False)
    """Call-IDs for which it ran out of time."""
    failures: list[str] = field(default_factory=list, compare=False, repr=False)
    """The first Call-ID for which it raised, and what."""
    severity: str = ""
    """What it usually says; '' where a user's own rule does not tell."""
    reference: str = ""
    own: bool = False
    """It is the user's."""

    @property
    def trouble(self) -> str:
        """What went wrong with it since it was loaded; '' where nothing did."""
        told = []
        if self.overruns:
            after = "left out until the next start" if len(self.overruns) >= STRIKES else "skipped there"
            told.append(f"ran out of time {len(self.overruns)} ×, last on {self.overruns[-1]!r}; {after}")
        if self.failures:
            told.append(f"failed on {self.failures[0]}; skipped wherever it fails")
        return "; ".join(told)


def load_rules(extra: Path | None = None, broken: dict[str, str] | None = None) -> tuple[Rule, ...]:
    """The shipped rules and those of the user's own folder, where an equal name takes the shipped one's place.

    A file that cannot be loaded is logged and left out; `broken` receives its name and why."""
    found = {}
    sources = [(False, x) for x in _shipped()] + [(True, x) for x in _own(extra)]
    for own, (name, load) in sources:
        try:
            module = load()
            check = module.check
            if not callable(check):
                raise TypeError("`check` is not a function")
        except (Exception, SystemExit) as error:
            log.exception("the rule %s cannot be loaded; it is left out", name)
            if broken is not None:
                broken[name] = f"{type(error).__name__}: {error}"
            continue
        name = public_name(module.__name__)
        severity, reference = (str(getattr(module, said, "")) for said in ("SEVERITY", "REFERENCE"))
        found[name] = Rule(name, (module.__doc__ or "").strip(), check, severity=severity, reference=reference, own=own)
    return tuple(found[name] for name in sorted(found))


def fingerprint(extra: Path | None = None) -> str:
    """A short text that changes with what rules say: with the code of diagnosis, and with the user's own rules."""
    said = hashlib.sha256()
    own = sorted(extra.glob("*.py")) if extra else []
    for path in (*sorted(Path(__file__).parent.rglob("*.py")), *own):
        said.update(path.name.encode() + b"\0" + path.read_bytes())
    return said.hexdigest()[:16]


def _shipped() -> Iterator[tuple[str, Callable[[], ModuleType]]]:
    for info in pkgutil.iter_modules(shipped.__path__):
        name = f"{shipped.__name__}.{info.name}"
        yield name, partial(importlib.import_module, name)


def _own(folder: Path | None) -> Iterator[tuple[str, Callable[[], ModuleType]]]:
    for path in sorted(folder.glob("*.py")) if folder else ():
        if not path.name.startswith("_"):
            yield str(path), partial(_execute, path)


def _execute(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"own_rules.{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up while it is being executed.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def diagnose(trace: CallTrace, rules: tuple[Rule, ...] | None = None, limit: float = LIMIT) -> tuple[Finding, ...]:
    """All findings of a call, the headline first. A rule that raises, hangs or talks nonsense is logged and skipped."""
    return diagnose_all([trace], rules, limit)[0]


def diagnose_all(
    traces: Sequence[CallTrace], rules: tuple[Rule, ...] | None = None, limit: float = LIMIT
) -> list[tuple[Finding, ...]]:
    """The same for many calls at once, which costs far less than one by one."""
    rules = load_rules() if rules is None else rules
    mended = {n: r for n, t in enumerate(traces) if (r := repaired(t)) is not None}
    calls = [digest(mended[n].trace if n in mended else t) for n, t in enumerate(traces)]
    doubted = [n for n, r in mended.items() if not r.sure]
    calls += [digest(traces[n]) for n in doubted]
    work = [(n, rule, call) for n, call in enumerate(calls) for rule in rules]
    found: list[list[Finding]] = [[] for _ in calls]
    outcomes = run_all([partial(_apply, rule, call) for _, rule, call in work], limit)
    for (n, rule, call), outcome in zip(work, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            _report(rule, call.trace.call_id, outcome)
        else:
            found[n] += outcome if rule.own else _of_this_leg(call, outcome)
    for n, r in mended.items():
        found[n] = r.told_of(found[n])
    for n, k in enumerate(doubted, len(traces)):  # n: as the times have it
        # Which of the two orders is right nobody knows: what is true in both is told.
        either = {f.name for f in found[k]}
        found[k] = [f for f in found[n] if f.name in either]
    del found[len(traces) :]
    return [tuple(sorted(f, key=_order)) for f in found]


def _order(f: Finding) -> tuple[bool, int, int]:
    return f.severity == "info", f.precedence, SEVERITIES.index(f.severity)


def _of_this_leg(call: Call, found: list[Finding]) -> list[Finding]:
    """What kept one leg from being answered is no failure of a call that another leg carried."""
    other = rescued_by(call) if found and call.trace.legs is not None else None
    if other is None:
        return found
    text = f"leg {other.call_id} to {other.dst} was answered: the call did not fail"
    return [
        replace(f, severity="info", evidence=(*f.evidence, Evidence(None, text)))
        if f.severity != "info" and f.precedence <= SETTING_UP
        else f
        for f in found
    ]


def _apply(rule: Rule, call: Call) -> list[Finding]:
    """A rule's findings under the rule's own name."""
    if len(rule.overruns) >= STRIKES:
        return []
    out = []
    for f in rule.check(call):
        if not isinstance(f, Finding) or f.severity not in SEVERITIES or f.confidence not in CONFIDENCES:
            raise TypeError(f"{f!r} is no finding")
        out.append(f if f.name == rule.name else replace(f, name=rule.name))
    return out


def _report(rule: Rule, call_id: str, error: BaseException) -> None:
    """Say it once with all detail; a rule that fails for every call must not fill the log."""
    if isinstance(error, Overrun):
        rule.overruns.append(call_id)
        after = "it is skipped for this call" if len(rule.overruns) < STRIKES else "it is left out from now on"
        log.error("the rule %s %s on %r; %s", rule.name, error, call_id, after)
    elif not rule.failures:
        rule.failures.append(f"{call_id!r}: {error!r}")
        log.error("the rule %s failed on %r; it is skipped for this call", rule.name, call_id, exc_info=error)
    else:
        log.debug("the rule %s failed on %r: %r", rule.name, call_id, error)
