"""The guest's agent over TCP, by the guest's own network: hostd is its router, and has the token."""
import json
import os
import subprocess

import pytest

from harness import gateway as gateways
from harness.gateway import GUEST4
from harness.netns import wait_for
from harness.world import HOST4, WORLD4

pytestmark = pytest.mark.hostd
TOKEN = "5a" * 32
AGENT = os.path.join(os.path.dirname(gateways.HOSTD), "agent")
HOSTCTL = os.path.join(os.path.dirname(gateways.HOSTD), "hostctl")
LIMIT = 60

if not os.access(AGENT, os.X_OK):
    pytest.skip(f"no agent at {AGENT}", allow_module_level=True)


class Talk:
    """A hostd that speaks to its guest's agent over TCP, and an agent in the guest."""

    def __init__(self, gateway, folder, endpoint="tcp:1024", token=TOKEN, agent_token=TOKEN,
                 place=None, words=()):
        self.folder = folder
        folder.chmod(0o700)
        self.net = gateway("--api", folder / "api.sock", "--runas", "root", "--agent", endpoint,
                           "--agent-token-file", self._token("host", token))
        with open(folder / "agent.log", "wb") as log:
            self.agent = (place or self.net.guest.ns).spawn(
                AGENT, "--tcp", "1024", "--token-file", self._token("guest", agent_token), *words,
                stdout=log, stderr=log)

    def _token(self, name, text):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def ctl(self, *words):
        return subprocess.run([HOSTCTL, "-n", self.folder / "api.sock", *words], timeout=LIMIT,
                              capture_output=True, text=True)

    def state(self):
        return json.loads(self.ctl("--json", "status").stdout)["agent"]

    def log(self):
        return (self.folder / "agent.log").read_text()

    def close(self):
        self.agent.stop()


@pytest.fixture
def talk(gateway, tmp_path):
    made = []

    def begin(**options):
        made.append(Talk(gateway, tmp_path, **options))
        return made[-1]
    yield begin
    for one in made:
        one.close()


def listening_ports(world):
    with world.host:
        with open("/proc/thread-self/net/tcp") as table:
            return [line for line in table.read().splitlines()[1:] if line.split()[3] == "0A"]


@pytest.mark.parametrize("endpoint", ["tcp:1024", f"tcp:{GUEST4}:1024"])
def test_hostd_reaches_the_agent_by_the_guests_network_and_opens_no_port(talk, world, endpoint):
    made = talk(endpoint=endpoint)
    wait_for(lambda: made.state()["connected"], LIMIT, "the agent answers")
    assert made.state()["endpoint"] == endpoint
    done = made.ctl("guest", "exec", "sh", "-c", "echo from the guest")
    assert (done.returncode, done.stdout) == (0, "from the guest\n"), done.stderr
    assert not listening_ports(world)
    assert made.ctl("ports", "ls").stdout.count("1024") == 0


def test_by_the_hosts_own_network_where_that_is_asked_for(talk, world):
    made = talk(endpoint=f"host-tcp:{WORLD4}:1024", place=world.world, words=["--tcp-from", HOST4])
    wait_for(lambda: made.state()["connected"], LIMIT, "the agent answers")
    assert made.ctl("guest", "ping").returncode == 0


def test_an_address_that_is_not_of_the_guests_network_is_told(talk):
    made = talk(endpoint=f"tcp:{WORLD4}:1024")
    wait_for(lambda: "no address of the guest's network" in made.state()["last_error"], LIMIT,
             "the reason")


def test_a_mebibyte_passes_unchanged(talk):
    made = talk()
    wait_for(lambda: made.state()["connected"], LIMIT, "the agent answers")
    done = made.ctl("guest", "exec", "sh", "-c", "yes sluice | head -c 1048576")
    assert done.stdout == ("sluice\n" * 149797)[:1048576]


def test_an_agent_with_another_token_is_not_reached_and_hostd_says_what_may_be_wrong(talk):
    made = talk(agent_token="6b" * 32)
    wait_for(lambda: "token" in made.log(), LIMIT, "the guest's word on it")
    wait_for(lambda: "the token or the address" in made.state()["last_error"], LIMIT, "hostd's")
    assert not made.state()["connected"]
    done = made.ctl("guest", "ping")
    assert done.returncode != 0 and "can't be reached" in done.stderr
    for text in (made.log(), made.net.log()):
        assert TOKEN[:8] not in text and "6b6b" not in text


def test_the_agent_is_reached_again_when_it_comes_back(talk):
    made = talk()
    wait_for(lambda: made.state()["connected"], LIMIT, "the agent answers")
    made.agent.stop()
    wait_for(lambda: not made.state()["connected"], LIMIT, "its end is noticed")
    with open(made.folder / "agent.log", "ab") as log:
        made.agent = made.net.guest.ns.spawn(AGENT, "--tcp", "1024", "--token-file",
                                             made.folder / "guest", stdout=log, stderr=log)
    wait_for(lambda: made.state()["connected"], LIMIT, "it answers again")


def test_a_client_of_a_published_port_has_the_routers_address_but_no_token(talk, world):
    """Which is what the token is for."""
    made = talk()
    wait_for(lambda: made.state()["connected"], LIMIT, "the agent answers")
    assert made.ctl("ports", "add", "127.0.0.1:2048:1024").returncode == 0
    with world.host.connect("127.0.0.1", 2048) as client:
        client.sendall(b"SLUICE-TOKEN " + b"00" * 32 + b"\n")
        client.settimeout(LIMIT)
        try:
            assert client.recv(100) in (b"refused\n", b"")
        except ConnectionResetError:
            pass
    wait_for(lambda: "192.168.127.1:" in made.log(), LIMIT, "it came from the router")


def test_without_a_token_file_or_with_an_open_one_hostd_does_not_start(gateway, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o644)
    for words, problem in (((), "--agent-token-file"),
                           (("--agent-token-file", tmp_path / "token"), "chmod 600")):
        with pytest.raises(gateways.StartError) as failed:
            gateway("--api", tmp_path / "api.sock", "--agent", "tcp:1024", *words)
        assert failed.value.status in (1, 2) and problem in failed.value.log
        assert TOKEN not in failed.value.log
