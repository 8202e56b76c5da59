"""Files of the guest: looked at, read, written, copied both ways, and never outside their root."""

import errno
import io
import os
import stat
import tarfile
import zlib

import pytest

from harness import agent as agents
from harness import images, protocol
from harness.client import FILE, CallFailed, Download, Upload
from harness.hostd import Hostd
from harness.images import entry, tar

MIB = 1 << 20
INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, RESOURCE_EXHAUSTED = 3, 5, 6, 8
CREDIT = 256 << 10
Write = protocol.file.WriteFileStart


class Files:
    """The calls, of places below a directory of the test's."""

    def __init__(self, client, root):
        self.client = client
        self.root = root

    def place(self, path):
        return protocol.file.FilePlace(path=str(path), root=str(self.root))

    def unary(self, method, request, response, path, **fields):
        return self.client.call(FILE, method, getattr(protocol.file, request)(
            place=self.place(path), **fields), getattr(protocol.file, response))

    def stat(self, path, **fields):
        return self.unary("Stat", "StatFileRequest", "StatFileResponse", path, **fields).info

    def list(self, path):
        found, after = [], 0
        while True:
            page = self.unary("List", "ListFilesRequest", "ListFilesResponse", path, after=after)
            found += page.files
            after = page.next
            if after == 0:
                return found

    def remove(self, path, **fields):
        self.unary("Remove", "RemoveFileRequest", "RemoveFileResponse", path, **fields)

    def mkdir(self, path, **fields):
        self.unary("Mkdir", "MakeDirectoryRequest", "MakeDirectoryResponse", path, **fields)

    def read(self, path, **fields):
        start = protocol.file.ReadFileStart(place=self.place(path), **fields)
        return Download(self.client, FILE, "Read", protocol.file.ReadFileRequest(start=start),
                        protocol.file.ReadFileResponse)

    def write(self, path, data=None, client=None, **fields):
        start = Write(place=self.place(path), **fields)
        call = Upload(client or self.client, FILE, "Write",
                      protocol.file.WriteFileRequest(start=start), protocol.file.WriteFileResponse)
        if data is None:
            return call
        call.write(data)
        return call.finish().bytes

    def begin_copy_in(self, client, path, **fields):
        start = protocol.file.CopyInStart(place=self.place(path), **fields)
        return Upload(client, FILE, "CopyIn", protocol.file.CopyInRequest(start=start),
                      protocol.file.CopyInResponse)

    def copy_in(self, path, archive, **fields):
        call = self.begin_copy_in(self.client, path, **fields)
        call.write(archive)
        call.finish()

    def copy_out(self, path, **fields):
        return tarfile.open(fileobj=io.BytesIO(self.packed(path, **fields)))

    def packed(self, path, **fields):
        start = protocol.file.CopyOutStart(place=self.place(path), **fields)
        return Download(self.client, FILE, "CopyOut", protocol.file.CopyOutRequest(start=start),
                        protocol.file.CopyOutResponse).all()


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def files(client, root):
    return Files(client, root)


def fails(call, code=None, error=None):
    with pytest.raises(CallFailed) as failed:
        call()
    if code is not None:
        assert failed.value.code == code, failed.value
    if error is not None:
        assert failed.value.detail.error_number == error, failed.value
    return failed.value


def test_stat_tells_what_a_file_is_and_a_link_leads_to(files, root):
    (root / "a").write_bytes(b"12345")
    os.chown(root / "a", 1000, 1001)
    os.chmod(root / "a", 0o4750)
    os.utime(root / "a", ns=(1, 1_600_000_000_123_456_789))
    (root / "l").symlink_to("/a")
    info = files.stat("/a")
    assert (info.name, info.size, info.uid, info.gid) == ("a", 5, 1000, 1001)
    assert (info.mode, info.mtime_ns) == (stat.S_IFREG | 0o4750, 1_600_000_000_123_456_789)
    assert stat.S_ISLNK(files.stat("l").mode) and files.stat("l").link == "/a"
    assert files.stat("l", follow=True).size == 5
    missing = fails(lambda: files.stat("nothing"), NOT_FOUND, errno.ENOENT)
    assert "nothing" in missing.message
    fails(lambda: files.stat("a/b"), error=errno.ENOTDIR)
    fails(lambda: files.stat(""), INVALID_ARGUMENT)
    assert stat.S_ISDIR(files.stat("/").mode)


def test_a_directory_of_thousands_is_listed_in_pages(files, root):
    names = {f"{number:05}" + "x" * 100 for number in range(3000)}
    for name in names:
        (root / name).touch()
    (root / os.fsdecode(b"bad\xff")).touch()
    found = [one.name for one in files.list("/")]
    assert len(found) == 3001 and set(found) - names == {"bad?"}
    assert len(files.list("/../..")) == 3001


def test_a_part_of_a_file_is_read(files, root):
    (root / "a").write_bytes(b"0123456789")
    read = files.read("a", offset=3, limit=4)
    assert read.all() == b"3456"
    assert (read.info.size, read.done.bytes) == (10, 4)
    assert files.read("a", offset=100).all() == b""
    assert b"Name" in Files(files.client, "/proc/self").read("status").all()


def test_only_regular_files_are_read(files, root):
    os.mkfifo(root / "fifo")
    os.mknod(root / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    (root / "d").mkdir()
    for name in ("fifo", "zero", "d"):
        fails(files.read(name).all)
        fails(lambda n=name: files.write(n, b"x"))


@pytest.mark.timing
def test_a_gibibyte_is_read_whole_though_its_reader_pauses_and_memory_stays(agent, files, root):
    piece = os.urandom(MIB)
    crc = 0
    with open(root / "big", "wb") as big:
        for _ in range(1024):
            big.write(piece)
            crc = zlib.crc32(piece, crc)
    before = agent.rss()
    most, got, found, pauses = before, 0, 0, 0
    other = agent.connect()
    read = files.read("big")
    while (data := read.take()) is not None:
        found = zlib.crc32(data, found)
        got += len(data)
        if got // (256 * MIB) > pauses:
            pauses += 1
            assert other.ping().version     # Others are answered meanwhile.
            most = max(most, agent.rss())
    assert (got, found) == (1024 * MIB, crc)
    assert most - before < 4 * MIB
    (root / "big").unlink()


def test_no_more_comes_than_was_granted(files, root):
    (root / "big").write_bytes(bytes(MIB))
    read = files.read("big")
    got = 0
    while got < CREDIT:
        got += len(read.take(grant=False))
    assert got == CREDIT
    files.client.ping()
    assert not files.client._waiting[read.stream]
    read.send(grant=MIB)
    assert len(read.all()) == MIB - CREDIT


def test_a_file_is_written_whole_or_not_at_all(agent, files, root):
    data = os.urandom(3 * MIB)
    assert files.write("new", data, mode=0o640) == len(data)
    assert (root / "new").read_bytes() == data
    assert stat.S_IMODE((root / "new").stat().st_mode) == 0o640
    os.chown(root / "new", 5, 6)
    files.write("new", b"other")
    after = (root / "new").stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (5, 6, 0o640)

    going = agent.connect()
    call = files.write("new", client=going)
    call.write(data[:MIB])
    agents.until(lambda: len(os.listdir(root)) == 2, "it is being written beside the old one")
    assert (root / "new").read_bytes() == b"other"
    going.close()
    agents.until(lambda: os.listdir(root) == ["new"], "nothing is left of it")
    assert (root / "new").read_bytes() == b"other"


def test_the_ways_to_write(files, root):
    files.write("a", b"1", way=Write.CREATE)
    fails(lambda: files.write("a", b"2", way=Write.CREATE), ALREADY_EXISTS, errno.EEXIST)
    files.write("a", b"2", way=Write.APPEND)
    assert (root / "a").read_bytes() == b"12"
    inode = (root / "a").stat().st_ino
    files.write("a", b"3", way=Write.IN_PLACE)
    assert ((root / "a").read_bytes(), (root / "a").stat().st_ino) == (b"3", inode)
    (root / "l").symlink_to("a")
    files.write("l", b"4")
    assert (root / "l").is_symlink() and (root / "a").read_bytes() == b"4"
    files.write("empty", b"")
    assert (root / "empty").read_bytes() == b""
    fails(lambda: files.write("no/such/a", b"x"), NOT_FOUND, errno.ENOENT)


def test_directories_are_made_and_removed(files, root):
    files.mkdir("a", mode=0o700)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o700
    fails(lambda: files.mkdir("a"), ALREADY_EXISTS)
    files.mkdir("a", parents=True)
    fails(lambda: files.mkdir("x/y"), NOT_FOUND)
    files.mkdir("x/y/z", parents=True)
    (root / "x/y/file").write_text("")
    fails(lambda: files.remove("x"))
    (root / "x/out").symlink_to("/etc")
    files.remove("x", recursive=True)
    assert os.listdir(root) == ["a"] and os.path.exists("/etc/passwd")
    files.remove("a")
    fails(lambda: files.remove("a"), NOT_FOUND, errno.ENOENT)
    files.remove("a", missing_ok=True)
    fails(lambda: files.remove("/", recursive=True))
    fails(lambda: files.remove("..", recursive=True))
    assert root.exists()


def test_a_tree_of_any_depth_is_removed(files, root):
    here = os.getcwd()
    os.chdir(root)
    try:
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    files.remove("d", recursive=True)
    assert os.listdir(root) == []


def test_no_path_leaves_the_root(files, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (root / "up").symlink_to("../../../../../../.." + str(outside))
    (root / "abs").symlink_to(outside)
    (root / "deep").mkdir()
    (root / "deep/up").symlink_to("../..")
    ways = ["../outside/secret", "deep/../../outside/secret", "up/secret", "abs/secret",
            str(outside / "secret"), "deep/up/outside/secret"]
    for path in ways:
        fails(files.read(path).all, NOT_FOUND)
        fails(lambda p=path: files.stat(p), NOT_FOUND)
        fails(lambda p=path: files.remove(p), NOT_FOUND)
        with pytest.raises(CallFailed):
            files.write(path, b"mine")
    fails(lambda: files.copy_in("up", tar(entry("x", b""))), NOT_FOUND)
    files.copy_in("/", tar(entry("../../escaped", b"x")))
    assert (root / "escaped").exists() and os.listdir(outside) == ["secret"]
    files.mkdir("../../made", parents=True)
    assert (root / "made").is_dir()
    with pytest.raises(CallFailed):
        files.mkdir("abs/made", parents=True)
    assert os.listdir(outside) == ["secret"]
    # Magic links of /proc lead anywhere.
    proc = Files(files.client, "/proc")
    fails(proc.read("self/root/etc/passwd").all)
    fails(proc.read("self/cwd/x").all)


def make_tree(top):
    (top / "sub").mkdir(parents=True)
    (top / "file").write_bytes(b"content")
    os.chown(top / "file", 1000, 1001)
    os.chmod(top / "file", 0o4711)
    os.setxattr(top / "file", "user.k", b"v\0v")
    os.link(top / "file", top / "sub/hard")
    (top / "sub/soft").symlink_to("/nowhere/at/all")
    os.mkfifo(top / "sub/fifo")
    (top / "sub" / ("n" * 150)).write_bytes(os.urandom(100_000))
    for path in (top / "file", top / "sub", top):
        os.utime(path, ns=(0, 1_500_000_000_123_456_789))


def look_of(top, owners=True):
    """All that a copy is to keep."""
    look = {}
    for path in [top, *sorted(top.rglob("*"))]:
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else None
        link = os.readlink(path) if path.is_symlink() else None
        attributes = {} if path.is_symlink() or stat.S_ISFIFO(info.st_mode) else {
            name: os.getxattr(path, name) for name in os.listxattr(path)}
        look[str(path.relative_to(top))] = (
            info.st_mode, (info.st_uid, info.st_gid) if owners else None, info.st_mtime_ns,
            content, link, attributes, info.st_nlink if stat.S_ISREG(info.st_mode) else 0)
    return look


def test_a_tree_comes_out_and_goes_in_as_it_is(files, root, tmp_path):
    make_tree(root / "tree")
    archive = files.copy_out("tree")
    assert sorted(member.name for member in archive.getmembers())[:2] == ["tree", "tree/file"]
    out = tmp_path / "out"
    data = files.packed("tree", name="copy")
    files.mkdir("in")
    files.copy_in("in", data, keep_owners=True)
    assert look_of(root / "in/copy") == look_of(root / "tree")
    # And another program reads it the same.
    out.mkdir()
    tarfile.open(fileobj=io.BytesIO(data)).extractall(out, numeric_owner=True)
    assert look_of(out / "copy").keys() == look_of(root / "tree").keys()
    assert (out / "copy/file").stat().st_mode == (root / "tree/file").stat().st_mode


def test_a_copy_without_owners_is_roots_and_devices_are_asked_for(files, root):
    archive = tar(entry("f", b"x", uid=1000, gid=1000),
                  entry("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3))
    fails(lambda: files.copy_in("/", archive), INVALID_ARGUMENT)
    assert (root / "f").stat().st_uid == 0
    files.copy_in("/", archive, devices=True, keep_owners=True)
    assert (root / "f").stat().st_uid == 1000
    assert (root / "null").stat().st_rdev == os.makedev(1, 3)


def test_a_copy_in_keeps_links_to_directories_and_directories(files, root):
    (root / "usr").mkdir()
    (root / "lib").symlink_to("usr")
    (root / "busy").mkdir()
    files.copy_in("/", tar(entry("lib", kind=tarfile.DIRTYPE), entry("lib/x", b"x")))
    assert (root / "lib").is_symlink() and (root / "usr/x").read_bytes() == b"x"
    fails(lambda: files.copy_in("/", tar(entry("busy", b"x"))), INVALID_ARGUMENT)
    assert (root / "busy").is_dir()


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_packed_archives_go_in_and_bombs_are_stopped(files, root, how):
    files.copy_in("/", images.pack(tar(entry("a", b"x")), how))
    assert (root / "a").read_bytes() == b"x"
    bomb = images.pack(tar(entry("zeros", bytes(32 * MIB))), how)
    fails(lambda: files.copy_in("/", bomb, max_bytes=4 * MIB), RESOURCE_EXHAUSTED)
    assert not (root / "zeros").exists()


def test_a_copy_that_is_given_up_leaves_no_half_of_a_file(agent, files, root):
    archive = tar(entry("first", b"1"), entry("second", os.urandom(4 * MIB)))
    going = agent.connect()
    call = files.begin_copy_in(going, "/")
    call.write(archive[:MIB])
    agents.until(lambda: (root / "second").exists(), "it has begun")
    going.close()
    agents.until(lambda: os.listdir(root) == ["first"], "the half is gone")


def test_a_file_of_no_container_is_not_found(files):
    failed = fails(lambda: files.client.call(
        FILE, "Stat", protocol.file.StatFileRequest(
            place=protocol.file.FilePlace(path="/", container="nobody")),
        protocol.file.StatFileResponse), NOT_FOUND)
    assert "nobody" in failed.message


def test_too_many_calls_at_once_are_refused_and_those_under_way_go_on(agent, files, root):
    (root / "big").write_bytes(bytes(MIB))
    reads = [files.read("big") for _ in range(64)]
    for read in reads:
        read.take(grant=False)
    fails(lambda: files.stat("/"), RESOURCE_EXHAUSTED)
    assert len(reads[0].all()) < MIB
    agents.until(lambda: len(agent.children()) < 64, "one has ended")
    assert files.stat("/")


# hostctl guest cp, hostctl guest image


@pytest.fixture(scope="module")
def hostd(agent, tmp_path_factory):
    made = Hostd(tmp_path_factory.mktemp("hostd"), f"unix:{agent.path}")
    made.wait_for_agent()
    yield made
    made.close()


def cp(hostd, *arguments, status=0, **options):
    done = hostd.ctl("guest", "cp", *arguments, **options)
    assert done.returncode == status, done.stderr
    return done


def test_cp_copies_files_both_ways(hostd, tmp_path):
    here, there, back = tmp_path / "here", tmp_path / "there", tmp_path / "back"
    for one in (here, there, back):
        one.mkdir()
    (here / "f").write_bytes(os.urandom(MIB))
    cp(hostd, here / "f", f"vm:{there}")
    cp(hostd, here / "f", f"vm:{there}/g")
    assert (there / "f").read_bytes() == (there / "g").read_bytes() == (here / "f").read_bytes()
    cp(hostd, f"vm:{there}/g", back)
    cp(hostd, f"vm:{there}/g", back / "h")
    assert (back / "g").read_bytes() == (back / "h").read_bytes() == (here / "f").read_bytes()
    (here / "f").write_bytes(b"new")
    cp(hostd, here / "f", f"vm:{there}/g")
    assert (there / "g").read_bytes() == b"new"
    for bad in ([here / "f", f"vm:{there}/no/such/place"], [here / "none", f"vm:{there}"],
                [f"vm:{there}/none", back], [here / "f", f"vm:{there}/new/"],
                [here / "f", here / "x"], [f"vm:{there}/f", f"vm:{there}/x"],
                [here, f"vm:{there}/f"]):
        assert cp(hostd, *bad, status=1).stderr.startswith(b"hostctl: ")


@pytest.mark.parametrize("way", ["in", "out"])
def test_cp_copies_directories_with_all_that_is_in_them(hostd, tmp_path, way):
    source, target = tmp_path / "source", tmp_path / "target"
    make_tree(source)
    target.mkdir()

    def copy(from_, to, *flags):
        from_, to = (from_, f"vm:{to}") if way == "in" else (f"vm:{from_}", to)
        cp(hostd, *flags, from_, to)

    copy(source, target, "-a")
    assert look_of(target / "source") == look_of(source)
    copy(source, target / "new", "-a")
    assert look_of(target / "new") == look_of(source)
    (target / "into").mkdir()
    copy(f"{source}/.", target / "into", "-a")
    assert sorted(os.listdir(target / "into")) == ["file", "sub"]
    copy(source, target / "plain")
    assert (target / "plain/file").stat().st_uid == 0


def test_cp_streams_a_tar(hostd, tmp_path):
    make_tree(tmp_path / "tree")
    data = cp(hostd, f"vm:{tmp_path}/tree", "-").stdout
    (tmp_path / "to").mkdir()
    cp(hostd, "-a", "-", f"vm:{tmp_path}/to", stdin=data)
    assert look_of(tmp_path / "to/tree") == look_of(tmp_path / "tree")
    cp(hostd, "-", f"vm:{tmp_path}/to", stdin=data[:2000], status=1)
    assert cp(hostd, f"vm:{tmp_path}/to", "nobody:/x", status=1).stderr


def test_images_are_taken_listed_and_removed(tmp_path):
    agent = agents.Agent(tmp_path, "--images", str(tmp_path / "images"))
    hostd = Hostd(tmp_path, f"unix:{agent.path}")
    hostd.wait_for_agent()
    try:
        layer = tar(entry("f", os.urandom(MIB)))
        (tmp_path / "a.tar").write_bytes(images.oci([layer], "app:1"))
        assert hostd.ctl("guest", "image", "ls").stdout == b"There is no image.\n"
        done = hostd.ctl("guest", "image", "import", tmp_path / "a.tar")
        assert done.returncode == 0 and b"app:1" in done.stdout, done.stderr
        done = hostd.ctl("guest", "image", "import", "--name", "base", stdin=layer)
        assert done.returncode == 0 and b"base:latest" in done.stdout, done.stderr
        listed = hostd.ctl("guest", "image", "ls").stdout.decode()
        assert "app:1" in listed and "base:latest" in listed and images.ARCH in listed
        bad = hostd.ctl("guest", "image", "import", stdin=b"nonsense" * 1000)
        assert bad.returncode == 1 and b"tar" in bad.stderr
        assert hostd.ctl("guest", "image", "import", tmp_path / "none").returncode == 1
        done = hostd.ctl("guest", "image", "import", "--limit", "1k", tmp_path / "a.tar")
        assert done.returncode == 1 and b"limit" in done.stderr
        assert hostd.ctl("guest", "image", "rm", "app:1", "base").returncode == 0
        assert hostd.ctl("guest", "image", "rm", "app:1").returncode == 1
        assert hostd.ctl("guest", "image", "prune", "--all").returncode == 0
    finally:
        hostd.close()
        agent.close()
