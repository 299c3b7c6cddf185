"""`siptrail show --dissect`: Wireshark's own view of each message of a call, through pyshark and tshark."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from datetime import UTC
from pathlib import Path

from sip.errors import NotFound, Unreachable
from sip.text import printable


def dissect_call(capture: bytes, sip_ports: list[int]) -> str:
    """Text of every SIP layer in `capture`, one packet after the other."""
    if shutil.which("tshark") is None:
        raise Unreachable("--dissect needs tshark; install it (Debian: apt install tshark)")
    try:
        import pyshark
        from pyshark.capture.capture import TSharkCrashException
    except ImportError as error:
        raise Unreachable("--dissect needs pyshark; install siptrail[dissect]") from error
    ports = {f"{transport}.port=={port}": "sip" for transport in ("udp", "tcp") for port in sip_ports}
    out: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "call.pcap"
        path.write_bytes(capture)
        _have_event_loop()
        packets = pyshark.FileCapture(str(path), display_filter="sip", decode_as=ports)
        try:
            for packet in packets:
                # pyshark tells the time of this machine's own zone, without saying so.
                when = packet.sniff_time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
                out.append(f"Frame {packet.number}  {when}")
                # A packet may hold several messages. What their bodies say (SDP) is part of the layer.
                for layer in packet.layers:
                    if layer.layer_name == "sip":
                        out += _fields(str(layer))
        except TSharkCrashException as error:
            reason = " ".join(str(error).split())[:200]
            raise Unreachable(f"tshark cannot dissect this call: {reason}; try `siptrail show --messages`") from error
        finally:
            packets.close()
    if not out:
        raise NotFound("tshark finds no SIP in the packets of this call; see them with `siptrail show --messages`")
    return "\n".join(out)


def _have_event_loop() -> None:
    """pyshark takes this thread's own and needs it to be there; whoever ran something before may have taken it away."""
    try:
        asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())


def _fields(layer: str) -> list[str]:
    """A layer's fields, one a line; a message's first line stands out."""
    fields = [line.lstrip(":\t ").rstrip() for line in layer.splitlines()[1:]]
    return [("  " if n == 0 else "    ") + printable(field) for n, field in enumerate(f for f in fields if f)]
