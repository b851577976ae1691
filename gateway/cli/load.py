"""`domicile load`: the load-testing harness, in a process of its own, since locust patches the standard library where it runs."""

import importlib.util
import os
import sys

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def load(words: tuple[str, ...]) -> None:
    """Put load on a deployment, break things meanwhile, and prove that no promise was broken."""
    for module in ("locust", "load_tests"):
        if importlib.util.find_spec(module) is None:
            raise click.ClickException(
                f"{module} is not installed; it comes with the extra: pip install 'domicile[local,load]'"
            )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "load_tests", *words])  # noqa: S606 - our own module
