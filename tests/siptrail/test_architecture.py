"""Which package may import which: import-linter reads the source, and a fresh interpreter shows what really loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ["sip", "capture", "index", "diagnose", "alerts", "tui", "api", "siptrail"]
# What loading every module of a package must leave unloaded. siptrail wires all of it together, so it has no row.
# The compiler waits for the first kernel that runs.
MUST_NOT_LOAD = {
    "sip": ["textual", "fastapi", "numpy", "numba", "llvmlite", "pyarrow", "duckdb", "dpkt", "httpx", "scapy"],
    "capture": ["numba", "textual", "fastapi", "duckdb", "httpx"],
    "index": ["numba", "llvmlite", "textual", "fastapi", "httpx"],
    "diagnose": ["numba", "llvmlite", "textual", "fastapi", "httpx"],
    "alerts": ["numba", "llvmlite", "textual", "fastapi"],
    "tui": ["numba", "llvmlite", "fastapi", "starlette", "uvicorn"],
    "api": ["numba", "llvmlite", "textual"],
}
LOAD_ALL = """
import importlib, json, pkgutil, sys
name = sys.argv[1]
package = importlib.import_module(name)
modules = [m.name for m in pkgutil.walk_packages(package.__path__, name + ".")]
for module in modules:
    importlib.import_module(module)
print(json.dumps({"modules": modules, "loaded": sorted({m.partition(".")[0] for m in sys.modules})}))
"""


def loaded_by(package: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOAD_ALL, package], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["modules"], f"{package} has no modules"
    return set(report["loaded"])


def test_import_linter_keeps_its_contracts() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", MUST_NOT_LOAD)
def test_package_loads_nothing_that_is_not_its_business(package: str) -> None:
    loaded = loaded_by(package)
    assert not loaded & set(MUST_NOT_LOAD[package])
    above = set(PACKAGES[PACKAGES.index(package) + 1 :]) - ({"api"} if package == "tui" else set())  # its client
    assert not loaded & above, f"{package} loads a package above it"


def test_nothing_that_starts_threads_is_loaded_before_rights_are_given_up() -> None:
    # A thread keeps the rights that it was born with, whatever its process gives up later.
    code = (
        "import siptrail.cli, siptrail.config, siptrail.account, capture.packetsockets, os, sys;"
        "siptrail.config.load(None);"
        "print(len(os.listdir('/proc/self/task')) if os.path.exists('/proc/self/task') else 1,"
        "*[m for m in ('pyarrow', 'duckdb', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stdout + done.stderr


def test_every_package_module_says_what_it_owns() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, f"modules without a docstring: {silent}"
