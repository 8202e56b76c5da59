"""iperf3 through the gateway: it works in each direction, and nothing is sent twice."""
import json
import subprocess

import pytest

from harness.clients import FAMILIES, WORLD, ready_for

SECONDS = 1


def iperf(server_ns, client_ns, address, *options, seconds=SECONDS):
    server = server_ns.spawn("iperf3", "-s", "-1", "-p", 5201, "--forceflush",
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while "listening" not in server.stdout.readline():
            assert server.poll() is None, "iperf3 -s ended"
        done = client_ns.run("iperf3", "-c", address, "-t", seconds, "-J", *options,
                             timeout=seconds + 20)
        result = json.loads(done.stdout)
        assert "error" not in result, result["error"]
        return result["end"]
    finally:
        server.stop()


@pytest.mark.timing
@pytest.mark.parametrize("mtu", [1500, 65520])
@pytest.mark.parametrize("family", FAMILIES)
def test_iperf3_runs_up_and_down_with_1_and_8_flows_and_no_retransmission(
        gateway, world, mtu, family):
    net = gateway(mtu=mtu)
    ready_for(family, net)
    for flows in (1, 8):
        for direction in ([], ["-R"]):
            end = iperf(world.world, net.guest, WORLD[family], "-P", flows, *direction)
            assert end["sum_received"]["bytes"] > 10_000_000, (flows, direction)
    if hasattr(net, "ready_line"):
        assert net.counter("tcp_retransmits") == 0


@pytest.mark.long
@pytest.mark.parametrize("mtu", [1500, 65520])
@pytest.mark.parametrize("family", FAMILIES)
def test_iperf3_runs_long_without_retransmission(gateway, world, mtu, family):
    net = gateway(mtu=mtu)
    ready_for(family, net)
    for direction in ([], ["-R"], ["--bidir"]):
        iperf(world.world, net.guest, WORLD[family], "-P", 8, *direction, seconds=10)
    if hasattr(net, "ready_line"):
        assert net.counter("tcp_retransmits") == 0


@pytest.mark.hostd
def test_iperf3_reaches_a_server_in_the_guest_through_a_published_port(gateway, world):
    net = gateway(publish=["127.0.0.1:5201:5201"])
    for direction in ([], ["-R"]):
        end = iperf(net.guest, world.host, "127.0.0.1", *direction)
        assert end["sum_received"]["bytes"] > 10_000_000
    assert net.counter("tcp_retransmits") == 0


@pytest.mark.timing
def test_udp_at_a_moderate_rate_loses_nothing_worth_naming(net, world):
    for direction in ([], ["-R"]):
        end = iperf(world.world, net.guest, WORLD[4], "-u", "-b", "100M", "-l", 1400, "-w", "2M",
                    *direction)
        assert end["sum"]["lost_percent"] < 1
