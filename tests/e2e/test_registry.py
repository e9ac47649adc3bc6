"""A bundle goes from one user through a real registry onto a board, by commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from edgetran_protos.bundle import Bundle

from tests.e2e.test_board_commands import Shell, own_shell
from tests.registry_server import RegistryServer

__all__ = ["own_shell"]
pytestmark = pytest.mark.slow


def test_from_a_registry_onto_a_board(
    own_shell: Shell, registry: RegistryServer, tiny: ModuleType, tmp_path: Path
) -> None:
    bundle: Bundle = tiny.make(tmp_path / "tiny.tar")
    place = f"oci://{registry.host}/shelf/tiny:7"
    words = ("bundle", "push", str(bundle.path), place, "--insecure", "--json")
    pushed = own_shell.edgetran(*words).json
    assert pushed["where"] == f"{place}@{bundle.digest}"
    words = ("deploy", "--target", "local", "--bundle", pushed["where"], "--insecure")
    deployed = own_shell.edgetran(*words, "--json").json
    assert json.dumps(deployed).count(bundle.digest) >= 1
    fleet = tmp_path / "fleet.toml"  # keeps what it pulled: a resume needs the very bytes
    fleet.write_text('[[boards]]\nname = "here"\naddress = "local"')
    words = ("deploy", "--fleet", str(fleet), "--bundle", pushed["where"], "--insecure")
    found = own_shell.edgetran(*words, "--no-measure", "--json").json
    assert found["counts"] == {"deployed": 1}
    assert Bundle.open(Path(found["rollout"]["plan"]["bundle"])).digest == bundle.digest
    words = ("deploy", "--target", "local", "--bundle", pushed["where"], "--insecure")
    refused = own_shell.refused(*words[:4], f"{place[:-1]}8", "--insecure")
    assert "is not there" in refused
    assert "names nothing in a registry" in own_shell.refused("bundle", "pull", "x", "--out", "y")


def test_a_pull_that_is_killed_leaves_the_old_bundle(
    own_shell: Shell, registry: RegistryServer, tiny: ModuleType, tmp_path: Path
) -> None:
    old, new = tiny.make(tmp_path / "out.tar", seed=1), tiny.make(tmp_path / "new.tar", seed=2)
    place = f"oci://{registry.host}/shelf/killed:7"
    own_shell.edgetran("bundle", "push", str(new.path), place, "--insecure")
    words = ["bundle", "pull", place, "--out", str(old.path), "--insecure"]
    for pause_s in (0.3, 0.6, 0.9):
        process = subprocess.Popen([Path(sys.executable).parent / "edgetran", *words])
        time.sleep(pause_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert Bundle.open(old.path).digest in (old.digest, new.digest)
    own_shell.edgetran(*words)
    assert Bundle.open(old.path).digest == new.digest
