"""Many microphones: each is a connection to a port of this machine, a line an utterance."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import Optional

import edgetran
from deciding import STALE_S, Decision, decide, too_late

RETRY_S = 0.5
UNDER_WAY = 16  # questions to the board at a time; the others wait here
LONGEST = 1 << 14  # bytes of an utterance


class Listener:
    def __init__(self, board: edgetran.AsyncBoard, model: Optional[str], sure: float) -> None:
        self._board = board
        self._model = model
        self._sure = sure
        self._turns = asyncio.Semaphore(UNDER_WAY)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One microphone, until it hangs up."""
        with contextlib.suppress(ConnectionError, ValueError):  # it went, or sent no lines
            async for line in reader:
                if heard := line.decode(errors="replace").strip():
                    decision = await self._answered(heard)
                    writer.write(f"{decision.line()}\n".encode())
                    await writer.drain()
        writer.close()

    async def _answered(self, heard: str) -> Decision:
        """Waits for a board that is away, as long as acting still makes sense."""
        said = asyncio.get_running_loop().time()
        while True:
            try:
                async with self._turns:
                    (found,) = await self._board.predict([heard], self._model)
                return decide(heard, found, self._sure)
            except (edgetran.BoardUnreachable, edgetran.BoardBusy, edgetran.ModelDown) as error:
                if asyncio.get_running_loop().time() - said > STALE_S:
                    print(f"{error} ({error.hint})", file=sys.stderr)
                    return too_late(heard)
                await asyncio.sleep(RETRY_S)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--board", default="local", help="a name, or HOST:PORT")
    parser.add_argument("--model", help="its name on the board; default: the only one")
    parser.add_argument("--sure", type=float, default=0.7, help="act from this probability on")
    parser.add_argument("--listen", type=int, default=7007, help="port on this machine; 0: any")
    asked = parser.parse_args()
    async with edgetran.connect_async(asked.board) as board:
        await board.describe()  # fail now, not at the first utterance
        listener = Listener(board, asked.model, asked.sure)
        server = await asyncio.start_server(
            listener.serve, "127.0.0.1", asked.listen, limit=LONGEST
        )
        async with server:
            print(f"listening on port {server.sockets[0].getsockname()[1]}", flush=True)
            await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except edgetran.EdgeTranError as error:
        sys.exit(f"error: {error}\n hint: {error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
