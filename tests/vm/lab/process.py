"""Child processes with a log, a deadline and a certain end."""

import os
import signal
import subprocess
import time

POLL_SECONDS = 0.02


class LabError(Exception):
    """Something in the lab did not work; the text says what, and shows the log that tells why."""


def wait_until(condition, seconds, what):
    """Polls `condition` until it returns something true, which is returned; LabError when late."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds} s in vain for {what}")
        time.sleep(POLL_SECONDS)


class Guard:
    """Kills a process when ours is gone, however it went (ctest ends a late test with SIGKILL).

    The kernel's own means, PR_SET_PDEATHSIG, is lost when a program changes its user, as hostd does.
    """

    def __init__(self, pid):
        target = os.pidfd_open(pid)
        reader, self._writer = os.pipe()
        self._guard = os.fork()
        if self._guard == 0:
            self._watch(reader, target)
        os.close(reader)
        os.close(target)

    @staticmethod
    def _watch(reader, target):
        """The guard's life: it has nothing but the two descriptors, and never returns."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.dup2(reader, 0)
            os.dup2(target, 1)
            os.closerange(2, os.sysconf("SC_OPEN_MAX"))
            os.read(0, 1)  # returns when the last writer, our process, has gone
            signal.pidfd_send_signal(1, signal.SIGKILL)
        finally:
            os._exit(0)

    def release(self):
        """To be called when the process has ended."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None
            os.waitpid(self._guard, 0)


class Process:
    """A running program whose output goes to a log file. Ends at the latest with this process."""

    def __init__(self, name, command, log_path, **options):
        self.name = name
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, **options)
        self._guard = Guard(self._child.pid)

    @property
    def pid(self):
        return self._child.pid

    def log(self):
        """All that the program has printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def exit_code(self):
        """None while it runs."""
        return self._child.poll()

    def wait_for_exit(self, seconds):
        """Returns the exit code; LabError when it is still running after `seconds`."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} still runs after {seconds} s\n{self.tail()}") from None

    def wait_for(self, condition, seconds, what):
        """As wait_until, but fails at once, with the log, when the program has ended."""
        def check():
            found = condition()
            if not found and self.exit_code() is not None:
                raise LabError(f"{self.name} ended with {self.exit_code()} before {what}\n"
                               f"{self.tail()}")
            return found
        try:
            return wait_until(check, seconds, what)
        except LabError as error:
            if self.exit_code() is not None:
                raise
            raise LabError(f"{error}\n{self.tail()}") from None

    def wait_for_log_line(self, words, seconds=60, start=0):
        """The first line at or after character `start` of the log that has all of `words`."""
        def find():
            for line in self.log()[start:].splitlines():
                if all(word.lower() in line.lower() for word in words):
                    return line
            return None
        return self.wait_for(find, seconds, f"a line with {words} in the log of {self.name}")

    def tail(self, lines=15):
        """The end of the log, for a message."""
        return "".join(f"  {self.name}: {line}\n" for line in self.log().splitlines()[-lines:])

    def stop(self, seconds=30):
        """SIGTERM, then SIGKILL after `seconds`; returns the exit code."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._guard.release()
        return self._child.returncode

    def kill(self):
        """SIGKILL, and waits until the process is gone."""
        self._child.kill()
        self._child.wait()
        self._guard.release()
