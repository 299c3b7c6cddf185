"""What a user gets: the wheel holds every package file, the page and the licence, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import siptrail

ROOT = Path(__file__).parents[2]
PACKAGES = ["sip", "capture", "index", "diagnose", "alerts", "tui", "api", "siptrail"]
INFO = f"siptrail-{siptrail.__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    assert built.name == f"siptrail-{siptrail.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(built)


def test_it_holds_every_file_of_every_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    ours = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in wheel.namelist() if not name.startswith(INFO)}
    assert held == ours


def test_the_web_page_and_the_licence_are_in_it(wheel: zipfile.ZipFile) -> None:
    pages = [name for name in wheel.namelist() if name.startswith("api/page/") and name.endswith(".html")]
    assert pages and all(b"<html" in wheel.read(page) for page in pages)
    licence = wheel.read(f"{INFO}/licenses/LICENSE").decode()
    assert "Apache License" in licence and "Version 2.0, January 2004" in licence


def test_it_installs_one_command_and_no_gpl_code(wheel: zipfile.ZipFile) -> None:
    assert wheel.read(f"{INFO}/entry_points.txt").decode().split() == [
        "[console_scripts]", "siptrail", "=", "siptrail.cli:main",
    ]  # fmt: skip
    metadata = Parser().parsestr(wheel.read(f"{INFO}/METADATA").decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in needed if line.startswith("scapy")]
    pins = {line for line in needed if line.startswith("duckdb")}
    (engine,) = {pin.partition("==")[2] for pin in pins}  # the extension fits only the engine of the same version
    assert engine and len(pins) == 2
