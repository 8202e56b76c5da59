"""A guest's connect() tells the truth about the destination, when the host knows it."""
import errno
import select
import socket

import pytest

from harness import world as places
from harness.clients import (BLACKHOLE, FAMILIES, FAR, NO_HOST, NO_ROUTE, SOON, UNREACHABLE, WORLD,
                             connect_error, nonblocking_connects, ready_for)
from harness.gateway import ALIAS4, GATEWAY4
from harness.netns import wait_for


@pytest.mark.parametrize("family", FAMILIES)
def test_a_guest_reaches_a_server_in_the_world(net, world, family):
    ready_for(family, net)
    with world.world.listen(WORLD[family]) as server:
        with net.guest.connect(WORLD[family], server.getsockname()[1]) as client:
            peer, _ = server.accept()
            with peer:
                client.sendall(b"ping")
                assert peer.recv(16) == b"ping"
                peer.sendall(b"pong")
                assert client.recv(16) == b"pong"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_world_sees_the_host_and_not_the_guest_as_the_client(net, world, family):
    ready_for(family, net)
    with world.world.listen(FAR[family]) as server:
        with net.guest.connect(FAR[family], server.getsockname()[1]):
            peer, address = server.accept()
            peer.close()
    assert address[0] == {4: places.HOST4, 6: places.HOST6}[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_refused_destination_gives_the_guest_econnrefused_at_once(net, world, family):
    ready_for(family, net)
    error, seconds = connect_error(net.guest, WORLD[family], 9)
    assert error == errno.ECONNREFUSED
    assert seconds < SOON


@pytest.mark.parametrize("family", FAMILIES)
def test_a_destination_that_the_host_has_no_route_to_is_unreachable_at_once(net, world, family):
    ready_for(family, net)
    error, seconds = connect_error(net.guest, NO_ROUTE[family], 80)
    assert error in UNREACHABLE
    assert seconds < SOON


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unreachable_host_is_reported_in_the_time_the_host_took_to_learn_it(
        net, world, family):
    ready_for(family, net)
    host_error, host_seconds = connect_error(world.host, NO_HOST[family], 80)
    assert host_error in UNREACHABLE
    error, seconds = connect_error(net.guest, NO_HOST[family], 80)
    assert error in UNREACHABLE
    assert seconds < host_seconds + SOON


def test_a_network_without_a_route_gives_enetunreach_or_ehostunreach(net, world):
    world.host.ip("route add throw 198.18.11.0/24")
    try:
        error, seconds = connect_error(net.guest, "198.18.11.1", 80)
    finally:
        world.host.ip("route del throw 198.18.11.0/24")
    assert error in UNREACHABLE
    assert seconds < SOON


def test_a_destination_that_the_host_forbids_is_refused_at_once(net, world):
    world.host.ip("route add prohibit 198.18.12.0/24")
    try:
        error, seconds = connect_error(net.guest, "198.18.12.1", 80)
    finally:
        world.host.ip("route del prohibit 198.18.12.0/24")
    assert error in (*UNREACHABLE, errno.EACCES, errno.ECONNREFUSED)
    assert seconds < SOON


def test_no_syn_ack_is_sent_before_the_destination_answered(net, world):
    """A gateway that accepts first and dials later lies to happy eyeballs and health checks."""
    for s in nonblocking_connects(net.guest, BLACKHOLE[4].format(77), [80]):
        with s:
            # One good connection later than the bad one: an early SYN-ACK would be here by now.
            with world.world.listen(WORLD[4]) as server:
                net.guest.connect(WORLD[4], server.getsockname()[1]).close()
            assert not select.select([], [s], [], 0)[1]
            assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_thousand_connects_into_a_black_hole_do_not_delay_a_good_one(net, world, family):
    ready_for(family, net)
    held = []
    try:
        for i in range(1, 251):
            held += nonblocking_connects(net.guest, BLACKHOLE[family].format(i), range(81, 85))
        with world.world.listen(WORLD[family], backlog=256) as server:
            for _ in range(20):
                error, seconds = connect_error(net.guest, WORLD[family], server.getsockname()[1])
                assert error is None
                assert seconds < SOON
    finally:
        for s in held:
            s.close()


@pytest.mark.long
@pytest.mark.hostd
def test_abandoned_connects_into_a_black_hole_are_forgotten(gateway, world):
    """A guest that gives up sends nothing: the host's own time-out, two minutes, is the most."""
    net = gateway()
    fds = net.fd_count()
    held = []
    for i in range(1, 51):
        held += nonblocking_connects(net.guest, BLACKHOLE[4].format(i), range(81, 85))
    wait_for(lambda: net.counter("held_syns") >= 150, what="held SYNs in the status")
    for s in held:
        s.close()
    # A later SYN of the same guest for the same place must not find itself stuck either.
    with world.world.listen(WORLD[4]) as server:
        net.guest.connect(WORLD[4], server.getsockname()[1]).close()
    wait_for(lambda: net.counter("held_syns") == 0, limit=150, step=0.5,
             what="no held SYN")
    wait_for(lambda: net.fd_count() <= fds + 2, what="file descriptors given back")


def test_a_server_that_becomes_reachable_while_the_guest_waits_is_reached(net, world):
    """arcbox 2.2: the handshake's time-out was shorter than the host's connect."""
    address = BLACKHOLE[4].format(200)
    (waiting,) = nonblocking_connects(net.guest, address, [8085])
    with waiting:
        assert not select.select([], [waiting], [], 1.5)[1]     # two SYNs of the host are lost
        world.world.ip(f"addr add {address}/32 dev lo")
        try:
            with world.world.listen(address, 8085):
                assert select.select([], [waiting], [], 10)[1], "never connected"
                assert waiting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        finally:
            world.world.ip(f"addr del {address}/32 dev lo")


def test_a_server_that_starts_to_listen_is_reached_by_the_next_attempt(net, world):
    with world.world.listen(WORLD[4]) as server:
        port = server.getsockname()[1]
    assert connect_error(net.guest, WORLD[4], port)[0] == errno.ECONNREFUSED
    with world.world.listen(WORLD[4], port):
        assert connect_error(net.guest, WORLD[4], port)[0] is None


def test_the_same_source_port_can_be_used_again_at_once(net, world):
    """A new SYN from the 4-tuple of a connection that has just ended gets a new connection."""
    with world.world.listen(WORLD[4]) as server:
        port = server.getsockname()[1]
        for _ in range(5):
            # The guest's own end may need a moment to forget the 4-tuple.
            s = wait_for(lambda: connect_from(net.guest, 40123, WORLD[4], port),
                         what="the 4-tuple free in the guest")
            peer, _ = server.accept()
            peer.close()                        # the world closes first: TIME_WAIT is not ours
            assert s.recv(1) == b""
            s.close()


def connect_from(ns, source_port, address, port):
    s = ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.settimeout(5)
    try:
        s.bind(("", source_port))
        s.connect((address, port))
    except OSError as error:
        s.close()
        if error.errno in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
            return None
        raise
    return s


@pytest.mark.hostd
@pytest.mark.parametrize("family", FAMILIES)
def test_a_closed_port_of_the_gateway_itself_is_refused(net, family):
    ready_for(family, net)
    address = GATEWAY4 if family == 4 else net.guest.gateway6
    error, seconds = connect_error(net.guest, address, 9)
    assert error == errno.ECONNREFUSED
    assert seconds < SOON


@pytest.mark.hostd
def test_the_gateway_address_reaches_the_hosts_loopback_where_the_policy_allows_it(
        gateway, world):
    with world.host.listen("127.0.0.1") as server:
        port = server.getsockname()[1]
        assert connect_error(gateway(profile="all").guest, GATEWAY4, port)[0] is None
        assert connect_error(gateway(profile="public").guest, GATEWAY4, port)[0] == \
            errno.ECONNREFUSED


@pytest.mark.hostd
def test_a_service_on_the_other_loopback_family_is_found(net, world):
    """`localhost` servers often listen on ::1 only."""
    with world.host.listen("::1") as server:
        assert connect_error(net.guest, GATEWAY4, server.getsockname()[1])[0] is None


@pytest.mark.hostd
def test_the_host_alias_reaches_the_hosts_loopback(net, world):
    with world.host.listen("127.0.0.1") as server:
        assert connect_error(net.guest, ALIAS4, server.getsockname()[1])[0] is None
