"""The dashboard as a process: what it answers, to whom, and how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from edgetran_host.dashboard.places import Places
from edgetran_host.dashboard.serving import serve
from edgetran_host.dashboard.shelf import Shelf
from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_protos.errors import PortInUse, UnknownTarget

NAME = "<b>job & co"  # as a folder may be called
COMMAND = [sys.executable, "-m", "edgetran_host.cli.main", "dashboard", "--port"]
END_S = 20


def start(folder: Path, *more: str) -> tuple[subprocess.Popen[str], int]:
    """The process, once it serves, and its port."""
    process = subprocess.Popen(
        [*COMMAND, "0", "--runs", str(folder), "--records", str(folder), *more],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("dashboard: http://127.0.0.1:")
    return process, int(line.split(":")[3].split("/")[0])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of one with a run under way, and a board that is not there."""
    folder = tmp_path_factory.mktemp("runs")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        board = f"127.0.0.1:{nobody.getsockname()[1]}"
        RunDirectory.create(folder / NAME, JobConfig("intents", "minilm", "nano", "quick"))
        process, found = start(folder, "--board", board)
        try:
            yield found
        finally:
            process.terminate()
            process.wait(END_S)


def ask(
    port: int,
    path: str,
    method: str = "GET",
    host: str = "",
    more: Mapping[str, str] = MappingProxyType({}),
) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}", **more})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


@pytest.mark.parametrize("path", ["/", "/runs", "/records", "/static/boards.js", "/nothing"])
def test_no_page_may_load_anything_from_elsewhere(port: int, path: str) -> None:
    answer, body = ask(port, path)
    assert answer.status == (404 if path == "/nothing" else 200)
    policy = answer.headers["content-security-policy"]
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    assert parts["script-src"] == parts["style-src"] == parts["connect-src"] == "'self'"
    assert parts["frame-ancestors"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "//" not in body.replace("http://www.w3.org/2000/svg", "").replace("// ", "")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
@pytest.mark.parametrize("path", ["/", "/api/boards", "/events", "/static/feed.js"])
def test_another_site_s_name_is_refused(port: int, host: str, path: str) -> None:
    answer, body = ask(port, path, host=host)
    assert answer.status == 400
    assert "host" in body.lower()


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("cross-site", "navigate", 200),  # a link
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
    ],
)
def test_other_sites_ask_in_vain(port: int, site: str, mode: str, status: int) -> None:
    told = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
    assert ask(port, "/api/boards", more=told)[0].status == status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:1", "[::1]:8050"])
def test_this_machine_s_names_are_taken(port: int, host: str) -> None:
    assert ask(port, "/", host=host)[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/", "/api/boards", "/api/runs", "/events"])
def test_nothing_can_be_changed(port: int, method: str, path: str) -> None:
    answer, body = ask(port, path, method)
    assert answer.status == 405
    assert body == "the dashboard only reads\n"


def test_a_board_that_is_not_there_has_no_figures(port: int) -> None:
    while True:
        (board,) = json.loads(ask(port, "/api/boards")[1])
        if board["state"] != "asked":
            break
    assert board["state"] == "away"
    assert "cannot reach" in board["why"]
    assert board["hint"]
    assert board["info"] is board["sample"] is board["deployments"] is board["lease"] is None
    assert board["trace"] == []


def test_a_run_s_name_is_text(port: int) -> None:
    while not (found := json.loads(ask(port, "/api/runs")[1])):
        pass
    assert [one["name"] for one in found] == [NAME]
    quoted = "/runs/%3Cb%3Ejob%20%26%20co"
    answer, body = ask(port, quoted)
    assert answer.status == 200
    assert "<b>job" not in body
    assert "&lt;b&gt;job &amp; co" in body


@pytest.mark.parametrize(
    "path", ["/runs/../../etc/body", "/runs/%2e%2e%2fetc/body", "/runs/x/body"]
)
def test_no_path_leads_out(port: int, path: str) -> None:
    assert ask(port, path)[0].status == 404


def test_the_stream_tells_at_once(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = {}
    while len(told) < 2:
        name, data, _ = (answer.readline().decode().rstrip() for _ in range(3))
        told[name] = json.loads(data.removeprefix("data: "))
    assert set(told) == {"event: boards", "event: folders"}
    connection.close()


def test_a_port_that_is_taken(port: int, own_home: Path) -> None:
    with pytest.raises(PortInUse, match=f"port {port} is taken") as caught:
        serve(port, Places(), Shelf(own_home, own_home), print)
    assert "--port" in caught.value.hint


def test_a_board_that_nobody_knows(own_home: Path) -> None:
    with pytest.raises(UnknownTarget, match="no-such-board") as caught:
        Places(["no-such-board"])
    assert caught.value.hint


@pytest.mark.slow
def test_ctrl_c_ends_it_though_somebody_listens(own_home: Path) -> None:
    process, port = start(own_home)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/events")
    connection.getresponse().readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(END_S) == 0
    connection.close()
