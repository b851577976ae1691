"""Limits of the proxied path: requests a second by subject, address and acting service; one budget for all of a region's gateways."""
