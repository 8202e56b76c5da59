"""A real VM whose init is the agent: it boots, is reached over virtio-serial, and ends. See README.md."""

import contextlib
import hashlib
import json
import os
import subprocess

import pytest

from lab import lab as lab_module
from lab import vm as qemu
from lab.agent_vm import AgentVm, boot_steps, running, wait_for_agent, wait_for_network
from lab.process import wait_until
from lab.world import ALLOWED_NAME

pytestmark = pytest.mark.skipif(lab_module.why_not() is not None,
                                reason=f"VM tests skipped: {lab_module.why_not()}")


@pytest.fixture(scope="module")
def guest(lab):
    with running(lab, "agent", "sluice.hostname=testvm sluice.hostnaem=x") as made:
        yield made


def test_the_init_mounts_what_a_system_needs_and_says_how_it_went(guest):
    hostd, _ = guest
    steps = boot_steps(hostd)
    for target in ("/dev/pts", "/dev/shm", "/sys/fs/cgroup"):
        assert steps[f"mount {target}"]["result"] == "done"
    assert steps["module virtio_net"]["result"] == "done"
    mounts = hostd.ctl("guest", "exec", "cat", "/proc/mounts").stdout
    assert "proc /proc proc" in mounts and "devtmpfs /dev devtmpfs" in mounts
    assert "cgroup2 /sys/fs/cgroup cgroup2" in mounts and "devpts /dev/pts devpts" in mounts
    controllers = hostd.ctl("guest", "exec", "cat", "/sys/fs/cgroup/cgroup.subtree_control").stdout
    assert {"cpu", "memory", "pids"} <= set(controllers.split())


def test_the_root_is_the_disk_and_nothing_of_the_initramfs_is_left(guest):
    hostd, _ = guest
    mounts = hostd.ctl("guest", "exec", "cat", "/proc/mounts").stdout.splitlines()
    assert [line for line in mounts if line.split()[1] == "/"][-1].startswith("/dev/vda / erofs ro")
    assert hostd.ctl("guest", "exec", "touch", "/sbin/x").returncode != 0
    for path in ("/tmp/x", "/etc/x", "/var/lib/x", "/run/x"):
        assert hostd.ctl("guest", "exec", "touch", path).returncode == 0, path
    assert hostd.ctl("guest", "exec", "crun", "--version").returncode == 0


def test_a_root_that_never_comes_is_told_and_the_agent_can_be_asked(lab):
    with running(lab, "rootless", "sluice.root=/dev/vdz") as (hostd, _):
        step = boot_steps(hostd)["root /dev/vdz"]
        assert step["result"] == "failed" and "no such device" in step["message"]


def test_a_word_on_the_kernel_command_line_that_is_wrong_is_told_and_changes_nothing(guest):
    hostd, _ = guest
    step = boot_steps(hostd)["kernel command line"]
    assert step["result"] == "failed" and "sluice.hostnaem=x" in step["message"]
    assert hostd.ctl("guest", "exec", "hostname").stdout == "testvm\n"


def test_the_network_comes_up_by_dhcp_and_names_resolve(guest):
    hostd, _ = guest
    step = wait_for_network(hostd)
    assert step["result"] == "done" and "eth0 192.168.127.2/24" in step["message"]
    assert "default via 192.168.127.1" in hostd.ctl("guest", "exec", "ip", "route").stdout
    # Its own resolver, which asks the gateway.
    resolvers = hostd.ctl("guest", "exec", "cat", "/etc/resolv.conf").stdout
    assert resolvers.startswith("search guest.internal vm.internal\nnameserver 127.0.0.1\n")
    page = hostd.ctl("guest", "exec", "wget", "-q", "-O", "-", f"http://{ALLOWED_NAME}/")
    assert page.stdout.strip() == "hello from the world", page.stderr


def test_addresses_on_the_kernel_command_line_need_no_dhcp(lab):
    words = "sluice.ip=192.168.127.9/24 sluice.gateway=192.168.127.1 sluice.dns=192.168.127.1"
    with running(lab, "fixed", words, "--guest", "192.168.127.9") as (hostd, _):
        assert "eth0 192.168.127.9/24" in wait_for_network(hostd)["message"]
        page = hostd.ctl("guest", "exec", "wget", "-q", "-O", "-", f"http://{ALLOWED_NAME}/")
        assert page.stdout.strip() == "hello from the world", page.stderr


def test_a_program_runs_in_the_guest_and_its_exit_status_becomes_ours(guest):
    hostd, _ = guest
    done = hostd.ctl("guest", "exec", "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.returncode, done.stdout, done.stderr) == (42, "out\n", "err\n")
    missing = hostd.ctl("guest", "exec", "no-such-program")
    assert missing.returncode == 127 and "no-such-program" in missing.stderr


def test_programs_may_have_a_million_descriptors_where_they_ask_for_them(guest):
    hostd, _ = guest
    limits = hostd.ctl("guest", "exec", "sh", "-c", "ulimit -Sn; ulimit -Hn").stdout.split()
    assert limits == ["1024", "1048576"]


def test_4_mib_go_into_the_guest_and_come_back_unchanged(guest):
    hostd, _ = guest
    sent = os.urandom(4 << 20)
    done = subprocess.run([hostd.hostctl(), "-n", hostd.ready["socket"], "guest", "exec", "-i",
                           "cat"], input=sent, capture_output=True, timeout=120, check=True)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(sent).digest()


def test_a_hostd_that_is_killed_in_the_midst_leaves_an_agent_that_the_next_one_reaches(lab):
    with running(lab, "takeover") as (hostd, vm):
        talking = subprocess.Popen([hostd.hostctl(), "-n", hostd.ready["socket"], "guest", "exec",
                                    "sh", "-c", "while :; do echo talking; done"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with talking:
            assert talking.stdout.read(100_000)
            hostd.process.kill()
            talking.stdout.read()
            assert talking.wait(60) == 125
        nic = lab.directory / "takeover-again.nic"
        again = lab.hostd("--qemu", nic, "--agent", f"serial:{vm.port}", name="hostd-takeover-again")
        with contextlib.closing(again):
            wait_for_agent(again)
            # What the one before had begun is over.
            wait_until(lambda: all(process["exit"] for process in json.loads(
                again.ctl("--json", "guest", "ps").stdout)), 60, "the end of the program")
            assert again.ctl("guest", "exec", "hostname").stdout == "guest\n"


def test_a_vm_that_is_killed_ends_its_calls_and_the_next_one_is_reached_by_itself(lab):
    with running(lab, "reborn") as (hostd, vm):
        first = wait_for_agent(hostd)
        waiting = subprocess.Popen([hostd.hostctl(), "-n", hostd.ready["socket"], "guest", "exec",
                                    "sleep", "1000"], stderr=subprocess.PIPE, text=True)
        with waiting:
            wait_until(lambda: "sleep 1000" in hostd.ctl("guest", "ps").stdout, 60, "the program")
            vm.kill()
            assert "gone" in waiting.communicate(timeout=60)[1]
            assert waiting.returncode == 125
        nic = lab.directory / "reborn-again.nic"
        with contextlib.closing(AgentVm(lab, qemu.stream_nic_listening(nic), "reborn")):
            assert wait_for_agent(hostd)["boot_id"] != first["boot_id"]


def test_shutdown_ends_programs_and_powers_the_vm_off(lab):
    with running(lab, "ending") as (hostd, vm):
        assert hostd.ctl("guest", "exec", "-d", "sleep", "1000").returncode == 0
        assert hostd.ctl("guest", "shutdown").returncode == 0
        assert vm.process.wait_for_exit(60) == 0


def test_over_tcp_the_agent_is_reached_by_the_guests_own_network_with_a_token_that_nobody_else_reads(lab):
    token = os.urandom(32).hex()
    file = lab.directory / "tcp.token"
    file.touch(mode=0o600)
    file.write_text(token)
    nic = lab.directory / "tcp.nic"
    vm = AgentVm(lab, qemu.stream_nic_listening(nic), "tcp",
                 f"sluice.tcp=1024 sluice.token={token} sluice.serial=off sluice.vsock=off")
    with contextlib.closing(vm):
        hostd = lab.hostd("--qemu-connect", nic, "--agent", "tcp:1024", "--agent-token-file", file,
                          name="hostd-tcp")
        with contextlib.closing(hostd):
            wait_for_agent(hostd)
            steps = boot_steps(hostd)
            assert steps["serve TCP [::]:1024"]["result"] == "done"
            assert steps["hide the token"]["result"] == "done", steps["hide the token"]
            # Root reads what everybody reads.
            line = hostd.ctl("guest", "exec", "cat", "/proc/cmdline").stdout
            assert "sluice.tcp=1024" in line and "sluice.token=" in line
            assert token[:16] not in line
            assert "cmdline" in hostd.ctl("guest", "exec", "cat", "/proc/mounts").stdout
            assert hostd.ctl("guest", "exec", "cat", "/proc/sys/kernel/dmesg_restrict").stdout == "1\n"
            dmesg = hostd.ctl("guest", "exec", "-u", "65534:65534", "dmesg")
            assert token[:16] not in dmesg.stdout
            assert token[:16] not in hostd.ctl("guest", "exec", "cat", "/proc/1/environ").stdout
