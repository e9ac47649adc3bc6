"""Rollouts to boards that speak the real protocol over real sockets; some of them are ill."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from edgetran import AsyncBoard, Board, Progress
from edgetran.progress import ignore
from edgetran_host.cli.deploy import deploy as deploy_command
from edgetran_host.cli.fleet import fleet as fleet_command
from edgetran_host.fleet.fleet_file import read_fleet
from edgetran_host.fleet.ledger import Ledger
from edgetran_host.fleet.plan import Pace, Plan
from edgetran_host.fleet.reporting import report
from edgetran_host.fleet.running import deploy, ledger_path, resume, rollback
from edgetran_host.surrogates.rows import read_rows
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BoardError, UsageError

QUICK = Pace(at_once=12, patience_s=0.5, first_pause_s=0.05)
ILL = {
    "b3": "slow",
    "b7": "dying:Deploy",
    "b8": "absent",
    "b9": "wrong",
    "b10": "hot",
}
ENDS = {
    "dying:Deploy": "unreachable",
    "absent": "unreachable",
    "wrong": "refused",
    "hot": "rolled-back",
}


def plan_of(bundle: Bundle, **changes: Any) -> Plan:
    return Plan(bundle=str(bundle.path), digest=bundle.digest, model="home", **changes)


def serves(address: str) -> str:
    """The digest under the name "home"; empty: nothing."""

    async def ask() -> str:
        async with AsyncBoard(address) as board:
            found = await board.deployments()
        return next((one.bundle_digest for one in found if one.model == "home"), "")

    return asyncio.run(ask())


def states(path: Path) -> dict[str, str]:
    return {one["name"]: one["state"] for one in report(read_fleet(path))["boards"]}


def test_twelve_boards(boards: Any, make_bundle: Any, write_fleet: Any) -> None:
    """Each ill one ends as its illness has it, the well ones serve; then the absent one comes."""
    kinds = {**dict.fromkeys((f"b{n}" for n in range(12)), "well"), **ILL}
    running, bundle = boards(kinds), make_bundle()
    events: list[Progress] = []
    path = write_fleet({name: running.address(name) for name in kinds})
    plan = plan_of(bundle, waves="1,50%,100%", max_failures="90%")
    found = deploy(read_fleet(path), plan, QUICK, events.append)
    assert found.status == "done", found.reason
    ended = states(path)
    assert ended == {name: ENDS.get(kind, "deployed") for name, kind in kinds.items()}
    assert {events[-1].stage, events[-1].done} == {"wave 3 of 3", 6}
    for name, state in ended.items():
        if state != "unreachable":
            assert serves(running.address(name)) == (bundle.digest if state == "deployed" else "")
    deploys = running.deploys()
    running.start("b8")
    resume(read_fleet(path), replace(QUICK, patience_s=0.1), ignore)
    assert states(path) == {**ended, "b8": "deployed"}
    assert running.deploys() == {**deploys, "b8": 1}  # nobody else heard of it
    assert serves(running.address("b8")) == bundle.digest
    told = {one["name"]: one for one in report(read_fleet(path))["boards"]}
    p99 = told["b0"]["figures"]["latency_p99_s"]
    assert p99["delivered"] <= p99["promised"]
    assert "promised p99" in told["b10"]["reason"]
    assert "differ" in told["b9"]["reason"]


def test_a_flaky_board_is_served_in_the_end(
    boards: Any, make_bundle: Any, write_fleet: Any
) -> None:
    """It hangs up three times in the middle of it."""
    running, bundle = boards({"one": "flaky"}), make_bundle()
    path = write_fleet({"one": running.address("one")})
    deploy(read_fleet(path), plan_of(bundle), replace(QUICK, patience_s=60.0), ignore)
    assert states(path) == {"one": "deployed"}
    assert serves(running.address("one")) == bundle.digest


@pytest.fixture
def three(boards: Any, write_fleet: Any) -> Callable[..., tuple[Any, Path]]:
    def make(more: str = "", **kinds: str) -> tuple[Any, Path]:
        names = {"one": "well", "two": "well", "three": "well", **kinds}
        running = boards(names)
        return running, write_fleet({name: running.address(name) for name in names}, more)

    return make


def test_a_halt_takes_the_wave_back_and_the_next_release_goes_on(
    three: Any, make_bundle: Any
) -> None:
    running, path = three(three="hot")
    first, second = make_bundle(1), make_bundle(2)
    fleet = read_fleet(path)
    deploy(fleet, plan_of(first, max_failures="1", waves="100%"), QUICK, ignore)
    assert states(path) == {"one": "deployed", "two": "deployed", "three": "rolled-back"}
    first_bytes = running.received_bytes()["one"]

    # The second wave has the hot board: it fails, and "two" goes back with it. "one" stays.
    found = deploy(fleet, plan_of(second, waves="1,100%"), QUICK, ignore)
    assert found.status == "halted"
    assert "three: p50" in found.reason
    assert states(path) == {"one": "deployed", "two": "rolled-back", "three": "rolled-back"}
    addresses = [running.address(name) for name in ("one", "two", "three")]
    assert [serves(one) for one in addresses] == [second.digest, first.digest, ""]

    # Of the second bundle only what is new was sent: tokenizer and config are the same.
    shared = {blob.digest for blob in first.blobs} & {blob.digest for blob in second.blobs}
    assert shared
    sent = running.received_bytes()["one"] - first_bytes
    same = sum(blob.size_bytes for blob in second.blobs if blob.digest in shared)
    assert sent == second.size_bytes - same

    found = rollback(fleet, QUICK, ignore, "by hand")
    assert found.status == "taken-back"
    assert [serves(one) for one in addresses] == [first.digest, first.digest, ""]


@pytest.mark.parametrize("on_halt", ["keep", "rollback-all"])
def test_on_halt(three: Any, make_bundle: Any, on_halt: str) -> None:
    running, path = three()
    bundle = make_bundle()
    plan = plan_of(bundle, waves="1,2,100%", stop_if=("p99>1us", "failed>40%"), on_halt=on_halt)
    plan = Plan(**{**plan.to_json(), "max_failures": "1", "stop_if": ("p99>1us", "failed>40%")})
    found = deploy(read_fleet(path), plan, QUICK, ignore)
    assert found.status == "halted"
    assert "failed>40%" in found.reason
    kept = on_halt == "keep"
    assert states(path)["one"] == ("kept" if kept else "rolled-back")
    assert states(path)["two"] == "waiting"
    assert serves(running.address("one")) == (bundle.digest if kept else "")


def test_a_board_that_owes_its_rollback_goes_back_when_it_is_back(
    three: Any, make_bundle: Any
) -> None:
    running, path = three(two="hot")
    first, second = make_bundle(1), make_bundle(2, promised=[])
    fleet = read_fleet(path)
    deploy(fleet, plan_of(make_bundle(1, promised=[]), waves="100%"), QUICK, ignore)
    del first
    before = serves(running.address("one"))
    deploy(fleet, plan_of(second, waves="1,100%"), QUICK, ignore)
    running.stop("one")
    found = rollback(fleet, QUICK, ignore, "wrong labels")
    assert states(path) == {"one": "unreachable", "two": "rolled-back", "three": "rolled-back"}
    running.start("one")
    assert serves(running.address("one")) == second.digest
    found = resume(fleet, QUICK, ignore)
    assert found.status == "taken-back"
    assert states(path)["one"] == "rolled-back"
    assert serves(running.address("one")) == before


def test_what_a_board_says_of_itself_holds(boards: Any, make_bundle: Any, write_fleet: Any) -> None:
    kinds = dict.fromkeys(("plain", "picky", "hasty"), "well")
    running, bundle = boards(kinds), make_bundle()
    path = write_fleet(
        {name: running.address(name) for name in kinds},
        '[groups.eight]\nprecision = "int8"\n[groups.quick]\nmax_p99 = "1us"',
        {"picky": "eight", "hasty": "quick"},
    )
    deploy(read_fleet(path), plan_of(bundle, waves="100%", max_failures="2"), QUICK, ignore)
    told = {one["name"]: one for one in report(read_fleet(path))["boards"]}
    assert told["plain"]["state"] == "deployed"
    assert (told["picky"]["state"], told["hasty"]["state"]) == ("refused", "rolled-back")
    assert "no int8 variant" in told["picky"]["reason"]
    assert "the board's limit is p99 0.001 ms" in told["hasty"]["reason"]
    assert running.deploys()["picky"] == 0


@pytest.mark.parametrize("wrong", [False, True])
def test_labelled_rows_are_asked_of_every_board(
    three: Any, make_bundle: Any, tiny: ModuleType, tmp_path: Path, wrong: bool
) -> None:
    _, path = three()
    texts = [f"{verb} {thing}" for verb in ("turn", "play", "on") for thing in tiny.WORDS[4:]]
    logits = tiny.reference(tiny.encode([[text] for text in texts]), 1)
    best = [tiny.LABELS[(number + wrong) % 3] for number in logits.argmax(axis=1)]
    rows = "\n".join(f"{text}\t{label}" for text, label in zip(texts, best))
    (tmp_path / "task").mkdir()
    for name in ("train", "dev"):
        (tmp_path / "task" / f"{name}.tsv").write_text(f"sentence\tlabel\n{rows}\n")
    plan = plan_of(make_bundle(), canary=str(tmp_path / "task"), canary_rows=18, waves="100%")
    deploy(read_fleet(path), plan, QUICK, ignore)
    assert set(states(path).values()) == {"rolled-back" if wrong else "deployed"}
    one = report(read_fleet(path))["boards"][0]
    assert one["figures"]["accuracy"] == {"promised": 0.9, "delivered": 0.0 if wrong else 1.0}
    assert ("accuracy 0.0% of 18 canary rows" in one["reason"]) == wrong


def test_after_the_soak_a_board_that_went_back_halts_the_wave(three: Any, make_bundle: Any) -> None:
    running, path = three()
    first, second = make_bundle(1), make_bundle(2)
    deploy(read_fleet(path), plan_of(first, waves="100%"), QUICK, ignore)

    def meanwhile(event: Progress) -> None:
        if event.stage == "soak":
            with Board(running.address("two")) as board:
                board.rollback("home", "it was late")

    plan = plan_of(second, waves="2,100%", soak_s=0.1)
    found = deploy(read_fleet(path), plan, QUICK, meanwhile)
    assert found.status == "halted"
    assert "two: afterwards: it was late" in found.reason
    assert states(path) == {"one": "rolled-back", "two": "rolled-back", "three": "waiting"}
    addresses = [running.address(name) for name in ("one", "two", "three")]
    assert [serves(one) for one in addresses] == [first.digest] * 3


def test_a_board_that_takes_nothing_older_serves_on(
    boards: Any, make_bundle: Any, write_fleet: Any
) -> None:
    running, second = boards({"one": "strict"}), make_bundle(2)
    path = write_fleet({"one": running.address("one")})
    fleet = read_fleet(path)
    deploy(fleet, plan_of(make_bundle(1)), QUICK, ignore)
    deploy(fleet, plan_of(second), QUICK, ignore)
    rollback(fleet, QUICK, ignore, "wrong labels")
    assert states(path) == {"one": "kept"}
    assert "OlderBundle" in report(fleet)["boards"][0]["reason"]
    assert serves(running.address("one")) == second.digest
    deploy(fleet, plan_of(make_bundle(1)), QUICK, ignore)
    assert states(path) == {"one": "refused"}


def test_the_commands(three: Any, make_bundle: Any, monkeypatch: Any) -> None:
    running, path = three()
    bundle = make_bundle()
    run = CliRunner().invoke
    given = ["--fleet", str(path), "--bundle", str(bundle.path)]
    assert "nothing was deployed" in run(fleet_command, ["status", str(path)]).stdout
    nothing = run(fleet_command, ["resume", str(path)])
    assert isinstance(nothing.exception, UsageError)

    dry = run(deploy_command, [*given, "--dry-run", "--json"])
    assert dry.exit_code == 0, dry.output
    foretold = json.loads(dry.stdout)["boards"]
    assert [one["send_bytes"] for one in foretold] == [bundle.size_bytes] * 3
    assert [one["wave"] for one in foretold] == [1, 2, 2]
    assert sum(running.deploys().values()) == 0
    assert not ledger_path(path).exists()

    done = run(deploy_command, [*given, "--canary", "intents"])
    assert isinstance(done.exception, UsageError)
    assert "the bundle knows" in str(done.exception)
    done = run(deploy_command, [*given, "--stop-if", "p99>1s"], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "kitchens: done; 3 deployed" in done.stdout
    assert "jetson-nano:cpu" in done.stdout

    again = run(deploy_command, [*given, "--stop-if", "p99>1us", "--json"])
    assert isinstance(again.exception, BoardError)  # served already, so nothing goes back
    assert {one["state"] for one in json.loads(again.stdout)["boards"]} == {"kept", "waiting"}
    assert set(running.deploys().values()) == {1}
    missing = run(deploy_command, ["--fleet", str(path)])
    assert missing.exit_code == 2


def test_boards_that_come_late(
    boards: Any, make_bundle: Any, write_fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was away, one joins the file: `resume --follow` stays until both serve."""
    running, bundle = boards({"one": "well", "two": "absent", "three": "well"}), make_bundle()
    path = write_fleet({name: running.address(name) for name in ("one", "two")})
    given = ["--fleet", str(path), "--bundle", str(bundle.path), "--away", "0.1"]
    found = CliRunner().invoke(deploy_command, given)
    assert isinstance(found.exception, BoardError)
    assert str(found.exception) == "1 board did not answer: two"
    with path.open("a") as file:
        file.write(f'\n[[boards]]\nname = "three"\naddress = "{running.address("three")}"\n')
    assert report(read_fleet(path))["new"] == ["three"]
    monkeypatch.setattr("edgetran_host.fleet.running.FOLLOW_S", 0.1)
    timer = threading.Timer(0.3, running.start, ["two"])
    timer.start()
    again = ["resume", str(path), "--follow", "--away", "0.1", "--json"]
    ended = CliRunner().invoke(fleet_command, again)
    timer.join()
    assert ended.exit_code == 0, ended.output
    assert set(states(path).values()) == {"deployed"}
    assert running.deploys() == {"one": 1, "two": 1, "three": 1}


def test_what_boards_deliver_is_learnt_from(three: Any, make_bundle: Any, tmp_path: Path) -> None:
    """Of two releases: enough for a surrogate to be moved by."""
    _, path = three(two="hot")
    for number in (1, 2):
        plan = plan_of(make_bundle(number, promised=[]), waves="100%")
        deploy(read_fleet(path), plan, QUICK, ignore)
    told = CliRunner().invoke(
        fleet_command, ["rows", str(path), "--out", str(tmp_path / "rows"), "--json"]
    )
    ((place, written),) = json.loads(told.stdout)["files"].items()
    assert (place, written["rows"]) == ("jetson-nano:cpu", 2)
    rows = read_rows([Path(written["file"])])
    kept = report(read_fleet(path))["boards"]
    p50 = [one["figures"]["latency_p50_s"]["delivered"] for one in kept]
    assert rows.measures["latency_s"][1] == pytest.approx(statistics.median(p50))
    assert rows.setting["board"] == place


def test_another_rollout_waits_for_the_first(three: Any, make_bundle: Any) -> None:
    _, path = three()
    bundle, fleet = make_bundle(), read_fleet(path)
    Ledger(ledger_path(path)).begin(plan_of(bundle), [["one"], ["two", "three"]])
    with pytest.raises(UsageError, match="another rollout to kitchens is running") as caught:
        deploy(fleet, plan_of(make_bundle(2)), QUICK, ignore)
    assert "resume" in caught.value.hint
    found = deploy(fleet, plan_of(bundle), QUICK, ignore)  # the same goes on
    assert (found.id, found.status) == (1, "done")
    bundle.path.unlink()
    with pytest.raises(Exception, match="is not a bundle"):
        resume(fleet, QUICK, ignore)
