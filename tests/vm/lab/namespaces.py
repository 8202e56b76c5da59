"""Network namespaces without a name: each lives as long as a process in it, so none is left."""

import subprocess

from .process import LabError, Process

COMMAND_SECONDS = 60


class Namespace:
    """A network namespace with `lo` up. `close` ends it, and so does the end of this process."""

    def __init__(self, name):
        self.name = name
        # The shell ends when its standard input closes, and the namespace with it.
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && read -r _"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self._holder.stdout.readline() != "up\n":
            reason = self._holder.communicate()[1].strip()
            raise LabError(f"cannot make a network namespace (root is needed): {reason}")
        self.pid = self._holder.pid

    def command(self, *command):
        """The command line that runs `command` here; it keeps its process id."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *map(str, command)]

    def run(self, *command, check=True, seconds=COMMAND_SECONDS):
        """Runs a command to its end and returns subprocess's result, output as text."""
        try:
            done = subprocess.run(self.command(*command), text=True, capture_output=True,
                                  timeout=seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"`{' '.join(map(str, command))}` took over {seconds} s") from None
        if check and done.returncode != 0:
            raise LabError(f"`{' '.join(map(str, command))}` in {self.name} ended with "
                           f"{done.returncode}: {done.stderr.strip()}")
        return done

    def start(self, name, command, log_path, **options):
        """Starts a long-lived program here."""
        return Process(name, self.command(*command), log_path, **options)

    def close(self):
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.stderr.close()
        self._holder.wait()
