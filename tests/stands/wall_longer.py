"""Attempts to get through the wall that take several statements of one session, and the form of every attempt."""

from typing import NamedTuple


class Shape(NamedTuple):
    """`same`: both worlds must answer alike, to the letter. Where that cannot be asked, because the catalogue's own numbers are told, what
    is heard must still hold no value that the masks hide, and nothing of a row that is not shown.
    """

    name: str
    statements: tuple[str, ...]
    same: bool = True


LONGER = (
    Shape(
        "a cursor",
        (
            "BEGIN",
            "DECLARE c SCROLL CURSOR FOR SELECT * FROM people",
            "FETCH ALL FROM c",
            "FETCH BACKWARD 2 FROM c",
            "COMMIT",
        ),
    ),
    Shape(
        "a cursor that is held",
        ("DECLARE c CURSOR WITH HOLD FOR SELECT name FROM people WHERE name > '{name}'", "FETCH ALL FROM c", "CLOSE c"),
    ),
    Shape(
        "a prepared statement",
        (
            "PREPARE p (text) AS SELECT points FROM people WHERE name = $1",
            "EXECUTE p('{name}')",
            "EXPLAIN EXECUTE p('{name}')",
            "DEALLOCATE p",
        ),
    ),
    Shape(
        "a generic plan",
        (
            "SET plan_cache_mode = force_generic_plan",
            "PREPARE g (int) AS SELECT name FROM people WHERE points = $1",
            "EXECUTE g({foreign_points})",
            "EXPLAIN EXECUTE g({foreign_points})",
            "DEALLOCATE g",
        ),
    ),
    Shape(
        "a search path of one's own",
        ("SET search_path = product, live, domicile, pg_temp", "SELECT * FROM people", "SELECT * FROM wall.people"),
    ),
    Shape(
        "a stranger's settings",
        (
            "SET standard_conforming_strings = off",
            "SET transform_null_equals = on",
            "SET timezone = 'Pacific/Kiritimati'",
            "SET datestyle = 'German, DMY'",
            "SET intervalstyle = 'iso_8601'",
            "SELECT * FROM people",
            "SELECT points FROM people WHERE name = NULL",
        ),
    ),
    Shape(
        "the year's edge by time zones",
        (
            "SET timezone = 'Etc/GMT+12'",
            "SELECT seen, extract(year FROM seen) FROM people",
            "SET timezone = 'Etc/GMT-14'",
            "SELECT seen, extract(year FROM seen) FROM people",
        ),
    ),
    Shape(
        "plans in the client's messages",
        (
            "SET client_min_messages = debug5",
            "SET debug_print_parse = on",
            "SET debug_print_rewritten = on",
            "SET debug_print_plan = on",
            "SELECT points FROM people WHERE name = '{name}'",
        ),
        same=False,
    ),
    Shape(
        "a planner of one's own",
        (
            "SET enable_indexscan = off",
            "SET enable_bitmapscan = off",
            "SET enable_seqscan = off",
            "SET enable_hashjoin = off",
            "SET debug_parallel_query = on",
            "SELECT * FROM people ORDER BY points",
        ),
    ),
    Shape(
        "foreign rows by a plan of one's own",
        (
            "SET enable_indexscan = off",
            "SET enable_indexonlyscan = off",
            "SET enable_bitmapscan = off",
            "SET enable_nestloop = off",
            "SELECT points FROM people WHERE 1 / (points - {foreign_points}) > 2",
            "SELECT points FROM people WHERE level::int = 1",
            "SELECT points FROM people WHERE (level || '')::date = '2026-01-01'",
            "EXPLAIN (ANALYZE) SELECT points FROM people WHERE points = {foreign_points}",
        ),
    ),
    Shape(
        "parallel workers",
        (
            "SET parallel_setup_cost = 0",
            "SET parallel_tuple_cost = 0",
            "SET min_parallel_table_scan_size = 0",
            "SET debug_parallel_query = on",
            "SELECT count(*), pg_backend_pid() > 0 FROM people",
        ),
    ),
    Shape(
        "writing",
        (
            "SET default_transaction_read_only = off",
            "SET transaction_read_only = off",
            "BEGIN READ WRITE",
            "UPDATE product.people SET name = level",
            "ROLLBACK",
            "INSERT INTO people (name) VALUES ('x')",
            "CREATE TEMP TABLE mine (a int)",
            "SELECT lo_create(0)",
        ),
    ),
    Shape("an older snapshot", ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM people", "ROLLBACK")),
    Shape(
        "a serial one",
        ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE", "SELECT count(*) FROM people", "ROLLBACK"),
    ),
    Shape(
        "somebody's snapshot",
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'", "ROLLBACK"),
    ),
    Shape(
        "savepoints and errors",
        (
            "BEGIN",
            "SAVEPOINT a",
            "SELECT name::int FROM people",
            "ROLLBACK TO a",
            "SELECT level::int FROM people",
            "ROLLBACK TO a",
            "SELECT name FROM people",
            "COMMIT",
        ),
    ),
    Shape("listening", ("LISTEN orders", "NOTIFY orders, 'mine'", "UNLISTEN *")),
    Shape(
        "back to whom",
        (
            "RESET ROLE",
            "RESET SESSION AUTHORIZATION",
            "SET ROLE NONE",
            "SELECT current_user, session_user",
            "SELECT * FROM product.people",
        ),
    ),
    Shape(
        "a role through settings",
        (
            "SET LOCAL ROLE domicile_wall",
            "BEGIN",
            "SET LOCAL ROLE domicile_records",
            "ROLLBACK",
            "SELECT * FROM product.people",
        ),
    ),
    Shape(
        "several in one",
        (
            "SELECT 1; SELECT * FROM product.people; SELECT 2",
            "BEGIN; SET LOCAL row_security = off; SELECT * FROM people; COMMIT",
        ),
    ),
    Shape(
        "marking oneself",
        (
            "SET domicile.subjects = '{foreign}'",
            "SET application_name = '{foreign}'",
            "SELECT set_config('domicile.inside', 'true', false)",
            "SELECT * FROM people",
        ),
    ),
    Shape(
        "an operator by name",
        (
            "SELECT points FROM people WHERE name OPERATOR(pg_catalog.=) '{name}'",
            "SELECT points FROM people WHERE points OPERATOR(public.===) 1",
        ),
    ),
    Shape(
        "names that look like others",
        (
            "SELECT points AS subject_id FROM people AS domicile",
            'SELECT "people"."name" FROM "wall"."people"',
            "SELECT U&'\\006e' , name FROM people",
        ),
    ),
)
