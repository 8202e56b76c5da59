"""The image store: what archives become, and what becomes of bad ones."""

import json
import os
import pathlib
import stat
import tarfile
import threading

import pytest

from harness import agent as agents
from harness import images, protocol
from harness.client import IMAGE, CallFailed, Upload
from harness.images import entry, tar

INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = 3, 5, 8, 9
MIB = 1 << 20
Kind = protocol.image.ImportImageStart
DIR, LINK, HARD, CHAR = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE


class Store:
    """An agent with a store of its own, and what is in it."""

    def __init__(self, directory):
        self.path = directory / "images"
        self.agent = agents.Agent(directory, "--images", str(self.path))
        self.client = self.agent.connect()

    def begin(self, client=None, **start):
        first = protocol.image.ImportImageRequest(start=protocol.image.ImportImageStart(**start))
        return Upload(client or self.client, IMAGE, "Import", first,
                      protocol.image.ImportImageResponse)

    def load(self, archive, client=None, **start):
        call = self.begin(client, **start)
        call.write(archive)
        return call.finish().images

    def one(self, archive, **start):
        (image,) = self.load(archive, **start)
        return image

    def list(self):
        return self.client.call(IMAGE, "List", protocol.image.ListImagesRequest(),
                                protocol.image.ListImagesResponse).images

    def remove(self, image, force=False):
        return self.client.call(IMAGE, "Remove",
                                protocol.image.RemoveImageRequest(image=image, force=force),
                                protocol.image.RemoveImageResponse)

    def prune(self, everything=False):
        return self.client.call(IMAGE, "Prune",
                                protocol.image.PruneImagesRequest(all=everything),
                                protocol.image.PruneImagesResponse)

    def layers(self):
        """Directories by their layer's digest."""
        return {json.loads((one / "layer.json").read_text())["diff_id"]: one / "fs"
                for one in (self.path / "layers").iterdir()}

    def layer(self, data):
        return self.layers()[images.digest(data)]

    def is_clean(self):
        staging = self.path / "staging"
        return not staging.exists() or not list(staging.iterdir())

    def is_empty(self):
        return (self.is_clean() and not self.list() and
                not any(list((self.path / name).iterdir()) for name in ("layers", "configs")
                        if (self.path / name).exists()))


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    yield made
    made.agent.close()


HELLO = tar(entry("etc", kind=DIR), entry("etc/hello", b"hello\n"))
OTHER = tar(entry("etc", kind=DIR), entry("etc/other", b"other\n", mode=0o4755, uid=1000, gid=1001))


def fails(call, code, *words):
    with pytest.raises(CallFailed) as failed:
        call()
    assert failed.value.code == code, failed.value
    for word in words:
        assert word in failed.value.message, failed.value
    return failed.value


@pytest.mark.parametrize("how", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("outer", ["plain", "gzip", "zstd"])
def test_an_oci_archive_becomes_an_image(store, how, outer):
    archive = images.pack(images.oci([HELLO, OTHER], "app:1.0", how, Entrypoint=["/bin/app"],
                                     Env=["A=1"], WorkingDir="/srv", User="5:6", Cmd=["-x", ""],
                                     StopSignal="SIGINT", Labels={"a": "b"}), outer)
    image = store.one(archive)
    assert image.id == images.digest(images.config(
        [HELLO, OTHER], Entrypoint=["/bin/app"], Env=["A=1"], WorkingDir="/srv", User="5:6",
        Cmd=["-x", ""], StopSignal="SIGINT", Labels={"a": "b"}))
    assert (list(image.names), image.layers) == (["app:1.0"], 2)
    assert (image.architecture, image.created) == (images.ARCH, "2026-01-02T03:04:05Z")
    assert image.size == len(HELLO) + len(OTHER)
    settings = image.settings
    assert (list(settings.entrypoint), list(settings.env)) == (["/bin/app"], ["A=1"])
    assert (settings.working_dir, settings.user, settings.stop_signal) == ("/srv", "5:6", "SIGINT")
    assert (list(settings.cmd), dict(settings.labels)) == (["-x", ""], {"a": "b"})
    assert list(store.list()) == [image]
    assert (store.layer(HELLO) / "etc/hello").read_bytes() == b"hello\n"
    other = (store.layer(OTHER) / "etc/other").stat()
    assert (stat.S_IMODE(other.st_mode), other.st_uid, other.st_gid) == (0o4755, 1000, 1001)
    assert other.st_mtime == 1_600_000_000
    assert (store.layer(OTHER) / "etc").stat().st_mtime == 1_600_000_000
    assert store.is_clean()


def test_the_files_of_an_archive_may_come_in_any_order(store):
    made = images.Oci()
    made.add(made.manifest([HELLO]), "app:1.0")
    assert store.one(made.archive(reverse=True)).id == store.one(made.archive()).id


@pytest.mark.parametrize("links", [False, True])
def test_a_docker_archive_becomes_an_image(store, links):
    image = store.one(images.docker([HELLO, OTHER, HELLO], "docker.io/library/app:2", "reg:5000/b",
                                    links=links, Cmd=["/bin/sh"]))
    assert list(image.names) == ["app:2", "reg:5000/b:latest"]
    assert list(image.settings.cmd) == ["/bin/sh"]
    # A layer that is there twice is one directory for overlayfs.
    assert image.layers == 2 and len(store.layers()) == 2


@pytest.mark.parametrize("kind", [Kind.AUTO, Kind.ROOTFS])
def test_a_root_file_system_becomes_an_image_of_one_layer(store, kind):
    settings = protocol.image.ImageSettings(cmd=["/bin/sh"], env=["A=b"])
    image = store.one(images.pack(OTHER, "zstd"), kind=kind, name="base", settings=settings)
    assert list(image.names) == ["base:latest"] and image.layers == 1
    assert list(image.settings.cmd) == ["/bin/sh"]
    assert (store.layer(OTHER) / "etc/other").read_bytes() == b"other\n"
    assert store.one(OTHER, kind=kind, name="base", settings=settings).id == image.id
    assert len(store.list()) == 1


def test_a_nested_index_gives_the_image_for_this_machine(store):
    made = images.Oci()
    foreign = {"architecture": "riscv64", "os": "linux"}
    index = made.index([
        {**made.manifest([OTHER], arch="riscv64"), "platform": foreign},
        {**made.manifest([HELLO]), "platform": {"architecture": images.ARCH, "os": "linux"}},
        {**made.manifest([HELLO], Cmd=["a"]),
         "platform": {"architecture": "unknown", "os": "unknown"}}])
    archive = made.add(index, "multi:1").archive()
    image = store.one(archive)
    assert (list(image.names), image.architecture) == (["multi:1"], images.ARCH)
    assert store.one(archive, platform="linux/riscv64", name="far").architecture == "riscv64"
    fails(lambda: store.load(archive, platform="linux/s390x"), INVALID_ARGUMENT, "s390x", "riscv64")


def test_what_docker_saves_today_is_both_kinds_and_read_as_one(store):
    made = images.Oci()
    descriptor = made.manifest([HELLO], how="plain")
    made.add(descriptor, "latest")
    made.manifests[0]["annotations"]["io.containerd.image.name"] = "docker.io/library/app:3"
    config = images.config([HELLO])
    made.files["manifest.json"] = json.dumps([{
        "Config": "blobs/sha256/" + images.digest(config)[7:], "RepoTags": ["app:3"],
        "Layers": ["blobs/sha256/" + images.digest(HELLO)[7:]]}]).encode()
    archive = made.archive()
    both = [store.one(archive, kind=kind) for kind in (Kind.AUTO, Kind.DOCKER, Kind.OCI)]
    assert {one.id for one in both} == {images.digest(config)}
    assert list(both[0].names) == ["app:3"]


def test_whiteouts_become_those_of_overlayfs(store, tmp_path):
    lower = tar(entry("d", kind=DIR), entry("d/old", b"1"), entry("gone", b"2"),
                entry("sub", kind=DIR), entry("sub/x", b"3"), entry("again", kind=DIR),
                entry("again/old", b"4"), entry("late", kind=DIR), entry("late/old", b"5"))
    upper = tar(entry("d", kind=DIR), entry("d/.wh..wh..opq"), entry("d/new", b"1"),
                entry(".wh.gone"), entry(".wh.sub"), entry(".wh..wh.plnk", b""),
                entry("again", kind=DIR), entry("again/new", b"6"), entry(".wh.again"),
                entry(".wh.late"), entry("late", kind=DIR), entry("late/new", b"7"))
    store.one(images.oci([lower, upper], "w"))
    layer = store.layer(upper)
    assert sorted(os.listdir(layer)) == ["again", "d", "gone", "late", "sub"]
    for name in ("gone", "sub"):
        whiteout = (layer / name).lstat()
        assert stat.S_ISCHR(whiteout.st_mode) and whiteout.st_rdev == 0
    for name in ("d", "again", "late"):
        assert os.getxattr(layer / name, "trusted.overlay.opaque") == b"y"
    merged = tmp_path / "merged"
    merged.mkdir()
    assert os.system(f"mount -t overlay overlay -o lowerdir={layer}:{store.layer(lower)} "
                     f"{merged}") == 0
    try:
        assert sorted(str(one.relative_to(merged)) for one in merged.rglob("*")) == [
            "again", "again/new", "d", "d/new", "late", "late/new"]
    finally:
        os.system(f"umount {merged}")


def test_links_devices_attributes_and_long_names_arrive(store):
    long_name = "n" * 180 + "/" + "m" * 200
    layer = tar(entry("file", b"x"), entry("hard", kind=HARD, linkname="/file"),
                entry("soft", kind=LINK, linkname="/etc/passwd"),
                entry("null", kind=CHAR, devmajor=1, devminor=3, mode=0o666),
                entry("fifo", kind=tarfile.FIFOTYPE), entry(long_name, b"long"),
                entry("cap", b"c", pax_headers={"SCHILY.xattr.user.k": "v",
                                                "SCHILY.xattr.trusted.overlay.redirect": "/x",
                                                "mtime": "1600000000.5"}))
    store.one(layer, name="l")
    root = store.layer(layer)
    assert (root / "file").stat().st_ino == (root / "hard").stat().st_ino
    assert os.readlink(root / "soft") == "/etc/passwd"
    assert (root / "null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)
    assert (root / long_name).read_bytes() == b"long"
    assert os.listxattr(root / "cap") == ["user.k"]
    assert (root / "cap").stat().st_mtime_ns == 1_600_000_000_500_000_000


def test_gnus_long_names_are_read(store):
    name = "/".join(["directory"] * 30) + "/file"
    layer = tar(entry(name, b"x"), entry("l", kind=LINK, linkname="t" * 300),
                layout=tarfile.GNU_FORMAT)
    store.one(layer, name="l")
    assert (store.layer(layer) / name).read_bytes() == b"x"
    assert os.readlink(store.layer(layer) / "l") == "t" * 300


def test_nothing_leaves_its_directory(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"mine")
    layer = tar(entry("../../../../escaped-1", b"x"), entry("/escaped-2", b"x"),
                entry("a/../../../escaped-3", b"x"), entry("a", kind=DIR),
                entry("out", kind=LINK, linkname=str(outside)),
                entry("up", kind=LINK, linkname="../../../../../../../.." + str(outside)),
                entry("up2", kind=LINK, linkname="/"))
    into = tar(*[entry(f"{link}/planted-{number}", b"x")
                 for number, link in enumerate(["up2", "up2/up2"])])
    store.load(layer, name="a")
    store.load(into, name="b")
    root = store.layer(layer)
    assert {"escaped-1", "escaped-2", "escaped-3"} <= set(os.listdir(root))
    assert not pathlib.Path("/escaped-1").exists() and not pathlib.Path("/escaped-2").exists()
    # A file through a link of the same layer, which leads out: within the root there is no such
    # place, and none is made outside.
    for link in ("out", "up"):
        through = tar(entry("out", kind=LINK, linkname=str(outside)),
                      entry("up", kind=LINK, linkname="../../../../../../../.." + str(outside)),
                      entry(f"{link}/planted", b"x"), entry(f"{link}/victim", b"x"))
        with pytest.raises(CallFailed):
            store.load(through, name="c")
    hard = tar(entry("hard", kind=HARD, linkname=str(outside / "victim")))
    fails(lambda: store.load(hard, name="d"), NOT_FOUND, "hard")
    through = tar(entry("out", kind=LINK, linkname=str(outside)),
                  entry("hard", kind=HARD, linkname="out/victim"))
    fails(lambda: store.load(through, name="d"), NOT_FOUND)
    soft = tar(entry("v", kind=LINK, linkname=str(outside / "victim")), entry("v", b"not yours"))
    store.load(soft, name="e")
    assert (store.layer(soft) / "v").read_bytes() == b"not yours"
    for name in ("..", "a/..", ".wh...", ".wh..", ".wh."):
        fails(lambda n=name: store.load(tar(entry(n, b"x")), name="f"), INVALID_ARGUMENT)
    assert os.listdir(outside) == ["victim"]
    assert (outside / "victim").read_bytes() == b"mine"
    assert store.is_clean()


def test_damage_is_named_and_leaves_nothing(store):
    def spoiled(change):
        made = images.Oci()
        made.add(made.manifest([HELLO, OTHER], how="plain"), "app:1")
        change(made)
        return made.archive()

    layer = "blobs/sha256/" + images.digest(HELLO)[7:]
    config = "blobs/sha256/" + images.digest(images.config([HELLO, OTHER]))[7:]

    def flip(made):
        made.files[layer] = made.files[layer][:-1] + b"x"

    fails(lambda: store.load(spoiled(flip)), INVALID_ARGUMENT, images.digest(HELLO), "digest")
    for missing in (layer, config):
        fails(lambda m=missing: store.load(spoiled(lambda made: made.files.pop(m))),
              INVALID_ARGUMENT, missing[-64:], "missing")

    def lie_about_size(made):
        made.manifests[0]["size"] += 1

    fails(lambda: store.load(spoiled(lie_about_size)), INVALID_ARGUMENT, "bytes")
    wrong = images.docker([HELLO], "a")
    wrong = wrong.replace(b"hello\n", b"jello\n")
    fails(lambda: store.load(wrong), INVALID_ARGUMENT, "digest")
    for name in ("index.json", "manifest.json"):
        for text in (b"{", b"[]", b"{}", b"[1]", b"null", b"[" * 5000):
            fails(lambda n=name, t=text: store.load(tar(entry("oci-layout"), entry(n, t)),
                                                    kind=Kind.OCI if n[0] == "i" else Kind.DOCKER),
                  INVALID_ARGUMENT)
    assert store.is_empty()


@pytest.mark.parametrize("how", ["plain", "gzip", "zstd"])
def test_a_stream_that_is_cut_off_leaves_nothing(store, how):
    whole = images.pack(images.oci([HELLO, OTHER], "app:1"), how)
    # All zeros at the end of a tar are its end mark, and what fills its last record.
    length = len(whole.rstrip(b"\0")) if how == "plain" else len(whole)
    for part in (1, 511, length // 3, length // 2, length - 1):
        fails(lambda p=part: store.load(whole[:p]), INVALID_ARGUMENT)
        assert store.is_empty()
    fails(lambda: store.load(b""), INVALID_ARGUMENT)
    fails(lambda: store.load(b"no archive" * 1000), INVALID_ARGUMENT, "checksum")
    assert store.one(whole).names == ["app:1"]


def header(**numbers):
    """A header block of one file, with fields of it as they are given, by offset."""
    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    for field, value in numbers.items():
        offset = {"size": 124, "uid": 108, "mtime": 136, "mode": 100}[field]
        block[offset:offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_numbers_in_base_256_are_read_and_huge_ones_refused(store):
    end = bytes(1024)
    early = store.load(header(mtime=b"\xff" + b"\xff" * 10 + b"\xfe") + end, name="a")
    assert early
    layer = header(uid=b"\x80\x00\x00\x00\x00\x20\x00\x00") + end
    store.load(layer, name="b")
    assert (store.layer(layer) / "x").stat().st_uid == 0x200000
    for bad in ({"size": b"\xff" * 12}, {"size": b"\x80" + b"\x00" * 3 + b"\xff" * 8},
                {"size": b"\x80" + b"\xff" * 11}, {"uid": b"\x80\x00\x00\x01" + b"\x00" * 4},
                {"uid": b"\xff" * 8}, {"size": b"9" * 11 + b"\0"}):
        fails(lambda b=bad: store.load(header(**b) + end, name="c"), INVALID_ARGUMENT, "tar:")
    # 2^61 bytes are said to follow, and don't.
    fails(lambda: store.load(header(size=b"\x80\0\0\0\x20" + b"\0" * 7) + end, name="d"),
          INVALID_ARGUMENT, "ends within")


def test_sparse_files_are_refused_by_name(store):
    sparse = bytearray(header())
    sparse[156] = ord("S")
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    fails(lambda: store.load(bytes(sparse) + bytes(1024), name="a"), INVALID_ARGUMENT, "sparse")


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_bomb_is_stopped_at_the_limit(store, how):
    layer = tar(entry("zeros", bytes(64 * MIB)))
    archive = images.pack(images.oci([layer], "bomb", how), how)
    assert len(archive) < MIB
    fails(lambda: store.load(archive, max_bytes=8 * MIB), RESOURCE_EXHAUSTED, str(8 * MIB))
    assert store.is_empty()
    assert store.load(archive, max_bytes=70 * MIB)


def test_a_full_disk_is_resource_exhausted_and_leaves_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    assert os.system(f"mount -t tmpfs -o size=4m tmpfs {small}") == 0
    try:
        store = Store(small)
        big = tar(entry("big", os.urandom(6 * MIB)))
        fails(lambda: store.load(big, name="a", kind=Kind.ROOTFS), RESOURCE_EXHAUSTED, "space")
        fails(lambda: store.load(images.oci([big], "a")), RESOURCE_EXHAUSTED, "space")
        assert store.is_empty()
        assert store.load(HELLO, name="b")
        store.agent.close()
    finally:
        os.system(f"umount -l {small}")


def test_the_same_again_is_the_same(store):
    archive = images.oci([HELLO, OTHER], "app:1")
    first = store.one(archive)
    inodes = {name: path.stat().st_ino for name, path in store.layers().items()}
    assert store.one(archive).id == first.id
    assert store.one(archive, name="alias").names == ["app:1", "alias:latest"]
    assert {name: path.stat().st_ino for name, path in store.layers().items()} == inodes
    assert len(store.list()) == 1


def test_layers_are_shared_and_go_with_their_last_image(store):
    first = store.one(images.oci([HELLO, OTHER], "one"))
    second = store.one(images.docker([HELLO], "two"))
    assert len(store.layers()) == 2
    gone = store.remove("one")
    assert (list(gone.names), list(gone.ids)) == (["one:latest"], [first.id])
    assert gone.bytes == len(OTHER)
    assert list(store.layers()) == [images.digest(HELLO)]
    gone = store.remove(second.id[7:20])
    assert list(gone.ids) == [second.id]
    assert store.is_empty()
    fails(lambda: store.remove("one"), NOT_FOUND, "one")


def test_an_image_goes_with_its_last_name(store):
    image = store.one(images.docker([HELLO], "one", "two:2"))
    failed = fails(lambda: store.remove(image.id), FAILED_PRECONDITION)
    assert "several names" in failed.message
    assert list(store.remove("one:latest").ids) == []
    assert [list(one.names) for one in store.list()] == [["two:2"]]
    assert list(store.remove("two:2").ids) == [image.id]
    image = store.one(images.docker([HELLO], "one", "two:2"))
    assert sorted(store.remove(image.id, force=True).names) == ["one:latest", "two:2"]


def test_a_name_moves_to_the_newer_image_and_prune_takes_the_older(store):
    old = store.one(images.oci([HELLO], "app"))
    new = store.one(images.oci([OTHER], "app"))
    assert {one.id: list(one.names) for one in store.list()} == {
        old.id: [], new.id: ["app:latest"]}
    gone = store.prune()
    assert (list(gone.ids), gone.bytes) == ([old.id], len(HELLO))
    assert list(store.prune(everything=True).ids) == [new.id]
    assert store.is_empty()


def test_several_images_of_one_archive_arrive_and_a_name_is_for_one(store):
    made = images.Oci()
    made.add(made.manifest([HELLO]), "one").add(made.manifest([HELLO, OTHER]), "two")
    archive = made.archive()
    assert [list(one.names) for one in store.load(archive)] == [["one:latest"], ["two:latest"]]
    fails(lambda: store.load(archive, name="both"), INVALID_ARGUMENT, "2")
    fails(lambda: store.load(HELLO, name="no name"), INVALID_ARGUMENT, "no name")


def test_a_client_that_goes_leaves_nothing(store):
    archive = images.oci([tar(entry("big", os.urandom(4 * MIB)))], "big", "plain")
    for part in (0, MIB, len(archive) - 1024):
        other = store.agent.connect()
        call = store.begin(other)
        call.write(archive[:part])
        agents.until(store.agent.children, "its worker is there")
        other.close()
        agents.until(lambda: not store.agent.children(), "its worker has gone")
        agents.until(store.is_empty, "nothing is left")


def test_what_a_killed_worker_or_agent_left_is_cleared(store, tmp_path):
    archive = images.oci([HELLO, tar(entry("big", os.urandom(2 * MIB)))], "big", "plain")
    kept = store.one(images.oci([HELLO], "kept"))
    agents.until(lambda: not store.agent.children(), "the worker before has gone")
    call = store.begin()
    call.write(archive[:MIB])
    (worker,) = agents.until(store.agent.children, "its worker is there")
    agents.until(lambda: not store.is_clean(), "it has begun")
    agents.kill(worker)
    with pytest.raises(CallFailed):
        call.finish()
    agents.until(store.is_clean, "its leftovers are cleared")
    agents.until(lambda: not store.agent.children(), "it has gone")

    call = store.begin()
    call.write(archive[:MIB])
    (worker,) = agents.until(store.agent.children, "its worker is there")
    agents.until(lambda: not store.is_clean(), "it has begun")
    os.kill(worker, 19)
    store.agent.process.kill()
    store.agent.process.wait()
    agents.kill(worker)
    agents.until(lambda: not agents.runs(worker), "the worker is dead")
    assert not store.is_clean()
    # As if it had died between a layer's last move and the index.
    orphan = store.path / "layers" / ("0" * 32)
    (orphan / "fs").mkdir(parents=True)
    (store.path / "index.json.new").write_text("{")
    again = Store(tmp_path)
    agents.until(lambda: again.is_clean() and not orphan.exists(), "the next start clears up")
    assert [one.id for one in again.list()] == [kept.id]
    assert not (store.path / "index.json.new").exists()
    assert again.one(archive).names == ["big:latest"]
    again.agent.close()
    store.agent.close = lambda: None


def test_two_imports_at_once_both_arrive_and_a_third_goes_on(store):
    shared = tar(entry("shared", os.urandom(3 * MIB)))
    archives = [images.oci([shared, tar(entry(str(n), os.urandom(MIB)))], f"app:{n}", "plain")
                for n in range(3)]
    clients = [store.agent.connect() for _ in archives]
    calls = [store.begin(client) for client in clients]
    calls[2].write(archives[2][:1000])          # It stays half-way.
    failures = []

    def send(call, archive):
        try:
            call.write(archive)
            call.finish()
        except Exception as error:              # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=send, args=pair) for pair in zip(calls[:2], archives)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert store.client.ping().version
    for thread in threads:
        thread.join()
    assert not failures
    assert len(store.layers()) == 3
    calls[2].write(archives[2][1000:])
    assert calls[2].finish().images[0].names == ["app:2"]
    assert sorted(one.names[0] for one in store.list()) == ["app:0", "app:1", "app:2"]
    assert store.is_clean()


def test_a_removal_in_the_middle_of_an_import_takes_no_layer_from_it(store):
    store.one(images.oci([HELLO], "old"))
    archive = images.oci([HELLO, OTHER], "new", "plain")
    call = store.begin()
    call.write(archive[:-2000])
    store.remove("old")
    call.write(archive[-2000:])
    image = call.finish().images[0]
    assert image.layers == 2
    assert (store.layer(HELLO) / "etc/hello").read_bytes() == b"hello\n"


@pytest.mark.timing
def test_memory_stays_bounded(store):
    before = store.agent.rss()
    store.one(images.oci([tar(entry("big", os.urandom(64 * MIB)))], "big", "plain"))
    assert store.agent.rss() - before < 4 * MIB
