"""hostd, the program under test, beside the VM."""

import contextlib
import json
import os
import pathlib
import select
import subprocess

from .process import LabError, Process

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
READY_SECONDS = 60
CTL_SECONDS = 120


def hostd_binary():
    """The program to run: $SLUICE_HOSTD, or the one that scripts/build makes."""
    return pathlib.Path(os.environ.get("SLUICE_HOSTD") or REPOSITORY / "build/bin/hostd")


class Hostd:
    """A running `hostd run ARGUMENTS` in the namespace `space`, ready for its guest.

    `ready` is the object that hostd reported when it was.
    """

    def __init__(self, space, directory, *arguments, name="hostd"):
        reader, writer = os.pipe()
        # Its own directories, so that nothing is left in those of the machine.
        environment = os.environ | {"XDG_RUNTIME_DIR": str(directory),
                                    "XDG_STATE_HOME": str(directory)}
        command = space.command(hostd_binary(), "run", *arguments, "--name", name,
                                "--ready-fd", str(writer))
        self.process = Process(name, command, directory / f"{name}.log", pass_fds=[writer],
                               env=environment)
        os.close(writer)
        try:
            with os.fdopen(reader, "r", encoding="utf-8") as pipe:
                self.ready = self._read_ready(pipe)
        except BaseException:
            self.close()
            raise

    def _read_ready(self, pipe):
        if not select.select([pipe], [], [], READY_SECONDS)[0]:
            raise LabError(f"hostd was not ready after {READY_SECONDS} s\n{self.process.tail()}")
        line = pipe.readline()
        if not line:
            self.process.wait_for_exit(READY_SECONDS)
            raise LabError(f"hostd did not start (exit {self.process.exit_code()})\n"
                           f"{self.process.tail()}")
        return json.loads(line)

    def check_alive(self):
        """LabError, with the end of the log, when hostd has ended: it never may by itself."""
        if self.process.exit_code() is not None:
            raise LabError(f"hostd ended with {self.process.exit_code()}\n{self.process.tail()}")

    def mark(self):
        """Where the log ends now; see refusal_of."""
        return len(self.process.log())

    def refusal_of(self, what, since=0):
        """The log line that tells why `what` (an address or a name) was refused."""
        return self.process.wait_for_log_line(["denied", what], start=since)

    def ctl(self, *arguments):
        """Runs hostctl on this hostd to its end; returns subprocess's result, output as text."""
        return subprocess.run([self.hostctl(), "-n", self.ready["socket"], *map(str, arguments)],
                              text=True, capture_output=True, timeout=CTL_SECONDS, check=False)

    @contextlib.contextmanager
    def following_events(self, *options):
        """A `hostctl events -f` that runs as long as the context; its log is what it has printed."""
        log = self.process.log_path.with_suffix(".events")
        command = [self.hostctl(), "-n", self.ready["socket"], "events", "-f", *options]
        follower = Process("hostctl events -f", command, log)
        try:
            yield follower
        finally:
            follower.stop()

    @staticmethod
    def hostctl():
        return hostd_binary().with_name("hostctl")

    def close(self):
        return self.process.stop()
