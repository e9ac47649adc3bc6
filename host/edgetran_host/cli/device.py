"""`edgetran device`: which boards there are, what one is, and where it lives."""

from __future__ import annotations

import rich_click as click

from edgetran_host.cli.options import json_option, threads_option


@click.group()
def device() -> None:
    """List boards, show one, remember a board's address.

    \b
    Examples:
      edgetran device list
      edgetran device info nano
      edgetran device add kitchen 192.0.2.7:50051
    """


@device.command("list")
@json_option
def list_devices(as_json: bool) -> None:
    """The catalogue and the boards that were added."""
    import edgetran_devices
    from edgetran import AddressBook

    from edgetran_host.cli.show import show_boards

    specs = [edgetran_devices.load_board(name) for name in edgetran_devices.names()]
    show_boards(specs, dict(AddressBook.default().entries()), as_json=as_json)


@device.command()
@click.argument("target")
@threads_option
@json_option
def info(target: str, threads: int | None, as_json: bool) -> None:
    """What TARGET is: hardware, runtimes, sensors, deployed models."""
    import edgetran

    from edgetran_host.cli.show import show_board

    with edgetran.connect(target, threads=threads) as board:
        show_board(board.describe(), board.deployments(), as_json=as_json)


@device.command()
@click.argument("name")
@click.argument("address")
@json_option
def add(name: str, address: str, as_json: bool) -> None:
    """Remember that board NAME answers at ADDRESS (host:port)."""
    import edgetran

    from edgetran_host.cli.show import show_added

    with edgetran.connect(None, address=address) as board:
        found = board.describe()
    edgetran.AddressBook.default().add(name, address)
    show_added(name, address, found, as_json=as_json)


@device.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Forget the address of board NAME."""
    from edgetran import AddressBook

    from edgetran_host.cli.show import show_removed

    AddressBook.default().remove(name)
    show_removed(name, as_json=as_json)
