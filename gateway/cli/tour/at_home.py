"""Scenes by SQL, with the owner's eyes: where every row stands, what the directory knows, what was recorded."""

from collections import Counter, defaultdict

from gateway.cli.tour.scenes import Resident
from gateway.cli.tour.stage import Stage


async def rows_are_at_home(stage: Stage, residents: list[Resident]) -> None:
    """By SQL in every cell's Postgres: each person's rows stand on one shard of the home cell and nowhere else."""
    places: dict[str, set[tuple[str, str]]] = defaultdict(set)
    rows: list[list[object]] = []
    wanted = {resident.person.email: resident for resident in residents}
    subjects = {resident.subject_id for resident in residents}
    strangers = 0
    for cell, address in sorted(stage.stack.cells.items()):
        for shard in sorted(address.shards):
            env = stage.owner_env(cell, shard)
            profiles = await stage.sql(env, "SELECT subject_id::text AS subject_id, email FROM product.profiles")
            orders = await stage.sql(env, "SELECT subject_id::text AS subject_id, id::text AS id FROM product.orders")
            homes = await stage.sql(
                env, "SELECT subject_id::text AS subject_id FROM domicile.home WHERE state = 'active'"
            )
            fenced = {row["subject_id"] for row in homes}
            strangers += sum(row["subject_id"] not in fenced for row in [*profiles, *orders])
            for row in profiles:
                if row["email"] in wanted:
                    places[row["email"]].add((cell, shard))
            rows.append([cell, shard, len(fenced), len(profiles), len(orders)])
    stage.report.table("Rows by shard", ["cell", "shard", "# homes", "# profiles", "# orders"], rows)
    at_home = sum(
        places[email] != set() and {cell for cell, _ in places[email]} == {one.cell} for email, one in wanted.items()
    )
    single = sum(len(places[email]) == 1 for email in wanted)
    stage.report.check(
        "each person's rows are in the home cell", at_home == len(residents), f"{at_home} of {len(residents)}"
    )
    stage.report.check("and on one shard only", single == len(residents), f"{single} of {len(residents)}")
    stage.report.check("no row stands on a shard without its subject's fence", strangers == 0, f"{strangers} rows")
    await _directory_is_blind(stage, residents, subjects)


async def _directory_is_blind(stage: Stage, residents: list[Resident], subjects: set[str]) -> None:
    """Every row of every table of the directory as text: no e-mail, no name; but every subject id."""
    tables = await stage.sql(
        "DIRECTORY_DSN",
        "SELECT schemaname AS schema, tablename AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    text = ""
    for table in tables:
        # Both names come from pg_tables.
        query = f'SELECT t::text AS line FROM "{table["schema"]}"."{table["name"]}" AS t'  # noqa: S608
        found = await stage.sql("DIRECTORY_DSN", query)
        text += "\n".join(row["line"] for row in found)
    leaks = sum(one.person.email in text or one.person.name in text for one in residents)
    stage.report.check(
        "the directory's database holds no name and no e-mail", leaks == 0, f"{leaks} found in {len(text):,} characters"
    )
    known = sum(subject in text for subject in subjects)
    stage.report.check("but knows every subject id", known == len(subjects), f"{known} of {len(subjects)}")


async def what_was_recorded(stage: Stage, residents: list[Resident]) -> None:
    """The outboxes: changes, sign-ups and refusals; countries observed from addresses stand in them and decided nothing."""
    counts: Counter[tuple[str, str]] = Counter()
    observed: Counter[str] = Counter()
    sources = {"directory": "DIRECTORY_DSN"} | {
        f"{cell}/{shard}": stage.owner_env(cell, shard)
        for cell, address in sorted(stage.stack.cells.items())
        for shard in sorted(address.shards)
    }
    for place, env in sources.items():
        schema = "directory" if place == "directory" else "domicile"
        # Both schema names are constants of the products' migrations.
        query = f"SELECT kind, details->>'observed_country' AS country FROM {schema}.outbox"  # noqa: S608
        for row in await stage.sql(env, query):
            counts[place.split("/")[0], row["kind"]] += 1
            if row["kind"] in ("refusal", "crossing") and row["country"]:
                observed[row["country"]] += 1
    rows: list[list[object]] = [[place, kind, count] for (place, kind), count in sorted(counts.items())]
    stage.report.table("Recorded", ["by", "kind", "# events"], rows)
    stage.report.say(
        "observed countries in refusals and crossings: "
        + ", ".join(f"{name} {n}" for name, n in sorted(observed.items()))
    )
    countries = {resident.person.country for resident in residents}
    stage.report.check(
        "refusals and crossings carry the country observed from the address, one of each kind of traveller",
        countries <= set(observed),
        f"{len(countries & set(observed))} of {len(countries)} countries",
    )
