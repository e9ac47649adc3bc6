"""`edgetran device`: which boards there are, what one is, and where it lives."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option, threads_option


@click.group()
def device() -> None:
    """List boards, show one, remember a board's address.

    \b
    Examples:
      edgetran device list
      edgetran device info nano
      edgetran device sensors kitchen --self-test
      edgetran device lease kitchen --wait
      edgetran device queue kitchen
      edgetran device add kitchen 192.0.2.7:50051
      edgetran device pair 192.0.2.7:50051 --name kitchen
      edgetran device calibrate kitchen
      edgetran device trust add kitchen release.pub
    """


@device.command("list")
@json_option
def list_devices(as_json: bool) -> None:
    """The catalogue and the boards that were added.

    \b
    Examples:
      edgetran device list
      edgetran device list --json
    """
    import edgetran_devices
    from edgetran import AddressBook
    from edgetran_protos.errors import UnknownTarget

    from edgetran_host.cli.show import show_boards

    known = dict.fromkeys((*edgetran_devices.names(), *edgetran_devices.own_names()))
    try:
        specs = [edgetran_devices.load_board(name) for name in known]
    except edgetran_devices.UnknownBoard as exc:
        raise UnknownTarget(str(exc), hint=exc.hint) from exc
    show_boards(specs, dict(AddressBook.default().entries()), as_json=as_json)


@device.command()
@click.argument("target")
@threads_option
@json_option
def info(target: str, threads: int | None, as_json: bool) -> None:
    """What TARGET is: address, hardware, runtimes, sensors, deployed models.

    \b
    Examples:
      edgetran device info nano
      edgetran device info 192.0.2.7:50051 --json
    """
    import edgetran

    from edgetran_host.cli.show import calibrated_model, show_board

    with edgetran.connect(target, threads=threads) as board:
        found = board.describe()
        model = None if found.emulated else calibrated_model(target, found.unit)
        show_board(found, board.address, board.deployments(), model, as_json=as_json)


@device.command()
@click.argument("target")
@click.option("--self-test", is_flag=True, help="Load the board in steps; does power follow?")
@click.option("--sensor", default="", help="The sensor to test; default: the one in use.")
@json_option
def sensors(target: str, self_test: bool, sensor: str, as_json: bool) -> None:
    """What the power sensors of TARGET state about their figures, and whether it is true.

    \b
    Examples:
      edgetran device sensors kitchen
      edgetran device sensors kitchen --self-test
    """
    import edgetran

    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show_sensors import show_sensor_report, show_sensors

    with edgetran.connect(target) as board:
        if not self_test:
            show_sensors(board.describe(), as_json=as_json)
            return
        with progress(as_json=as_json) as on_progress:
            report = board.test_sensor(sensor, on_progress=on_progress)
    show_sensor_report(report, as_json=as_json)
    if not report.passed:
        raise SystemExit(1)


@device.command()
@click.argument("target")
@click.option("--wait", is_flag=True, help="In the board's queue while another has it.")
@click.option("--priority", type=int, default=0, help="In the queue; larger ones come first.")
@click.option(
    "--ttl",
    "ttl_s",
    type=float,
    default=30.0,
    show_default=True,
    help="Seconds it outlasts a program that hangs.",
)
@click.option("--as", "holder", default="", help="What those who have to wait are told.")
@json_option
def lease(target: str, wait: bool, priority: int, ttl_s: float, holder: str, as_json: bool) -> None:
    """Keep TARGET to yourself until Ctrl-C; should this program hang, for --ttl seconds.

    \b
    Examples:
      edgetran device lease kitchen --as "new fan"
      edgetran device lease kitchen --wait --priority 5
    """
    import edgetran

    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show_leases import hold

    with edgetran.connect(target) as board, progress(as_json=as_json) as on_progress:
        asked = board.lease(ttl_s, holder, wait=wait, priority=priority, on_progress=on_progress)
        hold(target, asked, as_json=as_json)


@device.command()
@click.argument("target")
@json_option
def queue(target: str, as_json: bool) -> None:
    """Who has TARGET and who waits for it.

    \b
    Examples:
      edgetran device queue kitchen
    """
    import edgetran

    from edgetran_host.cli.show_leases import show_queue

    with edgetran.connect(target) as board:
        show_queue(board.leased(), as_json=as_json)


@device.command()
@click.argument("target")
@json_option
def release(target: str, as_json: bool) -> None:
    """End the lease of TARGET, whoever has it; what is measured under it stops.

    \b
    Examples:
      edgetran device release kitchen
    """
    import edgetran
    from edgetran_protos.errors import UsageError

    from edgetran_host.cli.show_leases import show_released

    with edgetran.connect(target) as board:
        state = board.leased()
        if not state.token:
            raise UsageError(f"nobody has a lease of {target}", hint="see `edgetran device queue`")
        board.release(state.token)
    show_released(state, as_json=as_json)


@device.command()
@click.argument("target")
@click.option(
    "--blocks",
    type=click.IntRange(2, 100),
    default=5,
    show_default=True,
    help="Timed blocks of a graph, a second each.",
)
@click.option(
    "--attempts",
    type=click.IntRange(1, 3),
    default=2,
    show_default=True,
    help="Measure a graph again whose median is not sure.",
)
@click.option("--designs/--no-designs", default=True, help="Whole transformers too.")
@threads_option
@json_option
def calibrate(
    target: str, blocks: int, attempts: int, designs: bool, threads: int | None, as_json: bool
) -> None:
    """Measure what TARGET sustains; from then on its model is of these figures.

    About twenty graphs, three to five minutes. A command that was broken off goes on where it
    stopped. The figures are kept in a catalogue of your own, beside the one that comes along.

    \b
    Examples:
      edgetran device calibrate local
      edgetran device calibrate kitchen --threads 4
      edgetran-daemon --emulate kitchen          (answers as the board did)
    """
    from edgetran_host.calibrating.graphs import DESIGNS, MICRO
    from edgetran_host.calibrating.running import calibrate as measure
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show_calibration import show_calibration
    from edgetran_host.measuring.profiling import Request

    request = Request(blocks=blocks, max_blocks=blocks, threads=threads or 0)
    specimens = (*MICRO, *DESIGNS) if designs else MICRO
    with progress(as_json=as_json) as on_progress:
        found = measure(target, specimens, on_progress, request=request, attempts=attempts)
    show_calibration(found, as_json=as_json)


@device.command()
@click.argument("name")
@click.argument("address")
@json_option
def add(name: str, address: str, as_json: bool) -> None:
    """Remember that board NAME answers at ADDRESS (host:port).

    \b
    Examples:
      edgetran device add kitchen 192.0.2.7:50051
    """
    import edgetran

    from edgetran_host.cli.show import show_added

    with edgetran.connect(None, address=address) as board:
        found = board.describe()
    edgetran.AddressBook.default().add(name, address)
    show_added(name, address, found, as_json=as_json)


@device.command()
@click.argument("address")
@click.option("--code", prompt="the code that the board shows", help="Asked for when left out.")
@click.option("--at", default="", help="Where the board awaits the code; one port above ADDRESS.")
@click.option("--as", "own_name", default="", help="This machine's name in the board's list.")
@click.option("--name", default="", help="Also remember the board under this name.")
@json_option
def pair(address: str, code: str, at: str, own_name: str, name: str, as_json: bool) -> None:
    """Become a trusted client of the board whose daemon serves at ADDRESS (host:port).

    \b
    Examples:
      edgetran-daemon pair --listen 0.0.0.0:50052          (on the board, first)
      edgetran device pair 192.0.2.7:50051 --name kitchen
    """
    from edgetran import AddressBook
    from edgetran import pairing as pairing_with

    from edgetran_host.cli.show import show_paired

    role = pairing_with.pair(address, code, at=at, name=own_name)
    if name:
        AddressBook.default().add(name, address)
    show_paired(address, role, as_json=as_json)


@device.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Forget the address of board NAME.

    \b
    Examples:
      edgetran device remove kitchen
    """
    from edgetran import AddressBook

    from edgetran_host.cli.show import show_removed

    AddressBook.default().remove(name)
    show_removed(name, as_json=as_json)


@device.group()
def trust() -> None:
    """Whose signatures on bundles a board accepts.

    \b
    Examples:
      edgetran device trust add kitchen release.pub
      edgetran device trust list kitchen
      edgetran device trust remove kitchen release --revoke
    """


@trust.command("list")
@click.argument("target")
@json_option
def list_signers(target: str, as_json: bool) -> None:
    """Whom TARGET trusts, whom it did, and whether it asks for a signature.

    \b
    Examples:
      edgetran device trust list kitchen
    """
    import edgetran

    from edgetran_host.cli.show_signers import show_signers

    with edgetran.connect(target) as board:
        show_signers(target, board.signers(), as_json=as_json)


@trust.command("add")
@click.argument("target")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", default="", help="What the board calls it; the file's name by default.")
@json_option
def add_signer(target: str, file: Path, name: str, as_json: bool) -> None:
    """Have TARGET trust FILE: a public key (.pub of `bundle keygen`), or a CA's certificates.

    \b
    Examples:
      edgetran device trust add kitchen release.pub
      edgetran device trust add kitchen team-ca.crt --name team
    """
    import edgetran

    from edgetran_host.cli.show_signers import show_added_signers

    with edgetran.connect(target) as board:
        added = board.add_signer(name or file.stem, file.read_bytes())
    show_added_signers(target, added, as_json=as_json)


@trust.command("remove")
@click.argument("target")
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Refuse it from now on, whoever vouches for it.")
@json_option
def remove_signer(target: str, name: str, revoke: bool, as_json: bool) -> None:
    """Have TARGET trust NAME no longer; what serves goes on until it is loaded again.

    \b
    Examples:
      edgetran device trust remove kitchen release
      edgetran device trust remove kitchen release --revoke
    """
    import edgetran

    from edgetran_host.cli.show_signers import show_removed_signer

    with edgetran.connect(target) as board:
        board.remove_signer(name, revoke=revoke)
    show_removed_signer(target, name, revoke, as_json=as_json)
