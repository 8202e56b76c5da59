"""Archives of images, made here: what the agent is to read is written by somebody else."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name, data=b"", kind=tarfile.REGTYPE, **attributes):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.mtime = 1_600_000_000
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def tar(*entries, layout=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pack(data, how):
    if how == "gzip":
        return gzip.compress(data, 1, mtime=0)
    if how == "zstd":
        return subprocess.run(["zstd", "-1", "-q", "-c"], input=data, capture_output=True,
                              check=True).stdout
    return data


def config(layers, arch=ARCH, **settings):
    return json.dumps({"architecture": arch, "os": "linux", "created": "2026-01-02T03:04:05Z",
                       "config": settings,
                       "rootfs": {"type": "layers", "diff_ids": [digest(one) for one in layers]}},
                      sort_keys=True).encode()


class Oci:
    """An OCI layout in the making: files by name, which a test may spoil."""

    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        self.manifests = []

    def blob(self, data, kind, **more):
        self.files["blobs/sha256/" + digest(data)[7:]] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}

    def manifest(self, layers, how="gzip", arch=ARCH, **settings):
        """An image of unpacked layers; its descriptor."""
        made = config(layers, arch, **settings)
        return self.blob(json.dumps({
            "schemaVersion": 2,
            "config": self.blob(made, "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(pack(one, how), "application/vnd.oci.image.layer.v1.tar+" + how)
                       for one in layers],
        }).encode(), "application/vnd.oci.image.manifest.v1+json")

    def index(self, manifests):
        return self.blob(json.dumps({"schemaVersion": 2, "manifests": manifests}).encode(),
                         "application/vnd.oci.image.index.v1+json")

    def add(self, descriptor, name="", **more):
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        self.manifests.append({**descriptor, "annotations": annotations, **more})
        return self

    def archive(self, reverse=False):
        files = {**self.files, "index.json": json.dumps(
            {"schemaVersion": 2, "manifests": self.manifests}).encode()}
        names = sorted(files, reverse=reverse)
        return tar(*[entry(name, files[name]) for name in names])


def oci(layers, name="", how="gzip", **settings):
    made = Oci()
    return made.add(made.manifest(layers, how, **settings), name).archive()


def docker(layers, *names, links=False, **settings):
    """What `docker save` made for years: a directory a layer; the same layer twice as a link."""
    made = config(layers, **settings)
    entries, paths, first = [], [], {}
    for number, layer in enumerate(layers):
        path = f"{number:064x}/layer.tar"
        if links and layer in first:
            entries.append(entry(path, kind=tarfile.SYMTYPE, linkname=f"../{first[layer]}"))
        else:
            entries.append(entry(path, layer))
            first[layer] = path
        paths.append(path)
    name = digest(made)[7:] + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": list(names) or None, "Layers": paths}])
    return tar(*entries, entry(name, made), entry("manifest.json", manifest.encode()))
