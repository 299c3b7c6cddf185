"""Where a store that several machines share is. Plain values: settings make them before any library is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bucket:
    """An S3-compatible object store, and where in it the files are."""

    url: str
    """s3://bucket/prefix"""
    endpoint: str | None = None
    """http://host:port of the server; None: Amazon's."""
    region: str = "us-east-1"
    key_id: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    path_style: bool = True
    """The bucket is in the path of the address, not in the host's name."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Where the store of several machines is."""

    catalogue: str
    """postgresql://user@host/database"""
    data: Bucket | Path
    """A bucket, or a folder that all machines have."""
    read_only: bool = False
    """This machine changes nothing."""
