"""Classifies lines of standard input with a model that any Open Inference server has."""

from __future__ import annotations

import argparse
import queue
import sys
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

ROWS = 16  # a request
UNDER_WAY = 4  # requests
ANSWER_S = 30
BOARD = "edgetran-board"  # what every board's certificate calls it, whatever its address


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("model", help="as it was deployed")
    parser.add_argument("--encrypted", nargs=3, metavar=("CA", "CERT", "KEY"))
    asked = parser.parse_args()
    files = dict(
        zip(("root_certificates", "certificate_chain", "private_key"), asked.encrypted or ())
    )
    named = [("grpc.ssl_target_name_override", BOARD)] if files else None
    client = triton.InferenceServerClient(
        asked.address, ssl=bool(files), channel_args=named, **files
    )
    name = f"{asked.model}:text"
    if not client.is_model_ready(name):
        sys.exit(f"{asked.address} does not serve {name}; it has {', '.join(served(client))}")
    count = 0
    for texts, result in answers(client, name, lines()):
        found = (result.as_numpy("LABEL")[:, 0], result.as_numpy("SCORE")[:, 0], texts)
        for label, score, text in zip(*found):
            print(f"{label.decode()}\t{score:.2f}\t{text}")
            count += 1
    print(f"{count} rows; {times(client, name)}", file=sys.stderr)


def lines() -> Iterator[list[str]]:
    told = (line.strip() for line in sys.stdin)
    kept = (line for line in told if line)
    while texts := list(islice(kept, ROWS)):
        yield texts


def answers(
    client: Any, name: str, batches: Iterator[list[str]]
) -> Iterator[tuple[list[str], Any]]:
    """In the order of the questions, though several are under way."""
    under_way: deque[tuple[list[str], queue.Queue[tuple[Any, Any]]]] = deque()
    for texts in batches:
        answer: queue.Queue[tuple[Any, Any]] = queue.Queue(1)
        rows = np.array([[text] for text in texts], np.object_)
        tensor = triton.InferInput("TEXT", [len(texts), 1], "BYTES").set_data_from_numpy(rows)
        client.async_infer(name, [tensor], partial(told, answer), client_timeout=ANSWER_S)
        under_way.append((texts, answer))
        if len(under_way) >= UNDER_WAY:
            yield taken(under_way)
    while under_way:
        yield taken(under_way)


def told(answer: queue.Queue[tuple[Any, Any]], result: Any, error: Any) -> None:
    answer.put((result, error))


def taken(
    under_way: deque[tuple[list[str], queue.Queue[tuple[Any, Any]]]],
) -> tuple[list[str], Any]:
    texts, answer = under_way.popleft()
    result, error = answer.get(timeout=2 * ANSWER_S)
    if error is not None:
        raise error
    return texts, result


def served(client: Any) -> list[str]:
    return [one.name for one in client.get_model_repository_index().models]


def times(client: Any, name: str) -> str:
    (found,) = client.get_inference_statistics(name).model_stats
    of = found.inference_stats
    each = 1e6 * max(1, of.success.count)
    return (
        f"the board computed {of.compute_infer.ns / each:.1f} ms a request, "
        f"{of.queue.ns / each:.1f} ms in its queue"
    )


if __name__ == "__main__":
    try:
        main()
    except InferenceServerException as error:
        sys.exit(f"error: {error.message()}")
    except KeyboardInterrupt:
        sys.exit(130)
