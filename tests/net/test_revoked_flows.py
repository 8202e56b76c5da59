"""What becomes of open flows when the policy that allowed them goes."""
import errno
import os
import select
import socket
import time

import pytest

from harness.clients import connect_error
from harness.gateway import GATEWAY4
from harness.netns import wait_for
from harness.recorder import TCP, Recorder
from harness.world import HOST4, PUBLIC4, WORLD4
from test_control import ctl, ctl_json
from test_first_flight import Far
from test_ports import open_folder    # noqa: F401, fixture

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
        server.settimeout(30)
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


def test_a_revoked_udp_flow_is_over_with_the_answer_to_the_change(gateway, world):
    net = gateway("--events", "all", profile="all")
    with world.world.udp("0.0.0.0", 5001) as server, net.guest.udp("0.0.0.0") as client:
        fds = net.fd_count()
        for address in (WORLD4, PUBLIC4):
            client.sendto(b"before", (address, 5001))
            server.recvfrom(100)
        assert net.fd_count() == fds + 1
        for denied in (WORLD4, PUBLIC4):
            one = next(flow for flow in ctl_json(net, "flows")["flows"]
                       if flow["remote"].startswith(denied))
            ctl(net, "policy", "set", f"deny@{WORLD4}", f"deny@{denied}", "--profile", "all")
            left = ctl_json(net, "flows")["flows"]
            assert one["id"] not in [flow["id"] for flow in left]
            assert len(left) == (denied == WORLD4)
            ends = [event for event in ctl_json(net, "events")["events"]
                    if event["event"] == "closed" and event["flow"] == one["id"]]
            assert len(ends) == 1 and ends[0]["tx_bytes"] == 6
        wait_for(lambda: net.fd_count() == fds, what="its socket is closed")
        client.connect((WORLD4, 5001))
        client.send(b"after")
        with pytest.raises(OSError, match="No route to host"):      # ICMP says: prohibited
            client.recv(1)
        assert not select.select([server], [], [], 0)[0]


class Client:
    """A connection of the world to the guest's published port 80, which carried a byte each way."""

    def __init__(self, net, world, listener, source=WORLD4):
        self.client = world.world.connect(HOST4, net.port(80), source=(source, 0))
        self.server, peer = listener.accept()
        self.server.settimeout(30)
        assert peer[0] == source
        self.check(b"1")

    def check(self, text):
        for one, other in ((self.client, self.server), (self.server, self.client)):
            one.sendall(text)
            assert other.recv(100) == text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.close()


DENY_CLIENT = ("policy", "set", f"deny:ingress@{WORLD4}", "--profile", "none")


def test_a_client_that_a_new_policy_denies_is_reset_at_both_ends_and_another_notices_nothing(
        gateway, world):
    net = gateway(publish=[f"{HOST4}:0:80"])
    with net.guest.listen("0.0.0.0", 80) as listener, Client(net, world, listener) as denied, \
            Client(net, world, listener, PUBLIC4) as other:
        ctl(net, *DENY_CLIENT)
        for end in (denied.client, denied.server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        other.check(b"after")
        with pytest.raises(ConnectionResetError):
            world.world.connect(HOST4, net.port(80)).recv(1)


def test_what_the_host_had_of_a_denied_client_never_reaches_the_guest(gateway, world):
    """Bytes wait on all sides: neither server nor client reads when the change comes."""
    net = gateway(publish=[f"{HOST4}:0:80"])
    with net.guest.listen("0.0.0.0", 80) as listener, Client(net, world, listener) as denied:
        ends = (denied.client, denied.server)
        for end in ends:
            end.setblocking(False)
        quiet = time.monotonic()
        while time.monotonic() - quiet < 0.5:           # until nobody takes anything
            for end in select.select([], ends, [], 0.05)[1]:
                if end.send(b"x" * 65536):
                    quiet = time.monotonic()
        with Recorder(net.guest, snap=128) as inside, Recorder(world.world, snap=128) as outside:
            ctl(net, *DENY_CLIENT)
            after = time.time_ns()
            # Frames keep their order: what was on its way to the guest is there before this answer.
            assert connect_error(net.guest, GATEWAY4, 9)[0] == errno.ECONNREFUSED
            there = time.time_ns()
            for end in ends:
                wait_for(lambda: _is_reset(end), what="both ends are reset")
            outside.settle(world.host, WORLD4)
            late = [p for seen, since in ((inside, there), (outside, after)) for p in seen.packets
                    if not p.outgoing and p.proto == TCP and p.size and p.time_ns > since]
            assert not late, late[:3]


def _is_reset(end):
    """Reads what was there before; at its end is the reset."""
    try:
        while end.recv(1 << 20):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    raise AssertionError("an end without a reset")


def _states(net):
    return [flow["state"] for flow in ctl_json(net, "flows", "--proto", "tcp")["flows"]]


def test_clients_can_be_kept_but_not_one_that_the_guest_has_not_answered(gateway, world):
    net = gateway("--revoked-flows", "keep", publish=[f"{HOST4}:0:80", f"{HOST4}:0:53/udp"])
    port = net.port(53, "udp")
    with net.guest.listen("0.0.0.0", 80, backlog=0) as listener, \
            Client(net, world, listener) as kept, \
            net.guest.udp("0.0.0.0", 53) as server, world.world.udp(WORLD4) as client:
        client.sendto(b"1", (HOST4, port))
        _, address = server.recvfrom(100)
        # The guest has room for one that nobody accepts, and leaves the SYN of the next one alone.
        full = world.world.connect(HOST4, net.port(80))
        wait_for(lambda: _states(net).count("open") == 2, what="the guest's queue is full")
        waits = world.world.connect(HOST4, net.port(80))
        wait_for(lambda: "connecting" in _states(net), what="it waits for the guest")
        ctl(net, *DENY_CLIENT)
        with full, waits, pytest.raises(ConnectionResetError):
            waits.recv(1)
        kept.check(b"after")
        client.sendto(b"2", (HOST4, port))
        assert server.recv(100) == b"2"
        server.sendto(b"3", address)
        assert client.recv(100) == b"3"


def test_a_client_of_a_unix_socket_has_no_address_that_a_rule_could_deny(gateway, open_folder):
    path = os.path.join(open_folder, "web.sock")
    net = gateway(publish=[f"unix:{path}:80"])
    with net.guest.listen("0.0.0.0", 80) as listener, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(path)
        server, _ = listener.accept()
        with server:
            ctl(net, "policy", "set", "deny:ingress@any", "--profile", "none")
            client.sendall(b"after")
            assert server.recv(100) == b"after"


def test_a_udp_client_that_a_new_policy_denies_is_over_both_ways(gateway, world):
    net = gateway("--events", "all", publish=[f"{HOST4}:0:53/udp"])
    port = net.port(53, "udp")
    with net.guest.udp("0.0.0.0", 53) as server, world.world.udp(WORLD4) as denied, \
            world.world.udp(PUBLIC4) as other:
        denied.sendto(b"1", (HOST4, port))
        _, address = server.recvfrom(100)
        other.sendto(b"2", (HOST4, port))
        server.recvfrom(100)
        ctl(net, *DENY_CLIENT)
        flows = ctl(net, "flows").stdout
        assert PUBLIC4 in flows and WORLD4 not in flows
        assert "closed" in ctl(net, "events").stdout
        denied.sendto(b"late", (HOST4, port))
        server.sendto(b"late", address)
        other.sendto(b"3", (HOST4, port))
        assert server.recv(100) == b"3"
        assert not select.select([denied], [], [], 0.5)[0]
