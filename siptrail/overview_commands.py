"""Commands about all calls at once: `siptrail stats`, `siptrail alerts` and `siptrail resends`."""

from __future__ import annotations

from typing import Annotated

import typer

from siptrail.desks import find_desk
from siptrail.options import AsJson, Config, Keylog, Pcap, Store, Token, Url


def stats(
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    store: Store = None,
    pcap: Pcap = None,
    keylog: Keylog = None,
) -> None:
    """Count packets, messages, calls and losses."""
    from siptrail.output import stats_text

    desk = find_desk(url, token, store, pcap, keylog=keylog)
    print(stats_text(desk.stats(), as_json))
    desk.close()


def alerts(
    try_rules: Annotated[
        bool, typer.Option("--dry-run", help="Try the alert rules of the configuration on recorded calls.")
    ] = False,
    since: Annotated[str, typer.Option("--since", help="With --dry-run: so far back.")] = "7d",
    config: Config = None,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    store: Store = None,
    pcap: Pcap = None,
) -> None:
    """Alerts that are open, or when the alert rules would have opened them."""
    from siptrail.alerting import dry_run, open_alerts
    from siptrail.config import load

    settings = load(config)
    desk = find_desk(url, token, store, pcap)
    for line in dry_run(desk, settings, since, as_json) if try_rules else open_alerts(desk, as_json):
        print(line)
    desk.close()


def resends(
    since: Annotated[
        str | None, typer.Option("--since", help="So far back; 1h of a service, all of a capture or store.")
    ] = None,
    per: Annotated[str, typer.Option("--per", help="dst: requests to a host, src: those that it sends.")] = "dst",
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    store: Store = None,
    pcap: Pcap = None,
) -> None:
    """Hosts to which requests are sent again and again: path loss, or an overloaded element."""
    from siptrail.resending import told

    desk = find_desk(url, token, store, pcap)
    for line in told(desk, since, per, as_json):
        print(line)
    desk.close()
