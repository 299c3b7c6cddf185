"""How well and how fast the legs of calls through a switch are linked: `python benchmarks/legs.py --calls 10000`.

Owns: traffic made to be hard for it, with the truth kept beside. 100 calls/s between few numbers that call each other
again and again; the switch has two addresses, tries a second carrier after a refusal, refuses calls itself, rewrites
numbers, and mostly passes on nothing that would name the call; callers who fail call again at once.
Must not: tell siptrail anything but the packets.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generate import _RECORD, ANSWERED, CODECS, FAILURES, MESSAGES, START_NS, Caller, Script, Wire

SWITCH_IN, SWITCH_OUT = "192.0.2.10", "198.18.0.10"
CUSTOMERS = [f"198.51.100.{n}" for n in range(1, 21)]
CARRIERS = [f"203.0.113.{n}" for n in (10, 20, 30)]
REFUSED_HERE: Script = (
    ("a", "INVITE", 0, 0), ("a", "100", 300, 1_500), ("a", "FINAL", 300, 5_000), ("a", "ACK", 5_000, 40_000),
)  # fmt: skip
FAILOVER: Script = (
    ("a", "INVITE", 0, 0), ("a", "100", 300, 1_500), ("x", "INVITE", 2_000, 9_000), ("x", "100", 4_000, 30_000),
    ("x", "FINAL", 40_000, 900_000), ("x", "ACK", 200, 900), ("b", "INVITE", 500, 4_000),
    ("b", "100", 4_000, 30_000), *ANSWERED[4:],
)  # fmt: skip
_FAILED_TWICE: Script = (
    *FAILOVER[:8], ("b", "FINAL", 40_000, 900_000), ("b", "ACK", 200, 900), ("a", "FINAL", 200, 900),
    ("a", "ACK", 5_000, 40_000),
)  # fmt: skip
MIX: list[tuple[int, Script | None]] = [
    (60, ANSWERED),
    (15, None),
    (9, REFUSED_HERE),
    (10, FAILOVER),
    (6, _FAILED_TWICE),
]
"""Weight and script; None: one of the usual failures."""


class Switch(Caller):
    """Calls between few numbers through a switch."""

    def __init__(self, seed: int, shown: float) -> None:
        super().__init__(seed)
        self._hosts |= {host: host.encode() for host in (SWITCH_IN, SWITCH_OUT)}
        rand = self._random
        self._callers = [b"+4930%07d" % rand.randrange(10**7) for _ in range(60)]
        self._callees = [b"+44207%07d" % rand.randrange(10**7) for _ in range(40)]
        self._shown = shown
        """Share of calls where a header or the media names the call."""
        self.truth: dict[bytes, bytes] = {}
        """Call-ID of a leg to the one that it was made for."""

    def pair(self) -> tuple[str, bytes, bytes]:
        """Who calls whom; some numbers are called much more than others."""
        rand = self._random
        caller = rand.choice(self._callers)
        return rand.choice(CUSTOMERS), caller, self._callees[int(rand.random() ** 2 * len(self._callees))]

    def through(self, start_ns: int, who: tuple[str, bytes, bytes]) -> tuple[bool, list[tuple[int, str, str, bytes]]]:
        """The messages of one call, and whether it failed."""
        rand, (customer, caller, callee) = self._random, who
        (script,) = rand.choices([s for _, s in MIX], [w for w, _ in MIX])
        status, why = b"503 Service Unavailable", b""
        if script is None:
            script, status, why = rand.choice(FAILURES)
        codecs = rand.choice(CODECS)
        out_host = SWITCH_OUT if rand.random() < 0.5 else SWITCH_IN
        shown_caller = rand.choice(self._callers) if rand.random() < 0.15 else caller
        sent = rand.choice((callee, b"1234%s" % callee[1:], b"00" + callee[1:], callee[1:]))
        first_id = b"%032x@%s" % (rand.getrandbits(128), self._hosts[customer])
        first = self._leg(customer, SWITCH_IN, caller, callee, first_id, (b"PBX 1", b"Switch/4.2"), codecs)
        legs = {"a": (customer, SWITCH_IN, first)}
        for name, carrier in zip("xb", rand.sample(CARRIERS, 2), strict=True):
            if not any(leg == name for leg, *_ in script):
                continue
            call_id = b"%08x-%04x-%012x" % (rand.getrandbits(32), rand.getrandbits(16), rand.getrandbits(48))
            self.truth[call_id] = first_id
            made = self._leg(out_host, carrier, shown_caller, sent, call_id, (b"Switch/4.2", b"SBC 9.1"), codecs)
            if rand.random() < self._shown:
                if rand.random() < 0.5:
                    made[0][b"agent"] = b"Switch/4.2\r\nX-Call-ID: " + first_id
                else:
                    made[0].update({k: first[0][k] for k in (b"sdp", b"length")})
            legs[name] = (out_host, carrier, made)
        out, when = [], start_ns
        for leg, name, least, most in script:
            when += 1_000 * (least + int(rand.random() * (most - least))) + rand.getrandbits(10)
            uac, uas, (early, late) = legs[leg]
            forward, tagged, template = MESSAGES[name]
            fields = (late if tagged else early) | {b"status": status, b"why": why}
            src, dst = (uac, uas) if forward else (uas, uac)
            out.append((when, src, dst, template % fields))
        return script not in (ANSWERED, FAILOVER), out

    def traffic(self, calls: int, rate: int) -> Iterator[tuple[int, str, str, bytes]]:
        """All messages in order of time."""
        heap: list[tuple[int, int, str, str, bytes]] = []
        again: list[tuple[int, tuple[str, bytes, bytes]]] = []
        made = 0
        for number in range(calls):
            start = START_NS + number * 1_000_000_000 // rate
            due = [who for at, who in again if at <= start]
            again = [(at, who) for at, who in again if at > start]
            for who in due or [self.pair()]:
                failed, messages = self.through(start, who)
                if failed and self._random.random() < 0.5:
                    again.append((messages[-1][0] + self._random.randrange(300, 4000) * 1_000_000, who))
                for message in messages:
                    made += 1
                    heapq.heappush(heap, (message[0], made, *message[1:]))
            while heap and heap[0][0] < start:
                when, _, *rest = heapq.heappop(heap)
                yield when, *rest
        while heap:
            when, _, *rest = heapq.heappop(heap)
            yield when, *rest


def main() -> None:
    parser = argparse.ArgumentParser(description="Precision, recall and speed of leg linking.")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=100, help="calls a second")
    parser.add_argument("--ask", type=int, default=200, help="calls that are asked for one by one")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    for name, shown in (("nothing names the call", 0.0), ("half of the calls named by a header or media", 0.5)):
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder), name, Switch(chosen.seed, shown), chosen)


def run(folder: Path, name: str, switch: Switch, chosen: argparse.Namespace) -> None:
    """One kind of traffic: all legs at once, then calls one by one as a user asks for them."""
    from index.archive import Archive
    from index.importing import import_file
    from index.lake import Lake
    from index.leg import LegRules, leg_of
    from index.leg_search import families_of
    from index.legs import link

    path, wire = folder / "calls.pcap", Wire()
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1))
        for when, src, dst, sip in switch.traffic(chosen.calls, chosen.rate):
            frame = wire.frame(src, dst, sip)
            out.write(_RECORD.pack(*divmod(when, 1_000_000_000), len(frame), len(frame)) + frame)
    truth = {child.decode(): parent.decode() for child, parent in switch.truth.items()}
    archive = Archive(Lake(folder / "store"), time.time_ns)
    import_file(archive, str(path), "bench")
    archive.flush()
    true = {(parent, child) for child, parent in truth.items()}
    calls = archive.calls(None, 10_000_000)
    legs, rules = [], LegRules()
    for at in range(0, len(calls), 1000):
        some = archive.openings([c.call_id for c in calls[at : at + 1000]])
        legs += [leg_of(opening, rules) for opening in some.values()]
    began = time.perf_counter()
    links = link(legs, rules)
    took = time.perf_counter() - began
    print(f"{name}: {chosen.calls:,} calls at {chosen.rate}/s, {len(legs):,} legs, {len(truth):,} true links")
    say("all at once, sure links", {(x.parent, x.child) for x in links if not x.doubtful}, true)
    say("all at once, with doubtful", {(x.parent, x.child) for x in links}, true)
    print(f"  {chosen.calls / took:,.0f} calls linked a second")
    rand = random.Random(chosen.seed)
    asked = rand.sample(sorted({*truth, *truth.values()}), chosen.ask)
    times, told, sure, wanted = [], set[tuple[str, str]](), set[tuple[str, str]](), set[tuple[str, str]]()
    for call_id in asked:
        began = time.perf_counter()
        found = families_of(archive, [call_id])[call_id]
        times.append(time.perf_counter() - began)
        told |= {(x.parent, x.child) for x in found.links}
        sure |= {(x.parent, x.child) for x in found.links if not x.doubtful}
        top = truth.get(call_id, call_id)
        wanted |= {(top, c) for c, p in truth.items() if p == top}
    say("one by one, sure links", sure, wanted)
    say("one by one, with doubtful", told, wanted)
    times.sort()
    middle, late = statistics.median(times), times[int(len(times) * 0.95)]
    print(f"  legs of one call: median {1000 * middle:.0f} ms, p95 {1000 * late:.0f} ms")
    archive.close()


def say(what: str, links: set[tuple[str, str]], wanted: set[tuple[str, str]]) -> None:
    right = len(links & wanted)
    precision = right / len(links) if links else 1.0
    print(f"  {what}: precision {precision:.2%}, recall {right / len(wanted):.2%} ({len(links):,} links)")


if __name__ == "__main__":
    main()
