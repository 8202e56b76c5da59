"""Images and the containers that have them: neither pulls the ground from under the other."""

import io
import os
import pathlib
import shutil
import tarfile
import tempfile
import threading

import pytest

from harness import agent as agents
from harness import containers, protocol
from harness.client import IMAGE, CallFailed, Upload

NOT_FOUND, FAILED_PRECONDITION = 5, 9

pytestmark = pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not()))
# pylint: disable=redefined-outer-name


class World:
    """An agent on a tmpfs, as overlayfs needs, with an image `app`."""

    def __init__(self, home, archive):
        self.archive = archive
        self.layers = home / "images/layers"
        self.agent = containers.ContainerAgent(home, "--images", str(home / "images"))
        self.connect()
        self.load()

    def connect(self):
        self.client = self.agent.connect()
        self.box = containers.Box(self.client, None)

    def restart(self):
        self.agent.kill()
        self.agent.start()
        self.connect()

    def load(self, name="app"):
        first = protocol.image.ImportImageRequest(start=protocol.image.ImportImageStart(
            name=name, kind=protocol.image.ImportImageStart.ROOTFS,
            settings=protocol.image.ImageSettings(cmd=["/bin/sleep", "1000"])))
        call = Upload(self.client, IMAGE, "Import", first, protocol.image.ImportImageResponse)
        call.write(self.archive)
        call.finish()

    def create(self, name, image="app", **fields):
        return self.box.create(rootfs=None, image=image, name=name, **fields).id

    def names(self):
        listed = self.client.call(IMAGE, "List", protocol.image.ListImagesRequest(),
                                  protocol.image.ListImagesResponse).images
        return sorted(name for image in listed for name in image.names)

    def remove(self, image="app", force=False, client=None):
        return (client or self.client).call(
            IMAGE, "Remove", protocol.image.RemoveImageRequest(image=image, force=force),
            protocol.image.RemoveImageResponse)

    def prune(self):
        return self.client.call(IMAGE, "Prune", protocol.image.PruneImagesRequest(all=True),
                                protocol.image.PruneImagesResponse)

    def is_empty(self):
        return not os.listdir(self.layers)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = containers.make_rootfs(tmp_path_factory.mktemp("rootfs") / "root")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.add(root, arcname=".")
    return out.getvalue()


@pytest.fixture
def world(archive):
    home = tempfile.mkdtemp(prefix="slc-", dir="/dev/shm")
    made = World(pathlib.Path(home), archive)
    yield made
    for one in made.box.call("List", all=True).containers:
        made.box.call("Remove", container=one.id, force=True)
    made.agent.close()
    shutil.rmtree(home)


def is_refused(world, *names):
    with pytest.raises(CallFailed) as failed:
        world.remove()
    assert failed.value.code == FAILED_PRECONDITION
    assert failed.value.message == f"image app is used by {', '.join(names)}"
    return True


def test_an_image_that_containers_have_is_not_removed_and_the_call_names_them(world):
    made = world.create("web")
    assert is_refused(world, "web")
    other = world.create("db")
    world.box.call("Start", container=made)
    assert is_refused(world, "db", "web")
    assert not world.prune().ids
    world.box.call("Remove", container=made, force=True)
    assert is_refused(world, "db")
    world.box.call("Remove", container=other)
    assert world.remove().ids and world.is_empty()


def test_an_image_that_was_removed_by_force_serves_its_containers_to_their_end(world):
    made, other = world.create("web"), world.create("db")
    gone = world.remove(force=True)
    assert (list(gone.names), len(gone.ids), gone.bytes) == (["app:latest"], 1, 0)
    assert not world.names()
    for call in (world.remove, lambda: world.create("late")):
        with pytest.raises(CallFailed) as failed:
            call()
        assert failed.value.code == NOT_FOUND
    world.prune()
    for container in (made, other):
        world.box.call("Start", container=container)
        assert world.box.state(container) == "RUNNING"
    world.box.call("Remove", container=made, force=True)
    world.box.call("Stop", container=other, timeout_ns=-1)
    world.box.call("Start", container=other)
    world.box.call("Remove", container=other, force=True)
    agents.until(world.is_empty, "the layers go with the last container")


def test_what_containers_hold_outlives_the_agent(world):
    made = world.create("web")
    world.restart()
    assert is_refused(world, "web")
    world.remove(force=True)
    world.restart()
    world.prune()
    world.box.call("Start", container=made)
    world.restart()
    assert world.box.state(made) == "RUNNING"
    world.box.call("Remove", container=made, force=True)
    agents.until(world.is_empty, "the layers go with the last container")


def test_containers_that_went_with_the_boot_hold_nothing(world):
    world.create("web")
    world.remove(force=True)
    world.load("again")
    world.create("other", image="again")
    world.agent.kill()
    shutil.rmtree(world.agent.state)
    world.agent.start()
    world.connect()
    assert world.names() == ["again:latest"]
    assert world.remove("again").ids and world.is_empty()


def test_a_container_that_is_made_while_its_image_goes_can_start_or_is_not_made(world):
    made, missed = 0, 0
    for number in range(24):
        remover = world.agent.connect()
        gone = threading.Thread(target=world.remove, kwargs={"force": True, "client": remover})
        gone.start()
        # Sooner and later within the call.
        for _ in range(number % 8):
            world.client.call("sluice.agent.v1.Agent", "Ping", protocol.agent.PingRequest(),
                              protocol.agent.PingResponse)
        try:
            container = world.create(f"c{number}")
            gone.join()
            world.box.call("Start", container=container)
            world.box.call("Remove", container=container, force=True)
            made += 1
        except CallFailed as failed:
            gone.join()
            assert failed.code == NOT_FOUND, failed
            missed += 1
        assert not world.names()
        world.load()
    assert made + missed == 24
