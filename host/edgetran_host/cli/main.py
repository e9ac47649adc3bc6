"""Entry of the `edgetran` command: a visible table of verbs, and the one place
that turns errors into a line with a hint and an exit code."""

from __future__ import annotations

import importlib
import os
import sys

import rich_click as click
from edgetran_protos.errors import EdgeTranError

COMMANDS = {  # verb -> module:attribute, imported only when asked for
    "deploy": ("edgetran_host.cli.deploy:deploy", "Find, train and deploy a model for a board."),
    "infer": ("edgetran_host.cli.infer:infer", "Ask a board's model about sentences."),
    "device": ("edgetran_host.cli.device:device", "List boards, show one, add its address."),
    "runs": ("edgetran_host.cli.runs:runs", "Look at what earlier runs found."),
}

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


class LazyGroup(click.RichGroup):
    """Knows its commands by name; loads a command's module when it is invoked."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        if ctx.invoked_subcommand is None and not ctx.args and _asks_for_overview():
            return click.Command(name, help=COMMANDS[name][1])
        module, _, attribute = COMMANDS[name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


def _asks_for_overview() -> bool:
    return not any(word in COMMANDS for word in sys.argv[1:])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgetran-host", prog_name="edgetran")
def cli() -> None:
    """Transformers for small boards: search, train, export, deploy, measure.

    \b
    Examples:
      edgetran deploy --target nano --data intents
      edgetran deploy --target nano --data path/to/SST-2 --max-latency 40ms
      edgetran infer nano "turn on the kitchen light"
      edgetran device list
      edgetran runs show
    """


def main() -> None:
    """Runs the command; user mistakes end in one line, never in a traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Waiting threads sleep: a few percent slower alone, twice as fast beside a busy neighbour.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli.main(standalone_mode=False)
    except EdgeTranError as error:
        _say(str(error), error.hint)
        sys.exit(EXIT_ERROR)
    except click.Abort:
        _say("interrupted", "run the same command again to continue")
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        _say("interrupted", "run the same command again to continue")
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno is None:
            raise
        _say(f"{error.strerror}: {error.filename or ''}".rstrip(": "), _os_hint(error.errno))
        sys.exit(EXIT_ERROR)


def _os_hint(code: int) -> str:
    import errno

    return {
        errno.ENOSPC: "free some disk space, then run the same command again; it continues",
        errno.EACCES: "check the permissions of that path",
        errno.ENOENT: "check the path",
    }.get(code, "")


def _say(message: str, hint: str) -> None:
    print(f"error: {message}" + (f"\n hint: {hint}" if hint else ""), file=sys.stderr)


if __name__ == "__main__":
    main()
