"""What a daemon is told: by file, environment and command line, and which one wins."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from edgetran_daemon.main import main
from edgetran_daemon.serving.serving_rules import Batching, BatchRule
from edgetran_daemon.serving.worker_pythons import WorkerPythons
from edgetran_daemon.settings import configuration
from edgetran_daemon.settings.configuration import BY_NAME, KEYS, Key, find_file, resolve, written
from edgetran_daemon.settings.kinds import (
    Batches,
    NotNegative,
    Place,
    Positive,
    Pythons,
    Switch,
    Text,
    Whole,
)
from edgetran_daemon.settings.options import parse
from edgetran_protos.errors import UsageError
from hypothesis import given
from hypothesis import strategies as st

PATHS = st.text(st.characters(exclude_characters="\0~", exclude_categories=["Cs"]), min_size=1)


RULES = st.builds(BatchRule, st.integers(1, 64), st.integers(0, 100).map(lambda ms: ms / 1e3))


def values_of(key: Key) -> st.SearchStrategy[Any]:
    kind = key.kind
    if isinstance(kind, Switch):
        return st.booleans()
    if isinstance(kind, Batches):
        return st.dictionaries(st.sampled_from(["", "home", "b.2"]), RULES).map(Batching)
    if isinstance(kind, Pythons):
        names = st.sampled_from(["onnxruntime", "openvino"])
        return st.dictionaries(names, PATHS.map("/".__add__)).map(WorkerPythons.of)
    if isinstance(kind, Whole):
        return st.integers(1, 100)
    if isinstance(kind, (NotNegative, Positive)):
        return st.floats(1e-6, 1e6)
    if isinstance(kind, Text) and kind.choices:
        return st.sampled_from(kind.choices)
    return PATHS.map(Path) if isinstance(kind, Place) else PATHS


SETTINGS = st.fixed_dictionaries({}, optional={key.name: values_of(key) for key in KEYS})


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "daemon.toml"


@given(SETTINGS)
def test_a_file_that_was_written_says_what_was_meant(file: Path, settings: dict[str, Any]) -> None:
    write(file, written(settings))
    defaults = {key.name: key.default for key in KEYS}
    assert resolve({}, {}, file) == {**defaults, **settings}


def test_the_printed_file_holds_every_key_and_only_comments(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    assert main(["--print-config"]) == 0
    text = capsys.readouterr().out
    assert resolve({}, {}, write(file, text)) == {key.name: key.default for key in KEYS}
    lines = [line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line]
    assert [line.partition(" = ")[0] for line in lines] == list(BY_NAME)
    examples = resolve({}, {}, write(file, "\n".join(lines)))
    for key in KEYS:
        assert examples[key.name] is not None
        if key.default is not None:
            assert examples[key.name] == key.default


def test_the_command_line_wins_over_the_environment_over_the_file(file: Path) -> None:
    write(file, 'threads = 2\nlog_level = "error"\nmax_message_mb = 3\n')
    environ = {"EDGETRAN_THREADS": "3", "EDGETRAN_LOG_LEVEL": "debug"}
    told = parse(["--threads", "4"]).told
    found = resolve(told, environ, file)
    assert (found["threads"], found["log_level"], found["max_message_mb"]) == (4, "debug", 3)
    assert found["listen"] == "127.0.0.1:50051"


def test_every_setting_can_be_told_in_each_of_three_ways(file: Path) -> None:
    texts = {
        "listen": "127.0.0.1:9",
        "insecure": "true",
        "tls": "true",
        "emulate": "nano",
        "calibration": "protran-2022",
        "calibration_seed": "11",
        "state": "/somewhere",
        "threads": "7",
        "ready_file": "/ready",
        "idle_exit_s": "1.5",
        "max_message_mb": "5",
        "watch_s": "0",
        "anti_rollback": "true",
        "require_signature": "true",
        "signers": "/trusted",
        "max_models": "2",
        "metrics_address": "127.0.0.1:8",
        "power_sensor": "ina226",
        "i2c_sensor": "ina226:1:0x40:0.01",
        "serial_meter": "um:/dev/rfcomm0",
        "remote_sensor": "127.0.0.1:7",
        "power_rail": "VDD_IN",
        "queue_limit": "5",
        "batching": "8:2 home=16",
        "shared_memory": "off",
        "worker_memory_mb": "300",
        "store_limit_mb": "2048",
        "worker_python": "openvino=/usr/bin/python3 onnxruntime='/opt/my python'",
        "log_format": "json",
        "log_level": "error",
    }
    untested = set(BY_NAME) - set(texts)
    assert not untested
    by_environment = resolve({}, {BY_NAME[name].variable: text for name, text in texts.items()})
    options = [
        part
        for name, text in texts.items()
        for part in ([BY_NAME[name].option] if text == "true" else [BY_NAME[name].option, text])
    ]
    by_option = resolve(parse(options).told, {})
    by_file = resolve({}, {}, write(file, written({name: by_option[name] for name in texts})))
    assert by_environment == by_option == by_file
    for name in texts:
        assert by_option[name] != BY_NAME[name].default


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        ("thread = 4", "'thread'", "did you mean 'threads'?"),
        ("zzz = 4", "'zzz'", "known: listen"),
        ('threads = "4"', "threads is '4'", "a whole number from 1 to 256"),
        ("threads = 0", "threads is 0", "a whole number from 1 to 256"),
        ("threads = true", "threads is True", "a whole number"),
        ("threads = 1.0", "threads is 1.0", "a whole number"),
        ("insecure = 1", "insecure is 1", "true or false"),
        ("idle_exit_s = nan", "idle_exit_s is nan", "above zero"),
        ("idle_exit_s = inf", "idle_exit_s is inf", "above zero"),
        ('log_format = "xml"', "log_format is 'xml'", "one of text, json"),
        ("listen = 50051", "listen is 50051", "a text in quotes"),
        ('state = ""', "state is ''", "a path in quotes"),
        ("[listen]\nport = 1", "listen is {'port': 1}", "a text in quotes"),
        ('worker_python = "abacus=/bin/python"', "worker_python is", "absolute paths"),
        ('worker_python = {openvino = "python3"}', "worker_python is", "absolute paths"),
        ('worker_python = "openvino=/a openvino=/b"', "worker_python is", "absolute paths"),
        ("worker_python = {openvino = 3}", "worker_python is", "absolute paths"),
        ("threads = ", "Invalid value", "--print-config"),
        ("threads = 1\nthreads = 2", "overwrite", "--print-config"),
    ],
)
def test_a_file_with_a_mistake_is_refused_by_its_name(
    file: Path, text: str, said: str, advice: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({}, {}, write(file, text))
    assert str(file) in str(caught.value)
    assert said in str(caught.value)
    assert advice in caught.value.hint


@given(st.binary() | st.text().map(str.encode))
def test_any_file_is_settings_or_a_usage_error(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with contextlib.suppress(UsageError):
        assert set(resolve({}, {}, file)) == set(BY_NAME)


def test_a_table_names_the_pythons_of_runtimes_as_well_as_a_text(file: Path) -> None:
    by_table = resolve({}, {}, write(file, 'worker_python = {openvino = "/opt/my python"}'))
    by_text = resolve({}, {}, write(file, "worker_python = \"openvino='/opt/my python'\""))
    assert by_table["worker_python"] == by_text["worker_python"]
    assert by_table["worker_python"].paths == {"openvino": Path("/opt/my python")}


def test_a_file_that_is_not_there_is_refused_only_when_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path / "absent.toml"
    monkeypatch.setattr(configuration, "DEFAULT_FILE", absent)
    assert find_file({}) is None
    resolve({}, {})
    for environ, named in ({"EDGETRAN_CONFIG": str(absent)}, None), ({}, absent):
        with pytest.raises(UsageError, match=str(absent)):
            resolve({}, environ, named)
    write(absent, "threads = 9")
    assert resolve({}, {})["threads"] == 9
    assert resolve({}, {"EDGETRAN_CONFIG": os.devnull})["threads"] is None


@pytest.mark.parametrize(
    "variable", ["EDGETRAN_THREADS=two", "EDGETRAN_INSECURE=maybe", "EDGETRAN_LOG_FORMAT=xml"]
)
def test_a_variable_with_a_mistake_is_refused_by_its_name(variable: str) -> None:
    name, _, text = variable.partition("=")
    with pytest.raises(UsageError, match=name) as caught:
        resolve({}, {name: text})
    assert "it must be" in caught.value.hint
    resolve({}, {name: ""})  # set to nothing: not set


def test_a_daemon_with_a_mistake_in_its_file_says_so(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    write(file, "lisen = 'x'")
    assert main(["--config", str(file)]) == 2
    assert "did you mean 'listen'?" in capsys.readouterr().err
