"""An agent's correlation id in HEP links the legs of a call: in a capture, a store, closed hours, over sockets."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from capture.flags import names
from capture.pipeline import from_payloads
from capture.sources.hep import HepReceiver
from diagnose.local import open_store
from index.archive import Archive
from index.columns import HOUR_NS, to_rows
from index.compaction import compact_all
from index.importing import import_file
from index.lake import Lake
from index.leg_search import families_of
from siptrail.cli import app
from tests.capture.heppackets import chunk, hep3
from tests.capture.test_hep_receiver import free_port, wait_for
from tests.capture.tlstalk import save
from tests.capture.wire import ether, frame, ip4, udp

A, B = "leg-a-1@192.0.2.1", "f00d-2-other"
ID = "cafe-0815"
CORRELATION = 17


def invite(call_id: str, caller: str, called: str) -> bytes:
    return (
        f"INVITE sip:{called}@b.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{caller}\r\n"
        f"From: <sip:{caller}@a.example>;tag={caller}\r\nTo: <sip:{called}@b.example>\r\n"
        f"Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def packets(first: str = ID, second: str = ID) -> list[bytes]:
    """Two INVITEs with nothing in common but what the agent says; '': it says nothing."""
    legs = ((A, "4420111", "4420222", first), (B, "anna", "berta", second))
    return [
        hep3(
            invite(call_id, caller, called),
            *([chunk(CORRELATION, said.encode())] if said else []),
            src=f"192.0.2.{1 + 2 * n}",
            dst=f"198.51.100.{2 + 2 * n}",
            later=20_000 * n,
        )
        for n, (call_id, caller, called, said) in enumerate(legs)
    ]


def file(folder: Path, *sent: bytes) -> Path:
    """A capture in which an agent's packets go by."""
    path = folder / "hep.pcap"
    save(path, *(frame(ether(ip4(17, udp(data, 9060, 9060))), n * 10**6) for n, data in enumerate(sent)))
    return path


def legs(call_id: str, path: Path) -> dict[str, list[str]]:
    done = CliRunner().invoke(app, ["legs", call_id, "--json", "--pcap", str(path)])
    assert done.exit_code == 0, done.output
    links = json.loads(done.stdout)["links"]
    return {f"{x['parent']} {x['child']}": [e["text"] for e in x["evidence"]] for x in links if not x["doubtful"]}


@pytest.mark.parametrize("asked", [A, B])
def test_legs_with_the_same_id_in_a_capture(tmp_path: Path, asked: str) -> None:
    found = legs(asked, file(tmp_path, *packets()))
    assert list(found) == [f"{A} {B}"] and found[f"{A} {B}"][0] == f"equal HEP correlation id {ID}"


def test_an_id_that_is_the_other_leg_s_call_id(tmp_path: Path) -> None:
    found = legs(A, file(tmp_path, *packets(first=A, second=A)))
    assert found[f"{A} {B}"][0] == "the HEP correlation id of one names the Call-ID of the other"


@pytest.mark.parametrize(("first", "second"), [("", ""), (ID, "other"), (ID, ""), (A, B)])
def test_other_ids_or_none_or_each_leg_s_own_link_nothing(tmp_path: Path, first: str, second: str) -> None:
    assert legs(A, file(tmp_path, *packets(first, second))) == {}


def test_in_a_store_and_when_its_hour_is_closed(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "store")
    desk = open_store(lake)
    import_file(desk.archive, str(file(tmp_path, *packets())), "node", imported_at=time.time_ns())
    assert desk.legs(B).sure == (A, B)
    for n in range(2):  # an hour with one file is in order
        other = hep3(invite(f"other-{n}", f"x{n}", f"y{n}"), later=5000 * n)
        import_file(desk.archive, str(file(tmp_path, other)), "node", imported_at=time.time_ns())
    assert compact_all(lake, time.time_ns() + HOUR_NS) > 0
    assert desk.legs(A).sure == desk.legs(B).sure == (A, B)
    desk.close()


def test_over_a_socket() -> None:
    receiver, port = HepReceiver(), free_port()
    try:
        receiver.listen("127.0.0.1", port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
            for data in packets():
                agent.sendto(data, ("127.0.0.1", port))
        found = wait_for(receiver, 2)
    finally:
        receiver.close()
    archive = Archive(None, time.time_ns)
    block = from_payloads(found, range(2))  # type: ignore[arg-type]
    assert [names(int(f)) for f in block.flags] == [[], []]
    archive.add(to_rows(block, "node"))
    assert [leg.call_id for leg in families_of(archive, [A])[A].legs] == [A, B]
    archive.close()


def test_what_names_very_many_legs_names_no_call(tmp_path: Path) -> None:
    many = [
        hep3(invite(f"call-{n}", f"caller{n}", f"called{n}"), chunk(CORRELATION, b"cluster-7"), later=1000 * n)
        for n in range(20)
    ]
    assert legs("call-3", file(tmp_path, *many)) == {}
