"""hostctl and the control API: what an operator sees and changes while a guest runs."""
import errno
import json
import os
import pathlib
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading

import pytest

from harness.clients import SOON, connect_error, pair
from harness.gateway import HOSTD
from harness.netns import wait_for
from harness.world import FAR4, PUBLIC4, WORLD4
from test_dns import addresses, ask

pytestmark = pytest.mark.hostd

HOSTCTL = os.path.join(os.path.dirname(HOSTD), "hostctl")


def ctl(net, *arguments, check=True):
    done = subprocess.run([HOSTCTL, "-n", net.ready["socket"], *map(str, arguments)],
                          capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def ctl_json(net, *arguments, **options):
    return json.loads(ctl(net, "--json", *arguments, **options).stdout)


def http(net, request):
    """The raw answer to a raw request: head and body."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(net.ready["socket"])
        client.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            chunk = client.recv(65536)
            if not chunk:
                break
            answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length.group(1)):
            body += client.recv(65536)
        return head.decode(), body


@pytest.fixture
def config():
    """A config file that hostd can still read once it is nobody."""
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as directory:
        os.chmod(directory, 0o755)
        yield pathlib.Path(directory, "vm.toml")


@pytest.fixture
def zone(dns):
    dns.records.update({"good.test": [("A", PUBLIC4)], "bad.test": [("A", FAR4)]})
    return dns


def test_the_socket_is_for_its_owner_alone(gateway):
    net = gateway("--name", "control1", attach="raw")
    assert net.ready["socket"] == "/run/sluice/control1.sock"
    mode = os.stat(net.ready["socket"]).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_the_socket_goes_with_its_hostd(gateway):
    net = gateway(attach="raw")
    path = net.ready["socket"]
    net.stop()
    assert not os.path.exists(path)


def test_a_killed_hostds_socket_is_no_obstacle_to_the_next(gateway):
    first = gateway("--name", "again", attach="raw")
    first.process.kill()
    first.process.wait(5)
    assert os.path.exists("/run/sluice/again.sock")
    done = ctl(first, "status", check=False)
    assert done.returncode == 1 and "no hostd answers" in done.stderr
    second = gateway("--name", "again", attach="raw")
    assert "again" in ctl(second, "status").stdout


def test_the_sockets_that_killed_ones_left_do_not_count_as_running():
    # A /run/sluice of its own, where one socket is left behind and one is answered (wrongly).
    script = """
import os, socket, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "left", "/run"], check=True)
os.mkdir("/run/sluice")
def status():
    return subprocess.run([sys.argv[1], "status"], capture_output=True, text=True, timeout=10).stderr
left = socket.socket(socket.AF_UNIX)
left.bind("/run/sluice/left.sock")
left.close()
print(status(), end="")
alive = socket.socket(socket.AF_UNIX)
alive.bind("/run/sluice/alive.sock")
alive.listen(1)
child = os.fork()
if child == 0:
    while True:
        alive.accept()[0].close()
print(status(), end="")
os.kill(child, 9)
"""
    done = subprocess.run(["unshare", "-m", sys.executable, "-c", script, HOSTCTL],
                          capture_output=True, text=True, timeout=20, check=True)
    none, one = done.stdout.splitlines()
    assert "no hostd is running" in none
    assert "alive.sock" in one and "choose" not in one


def test_two_instances_of_one_name_are_refused(gateway, world):
    net = gateway("--name", "twin", attach="raw")
    done = world.host.run(HOSTD, "run", "--name", "twin", "--qemu", net.directory + "/other.sock",
                          timeout=5)
    assert done.returncode == 1 and "--api" in done.stderr and "twin.sock" in done.stderr
    assert "twin" in ctl(net, "status").stdout


def test_without_a_control_socket_nothing_listens(gateway):
    net = gateway("--api", "none", attach="raw")
    assert net.ready["socket"] is None
    assert not os.path.exists(f"/run/sluice/hostd-{net.pid}.sock")


def test_status_counts_what_the_guest_does(gateway, world):
    net = gateway()
    before = ctl_json(net, "status")
    client, server = pair(net.guest.ns, world.world, WORLD4)
    with client, server:
        status = ctl_json(net, "status")
        assert status["flows"]["tcp"] == 1
        assert status["tcp_opened"] == before["tcp_opened"] + 1
    text = ctl(net, "status").stdout
    assert "policy" in text and "192.168.127.2" in text


def test_a_refusal_is_explained_with_rule_line_and_binding(gateway, zone, config):
    config.write_text('[policy]\nrules = [\n  "allow@good.test:tcp:80",\n'
                      f'  "deny@{FAR4}",\n]\n')
    net = gateway("--config", config, profile=None)
    ask(net, "good.test")
    denied = ctl(net, "policy", "check", "tcp", f"{FAR4}:80", check=False)
    assert denied.returncode == 1
    assert denied.stdout.startswith("deny") and f"deny@{FAR4}" in denied.stdout
    assert f"{config}:4" in denied.stdout
    allowed = ctl(net, "policy", "check", "tcp good.test:80")
    assert allowed.stdout.startswith("allow") and f"{config}:3" in allowed.stdout
    assert PUBLIC4 in allowed.stdout
    wrong_port = ctl(net, "policy", "check", "tcp good.test:81", check=False)
    assert wrong_port.returncode == 1 and "no rule allows it" in wrong_port.stdout
    name = ctl(net, "policy", "check", "dns bad.test", check=False)
    assert name.returncode == 1 and "no rule lets this name be resolved" in name.stdout


def test_names_lists_what_dns_has_bound_and_forgets_on_demand(gateway, zone):
    net = gateway(profile="public")
    ask(net, "good.test")
    assert [(n["name"], n["address"]) for n in ctl_json(net, "names")] == [("good.test", PUBLIC4)]
    ctl(net, "names", "--forget", "good.test")
    assert ctl_json(net, "names") == []


def test_events_are_followed_as_they_happen(gateway, world):
    net = gateway("--deny", FAR4)
    follower = subprocess.Popen([HOSTCTL, "-n", net.ready["socket"], "--json", "events", "-f"],
                                stdout=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(follower.stdout), daemon=True)
    reader.start()
    try:
        assert connect_error(net.guest.ns, FAR4, 80)[0] == errno.ECONNREFUSED
        event = json.loads(wait_for(lambda: lines and lines[0], what="an event"))
    finally:
        follower.terminate()
        follower.wait(5)
    assert event["layer"] == "syn" and event["verdict"] == "deny"
    assert event["destination"] == f"{FAR4}:80" and f"deny@{FAR4}" in event["rule"]
    assert event["seq"] == 1 and event["time_ns"] > 0
    text = ctl(net, "events").stdout
    assert FAR4 in text and f"deny@{FAR4}" in text


def test_events_are_found_by_kind_layer_and_destination(gateway, zone):
    net = gateway("--events", "all", "--allow", "good.test", profile=None)
    ask(net, "good.test")
    ask(net, "bad.test")
    assert connect_error(net.guest.ns, FAR4, 80)[0] == errno.ECONNREFUSED

    def found(*arguments):
        events = ctl_json(net, "events", *arguments)["events"]
        return [(one["layer"], one["event"]) for one in events]

    assert found() == [("dns", "allowed"), ("dns", "denied"), ("syn", "denied")]
    assert found("--denied") == found("--event", "denied") == [("dns", "denied"), ("syn", "denied")]
    assert found("--layer", "dns", "--event", "allowed") == [("dns", "allowed")]
    assert found("--to", "*.test", "--denied") == [("dns", "denied")]
    assert found("--to", "good.test") == [("dns", "allowed")]
    assert found("--to", f"{FAR4}/24") == [("syn", "denied")]
    assert found("--limit", 1) == [("syn", "denied")]
    assert found("--since", 1, "--limit", 1) == [("dns", "denied")]
    text = ctl(net, "events", "--to", FAR4).stdout
    assert text.count("\n") == 1 and FAR4 in text
    for wrong in (("--layer", "tcp"), ("--event", "refused"), ("--to", "a b")):
        for follow in ((), ("-f",)):
            done = ctl(net, "events", *wrong, *follow, check=False)
            assert done.returncode == 1 and done.stderr.startswith("hostctl: "), wrong


def test_a_follower_sees_only_what_it_asked_for(gateway, zone):
    net = gateway("--events", "all", "--allow", "good.test", profile=None)
    ask(net, "first.test")
    follower = subprocess.Popen([HOSTCTL, "-n", net.ready["socket"], "--json", "events", "-f",
                                 "--to", "*.test", "--denied"], stdout=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(follower.stdout), daemon=True)
    reader.start()
    try:
        wait_for(lambda: len(lines) == 1, what="what is there already")
        ask(net, "good.test")
        assert connect_error(net.guest.ns, FAR4, 80)[0] == errno.ECONNREFUSED
        ask(net, "last.test")
        wait_for(lambda: len(lines) > 1, what="the last lookup")
    finally:
        follower.terminate()
        follower.wait(5)
    assert [json.loads(line)["names"] for line in lines] == [["first.test"], ["last.test"]]


def test_a_follower_that_hangs_holds_nobody_up(gateway, world):
    net = gateway("--deny", FAR4)
    with socket.socket(socket.AF_UNIX) as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        idle.connect(net.ready["socket"])
        idle.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        for port in range(1001, 1060):
            assert connect_error(net.guest.ns, FAR4, port)[0] == errno.ECONNREFUSED
        error, seconds = connect_error(net.guest.ns, FAR4, 80)
        assert error == errno.ECONNREFUSED and seconds < SOON
        assert ctl_json(net, "status")["events"] == 60


def test_a_new_policy_cuts_what_it_does_not_allow(gateway, world):
    net = gateway()
    client, server = pair(net.guest.ns, world.world, WORLD4)
    with client, server:
        ctl(net, "policy", "set", f"deny@{WORLD4}", "--profile", "all")
        client.settimeout(5)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert connect_error(net.guest.ns, WORLD4, 80)[0] == errno.ECONNREFUSED
    policy = ctl_json(net, "policy", "show")
    assert [rule["text"] for rule in policy["rules"]] == [f"deny@{WORLD4}", "allow@any"]


def test_a_bad_policy_changes_nothing(gateway):
    net = gateway("--deny", FAR4)
    before = ctl_json(net, "policy", "show")
    done = ctl(net, "policy", "set", "allow@any", "deny@pivate", check=False)
    assert done.returncode == 1 and "did you mean 'private'" in done.stderr
    assert ctl_json(net, "policy", "show") == before


def test_ports_come_and_go_while_the_guest_runs(gateway, world):
    net = gateway()
    with net.guest.ns.listen("0.0.0.0", 80):
        ctl(net, "ports", "add", "127.0.0.1:18123:80")
        assert connect_error(world.host, "127.0.0.1", 18123)[0] is None
        again = ctl_json(net, "ports", "add", "127.0.0.1:18123:80")
        assert again[0]["host_port"] == 18123, "asking twice is no error"
        ctl(net, "ports", "rm", "127.0.0.1:18123:80")
        assert connect_error(world.host, "127.0.0.1", 18123)[0] == errno.ECONNREFUSED
    gone = ctl(net, "ports", "rm", "127.0.0.1:18123:80", check=False)
    assert gone.returncode == 1 and "not published" in gone.stderr


@pytest.mark.parametrize("request_line, status", [
    ("GET /v1/nothing", 404), ("POST /v1/status", 405), ("GET /v1/policy/check?q=nonsense", 400),
    ("GET /v1/events?after=x", 400), ("DELETE /v1/names", 400), ("DELETE /v1/ports?spec=x", 400),
])
def test_errors_are_problem_documents(gateway, request_line, status):
    net = gateway(attach="raw")
    head, body = http(net, f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert head.startswith(f"HTTP/1.1 {status}") and "application/problem+json" in head
    problem = json.loads(body)
    assert problem["status"] == status and problem["title"] and problem["detail"]


@pytest.mark.parametrize("path, body", [
    ("/v1/policy", b"nonsense"), ("/v1/policy", b"[]"), ("/v1/policy", b'{"rulez":[]}'),
    ("/v1/policy", b'{"rules":"x"}'), ("/v1/policy", b'{"rules":[1]}'),
    ("/v1/policy", b'{"profile":1}'), ("/v1/ports", b"{}"), ("/v1/ports", b'{"spec":1}'),
    ("/v1/ports", b'{"spec":"99999:1"}'), ("/v1/policy", b'{"rules":' + b"[" * 100000),
], ids=lambda v: v.decode()[:20] if isinstance(v, bytes) else v)
def test_a_bad_body_is_refused_and_changes_nothing(gateway, path, body):
    net = gateway(attach="raw")
    before = ctl_json(net, "policy", "show")
    head, answer = http(net, b"PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                        % (path.encode(), len(body), body))
    assert head.startswith("HTTP/1.1 400"), head
    assert json.loads(answer)["detail"]
    assert ctl_json(net, "policy", "show") == before


def test_the_guest_cannot_reach_the_control_api(gateway):
    net = gateway()
    for address in ("192.168.127.1", "192.168.127.254"):
        for port in (80, 8080, 1, 65535):
            assert connect_error(net.guest.ns, address, port)[0] == errno.ECONNREFUSED


def test_a_config_file_says_what_flags_say(gateway, world, config):
    config.write_text("""
        name = "from-file"
        publish = ["127.0.0.1:0:80"]
        [guest]
        subnet = "10.77.0.0/24"
        mtu = 1500
        [policy]
        profile = "none"
        """)
    net = gateway("--config", config, profile=None, attach="raw")
    assert net.ready["name"] == "from-file"
    assert net.ready["ports"][0]["guest_port"] == 80
    status = ctl_json(net, "status")
    assert status["guest"]["v4"] == "10.77.0.2"
    assert ctl_json(net, "policy", "show")["rules"] == []


def test_a_flag_counts_before_the_file(gateway, config):
    config.write_text('[guest]\nsubnet = "10.77.0.0/24"\n[policy]\nrules = ["deny@1.1.1.1"]\n')
    net = gateway("--config", config, "--subnet", "10.78.0.0/24", "--deny", "2.2.2.2",
                  attach="raw")
    assert ctl_json(net, "status")["guest"]["v4"] == "10.78.0.2"
    rules = [rule["text"] for rule in ctl_json(net, "policy", "show")["rules"]]
    assert rules[:2] == ["deny@2.2.2.2", "deny@1.1.1.1"]


@pytest.mark.parametrize("text, named", [
    ("[guest]\nmtuu = 1500\n", ["line 2", "guest.mtuu", "mtu"]),
    ("[gest]\nmtu = 1500\n", ["line 1", "gest", "guest"]),
    ("[guest]\nmtu = 99\n", ["line 2", "mtu", "99", "1280"]),
    ("[guest]\nmtu = true\n", ["line 2", "guest.mtu", "string"]),
    ("[policy]\nrules = 'allow@any'\n", ["line 2", "policy.rules", "array"]),
    ("[policy]\nrules = ['allow@any', 'deny@pivate']\n", ["line 2", "pivate", "private"]),
    ("[[publish]]\nhost = 80\n", ["line 1", "publish", "guest"]),
    ("[[publish]]\nhost = 80\nguest = 80\nsource = 'clint'\n", ["line 4", "clint", "client"]),
    ("[nic]\nqemu = '/a'\ntap = 'b'\n", ["nic.qemu", "nic.tap"]),
    ("[guest\n", ["line 1"]),
    ("one-off = 1\n", ["line 1", "one-off", "true or false"]),
], ids=lambda v: v if isinstance(v, str) else "")
def test_a_bad_file_is_a_usage_error_that_names_line_and_fix(world, config, text, named):
    config.write_text(text)
    flags = [] if "nic" in text else ["--qemu", config.parent / "nic.sock"]
    done = world.host.run(HOSTD, "run", "--config", config, *flags, timeout=5)
    assert done.returncode == 2, done.stderr
    for part in [str(config), *named]:
        assert part in done.stderr


def test_check_prints_what_a_file_comes_to_and_starts_nothing(world, config):
    config.write_text('publish = ["127.0.0.1:1:80"]\n[policy]\nprofile = "none"\n'
                      'rules = ["allow@good.test", "allow@any", "deny@1.1.1.1"]\n')
    done = world.host.run(HOSTD, "check", config, timeout=5)
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:1:80" in done.stdout and f"allow@good.test  ({config}, line 4)" in done.stdout
    assert "never decides" in done.stdout, "a shadowed rule is warned of"
    config.write_text('[policy]\nrules = ["deny@pivate"]\n')
    done = world.host.run(HOSTD, "check", config, timeout=5)
    assert done.returncode == 2 and "line 2" in done.stderr and "'private'" in done.stderr


def test_a_file_that_cannot_be_read_is_named(world, tmp_path):
    done = world.host.run(HOSTD, "run", "--config", tmp_path / "none.toml", timeout=5)
    assert done.returncode in (1, 2) and "none.toml: No such file" in done.stderr


def test_sighup_reloads_policy_and_ports_and_says_what_waits(gateway, world, config):
    config.write_text(f'[policy]\nrules = ["deny@{FAR4}", "allow@any"]\n')
    net = gateway("--config", config, profile=None)
    assert connect_error(net.guest.ns, FAR4, 9)[0] == errno.ECONNREFUSED
    config.write_text(f'publish = ["127.0.0.1:18124:80"]\n[guest]\nmtu = 1500\n'
                      f'[policy]\nrevoked-flows = "keep"\n'
                      f'rules = ["deny@{WORLD4}", "allow@any"]\n')
    os.kill(net.pid, 1)
    line = net.wait_log(r"reload: .*").group(0)
    assert "policy.rules" in line and "publish" in line
    later = line.split("at the next start: ")[1]
    assert "guest.mtu" in later and "policy.revoked-flows" in later
    with world.world.listen(FAR4, 9), net.guest.ns.listen("0.0.0.0", 80):
        assert connect_error(net.guest.ns, FAR4, 9)[0] is None
        assert connect_error(world.host, "127.0.0.1", 18124)[0] is None
    assert connect_error(net.guest.ns, WORLD4, 9)[0] == errno.ECONNREFUSED


@pytest.mark.parametrize("text", [
    "[policy]\nrules = ['deny@pivate']\n",
    "publish = ['127.0.0.1:18125:80', '192.0.2.99:18126:80']\n[policy]\nrules = []\n",
    "[nonsense]\n",
], ids=["rule", "port", "key"])
def test_a_reload_that_fails_changes_nothing(gateway, world, config, text):
    config.write_text(f'publish = ["127.0.0.1:18127:80"]\n[policy]\nrules = ["deny@{FAR4}"]\n')
    net = gateway("--config", config, profile="all")
    before = ctl_json(net, "policy", "show")["rules"], ctl_json(net, "ports", "ls")
    config.write_text(text)
    os.kill(net.pid, 1)
    assert "nothing is changed" in net.wait_log(r"reload: .*").group(0)
    assert (ctl_json(net, "policy", "show")["rules"], ctl_json(net, "ports", "ls")) == before


def test_learning_prints_the_rules_that_allow_what_the_guest_did(gateway, world, zone):
    net = gateway(profile="public")
    ctl(net, "policy", "learn", "start")
    assert addresses(ask(net, "good.test")) == [PUBLIC4]
    client, server = pair(net.guest.ns, world.world, PUBLIC4)
    with client, server:
        port = server.getsockname()[1]
        rules = ctl_json(net, "policy", "learn", "stop")["rules"]
    assert [one["rule"] for one in rules] == [f"allow@good.test:tcp:{port}"]
    ctl(net, "policy", "set", rules[0]["rule"])
    assert ctl(net, "policy", "check", "tcp", f"good.test:{port}").returncode == 0


def test_a_policy_of_presets_and_sets_is_set_whole_or_not_at_all(gateway):
    net = gateway("--set", "lan=10.0.0.0/8,nas.test", profile="none")
    ctl(net, "policy", "set", "allow@set:lan:tcp:445", "--preset", "github")
    shown = ctl_json(net, "policy", "show")
    texts = [rule["text"] for rule in shown["rules"]]
    assert texts[:2] == ["allow@10.0.0.0/8:tcp:445", "allow@nas.test:tcp:445"]
    assert shown["rules"][0]["set"] == "lan" and len(texts) > 3
    done = ctl(net, "policy", "set", "allow@set:lam", check=False)
    assert done.returncode == 1 and "'lan'" in done.stderr
    done = ctl(net, "policy", "set", "--preset", "gihtub", check=False)
    assert done.returncode == 1 and "'github'" in done.stderr
    assert ctl_json(net, "policy", "show")["rules"] == shown["rules"]
