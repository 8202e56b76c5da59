"""Resolvers that a router advertises by their link-local addresses: asked on the link that they are of."""

import os
import shutil
import subprocess
import sys

import pytest

from harness import agent as agents
from harness.netns import ip
from test_init import SOCKET, Guest

GUEST, ROUTER = (f"slc-{name}-{os.getpid()}" for name in ("guest", "router"))
ASK = """
import socket, struct, sys
query = struct.pack(">6H", 77, 0x100, 1, 0, 0, 0) + b"\\x07outside\\x07example\\0" + struct.pack(">2H", 1, 1)
if sys.argv[1] == "udp":
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(60)
    sock.sendto(query, ("127.0.0.1", 53))
    reply = sock.recv(4096)
else:
    sock = socket.create_connection(("127.0.0.1", 53), 60)
    sock.sendall(struct.pack(">H", len(query)) + query)
    reply = sock.recv(4096)[2:]
print(socket.inet_ntoa(reply[-4:]) if reply[:2] == query[:2] and reply[7] == 1 else reply.hex())
"""

pytestmark = pytest.mark.skipif(not shutil.which("dnsmasq"), reason="there is no dnsmasq")


def inside(namespace, *command, **options):
    return subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True,
                          text=True, check=True, timeout=120, **options).stdout


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    """The link-local address of what advertises itself as the resolver, on the link of `GUEST`'s eth0."""
    log = tmp_path_factory.mktemp("router") / "log"
    try:
        for name in (GUEST, ROUTER):
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"agent tests skipped: no namespaces here: {error.stderr.decode()}")
        ip("-n", ROUTER, "link", "add", "srv0", "type", "veth", "peer", "name", "eth0", "netns", GUEST)
        inside(ROUTER, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/srv0/accept_dad")
        ip("-n", ROUTER, "addr", "add", "fd77::1/64", "dev", "srv0")
        ip("-n", ROUTER, "link", "set", "srv0", "up")

        def own_address():
            words = inside(ROUTER, "ip", "-6", "-o", "addr", "show", "dev", "srv0", "scope", "link").split()
            return words[3].split("/")[0] if words else None
        # The guest brings its end up; until then there is no carrier, and no such address.
        ip("-n", GUEST, "link", "set", "eth0", "up")
        address = agents.until(own_address, "the router has a link-local address")
        with subprocess.Popen(
                ["ip", "netns", "exec", ROUTER, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
                 "--no-hosts", "--no-resolv", "--user=root", "--pid-file=", "--interface=srv0",
                 "--bind-interfaces", "--enable-ra", "--dhcp-range=fd77::,ra-only,64",
                 f"--log-facility={log}", "--dhcp-option=option6:dns-server,[fe80::]",
                 "--address=/outside.example/192.0.2.77"]) as server:
            try:
                agents.until(lambda: log.exists() and "router advertisement" in log.read_text(),
                             "it advertises")
                yield address
            finally:
                server.terminate()
    finally:
        for name in (GUEST, ROUTER):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def boot(tmp_path, router):
    made = []

    def boot_one(words):
        line = f"quiet sluice.unix={SOCKET} sluice.vsock=off sluice.serial=off sluice.nic=eth0 sluice.net=dhcp"
        made.append(Guest(tmp_path, f"{line} {words}", f"netns={GUEST}"))
        return made[-1]

    yield boot_one
    for guest in made:
        guest.close()


def resolvers(guest):
    file = guest.root / "etc/resolv.conf"
    return file.read_text() if file.exists() else ""


def test_the_guests_resolver_asks_one_on_its_link(boot, router):
    guest = boot("sluice.dns=on")
    agents.until(lambda: "nameserver 127.0.0.1" in resolvers(guest), "the resolver is served")

    def asked_for_outside():
        """Until the advertisement has come there is nobody to ask."""
        try:
            return inside(GUEST, sys.executable, "-c", ASK, "udp").strip() == "192.0.2.77"
        except subprocess.CalledProcessError:
            return False
    agents.until(asked_for_outside, f"an answer by {router}")
    assert inside(GUEST, sys.executable, "-c", ASK, "tcp").strip() == "192.0.2.77"


def test_without_it_programs_are_told_the_link(boot, router):
    guest = boot("sluice.dns=off")
    wanted = f"nameserver {router}%eth0\n"
    agents.until(lambda: wanted in resolvers(guest), "the file has it")
