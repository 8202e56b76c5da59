#!/usr/bin/python3
"""What the guest's agent costs and how fast it is, in a table; README.md says what each line is.

agent.py [--vm] [--smoke] [--reps N]

As root. Outside a VM: the agent as a service and as PID 1 in namespaces of its own, with crun's
containers of a busybox. --vm: as PID 1 of a QEMU guest besides, as `hostctl guest` on the host sees it.
--smoke: as little as proves that it works. What this machine lacks is said, and left out.
Exit: 0, or 1 (something did not work; the reason is printed).
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "agent"), str(HERE.parent / "vm")]

from harness import agent as agents                                   # noqa: E402
from harness import client as ttrpc                                   # noqa: E402
from harness import containers, protocol                              # noqa: E402
from harness.client import AGENT, DATA, PROCESS, REQUEST, Exec        # noqa: E402
from harness.hostd import HOSTD                                       # noqa: E402
from harness.netns import OwnNetwork                                  # noqa: E402
from test_init import SOCKET, Guest                                   # noqa: E402

MIB = 1 << 20
NETWORK = "sluice.agent.v1.Network"
GUEST_NS = f"agent-bench-{os.getpid()}"


class Table:
    """Prints a line as soon as it is known."""

    def heading(self, text):
        print(f"\n{text}", flush=True)

    def add(self, what, values, unit, target=""):
        """The median, and between which it lies, of figures of one kind."""
        values = sorted(values if isinstance(values, list) else [values])
        span = "" if len(values) == 1 else f"  ({values[0]:.4g} to {values[-1]:.4g}, of {len(values)})"
        print(f"  {what:<52} {statistics.median(values):>9.4g} {unit:<8}{span:<34} {target}", flush=True)

    def lacks(self, what, why):
        print(f"  {what:<52} not measured: {why}", flush=True)


def timed(work):
    begin = time.perf_counter()
    made = work()
    return time.perf_counter() - begin, made


def size_of_program(table):
    with tempfile.TemporaryDirectory() as directory:
        stripped = pathlib.Path(directory) / "agent"
        subprocess.run(["strip", "-o", stripped, agents.AGENT], check=True)
        table.add("program, stripped", stripped.stat().st_size / 1e6, "MB", "2")


def first_answer(directory):
    """From before fork to the answer to a Ping, of an agent that starts as a service."""
    path = pathlib.Path(directory) / "first.sock"
    path.unlink(missing_ok=True)
    begin = time.perf_counter()
    with subprocess.Popen([agents.AGENT, "--unix", path], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while True:
            with contextlib.suppress(OSError):
                client = ttrpc.connect(path)
                break
        client.ping()
        took = time.perf_counter() - begin
        client.close()
        process.terminate()
    return took


def ping_times(sock, count):
    """Round trips on a connection that nothing else uses, without the time that Python takes to encode and decode."""
    request = protocol.envelope.Request(
        service=AGENT, method="Ping",
        payload=protocol.agent.PingRequest().SerializeToString()).SerializeToString()
    times = []
    sock.settimeout(None)       # Else each receive costs a poll besides.
    for stream in range(1, 2 * count, 2):
        frame = struct.pack(">IIBB", len(request), stream, REQUEST, 0) + request
        begin = time.perf_counter()
        sock.send(frame)
        sock.recv(4096)
        times.append(time.perf_counter() - begin)
    return times


def exec_times(client, count):
    def one():
        Exec(client, "/bin/true").finish()
    return [timed(one)[0] for _ in range(count)]


def stdout_rate(client, size):
    """Bytes a second of a program's output, by a client that grants all of it at once."""
    call = Exec(client, "head", "-c", str(size), "/dev/zero")
    call.send(grant=size)
    begin, got = time.perf_counter(), 0
    while True:
        kind, _, payload = client.read_frame(call.stream)
        if kind != DATA or len(payload) < 64:       # Its exit, and the end.
            message = protocol.process.ExecResponse.FromString(payload)
            if message.WhichOneof("message") == "exit":
                break
            continue
        got += len(payload)
    took = time.perf_counter() - begin
    assert got >= size, got
    return got / took


def service(table, reps, smoke):
    table.heading("The agent as a service, over a Unix socket")
    size_of_program(table)
    with tempfile.TemporaryDirectory() as directory:
        table.add("start to first answer", [1e3 * first_answer(directory) for _ in range(reps)], "ms", "5")
        agent = agents.Agent(directory)
        try:
            client = agent.connect()
            client.ping()
            idle = agent.rss()
            table.add("resident memory, idle", idle / MIB, "MiB", "3")
            table.add("ping, median", [1e6 * statistics.median(ping_times(agent.connect().sock, 200 if smoke else 5000))
                                       for _ in range(reps)], "us", "60")
            table.add("a program, from call to exit", [1e3 * statistics.median(exec_times(client, 20))
                                                       for _ in range(reps)], "ms", "2")
            calls = [Exec(client, "sleep", "1000") for _ in range(10 if smoke else 200)]
            table.add("memory for each program under way", (agent.rss() - idle) / len(calls) / 1024, "KiB", "32")
            for call in calls:
                call.send(signal=9)
                call.finish()
            size = 16 * MIB if smoke else 1 << 30
            table.add("output of a program", [stdout_rate(agent.connect(), size) / 1e9 for _ in range(reps)],
                      "GB/s", "2")
        finally:
            agent.close()


def answers(table, reps, smoke):
    """The guest's resolver, asked by dnsperf for names that it has."""
    if not shutil.which("dnsperf"):
        return table.lacks("names", "dnsperf is not installed")
    count, seconds = 1000, 1 if smoke else 5
    with tempfile.TemporaryDirectory() as directory, OwnNetwork():
        agent = agents.Agent(directory, "--dns", "on")
        try:
            client = agent.connect()
            for i in range(count):
                client.call(NETWORK, "RegistryAdd", protocol.network.RegistryAddRequest(
                    registration=protocol.network.Registration(
                        owner=f"o{i}", names=[f"name{i}"], addresses=[f"10.88.{i >> 8}.{i & 255}"])),
                    protocol.network.RegistryAddResponse)
            questions = pathlib.Path(directory) / "questions"
            questions.write_text("".join(f"name{i}.guest.internal A\n" for i in range(count)))
            for mode in ("udp", "tcp"):
                rates, costs = [], []
                for _ in range(reps):
                    before = agent.cpu_ticks()
                    done = subprocess.run(["dnsperf", "-s", "127.0.0.1", "-m", mode, "-d", questions, "-l",
                                           str(seconds), "-c", "16", "-q", "256"], capture_output=True, text=True,
                                          timeout=60 + seconds, check=True).stdout
                    used = (agent.cpu_ticks() - before) / os.sysconf("SC_CLK_TCK")
                    rates.append(float(re.search(r"Queries per second:\s+([\d.]+)", done)[1]))
                    costs.append(1e6 * used / int(re.search(r"Queries completed:\s+(\d+)", done)[1]))
                table.add(f"names it has, over {mode.upper()}", rates, "/s")
                table.add("  processor time each", costs, "us")
        finally:
            agent.close()
    return None


def runtime_alone(agent, rootfs, count):
    """What crun takes by itself, from its file and with no network, cgroup or filter to make: the times of `crun run`
    and of `crun exec` of `true` to its exit, without the way into the namespaces."""
    bundle = agent.home / "bundle"
    bundle.mkdir()
    subprocess.run([containers.RUNTIME, "spec", "-b", bundle], check=True, capture_output=True)
    config = json.loads((bundle / "config.json").read_text())
    config["root"] = {"path": str(rootfs), "readonly": True}
    config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network")]
    config["linux"].pop("resources", None)
    crun = [containers.RUNTIME, "--root", str(agent.home / "crun"), "--cgroup-manager=disabled"]

    def write(*args):
        config["process"] |= {"terminal": False, "args": args}
        (bundle / "config.json").write_text(json.dumps(config))

    def inside(*command):
        # Not captured: what stays would hold the pipes.
        return timed(lambda: subprocess.run(
            ["nsenter", "--target", str(agent.holder.pid), "--mount", "--net", *command], check=True, timeout=60,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))[0]

    way_in = statistics.median(inside("/bin/true") for _ in range(count))
    write("/bin/true")
    runs = [inside(*crun, "run", "-b", str(bundle), f"alone{i}") - way_in for i in range(count)]
    write("/bin/sleep", "1000")
    inside(*crun, "run", "--detach", "-b", str(bundle), "stays")
    try:
        execs = [inside(*crun, "exec", "stays", "/bin/true") - way_in for _ in range(count)]
    finally:
        inside(*crun, "delete", "--force", "stays")
    return runs, execs


def container_calls(table, smoke):
    table.heading("Containers, by crun, of a busybox in a directory")
    if reason := containers.why_not():
        return table.lacks("all of it", reason)
    count = 5 if smoke else 50
    home = containers.home()
    agent = containers.ContainerAgent(home)
    try:
        rootfs = containers.make_rootfs(pathlib.Path(home) / "root")
        box = containers.Box(agent.connect(), rootfs)
        times = {"create": [], "start": [], "exec": [], "life": []}
        for _ in range(count):
            took, made = timed(lambda: box.create("sleep", "1000").id)
            times["create"].append(1e3 * took)
            times["start"].append(1e3 * timed(lambda made=made: box.call("Start", container=made))[0])
            times["exec"].append(1e3 * timed(
                lambda made=made: containers.ContainerExec(box.client, made, "true").finish())[0])
            box.call("Remove", container=made, force=True)
            times["life"].append(1e3 * timed(lambda: box.ended("true"))[0])
        table.add("create", times["create"], "ms")
        table.add("start, to its program running", times["start"], "ms")
        table.add("create, start, run `true`, wait, logs, remove", times["life"], "ms")
        try:
            runs, execs = runtime_alone(agent, rootfs, count)
            table.add("  crun alone, `crun run` of `true`", [1e3 * one for one in runs], "ms")
            table.add("  crun alone, `crun exec` of `true`", [1e3 * one for one in execs], "ms")
        except subprocess.CalledProcessError as error:
            table.lacks("  crun alone", error)
        table.add("exec in it of `true`, to its exit", times["exec"], "ms")
        idle = agent.rss()
        made = [box.run("sleep", "1000") for _ in range(count)]
        table.add("memory of the agent for each container", (agent.rss() - idle) / count / 1024, "KiB", "64")
        shims = [pss(pid) for pid in agent.shims()]
        table.add("memory of a shim, its share of what is shared", [one / 1024 for one in shims], "KiB")
        for one in made:
            box.call("Remove", container=one, force=True)
    finally:
        agent.close()
        shutil.rmtree(home)
    return None


def pss(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) << 10


@contextlib.contextmanager
def gateway(directory):
    """A network namespace with an eth0 whose other end is hostd's."""
    subprocess.run(["ip", "netns", "add", GUEST_NS], check=True)
    try:
        reader, writer = os.pipe()
        with subprocess.Popen(["unshare", "--net", HOSTD, "run", "--tap", f"eth0@{GUEST_NS}", "--runas", "root",
                               "--api", f"{directory}/api", "--dns", "192.0.2.1", "--ready-fd", str(writer)],
                              pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            os.close(writer)
            with os.fdopen(reader) as ready:
                assert ready.readline(), "hostd is not ready"
            yield
            process.terminate()
    finally:
        subprocess.run(["ip", "netns", "del", GUEST_NS], check=True)


def booted(directory, network):
    """When one boot as PID 1 in namespaces could be called, and had its network, in ms since the agent's start."""
    line = f"quiet sluice.unix={SOCKET} sluice.vsock=off sluice.serial=off sluice.nic=eth0 {network}"
    guest = Guest(directory, line, f"netns={GUEST_NS}")
    try:
        def network_is_up():
            steps = {step.name: step for step in guest.report().steps}
            step = steps.get("network")
            return steps if step and step.result != protocol.agent.BootStep.RUNNING else None
        steps = agents.until(network_is_up, "the network is up")
        network_step = steps["network"]
        assert network_step.result == protocol.agent.BootStep.DONE, network_step.message
        guest.shut_down(grace_ns=1)
        guest.end()
        return tuple((step.started_ns + step.duration_ns) / 1e6
                     for step in (steps[f"serve {SOCKET}"], network_step))
    finally:
        guest.close()


def as_init(table, reps):
    table.heading("The agent as PID 1 of namespaces, beside hostd")
    with tempfile.TemporaryDirectory() as directory, gateway(directory):
        served, ready = zip(*(booted(directory, "sluice.net=dhcp") for _ in range(reps)))
        table.add("start to serving calls", list(served), "ms", "5")
        table.add("start to network ready, by DHCP", list(ready), "ms", "30")
        fixed = "sluice.ip=192.168.127.2/24 sluice.gateway=192.168.127.1 sluice.dns=192.168.127.1"
        table.add("start to network ready, fixed addresses",
                  [booted(directory, fixed)[1] for _ in range(reps)], "ms", "10")


def in_vm(table, reps, smoke):
    """What a person at hostctl sees; its own start is in each time."""
    from lab import lab as labs, oci, vm as qemu                      # noqa: PLC0415
    from lab.agent_vm import boot_steps, busybox, wait_for_agent, wait_for_network  # noqa: PLC0415
    accelerator = os.environ.get("SLUICE_VM_ACCEL", "tcg")
    table.heading(f"The agent as PID 1 of a QEMU guest ({accelerator}), over virtio-serial, by hostctl")
    if reason := labs.why_not():
        return table.lacks("all of it", reason)
    with labs.Lab() as lab:
        nic, port = lab.directory / "vm.nic", lab.directory / "vm.agent"
        hostd = lab.hostd("--qemu", nic, "--route", "10.88.0.0/24", "--agent", f"serial:{port}")
        power_on = time.perf_counter()
        lab.agent_vm(qemu.stream_nic(nic), "vm", "sluice.containers=10.88.0.0/24")
        wait_for_agent(hostd)
        table.add("power-on to first answer", time.perf_counter() - power_on, "s")
        network = wait_for_network(hostd)
        steps = boot_steps(hostd)
        serving = next(step for name, step in steps.items() if name.startswith("serve"))
        table.add("start to serving calls", (serving["started_ns"] + serving["duration_ns"]) / 1e6, "ms", "5")
        table.add("start to network ready, by DHCP",
                  (network["started_ns"] + network["duration_ns"]) / 1e6, "ms", "30")
        status = hostd.ctl("guest", "exec", "cat", "/proc/1/status").stdout
        table.add("resident memory", int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, "MiB", "3")

        def ctl(*words):
            done = hostd.ctl("guest", *words)
            assert done.returncode == 0, done.stderr
            return done
        count = 2 if smoke else 5 * reps
        table.add("hostctl guest ping", [1e3 * timed(lambda: ctl("ping"))[0] for _ in range(count)], "ms")
        table.add("hostctl guest exec true", [1e3 * timed(lambda: ctl("exec", "true"))[0]
                                              for _ in range(count)], "ms")
        archive = lab.directory / "box.tar"
        oci.write_archive(archive, "box:1", busybox(), ["sh", "true", "cat"])
        table.add("hostctl guest image import", 1e3 * timed(lambda: ctl("image", "import", archive))[0], "ms")
        table.add("hostctl guest run --rm true", [1e3 * timed(lambda: ctl("run", "--rm", "box:1", "true"))[0]
                                                  for _ in range(count)], "ms")
        size = (1 if smoke else 16) * MIB
        took, done = timed(lambda: ctl("exec", "head", "-c", str(size), "/dev/zero"))
        assert len(done.stdout) == size
        table.add("output of a program", size / took / 1e6, "MB/s")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vm", action="store_true", help="in a QEMU guest too")
    parser.add_argument("--smoke", action="store_true", help="as little as proves that it works")
    parser.add_argument("--reps", type=int, default=5, metavar="N", help="measurements of each (5)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("root is needed to make namespaces")
    table, reps = Table(), 1 if options.smoke else options.reps
    print(f"{'':<54} {'median':>9} {'':<42} target")
    service(table, reps, options.smoke)
    answers(table, reps, options.smoke)
    as_init(table, reps)
    container_calls(table, options.smoke)
    if options.vm:
        in_vm(table, reps, options.smoke)


if __name__ == "__main__":
    main()
