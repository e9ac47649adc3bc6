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
    "pretrain": ("edgetran_host.cli.pretrain:pretrain", "Train a design from scratch on text."),
    "refine": ("edgetran_host.cli.refine:refine", "Grow and prune the model that a run chose."),
    "infer": ("edgetran_host.cli.infer:infer", "Ask a board's model about sentences."),
    "pack": ("edgetran_host.cli.pack:pack", "Put a run's bundle together again."),
    "bundle": ("edgetran_host.cli.bundle:bundle", "Look into bundles, check and compare them."),
    "profile": ("edgetran_host.cli.profile:profile", "Measure a model on a board, with proof."),
    "verify": ("edgetran_host.cli.verify:verify", "Derive a record's figures again."),
    "explain": ("edgetran_host.cli.explain:explain", "Say why a search chose what it chose."),
    "report": ("edgetran_host.cli.report:report", "Draw a record: histogram, drift, power."),
    "device": ("edgetran_host.cli.device:device", "List boards, show one, add its address."),
    "campaign": (
        "edgetran_host.cli.campaign:campaign",
        "Measure many designs on several boards.",
    ),
    "search": ("edgetran_host.cli.search:search", "Find the best pair of design and board."),
    "surrogate": (
        "edgetran_host.cli.surrogate:surrogate",
        "Foretell what designs cost on a board.",
    ),
    "fleet": ("edgetran_host.cli.fleet:fleet", "Go on with a rollout to many boards, or back."),
    "runs": ("edgetran_host.cli.runs:runs", "Look at what earlier runs found."),
    "dashboard": ("edgetran_host.cli.dashboard:dashboard", "Show boards and runs as a page."),
}

PARAGRAPHS = {  # of a help, with a blank line between them
    "padding_helptext_first_line": (0, 1, 1, 0),
    "text_paragraph_linebreaks": "\n\n",
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
@click.rich_config(PARAGRAPHS)
@click.version_option(package_name="edgetran-host", prog_name="edgetran")
def cli() -> None:
    """Transformers for small boards: search, train, export, deploy, measure.

    \b
    Examples:
      edgetran deploy --target nano --data intents
      edgetran deploy --target nano --data path/to/SST-2 --max-latency 40ms
      edgetran refine
      edgetran infer nano "turn on the kitchen light"
      edgetran profile --target nano --bundle bundle.tar
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
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(_told(error))


def _told(error: BaseException) -> int:
    """Says what happened in a line; the exit code. A defect of ours is raised again."""
    if _was_interrupted(error):
        _say("interrupted", "run the same command again to continue")
        return EXIT_INTERRUPTED
    if isinstance(error, EdgeTranError):
        _say(str(error), error.hint)
        return EXIT_ERROR
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        _say(f"{error.strerror}: {error.filename or ''}".rstrip(": "), _os_hint(error.errno))
        return EXIT_ERROR
    raise error


def _was_interrupted(error: BaseException | None) -> bool:
    """Ctrl-C inside a library's lock (gRPC waits in one) comes out as that lock's own error."""
    while error is not None:
        if isinstance(error, (KeyboardInterrupt, click.Abort)):
            return True
        error = error.__cause__ or error.__context__
    return False


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
