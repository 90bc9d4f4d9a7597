"""The command line: `sealwire`, its commands found where they live and imported only when they run."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import Final

import click

from sealwire.app import guard, memory
from sealwire.app.faults import CONFIGURATION, did_you_mean

# command -> (module below sealwire.app, its object, what it does in a line: help is shown without importing any)
COMMANDS: Final = {
    "demo": ("demo", "demo", "Show sealing and opening on three embedded brokers."),
    "project": ("commands_project", "project", "Make a project and its topics in the cloud."),
    "root": ("commands_root", "root", "Change the root, offline: draft, show, sign, finish."),
    "escrow": ("commands_root", "escrow", "Make a recovery key that a root may name."),
    "ticket": ("commands_project", "ticket", "Make a one-time ticket that admits an identity."),
    "authority": ("commands_authority", "authority", "Run the authority: answer requests; backup, restore."),
    "charter": ("commands_charter", "charter", "Decide who may send and read: edit, diff, sign, show."),
    "revoke": ("commands_charter", "revoke", "Refuse a member altogether."),
    "retire": ("commands_charter", "retire", "Refuse what a good leaver makes from now on."),
    "exclude": ("commands_charter", "exclude", "Refuse what a member made since its keys were stolen."),
    "identity": ("commands_member", "identity", "Make an identity for a worker."),
    "enroll": ("commands_member", "enroll", "Admit an identity to a project, with a ticket."),
    "site": ("commands_node", "site", "Make the local topics that a site's workers need."),
    "topics": ("commands_node", "topics", "Make the cloud topics that the mappings need."),
    "up": ("commands_node", "up", "Run a node's workers, and keep them running."),
    "status": ("commands_node", "status", "Show what a node's workers do, and what holds them up."),
    "health": ("commands_node", "health", "Ask a node's workers whether they are alive or ready: an exit code."),
    "rotate": ("commands_rotate", "rotate", "Have keys and secrets made anew now, before their time."),
    "held": ("commands_held", "held", "List what waits or is held, since when, why, and what helps."),
    "accept-gap": ("commands_held", "accept_gap", "Let a source partition pass the span that it waits for."),
    "rewind": ("commands_held", "rewind", "Let a source partition go back, or go on from where it stands."),
    "quarantine": ("commands_held", "quarantine", "Look at refused envelopes that members truly signed."),
    "verify": ("commands_verify", "verify", "Prove that the sink has what the source has, record by record."),
    "members": ("commands_members", "members", "Show who is a member, and what each may do."),
    "sessions": ("commands_members", "sessions", "Show the live sessions, and who was granted them."),
    "provenance": ("commands_provenance", "provenance", "List what was delivered here from a member."),
    "audit": ("commands_trail", "audit", "Check and show audit trails: each event of trust, in a chain."),
    "inspect": ("commands_inspect", "inspect", "Show what an envelope in the cloud shows, and what it holds."),
}


class Commands(click.Group):
    """A group whose commands are imported when they are run, in the order in which one needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"sealwire.app.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 - a slip of ours, caught by its test
        if isinstance(command, click.Group):
            for each in command.commands.values():
                each.short_help = each.short_help or _first_sentence(each.help or "")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a mistyped one is answered with the nearest."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command '{args[0]}'. {did_you_mean(args[0], COMMANDS).capitalize()}".rstrip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, so that help is quick."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


def _first_sentence(text: str) -> str:
    """Give what a command does, whole: click would cut it to a line's length."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".") + "."


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Where to begin: sealwire demo. Errors say their cause and cure; exit codes: 1 failed, 2 misconfigured.",
)
@click.version_option(importlib.metadata.version("sealwire"), message="sealwire %(version)s")
def cli() -> None:
    """Bridge Kafka topics through a cloud that sees none of them: sealed at one site, opened at another."""


def main(arguments: list[str] | None = None) -> int:  # noqa: PLR0911 - one for each way a command ends
    """Run the command line and give its exit code. Whatever goes wrong is said in words; never a traceback."""
    memory.keep_private()  # most commands open a vault, or the authority's key
    try:
        result = cli.main(arguments, prog_name="sealwire", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return CONFIGURATION
    except click.UsageError as error:
        _usage(error)
        return CONFIGURATION
    except click.exceptions.Abort:
        return guard.say(KeyboardInterrupt())
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return error.exit_code
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last line: all ends here
        return guard.say(error)
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _usage(error: click.UsageError) -> None:
    click.echo(f"error: {error.format_message()}", err=True)
    if error.ctx is not None:
        click.echo(f"  cure: {error.ctx.command_path} --help shows what it takes", err=True)
