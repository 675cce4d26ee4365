"""ejabberd and Prosody as Debian ships them, run from private folders on loopback ports, never as services."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

from ..meter import Kinds, tree
from ..moonbow_world import stop

HOST = "moonbow.localhost"  # the name in our doors' certificate, which the peers use too
PLAIN, TLS = 25_222, 25_223
START_S = 40.0
HERE = Path(__file__).parent


class Server:
    """One server with its data below `folder`; `start` and `stop` may follow each other."""

    title = ""
    package = ""
    program = ""
    template = ""

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        self.folder = folder / self.title
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "certs").mkdir()
        shutil.copy(certificate, self.folder / "certs" / f"{HOST}.crt")
        shutil.copy(key, self.folder / "certs" / f"{HOST}.key")
        (self.folder / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
        text = (HERE / self.template).read_text()
        for name, value in (("HOST", HOST), ("FOLDER", self.folder), ("PLAIN", PLAIN), ("TLS", TLS)):
            text = text.replace(f"@{name}@", str(value))
        (self.folder / self.template).write_text(text)
        self._process: subprocess.Popen[bytes] | None = None
        self.prepare()

    @classmethod
    def installed(cls) -> bool:
        """Whether its program is here."""
        return shutil.which(cls.program) is not None

    @classmethod
    def version(cls) -> str:
        """Name and version of its package, without Debian's revision."""
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", cls.package], capture_output=True, text=True, check=False
        )
        return f"{cls.title} {asked.stdout.partition('-')[0]}".strip()

    def prepare(self) -> None:
        """What must be there before the first start."""

    def command(self) -> list[str]:
        """How it is started, in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What it is told besides."""
        return {}

    def start(self) -> None:
        """Start it and wait until both ports take connections."""
        with (self.folder / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, **self.environment()}, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + START_S
        for port in (PLAIN, TLS):
            while True:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{self.title} did not start: {self._last_words()}")
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
        time.sleep(1.0)

    def _last_words(self) -> str:
        return (self.folder / "out.log").read_text(errors="replace")[-1500:]

    def kinds(self) -> Kinds:
        """Its processes."""
        assert self._process is not None
        return dict.fromkeys(tree(self._process.pid), "server")

    def stop(self) -> None:
        """End it and wait."""
        if self._process is not None:
            stop(self._process)
            self._process = None


class Ejabberd(Server):
    """ejabberd, without the busy waiting of Erlang's schedulers."""

    title, package, program, template = "ejabberd", "ejabberd", "ejabberdctl", "ejabberd.yml"

    def prepare(self) -> None:
        (schema,) = glob.glob("/usr/lib/*/ejabberd-*/priv/sql/lite.sql")[:1]
        with sqlite3.connect(self.folder / "data" / "ejabberd.db") as database:
            database.executescript(Path(schema).read_text())
        database.close()

    def command(self) -> list[str]:
        calm = [word for kind in ("+sbwt", "+sbwtdcpu", "+sbwtdio") for word in (kind, "none")]
        mnesia = f'"{self.folder}/data"'
        return ["erl", "+K", "true", "+P", "250000", *calm, "-noinput", "-mnesia", "dir", mnesia, "-s", "ejabberd"]

    def environment(self) -> dict[str, str]:
        libraries = Path(glob.glob("/usr/lib/*/ejabberd-*/priv")[0]).parents[1]
        return {
            "EJABBERD_CONFIG_PATH": str(self.folder / self.template),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "ERL_LIBS": str(libraries),
            "ERL_MAX_PORTS": "32000",
            "ERL_MAX_ETS_TABLES": "1400",
            "ERL_CRASH_DUMP_BYTES": "0",
            "HOME": str(self.folder),
        }


class Prosody(Server):
    """Prosody on Lua 5.4."""

    title, package, program, template = "Prosody", "prosody", "prosody", "prosody.cfg.lua"

    def command(self) -> list[str]:
        return ["prosody", "--config", str(self.folder / self.template), "-F"]


SERVERS: tuple[type[Server], ...] = (Ejabberd, Prosody)
