"""hostd's flags: an error names the flag, the value and the way out."""
import json
import os
import pwd
import re

import pytest

from harness.gateway import HOSTD, StartError
from harness.link import Link
from harness.netns import wait_for

DAEMON = pwd.getpwnam("daemon")

pytestmark = pytest.mark.hostd


def run(world, *arguments):
    return world.host.run(HOSTD, *arguments, timeout=5)


@pytest.mark.parametrize("arguments, named", [
    (["--mtu", "100"], ["--mtu", "100", "1280", "65520"]),
    (["--mtu", "70000"], ["--mtu", "70000", "65520"]),
    (["--mtu", "big"], ["--mtu", "big"]),
    (["--subnet", "192.168.127.0"], ["--subnet", "192.168.127.0"]),
    (["--subnet", "300.0.0.0/24"], ["--subnet", "300.0.0.0/24"]),
    (["--subnet", "10.0.0.0/31"], ["--subnet", "10.0.0.0/31"]),
    (["--gateway", "10.9.9.1"], ["--gateway", "10.9.9.1", "192.168.127.0/24"]),
    (["--guest", "10.9.9.2"], ["--guest", "10.9.9.2", "192.168.127.0/24"]),
    (["--guest", "192.168.127.1"], ["--guest", "192.168.127.1"]),
    (["--dns", "nonsense"], ["--dns", "nonsense"]),
    (["--dns", "1.1.1.1:99999"], ["--dns", "1.1.1.1:99999"]),
    (["--profile", "publik"], ["--profile", "publik", "public"]),
    (["--ready-fd", "x"], ["--ready-fd", "x"]),
    (["--ready-fd", "77"], ["--ready-fd", "77"]),
    (["--runas", "no-such-user"], ["--runas", "no-such-user"]),
    (["--runas", "toor:0"], ["--runas", "toor:0", "UID:GID"]),
    (["--runas", "1000:"], ["--runas", "1000:"]),
    (["--runas", "61234"], ["--runas", "61234", "UID:GID"]),
    (["--runas", "61234:4294967295"], ["--runas", "4294967295"]),
    (["--runas", "4294967296:1"], ["--runas", "4294967296:1"]),
    (["--runas", "0:0"], ["--runas", "0:0", "root"]),
    (["--allow", "bad..name"], ["--allow", "bad..name"]),
    (["-R", "99999:unix:/x"], ["-R", "99999:unix:/x"]),
    (["--agent-clock", "ntp"], ["--agent-clock", "ntp", "host", "off"]),
], ids=lambda v: "".join(v) if isinstance(v, list) and str(v[0]).startswith("-") else "")
def test_a_bad_value_is_a_usage_error_that_names_flag_and_value(world, tmp_path, arguments, named):
    done = run(world, "run", "--qemu", tmp_path / "nic.sock", *arguments)
    assert done.returncode == 2, done.stderr
    for part in named:
        assert part in done.stderr
    assert not (tmp_path / "nic.sock").exists()


def test_an_unknown_flag_is_a_usage_error(world):
    done = run(world, "run", "--qemux", "/x")
    assert done.returncode == 2 and "--qemux" in done.stderr


def test_two_attachments_at_once_are_a_usage_error(world, tmp_path):
    done = run(world, "run", "--qemu", tmp_path / "a", "--vfkit", tmp_path / "b")
    assert done.returncode == 2 and "--qemu" in done.stderr and "--vfkit" in done.stderr


def test_no_attachment_is_a_usage_error_that_lists_them(world):
    done = run(world, "run")
    assert done.returncode == 2
    for flag in ("--qemu", "--vfkit", "--fd", "--tap"):
        assert flag in done.stderr


def test_a_descriptor_that_is_not_open_is_named(world):
    done = run(world, "run", "--fd", "77")
    assert done.returncode in (1, 2) and "--fd" in done.stderr and "77" in done.stderr


def test_a_descriptor_of_the_wrong_kind_is_named(world, tmp_path):
    with open(tmp_path / "file", "w") as f:
        done = world.host.run(HOSTD, "run", "--fd", f.fileno(), pass_fds=[f.fileno()], timeout=5)
    assert done.returncode in (1, 2) and "--fd" in done.stderr


def test_a_socket_path_that_cannot_be_made_is_named_with_the_reason(world):
    done = run(world, "run", "--qemu", "/nonexistent/nic.sock")
    assert done.returncode == 1
    assert "/nonexistent/nic.sock" in done.stderr and "No such file" in done.stderr


def test_a_socket_path_that_is_too_long_is_named(world, tmp_path):
    path = str(tmp_path / ("x" * 120))
    done = run(world, "run", "--qemu", path)
    assert done.returncode in (1, 2) and "--qemu" in done.stderr and "107" in done.stderr


def test_an_error_is_one_line_that_a_person_can_act_on(world):
    done = run(world, "run", "--qemu", "/nonexistent/nic.sock")
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr


def test_help_fits_a_screen_and_gives_three_examples(world):
    done = run(world, "--help")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 50
    assert len([line for line in lines if re.match(r"\s+(\$ )?hostd run ", line)]) >= 3


def test_ready_is_one_json_line_with_name_socket_and_ports(gateway):
    net = gateway("--name", "web1", attach="raw", publish=["127.0.0.1:0:80"])
    assert net.ready["name"] == "web1"
    assert net.ready["ports"][0]["guest_port"] == 80
    assert "socket" in net.ready
    assert net.ready_line.count("\n") == 1


def test_the_name_of_an_instance_has_a_default(gateway):
    net = gateway(attach="raw")
    assert net.ready["name"] == f"hostd-{net.pid}"


def test_root_is_given_up_once_set_up(gateway):
    net = gateway(attach="raw")
    with open(f"/proc/{net.pid}/status") as f:
        status = f.read()
    uids = re.search(r"Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", status).groups()
    assert "0" not in uids
    assert int(re.search(r"CapEff:\s+(\w+)", status).group(1), 16) == 0
    assert int(re.search(r"NoNewPrivs:\s+(\d)", status).group(1)) == 1


@pytest.mark.parametrize(("user", "uid", "gid"), [
    (DAEMON.pw_name, DAEMON.pw_uid, DAEMON.pw_gid), (str(DAEMON.pw_uid), DAEMON.pw_uid, DAEMON.pw_gid),
    ("2:3", 2, 3), ("61234:61235", 61234, 61235),
])
def test_the_user_is_a_name_or_numbers(gateway, user, uid, gid):
    net = gateway("--runas", user, attach="raw")
    with open(f"/proc/{net.pid}/status") as f:
        status = f.read()
    assert re.search(rf"^Uid:(\t{uid}){{4}}$", status, re.M) and re.search(rf"^Gid:(\t{gid}){{4}}$", status, re.M)
    assert re.search(r"^Groups:\s*$", status, re.M)


def test_the_status_signal_gives_one_line_of_json(gateway):
    net = gateway(attach="raw")
    with Link(net) as link:
        link.works()
        status = net.status()
    assert set(status["flows"]) >= {"tcp", "udp", "icmp"}
    assert status["tx_frames"] >= 1 and status["rx_frames"] >= 1
    for key in ("tcp_retransmits", "held_syns", "memory_bytes", "denials", "drops"):
        assert key in status
    json.dumps(status)


def test_verbose_says_more(gateway, world):
    def lines(*flags):
        net = gateway(*flags)
        with world.world.listen("198.18.0.2") as server:
            net.guest.connect("198.18.0.2", server.getsockname()[1]).close()
        wait_for(lambda: net.counter("flows.tcp") == 0, limit=60, what="the flow's end")
        # How often the status was asked for is not what is compared.
        return sum(": status {" not in line for line in net.log().splitlines())
    assert lines("-v") > lines()


@pytest.mark.timing
def test_a_start_takes_little_time(gateway):
    """Ready under 10 ms on an idle machine; here, with the tests beside it, under 200 ms."""
    import time

    def in_time():
        start = time.monotonic()
        try:
            net = gateway(attach="raw")
        except StartError as error:
            raise AssertionError(str(error))
        took = time.monotonic() - start
        net.stop()
        return took < 0.2
    wait_for(in_time, what="a start in under 200 ms")
