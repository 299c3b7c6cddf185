"""`siptrail explain`: every kind of topic by the names that people use, and what is not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from diagnose.engine import load_rules
from diagnose.explain import KINDS, STATUSES
from diagnose.glossary import TERMS, by_name, key
from diagnose.texts.causes import CAUSES
from diagnose.texts.methods import METHODS
from sip.codes import Q850, STATUS
from sip.errors import NotFound
from siptrail.cli import app


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def told(*topic: str) -> list[dict[str, Any]]:
    """All meanings of a topic."""
    answer = json.loads(run(*topic, "--json").stdout)
    assert answer["topic"] == " ".join(topic)
    found: list[dict[str, Any]] = answer["explanations"]
    return found


GOLDEN = """\
488 Not Acceptable Here  (status)
  The session described in the SDP is not acceptable at this place: codecs, SRTP
  or plain, media type, direction.
    - made of Q.850 cause 65 (Bearer capability not implemented) by RFC 3398
      section 7.2.4.1
    - made of Q.850 cause 70 (Only restricted digital information available) by
      RFC 3398 section 7.2.4.1
  Next: Put offer and Warning header side by side; `siptrail show CALL-ID
        --media` does.
  See:  RFC 3261 section 21.4.26
"""


def test_a_status_code_for_people() -> None:
    assert run("488").stdout == GOLDEN


@pytest.mark.parametrize(
    ("topic", "kind", "name"),
    [
        ("488", "status", "488 Not Acceptable Here"),
        ("sip 488", "status", "488 Not Acceptable Here"),
        ("not acceptable here", "status", "488 Not Acceptable Here"),
        ("499", "status", "499 Client Error"),
        ("q850:34", "q850", "Q.850 cause 34: No circuit available"),
        ("Q.850 34", "q850", "Q.850 cause 34: No circuit available"),
        ("Q.850;cause=34", "q850", "Q.850 cause 34: No circuit available"),
        ("cause 34", "q850", "Q.850 cause 34: No circuit available"),
        ("34", "q850", "Q.850 cause 34: No circuit available"),
        ("user busy", "q850", "Q.850 cause 17: User busy"),
        ("prack", "method", "PRACK"),
        ("missing-rport", "finding", "missing-rport"),
        ("Missing RPORT", "finding", "missing-rport"),
        ("pdd", "term", "post-dial delay"),
        ("Post Dial Delay", "term", "post-dial delay"),
        ("SBC", "term", "B2BUA"),
        ("stir/shaken", "term", "STIR/SHAKEN"),
        *((t, "term", t) for t in ("annexb", "ACD", "NER", "B2BUA", "rport", "record-route", "glare", "early media")),
        *((t, "term", t) for t in ("comedia", "hairpin", "SIP ALG")),
    ],
)
def test_topics_are_found_by_the_names_people_use(topic: str, kind: str, name: str) -> None:
    first = told(*topic.split())[0]
    assert (first["kind"], first["name"]) == (kind, name)
    assert first["means"] and first["look"] and first["reference"]


def test_a_bare_number_may_mean_both() -> None:
    assert [e["name"] for e in told("100")] == ["100 Trying", "Q.850 cause 100: Invalid information element contents"]


def test_a_cause_tells_its_sip_code() -> None:
    assert told("q850:34")[0]["facts"] == ["in SIP: 503 Service Unavailable (RFC 3398 section 7.2.4.1)"]
    assert "in SIP: BYE or CANCEL" in told("cause", "16")[0]["facts"][0]
    assert "in SIP: 500, as every cause" in told("cause", "4")[0]["facts"][0]


def test_a_sum_of_a_nat_test_is_taken_apart_per_dialect() -> None:
    both = told("nat_uac_test", "96")
    assert [e["name"] for e in both] == ["kamailio nat_uac_test 96", "opensips nat_uac_test 96"]
    assert [f.split(":")[0] for f in both[0]["facts"]] == ["32  private source", "64  WebSocket"]
    assert [f.split(":")[0] for f in both[1]["facts"]] == ["32  diff-ip-src-contact", "64  diff-port-src-contact"]
    (one,) = told("opensips", "nat_uac_test", "19")
    assert one["name"] == "opensips nat_uac_test 19" and one["means"].startswith("19 = 1 + 2 + 16.")
    assert [e["name"] for e in told("kamailio", "19")] == ["kamailio nat_uac_test 19"]
    assert told("client_nat_test", "8")[0]["facts"] == ["8  no test of kamailio"]
    assert len(told("nat_uac_test")[0]["facts"]) == 9, "all flags where no number is given"


def test_a_users_own_rule_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_user_agent.py").write_text(
        '"""A phone that we do not buy any more."""\nSEVERITY = "info"\n\n\ndef check(call):\n    return []\n'
    )
    monkeypatch.setenv("SIPTRAIL_RULES", str(tmp_path))
    (own,) = told("odd-user-agent")
    assert (own["means"], own["severity"], own["reference"]) == ("A phone that we do not buy any more.", "info", "")


@pytest.mark.parametrize("rule", load_rules(), ids=lambda r: r.name)
def test_every_finding_tells_severity_and_reference(rule: Any) -> None:
    (e, *_) = told(rule.name)
    assert e["kind"] == "finding" and e["severity"] and e["reference"]


@pytest.mark.parametrize(
    ("topic", "near"),
    [("hairpn", "hairpin"), ("misssing-rport", "missing-rport"), ("INVTE", "INVITE"), ("nat_uac_tst", "nat_uac_test")],
)
def test_what_is_not_known_names_what_is_near(topic: str, near: str) -> None:
    with pytest.raises(NotFound) as error:
        run(topic)
    assert near in str(error.value) and "\n" not in str(error.value) and error.value.exit_code == 1


@pytest.mark.parametrize("topic", ["q850:0", "cause 5000", "zzzzzzzz", "\x1b[2J", "0", "nat_uac_test 1 2"])
def test_nonsense_is_not_found(topic: str) -> None:
    with pytest.raises(NotFound):
        run(*topic.split())


def test_without_a_topic_the_kinds_are_listed_and_each_example_works() -> None:
    text = run().stdout
    assert all(example in text for _, _, example in KINDS)
    for kind, _, example in KINDS:
        assert told(*example.split())[0]["kind"] == kind
    assert [k["kind"] for k in json.loads(run("--json").stdout)["kinds"]] == [k for k, _, _ in KINDS]


def test_nothing_registered_is_without_a_text_and_lines_fit() -> None:
    assert set(STATUSES) == set(STATUS) and set(CAUSES) == set(Q850)
    for topic in (*map(str, STATUSES), *(f"q850:{c}" for c in CAUSES), *METHODS, *TERMS, "nat_uac_test"):
        assert max(map(len, run(topic).stdout.splitlines())) <= 80, topic


def test_no_two_terms_share_a_name() -> None:
    names = [key(n) for term, text in TERMS.items() for n in {term, *text.names}]
    assert sorted(names) == sorted(set(names)) == sorted(by_name())
