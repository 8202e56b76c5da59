"""Containers in a real VM: an image's layers by overlayfs, limits by cgroups, their names outside. See README.md."""

import contextlib
import json
import subprocess

import pytest

from lab import lab as lab_module
from lab import oci
from lab import vm as qemu
from lab.agent_vm import busybox, wait_for_agent, wait_for_network
from lab.process import wait_until
from lab.world import ALLOWED_NAME, OTHER4

pytestmark = pytest.mark.skipif(lab_module.why_not() is not None,
                                reason=f"VM tests skipped: {lab_module.why_not()}")

PREFIX, FIRST4, PORT = "10.88.0.0/24", "10.88.0.2", 8080
APPLETS = ["sh", "httpd", "wget", "cat", "dd", "sleep", "hostname", "touch", "test", "nslookup"]


class Guest:
    """A VM that runs containers, and its hostd."""

    def __init__(self, lab):
        self.lab = lab
        nic, port = lab.directory / "box.nic", lab.directory / "box.agent"
        self.hostd = lab.hostd("--qemu", nic, "--allow", ALLOWED_NAME, "--route", PREFIX, "--agent",
                               f"serial:{port}", "-p", f"{PORT}:{FIRST4}:80", name="hostd-box")
        lab.agent_vm(qemu.stream_nic(nic), "box", f"sluice.containers={PREFIX}")
        wait_for_agent(self.hostd)
        wait_for_network(self.hostd)
        archive = lab.directory / "box.tar"
        oci.write_archive(archive, "box:1", busybox(), APPLETS)
        done = self.ctl("image", "import", archive)
        assert done.returncode == 0, done.stderr

    def ctl(self, *words):
        return self.hostd.ctl("guest", *words)

    def run(self, *words):
        """A container that runs to its end and is removed; its exit status is hostctl's."""
        return self.ctl("run", "--rm", *words)


@pytest.fixture(scope="module")
def guest(lab):
    return Guest(lab)


@contextlib.contextmanager
def detached(guest, name, *words):
    done = guest.ctl("run", "-d", "--name", name, *words)
    assert done.returncode == 0, done.stderr
    try:
        yield done.stdout.strip()
    finally:
        guest.ctl("rm", "-f", name)


def test_a_published_port_leads_to_a_container(guest):  # the first one, which gets the first address
    with detached(guest, "published", "box:1"):
        assert FIRST4 in guest.ctl("containers").stdout
        def page():     # The container's server listens a moment after the container has started.
            return guest.lab.world.host.run("curl", "-sS", "-m", "30", f"http://127.0.0.1:{PORT}/",
                                            check=False).stdout
        assert wait_until(page, 60, "the page") == oci.PAGE


@pytest.mark.parametrize("script, code", [("exit 0", 0), ("exit 42", 42), ("kill -9 $$; exit 1", 1)])
def test_the_exit_status_is_the_containers(guest, script, code):
    assert guest.run("box:1", "sh", "-c", script).returncode == code


def test_a_program_that_is_not_there_is_127(guest):
    done = guest.run("box:1", "no-such-program")
    assert done.returncode == 127 and "no-such-program" in done.stderr


def test_what_a_container_writes_stays_with_it_and_the_image_as_it_was(guest):
    with detached(guest, "writer", "box:1", "sh", "-c", "touch /mark; sleep 1000"):
        wait_until(lambda: guest.ctl("exec", "-c", "writer", "test", "-e", "/mark").returncode == 0, 60,
                   "the file")
        assert guest.run("box:1", "test", "-e", "/mark").returncode == 1


def test_a_container_that_takes_more_memory_than_it_has_is_ended_and_says_so(guest):
    with detached(guest, "glutton", "-m", "16M", "box:1", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M",
                  "count=1"):
        assert guest.ctl("wait", "glutton").returncode == 0
        told = json.loads(guest.hostd.ctl("--json", "guest", "inspect", "glutton").stdout)
        assert '"oom": true' in json.dumps(told)
        assert guest.ctl("containers", "-a").stdout.count("stopped (137") == 1


def test_a_fork_bomb_is_held_by_its_limit_and_ended_by_a_stop(guest):
    bomb = "b() { b | b & }; b; sleep 1000"
    with detached(guest, "bomb", "--pids", "50", "box:1", "sh", "-c", bomb):
        assert guest.ctl("stop", "-t", "0", "bomb").returncode == 0
        # The guest is as it was: it can start another.
        assert guest.run("box:1", "sh", "-c", "exit 0").returncode == 0


def test_a_container_is_found_by_its_name_by_another_and_by_the_vm(guest):
    with detached(guest, "web", "box:1"):
        for where in (("exec", "sh", "-c"), ("run", "--rm", "box:1", "sh", "-c")):
            def page(where=where):
                return guest.ctl(*where, "wget -q -O - http://web/").stdout
            assert wait_until(page, 60, "the page") == oci.PAGE
    assert guest.ctl("exec", "nslookup", "-type=a", "web.guest.internal").returncode != 0


def test_what_a_container_may_reach_is_judged_by_itself_and_told_with_its_name(guest):
    with detached(guest, "suspect", "box:1", "sleep", "1000"):
        allowed = guest.ctl("exec", "-c", "suspect", "wget", "-q", "-O", "-", f"http://{ALLOWED_NAME}/")
        assert allowed.stdout == "hello from the world\n", allowed.stderr
        mark = guest.hostd.mark()
        denied = guest.ctl("exec", "-c", "suspect", "wget", "-q", "-O", "-", f"http://{OTHER4}/")
        assert denied.returncode != 0 and "refused" in denied.stderr
        assert "(container suspect)" in guest.hostd.refusal_of(OTHER4, mark)
        shown = guest.hostd.ctl("--json", "events", "--denied", "--to", OTHER4).stdout
        assert '"container":"suspect"' in shown.replace(": ", ":")


def test_files_go_into_a_container_and_come_out_unchanged(guest, tmp_path):
    (tmp_path / "in").write_bytes(bytes(range(256)) * 1000)
    with detached(guest, "files", "box:1", "sleep", "1000"):
        assert guest.ctl("cp", tmp_path / "in", "files:/tmp/there").returncode == 0
        assert guest.ctl("cp", "files:/tmp/there", tmp_path / "out").returncode == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


def test_logs_are_followed_to_the_end(guest):
    with detached(guest, "talker", "box:1", "sh", "-c", "echo one; sleep 1; echo two"):
        done = subprocess.run([guest.hostd.hostctl(), "-n", guest.hostd.ready["socket"], "guest", "logs",
                               "-f", "talker"], capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout == "one\ntwo\n"
