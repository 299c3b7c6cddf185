"""Two network namespaces joined by one veth pair, for traffic that touches nothing else."""

from __future__ import annotations

from fixtures.real.namespace import Namespace

NEAR, FAR = "192.0.2.10", "198.51.100.20"
WIRE = "near0"
"""The end of the wire that is recorded."""


class Network:
    """`near` and `far` with a wire between them."""

    def __init__(self) -> None:
        self.near = Namespace("near")
        try:
            self.far = Namespace("far")
        except BaseException:
            self.near.close()
            raise

    def __enter__(self) -> Network:
        try:
            self.connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def connect(self) -> None:
        """Lay the wire (again)."""
        self.near.ip(f"link add name {WIRE} type veth peer name far0 netns {self.far.name}")
        for namespace, device, own, other in ((self.near, WIRE, NEAR, FAR), (self.far, "far0", FAR, NEAR)):
            namespace.ip(f"address add {own} peer {other} dev {device}")
            namespace.ip(f"link set dev {device} up")

    def cut(self) -> None:
        """Take the wire away; the interfaces at both ends vanish."""
        self.near.ip(f"link delete dev {WIRE}")

    def __exit__(self, *_: object) -> None:
        try:
            self.near.close()
        finally:
            self.far.close()
