"""Debian's cloud kernel and static busybox, fetched and checked by apt and unpacked into a cache.

Nothing is installed on this machine. The cache is the folder vm in
${SLUICE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/sluice}. Packages are fetched once and then kept: remove
the folder to get newer ones.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile

KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
USERLAND_PACKAGE = "busybox-static"
FETCH_SECONDS = 300
FIRST_SECOND_OF_1980 = 315532800  # the time of every file, so that equal inputs make equal images


class BuildError(Exception):
    """What could not be built, why, and what to do about it."""


def run(*command, **options):
    """Runs a command and returns its standard output; a failure becomes a BuildError."""
    try:
        done = subprocess.run(command, check=True, text=True, capture_output=True,
                              timeout=FETCH_SECONDS, **options)
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed; scripts/setup installs it") from None
    except subprocess.TimeoutExpired:
        raise BuildError(f"`{' '.join(command)}` took over {FETCH_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise BuildError(f"`{' '.join(command)}` failed: {error.stderr.strip()}") from None
    return done.stdout


def cache_dir():
    caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    path = pathlib.Path(os.environ.get("SLUICE_CACHE") or f"{caches}/sluice") / "vm"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


@contextlib.contextmanager
def locked(cache):
    """Two builds at once share one download."""
    with open(cache / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kernel_package():
    """The package that the metapackage stands for today: its name has the kernel version."""
    for line in run("apt-cache", "depends", KERNEL_METAPACKAGE).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith("linux-image-"):
            return name
    raise BuildError(f"apt knows no {KERNEL_METAPACKAGE}; run `apt-get update` first")


def unpacked(cache, directory, package_name):
    """The unpacked content of a Debian package; `package_name` is asked only when not cached."""
    target = cache / directory
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        package = package_name()
        print(f"fetching {package}", file=sys.stderr)
        # apt's own download user cannot write into a cache that belongs to somebody's home.
        run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=scratch)
        (archive,) = pathlib.Path(scratch).glob("*.deb")
        run("dpkg", "-x", str(archive), f"{scratch}/root")
        os.rename(f"{scratch}/root", target)
    return target


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""
    root: pathlib.Path
    version: str

    @property
    def image(self):
        return self.root / f"boot/vmlinuz-{self.version}"

    def module_files(self, modules):
        """The files of `modules`, each after those that it needs."""
        if not (self.root / "lib/modules" / self.version / "modules.dep.bin").exists():
            run("depmod", "-b", str(self.root), self.version)
        ordered = {}
        for module in modules:
            listing = run("modprobe", "-d", str(self.root), "-S", self.version, "--show-depends",
                          module)
            for line in listing.splitlines():
                action, _, path = line.strip().partition(" ")
                if action == "insmod":
                    ordered[pathlib.Path(path.split()[0])] = None
        return list(ordered)

    def module_tree(self, modules, others=()):
        """What the agent loads `modules` from, and the list by which it does; and `others`, which it
        loads when they are used."""
        files = {str(path.relative_to(self.root)): path
                 for path in self.module_files([*modules, *others])}
        dependencies = f"lib/modules/{self.version}/modules.dep"
        return files | {"etc/modules-load.d/vm.conf": "\n".join(modules) + "\n",
                        dependencies: self.root / dependencies}


def kernel(cache):
    root = unpacked(cache, "kernel", kernel_package)
    (version,) = os.listdir(root / "lib/modules")
    return Kernel(root, version)


def busybox(cache):
    return unpacked(cache, "userland", lambda: USERLAND_PACKAGE) / "bin/busybox"


def content(source):
    """The bytes of a file of a tree. Text stands for itself."""
    return source.encode() if isinstance(source, str) else source.read_bytes()


def busybox_links(applets):
    return {f"bin/{applet}": "busybox" for applet in applets}


def lay_out(directory, files, links=(), directories=()):
    """Makes a tree: `files` by path, `links` by path, and directories with their modes."""
    for path, mode in dict(directories).items():
        (directory / path).mkdir(parents=True, exist_ok=True)
        (directory / path).chmod(mode)
    for path, source in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content(source))
        (directory / path).chmod(0o644 if isinstance(source, str) else 0o755)
    for path, to in dict(links).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).symlink_to(to)
    for path in [directory, *directory.rglob("*")]:
        os.utime(path, (FIRST_SECOND_OF_1980,) * 2, follow_symlinks=False)


def kept(cache, name, suffix, inputs, make):
    """The file that `make(path)` builds of `inputs`, named after them; built unless it is there."""
    digest = hashlib.sha256()
    for path, source in sorted(inputs.items()):
        digest.update(path.encode() + b"\0" + hashlib.sha256(content(source)).digest())
    target = cache / f"{name}-{digest.hexdigest()[:16]}.{suffix}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = pathlib.Path(scratch) / name
        make(made)
        os.rename(made, target)
    for old in cache.glob(f"{name}-*.{suffix}"):
        if old != target:
            old.unlink()
    return target


def initramfs(target, files, links=()):
    """Writes a cpio archive; not compressed, as an emulated CPU would need seconds to unpack it."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        tree = pathlib.Path(scratch) / "tree"
        tree.mkdir()
        lay_out(tree, files, links)
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        run("cpio", "--quiet", "--reproducible", "-o", "-H", "newc", "-R", "0:0", "-O", str(target),
            cwd=tree, input=names)
