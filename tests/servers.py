"""Real servers for tests: PostgreSQL and an S3-compatible object store (SeaweedFS), on loopback."""

from __future__ import annotations

import json
import os
import pwd
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from pyarrow import fs

from index.shared import Bucket

KEY, SECRET = "a-key", "a/secret+with=odd signs"


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's own programs."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


def weed_program() -> str | None:
    """SeaweedFS, which comes as a Python package, too."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def free_port() -> int:
    """A TCP port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A server of its own; `stop` takes it away as a crash does, `start` brings it back."""

    def __init__(self, folder: Path) -> None:
        programs = postgres_programs()
        assert programs is not None
        self._programs, self.port = programs, free_port()
        self.folder = folder
        folder.mkdir(mode=0o711)
        # It refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, pwd.getpwnam(self._user).pw_gid)
        pwfile = folder / "password"
        pwfile.write_text("pass word'1")
        pwfile.chmod(0o644)
        self._run(
            "initdb", "-D", str(folder / "data"), "-A", "scram-sha-256", "-U", "siptrail", f"--pwfile={pwfile}", "-N"
        )
        with open(folder / "data" / "postgresql.conf", "a") as conf:
            conf.write("fsync = off\nshared_buffers = 16MB\nmax_connections = 60\n")
        self.start()

    def url(self, database: str, port: int = 0) -> str:
        """Its address, with the password; `port`: where something stands before it."""
        return f"postgresql://siptrail:pass%20word'1@127.0.0.1:{port or self.port}/{database}"

    def create(self, database: str) -> str:
        """A new, empty database; returns its address."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as con:
            con.execute(f"CREATE DATABASE {database}")
        return self.url(database)

    def reader(self, database: str) -> str:
        """The address for somebody who may only read."""
        with psycopg.connect(self.url(database), autocommit=True) as con:
            con.execute("DROP ROLE IF EXISTS reader")
            con.execute("CREATE ROLE reader LOGIN PASSWORD 'r' IN ROLE pg_read_all_data")
        return self.url(database).replace("siptrail:pass%20word'1", "reader:r")

    def start(self) -> None:
        """Returns when it takes connections."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        """Without saying good-bye to anybody."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def freeze(self, number: int = signal.SIGSTOP) -> None:
        """It takes connections and says nothing any more, as a server does whose network or disk hangs."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(first)], capture_output=True, text=True, check=True)
        for process in (first, *map(int, said.stdout.split())):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def thaw(self) -> None:
        """It goes on."""
        self.freeze(signal.SIGCONT)

    def _run(self, program: str, *arguments: str) -> None:
        # What it starts must not hold a pipe of ours open.
        with open(self.folder / "said", "ab") as said:
            subprocess.run(
                [str(self._programs / program), *arguments],
                check=True,
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                user=self._user,
                cwd=self.folder,
                timeout=120,
            )


class ObjectStore:
    """SeaweedFS with its S3 gateway, in one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        (folder / "s3.json").write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": "siptrail",
                            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                            "actions": ["Admin", "Read", "Write", "List"],
                        }
                    ]
                }
            )
        )
        self._ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        self._grpc = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.files().create_dir("calls")

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    def bucket(self, prefix: str) -> Bucket:
        """How siptrail is told of it."""
        return Bucket(f"s3://calls/{prefix}", self.endpoint, key_id=KEY, secret=SECRET)

    def files(self) -> fs.S3FileSystem:
        """What is in it."""
        host = self.endpoint.removeprefix("http://")
        return fs.S3FileSystem(
            access_key=KEY, secret_key=SECRET, endpoint_override=host, scheme="http", allow_bucket_creation=True
        )

    def names(self, prefix: str) -> list[str]:
        """All objects of a store."""
        found = self.files().get_file_info(fs.FileSelector(f"calls/{prefix}", recursive=True, allow_not_found=True))
        return sorted(f.path for f in found if f.type is fs.FileType.File)

    def start(self) -> None:
        """Returns when it answers."""
        program = weed_program()
        assert program is not None
        ports = [f"-{n}.port={p}" for n, p in self._ports.items()]
        ports += [f"-{n}.port.grpc={p}" for n, p in self._grpc.items()]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    "server",
                    f"-dir={self.folder / 'data'}",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    "-filer",
                    "-s3",
                    f"-s3.config={self.folder / 's3.json'}",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    "-master.volumeSizeLimitMB=64",
                    "-volume.max=60",
                    "-volume.minFreeSpace=1MiB",
                    *ports,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                self.files().get_file_info(fs.FileSelector("", recursive=False))
                return
            except OSError:
                time.sleep(0.3)
        raise TimeoutError(f"SeaweedFS did not start; see {self.folder / 'log'}")

    def stop(self) -> None:
        """At once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)
            self._process = None


class Proxy:
    """Stands before a server. Once `last_words` are set, what contains them is passed on, its answer is not, and the
    connection ends: the client never learns what became of it."""

    def __init__(self, port: int) -> None:
        self._server = port
        self.last_words = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(("127.0.0.1", self._server)) as server,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    try:
                        data = source.recv(65536)
                        if not data:
                            return
                        target.sendall(data)
                    except OSError:
                        return
                    if source is client and self.last_words and self.last_words in data:
                        self.last_words = b""
                        server.recv(65536)  # it was done
                        return

    def close(self) -> None:
        """No more connections."""
        self._listener.close()


@contextmanager
def both() -> Iterator[tuple[Postgres, ObjectStore]]:
    """The two servers that a shared store needs."""
    # Not below pytest's folder, where PostgreSQL's own user may not go.
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o711)
        postgres = Postgres(folder / "postgres")
        try:
            objects = ObjectStore(folder / "objects")
            try:
                yield postgres, objects
            finally:
                objects.stop()
        finally:
            with suppress(subprocess.CalledProcessError):
                postgres.stop()
