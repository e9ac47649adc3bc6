"""Prints who has a board and who waits for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict

from edgetran import Lease, LeaseState

from edgetran_host.cli.show import print_json


def hold(target: str, lease: Lease, *, as_json: bool) -> None:
    """Until Ctrl-C. Raises BoardBusy, or LeaseLost when somebody else ended it."""
    with lease:
        if as_json:
            print_json({"target": target, "token": lease.token})
        else:
            print(f"{target} is yours, lease {lease.token}; Ctrl-C gives it back", flush=True)
        with suppress(KeyboardInterrupt):
            lease.wait_until_lost()


def show_queue(state: LeaseState, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(state))
        return
    if state.token:
        print(f"leased by {state.holder or 'a client without a name'}, {state.left_s:.0f} s left")
    else:
        print("somebody measures, without a lease" if state.measuring else "the board is free")
    for place, one in enumerate(state.waiting, start=1):
        print(f"{place}. {one.holder}, priority {one.priority}, waits for {one.waited_s:.0f} s")


def show_released(state: LeaseState, *, as_json: bool) -> None:
    if as_json:
        print_json({"released": state.token, "holder": state.holder})
        return
    print(f"lease {state.token} of {state.holder or 'a client without a name'} is over")
