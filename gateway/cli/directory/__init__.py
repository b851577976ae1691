"""`domicile directory`: placements of subjects, and what operators say of the cells that hold them."""

from gateway.cli.directory.aliases import aliases
from gateway.cli.directory.feed import feed
from gateway.cli.directory.fences import export_, reconcile
from gateway.cli.directory.importing import import_
from gateway.cli.directory.keys import keys
from gateway.cli.directory.locks import locks
from gateway.cli.directory.registry import registry
from gateway.cli.directory.subjects import directory

directory.add_command(registry)
directory.add_command(feed)
directory.add_command(keys)
directory.add_command(aliases)
directory.add_command(locks)
directory.add_command(import_)
directory.add_command(export_)
directory.add_command(reconcile)

__all__ = ["directory"]
