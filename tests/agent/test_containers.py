"""The life of containers, by the real runtime."""

import os
import pathlib
import shutil
import signal
import time

import pytest

from harness import agent as agents
from harness import containers, protocol
from harness.client import PROCESS, CallFailed
from harness.containers import Box, ContainerAgent, ContainerExec, messages

SECOND = 10**9
NOT_FOUND, INVALID_ARGUMENT, ALREADY_EXISTS = 5, 3, 6
PERMISSION_DENIED, FAILED_PRECONDITION = 7, 9
SIZE = protocol.process.TerminalSize

pytestmark = pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not()))


rootfs, agent, client, box = containers.fixtures()


@pytest.mark.parametrize("code", [0, 42, 126, 127])
def test_the_programs_exit_code_is_the_containers(box, code):
    status, _ = box.ended("sh", "-c", f"exit {code}")
    assert (status.code, status.signal, status.error) == (code, 0, "")
    assert abs(status.exited_at_ns / SECOND - time.time()) < 60


def test_a_signals_end_is_told_as_the_signal_and_as_shells_have_it(box):
    made = box.run("sleep", "60")
    # By the machine, as a signal from inside does nothing to the first process of a namespace.
    os.kill(box.info(made).pid, signal.SIGKILL)
    status = box.wait(made)
    assert (status.code, status.signal) == (137, 9)


def test_output_is_in_the_log_whole_and_in_order(box):
    _, out = box.ended("sh", "-c", "echo one; echo two >&2; printf three")
    assert sorted(out) == sorted(b"one\ntwo\nthree")
    assert out.endswith(b"three") or out.endswith(b"two\n")


@pytest.mark.parametrize("args, code, exit_code",
                         [(["no-such-program"], NOT_FOUND, 127),
                          (["/bin/plain"], PERMISSION_DENIED, 126)])
def test_a_program_that_cannot_be_run_fails_the_start_and_says_so(box, args, code, exit_code):
    made = box.create(*args).id
    with pytest.raises(CallFailed) as failed:
        box.call("Start", container=made)
    assert (failed.value.code, failed.value.detail.step) == (code, f"execve {args[0]}")
    assert args[0] in failed.value.message
    status = box.wait(made)
    assert status.code == exit_code and status.error
    assert box.state(made) == "STOPPED"


def test_it_has_processes_a_root_a_host_name_and_a_user_of_its_own(box):
    script = "echo $$; hostname; id -u; id -g; id -G; ls /; pwd; echo $HOME $NAME"
    status, out = box.ended("sh", "-c", script, hostname="inner", user="worker", cwd="/tmp",
                            env={"NAME": "value"})
    lines = out.decode().split("\n")
    assert status.code == 0
    assert lines[:5] == ["1", "inner", "1234", "1235", "1235 1300"]
    assert "bin" in lines and "usr" not in lines
    assert lines[-3:] == ["/tmp", "/tmp value", ""]


def test_a_user_that_is_not_in_the_containers_passwd_fails_the_start(box):
    made = box.create("true", user="nobody-here").id
    with pytest.raises(CallFailed) as failed:
        box.call("Start", container=made)
    assert failed.value.code == NOT_FOUND


def test_what_ignores_the_stop_is_killed_when_its_time_is_over(box):
    made = box.run("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    agents.until(lambda: box.logs(made).text(), "it is ready")
    began = time.monotonic()
    status = box.call("Stop", container=made, timeout_ns=SECOND // 2).exit
    assert time.monotonic() - began > 0.4
    assert (status.code, status.signal) == (137, 9)
    assert box.state(made) == "STOPPED"


def test_what_minds_the_stop_ends_by_itself(box):
    made = box.run("sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done",
                   stop_signal="SIGUSR1")
    agents.until(lambda: box.logs(made).text(), "it is ready")
    assert box.call("Stop", container=made).exit.code == 7
    # And once more: at once, and the same.
    assert box.call("Stop", container=made).exit.code == 7


def test_a_fork_bomb_ends_with_one_call(agent, box):
    made = box.run("sh", "-c", "f() { f & f & sleep 60; }; "
                   "i=0; while [ $i -lt 60 ]; do sleep 60 & i=$((i+1)); done; "
                   "while :; do sh -c 'sleep 0.2' & sleep 0.01; done")
    agents.until(lambda: len(box.call("Top", container=made).processes) > 50, "it has grown")
    status = box.call("Stop", container=made, timeout_ns=-1).exit
    assert status.signal == 9
    assert agent.cgroups() == []


def test_a_stop_answers_when_no_process_is_left(agent, box):
    made = box.run("sh", "-c", "trap '' TERM; for i in 1 2 3; do sleep 60 & done; wait")
    pids = [one.pid for one in box.call("Top", container=made).processes]
    box.call("Stop", container=made, timeout_ns=SECOND // 10)
    assert not any(agents.runs(pid) for pid in pids)
    assert agent.cgroups() == []


def test_a_pause_stops_every_process_and_a_resume_lets_them_go_on(box):
    made = box.run("sh", "-c", "while :; do echo x; sleep 0.01; done")
    agents.until(lambda: box.logs(made).text(), "it writes")
    box.call("Pause", container=made)
    assert box.state(made) == "PAUSED"
    lengths = [0]

    def is_silent():
        """What it wrote before its pause may still be on its way into the log."""
        time.sleep(0.1)
        lengths.append(len(box.logs(made).text()))
        return lengths[-2] == lengths[-1]
    agents.until(is_silent, "it writes no more")
    with pytest.raises(CallFailed) as failed:
        box.call("Pause", container=made)
    assert failed.value.code == FAILED_PRECONDITION
    box.call("Resume", container=made)
    assert box.state(made) == "RUNNING"
    agents.until(lambda: len(box.logs(made).text()) > lengths[-1], "it writes again")


def test_a_paused_container_can_be_stopped(box):
    made = box.run("sleep", "60")
    box.call("Pause", container=made)
    assert box.call("Stop", container=made, timeout_ns=SECOND // 10).exit.signal == 9


def test_names_are_unique_until_they_are_given_back(box):
    first = box.create("true", name="web").id
    with pytest.raises(CallFailed) as failed:
        box.create("true", name="web")
    assert failed.value.code == ALREADY_EXISTS
    box.call("Remove", container="web")
    second = box.create("true", name="web").id
    assert first != second
    assert box.info("web").id == second == box.info(second[:10]).id


@pytest.mark.parametrize("fields", [{"name": "../x"}, {"name": "-x"}, {"rootfs": None},
                                    {"rootfs": "relative"}, {"cwd": "relative"},
                                    {"stop_signal": "NOSUCH"}, {"network": "else"},
                                    {"network": "bridge"}, {"add_capabilities": ["FLY"]},
                                    {"dns": ["x"]}, {"env": {"a=b": "c"}}, {"hostname": "a/b"}])
def test_what_is_wrong_is_an_invalid_argument(box, fields):
    with pytest.raises(CallFailed) as failed:
        box.create("true", **fields)
    assert failed.value.code == INVALID_ARGUMENT
    assert not box.call("List", all=True).containers


def test_unknown_containers_are_not_found(box):
    for method in ("Start", "Stop", "Kill", "Pause", "Resume", "Wait", "Remove", "Inspect",
                   "Stats", "Update", "Top"):
        with pytest.raises(CallFailed) as failed:
            box.call(method, container="nobody")
        assert failed.value.code == NOT_FOUND, method


def test_what_runs_is_removed_only_by_force(box):
    made = box.run("sleep", "60")
    with pytest.raises(CallFailed) as failed:
        box.call("Remove", container=made)
    assert failed.value.code == FAILED_PRECONDITION
    box.call("Remove", container=made, force=True)
    with pytest.raises(CallFailed) as failed:
        box.info(made)
    assert failed.value.code == NOT_FOUND


def test_the_list_has_what_runs_and_all_of_it_where_that_is_asked_for(box):
    running = box.run("sleep", "60", name="r", labels={"a": "1", "b": "2"})
    box.create("true", name="c", labels={"a": "1"})
    assert [one.name for one in box.call("List").containers] == ["r"]
    assert [one.name for one in box.call("List", all=True).containers] == ["r", "c"]
    found = box.call("List", all=True, labels={"a": "1", "b": "2"}).containers
    assert [one.id for one in found] == [running]
    assert list(found[0].args) == ["sleep", "60"] and found[0].pid > 0


def test_a_dead_container_never_says_that_it_runs(box):
    made = box.run("sleep", "60")
    os.kill(box.info(made).pid, signal.SIGKILL)
    assert box.wait(made).signal == 9
    assert box.state(made) == "STOPPED" and box.info(made).pid == 0


def test_a_failure_is_restarted_as_often_as_was_said(box):
    policy = messages.RestartPolicy(kind="ON_FAILURE", most=2)
    made = box.run("sh", "-c", "echo run; exit 3", restart=policy)
    assert box.wait(made).code == 3
    assert box.info(made).restarts == 2
    assert box.logs(made).text() == b"run\n" * 3
    ended = box.run("true", restart=policy)
    assert box.wait(ended).code == 0 and box.info(ended).restarts == 0


def test_what_was_stopped_is_not_restarted(box):
    made = box.run("sleep", "60", restart=messages.RestartPolicy(kind="ALWAYS"))
    first = box.info(made).pid
    os.kill(first, signal.SIGKILL)
    agents.until(lambda: box.info(made).pid not in (0, first), "it runs again")
    box.call("Stop", container=made, timeout_ns=-1)
    assert box.wait(made).signal == 9 and box.state(made) == "STOPPED"


def test_it_can_be_started_again_and_its_log_goes_on(box):
    made = box.run("sh", "-c", "echo run")
    box.wait(made)
    box.call("Start", container=made)
    box.wait(made)
    assert box.logs(made).text() == b"run\nrun\n"


def test_auto_remove_leaves_nothing(agent, box):
    made = box.create("sh", "-c", "exit 9", auto_remove=True).id
    waiting = box.begin("Wait", container=made)
    box.call("Start", container=made)
    assert box.client.end(waiting, box.response("Wait")).exit.code == 9
    agents.until(lambda: not box.call("List", all=True).containers, "it is gone")
    assert not list((agent.data / "containers").iterdir())


def test_mounts_are_where_they_were_asked_for(box, tmp_path):
    (tmp_path / "file").write_text("of the VM")
    mounts = [messages.ContainerMount(kind="BIND", source=str(tmp_path), target="/in/bind"),
              messages.ContainerMount(kind="BIND", source=str(tmp_path), target="/in/fixed",
                                      read_only=True),
              messages.ContainerMount(kind="TMPFS", target="/in/tmp", size=1 << 20)]
    _, out = box.ended("sh", "-c", "cat /in/bind/file; echo; echo new >/in/bind/new; "
                       "touch /in/fixed/x 2>/dev/null || echo refused; "
                       "df -k /in/tmp | tail -1 | awk '{print $2}'", mounts=mounts)
    assert out.decode().split("\n") == ["of the VM", "refused", "1024", ""]
    assert (tmp_path / "new").read_text() == "new\n"


def test_a_read_only_root_cannot_be_written_to(box):
    status, _ = box.ended("sh", "-c", "touch /x", read_only=True)
    assert status.code != 0
    status, _ = box.ended("sh", "-c", "touch /tmp/x && rm /tmp/x")
    assert status.code == 0


def test_calls_that_reach_the_kernel_are_refused_to_its_programs(box):
    # In one stream, as nothing orders two.
    script = ("exec 2>&1; grep Seccomp: /proc/self/status; "
              "unshare -U true || mount -t tmpfs x /tmp || echo no")
    _, out = box.ended("sh", "-c", script)
    assert out.startswith(b"Seccomp:\t2\n") and out.endswith(b"\nno\n"), out
    made = box.run("sleep", "1000")
    out, _ = ContainerExec(box.client, made, "grep", "Seccomp:", "/proc/self/status").finish()
    assert out == b"Seccomp:\t2\n"
    # A capability brings the calls that it is there for.
    _, out = box.ended("sh", "-c", "mount -t tmpfs x /tmp && echo mounted", add_capabilities=["sys_admin"])
    assert out == b"mounted\n"


def test_capabilities_are_the_usual_ones_and_what_is_asked_for(box):
    def effective(**fields):
        _, out = box.ended("sh", "-c", "grep CapEff /proc/self/status", **fields)
        return int(out.split()[1], 16)
    assert effective() == 0xA80425FB
    assert effective(drop_capabilities=["ALL"]) == 0
    assert effective(drop_capabilities=["all"], add_capabilities=["CAP_CHOWN"]) == 1
    assert effective(add_capabilities=["sys_admin"]) == 0xA80425FB | 1 << 21


def test_new_privileges_are_off_where_that_is_asked_for(box):
    for wanted in (False, True):
        _, out = box.ended("sh", "-c", "grep NoNewPrivs /proc/self/status",
                           no_new_privileges=wanted)
        assert out.split()[1] == (b"1" if wanted else b"0")


def test_the_kernels_own_paths_are_hidden_or_fixed(box):
    _, out = box.ended("sh", "-c", "ls /sys/firmware | wc -l; for file in sysrq-trigger sys/kernel/hostname; "
                       "do (echo 1 >/proc/$file) 2>/dev/null || echo refused; done")
    assert out == b"0\nrefused\nrefused\n"


def test_stats_and_top_tell_what_it_uses(box):
    made = box.run("sh", "-c", "sleep 60 & while :; do :; done")
    agents.until(lambda: box.call("Stats", container=made).cpu_ns > 10_000_000, "it works")

    def top():
        """Once the shell's child has become what it runs."""
        found = box.call("Top", container=made).processes
        return found if ("sleep", "60") in [tuple(one.args) for one in found] else None
    found = agents.until(top, "all of it runs")
    assert found[0].inner_pid == 1
    assert all(one.memory > 0 for one in found)


def test_a_program_in_it_shares_its_namespaces(box):
    made = box.run("sleep", "60", hostname="inner", env={"A": "1", "B": "2"}, cwd="/tmp")
    call = ContainerExec(box.client, made, "sh", "-c",
                         "hostname; id -un; echo $A $B; pwd; cat; exit 5", env={"B": "3"},
                         user="worker")
    call.send(stdin=b"typed\n")
    call.send(stdin_closed=True)
    out, err = call.finish()
    assert (out, err) == (b"inner\nworker\n1 3\n/tmp\ntyped\n", b"")
    assert (call.exit.code, call.exit.signal) == (5, 0)


def test_a_program_in_it_has_a_terminal_that_is_resized(box):
    made = box.run("sleep", "60")
    call = ContainerExec(box.client, made, "sh", "-c",
                         "until [ \"$(stty size)\" = '20 70' ]; do sleep 0.02; done 2>/dev/null; "
                         "trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.02; done",
                         terminal=SIZE(rows=20, columns=70))
    # The runtime starts it before it hands over the terminal, which has its size then.
    seen = b""
    while b"ready\r\n" not in seen:
        seen += call.receive().stdout
    call.send(resize=SIZE(rows=33, columns=44))
    assert call.finish()[0] == b"33 44\r\n"
    assert call.exit.code == 5


def test_a_signals_end_of_a_program_in_it_is_told(box):
    made = box.run("sleep", "60")
    call = ContainerExec(box.client, made, "sh", "-c", "echo ready; exec sleep 60")
    assert call.receive().stdout == b"ready\n"
    call.send(signal=signal.SIGTERM)
    call.finish()
    assert (call.exit.code, call.exit.signal) == (143, 15)


def test_a_program_in_it_ends_with_its_client_and_a_detached_one_does_not(agent, box):
    made = box.run("sleep", "60")
    other = agent.connect()
    call = ContainerExec(other, made, "sh", "-c", "echo ready; exec sleep 60")
    assert call.receive().stdout == b"ready\n"
    detached = ContainerExec(other, made, "sleep", "61", detach=True)
    other.close()
    agents.until(lambda: not agents.runs(call.pid), "the program ends")
    assert agents.runs(detached.pid)
    box.call("Stop", container=made, timeout_ns=-1)
    request = protocol.process.WaitRequest(id=detached.id)
    ended = box.client.call(PROCESS, "Wait", request, protocol.process.WaitResponse)
    assert ended.exit.signal == 9


@pytest.mark.parametrize("program, code", [("no-such", NOT_FOUND),
                                           ("/bin/plain", PERMISSION_DENIED)])
def test_a_program_that_is_not_in_it_is_told(box, program, code):
    made = box.run("sleep", "60")
    with pytest.raises(CallFailed) as failed:
        ContainerExec(box.client, made, program)
    assert (failed.value.code, failed.value.detail.step) == (code, f"execve {program}")


def test_nothing_can_be_run_in_what_does_not_run(box):
    made = box.create("true").id
    with pytest.raises(CallFailed) as failed:
        ContainerExec(box.client, made, "true")
    assert failed.value.code == FAILED_PRECONDITION


def test_a_runs_output_and_input_go_by_an_attach_from_before_its_start(box):
    made = box.create("sh", "-c", "cat; echo err >&2; exit 4", open_stdin=True).id
    attach = box.attach(made)
    attach.send(stdin=b"one\n")
    box.call("Start", container=made)
    attach.send(stdin=b"two\n")
    attach.send(stdin_closed=True)
    assert attach.finish() == (b"one\ntwo\n", b"err\n")
    assert attach.exit.code == 4


def test_an_attached_terminal_is_one(box):
    made = box.create("sh", "-c", "stty size; read a; stty size; echo got $a; exit 6",
                      terminal=SIZE(rows=11, columns=22), open_stdin=True).id
    attach = box.attach(made)
    assert attach.attached.terminal
    box.call("Start", container=made)
    attach.read_until(b"11 22\r\n")
    attach.send(resize=SIZE(rows=33, columns=44))
    attach.send(stdin=b"word\n")
    assert attach.finish()[0].endswith(b"33 44\r\ngot word\r\n")
    assert attach.exit.code == 6


def test_clients_that_go_at_any_point_leave_the_container_as_it_is(agent, box):
    made = box.create("sh", "-c", "echo ready; exec sleep 60", open_stdin=True).id
    for method in ("Wait", "Start", "Wait", "Stop"):
        other = Box(agent.connect(), box.rootfs)
        other.begin(method, container=made, **({"timeout_ns": SECOND} if method == "Stop" else {}))
        other.client.ping()
        other.client.close()
        if method == "Start":
            agents.until(lambda: box.state(made) == "RUNNING", "it runs all the same")
            for _ in range(5):
                other = Box(agent.connect(), box.rootfs)
                other.attach(made)
                other.logs(made, follow=True)
                other.client.close()
            assert box.state(made) == "RUNNING"
    agents.until(lambda: box.state(made) == "STOPPED", "it stops all the same")


def test_many_lives_leave_nothing_behind(agent, box):
    lives(agent, box, 300, 12)


@pytest.mark.long
def test_ten_thousand_lives_leave_nothing_behind(agent, box):
    assert lives(agent, box, 10_000, 3600) == 10_000


def lives(agent, box, count, seconds):
    """So many, or what a slow machine has of them in so many seconds; how many it were."""
    done = 0
    box.ended("true")
    before = agent.fds()
    deadline = time.monotonic() + seconds
    for number in range(count):
        if time.monotonic() > deadline:
            break
        status, _ = box.ended("sh", "-c", f"exit {number % 200}")
        assert status.code == number % 200
        done += 1
    agents.until(lambda: agent.fds() <= before, "no descriptor is left")
    # A shim ends a moment after its container's end is told.
    agents.until(lambda: agent.children() == [] and agent.shims() == [], "no process is left")
    assert agent.mounts() == [] and agent.cgroups() == []
    for directory in (agent.state / "containers", agent.data / "containers"):
        assert list(directory.iterdir()) == []
    return done


def test_without_a_runtime_every_call_says_so_and_processes_work(rootfs):
    home = pathlib.Path(containers.home())
    agent = ContainerAgent(home, runtime="/no/such/runtime")
    box = Box(agent.connect(), rootfs)
    for question in (lambda: box.create("true"), lambda: box.call("List"),
                     lambda: box.call("Start", container="x")):
        with pytest.raises(CallFailed) as failed:
            question()
        assert failed.value.code == FAILED_PRECONDITION
        assert "/no/such/runtime" in failed.value.message
    agent.close()
    shutil.rmtree(home)
