"""Live capture as a whole: the recorder is a process of its own, its wires are laid and cut while it runs."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.bpf import default_program
from capture.frames import FrameBlock
from capture.packetsockets import SPARE
from capture.sources.pcapfile import PcapFile
from capture.sources.ring import SOL_PACKET, TIMESTAMP, open_ring
from tests.capture.live import MAIN, Wires, options
from tests.capture.wire import A, B, ether, ip4, ip6_fragment, ok, sip, tcp, udp
from tests.end_to_end.patience import until

pytestmark = pytest.mark.needs("root", "ip")
FAR, NEAR = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires() as found:
        yield found


def blocks(path: Path) -> list[FrameBlock]:
    file = PcapFile(str(path))
    try:
        return list(file.blocks())
    finally:
        file.close()


def exported(path: Path) -> list[bytes]:
    return [bytes(b.data[o : o + c]) for b in blocks(path) for o, c in zip(b.offset, b.captured, strict=True)]


def test_everything_that_is_up_is_recorded_and_what_comes_up_later_too(wires: Wires) -> None:
    wires.lay("w0", "w1")
    wires.start()
    assert wires.recording() == {"lo": True, "w0": True, "w1": True}
    wires.send("w0", wires.packet(options("on-w0")))
    wires.send("w1", wires.packet(options("on-w1")))
    wires.until_calls("on-w0", "on-w1")

    later = [f"w{n}" for n in range(2, 2 + SPARE)]
    wires.lay(*later)
    until(lambda: all(wires.recording().get(name) for name in later), "later interfaces are not recorded")
    assert f"interface {later[-1]} came up and is recorded" in wires.log()
    assert "no spare socket" not in wires.log()
    for name in later:
        wires.send(name, wires.packet(options(f"on-{name}")))
    wires.until_calls(*(f"on-{name}" for name in later))

    # One more than there are sockets: it is told, and recorded as soon as another one is gone.
    wires.lay("late")
    until(lambda: "no spare socket is left for interface late" in wires.log(), "nothing is said of it")
    assert "late" not in wires.recording()
    wires.cut("w3")
    until(lambda: wires.recording().get("late"), "its socket is not used again")
    assert "w3" not in wires.recording()
    wires.send("late", wires.packet(options("on-late")))
    calls = wires.until_calls("on-late")
    assert {name: n for name, call in calls.items() if (n := call["messages"]) != 1} == {}
    assert wires.log().count("no spare socket") == 1, "once, not every second"
    wires.end()


@pytest.mark.parametrize(("workers", "interface"), [("1", "any"), ("2", "w0")])
def test_an_interface_that_vanishes_and_comes_back(wires: Wires, workers: str, interface: str) -> None:
    wires.lay("w0", "w1")
    wires.start("-i", interface, workers=workers)
    wires.send("w0", *(wires.packet(options(f"before-{n}"), 6000 + n) for n in range(8)))
    wires.until_calls(*(f"before-{n}" for n in range(8)))
    for turn in range(2):
        wires.cut("w0")
        until(lambda: wires.recording()["w0"] is False, "it is not said to be gone")
        assert 'siptrail_interface_recording{interface="w0"} 0.0' in wires.get("/metrics").text
        wires.lay("w0")
        until(lambda: wires.recording()["w0"], "it is not recorded again")
        time.sleep(1.5)  # every worker has had its turn
        wires.send("w0", *(wires.packet(options(f"after-{turn}-{n}"), 6000 + n) for n in range(8)))
        wires.until_calls(*(f"after-{turn}-{n}" for n in range(8)))
    assert {name: n for name, call in wires.calls().items() if (n := call["messages"]) != 1} == {}
    wires.end()


def test_two_workers_see_every_message_once_and_whole(wires: Wires) -> None:
    wires.lay("w0")
    wires.start("-i", "w0", workers="2")
    flows = range(60)
    frames = [wires.packet(options(f"udp-{n}"), 7000 + n) for n in flows]
    for n in flows:  # a datagram in pieces, the later ones without ports; then the same in IPv6
        whole = udp(options(f"pieces-{n}", 2400), 7000 + n)
        pieces = [whole[at : at + 800] for at in range(0, len(whole), 800)]
        last = len(pieces) - 1
        frames += [ether(ip4(17, piece, ident=20000 + n, off=800 * i, more=i < last)) for i, piece in enumerate(pieces)]
        frames += [
            ether(ip6_fragment(17, piece.replace(b"pieces-", b"sixers-"), 30000 + n, 800 * i, i < last))
            for i, piece in enumerate(pieces)
        ]
    for n in flows:  # one message over three segments, of which IP cuts the middle one
        message, port = options(f"tcp-{n}", 2000), 7000 + n
        cuts = [message[:300], message[300:1500], message[1500:]]
        seq = 1000
        frames.append(ether(ip4(6, tcp(b"", seq - 1, 2, port), ident=1)))
        for i, part in enumerate(cuts):
            segment = tcp(part, seq, 0x18, port)
            seq += len(part)
            if i == 1:
                frames.append(ether(ip4(6, segment[:800], ident=40000 + n, more=True)))
                frames.append(ether(ip4(6, segment[800:], ident=40000 + n, off=800)))
            else:
                frames.append(ether(ip4(6, segment, ident=2 + i)))
    wires.send("w0", *frames)
    names = [f"{kind}-{n}" for kind in ("udp", "pieces", "sixers", "tcp") for n in flows]
    calls = wires.until_calls(*names)
    assert set(calls) == set(names)
    assert {call["messages"] for call in calls.values()} == {1}
    counts = wires.interfaces()["w0"]
    assert not counts.get("stream_gaps") and not counts.get("fragments_lost")
    flags = wires.get("/api/v1/stats").json()["flags"]
    assert flags.keys() <= {"fragmented"}, flags
    (one,) = exported(wires.pcap("pieces-7"))
    assert one.endswith(options("pieces-7", 2400)), "the kernel put it together before it chose a worker"
    wires.end()


def test_tags_and_frames_larger_than_the_mtu(wires: Wires) -> None:
    wires.lay("w0")
    wires.far.ip(f"address add {FAR} peer {NEAR} dev w0")
    wires.near.ip(f"address add {NEAR} peer {FAR} dev w0")
    wires.start("-i", "w0", hardware_time="true")
    assert "interface w0 has no clock for the frames that it receives" in wires.log()

    # The receiving kernel takes the tag off, and keeps it beside the frame (skb_vlan_untag).
    plain = wires.packet(options("tagged"))
    tagged = plain[:12] + bytes.fromhex("8100a04d") + plain[12:]
    before = time.time_ns()
    wires.send("w0", tagged)
    wires.until_calls("tagged")
    path = wires.pcap("tagged")
    assert exported(path) == [tagged]
    (block,) = blocks(path)
    assert before < int(block.ts[0]) < time.time_ns(), "without a clock in the device the kernel's counts"

    names = [f"big-{n}" for n in range(60)]
    with wires.near.inside(socket.create_server, (NEAR, 5060)) as server:
        client = wires.far.inside(socket.create_connection, (NEAR, 5060), 20)
        with client, server.accept()[0] as accepted:
            accepted.settimeout(20)
            stream = b"".join(options(name, 3000) for name in names)
            client.sendall(stream)
            left = len(stream)
            while left:
                left -= len(accepted.recv(1 << 20))
            calls = wires.until_calls(*names)
    assert {calls[name]["messages"] for name in names} == {1}
    assert "truncated" not in wires.get("/api/v1/stats").json()["flags"]
    assert all(base64.b64decode(m["raw"]) == options(n, 3000) for n in names for m in wires.messages(n))
    longest = max(len(frame) for name in names[-20:] for frame in exported(wires.pcap(name)))
    assert longest > 1514, "offload made one frame of several"
    wires.end()


def test_an_invite_that_the_kernel_sends_in_fragments_over_an_mtu_of_576(wires: Wires) -> None:
    wires.lay("w0")
    wires.far.ip("link set dev w0 mtu 576")
    wires.far.ip(f"address add {FAR} peer {NEAR} dev w0")
    wires.near.ip(f"address add {NEAR} peer {FAR} dev w0")
    wires.start("-i", "w0")
    invite = sip("in-fragments", b"v=0\r\n" + b"a=x\r\n" * 400)
    phone = wires.near.inside(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with phone, wires.far.inside(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as caller:
        phone.bind((NEAR, 5060))
        caller.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT: send it in fragments (ip(7))
        caller.sendto(invite, (NEAR, 5060))
    assert wires.until_calls("in-fragments")["in-fragments"]["messages"] == 1
    (message,) = wires.messages("in-fragments")
    assert base64.b64decode(message["raw"]) == invite
    frames = exported(wires.pcap("in-fragments"))
    assert [len(frame) for frame in frames] == [14 + 20 + 552] * 3 + [14 + 20 + 8 + len(invite) - 3 * 552]
    offsets = [int.from_bytes(frame[20:22], "big") for frame in frames]
    assert [at & 0x3FFF for at in offsets] == [0x2000, 0x2000 + 69, 0x2000 + 138, 207], "as they were on the wire"
    wires.end()


def test_a_frame_longer_than_a_block_of_the_ring_is_counted(wires: Wires) -> None:
    small = f"import capture.sources.rings as rings; rings.BLOCK_BYTES = 1 << 14; {MAIN}"
    command = wires.command("-i", "lo")
    command[command.index(MAIN)] = small
    wires.start(command=command)

    def send(message: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(message, ("127.0.0.1", 5060))

    wires.near.inside(send, options("fits", 9000))
    wires.until_calls("fits")
    assert "cut_frames" not in wires.interfaces()["lo"]
    wires.near.inside(send, options("too-long", 50000))
    wires.until_calls("too-long")
    until(lambda: wires.interfaces()["lo"].get("cut_frames") == 1, "it is not counted")
    assert 'siptrail_interface_cut_frames_total{interface="lo"} 1.0' in wires.get("/metrics").text
    assert wires.get("/api/v1/stats").json()["flags"]["truncated"] == 1
    assert "capture-loss" in wires.findings("too-long")
    assert [x["kind"] for x in wires.get("/api/v1/calls/too-long/messages").json()["losses"]] == ["cut"]
    wires.end()


def test_a_filter_of_the_users_own(wires: Wires) -> None:
    wires.lay("w0")
    code, errors = wires.fails("-i", "w0", "--filter", "udp prt 7")
    assert code == 2 and len(errors) == 1 and "--filter 'udp prt 7'" in errors[0], errors
    wires.start("-i", "any", "--filter", "udp dst port 7000")
    wires.send("w0", wires.packet(options("kept-out")), wires.packet(options("let-in"), dport=7000))
    assert set(wires.until_calls("let-in")) == {"let-in"}
    assert wires.interfaces()["w0"]["packets"] == 1
    wires.end()


@pytest.mark.needs("unshare", "mount")
def test_without_libpcap_a_filter_is_refused_and_nothing_else(wires: Wires) -> None:
    # In a mount namespace of its own the library is an empty file.
    hide = "for f in $(ls /lib/*/libpcap.so.* /usr/lib/*/libpcap.so.* /usr/lib*/libpcap.so.* 2>/dev/null); do "
    hide += 'mount --bind /dev/null "$(readlink -f "$f")"; done; exec "$@"'
    hidden = ["unshare", "-m", "sh", "-c", hide, "sh"]
    wires.lay("w0")
    code, errors = wires.fails(command=[*hidden, *wires.command("-i", "w0", "--filter", "udp")])
    assert code == 2 and len(errors) == 1 and "--filter needs libpcap: install it" in errors[0], errors
    wires.start(command=[*hidden, *wires.command("-i", "w0")])
    wires.send("w0", wires.packet(options("all-the-same")))
    wires.until_calls("all-the-same")
    wires.end()


def rights(wires: Wires) -> dict[str, set[str]]:
    """User and capabilities of every thread."""
    assert wires.recorder is not None
    found: dict[str, set[str]] = {}
    for status in Path(f"/proc/{wires.recorder.pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapAmb"):
                found.setdefault(name, set()).add(" ".join(value.split()))
    return found


@pytest.mark.needs("unshare", "mount", "setpriv")
def test_it_goes_on_as_another_user(wires: Wires) -> None:
    import pwd

    nobody = pwd.getpwnam("nobody")
    wires.lay("w0")
    open_to_all = wires.open_to_all()
    if open_to_all:
        code, errors = wires.fails("--user", "nobody")
        assert code == 3 and len(errors) == 1 and "install siptrail where all may read" in errors[0], errors
    groups = ["setpriv", "--groups", "0,4"]  # of which none may be kept
    wires.start(command=[*groups, *open_to_all, *wires.command("--user", "nobody")])
    none = {"0000000000000000"}
    assert rights(wires) == {
        "Uid": {" ".join([str(nobody.pw_uid)] * 4)},
        "Gid": {" ".join([str(nobody.pw_gid)] * 4)},
        "Groups": {""},
        "CapEff": none,
        "CapPrm": none,
        "CapAmb": none,
    }
    wires.send("w0", wires.packet(options("as-nobody")))
    wires.lay("w1")
    until(lambda: wires.recording().get("w1"), "a later interface is not recorded")
    wires.send("w1", wires.packet(options("later")))
    wires.until_calls("as-nobody", "later")
    wires.end()
    assert {path.stat().st_uid for path in (wires.folder / "store").rglob("*")} == {nobody.pw_uid}


def test_as_a_daemon_it_does_not_stay_root_unless_told_so(wires: Wires) -> None:
    # systemd gives the process that it starts that process's own id.
    systemd = ["sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh"]
    for words, settings, told in (
        ((), {}, "refusing to stay root as a daemon"),
        (("--user", "root"), {}, "--user root is root"),
        (("--user", "no-such-user"), {}, "no user 'no-such-user'"),
    ):
        code, errors = wires.fails(command=[*systemd, *wires.command(*words)], **settings)
        assert code == 2 and len(errors) == 1 and told in errors[0], errors
    (wires.folder / "store").mkdir()
    (wires.folder / "store" / "catalogue.duckdb").touch()
    (wires.folder / "store" / "catalogue.duckdb").chmod(0o600)
    code, errors = wires.fails("--user", "nobody")
    assert code == 3 and len(errors) == 1 and "chown -R nobody" in errors[0], errors
    (wires.folder / "store" / "catalogue.duckdb").unlink()
    wires.start(command=[*systemd, *wires.command()], allow_root="true")
    assert (rights(wires)["Uid"], rights(wires)["CapPrm"]) == ({"0 0 0 0"}, {"0000000000000000"})
    wires.end()


def answered(call_id: str, wires: Wires) -> Iterator[bytes]:
    """The rest of a call whose 200 is repeated although it was sent: nothing acknowledges it."""
    for pause in (0.0, 0.2, 0.4, 0.8):
        time.sleep(pause)
        yield wires.packet(ok(call_id), src=B, dst=A)
    time.sleep(0.1)
    yield wires.packet(sip(call_id, method="BYE").replace(b"CSeq: 1 ", b"CSeq: 7 "), src=B, dst=A)


def test_what_the_kernel_dropped_is_told_to_calls_that_were_alive(wires: Wires) -> None:
    wires.lay("w0", "w1")
    wires.start("-i", "w0", "-i", "w1")
    assert wires.recorder is not None

    def call(call_id: str) -> None:
        wires.send("w0", wires.packet(sip(call_id)))
        for frame in answered(call_id, wires):
            wires.send("w0", frame)

    call("before")
    until(lambda: wires.calls().get("before", {}).get("messages") == 6, "the first call is not complete")
    time.sleep(2.5)  # losses close by would concern it, too
    wires.send("w0", wires.packet(sip("during")))
    wires.until_calls("during")
    os.kill(wires.recorder.pid, signal.SIGSTOP)
    try:
        flood = 4000
        wires.send("w0", *(wires.packet(options("flood", 1000)) for _ in range(flood)))
        time.sleep(1)
    finally:
        os.kill(wires.recorder.pid, signal.SIGCONT)
    drops = until(lambda: wires.interfaces()["w0"].get("kernel_drops", 0), "the kernel's drops are not counted")
    for frame in answered("during", wires):
        wires.send("w0", frame)
    until(lambda: wires.calls()["during"]["messages"] == 6, "the second call is not complete")

    seen = wires.interfaces()
    assert seen["w0"]["kernel_drops"] == drops and seen["w0"]["packets"] == flood + 12 - drops
    assert "kernel_drops" not in seen["w1"]
    assert json.loads(wires.run("stats", "--json"))["kernel_drops"] == drops
    metrics = wires.get("/metrics").text
    assert f'siptrail_interface_kernel_drops_total{{interface="w0"}} {float(drops)}' in metrics

    found = wires.findings("during")
    assert f"This trace may be incomplete: {drops} packets were lost on w0" in found["capture-loss"]["headline"]
    assert found["missing-ack"]["confidence"] == "possible"
    spared = wires.findings("before")
    assert "capture-loss" not in spared
    assert spared["missing-ack"]["confidence"] in ("likely", "certain")
    wires.end()


def test_the_card_is_asked_for_its_time_and_the_kernel_for_the_rest(wires: Wires) -> None:
    wires.lay("w0")
    asked = {}
    for hardware_time in (False, True):
        ring = wires.near.inside(
            open_ring, "w0", program=default_program({5060}), block_bytes=1 << 16, blocks=4, hardware_time=hardware_time
        )
        before = time.time_ns()
        wires.send("w0", wires.packet(options("timed")))
        block = ring.poll(10)
        assert block is not None, "nothing arrives"
        assert before < int(block.ts[0]) < time.time_ns()
        assert ring._socket is not None
        asked[hardware_time] = ring._socket.getsockopt(SOL_PACKET, TIMESTAMP)
        ring.close()
    # SOF_TIMESTAMPING_RAW_HARDWARE of linux/net_tstamp.h
    assert asked == {False: 0, True: 64}


def test_a_connection_that_breaks_in_a_call_is_told_with_it(wires: Wires) -> None:
    wires.lay("w0")
    wires.start("-i", "w0")
    caller, invite = "192.0.2.44", sip("cut")
    refusal = b"SIP/2.0 503 Service Unavailable" + invite[invite.index(b"\r\n") :]
    onward = invite.replace(b"z9hG4bKcut", b"z9hG4bKonward")
    wires.send(
        "w0",
        ether(ip4(17, udp(invite), src=caller, dst=A)),
        ether(ip4(6, tcp(b"", 999, 2), ident=1)),
        ether(ip4(6, tcp(onward, 1000), ident=2)),
    )
    wires.until_calls("cut")
    wires.send("w0", ether(ip4(6, tcp(b"", 1, 0x14, 5060, 40000), src=B, dst=A, ident=3)))
    time.sleep(0.2)
    wires.send("w0", ether(ip4(17, udp(refusal), src=A, dst=caller)))
    until(lambda: wires.calls()["cut"]["state"] == "failed", "the refusal is not seen")
    found = {f["name"]: f for f in wires.get("/api/v1/calls/cut/findings").json()["findings"]}
    assert f"{B}:5060 reset its TCP connection with {A}:40000" in found["connection-cut"]["headline"]
    assert wires.get("/api/v1/stats").json()["flags"]["connection-reset"] == 1
    wires.end()
