"""A store of several machines: a real PostgreSQL server and a real object store, which come and go."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from index.archive import Archive
from index.check import check
from index.cleanup import LATE_NS, Cleaner
from index.columns import HOUR_NS, to_rows
from index.compaction import compact_all
from index.lake import Lake
from index.recovery import recover, segment_rows
from index.retention import Limits, plan
from index.schema import SCHEMA_VERSION
from index.shared import Shared
from index.spool import Spool
from index.upkeep import Upkeep
from sip.errors import SiptrailError, Unreachable
from tests.index.stored import START, call, capture, listed, put

pytestmark = pytest.mark.needs("cluster")
PASSWORD = "pass word'1"
_names = itertools.count(1)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[object, object]]:
    from tests.servers import both

    with both() as (postgres, objects):
        yield postgres, objects


class Cluster:
    """One shared store, and the nodes that a test opens on it."""

    def __init__(self, servers: tuple[object, object], folder: Path) -> None:
        self.postgres, self.objects = servers
        self.name = f"lake{next(_names)}"
        self.folder = folder
        url = self.postgres.create(self.name)  # type: ignore[attr-defined]
        self.shared = Shared(url, self.objects.bucket(self.name))  # type: ignore[attr-defined]
        self._open: list[Lake] = []

    def node(self, name: str, shared: Shared | None = None) -> Lake:
        lake = Lake(self.folder / name, shared=shared or self.shared, node=name)
        self._open.append(lake)
        return lake

    def objects_there(self) -> list[str]:
        return list(self.objects.names(self.name))  # type: ignore[attr-defined]

    def close(self) -> None:
        for lake in self._open:
            lake.close()


@pytest.fixture
def cluster(servers: tuple[object, object], tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(servers, tmp_path)
    yield cluster
    cluster.close()


class Recording:
    """A node's archive with its spool, fed as capture feeds it."""

    def __init__(self, lake: Lake, name: str, budget: int | None = None) -> None:
        self.lake, self.name = lake, name
        self.archive = Archive(lake, lambda: START)
        self.archive.spool = Spool(lake.folder / "spool", budget=budget)
        self.told: list[str] = []

    def record(self, folder: Path, *call_ids: str, padding: int = 0, live: bool = True) -> None:
        path = capture(folder / "x.pcap", *(call(c, START + n * 10**7, padding) for n, c in enumerate(call_ids)))
        source, decoder = PcapFile(str(path)), Decoder(first_seq=next(_names) << 30)
        for block in source.blocks():
            for messages in [*decoder.feed(block), *decoder.flush()]:
                self.archive.add(to_rows(messages, self.name), messages if live else None)
        source.close()

    def catch_up(self) -> None:
        spool = self.archive.spool
        assert spool is not None
        for name in list(spool.parked):
            rows = segment_rows(spool.folder / name, self.name)
            assert rows is not None
            self.archive.catch_up(name, rows)
        assert not spool.parked

    def segments(self) -> list[str]:
        spool = self.archive.spool
        assert spool is not None
        return sorted(p.name for p in spool.folder.iterdir())


def test_two_nodes_record_and_a_third_reads(cluster: Cluster, tmp_path: Path) -> None:
    first, second = cluster.node("first"), cluster.node("second")
    put(first, tmp_path / "a.pcap", call("one", START), call("two", START + HOUR_NS))
    put(second, tmp_path / "b.pcap", call("three", START + 1), call("four", START + 2 * HOUR_NS))
    reading = cluster.postgres.reader(cluster.name)  # type: ignore[attr-defined]
    third = cluster.node("third", replace(cluster.shared, catalogue=reading, read_only=True))
    for lake in (first, second, third):
        assert listed(lake) == ["four", "one", "three", "two"]
    archive = Archive(third, lambda: START)
    assert [bytes(f.data) for f in archive.frames(["three"])] == [data for _, data in call("three", 0)]
    assert [r["node"] for r in third.cursor().execute(
        "SELECT DISTINCT node FROM lake.messages").to_arrow_table().to_pylist()] == ["node"]  # fmt: skip
    assert not list((tmp_path / "first").rglob("*.parquet")), "files stay on the machine that sent them"
    assert check(third, deep=True).faults == ()
    for write in (lambda: put(third, tmp_path / "c.pcap", call("five", START)), lambda: third.count(1, "x", {"a": 1})):
        with pytest.raises(SiptrailError, match="only reads"):
            write()
    assert listed(first) == ["four", "one", "three", "two"]


def test_a_folder_that_all_machines_have_serves_as_well(cluster: Cluster, tmp_path: Path) -> None:
    cluster.shared = replace(cluster.shared, data=tmp_path / "nfs")
    first, second = cluster.node("first"), cluster.node("second")
    put(first, tmp_path / "a.pcap", call("one", START))
    put(second, tmp_path / "b.pcap", call("two", START))
    assert listed(first) == listed(second) == ["one", "two"]
    assert list((tmp_path / "nfs").rglob("*.parquet"))


def test_nodes_that_start_at_once_make_one_store(cluster: Cluster) -> None:
    with ThreadPoolExecutor(3) as pool:
        lakes = list(pool.map(cluster.node, ("first", "second", "third")))
    for lake in lakes:
        assert lake.cursor().execute("SELECT value FROM lake.about WHERE name = 'schema'").fetchall() == [
            (str(SCHEMA_VERSION),)
        ]


def test_everything_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """Two nodes commit and forget segments, a third puts hours in order, a fourth reads: all rows once, always."""
    keeper, reader = cluster.node("keeper"), cluster.node("reader")
    done = threading.Event()
    trouble: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            trouble.append(error)

    def write(name: str) -> None:
        node = Recording(cluster.node(name), name)
        folder = tmp_path / f"{name}-captures"
        folder.mkdir()
        for n in range(12):
            node.record(folder, *(f"{name}-{n}-{k}" for k in range(20)))
            node.archive.flush()
        assert node.segments() == []

    def keep() -> None:
        while not done.is_set():
            compact_all(keeper, START + 1000 * HOUR_NS)

    def read() -> None:
        before = 0
        while not done.is_set():
            cur = reader.cursor()
            cur.execute("BEGIN")
            messages = cur.execute("SELECT count(*), count(DISTINCT (call_id, ts)) FROM lake.messages").fetchone()
            here = "(SELECT count(*) FROM lake.frames) + (SELECT coalesce(sum(frames), 0) FROM lake.packed)"
            frames = cur.execute(f"SELECT {here}").fetchone()
            cur.close()
            assert messages[0] == frames[0] and messages[0] == messages[1] and messages[0] % 60 == 0
            assert messages[0] >= before
            before = messages[0]

    writers = [threading.Thread(target=guarded, args=(lambda name=name: write(name),)) for name in ("a", "b")]
    others = [threading.Thread(target=guarded, args=(work,)) for work in (keep, read)]
    for thread in (*writers, *others):
        thread.start()
    for thread in writers:
        thread.join(120)
    done.set()
    for thread in others:
        thread.join(60)
    assert not trouble
    compact_all(keeper, START + 1000 * HOUR_NS)
    names = sorted(f"{name}-{n}-{k}" for name in "ab" for n in range(12) for k in range(20))
    assert listed(reader) == names and check(reader, deep=True).faults == ()


def test_without_the_catalogue_a_node_goes_on_and_catches_up(cluster: Cluster, tmp_path: Path) -> None:
    node, other = Recording(cluster.node("first"), "first"), cluster.node("second")
    node.record(tmp_path, "before")
    assert node.archive.flush() == 3
    cluster.postgres.stop()  # type: ignore[attr-defined]
    try:
        node.record(tmp_path, "during", "during2")
        for work in (node.archive.flush, lambda: node.archive.calls(None, 10)):
            with pytest.raises(Unreachable) as told:
                work()
            assert "\n" not in str(told.value) and PASSWORD not in str(told.value)
            assert "pass%20word" not in str(told.value) and "127.0.0.1" in str(told.value)
        with node.archive.fresh_will_do():
            assert {c.call_id for c in node.archive.calls_of(["before", "during"], 0)} == {"during"}
            assert len(node.archive.traces(["during"])["during"].messages) == 3
        assert node.archive.park() == (6, (0, 0, 0))
        assert node.archive.hot_rows() == (0, 0) and len(node.segments()) == 1
        node.record(tmp_path, "later")
    finally:
        cluster.postgres.start()  # type: ignore[attr-defined]
    node.archive.flush()
    node.catch_up()
    assert listed(other) == ["before", "during", "during2", "later"] and node.segments() == []
    assert not cluster.node("third").spooled()


def test_without_the_object_store_a_node_goes_on_and_catches_up(cluster: Cluster, tmp_path: Path) -> None:
    node = Recording(cluster.node("first"), "first")
    node.record(tmp_path, "before")
    node.archive.flush()
    cluster.objects.stop()  # type: ignore[attr-defined]
    try:
        node.record(tmp_path, "during")
        with pytest.raises(Unreachable):
            node.archive.flush()
        assert not list((node.lake.folder / "outgoing").rglob("*.parquet")), "what was not sent takes room"
        node.archive.park()
    finally:
        cluster.objects.start()  # type: ignore[attr-defined]
    node.catch_up()
    assert listed(node.lake) == ["before", "during"] and node.segments() == []


def test_what_has_no_room_in_the_spool_is_counted(cluster: Cluster, tmp_path: Path) -> None:
    node = Recording(cluster.node("first"), "first", budget=6000)
    cluster.postgres.stop()  # type: ignore[attr-defined]
    try:
        node.record(tmp_path, *(f"fits{n}" for n in range(3)))
        assert node.archive.park()[1][0] == 0
        node.record(tmp_path, *(f"much{n}" for n in range(5)), padding=2000)
        count, (lost, first, last) = node.archive.park()
    finally:
        cluster.postgres.start()  # type: ignore[attr-defined]
    assert count == lost == 15 and START <= first < last < START + 10**9
    node.catch_up()
    assert listed(node.lake) == ["fits0", "fits1", "fits2"]
    # What went made room.
    node.record(tmp_path, "again")
    assert node.archive.park() == (3, (0, 0, 0))


def test_capture_goes_on_while_the_catalogue_hangs(cluster: Cluster, tmp_path: Path) -> None:
    """Whoever writes, reads or lets go of a cursor waits for the server; whoever hands over packets does not."""
    node = Recording(cluster.node("first"), "first")
    node.record(tmp_path, "before")
    node.archive.flush()
    node.record(tmp_path, "fresh")
    frozen = threading.Event()
    lag: list[str] = []
    inside = threading.Event()

    def hold_a_look() -> None:
        with node.archive._look() as look:
            look.cur.execute("SELECT count(*) FROM lake.messages").fetchall()
            inside.set()
            frozen.wait(30)

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(hold_a_look)]
        inside.wait(30)
        cluster.postgres.freeze()  # type: ignore[attr-defined]
        # Should capture wait after all, it must not wait for ever.
        late = threading.Timer(20, lambda: (lag.append("capture waited"), cluster.postgres.thaw()))  # type: ignore[attr-defined]
        late.start()
        frozen.set()
        work += [pool.submit(node.archive.flush), pool.submit(node.archive.calls, None, 10)]
        work.append(pool.submit(node.archive.call, "before"))
        for n in range(40):
            node.record(tmp_path, f"during{n}")
            threading.Event().wait(0.05)
        assert not lag and not work[1].done()
        late.cancel()
        cluster.postgres.thaw()  # type: ignore[attr-defined]
        for one in work:
            one.result(60)
    node.archive.flush()
    assert listed(node.lake) == sorted(["before", "fresh", *(f"during{n}" for n in range(40))])


def test_a_lost_answer_while_nothing_is_spooled_is_not_done_twice(cluster: Cluster, tmp_path: Path) -> None:
    """What an import put into memory is in no segment; and the store may be away again when doubt is settled."""
    from tests.servers import Proxy

    proxy = Proxy(cluster.postgres.port)  # type: ignore[attr-defined]
    through = replace(cluster.shared, catalogue=cluster.postgres.url(cluster.name, proxy.port))  # type: ignore[attr-defined]
    node = Recording(cluster.node("first", through), "first")
    node.record(tmp_path, "one", live=False)
    proxy.last_words = b"COMMIT"
    with pytest.raises(Unreachable):
        node.archive.flush()
    node.record(tmp_path, "two")
    # It is seen that it was done; then the name cannot be forgotten.
    proxy.last_words = b"pg_advisory_lock"
    node.archive.flush()
    assert proxy.last_words == b""
    node.record(tmp_path, "three")
    node.archive.flush()
    assert listed(node.lake) == ["one", "three", "two"] and not node.lake.spooled()
    proxy.close()


def test_parking_leaves_imports_alone(cluster: Cluster, tmp_path: Path) -> None:
    node = Recording(cluster.node("first"), "first")
    node.record(tmp_path, "imported", live=False)
    node.record(tmp_path, "live")
    assert node.archive.park() == (3, (0, 0, 0)) and node.archive.hot_rows()[0] == 3
    node.catch_up()
    node.archive.flush()
    assert listed(node.lake) == ["imported", "live"]


def test_a_place_belongs_to_one_catalogue(cluster: Cluster, tmp_path: Path) -> None:
    put(cluster.node("first"), tmp_path / "a.pcap", call("one", START))
    other = cluster.postgres.create(f"{cluster.name}x")  # type: ignore[attr-defined]
    with pytest.raises(Unreachable, match="another catalogue"):
        Lake(tmp_path / "n", shared=replace(cluster.shared, catalogue=other))
    elsewhere = replace(cluster.shared, data=cluster.objects.bucket(f"{cluster.name}x"))  # type: ignore[attr-defined]
    made = Lake(tmp_path / "m", shared=replace(elsewhere, catalogue=other))
    made.close()
    with pytest.raises(Unreachable, match="does not belong"):
        Lake(tmp_path / "n", shared=replace(elsewhere, catalogue=cluster.shared.catalogue))
    assert listed(cluster.node("second")) == ["one"]


def test_no_question_tells_the_password_while_the_catalogue_is_away(cluster: Cluster, tmp_path: Path) -> None:
    from index.captures import known
    from index.inventory import inventory

    lake = cluster.node("first")
    cluster.postgres.stop()  # type: ignore[attr-defined]
    limits = Limits(HOUR_NS)
    questions: list[Callable[[], object]] = [
        lake.spooled,
        lake.counts,
        lambda: lake.losses(0, 1),
        lake.size,
        lambda: plan(lake, limits, START),
        lambda: compact_all(lake, START),
        lambda: inventory(lake),
        lambda: check(lake),
        lambda: known(lake, "x"),
        lambda: Cleaner(lake).clean(START),
        lambda: lake.count(1, "first", {"a": 1}),
    ]
    try:
        for ask in questions:
            with pytest.raises(Unreachable) as told:
                ask()
            text = str(told.value)
            assert "\n" not in text and "pass word" not in text and "pass%20wor" not in text
    finally:
        cluster.postgres.start()  # type: ignore[attr-defined]


@pytest.mark.parametrize("parked", [False, True])
def test_a_commit_whose_answer_is_lost_is_not_done_twice(cluster: Cluster, tmp_path: Path, parked: bool) -> None:
    from tests.servers import Proxy

    proxy = Proxy(cluster.postgres.port)  # type: ignore[attr-defined]
    cluster.node("first")
    through = replace(cluster.shared, catalogue=cluster.postgres.url(cluster.name, proxy.port))  # type: ignore[attr-defined]
    node = Recording(cluster.node("second", through), "second")
    node.record(tmp_path, "one", "two")
    proxy.last_words = b"COMMIT"
    with pytest.raises(Unreachable):
        node.archive.flush()
    assert proxy.last_words == b"", "there was no commit that could be lost"
    assert listed(cluster.node("third")) == ["one", "two"], "the server did it"
    node.record(tmp_path, "three")
    if parked:
        node.archive.park()
        node.catch_up()
    else:
        node.archive.flush()
    assert listed(node.lake) == ["one", "three", "two"] and node.segments() == []
    assert check(node.lake).faults == ()
    proxy.close()


def test_after_a_crash_each_node_recovers_its_own_segments(cluster: Cluster, tmp_path: Path) -> None:
    for name in ("first", "second"):
        node = Recording(cluster.node(name), name)
        node.record(tmp_path, f"{name}-call")
        assert node.archive.spool is not None
        node.archive.spool.close()  # it stops here, and its rows with it
        node.lake.close()
    for name in ("first", "second"):
        again = Recording(Lake(cluster.folder / name, shared=cluster.shared, node=name), name)
        recover(again.archive, name, again.told.append)
        assert again.told == ["1 segments of the last run are being stored"]
        again.catch_up()
        again.lake.close()
    assert listed(cluster.node("third")) == ["first-call", "second-call"]


def test_one_node_at_a_time_does_the_upkeep(cluster: Cluster, tmp_path: Path) -> None:
    first, second = cluster.node("first"), cluster.node("second")
    put(first, tmp_path / "a.pcap", call("one", START))
    put(first, tmp_path / "b.pcap", call("two", START), call("old", START - 400 * HOUR_NS))
    limits = Limits(HOUR_NS * 168, high_water=0.01)
    assert [r.reason for r in plan(second, limits, START + HOUR_NS)] == ["age"], "a bucket has no disk that is full"
    ours, theirs = Upkeep(first, limits, "first"), Upkeep(second, limits, "second")
    with first.catalogue.keeping() as mine:
        assert mine
        theirs.round(START + HOUR_NS)
        assert "old" in listed(second)
        with pytest.raises(SiptrailError, match="another machine"):
            theirs.retain(START + HOUR_NS)
    ours.round(START + HOUR_NS)
    assert listed(second) == ["one", "two"]
    before = cluster.objects_there()
    assert Cleaner(second).clean(first_time() + 2 * LATE_NS, 0) > 0
    assert len(cluster.objects_there()) < len(before)
    assert check(first, deep=True).faults == ()


def first_time() -> int:
    """Now, as snapshots have it."""
    import time

    return time.time_ns()


def test_a_missing_object_is_told(cluster: Cluster, tmp_path: Path) -> None:
    lake = cluster.node("first")
    put(lake, tmp_path / "a.pcap", call("one", START), call("two", START + HOUR_NS))
    path = next(n for n in cluster.objects_there() if "/messages/" in n)
    cluster.objects.files().delete_file(path)  # type: ignore[attr-defined]
    (fault,) = check(lake).faults
    assert fault.table == "messages" and "no such file" in fault.what


def test_what_is_wrong_is_told_in_one_line_without_the_password(cluster: Cluster, tmp_path: Path) -> None:
    cases = {
        "authentication failed": replace(cluster.shared, catalogue=cluster.shared.catalogue.replace("word", "wort")),
        "refused": replace(cluster.shared, catalogue=re.sub(r":\d+/", ":1/", cluster.shared.catalogue)),
        "does not exist": replace(cluster.shared, catalogue=cluster.shared.catalogue + "x"),
    }
    for n, (what, shared) in enumerate(cases.items()):
        with pytest.raises(Unreachable, match=what) as told:
            Lake(tmp_path / f"n{n}", shared=shared)
        text = str(told.value)
        assert "\n" not in text and "pass word" not in text and "pass%20wor" not in text
    (tmp_path / "own").mkdir()
    Lake(tmp_path / "own").close()
    with pytest.raises(Unreachable, match="a store of its own"):
        Lake(tmp_path / "own", shared=cluster.shared)
