"""A real VM whose queues hostd reads in its memory (vhost-user). See README.md."""

import contextlib
import hashlib
import json

import pytest

from lab import lab as lab_module
from lab import vm as qemu
from lab.world import ALLOWED_NAME
from test_vm import MIB, download, greeting, sha256_of_content, DOWNLOAD_SECONDS

pytestmark = pytest.mark.skipif(lab_module.why_not() is not None,
                                reason=f"VM tests skipped: {lab_module.why_not()}")
POLICY = ["--allow", ALLOWED_NAME, "-p", "0:80"]


def start(lab, name, path=None):
    path = path or lab.directory / f"{name}.nic"
    return path, lab.hostd("--vhost-user", path, "-v", *POLICY, name=f"hostd-{name}")


@pytest.fixture(scope="module")
def guest(lab):
    path, hostd = start(lab, "shared")
    with contextlib.closing(hostd), contextlib.closing(
            lab.vm(qemu.vhost_user_nic(path), "shared")) as vm:
        vm.wait_online()
        yield vm, hostd


def test_the_guest_gets_a_lease_and_an_mtu(guest):
    vm, _ = guest
    assert vm.lease()["ip"] == "192.168.127.2"
    assert vm.output_of("cat /sys/class/net/eth0/mtu") == "65520"


def test_what_the_guest_downloads_arrives_unchanged(guest):
    vm, _ = guest
    got = download(vm, f"http://{ALLOWED_NAME}/bytes/{20 * MIB}")
    assert got == sha256_of_content(20 * MIB)


def test_what_the_guest_serves_leaves_unchanged(guest, lab):
    vm, hostd = guest
    vm.output_of(f"wget -q -O /srv/file http://{ALLOWED_NAME}/bytes/{16 * MIB}", DOWNLOAD_SECONDS)
    port = hostd.ready["ports"][0]["host_port"]
    path = lab.directory / "file"
    lab.world.host.run("curl", "-sS", "-o", path, f"http://127.0.0.1:{port}/file",
                       seconds=DOWNLOAD_SECONDS)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256_of_content(16 * MIB)


def test_offloads_are_agreed_on_and_an_mtu_of_1500_costs_no_frame_a_segment(guest):
    vm, hostd = guest
    hostd.process.wait_for_log_line(["it takes: checksum tcp4 tcp6"])
    vm.output_of("ip link set eth0 mtu 1500")
    try:
        before = status(hostd)
        got = download(vm, f"http://{ALLOWED_NAME}/bytes/{8 * MIB}")
        assert got == sha256_of_content(8 * MIB)
        after = status(hostd)
    finally:
        vm.output_of("ip link set eth0 mtu 65520")
    size, frames = (after[f"rx_{what}"] - before[f"rx_{what}"] for what in ("bytes", "frames"))
    assert size / frames > 3000


def status(hostd):
    done = hostd.ctl("status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_guest_that_starts_again_is_served_again(guest):
    """Its driver stops the queues and sets them up anew; the VMM stays connected."""
    vm, _ = guest
    device = vm.output_of("basename $(readlink -f /sys/class/net/eth0/device)")
    driver = "/sys/bus/virtio/drivers/virtio_net"
    vm.output_of(f"echo {device} > {driver}/unbind")
    vm.output_of(f"echo {device} > {driver}/bind")
    vm.output_of("ip link set eth0 up mtu 1500; ip address add 192.168.127.2/24 dev eth0; "
                 "ip route add default via 192.168.127.1")
    assert greeting(vm) == "hello from the world"


def test_a_hostd_that_starts_again_serves_the_vm_that_still_runs(lab):
    path, hostd = start(lab, "again")
    with contextlib.closing(lab.vm(qemu.vhost_user_nic(path), "again")) as vm:
        vm.wait_online()
        assert greeting(vm) == "hello from the world"
        hostd.close()
        _, hostd = start(lab, "again-2", path)
        vm.wait_for("ping -c 1 -W 2 192.168.127.1", 120, "the network again")
        assert greeting(vm) == "hello from the world"
        got = download(vm, f"http://{ALLOWED_NAME}/bytes/{4 * MIB}")
        assert got == sha256_of_content(4 * MIB)


def test_a_vm_killed_in_mid_transfer_can_start_again_beside_the_same_hostd(lab):
    path, hostd = start(lab, "killed")
    with contextlib.closing(hostd):
        with contextlib.closing(lab.vm(qemu.vhost_user_nic(path), "killed")) as vm:
            vm.wait_online()
            vm.output_of(f"wget -q -O - http://{ALLOWED_NAME}/bytes/{1024 * MIB} >/tmp/got & "
                         "until [ $(wc -c </tmp/got) -gt 1000000 ]; do usleep 10000; done")
            vm.kill()
        with contextlib.closing(lab.vm(qemu.vhost_user_nic(path), "killed-again")) as vm:
            vm.wait_online()
            assert greeting(vm) == "hello from the world"
        hostd.check_alive()
