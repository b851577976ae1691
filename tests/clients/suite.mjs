// What the PostgREST client for JavaScript does on /records/notes through a gateway, with one person's token (GATEWAY, TOKEN).
// Prints one JSON line for each promise: {"name", "kept", "told"}.
import { PostgrestClient } from "@supabase/postgrest-js";
import { isDeepStrictEqual } from "node:util";

const client = new PostgrestClient(`${process.env.GATEWAY}/records`, {
  headers: { Authorization: `Bearer ${process.env.TOKEN}` },
});
const notes = () => client.from("notes");

function check(name, found, expected) {
  const kept = isDeepStrictEqual(found, expected);
  console.log(JSON.stringify({ name, kept, told: kept ? null : { found, expected } }));
}
async function rowsOf(query) {
  const { data, error } = await query;
  return error ? { error } : data;
}
const titles = async (query) => {
  const found = await rowsOf(query);
  return Array.isArray(found) ? found.map((row) => row.title) : found;
};
const select = () => notes().select("title");
const ordered = (query) => titles(query.order("title"));

await notes().delete().gte("rank", 0);
const written = await notes()
  .insert([
    { title: "a", rank: 1, body: "alpha, first", tags: ["x", "y"], extra: { n: 1, deep: { list: [1, 2] } } },
    { title: "b", rank: 2, body: 'be "quoted" b', starred: true, tags: ["y"] },
    { title: "c", rank: 3, extra: { n: 3, deep: { list: [3] } } },
  ], { count: "exact", defaultToNull: false })
  .select("title,starred");
check("bulk insert with defaults answers 201 and its rows", [written.status, written.count, written.data?.map((r) => r.title).sort()], [201, 3, ["a", "b", "c"]]);

check("eq", await ordered(select().eq("rank", 2)), ["b"]);
check("neq", await ordered(select().neq("rank", 2)), ["a", "c"]);
check("gt and lte", await ordered(select().gt("rank", 1).lte("rank", 2)), ["b"]);
check("gte and lt", await ordered(select().gte("rank", 1).lt("rank", 3)), ["a", "b"]);
check("like", await ordered(select().like("body", "alpha%")), ["a"]);
check("ilike", await ordered(select().ilike("body", "%QUOTED%")), ["b"]);
check("likeAnyOf", await ordered(select().likeAnyOf("body", ["alpha%", "be%"])), ["a", "b"]);
check("likeAllOf", await ordered(select().likeAllOf("body", ["%a%", "%first%"])), ["a"]);
check("regexMatch", await ordered(select().regexMatch("title", "^[ab]$")), ["a", "b"]);
check("regexIMatch", await ordered(select().regexIMatch("title", "^[AB]$")), ["a", "b"]);
check("is null", await ordered(select().is("body", null)), ["c"]);
check("is true", await ordered(select().is("starred", true)), ["b"]);
check("isDistinct", await ordered(select().isDistinct("body", "alpha, first")), ["b", "c"]);
check("in with commas and quotes", await ordered(select().in("body", ["alpha, first", 'be "quoted" b'])), ["a", "b"]);
check("notIn", await ordered(select().notIn("rank", [1, 3])), ["b"]);
check("contains on an array", await ordered(select().contains("tags", ["y"])), ["a", "b"]);
check("contains on json", await ordered(select().contains("extra", { n: 3 })), ["c"]);
check("containedBy", await ordered(select().containedBy("tags", ["y", "z"])), ["b", "c"]);
check("overlaps", await ordered(select().overlaps("tags", ["x", "z"])), ["a"]);
check("match", await ordered(select().match({ rank: 2, starred: true })), ["b"]);
check("not", await ordered(select().not("body", "is", null)), ["a", "b"]);
check("or with and inside", await ordered(select().or("rank.eq.3,and(starred.is.true,rank.lt.3)")), ["b", "c"]);
check("filter on a path", await ordered(select().filter("extra->deep->list->0", "eq", "3")), ["c"]);
check("json as text", await rowsOf(notes().select("first:extra->deep->list->0,n:extra->>n").eq("title", "a")), [{ first: 1, n: "1" }]);
check("cast", await rowsOf(notes().select("rank::text").eq("title", "a")), [{ rank: "1" }]);
check("order with nulls", await titles(select().order("body", { ascending: false, nullsFirst: true })), ["c", "b", "a"]);
check("limit", await titles(select().order("title").limit(2)), ["a", "b"]);
const part = await notes().select("title", { count: "exact" }).order("title").range(1, 1);
check("range and count", [part.status, part.count, part.data], [206, 3, [{ title: "b" }]]);
const beyond = await notes().select("title", { count: "exact" }).range(10, 19);
check("beyond the end", [beyond.status, beyond.error?.code], [416, "PGRST103"]);
const head = await notes().select("*", { count: "planned", head: true });
check("head with a count", [head.status, head.count, head.data], [200, 3, null]);

const one = await notes().select("title").eq("rank", 1).single();
check("single", [one.status, one.data], [200, { title: "a" }]);
const many = await notes().select("title").single();
check("single of several", [many.status, many.error?.code], [406, "PGRST116"]);
const none = await notes().select("title").eq("rank", 99).maybeSingle();
check("maybeSingle of none", [none.error, none.data], [null, null]);

const changed = await notes().update({ starred: true }).eq("title", "a").select("title,starred").single();
check("update and single", [changed.status, changed.data], [200, { title: "a", starred: true }]);
const silent = await notes().update({ body: null }, { count: "exact" }).eq("title", "a");
check("update without rows", [silent.status, silent.count, silent.data], [204, 1, null]);
const most = await notes().update({ starred: false }).gte("rank", 0).maxAffected(1);
check("maxAffected", [most.status, most.error?.code], [400, "PGRST124"]);
check("maxAffected left nothing", await ordered(select().is("starred", true)), ["a", "b"]);

const upserted = await notes().upsert([{ title: "a", rank: 10 }, { title: "d", rank: 4 }], { onConflict: "title", defaultToNull: false }).select("title,rank,starred");
check("upsert merges", upserted.data?.sort((x, y) => x.rank - y.rank), [{ title: "d", rank: 4, starred: false }, { title: "a", rank: 10, starred: true }]);
const ignored = await notes().upsert({ title: "a", rank: 11 }, { onConflict: "title", ignoreDuplicates: true }).select("title");
check("upsert ignores", ignored.data, []);
const conflict = await notes().insert({ title: "a", rank: 12 });
check("a conflict has Postgres's code", [conflict.status, conflict.error?.code], [409, "23505"]);
const wrong = await notes().select("nothing");
check("an unknown column has Postgres's code", [wrong.status, wrong.error?.code], [400, "42703"]);
const embedded = await notes().select("title,orders(*)");
check("embedding is refused in words", [embedded.status, embedded.error?.code], [400, "PGRST100"]);
const called = await client.rpc("anything", {});
check("functions are refused in words", [called.status, called.error?.code], [400, "PGRST202"]);
const csv = await notes().select("title").csv();
check("csv is refused in words", [csv.status, csv.error?.code], [400, "PGRST107"]);

const gone = await notes().delete({ count: "exact" }).in("title", ["b", "c"]).select("title");
check("delete answers its rows", [gone.status, gone.count, gone.data?.map((r) => r.title).sort()], [200, 2, ["b", "c"]]);
await notes().delete().gte("rank", 0);
check("nothing is left", await titles(select()), []);
