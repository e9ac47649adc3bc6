"""An OCI registry of a test's own: Debian's docker-registry on loopback, and a bad line to it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.token_server import SERVICE, TokenServer

PATIENCE_S = 30.0
PROGRAM = "docker-registry"
USER, PASSWORD = "packer", "spare key"
BCRYPT = "$2b$04$IjOnQKO.FFTHQSfGC4qeTuXb7EpS/MGFhi//32IqVI/ThOGfEmuBS"  # of that password
PIECE_BYTES = 4096


class RegistryServer:
    """Skips where the program is absent."""

    def __init__(self, *, password: bool = False, tokens: bool = False) -> None:
        """password: asked for at every request. tokens: asked for of a server of its own."""
        program = shutil.which(PROGRAM)
        if program is None:
            pytest.skip(f"needs {PROGRAM}: apt install {PROGRAM}")
        self.folder = Path(tempfile.mkdtemp(prefix="edgetran-registry-"))
        self.host = f"127.0.0.1:{_free_port()}"
        config: dict[str, object] = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": self.host},
            "log": {"accesslog": {"disabled": True}, "level": "error"},
        }
        if password:
            (self.folder / "htpasswd").write_text(f"{USER}:{BCRYPT}\n")
            place = {"realm": "tests", "path": str(self.folder / "htpasswd")}
            config["auth"] = {"htpasswd": place}
        self.tokens = TokenServer(self.folder, USER, PASSWORD) if tokens else None
        if self.tokens is not None:
            config["auth"] = {
                "token": {
                    "realm": self.tokens.realm,
                    "service": SERVICE,
                    "issuer": SERVICE,
                    "rootcertbundle": str(self.tokens.certificate),
                }
            }
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
        if self.tokens is not None:
            self.tokens.close()
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


class ListingFront:
    """The same registry as one that lists referrers itself, a page each, of any type."""

    def __init__(self, host: str) -> None:
        front, self.asked = self, list[str]()
        self._lists: dict[str, list[dict[str, object]]] = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def pass_on(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                line = http.client.HTTPConnection(host)
                line.request(self.command, self.path, body, dict(self.headers))
                answer = line.getresponse()
                data = answer.read()
                more = front.noted(self.command, self.path, body)
                self.reply(answer.status, data, {**dict(answer.headers), **more})

            def do_GET(self) -> None:
                place, _, query = self.path.partition("?")
                if "/referrers/" not in place:
                    self.pass_on()
                    return
                front.asked.append(self.path)
                page = int(urllib.parse.parse_qs(query).get("page", ["0"])[0])
                found = front.listed(place.rpartition("/")[2])
                index = {"schemaVersion": 2, "manifests": found[page : page + 1]}
                last = page + 1 >= len(found)
                link = {} if last else {"Link": f'<{place}?page={page + 1}>; rel="next"'}
                self.reply(200, json.dumps(index).encode(), link)

            def reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name not in ("Content-Length", "Date", "Server"):
                        self.send_header(name, value.replace(host, front.host))
                empty = self.command == "HEAD"
                self.send_header(
                    "Content-Length", headers["Content-Length"] if empty else str(len(data))
                )
                self.end_headers()
                self.wfile.write(b"" if empty else data)

            do_HEAD = do_POST = do_PUT = do_PATCH = pass_on

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def listed(self, subject: str) -> list[dict[str, object]]:
        other = {"mediaType": "", "digest": f"sha256:{'0' * 64}", "artifactType": "text/other"}
        return [other, *self._lists.get(subject, [])]

    def noted(self, command: str, path: str, body: bytes) -> dict[str, str]:
        """Headers to add."""
        if command != "PUT" or "/manifests/" not in path:
            return {}
        manifest = json.loads(body)
        if "subject" not in manifest:
            return {}
        subject = manifest["subject"]["digest"]
        entry = {"digest": path.rpartition("/")[2], "artifactType": manifest["artifactType"]}
        known = self._lists.setdefault(subject, [])
        known += [entry] if entry not in known else []
        return {"OCI-Subject": subject}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


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
