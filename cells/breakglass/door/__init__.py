"""The SQL door of a cell: a Postgres wire door that lets in whoever has a certificate, and nothing past the record."""
