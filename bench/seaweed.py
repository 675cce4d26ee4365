"""One SeaweedFS on this machine that speaks S3: `weed server -filer -s3` in a folder of its own.  Tests use it too."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from moonbow.files.adapters.objects import S3Place

HOST = "127.99.7.1"
MASTER, VOLUME, FILER, S3, S3_TLS = 9333, 9340, 9350, 9360, 9361
KEY, SECRET, BUCKET = "moonbow", "a secret of tests", "objects"
WEED = str(Path(sys.executable).parent / "weed")
READY_S = 90.0


class Weed:
    """A server that can be killed and started again.  `tls`: certificate and key, with which it serves S3_TLS too."""

    def __init__(self, folder: Path, host: str = HOST, tls: tuple[Path, Path] | None = None) -> None:
        self.folder, self.host, self.tls = folder, host, tls
        self.place = S3Place(f"http://{host}:{S3}", BUCKET, KEY, SECRET)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to serve; `made` waits until it does."""
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        keys = [{"accessKey": KEY, "secretKey": SECRET}]
        anybody = {"name": "anonymous", "actions": ["Read", "Write"]}
        who = [{"name": KEY, "credentials": keys, "actions": actions}, anybody]
        (self.folder / "s3.json").write_text(json.dumps({"identities": who}))
        ports = {"master": MASTER, "volume": VOLUME, "filer": FILER, "s3": S3}
        words = [f"-{name}.port={port}" for name, port in ports.items()]
        words += [f"-{name}.port.grpc={port + 10_000}" for name, port in ports.items()]
        if self.tls is not None:
            words += [f"-s3.port.https={S3_TLS}", f"-s3.cert.file={self.tls[0]}", f"-s3.key.file={self.tls[1]}"]
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                [WEED, f"-logdir={self.folder}", "server", f"-ip={self.host}", f"-ip.bind={self.host}",
                 f"-dir={self.folder}", "-filer", "-s3", f"-s3.config={self.folder / 's3.json'}",
                 "-master.volumeSizeLimitMB=256", "-volume.max=12", "-s3.port.lance=0", "-s3.port.iceberg=0",
                 "-volume.preStopSeconds=0", *words],
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip

    def make_bucket(self) -> None:
        """Wait until it serves and has our bucket."""
        _wait(lambda: _listens(self.host, S3))
        command = [
            WEED,
            f"-logdir={self.folder}",
            "shell",
            f"-master={self.host}:{MASTER}",
            f"-filer={self.host}:{FILER}",
        ]

        def made() -> bool:
            done = subprocess.run(
                command, input=f"lock; s3.bucket.create -name {BUCKET}; unlock\n", capture_output=True, text=True,
                timeout=30, cwd=self.folder,
            )  # fmt: skip
            return "create bucket" in done.stdout or "already exists" in done.stdout + done.stderr

        _wait(made)

    def kill(self) -> None:
        """End it as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def weed(folder: Path, host: str = HOST, tls: tuple[Path, Path] | None = None) -> Iterator[Weed]:
    """A running server with one empty bucket."""
    server = Weed(folder, host, tls)
    server.start()
    try:
        server.make_bucket()
        yield server
    finally:
        server.kill()


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 0.5):
        return True
    return False


def _wait(check: Callable[[], bool]) -> None:
    ends = time.monotonic() + READY_S
    while not check():
        if time.monotonic() > ends:
            raise TimeoutError("SeaweedFS did not start; see weed.log")
        time.sleep(0.1)
