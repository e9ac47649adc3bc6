"""An OCI registry of a test's own: Debian's docker-registry on loopback, and a bad line to it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE_S = 30.0
PROGRAM = "docker-registry"
USER, PASSWORD = "packer", "spare key"
BCRYPT = "$2b$04$IjOnQKO.FFTHQSfGC4qeTuXb7EpS/MGFhi//32IqVI/ThOGfEmuBS"  # of that password
PIECE_BYTES = 4096


class RegistryServer:
    """Skips where the program is absent."""

    def __init__(self, *, password: bool = False) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            pytest.skip(f"needs {PROGRAM}: apt install {PROGRAM}")
        self.folder = Path(tempfile.mkdtemp(prefix="edgetran-registry-"))
        self.host = f"127.0.0.1:{_free_port()}"
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": self.host},
            "log": {"accesslog": {"disabled": True}, "level": "error"},
        }
        if password:
            (self.folder / "htpasswd").write_text(f"{USER}:{BCRYPT}\n")
            place = {"realm": "tests", "path": str(self.folder / "htpasswd")}
            config["auth"] = {"htpasswd": place}
        (self.folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self._process = subprocess.Popen(
            [program, "serve", self.folder / "config.yml"],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("wb"),
        )
        self._wait()

    def blob(self, digest: str) -> Path:
        """Where its bytes lie."""
        hexes = digest.removeprefix("sha256:")
        blobs = self.folder / "data/docker/registry/v2/blobs/sha256"
        return blobs / hexes[:2] / hexes / "data"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        shutil.rmtree(self.folder)

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/").close()
                return
            except urllib.error.HTTPError:
                return  # it wants a password
            except OSError:  # not yet
                pass
            assert time.monotonic() < deadline
            time.sleep(0.05)


class BadLine:
    """Passes connections on; breaks off each whose answers are longer than `cut_bytes`."""

    def __init__(self, host: str, cut_bytes: int, breaks: int) -> None:
        """breaks: how many connections are broken off; later ones are not."""
        self._to = host.split(":")
        self._cut, self._breaks = cut_bytes, breaks
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.passed_bytes = 0  # of answers
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection((self._to[0], int(self._to[1])))
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(PIECE_BYTES):
                server.sendall(piece)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        here = 0
        with contextlib.suppress(OSError), server, client:
            while piece := server.recv(PIECE_BYTES):
                client.sendall(piece)
                here += len(piece)
                self.passed_bytes += len(piece)
                if here > self._cut and self._breaks:
                    self._breaks -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    return


@contextlib.contextmanager
def bad_line(host: str, cut_bytes: int, breaks: int) -> Iterator[BadLine]:
    line = BadLine(host, cut_bytes, breaks)
    yield line
    line.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
