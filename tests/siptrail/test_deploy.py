"""The files in deploy/: what they start is what the command line knows, and what they name is there."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from siptrail.cli import app
from siptrail.config import load

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: s for name, s in SERVICES.items() if s["image"] == "siptrail" and "entrypoint" not in s}
KNOWN = {
    "image", "restart", "network_mode", "environment", "depends_on", "ports", "volumes", "healthcheck", "entrypoint",
    "command", "cap_add",
}  # fmt: skip
"""What of the Compose specification is used."""


def parsed(words: list[str]) -> dict[str, Any]:
    """What the command line makes of it; a mistake in it ends the test."""
    name, args = words[0], words[1:]
    sub = app.commands[name]
    return dict(sub.make_context(name, args).params)


def test_the_compose_file_starts_two_recorders_and_a_reader() -> None:
    assert set(OURS) == {"east", "west", "desk"}
    assert set().union(*SERVICES.values()) <= KNOWN
    params = {name: parsed(service["command"]) for name, service in OURS.items()}
    assert {p["node"] for p in params.values()} == set(OURS), "each its own name"
    assert len({p["listen"] for p in params.values()}) == 3, "they share a host"
    assert [name for name, p in params.items() if p["read_only"]] == ["desk"]
    assert all(params[name]["interface"] and OURS[name]["cap_add"] == ["NET_RAW"] for name in ("east", "west"))


@pytest.mark.parametrize("name", sorted(OURS))
def test_its_environment_makes_valid_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in OURS[name]["environment"].items():
        monkeypatch.setenv(key, re.sub(r"\$\{\w+:\?\}", "a-secret", str(value)))
    settings = load(None)
    shared = settings.shared()
    assert shared is not None and shared.catalogue == "postgresql://siptrail@127.0.0.1:5432/siptrail"
    assert shared.data.endpoint == "http://127.0.0.1:8333" and shared.data.secret == "a-secret"  # type: ignore[union-attr]
    assert settings.token == "a-secret" and str(settings.store) == "/var/lib/siptrail"
    assert any(volume.endswith(":/var/lib/siptrail") for volume in OURS[name]["volumes"]), "the spool outlives it"


def test_services_volumes_and_secrets_are_there() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in COMPOSE["volumes"], name
    said = (DEPLOY / "compose.yaml").read_text()
    wanted = set(re.findall(r"\$\{(\w+):\?\}", said))
    assert wanted == set(re.findall(r"(\w+)=…", said.partition("x-siptrail")[0])), "the first lines name them all"
    secrets = {key for s in OURS.values() for key, v in s["environment"].items() if "${" in str(v)}
    assert secrets == {"PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "SIPTRAIL_TOKEN"}
    postgres = SERVICES["catalogue"]["environment"]
    assert f"{postgres['POSTGRES_USER']}@" in OURS["east"]["environment"]["SIPTRAIL_CATALOGUE"]
    compile("\n".join(SERVICES["bucket"]["command"]), "bucket", "exec")


def test_the_unit_starts_a_command_that_there_is() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "siptrail.service")
    words = shlex.split(unit["Service"]["ExecStart"])
    assert Path(words[0]).name == "siptrail" and parsed(words[1:]) is not None
    made = (DEPLOY / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["siptrail"]' in made and "[cluster]" in made
