"""Options that several commands share, with the words of their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str | None, typer.Option("--url", help="The service to ask (default: the local one).", envvar="SIPTRAIL_URL")
]
Token = Annotated[str | None, typer.Option("--token", help="The service's token.", envvar="SIPTRAIL_TOKEN")]
Store = Annotated[Path | None, typer.Option("--store", help="Open this store directly (no service may have it open).")]
Pcap = Annotated[str | None, typer.Option("--pcap", help="Read this capture file alone; '-' is standard input.")]
Keylog = Annotated[
    Path | None,
    typer.Option("--keylog", help="TLS secrets (SSLKEYLOGFILE) that open the capture file; needs tshark."),
]
Legs = Annotated[bool, typer.Option("--legs", help="Together with the legs that are the same call beyond a switch.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.")]
