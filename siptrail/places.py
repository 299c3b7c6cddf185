"""Where the service and its store are unless told otherwise. It loads nothing: most commands need no settings."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_LISTEN = "127.0.0.1:8060"


def default_store() -> Path:
    """Where the store is unless told otherwise: /var/lib/siptrail for root, else the user's data folder."""
    if os.environ.get("STATE_DIRECTORY"):
        return Path(os.environ["STATE_DIRECTORY"].split(":")[0])
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/siptrail")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "siptrail"
