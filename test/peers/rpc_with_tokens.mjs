// Supabase's client for PostgREST against the gateway's /rpc, with access tokens of users (PostgREST's own rules: postgrest_js.py). Prints one line of JSON per case: {"name", "ok", "got"}.
// BASE: the gateway's address; OWNER, CLERK: tokens.
import { isDeepStrictEqual } from "node:util";
import { createRequire } from "node:module";
const { PostgrestClient } = createRequire(process.env.MODULES + "/")("@supabase/postgrest-js");

const { BASE, OWNER, CLERK } = process.env;
const as = (token, schema = "shop") =>
  new PostgrestClient(BASE, { schema, headers: token ? { Authorization: `Bearer ${token}` } : {} });
const owner = as(OWNER), clerk = as(CLERK), nobody = as(null);

async function expect(name, builder, wanted) {
  let got;
  try {
    const { data, error, status, count } = await builder;
    got = { status, data, code: error?.code ?? null, count };
  } catch (e) {
    got = { thrown: String(e) };
  }
  const ok = Object.entries(wanted).every(([k, v]) => (typeof v === "function" ? v(got[k]) : isDeepStrictEqual(got[k], v)));
  console.log(JSON.stringify({ name, ok, got }));
}

const names = (rows) => rows.map((row) => row.name);

await expect("scalar", owner.rpc("add", { a: 2, b: 40 }), { status: 200, data: 42 });
await expect("default_argument", owner.rpc("add", { a: 2 }), { status: 200, data: 3 });
await expect("get", owner.rpc("add", { a: 2, b: 3 }, { get: true }), { status: 200, data: 5 });
await expect("array_argument_of_get", owner.rpc("total", { numbers: [1, 2, 3] }, { get: true }), { status: 200, data: 6 });
await expect("void", owner.rpc("nothing"), { status: 204, data: null });
await expect("set", owner.rpc("goods"), { status: 200, data: (d) => d.length === 4 && d[0].name === "apple" });
await expect("select", owner.rpc("goods").select("name,cost:price"), { data: (d) => isDeepStrictEqual(d[0], { name: "apple", cost: 3 }) });
await expect("filter", owner.rpc("goods").gt("price", 4).select("name"), { data: (d) => isDeepStrictEqual(names(d), ["bread", "date"]) });
await expect("filters", owner.rpc("goods").in("name", ["apple", "bread"]).neq("price", 3).select("name"), { data: [{ name: "bread" }] });
await expect("or", owner.rpc("goods").or("price.eq.3,name.like.c*").select("name"), { data: (d) => isDeepStrictEqual(names(d), ["apple", "cake"]) });
await expect("order", owner.rpc("goods").order("price", { ascending: false }).select("name"), { data: (d) => names(d)[0] === "date" });
await expect("limit", owner.rpc("goods").order("name").range(1, 2).select("name"), { data: (d) => isDeepStrictEqual(names(d), ["bread", "cake"]) });
await expect("count", owner.rpc("goods", {}, { count: "exact" }).limit(2), { count: 4, status: (s) => s === 206 });
await expect("head", owner.rpc("goods", {}, { head: true, count: "exact" }), { count: 4, data: null, status: 200 });
await expect("single", owner.rpc("goods").eq("name", "cake").single(), { data: (d) => d.price === 4 });
await expect("single_of_many", owner.rpc("goods").single(), { status: 406, code: "PGRST116" });
await expect("maybe_single_of_none", owner.rpc("goods").eq("name", "x").maybeSingle(), { data: null, code: null });
await expect("csv", owner.rpc("goods").select("name,price").limit(1).csv(), { data: (d) => d.trim() === "name,price\napple,3" });
await expect("unicode", owner.rpc("echo", { word: "žluťoučký 🐎 \"'\\" }), { data: "žluťoučký 🐎 \"'\\" });
await expect("unicode_by_get", owner.rpc("echo", { word: "a&b=č+ %" }, { get: true }), { data: "a&b=č+ %" });
await expect("unknown_function", owner.rpc("missing", { x: 1 }), { status: 404, code: "PGRST202" });
await expect("unknown_argument", owner.rpc("add", { a: 1, z: 2 }), { status: 404, code: "PGRST202" });
await expect("bad_value", owner.rpc("add", { a: "x" }), { status: 400, code: "22P02" });
await expect("raised_status", owner.rpc("teapot"), { status: 418, code: "PT418" });
await expect("get_may_not_write", owner.rpc("write", {}, { get: true }), { status: 405, code: "25006" });
await expect("nobody", nobody.rpc("goods"), { status: 401 });
await expect("bad_token", as("nonsense").rpc("goods"), { status: 401 });
await expect("other_schema", as(OWNER, "secret").rpc("goods"), { status: 406, code: "PGRST106" });
await expect("who_am_i", owner.rpc("me"), { data: (d) => typeof d === "string" && d.length === 36 });
await expect("two_users_differ", clerk.rpc("may", { permission: "access.manage_roles" }), { data: false });
await expect("owner_may", owner.rpc("may", { permission: "access.manage_roles" }), { data: true });
await expect("api_function", as(OWNER, "api").rpc("pools"), { status: 200, data: (d) => Array.isArray(d.items) });
await expect("api_permission", as(CLERK, "api").rpc("define_role", { name: "x", permissions: [] }), { status: 403, code: "42501" });
await expect("api_anonymous", as(null, "api").rpc("health", {}, { get: true }), { status: 200, data: (d) => d.status === "ok" });
await expect("abort", owner.rpc("slow", { seconds: 5 }).abortSignal(AbortSignal.timeout(300)), { thrown: undefined, status: (s) => s === 0 || s === undefined || s === "" });
await expect("alive_after_abort", owner.rpc("add", { a: 1, b: 1 }), { data: 2 });
