"""conmonctl completion: the script that lets a shell complete."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

EXAMPLES = """
\b
Examples:
  source <(conmonctl completion bash)             in ~/.bashrc
  source <(conmonctl completion zsh)              in ~/.zshrc, after compinit
  conmonctl completion fish >~/.config/fish/completions/conmonctl.fish
"""


@click.command("completion", epilog=EXAMPLES, short_help="Completion for bash, zsh and fish.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion of commands, options and containers for a shell."""
    made = get_completion_class(shell)
    assert made is not None
    root = ctx.find_root()
    click.echo(made(root.command, {}, "conmonctl", "_CONMONCTL_COMPLETE").source())
