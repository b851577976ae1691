"""Data that ships with the gateway; see README.md beside it for sources and attribution."""

from pathlib import Path

COUNTRY_DATABASE = Path(__file__).with_name("country.mmdb")
