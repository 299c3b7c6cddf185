"""What single rows tell of a filter: every call that matches has a row for which it holds."""

from __future__ import annotations

import random
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from index.filter import parse_filter
from index.filter_rough import STATES
from index.rollup import CALL_COLUMNS, CALLS

NOW = 1_000 * 10**9
FILTERS = [
    *(f"state:{state}" for state in STATES),
    "state:~an", "state:c*", "state:in-call or state:busy", "ended:caller", "ended:callee",
    "code:200", "code:5xx", "code:>=486", "code:<300", "code:499 state:cancelled", "reason:~us", "reason:OK",
    "talk:<2s", "talk:<=1s", "talk:>2s", "talk:>=4", "talk:1s", "pdd:<1s", "pdd:>1s", "pdd:2s", "ring:<1s", "ring:>1s",
    "ring:1s", "messages:<3", "messages:2", "messages:>4", "retransmissions:>0", "retransmissions:2",
    "retransmissions:<2", "retransmissions:>=0", "codec:PCMA", "codec:~729", "codec:PC*", "pai:1*", "pai:*",
    "diversion:~2", "interface:eth0", "nat:private-contact", "nat:kamailio=1", "src:203.0.113.5 code:486",
    "method:INVITE (code:200 or code:486) talk:>1s", "(state:failed code:503) or state:busy", "not code:200",
    "code:404 not state:completed", "src:203.0.113.5 or code:200",
]  # fmt: skip


def row(rand: random.Random, call: int) -> dict[str, object]:
    """A partial row with anything in it that rows may have."""

    def at() -> int | None:
        return rand.choice((None, None, *(rand.randrange(900, 1000) * 10**9 for _ in range(2))))

    out: dict[str, object] = dict.fromkeys(CALL_COLUMNS)
    for name in ("invite_ts", "trying_ts", "ring_ts", "answer_ts", "fail_ts", "bye_ts", "cancel_ts", "side_ts"):
        out[name] = at()
    first = min([t for t in out.values() if isinstance(t, int)], default=950 * 10**9)
    if out["invite_ts"] is not None:
        out |= {"last_invite_ts": out["invite_ts"], "last_invite_cseq": rand.randrange(3)}
    if out["answer_ts"] is not None:
        out |= {"answer_code": rand.choice((200, 202)), "answer_reason": rand.choice(("OK", "Accepted"))}
    if out["fail_ts"] is not None:
        code = rand.choice((301, 401, 404, 407, 408, 422, 480, 486, 487, 499, 500, 503, 600, 603))
        out |= {"fail_code": code, "fail_reason": rand.choice(("Busy", "x")), "fail_cseq": rand.randrange(3)}
    if out["side_ts"] is not None and rand.random() < 0.6:
        out |= {"side_final_ts": out["side_ts"], "side_code": rand.choice((200, 401, 404, 499, 503))}
        out["side_reason"] = rand.choice(("OK", "Busy"))
    for name, key in (("offer_codecs", "offer_ts"), ("answer_codecs", "answer_key")):
        if rand.random() < 0.4:
            out |= {key: first, name: rand.choice(("PCMA,PCMU", "G729", "PCMU"))}
    for name in ("pai", "diversion"):
        if rand.random() < 0.3:
            out |= {f"{name}_ts": first, name: rand.choice(("12", "23"))}
    if rand.random() < 0.7:
        out |= {"bye_ip": rand.choice(("203.0.113.5", "203.0.113.6")), "bye_port": 5060}
    return out | {
        "call_id": f"call-{call}", "node": "n", "first_ts": first, "last_ts": first + 10**9, "first_key": first,
        "messages": rand.randrange(1, 4), "initial": rand.random() < 0.7, "flags": 0,
        "method": rand.choice(("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "OPTIONS", "REGISTER")),
        "src_ip": rand.choice(("203.0.113.5", "203.0.113.6")), "src_port": 5060, "dst_ip": "198.51.100.1",
        "dst_port": 5060, "retransmissions": rand.choice((None, 0, 1, 2)), "nat": rand.choice((0, 0, 1, 3, 1 << 9)),
        "interface": rand.choice((None, "eth0", "eth1")),
    }  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> Iterator[duckdb.DuckDBPyConnection]:
    rand = random.Random(5)
    made = [row(rand, call) for call in range(3000) for _ in range(rand.choice((1, 1, 2, 3)))]
    con = duckdb.connect()
    con.register("made", pa.Table.from_pylist(made))
    columns = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in CALL_COLUMNS.items())
    con.execute(f"CREATE TABLE partial AS SELECT {columns} FROM made")
    con.execute(f"CREATE TABLE whole AS {CALLS.format(source='FROM partial').replace('$now', str(NOW))}")
    yield con
    con.close()


def test_every_state_is_there(rows: duckdb.DuckDBPyConnection) -> None:
    assert {r[0] for r in rows.execute("SELECT DISTINCT state FROM whole").fetchall()} == set(STATES)


@pytest.mark.parametrize("text", FILTERS)
def test_every_call_that_matches_has_such_a_row(rows: duckdb.DuckDBPyConnection, text: str) -> None:
    where = parse_filter(text, NOW)
    sql, parameters = where.to_sql()
    matches = {r[0] for r in rows.execute(f"SELECT call_id FROM whole WHERE {sql}", parameters).fetchall()}
    assert matches
    for condition, some in where.some:
        told = {r[0] for r in rows.execute(f"SELECT call_id FROM partial WHERE {condition}", some).fetchall()}
        assert matches <= told


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("code:499", 1), ("src:203.0.113.5 state:failed talk:>1s", 3), ("not code:499", 0), ("code:499 or talk:>1s", 1),
        ("code:499 or not talk:>1s", 0), ("messages:>3", 0), ("messages:>3 code:499", 1), ("finding:x code:499", 1),
        ("(code:499 talk:>1s) or state:busy", 1), ("", 0),
    ],
)  # fmt: skip
def test_how_much_is_told(text: str, count: int) -> None:
    assert len(parse_filter(text, NOW).some) == count
