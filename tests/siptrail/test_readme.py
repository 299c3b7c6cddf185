"""The README's own commands: each one names a command, options and make targets that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from siptrail.cli import app
from siptrail.settings import Settings

ROOT = Path(__file__).parents[2]
NAMED = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"]
DOCUMENTS = [*(ROOT / name for name in NAMED), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[list[str]]:
    """Every command of the bash blocks as words: continued lines joined, comments dropped, pipes taken apart."""
    found: list[list[str]] = []
    for block in BLOCK.findall(document.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            reader = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|;&<>")
            reader.whitespace_split = True
            words: list[str] = []
            for word in reader:
                if set(word) <= set("|;&"):
                    found.append(words)
                    words = []
                else:
                    words.append(word)
            found.append(words)
    return [words for words in found if words]


def program(words: list[str]) -> tuple[str, list[str]]:
    """The program's name and its arguments, without sudo before it or a redirection after it."""
    words = words[1:] if words[0] == "sudo" else words
    end = next((n for n, word in enumerate(words) if set(word) <= set("<>")), len(words))
    return Path(words[0]).name, words[1:end]


SHOWN = [(document.name, *program(words)) for document in DOCUMENTS for words in commands(document)]
SIPTRAIL = [(name, arguments) for name, command, arguments in SHOWN if command == "siptrail"]
MAKE = [(name, arguments) for name, command, arguments in SHOWN if command == "make"]


def test_the_readme_has_commands_to_check() -> None:
    shown = {arguments[0] for name, arguments in SIPTRAIL if name == "README.md"}
    assert {"run", "import", "calls", "show", "ladder", "pcap", "diagnose", "stats", "tui"} <= shown
    assert {"run", "test", "check", "bench"} <= {arguments[0] for name, arguments in MAKE if name == "README.md"}


@pytest.mark.parametrize(("name", "arguments"), SIPTRAIL)
def test_the_command_line_is_understood(
    name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for argument in arguments:
        if argument.endswith((".pcap", ".gz", ".toml")):
            Path(argument).touch()
    # Parsing only, nothing runs: an unknown command or option, or a missing argument, raises a usage error.
    context = app.make_context("siptrail", list(arguments), resilient_parsing=False)
    command_name, command, rest = app.resolve_command(context, list(arguments))
    assert command is not None
    command.make_context(command_name, rest, parent=context)


@pytest.mark.parametrize(("name", "arguments"), MAKE)
def test_the_make_target_exists(name: str, arguments: list[str]) -> None:
    dry = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert documented == {field.name for field in fields(Settings)}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["no-such-command"], 2),
        (["calls", "--no-such-option"], 2),
        (["show"], 2),
        (["calls", "--store", "no-such-store"], 3),
    ],
)
def test_mistakes_end_with_the_exit_code_the_readme_promises(arguments: list[str], code: int, tmp_path: Path) -> None:
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); from siptrail.cli import main; main()"
    command = [sys.executable, "-c", script, str(ROOT), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.strip()


def test_no_command_at_all_lists_the_commands_and_nothing_else(tmp_path: Path) -> None:
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); from siptrail.cli import main; main()"
    for arguments in ([], ["store"]):
        command = [sys.executable, "-c", script, str(ROOT), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (2, "")
        assert done.stdout.startswith(f"Usage: siptrail {'store ' if arguments else ''}[OPTIONS] COMMAND")
        assert "..." not in done.stdout.split("Commands:")[1], "each of them in a whole sentence"
