"""hostctl guest: containers, as people run them."""

import json
import pathlib
import shutil
import time

import pytest

from harness import agent as agents
from harness import containers
from harness.hostd import Hostd

pytestmark = pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not()))

rootfs, agent, client, box = containers.fixtures()


@pytest.fixture(scope="module")
def hostd(agent):
    home = containers.home()
    made = Hostd(home, f"unix:{agent.path}")
    made.wait_for_agent()
    yield made
    made.close()
    shutil.rmtree(home)


@pytest.fixture
def guest(hostd, box):
    devices = [] if containers.rules_of_devices() else ["--all-devices"]

    def run_one(word, *arguments, stdin=None):
        if word == "run":
            arguments = ["--rootfs", box.rootfs, *devices, *arguments]
        return hostd.ctl("guest", word, *arguments, stdin=stdin)
    return run_one


def test_a_run_is_the_programs_streams_and_exit_status(guest):
    done = guest("run", "-i", "--rm", "-e", "A=b", "sh", "-c", "cat; echo $A >&2; exit 42",
                 stdin=b"typed\n")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"typed\n", b"b\n")
    assert b"No container" in guest("containers", "-a").stdout


@pytest.mark.parametrize("program, status", [("no-such", 127), ("/bin/plain", 126)])
def test_what_cannot_be_run_has_the_usual_exit_status(guest, program, status):
    done = guest("run", "--rm", program)
    assert done.returncode == status and program.encode() in done.stderr or status == 126


@pytest.mark.parametrize("arguments", [["-m", "much", "true"], ["--restart", "x", "true"],
                                       ["-v", "x", "true"], ["--network", "x", "true"]])
def test_what_is_wrong_is_told_before_anything_runs(guest, arguments):
    done = guest("run", *arguments)
    assert done.returncode == 125 and done.stderr
    assert b"No container" in guest("containers", "-a").stdout


def test_a_detached_one_is_listed_and_its_life_is_by_its_name(guest):
    done = guest("run", "-d", "--name", "web", "-l", "a=b", "sh", "-c",
                 "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done")
    assert done.returncode == 0
    made = done.stdout.decode().strip()
    assert b"web" in guest("containers").stdout
    agents.until(lambda: guest("logs", "web").stdout == b"up\n", "it is up")
    done = guest("exec", "-c", "web", "sh", "-c", "hostname; exit 9")
    assert (done.returncode, done.stdout) == (9, made[:12].encode() + b"\n")
    assert guest("pause", "web").returncode == 0
    assert json.loads(guest("inspect", "web").stdout)["state"] == "paused"
    assert guest("resume", "web").returncode == 0
    assert b"web" in guest("stats", "web").stdout
    assert guest("rm", "web").returncode == 1
    assert guest("stop", made[:8]).returncode == 0
    assert guest("wait", "web").stdout == b"3\n"
    assert b"stopped (3)" in guest("containers", "-a").stdout
    assert guest("start", "web").returncode == 0
    assert guest("kill", "web").returncode == 0
    assert guest("wait", "web").stdout == b"137\n"
    assert guest("rm", "web").returncode == 0
    assert guest("inspect", "web").returncode == 1


def test_its_processes_are_listed_and_their_words_move_no_terminal(guest):
    guest("run", "-d", "--name", "busy", "sh", "-c", "while :; do sleep 1; done", "\x1b[2Jx")
    done = guest("top", "busy")
    if b"not here" in done.stderr:
        pytest.skip("no cgroup2 here")
    assert done.returncode == 0 and b"while :; do sleep 1; done" in done.stdout
    assert b"\x1b" not in done.stdout and b"[2Jx" in done.stdout
    assert guest("rm", "-f", "busy").returncode == 0
    assert guest("top", "busy").returncode == 1


def test_logs_are_followed_to_the_end_cut_and_timed(guest):
    guest("run", "-d", "--name", "talk", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done")
    assert guest("logs", "-f", "talk").stdout == b"1\n2\n3\n"
    assert guest("logs", "--tail", "2", "talk").stdout == b"2\n3\n"
    assert guest("logs", "--since", "1h", "talk").stdout == b"1\n2\n3\n"
    assert guest("logs", "--since", str(int(time.time()) + 60), "talk").stdout == b""
    timed = guest("logs", "-t", "talk").stdout.decode().splitlines()
    assert [line.split()[1] for line in timed] == ["1", "2", "3"]
    assert all(line.startswith("20") and "Z " in line for line in timed)
    assert guest("logs", "--since", "sometime", "talk").returncode == 2


def test_programs_get_the_same_as_json(hostd, guest):
    guest("run", "-d", "--name", "j", "sleep", "60")
    found = json.loads(hostd.ctl("--json", "guest", "containers").stdout)
    assert [one["name"] for one in found] == ["j"]
    assert found[0]["state"] == "running" and found[0]["args"] == ["sleep", "60"]
    assert json.loads(hostd.ctl("--json", "guest", "stats", "j").stdout)[0]["container"] == "j"


def test_a_run_with_dockers_log_driver_has_its_lines_of_json(guest):
    made = guest("run", "-d", "--log-driver", "json-file", "echo", "hello").stdout.decode().strip()
    assert guest("wait", made).returncode == 0
    assert guest("logs", made).stdout == b"hello\n"
    where = json.loads(guest("inspect", made).stdout)["log_directory"]
    (file,) = pathlib.Path(where).iterdir()
    assert json.loads(file.read_text())["log"] == "hello\n"
    assert guest("run", "--log-driver", "syslog", "true").returncode not in (0, 126)
