"""Programs: how they are found, what they get, and how they end."""

import os
import pathlib
import resource
import signal
import time

import pytest

from harness import protocol
from harness.agent import MACHINE
from harness.client import AGENT, PROCESS, REMOTE_OPEN, CallFailed, Exec

NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED, FAILED_PRECONDITION = 5, 3, 7, 9


def test_ping_says_who_answers(client):
    answer = client.ping()
    assert answer.boot_id == pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert answer.protocol == 1
    assert "exec" in answer.features
    assert answer.version


def test_system_info_is_the_machines(client):
    info = client.call(AGENT, "SystemInfo", protocol.agent.SystemInfoRequest(),
                       protocol.agent.SystemInfoResponse)
    assert info.kernel == os.uname().release
    assert info.hostname == os.uname().nodename
    assert info.arch == MACHINE
    assert info.cpus == os.sysconf("SC_NPROCESSORS_ONLN")
    assert info.total_memory == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert "127.0.0.1/8" in [address for one in info.interfaces for address in one.addresses]
    assert "/proc" in [mount.target for mount in info.mounts]
    assert len(info.load) == 3


@pytest.mark.parametrize("code", [0, 1, 42, 126, 127, 137, 255])
def test_the_exit_code_is_the_programs(run, code):
    status = run("sh", "-c", f"exit {code}").exit
    assert (status.code, status.signal, status.timed_out) == (code, 0, False)


def test_what_the_shell_does_not_find_is_127_and_what_it_may_not_run_126(run, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    assert run("sh", "-c", "no-such-program").exit.code == 127
    assert run("sh", "-c", str(plain)).exit.code == 126


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_is_told_apart_from_an_exit_code(run, number):
    status = run("sh", "-c", f"kill -{int(number)} $$").exit
    assert (status.code, status.signal) == (128 + number, number)


def test_a_program_begins_with_the_limit_of_descriptors_that_was_there_before_the_agent(agent, run):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert run("sh", "-c", "ulimit -Sn; ulimit -Hn").out.split() == [b"%d" % soft, b"%d" % hard]
    assert resource.prlimit(agent.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_the_time_of_the_end_is_told(run):
    before = time.time_ns()
    status = run("true").exit
    assert before - 10**8 <= status.exited_at_ns <= time.time_ns() + 10**8


def test_arguments_come_as_they_are(run):
    args = ["", " ", "a b", "$HOME", "*", "'", "Zürich", "-n", "\n"]
    out = run("python3", "-c", "import sys; print(sys.argv[1:])", *args).out
    assert out.decode().strip() == str(args)


def test_the_environment_is_the_requests_and_nothing_of_the_agents(run):
    out = run("env", env={"A": "1", "HOME": "/somewhere"}).out.decode()
    variables = dict(line.split("=", 1) for line in out.splitlines())
    assert variables.pop("PATH").startswith("/usr/local/sbin:")
    assert variables == {"A": "1", "HOME": "/somewhere", "USER": "root"}


@pytest.mark.parametrize("name", ["", "A=B"])
def test_a_variable_that_no_environment_can_have_is_refused(run, name):
    with pytest.raises(CallFailed) as failed:
        run("true", env={name: "x"})
    assert failed.value.code == INVALID_ARGUMENT


def test_the_working_directory_is_the_requests_or_the_users_home(run):
    assert run("pwd", cwd="/usr").out == b"/usr\n"
    assert run("pwd").out == b"/root\n"
    assert run("pwd", user="nobody").out == b"/\n"      # /nonexistent isn't there


def test_users_and_groups_by_name_and_number(run):
    def ids(user):
        return run("sh", "-c", "echo $(id -u) $(id -g)", user=user, cwd="/").out.decode().split()

    assert ids("") == ["0", "0"]
    assert ids("nobody") == ["65534", "65534"]
    assert ids("65534") == ["65534", "65534"]
    assert ids("nobody:daemon") == ["65534", "1"]
    assert ids("12345:678") == ["12345", "678"]
    assert ids("12345") == ["12345", "0"]
    assert run("id", "-G", user="nobody", cwd="/").out == b"65534\n"


def test_another_user_has_no_capabilities(run):
    out = run("grep", "CapEff", "/proc/self/status", user="nobody", cwd="/").out
    assert out.split() == [b"CapEff:", b"0000000000000000"]


@pytest.mark.parametrize("user", ["no-such-user", "root:no-such-group", "-1", "4294967295",
                                  "4294967296", "root:4294967295"])
def test_a_user_that_is_not_there_is_not_found(run, user):
    with pytest.raises(CallFailed) as failed:
        run("true", user=user)
    assert failed.value.code == NOT_FOUND


def test_a_program_without_a_slash_is_looked_for_in_the_requests_path(run, tmp_path):
    tool = tmp_path / "only-here"
    tool.write_text("#!/bin/sh\necho found $0\n")
    tool.chmod(0o755)
    path = f"/nowhere:{tmp_path}:/usr/bin:/bin"
    assert run("only-here", env={"PATH": path}).out == f"found {tool}\n".encode()
    with pytest.raises(CallFailed) as failed:
        run("only-here")
    assert failed.value.code == NOT_FOUND


def test_a_relative_place_is_one_below_the_working_directory(run, tmp_path):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho ran\n")
    tool.chmod(0o755)
    assert run("./tool", cwd=str(tmp_path)).out == b"ran\n"
    parent, name = str(tmp_path.parent), tmp_path.name
    assert run("tool", cwd=parent, env={"PATH": f"{name}:/usr/bin:/bin"}).out == b"ran\n"


def test_what_cannot_be_run_says_why_and_where(run, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for args, start, code, name, step in [
            (["no-such"], {}, NOT_FOUND, "ENOENT", "execve no-such"),
            (["/no/such"], {}, NOT_FOUND, "ENOENT", "execve /no/such"),
            ([str(plain)], {}, PERMISSION_DENIED, "EACCES", f"execve {plain}"),
            (["/tmp"], {}, PERMISSION_DENIED, "EACCES", "execve /tmp"),
            (["true"], {"cwd": "/no/such"}, NOT_FOUND, "ENOENT", "chdir /no/such"),
            (["true"], {"cwd": "/root", "user": "nobody"}, PERMISSION_DENIED, "EACCES",
             "chdir /root"),
            (["true", "x" * 200_000], {}, INVALID_ARGUMENT, "E2BIG", None)]:
        with pytest.raises(CallFailed) as failed:
            run(*args, **start)
        assert (failed.value.code, failed.value.detail.errno_name) == (code, name), args
        assert step is None or failed.value.detail.step == step
    plain.chmod(0o755)
    with pytest.raises(CallFailed) as failed:
        run(str(plain))
    assert (failed.value.code, failed.value.detail.errno_name) == (FAILED_PRECONDITION, "ENOEXEC")


@pytest.mark.parametrize("args", [[], [""], ["", "x"]])
def test_no_program_is_an_invalid_argument(run, args):
    with pytest.raises(CallFailed) as failed:
        run(*args)
    assert failed.value.code == INVALID_ARGUMENT


def test_text_with_a_nul_is_refused_and_not_cut(run):
    with pytest.raises(CallFailed) as failed:
        run("echo", "a\0b")
    assert failed.value.code == INVALID_ARGUMENT


def test_a_program_starts_with_clean_signals_descriptors_and_a_session_of_its_own(run):
    out = run("cat", "/proc/self/status").out.decode()
    masks = dict(line.split(":", 1) for line in out.splitlines())
    assert int(masks["SigBlk"], 16) == 0 and int(masks["SigIgn"], 16) == 0
    # The fourth is the directory that it looks into.
    assert run("ls", "/proc/self/fd").out.split() == [b"0", b"1", b"2", b"3"]
    pid, group, session = run("sh", "-c", "cut -d' ' -f1,5,6 /proc/$$/stat").out.split()
    assert pid == group == session


def test_streams_that_are_not_wanted_are_dev_null(run):
    assert run("sh", "-c", "readlink /proc/self/fd/0", no_stdin=True).out == b"/dev/null\n"


def test_a_first_message_that_is_no_start_is_refused(client):
    first = protocol.process.ExecRequest(grant=5)
    stream = client.begin(PROCESS, "Exec", first, flags=REMOTE_OPEN)
    with pytest.raises(CallFailed) as failed:
        client.end(stream, protocol.process.ExecResponse)
    assert failed.value.code == INVALID_ARGUMENT


def test_a_second_start_ends_the_call(client):
    call = Exec(client, "sleep", "60")
    call.send(start=protocol.process.ExecStart(args=["true"]))
    with pytest.raises(CallFailed) as failed:
        call.finish()
    assert failed.value.code == INVALID_ARGUMENT
