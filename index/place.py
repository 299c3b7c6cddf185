"""Where a store's Parquet files are: a folder, or a bucket of an S3-compatible object store.

Files are always written and sorted in a folder of this machine; `put` brings one to where the catalogue names it, which
in a folder is where it is already. Everybody else speaks of a file by its local path, whether it is here or not. It
owns what is in the bucket and the copies here; it knows nothing of tables or rows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import duckdb
from pyarrow import fs

from index.extensions import load_extension
from index.shared import Bucket

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Objects that are sent or fetched at the same time."""
CONNECT_SECONDS, REQUEST_SECONDS = 5, 30


class Place(Protocol):
    """What a store needs of the place where its files are."""

    folder: Path
    """Here files are written, in `main/TABLE/day=…/hour=…`."""
    remote: bool
    """The files are not on this machine once they are put."""

    @property
    def root(self) -> str:
        """The place as the catalogue has it."""
        ...

    def prepare(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let DuckDB read there."""

    def put(self, paths: Iterable[Path]) -> None:
        """Bring files that are written and synced to where `name` says."""

    def name(self, path: Path) -> str:
        """A file as the catalogue has it."""
        ...

    def local(self, name: str) -> Path:
        """The other way round."""
        ...

    def remove(self, paths: Iterable[Path]) -> None:
        """These files go, here and there; nothing is said where one is not there."""

    def size(self, path: Path) -> int:
        """Bytes of a file; OSError where it is not there."""
        ...

    def written(self, path: Path) -> int:
        """When a file was written (ns); OSError where it is not there."""
        ...

    def opened(self, path: Path) -> BinaryIO:
        """A file to read from, wherever it is."""
        ...

    def fetched(self, paths: Iterable[Path]) -> Any:
        """A context in which the files are here."""

    def owner(self) -> str | None:
        """Which store the place belongs to; None: to nobody yet."""
        ...

    def take(self, store: str) -> None:
        """The place belongs to this store from now on."""


class Folder:
    """Files in a folder of this machine, or of a network file system that all machines have."""

    remote = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def root(self) -> str:
        return f"{self.folder}/"

    def prepare(self, con: duckdb.DuckDBPyConnection) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, paths: Iterable[Path]) -> None:
        pass

    def name(self, path: Path) -> str:
        return str(path)

    def local(self, name: str) -> Path:
        return Path(name)

    def remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def written(self, path: Path) -> int:
        return path.stat().st_mtime_ns

    def opened(self, path: Path) -> BinaryIO:
        return open(path, "rb")

    @contextmanager
    def fetched(self, paths: Iterable[Path]) -> Iterator[None]:
        yield

    def owner(self) -> str | None:
        # Beside the folder: in it, it would go with the orphans.
        path = self.folder.with_name(f"{self.folder.name}.store")
        return path.read_text().strip() if path.exists() else None

    def take(self, store: str) -> None:
        self.folder.with_name(f"{self.folder.name}.store").write_text(f"{store}\n")


class Objects:
    """Files in a bucket; `folder` holds those that are on their way."""

    remote = True

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self.folder, self._bucket = folder, bucket
        self._prefix = bucket.url.removeprefix("s3://").strip("/")
        scheme, _, host = (bucket.endpoint or "").rpartition("://")
        self._host, self._tls = host.rstrip("/"), scheme != "http"
        self._fs = fs.S3FileSystem(
            access_key=bucket.key_id,
            secret_key=bucket.secret,
            session_token=bucket.token or None,
            region=bucket.region,
            endpoint_override=self._host or None,
            scheme="https" if self._tls else "http",
            force_virtual_addressing=not bucket.path_style,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
        )
        self._pool = ThreadPoolExecutor(AT_ONCE, "objects")

    @property
    def root(self) -> str:
        return f"s3://{self._prefix}/"

    def prepare(self, con: duckdb.DuckDBPyConnection) -> None:
        load_extension(con, "httpfs")
        b = self._bucket
        values = {
            "KEY_ID": b.key_id,
            "SECRET": b.secret,
            "SESSION_TOKEN": b.token,
            "REGION": b.region,
            "ENDPOINT": self._host,
            "URL_STYLE": "path" if b.path_style else "vhost",
        }
        said = ", ".join(f"{k} {_quoted(v)}" for k, v in values.items() if v)
        con.execute(f"CREATE SECRET siptrail (TYPE s3, {said}, USE_SSL {'true' if self._tls else 'false'})")
        # A file never changes under its name: what was read of it once need not be asked for again.
        con.execute("SET enable_http_metadata_cache = true")
        con.execute("SET parquet_metadata_cache = true")
        con.execute("SET validate_external_file_cache = 'NO_VALIDATION'")
        con.execute(f"SET http_timeout = {REQUEST_SECONDS}")
        con.execute("SET http_retries = 2")
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.rglob("*.parquet"):
            left.unlink()  # of a run that was cut short; the catalogue never named it

    def put(self, paths: Iterable[Path]) -> None:
        todo = list(paths)
        if todo:
            list(self._pool.map(self._send, todo))

    def _send(self, path: Path) -> None:
        size = path.stat().st_size
        with open(path, "rb") as here, self._fs.open_output_stream(self._key(path), buffer_size=1 << 20) as there:
            while piece := here.read(8 << 20):
                there.write(piece)
        if self.size(path) != size:
            raise OSError(f"{self.name(path)} has another size than was sent")
        path.unlink()

    def name(self, path: Path) -> str:
        return f"s3://{self._key(path)}"

    def _key(self, path: Path) -> str:
        return f"{self._prefix}/{path.relative_to(self.folder)}"

    def local(self, name: str) -> Path:
        return self.folder / name.removeprefix(self.root)

    def remove(self, paths: Iterable[Path]) -> None:
        there = True
        for path in paths:
            path.unlink(missing_ok=True)
            try:
                if there:
                    self._fs.delete_file(self._key(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                there = False  # each further try would take as long
                log.debug("%s and others stay until orphans are looked for: %s", self.name(path), error)

    def size(self, path: Path) -> int:
        return int(self._info(path).size)

    def written(self, path: Path) -> int:
        return int(self._info(path).mtime_ns)

    def _info(self, path: Path) -> fs.FileInfo:
        info = self._fs.get_file_info(self._key(path))
        if info.type is not fs.FileType.File:
            raise FileNotFoundError(2, os.strerror(2), self.name(path))
        return info

    def opened(self, path: Path) -> BinaryIO:
        file: BinaryIO = self._fs.open_input_file(self._key(path))
        return file

    @contextmanager
    def fetched(self, paths: Iterable[Path]) -> Iterator[None]:
        todo = list(paths)
        try:
            list(self._pool.map(self._fetch, todo))
            yield
        finally:
            for path in todo:
                path.unlink(missing_ok=True)

    def owner(self) -> str | None:
        try:
            with self._fs.open_input_stream(f"{self._prefix}.store") as file:
                return bytes(file.read()).decode().strip()
        except FileNotFoundError:
            return None

    def take(self, store: str) -> None:
        with self._fs.open_output_stream(f"{self._prefix}.store") as file:
            file.write(f"{store}\n".encode())

    def _fetch(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._fs.open_input_stream(self._key(path)) as there, open(path, "wb") as here:
            while piece := there.read(8 << 20):
                here.write(piece)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
