"""Commands about all calls at once: `siptrail stats`, `siptrail alerts` and `siptrail resends`."""

from __future__ import annotations

from pathlib import Path

import click

from siptrail import options
from siptrail.desks import find_desk


@click.command()
@options.as_json
@options.asked
def stats(
    as_json: bool, url: str | None, token: str | None, store: Path | None, pcap: str | None, keylog: Path | None
) -> None:
    """Count packets, messages, calls and losses."""
    from siptrail.output import stats_text

    desk = find_desk(url, token, store, pcap, keylog=keylog)
    print(stats_text(desk.stats(), as_json))
    desk.close()


@click.command()
@click.option(
    "--dry-run", "try_rules", is_flag=True, help="Try the alert rules of the configuration on recorded calls."
)
@click.option("--since", default="7d", show_default=True, help="With --dry-run: so far back.")
@options.config
@options.as_json
@options.several(options.url, options.token, options.store, options.pcap)
def alerts(
    try_rules: bool,
    since: str,
    config: Path | None,
    as_json: bool,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
) -> None:
    """Alerts that are open, or when the alert rules would have opened them."""
    from siptrail.alerting import dry_run, open_alerts
    from siptrail.config import load

    settings = load(config)
    desk = find_desk(url, token, store, pcap)
    for line in dry_run(desk, settings, since, as_json) if try_rules else open_alerts(desk, as_json):
        print(line)
    desk.close()


@click.command()
@click.option("--since", help="So far back; 1h of a service, all of a capture or store.")
@click.option("--per", default="dst", show_default=True, help="dst: requests to a host, src: those that it sends.")
@options.as_json
@options.several(options.url, options.token, options.store, options.pcap)
def resends(
    since: str | None,
    per: str,
    as_json: bool,
    url: str | None,
    token: str | None,
    store: Path | None,
    pcap: str | None,
) -> None:
    """Hosts to which requests are sent again and again: path loss, or an overloaded element."""
    from siptrail.resending import told

    desk = find_desk(url, token, store, pcap)
    for line in told(desk, since, per, as_json):
        print(line)
    desk.close()
