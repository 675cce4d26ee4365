"""One SeaweedFS on this machine that speaks S3, for tests: `weed server -filer -s3` in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from moonbow.files.adapters.objects import S3Place
from support import eventually, listens

HOST = "127.99.7.1"
MASTER, VOLUME, FILER, S3 = 9333, 9340, 9350, 9360
KEY, SECRET, BUCKET = "moonbow", "a secret of tests", "objects"


@contextlib.contextmanager
def weed(folder: Path, host: str = HOST) -> Iterator[S3Place]:
    """A running server with one empty bucket."""
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    who = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [who]}))
    ports = {"master": MASTER, "volume": VOLUME, "filer": FILER, "s3": S3}
    words = [f"-{name}.port={port}" for name, port in ports.items()]
    words += [f"-{name}.port.grpc={port + 10_000}" for name, port in ports.items()]
    log = (folder / "weed.log").open("wb")
    process = subprocess.Popen(
        [Path(sys.executable).parent / "weed", f"-logdir={folder}", "server", f"-ip={host}", f"-ip.bind={host}", f"-dir={folder}",
         "-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=10",
         "-s3.port.lance=0", "-s3.port.iceberg=0", "-volume.preStopSeconds=0", *words],
        stdout=log, stderr=log, cwd=folder,
    )  # fmt: skip
    try:
        eventually(lambda: listens(host, S3), within_s=60)
        shell = f"lock; s3.bucket.create -name {BUCKET}; unlock"
        command = [
            Path(sys.executable).parent / "weed",
            f"-logdir={folder}",
            "shell",
            f"-master={host}:{MASTER}",
            f"-filer={host}:{FILER}",
        ]

        def made() -> bool:
            done = subprocess.run(command, input=shell + "\n", capture_output=True, text=True, timeout=30, cwd=folder)
            return "create bucket" in done.stdout or "already exists" in done.stdout + done.stderr

        eventually(made, within_s=60)
        yield S3Place(f"http://{host}:{S3}", BUCKET, KEY, SECRET)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        log.close()
