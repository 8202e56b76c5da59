"""A tap with virtio_net_hdr, or a virtio NIC in shared memory: the guest's kernel cuts and sums
nothing, and every byte is right."""
import fcntl
import os
import socket
import struct

import pytest

from harness.clients import FAMILIES, WORLD, ready_for
from harness.gateway import GATEWAY4, GUEST4
from harness.netns import Namespace, wait_for
from test_throughput import iperf

pytestmark = pytest.mark.hostd
TUNSETIFF, TUNSETOFFLOAD = 0x400454ca, 0x400454d0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
UDP_SEGMENT = 103


def check(result):
    assert result["ok"] == result["flows"], result


def moved(net, what):
    """Bytes and frames of one direction since the last call of what it returns."""
    before = {}

    def since():
        status = net.status()
        now = {key: status[f"{what}_{key}"] for key in ("bytes", "frames")}
        out = {key: now[key] - before.get(key, 0) for key in now}
        before.update(now)
        return out
    since()
    return since


@pytest.mark.parametrize("kind", ["tap", "vhost-user"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_guest_with_an_mtu_of_1500_sends_and_gets_frames_of_many_segments(gateway, world, family,
                                                                            kind):
    net = gateway(attach=kind, mtu=1500)
    ready_for(family, net)
    for direction, what in ([], "tx"), (["-R"], "rx"):
        since = moved(net, what)
        end = iperf(world.world, net.guest, WORLD[family], *direction)
        data = since()
        assert end["sum_received"]["bytes"] > 10_000_000
        assert data["bytes"] > end["sum_received"]["bytes"]
        # The other direction's acknowledgements are small, so this counts only data's.
        assert data["bytes"] / data["frames"] > 4 * 1500, (what, data)
    assert net.counter("tcp_retransmits") == 0


@pytest.mark.parametrize("kind", ["tap", "vhost-user"])
@pytest.mark.parametrize("mtu", [1280, 1500, 9000])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_byte_is_changed_or_lost_where_the_guest_offloads(gateway, load, mtu, family, kind):
    net = gateway(attach=kind, mtu=mtu)
    ready_for(family, net)
    check(load.run(net.guest, WORLD[family], flows=8, at=8, up=8 << 20, down=8 << 20))


@pytest.mark.parametrize("options", ["-n", "-e", "-s", "-nes"])
def test_no_byte_is_changed_or_lost_with_fewer_features_of_virtio(gateway, load, options):
    """No offloads, no event index, no merged receive buffers."""
    net = gateway(attach="vhost-user", mtu=1500, bridge_options=[options])
    ready_for(4, net)
    check(load.run(net.guest, WORLD[4], flows=8, at=8, up=4 << 20, down=4 << 20))
    check(load.run(net.guest, WORLD[4], flows=500, at=16, up=100, down=100))


@pytest.mark.timing
def test_a_guest_in_shared_memory_that_is_quiet_costs_no_cpu_time(gateway, world):
    net = gateway(attach="vhost-user")
    ready_for(4, net)
    wait_for(net.idles, what="no work where nothing is to be done")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size, segment", [(10_500, 1000), (1400, 1400), (60_000, 1400), (7, 1)])
def test_datagrams_that_the_guest_sends_as_one_arrive_as_they_were_meant(
        gateway, world, family, size, segment):
    net = gateway(attach="tap", mtu=1500)
    ready_for(family, net)
    with world.world.udp(WORLD[family]) as server, net.guest.udp(family=(
            socket.AF_INET if family == 4 else socket.AF_INET6)) as guest:
        guest.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
        data = os.urandom(size)
        guest.sendto(data, (WORLD[family], server.getsockname()[1]))
        got = []
        while sum(map(len, got)) < size:
            got.append(server.recv(65536))
    assert got == [data[i:i + segment] for i in range(0, size, segment)]


@pytest.mark.parametrize("header", [False, True])
def test_a_tap_that_is_passed_on_works_with_a_header_and_without_one(gateway, world, load, header):
    ns = Namespace("passed")
    try:
        with ns:
            fd = os.open("/dev/net/tun", os.O_RDWR)
            flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if header else 0)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tap0", flags))
        ns.ip("link set tap0 mtu 1500 up", f"addr add {GUEST4}/24 dev tap0",
              f"route add default via {GATEWAY4}")
        net = gateway(attach="fd", fd=fd, mtu=1500, guest=False)
        os.close(fd)
        check(load.run(ns, WORLD[4], flows=2, at=2, up=4 << 20, down=4 << 20))
        since = net.status()
        assert (since["tx_bytes"] / since["tx_frames"] > 1514) == header
        net.stop()
    finally:
        ns.close()
