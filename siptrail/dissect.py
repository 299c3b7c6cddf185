"""`siptrail show --dissect`: Wireshark's own tree of each message of a call, through pyshark and tshark."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sip.errors import Unreachable
from sip.text import printable


def dissect_call(capture: bytes, sip_ports: list[int]) -> str:
    """Text of every SIP layer in `capture`, one packet after the other."""
    if shutil.which("tshark") is None:
        raise Unreachable("--dissect needs tshark; install it (Debian: apt install tshark)")
    try:
        import pyshark
    except ImportError as error:
        raise Unreachable("--dissect needs pyshark; install siptrail[dissect]") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "call.pcap"
        path.write_bytes(capture)
        packets = pyshark.FileCapture(
            str(path), display_filter="sip", decode_as={f"udp.port=={p}": "sip" for p in sip_ports}
        )
        try:
            out = []
            for packet in packets:
                out.append(f"Frame {packet.number}  {packet.sniff_time.isoformat()}  {packet.highest_layer}")
                out += [
                    f"  {printable(line)}"
                    for layer in packet.layers
                    if layer.layer_name in ("sip", "sdp")
                    for line in str(layer).splitlines()
                ]
            return "\n".join(out)
        finally:
            packets.close()
