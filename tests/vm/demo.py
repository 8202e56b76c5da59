#!/usr/bin/python3
"""The demo: a VM that runs code nobody trusts, and the network that hostd gives to it.

Run by scripts/demo, as root. Exit: 0, 1 (a step did not go as told; the reason is printed),
130 (interrupted). Whatever happens, the VM, hostd and the namespaces are gone at the end.
"""

import os
import signal
import sys
import textwrap
import time

from lab import vm as qemu
from lab.hostd import hostd_binary
from lab.lab import Lab
from lab.process import LabError
from lab.world import ALLOWED_NAME, BLOCKED_NAME, OTHER4, WEB4

PORT = 8080
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


def in_guest(vm, command):
    """Types a command into the guest, shows and returns what it printed."""
    shell("guest#", command)
    output = vm.run(command).output
    show(output)
    return output


def boot(lab):
    """Starts hostd and the VM, and shows how; returns both."""
    socket = lab.directory / "vm.sock"
    title("A VM and its gateway")
    arguments = ["--qemu", socket, "--allow", ALLOWED_NAME, "-p", f"{PORT}:80"]
    shell("host#", f"hostd run {' '.join(map(str, arguments))}")
    start = time.monotonic()
    hostd = lab.hostd(*arguments)
    show(f"ready after {(time.monotonic() - start) * 1000:.0f} ms")
    shell("host#", "qemu-system-x86_64 -kernel vmlinuz -initrd initramfs ...")
    print(f"          -netdev {qemu.stream_nic(socket)}")
    vm = lab.vm(qemu.stream_nic(socket))
    vm.wait_online()
    show(f"booted and online after {time.monotonic() - start:.1f} s")
    in_guest(vm, "ip -4 -o address show eth0; ip route; cat /etc/resolv.conf")
    return hostd, vm


def allowed_name(vm):
    title("1. An allowed name")
    tell(f"hostd was started with --allow {ALLOWED_NAME}: the guest may look this name up, and "
         "reach the addresses that it stands for.")
    expect("hello from the world" in in_guest(vm, f"wget -q -O - http://{ALLOWED_NAME}/"),
           "the page")


def refused_name(lab, hostd, vm):
    title("2. A refused name")
    tell(f"{BLOCKED_NAME} exists, even at the same address. No rule allows it, so for the guest it "
         "does not exist, and nobody outside was ever asked for it. hostd's log says why.")
    mark = hostd.mark()
    expect("bad address" in in_guest(vm, f"wget -q -O - http://{BLOCKED_NAME}/"), "bad address")
    show(hostd.refusal_of(BLOCKED_NAME, mark), "red")
    expect(BLOCKED_NAME not in lab.world.queries(), "no query for it outside")


def refused_address(hostd, vm):
    title("3. A refused address")
    tell(f"A web server listens on {OTHER4}, but no allowed name stands for this address. The "
         "guest is told at once, with a RST, and not left waiting.")
    mark = hostd.mark()
    expect("refused" in in_guest(vm, f"wget -q -O - http://{OTHER4}/"), "connection refused")
    show(hostd.refusal_of(OTHER4, mark), "red")


def published_port(lab):
    title("4. A published port")
    tell(f"-p {PORT}:80 is the one way in: port {PORT} of the host is port 80 of the guest.")
    command = ["curl", "-sS", "-m", "10", f"http://127.0.0.1:{PORT}/"]
    shell("host#", " ".join(command))
    page = lab.world.host.run(*command).stdout
    show(page)
    expect("hello from the VM" in page, "the page of the guest")


def demo():
    print(paint("bold", "Sluice: a network for a VM that nobody has to trust"))
    tell("`host` and `world` are network namespaces of this demo; nothing here touches the network "
         f"of this machine. In the world, {ALLOWED_NAME} and {BLOCKED_NAME} are both at {WEB4}.")
    tell(f"hostd is {hostd_binary()}.")
    start = time.monotonic()
    with Lab() as lab:
        hostd, vm = boot(lab)
        try:
            allowed_name(vm)
            refused_name(lab, hostd, vm)
            refused_address(hostd, vm)
            published_port(lab)
        except LabError as error:
            raise LabError(f"{error}\n{hostd.process.tail()}") from None
    print(f"\n{paint('green', 'Done')} in {time.monotonic() - start:.0f} s. All that it made is "
          "gone again. Your own VM: see README.md.")


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
