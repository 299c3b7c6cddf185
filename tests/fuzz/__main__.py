"""Fuzz decoders for a while: `python -m tests.fuzz [--seconds N] [--seed N] [TARGET...]`.

What breaks is kept in a file: put it into tests/fuzz/corpus/TARGET/ together with the correction.
NUMBA_DISABLE_JIT=1 runs it interpreted; NUMBA_BOUNDSCHECK=1 (with a NUMBA_CACHE_DIR of its own) compiled with checks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.fuzz.running import answers, fuzz, mode
from tests.fuzz.targets import TARGETS


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each target (default: 30)")
    parser.add_argument("--seed", type=int, default=None, help="to make the same inputs again (default: the time)")
    parser.add_argument("--answers", type=int, default=None, metavar="N", help="print what N inputs give, as JSON")
    args = parser.parse_args()
    names = args.targets or list(TARGETS)
    if args.answers is not None:
        print(json.dumps({"mode": mode()} | {n: answers(n, args.answers, args.seed or 0) for n in names}))
        return 0
    seed, broken = int(time.time()) if args.seed is None else args.seed, 0
    print(f"{mode()}; seed {seed}", flush=True)
    for name in names:
        count, failures = fuzz(name, args.seconds, seed)
        print(f"{name}: {count:,} inputs, {len(failures)} kinds of failure", flush=True)
        for text in failures:
            print(text, flush=True)
        broken += len(failures)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
