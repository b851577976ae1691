"""`domicile tour`: the product played end to end on a running stack, with figures; its exit status tells."""

from gateway.cli.tour.command import tour

__all__ = ["tour"]
