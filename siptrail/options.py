"""Options that several commands share, with the words of their help, and groups of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Commands(click.Group):
    """Commands in the order in which they were written down, which is that of a day's work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What each of them does, in a whole sentence."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(limit=1000)) for name, command in self.commands.items()]
            )


class Count(click.IntRange):
    """A number of things; errors call it that."""

    name = "number"


PATH = click.Path(readable=False, path_type=Path)
"""A file or a folder; whoever opens it says what is wrong with it."""


def path(*names: str, **given: Any) -> Callable[[Command], Command]:
    """An option that names one."""
    return click.option(*names, type=PATH, **given)


url = click.option(
    "--url", envvar="SIPTRAIL_URL", show_envvar=True, help="The service to ask (default: the local one)."
)
token = click.option("--token", envvar="SIPTRAIL_TOKEN", show_envvar=True, help="The service's token.")
store = path("--store", help="Open this store directly (no service may have it open).")
pcap = click.option("--pcap", help="Read this capture file alone; '-' is standard input.")
keylog = path("--keylog", help="TLS secrets (SSLKEYLOGFILE) that open the capture file; needs tshark.")
legs = click.option("--legs", is_flag=True, help="Together with the legs that are the same call beyond a switch.")
as_json = click.option("--json", "as_json", is_flag=True, help="For machines.")
config = path("--config", help="A TOML file with settings.")


def several(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """All of them, in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


asked = several(url, token, store, pcap, keylog)
"""Where calls are looked for: a service, a store or a capture file."""
