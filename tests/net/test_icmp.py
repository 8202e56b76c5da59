"""Echo to the world, errors on the way, and no silence where it is not permitted."""
import re

import pytest

from harness.clients import BEHIND, FAMILIES, FAR, NO_HOST, WORLD, ready_for
from harness.gateway import GATEWAY4
from harness.link import ICMP, IP, UDP, Link

PING_GROUPS = "net__ipv4__ping_group_range"


def ping(net, address, *options, count=3):
    """(replies, output) of a ping from the guest."""
    done = net.guest.run("ping", "-n", "-c", count, "-i", "0.02", "-W", "2", *options, address)
    found = re.search(r"(\d+) received", done.stdout)
    return int(found.group(1)) if found else 0, done.stdout + done.stderr


@pytest.fixture
def allowed(world):
    world.host.sysctl(**{PING_GROUPS: "0 2147483647"})
    yield
    world.host.sysctl(**{PING_GROUPS: "1 0"})


@pytest.fixture
def forbidden(world):
    world.host.sysctl(**{PING_GROUPS: "1 0"})


@pytest.fixture
def echo_net(allowed, gateway):
    """hostd opens its ping sockets while the host permits them."""
    return gateway()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gateway_answers_a_ping(net, family):
    if family == 6:
        pytest.skip("in test_ipv6.py")
    assert ping(net, GATEWAY4)[0] == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_world_answers_a_ping(echo_net, family):
    ready_for(family, echo_net)
    for address in (WORLD[family], FAR[family]):
        got, text = ping(echo_net, address)
        assert got == 3, text


@pytest.mark.hostd
@pytest.mark.parametrize("family", FAMILIES)
def test_large_pings_come_back_whole(echo_net, family):
    ready_for(family, echo_net)
    got, text = ping(echo_net, WORLD[family], "-s", "20000", "-M", "dont")
    assert got == 3 and "wrong data" not in text, text


@pytest.mark.parametrize("family", FAMILIES)
def test_two_pings_at_once_each_get_their_own_replies(echo_net, family):
    ready_for(family, echo_net)
    import subprocess
    running = [echo_net.guest.spawn("ping", "-n", "-c", 20, "-i", "0.01", "-W", "2", "-s", size,
                                    WORLD[family], stdout=subprocess.PIPE, text=True)
               for size in (100, 200)]
    for process in running:
        out, _ = process.communicate(timeout=20)
        process.stop()
        assert "20 received" in out and "DUP" not in out, out


@pytest.mark.parametrize("family", FAMILIES)
def test_a_ping_to_an_unreachable_host_is_told_so(echo_net, family):
    ready_for(family, echo_net)
    got, text = ping(echo_net, NO_HOST[family], count=1)
    assert got == 0
    assert "nreachable" in text or "No route" in text or "rohibited" in text, text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_small_hop_limit_gives_time_exceeded_from_the_router_on_the_way(echo_net, family):
    """traceroute's third hop: guest, gateway, world."""
    ready_for(family, echo_net)
    got, text = ping(echo_net, BEHIND[family], "-t", "2", count=1)
    assert got == 0 and "exceeded" in text, text


def test_a_hop_limit_of_one_ends_at_the_gateway(echo_net):
    got, text = ping(echo_net, WORLD[4], "-t", "1", count=1)
    assert got == 0 and GATEWAY4 in text and "exceeded" in text, text


@pytest.mark.hostd
def test_where_ping_sockets_are_forbidden_the_guest_is_told_and_not_left_waiting(
        forbidden, gateway):
    net = gateway()
    got, text = ping(net, WORLD[4], count=1)
    assert got == 0
    assert "rohibited" in text or "filtered" in text.lower() or "nreachable" in text, text
    assert re.search(r"ping|icmp", net.log(), re.I), "one line says why"


@pytest.mark.hostd
def test_a_denied_ping_is_answered_with_administratively_prohibited(allowed, gateway):
    net = gateway(profile="none", attach="raw")
    with Link(net) as link:
        reply = link.ping(WORLD[4])
        assert reply is not None and (reply[ICMP].type, reply[ICMP].code) == (3, 13)
    assert any("icmp" in line.lower() and WORLD[4] in line for line in net.denials())


@pytest.mark.hostd
def test_a_flood_of_pings_to_many_places_is_bounded(allowed, gateway):
    net = gateway(attach="raw")
    with Link(net) as link:
        link.arp()
        before = net.fd_count()
        for i in range(3000):
            link.send(link.ip(dst=f"198.18.8.{i & 127}") / ICMP(id=i & 0xffff, seq=1) / b"flood")
        assert link.works()
        assert net.fd_count() < before + 600
        reply = link.ping(GATEWAY4)
        assert reply is not None and reply[ICMP].type == 0


@pytest.mark.hostd
def test_echo_replies_and_errors_that_nobody_asked_for_go_nowhere(allowed, gateway):
    net = gateway(attach="raw")
    with Link(net) as link:
        link.arp()
        link.send(link.ip(dst=WORLD[4]) / ICMP(type=0, id=1, seq=1),
                  link.ip(dst=GATEWAY4) / ICMP(type=5, code=1, gw="192.168.127.9"),
                  link.ip(dst=GATEWAY4) / ICMP(type=3, code=4) / IP(src=WORLD[4]) / UDP())
        assert link.works()
