"""Scores the rows of a file on a board: file in, file out, goes on where it was stopped."""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Optional

import edgetran

RETRY_S = 1.0
Batch = tuple[int, list[str]]  # number of its first row; texts


@dataclass
class Tally:
    """Of this start alone."""

    rows: int = 0
    modelled_s: Optional[float] = None  # that an emulated board would have computed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("rows", type=Path, help=".jsonl, .csv or .tsv")
    parser.add_argument("out", type=Path, help="a line of JSON a row")
    parser.add_argument("--column", default="text")
    parser.add_argument("--board", default="local", help="a name, or HOST:PORT")
    parser.add_argument("--model", help="its name on the board; default: the only one")
    parser.add_argument("--batch", type=int, default=32, help="rows a request")
    parser.add_argument("--parallel", type=int, default=2, help="requests under way")
    parser.add_argument("--patience", type=float, default=120, help="seconds for a board to return")
    asked = parser.parse_args()
    begun = time.monotonic()
    tally = asyncio.run(score(asked))
    took_s = time.monotonic() - begun
    told = f"{tally.rows} rows in {took_s:.1f} s: {tally.rows / took_s:.0f} rows/s"
    if tally.modelled_s:
        told += f" (this machine's clock); the board: ~{tally.rows / tally.modelled_s:.0f} rows/s"
        told += ", modelled"
    print(told)


async def score(asked: argparse.Namespace) -> Tally:
    partial = asked.out.with_name(f"{asked.out.name}.partial")
    if asked.out.exists():
        raise edgetran.UsageError(
            f"{asked.out} is there already", hint="move it, or choose another"
        )
    async with edgetran.connect_async(asked.board) as board:
        about = await identity(board, asked)
        with open_partial(partial, about) as out:
            done = sum(1 for _ in out)
            tally = await answer(board, asked, batches(asked, done), out)
            os.fsync(out.fileno())
    os.replace(partial, asked.out)
    about_of(partial).unlink()
    return tally


async def identity(board: edgetran.AsyncBoard, asked: argparse.Namespace) -> dict[str, Any]:
    """Of what is scored by what: equal for a start that goes on."""
    serving = [one for one in await board.deployments() if asked.model in (None, one.model)]
    if len(serving) != 1:
        names = ", ".join(one.model for one in serving) or "none"
        raise edgetran.UsageError(f"which model? the board has {names}", hint="name it: --model")
    digest = hashlib.sha256(asked.rows.read_bytes()).hexdigest()
    (model,) = serving
    return {"rows": digest, "column": asked.column, "bundle": model.bundle_digest}


def about_of(partial: Path) -> Path:
    """What the partial file is made of, beside it."""
    return partial.with_name(f"{partial.name}.about")


def open_partial(path: Path, about: dict[str, Any]) -> BinaryIO:
    """At its start, cut behind its last whole line."""
    if not path.exists():
        about_of(path).write_text(json.dumps(about) + "\n")
        path.touch()
    elif json.loads(about_of(path).read_text()) != about:
        raise edgetran.UsageError(
            f"{path} was begun with other rows or another bundle", hint="remove it to start anew"
        )
    out = path.open("r+b")
    whole = sum(len(line) for line in out if line.endswith(b"\n"))
    out.truncate(whole)
    out.seek(0)
    return out


def batches(asked: argparse.Namespace, done: int) -> Iterator[Batch]:
    texts = islice(read(asked.rows, asked.column), done, None)
    while found := list(islice(texts, asked.batch)):
        yield done, found
        done += len(found)


def read(path: Path, column: str) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            rows: Iterator[dict[str, Any]] = (json.loads(line) for line in file if line.strip())
        else:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        for number, row in enumerate(rows):
            if not isinstance(row.get(column), str):
                raise edgetran.UsageError(
                    f"row {number} of {path} has no {column!r}", hint="name the column: --column"
                )
            yield row[column]


async def answer(
    board: edgetran.AsyncBoard, asked: argparse.Namespace, left: Iterator[Batch], out: BinaryIO
) -> Tally:
    """Writes each batch in its turn; the next ones are being answered meanwhile."""
    tally, under_way = Tally(), deque[tuple[Batch, "asyncio.Task[edgetran.Answer]"]]()

    def ask() -> None:
        for batch in islice(left, 1):
            under_way.append((batch, asyncio.create_task(patiently(board, asked, batch))))

    for _ in range(asked.parallel):
        ask()
    try:
        while under_way:
            (first, texts), task = under_way.popleft()
            found = await task
            ask()
            for number, one in enumerate(found.predictions, first):
                line = {"row": number, "label": one.label, "score": round(one.score, 6)}
                out.write(json.dumps(line).encode() + b"\n")
            out.flush()
            tally.rows += len(texts)
            if found.modelled_infer_s is not None:
                tally.modelled_s = (tally.modelled_s or 0.0) + found.modelled_infer_s
    finally:
        for _, task in under_way:
            task.cancel()
    return tally


async def patiently(
    board: edgetran.AsyncBoard, asked: argparse.Namespace, batch: Batch
) -> edgetran.Answer:
    """Waits for a board that is away; raises what else went wrong, with the rows it was about."""
    deadline = time.monotonic() + asked.patience
    while True:
        try:
            return await board.answer(batch[1], asked.model)
        except (edgetran.BoardUnreachable, edgetran.BoardBusy, edgetran.ModelDown):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY_S)
        except edgetran.InputError as error:
            last = batch[0] + len(batch[1]) - 1
            raise edgetran.InputError(
                f"rows {batch[0]} to {last}: {error}", hint=error.hint
            ) from error


if __name__ == "__main__":
    try:
        main()
    except edgetran.EdgeTranError as error:
        sys.exit(f"error: {error}\n hint: {error.hint}")
    except OSError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on\n")
