"""The directory database's migrations, forward only (`foundation.postgres.migrate`, track `directory`). Needs PostgreSQL 15 or newer."""
