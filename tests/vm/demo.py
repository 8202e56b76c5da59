#!/usr/bin/python3
"""The demo: a VM whose init is the agent runs a container that nobody trusts, beside hostd.

Run by scripts/demo, as root. Exit: 0, 1 (a step did not go as told; the reason is printed),
130 (interrupted). Whatever happens, the VM, hostd and the namespaces are gone at the end.
"""

import os
import signal
import sys
import textwrap
import time

from lab import oci
from lab import vm as qemu
from lab.agent_vm import AgentVm, busybox, wait_for_agent, wait_for_network
from lab.hostd import hostd_binary
from lab.lab import Lab
from lab.process import LabError
from lab.world import ALLOWED_NAME, BLOCKED_NAME, OTHER4, WEB4

PORT = 8080
CONTAINERS = "10.88.0.0/24"
CONTAINER4 = "10.88.0.2"
WHOLE_DEMO_SECONDS = 120
INTERRUPTED = 130
COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}


def paint(colour, text):
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def title(text):
    print(f"\n{paint('bold', text)}")


def tell(text):
    print(textwrap.fill(text, 96, initial_indent="  ", subsequent_indent="  "))


def shell(prompt, command):
    print(f"  {paint('cyan', prompt)} {command}", flush=True)


def show(text, colour="dim"):
    for line in text.rstrip("\n").splitlines():
        print(f"  {paint(colour, line)}", flush=True)


def expect(truth, what):
    if not truth:
        raise LabError(f"this was to be seen here: {what}")


def hostctl(hostd, *words, fails=False):
    """Shows a command of hostctl's and what it printed, which is returned."""
    shell("host#", "hostctl " + " ".join(f"'{word}'" if set(str(word)) & set(" ;|>") else str(word)
                                         for word in words))
    done = hostd.ctl(*words)
    output = done.stdout + done.stderr
    show(output, "red" if fails else "dim")
    expect((done.returncode != 0) == fails, "that it fails" if fails else "that it works")
    return output


def in_guest(hostd, command, **how):
    """Runs a command in the guest; shows and returns what it printed."""
    return hostctl(hostd, "guest", "exec", "sh", "-c", command, **how)


def boot(lab):
    """Starts hostd and the VM, and shows how; returns hostd."""
    nic = lab.directory / "vm.sock"
    port = lab.directory / "vm.agent"
    title("A VM and its gateway")
    arguments = ["--qemu", nic, "--allow", ALLOWED_NAME, "--route", CONTAINERS, "--agent", f"serial:{port}",
                 "-p", f"{PORT}:{CONTAINER4}:80"]
    shell("host#", f"hostd run {' '.join(map(str, arguments))}")
    start = time.monotonic()
    hostd = lab.hostd(*arguments)
    show(f"ready after {(time.monotonic() - start) * 1000:.0f} ms")
    shell("host#", "qemu-system-x86_64 -kernel vmlinuz -initrd initramfs.cpio -drive file=root.erofs ...")
    print(f"          -netdev {qemu.stream_nic(nic)}")
    lab.agent_vm(qemu.stream_nic(nic), "vm", f"sluice.containers={CONTAINERS}")
    wait_for_agent(hostd)
    show(f"the guest's agent, which is its PID 1, answers {time.monotonic() - start:.1f} s after")
    wait_for_network(hostd)
    hostctl(hostd, "guest", "info")
    return hostd


def allowed_name(hostd):
    title("1. An allowed name")
    tell(f"hostd was started with --allow {ALLOWED_NAME}: the guest may look this name up, and "
         "reach the addresses that it stands for.")
    expect("hello from the world" in in_guest(hostd, f"wget -q -O - http://{ALLOWED_NAME}/"),
           "the page")


def refused_name(lab, hostd):
    title("2. A refused name")
    tell(f"{BLOCKED_NAME} exists, even at the same address. No rule allows it, so for the guest it "
         "does not exist, and nobody outside was ever asked for it. hostd's log says why.")
    mark = hostd.mark()
    expect("bad address" in in_guest(hostd, f"wget -q -O - http://{BLOCKED_NAME}/", fails=True),
           "bad address")
    show(hostd.refusal_of(BLOCKED_NAME, mark), "red")
    expect(BLOCKED_NAME not in lab.world.queries(), "no query for it outside")


def container(lab, hostd):
    title("3. A container in the VM")
    tell("Its image is an OCI archive, as image builders write them. The agent keeps it, runs it by crun, and "
         "gives it an address that the gateway routes.")
    archive = lab.directory / "web.tar"
    oci.write_archive(archive, "web:1", busybox(), ["sh", "httpd", "wget", "ps", "cat"])
    hostctl(hostd, "guest", "image", "import", archive)
    hostctl(hostd, "guest", "image", "ls")
    hostctl(hostd, "guest", "run", "-d", "--name", "web", "web:1")
    hostctl(hostd, "guest", "containers")
    tell("Inside the guest it has a name:")
    expect(CONTAINER4 in in_guest(hostd, "nslookup -type=a web.guest.internal"), "its address")
    expect(oci.PAGE in in_guest(hostd, "wget -q -O - http://web/"), "its page")
    tell("A program in it, and what it wrote:")
    expect("httpd" in hostctl(hostd, "guest", "exec", "-c", "web", "ps"), "its processes")
    expect("response:200" in hostctl(hostd, "guest", "logs", "web"), "the request in its log")


def published_port(lab):
    title("4. A published port")
    tell(f"-p {PORT}:{CONTAINER4}:80 is the one way in: port {PORT} of the host is port 80 of the "
         "container.")
    command = ["curl", "-sS", "-m", "10", f"http://127.0.0.1:{PORT}/"]
    shell("host#", " ".join(command))
    page = lab.world.host.run(*command).stdout
    show(page)
    expect(oci.PAGE in page, "the container's page")


def refused_address(hostd):
    title("5. What the container may not reach")
    tell(f"A web server listens on {OTHER4}, but no allowed name stands for this address. The "
         "container is told at once, with a RST, and the operator which container it was.")
    mark = hostd.mark()
    refused = hostctl(hostd, "guest", "exec", "-c", "web", "wget", "-q", "-O", "-",
                      f"http://{OTHER4}/", fails=True)
    expect("refused" in refused, "connection refused")
    line = hostd.refusal_of(OTHER4, mark)
    show(line, "red")
    expect("container web" in line, "the container's name")
    hostctl(hostd, "events", "--denied", "--to", OTHER4)


def the_end(hostd):
    title("6. The end")
    hostctl(hostd, "guest", "stop", "web")
    hostctl(hostd, "guest", "containers", "-a")
    hostctl(hostd, "guest", "rm", "web")
    expect("can't find" in in_guest(hostd, "nslookup -type=a web.guest.internal", fails=True), "that its name is gone")


def demo():
    print(paint("bold", "Sluice: a network for a VM that nobody has to trust"))
    tell("`host` and `world` are network namespaces of this demo; nothing here touches the network "
         f"of this machine. In the world, {ALLOWED_NAME} and {BLOCKED_NAME} are both at {WEB4}.")
    tell(f"hostd is {hostd_binary()}.")
    start = time.monotonic()
    with Lab() as lab:
        hostd = boot(lab)
        try:
            allowed_name(hostd)
            refused_name(lab, hostd)
            container(lab, hostd)
            published_port(lab)
            refused_address(hostd)
            the_end(hostd)
        except LabError as error:
            raise LabError(f"{error}\n{hostd.process.tail()}") from None
    print(f"\n{paint('green', 'Done')} in {time.monotonic() - start:.0f} s. All that it made is "
          "gone again. Your own VM: see README.md and examples/rootfs.")


def give_up(number, _):
    if number == signal.SIGALRM:
        raise LabError(f"the demo took over {WHOLE_DEMO_SECONDS} s")
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGINT, give_up)  # even where a shell started us with it ignored
    signal.signal(signal.SIGTERM, give_up)
    signal.signal(signal.SIGHUP, give_up)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(WHOLE_DEMO_SECONDS)
    try:
        demo()
    except LabError as error:
        sys.stdout.flush()
        print(f"\n{paint('red', 'The demo failed')}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted. Everything is cleaned up.", file=sys.stderr)
        sys.exit(INTERRUPTED)
