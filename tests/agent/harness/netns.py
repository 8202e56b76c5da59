"""A network namespace of the tests' own, entered by the thread that runs them."""

import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


class OwnNetwork:
    """From __enter__ to __exit__ this thread, and what it starts, has a network with `lo` alone."""

    def __enter__(self):
        self._before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if libc.unshare(CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            os.close(self._before)
            raise OSError(error, os.strerror(error))
        ip("link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        assert libc.setns(self._before, CLONE_NEWNET) == 0
        os.close(self._before)


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)
