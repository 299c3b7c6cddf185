"""A user's mistakes, and a machine's limits: one line that says what, which and what to do, and the exit code for it.

Exit codes: 1 not found, 2 wrong use, 3 no access to service, store, file or interface.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from capture.frames import Frame
from index.extensions import load_extension
from index.lake import Lake
from siptrail import cli
from tests.capture.wire import ether, frame, ip4, sip, udp


def capture(path: Path, frames: list[Frame], link: int = 1) -> Path:
    """A pcap with nanoseconds."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, link))
        for f in frames:
            file.write(struct.pack("<IIII", f.ts // 10**9, f.ts % 10**9, len(f.data), f.original) + f.data)
    return path


def calls(count: int, body: Callable[[], bytes] = bytes) -> list[Frame]:
    """One INVITE of each of so many calls."""
    return [frame(ether(ip4(17, udp(sip(f"call-{n}", body())))), n) for n in range(count)]


MORTAL = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Runs a command as a root that may not read everything."""


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    errors: list[str]


def one_line(code: int, outcome: Outcome) -> str:
    """The one line a mistake is answered with; below one in a filter stands the filter, with a mark at the place."""
    assert outcome.code == code, outcome
    shown = outcome.errors[1:]
    assert not shown or (len(shown) == 2 and shown[1].strip() == "^" and "filter" in outcome.errors[0]), outcome
    assert outcome.errors[0].startswith("siptrail: ")
    assert "Traceback" not in outcome.out + outcome.errors[0]
    return outcome.errors[0]


class Place:
    """A folder with a capture and a store in it, where commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pcap = str(capture(folder / "good.pcap", calls(5)))
        self.store = str(folder / "store")

    def environment(self, **more: str) -> dict[str, str]:
        """No settings of this machine's."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SIPTRAIL_")}
        return kept | {"XDG_DATA_HOME": str(self.folder / "data"), **more}

    def siptrail(self, *arguments: str, before: tuple[str, ...] = (), **environment: str) -> Outcome:
        """Run the program to its end."""
        done = subprocess.run(
            [*before, sys.executable, "-m", "siptrail.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment(**environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr.splitlines())

    def mistake(self, code: int, *arguments: str, **environment: str) -> str:
        """The one line a mistake is answered with."""
        return one_line(code, self.siptrail(*arguments, before=(), **environment))

    def imported(self) -> str:
        """The store, with the calls of the capture in it."""
        if not Path(self.store).exists():
            assert self.siptrail("import", self.pcap, "--store", self.store).code == 0
        return self.store


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("mistakes"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Case(NamedTuple):
    """One mistake: `{good}`, `{store}` and files by name stand in the arguments."""

    arguments: str
    code: int
    words: tuple[str, ...]


FILES = {
    "text.pcap": b"hello world, this is no capture",
    "empty.pcap": b"",
    "broken.toml": b"keep = = 7",
    "spelling.toml": b"keeep = '7d'",
    "kind.toml": b"interfaces = 3",
    "rule.toml": b"[alert_rules.mine]\nfilter = 'dst:1.2.3.4 hue:red'\nat_least = 3\n",
    "never.toml": b"[alert_rules.mine]\nfilter = 'code:503'\n",
    "latin.toml": b"node = '\xe9'",
}

CASES = {
    # capture files
    "import a missing file": Case("import nope.pcap --store {store}", 3, ("nope.pcap", "no such file", "check")),
    "read a missing file": Case("calls --pcap nope.pcap", 3, ("nope.pcap", "no such file", "check")),
    "a folder as a file": Case("stats --pcap .", 3, ("cannot read .", "folder", "name the capture files")),
    "wrong magic": Case("import text.pcap --store {store}", 3, ("text.pcap", "68 65 6c 6c", "give a file")),
    "empty file": Case("stats --pcap empty.pcap", 3, ("empty.pcap", "empty", "record it again")),
    "unknown link type": Case("import usb.pcap --store {store}", 3, ("usb.pcap", "link type 220", "editcap")),
    "unknown link type, alone": Case("calls --pcap usb.pcap", 3, ("usb.pcap", "link type 220", "editcap")),
    "diagnose a missing file": Case("diagnose x --pcap nope.pcap", 3, ("nope.pcap", "no such file")),
    "write to a missing folder": Case(
        "pcap call-1 -o no/such/x.pcap --pcap {good}", 3, ("no/such/x.pcap", "no such file or directory")
    ),
    # what was asked for
    "unknown Call-ID in a file": Case("show nobody --pcap {good}", 1, ("'nobody'", "siptrail calls")),
    "unknown Call-ID in a store": Case("ladder nobody --store {store}", 1, ("'nobody'", "siptrail calls")),
    "unknown Call-ID to export": Case("pcap nobody -o x.pcap --pcap {good}", 1, ("'nobody'", "siptrail calls")),
    "unknown Call-ID to diagnose": Case("diagnose nobody --pcap {good}", 1, ("'nobody'", "siptrail calls")),
    "open bracket": Case("calls (from:1 --store {store}", 2, ("bracket", "not closed", "'(from:1'")),
    "unknown format": Case("ladder call-1 -f png --pcap {good}", 2, ("'png'", "choose text, svg, mermaid or json")),
    # the command line
    "unknown command": Case("recrod", 2, ("recrod", "--help")),
    "unknown option": Case("calls --jsn", 2, ("--jsn", "--help")),
    "no number": Case("calls --limit many --pcap {good}", 2, ("--limit", "--help")),
    "nothing to import": Case("import", 2, ("FILES", "--help")),
    "two sources": Case("calls --pcap {good} --store {store}", 2, ("--store and --pcap exclude", "one of them")),
    "two stores": Case("import {good} --store {store} --url http://127.0.0.1:1", 2, ("exclude", "one of them")),
    # settings
    "bad --keep": Case("run --keep forever --store {store}", 2, ("keep", "'forever'", "7d, 12h or 30m")),
    "bad --listen": Case("run --listen here --store {store}", 2, ("listen", "'here'", "127.0.0.1:8060")),
    "missing --config": Case("run --config no.toml", 2, ("no.toml", "no such file", "check --config")),
    "--config is a folder": Case("run --config .", 2, ("configuration .", "directory", "check --config")),
    "--config is no TOML": Case("run --config broken.toml", 2, ("broken.toml", "line 1", "mend")),
    "--config is not UTF-8": Case("run --config latin.toml", 2, ("latin.toml", "TOML", "mend")),
    "unknown setting": Case("run --config spelling.toml", 2, ("keeep", "spelling.toml", "check its spelling")),
    "setting of a wrong kind": Case("run --config kind.toml", 2, ("interfaces", "kind.toml", "list")),
    "an alert rule that never speaks": Case(
        "run --config never.toml", 2, ("alert_rules.mine", "never.toml", "at_least")
    ),
    "open to everybody": Case("run --listen 0.0.0.0:1 --store {store}", 2, ("0.0.0.0", "set --token")),
    # services and stores
    "no service there": Case("calls --url http://127.0.0.1:1", 3, ("http://127.0.0.1:1", "siptrail run", "--url")),
    "no such host": Case("stats --url http://no.such.host.invalid:80", 3, ("no.such.host.invalid", "--url")),
    "no address of a service": Case("calls --url nonsense", 2, ("'nonsense'", "http://127.0.0.1:8060")),
    "no store there": Case("stats --store nowhere", 3, ("nowhere", "check --store")),
    "nothing to ask": Case("calls", 3, ("no service answers", "no store", "--pcap FILE")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_mistake_is_one_line_and_an_exit_code(
    place: Place, case: Case, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, data in FILES.items():
        (place.folder / name).write_bytes(data)
    capture(place.folder / "usb.pcap", calls(2), link=220)
    words = [w.format(good=place.pcap, store=place.store) for w in case.arguments.split(" ")]
    if words[0] == "run" or place.store in words:
        if words[0] != "run":
            place.imported()
        told = place.mistake(case.code, *words)
    else:
        # A process of its own is only needed where a store stays locked, or rights are given up.
        monkeypatch.chdir(place.folder)
        monkeypatch.setenv("SIPTRAIL_LISTEN", "127.0.0.1:1")
        monkeypatch.setenv("STATE_DIRECTORY", str(place.folder / "nowhere"))
        monkeypatch.setattr(sys, "argv", ["siptrail", *words])
        code = cli._run()
        out, errors = capfd.readouterr()
        told = one_line(case.code, Outcome(code, out, errors.splitlines()))
    for word in case.words:
        assert word in told


def test_a_variable_that_cannot_be_read_is_named(place: Place) -> None:
    told = place.mistake(2, "calls", "--pcap", place.pcap, SIPTRAIL_SIP_PORTS="5060")
    assert "sip_ports" in told
    assert "7d" in place.mistake(2, "stats", "--pcap", place.pcap, SIPTRAIL_KEEP="long")


def test_a_file_without_permission(place: Place) -> None:
    path = capture(place.folder / "secret.pcap", calls(1))
    path.chmod(0)
    told = one_line(3, place.siptrail("calls", "--pcap", str(path), before=MORTAL if os.geteuid() == 0 else ()))
    assert str(path) in told and "permission denied" in told and "chmod" in told


def test_a_file_that_ends_early_gives_what_is_there_and_says_so(place: Place) -> None:
    path = place.folder / "short.pcap"
    path.write_bytes(Path(place.pcap).read_bytes()[:-20])
    store = str(place.folder / "short")
    done = place.siptrail("import", str(path), "--store", store)
    assert (done.code, done.errors) == (0, [])
    assert "4 SIP messages" in done.out and "warning: the capture ends inside a record" in done.out
    listed = place.siptrail("calls", "--json", "--pcap", str(path))
    assert (listed.code, len(listed.out.splitlines())) == (0, 4)
    assert len(listed.errors) == 1
    assert "short.pcap" in listed.errors[0] and "warning: " in listed.errors[0]
    assert len(place.siptrail("calls", "--json", "--store", store).out.splitlines()) == 4


def test_a_bad_file_among_good_ones_costs_only_itself(place: Place) -> None:
    store = str(place.folder / "among")
    done = place.siptrail("import", place.pcap, "nope.pcap", place.pcap, "--store", store)
    assert done.code == 3
    assert len(done.errors) == 1 and "nope.pcap" in done.errors[0]
    assert len(done.out.splitlines()) == 2


def test_a_port_in_use(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        store = str(place.folder / "port")
        outcome = place.siptrail("run", "-i", "lo", "--store", store, "--listen", where)
    told = [line for line in outcome.errors if line.startswith("siptrail: ")]
    if os.geteuid():
        assert outcome.code == 3 and "lo" in told[0]
        return
    assert outcome.code == 3 and outcome.errors == told and len(told) == 1
    assert where in told[0] and "in use" in told[0] and "--listen" in told[0]
    # Nothing was left locked or half open.
    assert place.siptrail("import", place.pcap, "--store", store).code == 0


@pytest.mark.needs("root")
def test_a_filter_that_cannot_be_read_is_shown_with_a_mark(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["siptrail", "calls", "from:\x1b1 colour:red", "--pcap", place.pcap])
    assert cli._run() == 2
    first, text, mark = capfd.readouterr().err.splitlines()
    assert first.startswith("siptrail: filter: there is no key 'colour' (keys: call-id")
    assert "at character 9 of" in first
    assert text[mark.index("^") :] == "colour:red" and "\x1b" not in text


def test_a_filter_of_an_alert_rule_is_shown_with_a_mark(place: Place) -> None:
    (place.folder / "rule.toml").write_bytes(FILES["rule.toml"])
    outcome = place.siptrail("run", "--config", "rule.toml", "--store", str(place.folder / "none"))
    first, text, mark = outcome.errors
    assert outcome.code == 2 and first.startswith(
        "siptrail: setting alert_rules.mine.filter in rule.toml: there is no key"
    )
    assert "at character 13 of" in first and text[mark.index("^") :] == "hue:red"


def test_an_unknown_interface_and_a_bad_capture_filter(place: Place) -> None:
    told = place.mistake(3, "run", "-i", "nope0", "--store", str(place.folder / "nic"))
    assert "'nope0'" in told and "lo" in told
    bad = ("--filter", "port port", "--store", str(place.folder / "nic"))
    told = place.mistake(2, "run", "-i", "lo", *bad)
    assert "--filter 'port port'" in told


# ---------------------------------------------------------------- stores


def test_a_store_of_a_newer_siptrail_is_left_alone(place: Place) -> None:
    store = place.folder / "newer"
    Lake(store).close()
    con = duckdb.connect()
    load_extension(con, "ducklake")
    con.execute(f"ATTACH 'ducklake:{store / 'catalogue.duckdb'}' AS lake (DATA_PATH '{store / 'data'}/')")
    con.execute("UPDATE lake.about SET value = '99' WHERE name = 'schema'")
    con.close()
    for arguments in (("import", place.pcap), ("calls",), ("run", "--listen", f"127.0.0.1:{free_port()}")):
        told = place.mistake(3, *arguments, "--store", str(store))
        assert str(store) in told and "newer siptrail (schema 99" in told and "upgrade" in told


def test_a_store_that_is_open_elsewhere(place: Place) -> None:
    store, listen = str(place.folder / "held"), f"127.0.0.1:{free_port()}"
    # Without the right to open sockets nothing is recorded, which is all that is needed here.
    service = subprocess.Popen(
        [sys.executable, "-m", "siptrail.cli", "run", "--store", store, "--listen", listen],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=place.environment(),
        cwd=place.folder,
    )
    try:
        assert service.stdout is not None
        assert any("terminal UI" in line for line in service.stdout), "the service did not start"
        for arguments in (("import", place.pcap), ("stats",), ("run", "--listen", f"127.0.0.1:{free_port()}")):
            told = place.mistake(3, *arguments, "--store", store)
            assert store in told and "another process" in told and "--url" in told
        url = f"http://{listen}"
        done = place.siptrail("import", place.pcap, "--url", url)
        assert (done.code, done.errors) == (0, [])
        assert "nope.pcap" in place.mistake(3, "import", "nope.pcap", "--url", url)
        assert "'nobody'" in place.mistake(1, "show", "nobody", "--url", url)
        assert "colour" in place.mistake(2, "calls", "colour:red", "--url", url)
    finally:
        service.terminate()
        service.wait(30)
    assert len(place.siptrail("calls", "--json", "--store", store).out.splitlines()) == 5


def test_a_store_with_a_file_missing_says_so(place: Place) -> None:
    store = place.folder / "holes"
    assert place.siptrail("import", place.pcap, "--store", str(store)).code == 0
    for path in (store / "data" / "main").glob("*/day=*/hour=*/*.parquet"):
        path.unlink()
    told = place.mistake(3, "calls", "--store", str(store))
    assert str(store) in told and "cannot be read" in told


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "siptrail-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(folder)], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)


def fill(path: Path) -> Path:
    """Take every byte that is left."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


@pytest.mark.needs("root")
def test_a_full_disk_before_there_is_a_store(place: Place) -> None:
    with small_disk(place.folder / "full", "3m") as disk:
        store, ballast = str(disk / "store"), fill(disk / "ballast")
        for arguments in (("import", place.pcap), ("run", "-i", "lo", "--listen", f"127.0.0.1:{free_port()}")):
            told = place.mistake(3, *arguments, "--store", store)
            assert store in told and "disk is full" in told and "--store" in told
        ballast.unlink()
        done = place.siptrail("import", place.pcap, "--store", store)
        assert (done.code, done.errors) == (0, []), "the failed attempts left something in the way"


@pytest.mark.needs("root")
def test_a_disk_that_becomes_full_while_importing(place: Place) -> None:
    big = capture(place.folder / "big.pcap", calls(8000, lambda: os.urandom(400).hex().encode()))
    with small_disk(place.folder / "filling", "4m") as disk:
        store = str(disk / "store")
        assert place.siptrail("import", place.pcap, "--store", store).code == 0
        before = sorted(disk.rglob("*.parquet"))
        told = place.mistake(3, "import", str(big), place.pcap, "--store", store)
        assert store in told and "disk is full" in told and "free some space" in told
        assert sorted(disk.rglob("*.parquet")) == before, "files of the failed import take up the disk"
        listed = place.siptrail("calls", "--json", "--store", store)
        assert (listed.code, len(listed.out.splitlines()), listed.errors) == (0, 5, [])


@pytest.mark.needs("root")
def test_a_read_only_disk(place: Place) -> None:
    with small_disk(place.folder / "readonly", "20m") as disk:
        store = str(disk / "store")
        assert place.siptrail("import", place.pcap, "--store", store).code == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for where in (store, str(disk / "new")):
            told = place.mistake(3, "import", place.pcap, "--store", where)
            assert where in told and "Read-only file system" in told and "--store" in told
        where = str(disk / "x.pcap")
        told = place.mistake(3, "pcap", "call-1", "-o", where, "--pcap", place.pcap)
        assert where in told and "read-only" in told
