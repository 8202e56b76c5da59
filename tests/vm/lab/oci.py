"""An OCI archive (the image specification's layout, in a tar) of a busybox, as builders write them."""

import gzip
import hashlib
import io
import json
import tarfile

PAGE = "hello from the container\n"


def _tar(files):
    """A layer: `files` by path, bytes for a file and a string for a link to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        directories = {path.rsplit("/", 1)[0] for path in files if "/" in path}
        for path in sorted(directories | {"tmp", "root"}):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            layer.addfile(entry)
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                layer.addfile(entry)
            else:
                entry.size, entry.mode = len(content), 0o755
                layer.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(path, name, busybox, applets):
    """Writes an image whose container serves a page on port 80; `busybox` is the program's bytes."""
    files = {"bin/busybox": busybox, "www/index.html": PAGE.encode(),
             "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"}
    layer = _tar(files | {f"bin/{applet}": "busybox" for applet in applets})
    blobs = {}

    def blob(media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "size": len(content),
                "digest": f"sha256:{digest}"}

    config = {"architecture": "amd64", "os": "linux",
              "config": {"Cmd": ["httpd", "-f", "-v", "-p", "80", "-h", "/www"], "Env": ["PATH=/bin"],
                         "WorkingDir": "/www"},
              "rootfs": {"type": "layers",
                         "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob("config.v1+json", json.dumps(config).encode()),
                "layers": [blob("layer.v1.tar+gzip", gzip.compress(layer, mtime=0))]}
    entry = blob("manifest.v1+json", json.dumps(manifest).encode())
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    members = {"oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
               "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()}
    members |= {f"blobs/sha256/{digest}": content for digest, content in blobs.items()}
    with tarfile.open(path, "w") as archive:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
