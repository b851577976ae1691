"""The catalogue's word on tables of schema `product`: one query for all of them, which takes no lock on any."""

from collections.abc import Sequence

import msgspec

from cells.schema.core import Attribute, Key, Table
from foundation.postgres import Connection

RECORDS_ROLE = "domicile_records"
TABLES_MAX = 2_000

# purpose: all that a contract can contradict, of the named tables ($1; null: of every table in the schema), one row each
TABLES = """
SELECT c.relname::text AS name, c.relkind::text AS kind,
  (SELECT json_object_agg(a.attname, json_build_object(
      'type', format_type(a.atttypid, a.atttypmod), 'required', a.attnotnull,
      'filled', a.atthasdef OR a.attidentity <> '' OR y.typdefault IS NOT NULL,
      'generated', a.attgenerated <> '' OR a.attidentity = 'a') ORDER BY a.attnum)
   FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text AS columns,
  (SELECT json_agg(json_build_object('kind', k.kind, 'is_primary', k.is_primary, 'name', k.name, 'columns', k.columns,
      'deferrable', k.deferrable) ORDER BY k.name)
   FROM (
     SELECT CASE WHEN i.indisexclusion THEN 'exclusion' ELSE 'unique' END AS kind, i.indisprimary AS is_primary,
            x.relname::text AS name, NOT i.indimmediate AS deferrable,
            array_agg(coalesce(a.attname::text, '(expression)') ORDER BY p.place) AS columns
     FROM pg_catalog.pg_index AS i
     JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
     CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS p(attnum, place)
     LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = p.attnum AND p.attnum > 0
     WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND p.place <= i.indnkeyatts
     GROUP BY i.indexrelid, i.indisexclusion, i.indisprimary, i.indimmediate, x.relname
     UNION ALL
     SELECT 'foreign', false, f.conname::text, false, array_agg(a.attname::text ORDER BY p.place)
     FROM pg_catalog.pg_constraint AS f
     CROSS JOIN LATERAL unnest(f.conkey) WITH ORDINALITY AS p(attnum, place)
     JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = p.attnum
     WHERE f.conrelid = c.oid AND f.contype = 'f'
     GROUP BY f.oid, f.conname
   ) AS k)::text AS keys,
  ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS r(p, place)
        WHERE NOT coalesce(has_schema_privilege($2, c.relnamespace, 'USAGE') AND has_table_privilege($2, c.oid, p), true)
        ORDER BY place) AS missing_rights,
  c.relrowsecurity AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = $2 AND (r.rolbypassrls OR r.rolsuper)) AS secured,
  ARRAY(SELECT w.rulename::text FROM pg_catalog.pg_rewrite AS w
        WHERE w.ev_class = c.oid AND w.ev_type <> '1' AND w.ev_enabled <> 'D' ORDER BY w.rulename) AS rules,
  ARRAY(SELECT t.tgname::text FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 3 = 3
        ORDER BY t.tgname) AS triggers
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'product')
  AND CASE WHEN $1::text[] IS NULL THEN c.relkind IN ('r', 'p') AND NOT c.relispartition ELSE c.relname = ANY ($1::text[]) END
ORDER BY c.relname LIMIT $3
"""

# purpose: whether somebody holds a lock on the table, or waits for one, that statements have to wait for
LOCKED = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_database AS d ON d.oid = l.database AND d.datname = current_database()
  JOIN pg_catalog.pg_class AS c ON c.oid = l.relation AND c.relname = $1
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'product'
  WHERE l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
"""


async def tables(connection: Connection, names: Sequence[str] | None) -> dict[str, Table]:
    """The named tables (None: all, at most TABLES_MAX), by name; one that there is not is left out."""
    wanted = None if names is None else list(names)
    rows = await connection.fetch(TABLES, wanted, RECORDS_ROLE, TABLES_MAX)
    return {
        row["name"]: Table(
            kind=row["kind"],
            columns=msgspec.json.decode(row["columns"] or "{}", type=dict[str, Attribute]),
            keys=msgspec.json.decode(row["keys"] or "[]", type=tuple[Key, ...]),
            missing_rights=tuple(row["missing_rights"]),
            secured=row["secured"],
            rules=tuple(row["rules"]),
            triggers=tuple(row["triggers"]),
        )
        for row in rows
    }


async def locked(connection: Connection, table: str) -> bool:
    """Whether the table is held by a change of its schema, or by one that waits for those before it."""
    return bool(await connection.fetchval(LOCKED, table))
