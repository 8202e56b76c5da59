"""What becomes of open flows when the policy that allowed them goes."""
import pytest

from harness.world import WORLD4
from test_control import ctl
from test_first_flight import Far

pytestmark = pytest.mark.hostd


class FarAway(Far):
    def __init__(self, net, world):
        super().__init__(net, world)
        self.client.sendall(b"\0 before")
        assert self.server.recv(100) == b"\0 before"


def test_a_revoked_connection_is_reset(gateway, world):
    net = gateway(profile="all")
    with FarAway(net, world) as far:
        ctl(net, "policy", "set", "--profile", "none")
        with pytest.raises(ConnectionResetError):
            far.client.recv(1)
        assert far.heard() == b""


def test_revoked_connections_and_conversations_can_be_kept(gateway, world):
    net = gateway("--revoked-flows", "keep", profile="all")
    with FarAway(net, world) as far, world.world.udp(WORLD4, 5001) as server, \
            net.guest.udp("0.0.0.0") as client:
        client.sendto(b"before", (WORLD4, 5001))
        server.settimeout(5)
        _, address = server.recvfrom(100)
        ctl(net, "policy", "set", "--profile", "none")
        far.client.sendall(b"after")
        assert far.server.recv(100) == b"after"
        far.server.sendall(b"answer")
        assert far.client.recv(100) == b"answer"
        client.sendto(b"after", (WORLD4, 5001))
        assert server.recvfrom(100) == (b"after", address)
        with pytest.raises(ConnectionRefusedError):
            net.guest.connect(WORLD4, 80)
