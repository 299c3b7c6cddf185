"""DuckDB's extensions as their wheels carry them: nothing is downloaded where the wheel is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb

from sip.errors import Unreachable

WHEELS = {
    "ducklake": "duckdb-extension-ducklake",
    "httpfs": "duckdb-extension-httpfs",
    "postgres_scanner": "duckdb-extension-postgres-scanner",
}


def carried(name: str) -> dict[str, bool]:
    """How to open an engine that needs only this extension.

    Where its wheel is installed, pip has checked the file as it checks all other machine code of the program, and the
    engine need not work out its signature once more (some 70 ms, which each command that opens a store would wait for).
    Such an engine fetches nothing: `load_extension` does so without the wheel only."""
    if _wheel(name) is None:
        return {}
    return {
        "allow_unsigned_extensions": True,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def _wheel(name: str) -> Path | None:
    """Where the wheel is installed."""
    found = importlib.util.find_spec(WHEELS[name].replace("-", "_"))
    return Path(found.origin).parent if found is not None and found.origin else None


def load_extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load one extension; Unreachable where it cannot be had."""
    wheel, folder = WHEELS[name], _wheel(name)
    if folder is None:
        try:
            con.execute(f"INSTALL {name}")
            con.execute(f"LOAD {name}")
        except duckdb.Error as error:
            hint = "" if name == "ducklake" else ": pip install 'siptrail[cluster]'"
            raise Unreachable(f"DuckDB's extension {name} is missing; install {wheel}{hint}") from error
        return
    found = sorted(folder.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension"))
    if not found:
        raise Unreachable(
            f"the installed {wheel} does not fit duckdb {duckdb.__version__}; install both in one version"
        )
    con.execute("LOAD '" + str(found[0]).replace("'", "''") + "'")
