"""What an operator sees of single flows: hostctl flows, events of all kinds, the event file."""
import errno
import json
import os
import pathlib
import pty
import re
import signal
import socket
import struct
import subprocess
import tempfile

import fcntl
import pytest
import termios

from harness.clients import connect_error, pair, read_one
from harness.gateway import GUEST4, StartError
from harness.netns import wait_for
from harness.world import BLACKHOLE4, FAR4, PUBLIC4, WORLD4
from test_control import HOSTCTL, ctl, ctl_json
from test_control import http as raw_http
from test_dns import ask

pytestmark = pytest.mark.hostd


@pytest.fixture
def zone(dns):
    dns.records.update({"good.test": [("A", PUBLIC4)], "bad.test": [("A", FAR4)]})
    return dns


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as path:
        os.chmod(path, 0o777)
        yield pathlib.Path(path)


def flows(net, *arguments):
    return ctl_json(net, "flows", *arguments)["flows"]


def events(net, kind=None):
    all_of_them = ctl_json(net, "events")["events"]
    return [one for one in all_of_them if kind in (None, one["event"])]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def refused_client(net, world):
    """The reset may be there before connect() has looked."""
    with pytest.raises(ConnectionResetError):
        with world.host.connect("127.0.0.1", net.ready["ports"][0]["host_port"]) as client:
            client.settimeout(30)
            client.recv(1)


def in_terminal(net, columns, *arguments):
    """What hostctl prints on a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run([HOSTCTL, "-n", net.ready["socket"], *arguments], stdout=theirs,
                              stderr=theirs, timeout=60)
        assert done.returncode == 0
        os.close(theirs)
        out = b""
        # The end, which is an error, comes when all of it has been read: it may be on its way yet.
        try:
            while part := terminal.read(65536):
                out += part
        except OSError:
            pass
    return out.decode().replace("\r\n", "\n")


def test_an_open_connection_is_listed_with_name_bytes_and_rule(gateway, world, zone, directory):
    config = directory / "vm.toml"
    config.write_text('[policy]\nrules = [\n  "allow@good.test",\n]\n')
    net = gateway("--config", config, profile=None)
    ask(net, "good.test")
    client, server = pair(net.guest.ns, world.world, PUBLIC4)
    with client, server:
        client.sendall(b"\x01hello more")
        assert server.recv(11) == b"\x01hello more"
        server.sendall(b"x" * 1000)
        assert len(client.recv(1000, socket.MSG_WAITALL)) == 1000
        one, = flows(net)
        port = client.getpeername()[1]
        assert one["proto"] == "tcp" and one["direction"] == "egress" and one["state"] == "open"
        assert one["guest"] == f"{GUEST4}:{client.getsockname()[1]}"
        assert one["remote"] == f"{PUBLIC4}:{port}" and one["names"] == ["good.test"]
        assert one["tx_bytes"] == 11 and one["rx_bytes"] == 1000
        assert 0 <= one["idle_s"] <= one["age_s"] < 60
        assert one["decided_by"] == {"text": "allow@good.test", "source": str(config), "line": 3}
        assert "allow@good.test" in one["rule"] and one["generation"] == 1
        text = ctl(net, "flows", "show", one["id"]).stdout
        assert "good.test" in text and f"{config}:3" in text


def test_udp_ingress_and_connecting_flows_are_listed_as_what_they_are(gateway, world):
    net = gateway(publish=("0:80",))
    port = net.ready["ports"][0]["host_port"]
    with world.world.udp(WORLD4) as far, net.guest.ns.udp(GUEST4) as near:
        near.sendto(b"12345", (WORLD4, far.getsockname()[1]))
        data, back = far.recvfrom(100)
        assert [one["state"] for one in flows(net, "--proto", "udp")] == ["unanswered"]
        far.sendto(b"123", back)
        assert read_one(near)[0] == b"123"
        one, = flows(net, "--proto", "udp")
        assert (one["state"], one["tx_bytes"], one["rx_bytes"]) == ("open", 5, 3)
        with net.guest.ns.listen(GUEST4, 80) as listener:
            client = world.host.connect("127.0.0.1", port)
            inside, _ = listener.accept()
            with client, inside:
                one, = flows(net, "--direction", "ingress")
                assert one["guest"] == f"{GUEST4}:80" and one["remote"].startswith("127.0.0.1:")
    silent = BLACKHOLE4.format(9)
    dial = net.guest.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    with dial:
        dial.setblocking(False)
        assert dial.connect_ex((silent, 80)) == errno.EINPROGRESS
        waiting = wait_for(lambda: flows(net, "--to", silent), what="the dialled flow")
        assert waiting[0]["state"] == "connecting"


def test_flows_are_found_by_name_suffix_address_and_block(gateway, world, zone):
    net = gateway()
    ask(net, "good.test")
    one, far_one = pair(net.guest.ns, world.world, PUBLIC4)
    two, far_two = pair(net.guest.ns, world.world, WORLD4)
    with one, far_one, two, far_two:
        for wanted in ("good.test", "*.test", PUBLIC4, PUBLIC4 + "/32"):
            found = flows(net, "--to", wanted)
            assert [flow["names"] for flow in found] == [["good.test"]], wanted
        assert flows(net, "--to", "other.test") == []
        assert len(flows(net, "--to", "0.0.0.0/0")) == 2
    bad = ctl(net, "flows", "--to", "a b", check=False)
    assert bad.returncode == 1 and "no address, block or name" in bad.stderr


def test_many_flows_come_in_pages_in_the_order_of_their_numbers(gateway, world):
    net = gateway()
    with world.world.listen(WORLD4) as listener:
        clients = [net.guest.ns.connect(WORLD4, listener.getsockname()[1]) for _ in range(7)]
        seen, after = [], 0
        for rest in (4, 1, 0):
            page = ctl_json(net, "flows", "--limit", 3, "--after", after)
            assert page["rest"] == rest
            seen += page["flows"]
            after = seen[-1]["id"]
        ports = [client.getsockname()[1] for client in clients]
        assert [one["guest"] for one in seen] == [f"{GUEST4}:{port}" for port in ports]
        assert [one["id"] for one in seen] == sorted(one["id"] for one in seen)
        assert "and 4 more: --after" in ctl(net, "flows", "--limit", 3).stdout
        for client in clients:
            client.close()
    for wrong in (["--limit", 0], ["--limit", 10001], ["--proto", "sctp"]):
        assert ctl(net, "flows", *wrong, check=False).returncode == 1


def test_a_killed_flow_is_reset_at_both_ends_and_killing_it_again_is_no_error(gateway, world):
    net = gateway()
    one, far_one = pair(net.guest.ns, world.world, WORLD4)
    two, far_two = pair(net.guest.ns, world.world, WORLD4)
    with one, far_one, two, far_two:
        victim = flows(net)[0]["id"]
        assert ctl(net, "flows", "kill", victim).stdout == ""
        for end in (one, far_one):
            end.settimeout(30)
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        two.sendall(b"alive")
        assert far_two.recv(5) == b"alive"
        assert ctl(net, "flows", "kill", victim).stdout == f"flow {victim} had ended already\n"
        unknown = ctl(net, "flows", "kill", 999, check=False)
        assert unknown.returncode == 1 and "there never was a flow 999" in unknown.stderr
        assert ctl(net, "flows", "show", victim, check=False).returncode == 1


def test_the_answers_to_a_killed_udp_flow_reach_nobody(gateway, world):
    net = gateway()
    with world.world.udp(WORLD4) as far, net.guest.ns.udp(GUEST4, timeout=0.3) as near:
        there = (WORLD4, far.getsockname()[1])
        near.sendto(b"one", there)
        _, back = far.recvfrom(100)
        first = flows(net)[0]["id"]
        ctl(net, "flows", "kill", first)
        assert flows(net) == []
        far.sendto(b"late", back)
        assert read_one(near) is None
        near.sendto(b"two", there)
        assert far.recvfrom(100)[0] == b"two"
        assert flows(net)[0]["id"] > first


def test_in_a_terminal_of_80_columns_no_line_is_broken(gateway, world, dns):
    name = "a-rather-long-name-of-a-package-mirror.downloads.example-company.test"
    dns.records.update({name: [("A", PUBLIC4)]})
    net = gateway()
    ask(net, name)
    one, far_one = pair(net.guest.ns, world.world, PUBLIC4)
    two, far_two = pair(net.guest.ns, world.world, WORLD4)
    with one, far_one, two, far_two:
        narrow = in_terminal(net, 80, "flows")
        assert max(map(len, narrow.splitlines())) <= 80
        assert re.search(r"-> \.\.\S*company\.test:\d+ +open", narrow)
        assert f"-> {WORLD4}:" in narrow and "hostctl flows show ID" in narrow
        wide = in_terminal(net, 250, "flows")
        assert name in wide and "allow@any (profile all)" in wide
        assert name in ctl(net, "flows").stdout             # a pipe has no width


def test_a_refusal_says_everything_that_is_known_of_it(gateway, zone, directory):
    config = directory / "vm.toml"
    config.write_text(f'[policy]\nrules = [\n  "deny@{FAR4}:tcp:80",\n]\n')
    net = gateway("--config", config, "--name", "events1", "--guest-name", "box")
    ask(net, "bad.test")
    assert connect_error(net.guest.ns, FAR4, 80)[0] == errno.ECONNREFUSED
    event, = events(net)
    assert event["event"] == "denied" and event["verdict"] == "deny" and event["layer"] == "syn"
    assert event["network"] == "events1" and event["guest"] == "box" and event["flow"] is None
    assert event["proto"] == "tcp" and event["source"].startswith(GUEST4 + ":")
    assert event["destination"] == f"{FAR4}:80" and event["names"] == ["bad.test"]
    assert event["decided_by"] == {"text": f"deny@{FAR4}:tcp:80", "source": str(config), "line": 3}
    assert event["reason"] == "a rule denies it" and event["generation"] == 1


def test_without_events_all_only_refusals_are_events(gateway, world):
    net = gateway("--deny", FAR4)
    client, server = pair(net.guest.ns, world.world, WORLD4)
    client.close(), server.close()
    connect_error(net.guest.ns, FAR4, 80)
    assert [one["event"] for one in events(net)] == ["denied"]


def test_with_events_all_a_flow_is_told_from_its_lookup_to_its_end(gateway, world, zone, http):
    net = gateway("--events", "all", "--allow", "good.test", profile=None)
    ask(net, "good.test")
    with net.guest.ns.connect(PUBLIC4, 80) as client:
        client.sendall(b"GET /bytes/100 HTTP/1.1\r\nHost: good.test\r\nConnection: close\r\n\r\n")
        received = 0
        while part := client.recv(65536):
            received += len(part)
    closed = wait_for(lambda: events(net, "closed"), what="the end of the flow")[0]
    lookup, opened, named = events(net, "allowed")
    assert (lookup["layer"], lookup["names"]) == ("dns", ["good.test"]) and not lookup["flow"]
    assert opened["layer"] == "syn" and opened["flow"] > 0
    assert (named["layer"], named["server_name"]) == ("first-flight", "good.test")
    assert opened["flow"] == named["flow"] == closed["flow"]
    assert closed["rx_bytes"] == received > 100 and closed["tx_bytes"] > 50
    assert 0 < closed["duration_ns"] < 60e9 and closed["reason"] == "both ends closed it"
    assert closed["decided_by"]["text"] == "allow@good.test"
    text = ctl(net, "events").stdout
    assert re.search(rf"closed +syn +#{closed['flow']} tcp .* both ends closed it", text)
    assert not net.denials()


def test_a_refused_first_flight_has_the_number_of_its_flow(gateway, world, zone, http):
    net = gateway("--events", "all", "--allow", "good.test", profile=None)
    ask(net, "good.test")
    with net.guest.ns.connect(PUBLIC4, 80) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
        assert b" 403 " in client.recv(65536)
    opened = [one for one in events(net, "allowed") if one["layer"] == "syn"][0]
    denied, = events(net, "denied")
    assert denied["flow"] == opened["flow"] and denied["server_name"] == "evil.test"


def test_a_client_that_a_rule_on_ingress_refuses_is_an_event(gateway, world):
    net = gateway("--rule", "deny:ingress@loopback", publish=("127.0.0.1:0:80",))
    refused_client(net, world)
    event, = events(net)
    assert event["layer"] == "ingress" and event["destination"] == f"{GUEST4}:80"
    assert event["decided_by"]["text"] == "deny:ingress@loopback"


def test_a_client_that_a_published_port_does_not_take_is_an_event(gateway, world, directory):
    config = directory / "vm.toml"
    config.write_text('[[publish]]\nhost = "127.0.0.1:0"\nguest = 80\n'
                      'allowed-sources = ["192.0.2.0/24"]\n')
    net = gateway("--config", config)
    refused_client(net, world)
    event, = events(net)
    assert event["layer"] == "ingress" and event["source"].startswith("127.0.0.1:")
    assert event["rule"].startswith("published port ") and "allowed sources" in event["reason"]


def test_many_like_events_are_one_and_their_number(gateway, world):
    net = gateway("--deny", FAR4)
    for _ in range(20):
        connect_error(net.guest.ns, FAR4, 80)
    wait_for(lambda: sum(1 + one["suppressed"] for one in events(net)) == 20,
             what="the count of what was suppressed")
    assert len(events(net)) < 20


def test_an_address_left_out_of_an_answer_is_an_event(gateway, dns):
    dns.records.update({"inside.test": [("A", "10.1.2.3")]})
    net = gateway(profile="public")
    ask(net, "inside.test")
    event, = events(net)
    assert event["layer"] == "dns" and event["names"] == ["inside.test"]
    assert "10.1.2.3 is left out of the answer" in event["reason"]


def test_the_event_file_has_a_json_object_a_line(gateway, directory):
    path = directory / "log" / "events.jsonl"
    net = gateway("--deny", FAR4, "--event-file", path)
    for port in (80, 81):
        connect_error(net.guest.ns, FAR4, port)
    wait_for(lambda: path.read_text().count("\n") == 2, what="two lines")
    assert [one["destination"] for one in lines(path)] == [f"{FAR4}:80", f"{FAR4}:81"]
    assert path.stat().st_mode & 0o777 == 0o600
    status = ctl_json(net, "status")["event_file"]
    assert status == {"path": str(path), "written": 2, "lost": 0}


def test_a_full_event_file_is_renamed_and_the_oldest_goes(gateway, directory):
    path = directory / "events.jsonl"
    net = gateway("--deny", FAR4, "--event-file", path, "--event-file-size", 4096,
                  "--event-file-keep", 2)
    for port in range(1000, 1060):
        connect_error(net.guest.ns, FAR4, port)
    wait_for(lambda: ctl_json(net, "status")["event_file"]["written"] == 60, what="all events")
    names = sorted(one.name for one in directory.iterdir())
    assert names == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    ports = []
    for name in reversed(names):
        assert (directory / name).stat().st_size <= 4096
        ports += [int(one["destination"].rpartition(":")[2]) for one in lines(directory / name)]
    assert ports == list(range(1060 - len(ports), 1060)) and len(ports) > 10


def test_sighup_opens_the_event_file_again_after_logrotate(gateway, directory):
    path = directory / "events.jsonl"
    net = gateway("--deny", FAR4, "--event-file", path)
    connect_error(net.guest.ns, FAR4, 80)
    wait_for(lambda: path.read_text(), what="a line")
    path.rename(directory / "old")
    os.kill(net.pid, signal.SIGHUP)
    wait_for(path.exists, what="the new file")
    connect_error(net.guest.ns, FAR4, 81)
    wait_for(lambda: path.read_text(), what="a line in the new file")
    assert lines(path)[0]["destination"] == f"{FAR4}:81"
    assert len(lines(directory / "old")) == 1


@pytest.mark.parametrize("path, why", [
    ("/proc/nowhere/events", "No such file or directory"),
    ("/proc", "Is a directory"),
], ids=["no directory", "a directory"])
def test_an_event_file_that_cannot_be_opened_stops_the_start(gateway, path, why):
    with pytest.raises(StartError) as error:
        gateway("--event-file", path, attach="raw")
    assert error.value.status == 1
    assert f"--event-file {path}" in error.value.log and why in error.value.log


def test_a_directory_in_which_the_file_cannot_be_renamed_stops_the_start(gateway, directory):
    os.chmod(directory, 0o755)
    with pytest.raises(StartError) as error:
        gateway("--event-file", directory / "events", attach="raw")
    assert "can't rename files in" in error.value.log
    gateway("--event-file", directory / "events", "--event-file-size", 0, attach="raw")


def test_a_full_disk_costs_events_and_nothing_else(gateway, world):
    net = gateway("--deny", FAR4, "--event-file", "/dev/full")
    for port in range(1000, 1010):
        assert connect_error(net.guest.ns, FAR4, port)[0] == errno.ECONNREFUSED
    wait_for(lambda: ctl_json(net, "status")["event_file"]["lost"] == 10, what="ten lost events")
    client, server = pair(net.guest.ns, world.world, WORLD4)
    client.close(), server.close()
    assert len(re.findall("No space left on device", net.log())) == 1
    assert len(events(net)) == 10


def test_a_disk_that_has_room_again_takes_events_and_the_number_lost(gateway, directory):
    disk = directory / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "none", disk], check=True)
    try:
        net = gateway("--deny", FAR4, "--event-file", disk / "events")
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as full:
            with pytest.raises(OSError):
                while True:
                    full.write(b"x" * 4096)
        connect_error(net.guest.ns, FAR4, 80)
        connect_error(net.guest.ns, FAR4, 81)
        wait_for(lambda: ctl_json(net, "status")["event_file"]["lost"] == 2, what="a loss")
        filler.unlink()
        connect_error(net.guest.ns, FAR4, 82)
        wait_for(lambda: (disk / "events").read_text().count("\n") == 2, what="two lines")
        lost, event = lines(disk / "events")
        assert lost["event"] == "lost" and lost["count"] == 2
        assert event["destination"] == f"{FAR4}:82"
        net.wait_log("takes events again; 2 were lost")
        net.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_flow_api_request_that_makes_no_sense_is_a_problem_document(gateway):
    net = gateway(attach="raw")
    for path, status in (("/v1/flows/x", 400), ("/v1/flows/", 404), ("/v1/flows/1/2", 404),
                         ("/v1/flows?after=-1", 400), ("/v1/flows/1", 404)):
        head, body = raw_http(net, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert head.startswith(f"HTTP/1.1 {status} "), path
        assert json.loads(body)["status"] == status
