"""Runs the rules over a call. It owns their discovery, their order and their isolation; it judges nothing itself."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from diagnose import rules as shipped
from diagnose.call import Call, digest
from diagnose.finding import SEVERITIES, Finding
from index.trace import CallTrace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its public name, what it says to users about itself, and its check."""

    name: str
    explanation: str
    check: Callable[[Call], Iterator[Finding]]


def load_rules(extra: Path | None = None) -> tuple[Rule, ...]:
    """Every rule of `diagnose.rules`, and of a folder of the user's own; one that cannot be loaded is logged and left out."""
    modules: list[ModuleType] = []
    for info in pkgutil.iter_modules(shipped.__path__):
        modules.append(importlib.import_module(f"{shipped.__name__}.{info.name}"))
    for path in sorted(extra.glob("*.py")) if extra else ():
        try:
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            modules.append(module)
        except Exception:
            log.exception("the rule file %s cannot be loaded; it is left out", path)
    return tuple(
        Rule(m.__name__.rpartition(".")[2].replace("_", "-"), (m.__doc__ or "").strip(), m.check) for m in modules
    )


def diagnose(trace: CallTrace, rules: tuple[Rule, ...] | None = None) -> tuple[Finding, ...]:
    """All findings of a call, the headline first. A rule that raises is logged and skipped."""
    call = digest(trace)
    out: list[Finding] = []
    for rule in load_rules() if rules is None else rules:
        try:
            out += rule.check(call)
        except Exception:
            log.exception("the rule %s failed on %r; it is skipped for this call", rule.name, trace.call_id)
    return tuple(sorted(out, key=lambda f: (f.severity == "info", f.precedence, SEVERITIES.index(f.severity))))
