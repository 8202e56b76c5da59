"""A real VM gets its network from hostd. See README.md.

Each test of the first part runs once for every way to connect QEMU to hostd.
"""

import contextlib
import dataclasses
import hashlib
import ipaddress
import re
import time

import pytest

from lab import lab as lab_module
from lab import servers, vm as qemu
from lab.hostd import Hostd
from lab.lab import Lab
from lab.world import (ALLOWED_NAME, ALLOWED_NAME_V6, BLOCKED_NAME, DNS4, OTHER4, OTHER6, WEB4,
                       WEB6)

MIB = 1 << 20
DOWNLOAD_SECONDS = 120
REFUSED_SECONDS = 60  # far less than a time-out of the guest's, even on a busy machine
STREAM_MTU = 65520
DGRAM_MTU = 1500
# Host port 0: hostd chooses a free one, and says in its ready report which.
POLICY = ["--allow", ALLOWED_NAME, "--allow", ALLOWED_NAME_V6, "-p", "0:80"]

pytestmark = pytest.mark.skipif(lab_module.why_not() is not None,
                                reason=f"VM tests skipped: {lab_module.why_not()}")


@dataclasses.dataclass
class Guest:
    """A VM that is online, and what is around it."""
    lab: Lab
    hostd: Hostd
    vm: qemu.Vm
    mtu: int

    @property
    def world(self):
        return self.lab.world

    def curl(self, path, *options):
        """Fetches a page of the guest's web server from the host."""
        port = self.hostd.ready["ports"][0]["host_port"]
        return self.world.host.run("curl", "-sS", *options, f"http://127.0.0.1:{port}{path}",
                                   seconds=DOWNLOAD_SECONDS).stdout


def hostd_listens(lab, name):
    """QEMU connects to hostd's stream socket."""
    path = lab.directory / f"{name}.nic"
    hostd = lab.hostd("--qemu", path, *POLICY, name=f"hostd-{name}")
    return Guest(lab, hostd, lab.vm(qemu.stream_nic(path), name), STREAM_MTU)


def qemu_listens(lab, name):
    """hostd connects to the stream socket of a QEMU that already runs."""
    path = lab.directory / f"{name}.nic"
    vm = lab.vm(qemu.stream_nic_listening(path), name)
    hostd = lab.hostd("--qemu-connect", path, *POLICY, name=f"hostd-{name}")
    return Guest(lab, hostd, vm, STREAM_MTU)


def datagrams(lab, name):
    """QEMU and hostd exchange one datagram a frame."""
    path = lab.directory / f"{name}.nic"
    hostd = lab.hostd("--vfkit", path, *POLICY, name=f"hostd-{name}")
    nic = qemu.dgram_nic(path, lab.directory / f"{name}.own")
    return Guest(lab, hostd, lab.vm(nic, name), DGRAM_MTU)


@pytest.fixture(scope="module", params=[hostd_listens, qemu_listens, datagrams],
                ids=lambda connect: connect.__name__)
def connected(request, lab):
    made = request.param(lab, request.param.__name__)
    with contextlib.closing(made.hostd), contextlib.closing(made.vm):
        made.vm.wait_online()
        yield made


@pytest.fixture
def guest(connected):
    connected.hostd.check_alive()
    yield connected
    connected.hostd.check_alive()


def sha256_of_content(size):
    digest = hashlib.sha256()
    for chunk in servers.content(size):
        digest.update(chunk)
    return digest.hexdigest()


def download(vm, url, seconds=DOWNLOAD_SECONDS):
    """The SHA-256 of what the guest gets from `url`."""
    return vm.output_of(f"set -o pipefail; wget -q -O - '{url}' | sha256sum", seconds).split()[0]


# What a guest sees, however it is connected.


def test_the_dhcp_lease_is_applied(guest):
    lease = guest.vm.lease()
    assert lease["ip"] == "192.168.127.2"
    assert lease["subnet"] == "255.255.255.0"
    assert lease["router"] == "192.168.127.1"
    assert lease["dns"] == "192.168.127.1"
    assert "default via 192.168.127.1" in guest.vm.output_of("ip route")


def test_the_mtu_that_dhcp_offers_is_applied(guest):
    assert guest.vm.lease()["mtu"] == str(guest.mtu)
    assert guest.vm.output_of("cat /sys/class/net/eth0/mtu") == str(guest.mtu)


def test_a_router_advertisement_gives_an_address_a_route_and_an_mtu(guest):
    address = guest.vm.wait_online_v6()
    assert ipaddress.ip_address(address) in ipaddress.ip_network("fc00::/7")
    assert re.search(r"default via fe80::\S+ dev eth0", guest.vm.output_of("ip -6 route"))
    assert guest.vm.output_of("cat /proc/sys/net/ipv6/conf/eth0/mtu") == str(guest.mtu)


def test_the_gateway_answers_ping_over_both_families(guest):
    guest.vm.output_of("ping -c 1 -W 5 192.168.127.1")
    guest.vm.wait_online_v6()
    router = re.search(r"default via (\S+)", guest.vm.output_of("ip -6 route")).group(1)
    guest.vm.output_of(f"ping -6 -c 1 -W 5 {router}%eth0")


def test_an_allowed_name_resolves_to_its_addresses(guest):
    answer = guest.vm.output_of(f"nslookup {ALLOWED_NAME}")
    assert WEB4 in answer
    assert WEB6 in answer


def test_an_allowed_name_answers_ping(guest):
    guest.vm.output_of(f"ping -c 1 -W 5 {ALLOWED_NAME}")


def test_64_mib_arrive_unchanged_over_ipv4(guest):
    got = download(guest.vm, f"http://{ALLOWED_NAME}/bytes/{64 * MIB}")
    assert got == sha256_of_content(64 * MIB)


def test_16_mib_arrive_unchanged_over_ipv6(guest):
    guest.vm.wait_online_v6()
    got = download(guest.vm, f"http://{ALLOWED_NAME_V6}/bytes/{16 * MIB}")
    assert got == sha256_of_content(16 * MIB)


def test_eight_downloads_at_once_arrive_unchanged(guest):
    size = 2 * MIB
    one = f"wget -q -O - http://{ALLOWED_NAME}/bytes/{size} | sha256sum"
    got = guest.vm.output_of("for i in 1 2 3 4 5 6 7 8; do " + one + " & done; wait",
                             DOWNLOAD_SECONDS)
    assert [line.split()[0] for line in got.splitlines()] == [sha256_of_content(size)] * 8


def test_4_mib_leave_unchanged_before_a_half_close(guest):
    size = 4 * MIB
    guest.vm.output_of(f"wget -q -O /tmp/upload http://{ALLOWED_NAME}/bytes/{size}",
                       DOWNLOAD_SECONDS)
    head = "\\r\\n".join(["POST /digest HTTP/1.0", f"Host: {ALLOWED_NAME}",
                         f"Content-Length: {size}", "", ""])
    # Not wget, which takes the body for a text that ends at the first zero byte. nc closes its half
    # at the end of the file, then waits for the answer; it sends a kilobyte at a time.
    got = guest.vm.output_of(f"(printf '{head}'; cat /tmp/upload) | nc {ALLOWED_NAME} 80; "
                             "rm /tmp/upload", DOWNLOAD_SECONDS)
    assert got.splitlines()[-1] == sha256_of_content(size)


def test_a_refused_name_does_not_exist_and_is_never_asked_for_outside(guest):
    mark = guest.hostd.mark()
    result = guest.vm.run(f"nslookup {BLOCKED_NAME}")
    assert "NXDOMAIN" in result.output
    guest.hostd.refusal_of(BLOCKED_NAME, mark)
    assert BLOCKED_NAME not in guest.world.queries()


@pytest.mark.parametrize("address", [OTHER4, OTHER6])
def test_a_refused_address_refuses_the_connection_and_the_log_says_why(guest, address):
    if ":" in address:
        guest.vm.wait_online_v6()
    mark = guest.hostd.mark()
    start = time.monotonic()
    host = f"[{address}]" if ":" in address else address
    result = guest.vm.run(f"wget -O - http://{host}/")
    assert "Connection refused" in result.output
    assert time.monotonic() - start < REFUSED_SECONDS
    guest.hostd.refusal_of(address, mark)


def test_a_published_port_reaches_the_guest(guest):
    assert guest.curl("/") == "hello from the VM\n"


def test_16_mib_leave_unchanged_through_a_published_port(guest):
    guest.vm.output_of(f"wget -q -O /srv/file http://{ALLOWED_NAME}/bytes/{16 * MIB}",
                       DOWNLOAD_SECONDS)
    path = guest.lab.directory / "file"
    guest.curl("/file", "-o", path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256_of_content(16 * MIB)
    guest.vm.output_of("rm /srv/file")


# VMMs that come and go.


def greeting(vm):
    return vm.output_of(f"wget -q -O - http://{ALLOWED_NAME}/")


@pytest.mark.parametrize("connect", [hostd_listens, datagrams])
def test_a_vmm_killed_in_mid_transfer_can_start_again_beside_the_same_hostd(lab, connect):
    name = f"killed-{connect.__name__}"
    guest = connect(lab, name)
    with contextlib.closing(guest.hostd):
        guest.vm.wait_online()
        guest.vm.output_of(
            f"wget -q -O - http://{ALLOWED_NAME}/bytes/{1024 * MIB} | head -c {100 * MIB} "
            ">/tmp/got & until [ $(wc -c </tmp/got) -gt 1000000 ]; do usleep 10000; done")
        guest.vm.kill()
        path = lab.directory / f"{name}.nic"
        nic = (qemu.stream_nic(path) if connect is hostd_listens
               else qemu.dgram_nic(path, lab.directory / f"{name}.own-again"))
        with contextlib.closing(lab.vm(nic, f"{name}-again")) as again:
            again.wait_online()
            assert again.output_of(f"wget -q -O - http://{ALLOWED_NAME}/") == "hello from the world"
            assert guest.curl("/") == "hello from the VM\n"


def test_one_off_hostd_ends_when_its_vm_powers_off(lab):
    path = lab.directory / "one-off.nic"
    hostd = lab.hostd("--qemu", path, "--one-off", name="hostd-one-off")
    vm = lab.vm(qemu.stream_nic(path), "one-off")
    vm.wait_online()
    vm.run("(usleep 100000; poweroff -f) &")
    assert vm.wait_for_exit(60) == 0
    assert hostd.process.wait_for_exit(60) == 0


def test_hostd_stopped_by_sigterm_ends_well_while_a_guest_is_connected(lab):
    guest = hostd_listens(lab, "stopped")
    with contextlib.closing(guest.vm):
        guest.vm.wait_online()
        assert guest.hostd.close() == 0
