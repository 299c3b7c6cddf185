"""Settings from defaults, a file, variables and the command line; what is wrong is told in one line that names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sip.errors import SiptrailError
from siptrail.config import load
from siptrail.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "my.toml"


def test_the_command_line_goes_before_variables_and_those_before_the_file(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml.write_text('keep = "1d"\nnode = "file"\nlisten = "127.0.0.1:1"\nworkers = 3\n')
    monkeypatch.setenv("SIPTRAIL_NODE", "variable")
    monkeypatch.setenv("SIPTRAIL_LISTEN", "127.0.0.1:2")
    settings = load(toml, listen="127.0.0.1:3", store=None)
    assert (settings.keep, settings.node, settings.listen, settings.workers) == ("1d", "variable", "127.0.0.1:3", 3)
    assert settings.store == Settings().store, "None is not given"


def test_what_the_file_holds_becomes_what_it_is(toml: Path) -> None:
    toml.write_text(
        'store = "/srv/trail"\ninterfaces = ["eth0"]\nsip_ports = [5060, 5062]\nkeep_methods = { OPTIONS = "1d" }\n'
        '[legs]\ndigits = 9\nhosts = [["10.0.0.1", "10.0.0.2"]]\nstrip = ["1234#"]\n'
        '[s3]\nendpoint = "http://10.0.0.5:8333"\nsecret = "hidden"\n'
        '[sinks.webhook]\nurl = "https://alerts.example.com"\n'
        '[alert_rules.busy]\nfilter = "code:486"\nat_least = 5\n'
    )
    settings = load(toml)
    assert (settings.store, settings.sip_ports) == (Path("/srv/trail"), [5060, 5062])
    assert settings.legs.rules().hosts == (frozenset({"10.0.0.1", "10.0.0.2"}),)
    assert settings.legs.rules().digits == 9 and settings.legs.rules().strip == ("1234#",)
    assert settings.sinks == {"webhook": {"url": "https://alerts.example.com"}}
    assert settings.alert_rules["busy"].at_least == 5
    assert settings.s3.secret == "hidden" and "hidden" not in repr(settings), "secrets are in no log"


def test_variables_are_text_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIPTRAIL_WORKERS", "2")
    monkeypatch.setenv("SIPTRAIL_HARDWARE_TIME", "true")
    monkeypatch.setenv("SIPTRAIL_STORE", "/srv/trail")
    monkeypatch.setenv("SIPTRAIL_SIP_PORTS", "[5070]")
    monkeypatch.setenv("SIPTRAIL_LEGS", '{"digits": 8}')
    monkeypatch.setenv("SIPTRAIL_NOT_OURS", "whatever")
    settings = load(None)
    assert (settings.workers, settings.hardware_time, settings.store) == (2, True, Path("/srv/trail"))
    assert (settings.sip_ports, settings.legs.digits) == ([5070], 8)
    monkeypatch.setenv("SIPTRAIL_SIP_PORTS", "5070,5071")
    with pytest.raises(SiptrailError, match=r"the variable SIPTRAIL_SIP_PORTS cannot be read: .*; write lists as JSON"):
        load(None)


WRONG = {
    "another kind": ('workers = "many"', "setting workers in {}: Input should be a valid integer"),
    "a list that is none": ('interfaces = "eth0"', "setting interfaces in {}: Input should be a valid list"),
    "a word that is none of": ('source = "wire"', "setting source in {}: Input should be 'auto', 'ring' or 'scapy'"),
    "inside a list": ("sip_ports = [5060, true, 'x']", "setting sip_ports.2 in {}: Input should be a valid integer"),
    "no such setting": ("keeep = '7d'", "there is no setting keeep in {}; check its spelling, or remove it"),
    "nor in a table": ("[legs]\ndigit = 7", "there is no setting legs.digit in {}; check its spelling, or remove it"),
    "nor in a rule": (
        "[alert_rules.mine]\nfliter = 'code:486'",
        "there is no setting alert_rules.mine.fliter in {}; check its spelling, or remove it",
    ),
    "too few": ("ring_mb = 0", "setting ring_mb in {}: 0 is not 1 or more"),
    "too many": ("workers = 65", "setting workers in {}: 65 is not 1 to 64"),
    "digits": ("[legs]\ndigits = 3", "setting legs.digits in {}: 3 is not 4 to 15"),
    "a pattern": ("[legs]\nstrip = ['(']", "setting legs.strip in {}: '(' is no regular expression: "),
    "a server": ("[s3]\nendpoint = '10.0.0.5'", "setting s3.endpoint in {}: '10.0.0.5' is not an address of a server"),
    "a duration": ("alert_clear = 'soon'", "setting alert_clear in {}: 'soon' is not a duration; write"),
    "a method": ("keep_methods = { BYE = '1d' }", "setting keep_methods in {}: 'BYE' does not stand outside of calls"),
    "its time": ("keep_methods = { OPTIONS = '1' }", "setting keep_methods in {}: '1' is not a duration; write"),
    "a size": ("store_budget = '1'", "setting store_budget in {}: '1' is not a size; write"),
    "another size": ("spool_budget = '1'", "setting spool_budget in {}: '1' is not a size; write"),
    "a share": ("disk_high_water = '101%'", "setting disk_high_water in {}: '101%' is not a share of the disk; write"),
    "no upkeep": ("upkeep_share = 'off'", "setting upkeep_share in {}: 'off' would leave the store in disorder; write"),
    "an address": ("listen = 'x'", "setting listen in {}: 'x' is not ADDR:PORT; write"),
    "of HEP": ("hep = ['tls:x']", "setting hep in {}: 'x' is not ADDR:PORT; write"),
    "a folder": ("rules = '/no/such'", "setting rules in {}: /no/such is no folder"),
    "half a store": ("data = '/srv'", "setting settings: a shared store needs catalogue and data, and catalogue is"),
    "a catalogue": ("data = '/srv'\ncatalogue = 'x'", "setting settings: catalogue is not postgresql://"),
    "files": (
        "data = 'srv'\ncatalogue = 'postgresql://u@h/d'",
        "setting settings: data 'srv' is neither s3://BUCKET/PREFIX nor a folder from the root on",
    ),
    "to read what": ("read_only = true", "setting settings: read_only needs a shared store (catalogue and data)"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_told_in_one_line(toml: Path, text: str, said: str) -> None:
    toml.write_text(text)
    with pytest.raises(SiptrailError) as error:
        load(toml)
    assert str(error.value).startswith(said.format(toml)) and "\n" not in str(error.value)


@pytest.mark.parametrize("given", [{"listen": "x"}, {"interfaces": 7}])
def test_what_the_file_does_not_say_is_not_said_to_stand_there(toml: Path, given: dict[str, Any]) -> None:
    toml.write_text('keep = "1d"\n')
    with pytest.raises(SiptrailError) as error:
        load(toml, **given)
    assert str(error.value).startswith(f"setting {next(iter(given))}: ")


def test_who_sets_nothing_does_not_wait_for_what_checks_settings() -> None:
    code = "import sys; from siptrail.config import load; load(None); print('pydantic' in sys.modules)"
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "False", done.stdout + done.stderr
