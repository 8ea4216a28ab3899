"""The rules of the house, each one case: see docs/internals.md.

Sources are read as text (rooms, lengths, markers, cppcheck, error codes); rules about SQL objects are asked of a database
with the extension, so that they hold for what is really installed.
"""
import glob
import os
import re
import subprocess
import tempfile

from harness.pg import ROOT, Cluster

FLOORS = {"core": 0, "events": 1, "access": 2, "lifecycle": 2, "certificates": 3, "api": 6}
SCHEMAS = {context: "backoffice" if context == "core" else context for context in FLOORS}
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

# ereport() without a symbolic code: what no caller can cause or tell apart.
UNCODED = {"ERRCODE_INTERNAL_ERROR", "ERRCODE_OUT_OF_MEMORY", "ERRCODE_DATA_CORRUPTED", "ERRCODE_INDEX_CORRUPTED",
           "ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED"}

SOURCE_FOLDERS = ["extension", "workers"]
GENERATED = re.compile(r"extension/backoffice--[^/]*\.sql$")


def run(only=None):
    for name, check in CASES:
        if only and name != only:
            continue
        problems = list(check())
        yield name, not problems, "\n".join(problems[:100])
    wanted = [(name, sql, why) for name, sql, why in CATALOGUE if not only or name == only]
    if wanted:
        with Cluster() as pg:
            pg.create_database("lint")
            for name, sql, why in wanted:
                problems = [f"{why}: {row[0]}" for row in pg.query(OURS + sql, dbname="lint")]
                yield name, not problems, "\n".join(problems[:100])
            if not only or only == "settings-documented":
                problems = list(settings_documented(pg))
                yield "settings-documented", not problems, "\n".join(problems)


# ---- reading ----

def files(*patterns):
    found = set()
    for pattern in patterns:
        found.update(glob.glob(os.path.join(ROOT, pattern), recursive=True))
    return sorted(p for p in found if not GENERATED.search(p))


def short(path):
    return os.path.relpath(path, ROOT)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def without_c_comments(text):
    """Comments replaced by as many line ends, strings kept."""
    def blank(match):
        token = match.group(0)
        return token if token[0] in "\"'" else "\n" * token.count("\n") + " "
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', blank, text, flags=re.S)


def without_sql_comments(text):
    return re.sub(r"--[^\n]*", "", text)


# ---- rooms ----

def includes():
    for path in files("extension/*/*.[ch]"):
        room = short(path).split(os.sep)[1]
        for match in re.finditer(r'^\s*#\s*include\s+"([a-z_]+)/([^"]+)"', read(path), re.M):
            other = match.group(1)
            # PostgreSQL has a folder access/ too.
            ours = os.path.exists(os.path.join(ROOT, "extension", other, match.group(2)))
            if ours and other != room and FLOORS[other] >= FLOORS[room]:
                yield f"{short(path)}: includes {match.group(1)}/{match.group(2)}, which is not on a lower floor"
    for path in files("workers/**/*.[ch]"):
        for match in re.finditer(r'#\s*include\s+[<"](postgres\.h|fmgr\.h|server/[^>"]*|(?:core|events|access|lifecycle|certificates)/[^>"]*)[>"]', read(path)):
            yield f"{short(path)}: includes {match.group(1)}: workers know the server by its SQL only"


WRITES = re.compile(r"\b(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|TRUNCATE(?:\s+TABLE)?|MERGE\s+INTO|COPY)\s+"
                    r"(" + "|".join(sorted(set(SCHEMAS.values()))) + r")\.(\w+)", re.I)


def writes():
    # Not of released and upgrades: whole install scripts, and what changes tables of all contexts.
    for path in files(*(f"extension/{context}/*.{kind}" for context in SCHEMAS for kind in ("sql", "[ch]"))):
        room = short(path).split(os.sep)[1]
        text = read(path)
        text = without_sql_comments(text) if path.endswith(".sql") else without_c_comments(text)
        for match in WRITES.finditer(text):
            if match.group(1).lower() != SCHEMAS[room]:
                yield f"{short(path)}:{line_of(text, match.start())}: writes {match.group(1)}.{match.group(2)}, another context's table"


def exists(pattern):
    return bool(glob.glob(os.path.join(ROOT, pattern)))


def complete():
    for context, schema in SCHEMAS.items():
        objects = any("CREATE" in read(p) for p in files(f"extension/{context}/*.sql"))
        if not objects:
            continue
        for wall in (f"docs/{context}.md", f"sql/{context}.sql", f"expected/{context}.out", f"test/tap/{context}*.sql"):
            if not exists(wall):
                yield f"{context}: {wall} is missing"
    for path in files("sql/*.sql"):
        if not exists("expected/" + os.path.basename(path)[:-4] + ".out"):
            yield f"{short(path)}: has no expected output"
    for path in files("test/isolation/specs/*.spec"):
        if not exists("test/isolation/expected/" + os.path.basename(path)[:-5] + ".out"):
            yield f"{short(path)}: has no expected output"
    manifest = re.sub(r"#.*", "", read(os.path.join(ROOT, "extension/MANIFEST"))).split()
    for path in files(*(f"extension/{context}/*.sql" for context in SCHEMAS)):
        if os.path.relpath(path, os.path.join(ROOT, "extension")) not in manifest:
            yield f"{short(path)}: is not in extension/MANIFEST"


# ---- form ----

def lengths():
    for path in files(*(f"{folder}/**/*.[ch]" for folder in SOURCE_FOLDERS)):
        lines = read(path).split("\n")
        if len(lines) - 1 > FILE_LINES_MAX:
            yield f"{short(path)}: {len(lines) - 1} lines, at most {FILE_LINES_MAX}: split it by verb"
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{" or (re.match(r"[a-z].*\)\s*\{$", line) and start is None):
                start = number
            elif line.startswith("}"):
                if line == "}" and start and number - start - 1 > FUNCTION_LINES_MAX:
                    yield f"{short(path)}:{start}: a function of {number - start - 1} lines, at most {FUNCTION_LINES_MAX}"
                start = None


# Marks of unfinished work, of unfinished merges, and of the machine it was written on.
MARKERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b|^<{7} |^>{7} |/wor" + r"k/\w+", re.M)


def markers():
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if tracked.returncode == 0:
        paths = [os.path.join(ROOT, p) for p in tracked.stdout.split("\n") if p]
    else:
        paths = files("*", "*/**/*")
    for path in paths:
        if not os.path.isfile(path):
            continue
        try:
            text = read(path)
        except UnicodeDecodeError:
            continue
        for match in MARKERS.finditer(text):
            yield f"{short(path)}:{line_of(text, match.start())}: {match.group(0)}"


def cppcheck():
    if not files("extension/*/*.c"):
        yield "no sources found"
    for folder, include in (("extension", ["-I", "extension", "--include=test/lint/server_macros.h"]),
                            ("workers", ["-I", "workers", "--include=test/lint/worker_macros.h"])):
        out = subprocess.run(
            ["cppcheck", "--quiet", "--enable=warning,performance,portability", "--error-exitcode=1", "--inline-suppr", "-j2",
             "--suppress=varFuncNullUB",    # NULL is a pointer wherever PostgreSQL builds; its own lists end so
             "--template={file}:{line}: {severity} {id}: {message}"] + include + [folder],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # A folder without sources is an error to cppcheck, not to us.
        if out.returncode and "could not find or open any of the paths" not in out.stdout:
            yield out.stdout.strip()


def scripts():
    for path in files("test/**/*.py"):
        try:
            compile(read(path), path, "exec")
        except SyntaxError as e:
            yield f"{short(path)}: {e}"
    for path in files("scripts/*", ".ci/*"):
        if os.path.isfile(path) and re.match(r"#!.*\bbash\b", read(path)):
            out = subprocess.run(["bash", "-n", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if out.returncode:
                yield out.stdout.strip()


EXPOSURE_MAX = 15   # of 100, by systemd-analyze security


def services():
    """What systemd itself finds in the units, and how exposed they are."""
    units = files("workers/services/*.service")
    if not units:
        yield "no units found"
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.makedirs(os.path.join(folder, "lib"))
        os.symlink(os.path.join(ROOT, "build/workers"), os.path.join(folder, "lib/backoffice"))
        for path in units:
            unit = os.path.join(folder, os.path.basename(path))
            with open(unit, "w") as f:
                f.write(read(path).replace("@PREFIX@", folder))
            out = subprocess.run(["systemd-analyze", "--man=no", "verify", unit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            # It looks at units of this machine too, which are not ours.
            ours = [line for line in out.stdout.splitlines() if os.path.basename(path) in line]
            yield from (f"{short(path)}: {line}" for line in ours)
            if out.returncode and not ours:
                yield f"{short(path)}: {out.stdout}"
            out = subprocess.run(["systemd-analyze", "--no-pager", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if out.returncode:
                yield f"{short(path)}: {out.stdout.strip().splitlines()[-1]}"


    for path in files("workers/services/*.sysusers"):
        out = subprocess.run(["systemd-sysusers", "--dry-run", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        bad = [line for line in out.stdout.splitlines() if os.path.basename(path) in line]
        if out.returncode or bad:
            yield "\n".join(bad) or out.stdout


def install_script():
    # Update scripts may say OR REPLACE: the server refuses to replace there what is not the extension's.
    built = [p for p in glob.glob(os.path.join(ROOT, "extension/backoffice--*.sql")) if os.path.basename(p).count("--") == 1]
    if not built:
        yield "the install script is not built"
    for path in built:
        text = read(path)
        for match in re.finditer(r"^[^-\n]*\bOR\s+REPLACE\b|^[^-\n]*\bIF\s+NOT\s+EXISTS\s+\w+\.", text, re.M | re.I):
            statement = match.group(0).strip()
            if not statement.upper().startswith("IF NOT EXISTS (SELECT"):
                yield f"{short(path)}:{line_of(text, match.start())}: could adopt somebody else's object: {statement[:80]}"


# ---- errors ----

def calls(text, name):
    """Every call of name(...) with its balanced arguments: (offset, arguments)."""
    for match in re.finditer(r"\b" + name + r"\s*\(", text):
        depth, i, quoted = 1, match.end(), False
        while depth and i < len(text):
            c = text[i]
            if quoted:
                i += c == "\\"
                quoted = c != '"'
            elif c == '"':
                quoted = True
            elif c in "()":
                depth += 1 if c == "(" else -1
            i += 1
        yield match.start(), text[match.end():i - 1]


def error_calls():
    """(path, line, sqlstate expression, symbol or None) of every error that C raises."""
    for path in files("extension/*/*.c"):
        text = without_c_comments(read(path))
        for offset, arguments in calls(text, "ereport"):
            if not re.match(r"\s*(ERROR|FATAL|elevel)\b", arguments):
                continue
            state = re.search(r"\berrcode\((\w+(?:\([^)]*\))?)\)", arguments)
            symbol = re.search(r'\bbo_code\(\s*"([^"]*)"', arguments)
            variable = re.search(r"\bbo_code\(\s*\w", arguments)
            yield (path, line_of(text, offset), state.group(1) if state else None,
                   symbol.group(1) if symbol else "" if variable else None)


def sql_symbols():
    for path in files("extension/*/*.sql"):
        text = without_sql_comments(read(path))
        for match in re.finditer(r"\bbackoffice\.raise\(\s*'(\w{5})',\s*'([^']*)'", text):
            yield path, line_of(text, match.start()), match.group(1), match.group(2)


def error_codes():
    for path, line, state, symbol in error_calls():
        if state is None:
            yield f"{short(path)}:{line}: an error without SQLSTATE"
        elif symbol is None and state not in UNCODED:
            yield f"{short(path)}:{line}: an error without symbolic code (bo_code)"


def sqlstates():
    """The names that C uses for SQLSTATEs, ours and PostgreSQL's."""
    states = {}
    server = subprocess.check_output([os.environ.get("PG_CONFIG", "pg_config"), "--includedir-server"], text=True).strip()
    for path in (os.path.join(server, "utils/errcodes.h"), os.path.join(ROOT, "extension/core/core.h")):
        for name, rest in re.findall(r"^#define\s+(\w+)\s+(MAKE_SQLSTATE\([^)]*\)|ERRCODE_\w+)", read(path), re.M):
            states[name] = states.get(rest) or "".join(re.findall(r"'(.)'", rest))
    return states


def http_class(state):
    """What a caller sees of an SQLSTATE: the whole of PTxyz, the class of others."""
    return state if state.startswith("PT") else state[:2]


def error_symbols():
    names = sqlstates()
    states = {}
    documented = set()
    for path in files("docs/*.md"):
        documented.update(re.findall(r"`([a-z0-9_]+)`", read(path)))
    for path, line, state, symbol in list(error_calls()) + list(sql_symbols()):
        if not symbol:
            continue
        where = f"{short(path)}:{line}"
        state = names.get(state, state)
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", symbol):
            yield f"{where}: \"{symbol}\" is not lower_snake"
        first = states.setdefault(symbol, (state, where))
        if http_class(first[0]) != http_class(state):
            yield f"{where}: {symbol} has SQLSTATE {state} here and {first[0]} in {first[1]}"
        if symbol not in documented:
            documented.add(symbol)
            yield f"{where}: {symbol} is in no page of docs/"


CASES = [
    ("rooms-includes", includes),
    ("rooms-writes", writes),
    ("rooms-complete", complete),
    ("lengths", lengths),
    ("markers", markers),
    ("cppcheck", cppcheck),
    ("scripts", scripts),
    ("services", services),
    ("install-script", install_script),
    ("error-codes", error_codes),
    ("error-symbols", error_symbols),
]

# ---- what is installed ----

OURS = """
WITH member AS (
    SELECT d.classid, d.objid
    FROM pg_depend d
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE e.extname = 'backoffice' AND d.deptype = 'e'
), fn AS (
    SELECT p.*, p.oid::regprocedure::text AS title, obj_description(p.oid, 'pg_proc') AS comment
    FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
), rel AS (
    SELECT c.*, c.oid::regclass::text AS title, obj_description(c.oid, 'pg_class') AS comment
    FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
)
"""

# (case, query for what breaks the rule, in one column, what to say of it)
CATALOGUE = [
    ("comments", """
        SELECT title FROM fn WHERE comment IS NULL
        UNION ALL SELECT title FROM rel WHERE comment IS NULL AND relkind IN ('r', 'p', 'v', 'm')
        UNION ALL SELECT format_type(t.oid, NULL) FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
            WHERE obj_description(t.oid, 'pg_type') IS NULL AND t.typtype IN ('b', 'e', 'd', 'c', 'r') AND t.typelem = 0
              AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
        UNION ALL SELECT n.nspname FROM pg_namespace n JOIN member m ON m.classid = 'pg_namespace'::regclass AND m.objid = n.oid
            WHERE obj_description(n.oid, 'pg_namespace') IS NULL
        ORDER BY 1""", "no COMMENT ON"),
    ("comments-permission", """
        SELECT title FROM fn WHERE prokind = 'f' AND prorettype <> 'trigger'::regtype AND comment NOT LIKE '%Permission:%'
          AND prorettype NOT IN (SELECT oid FROM pg_type t JOIN member m ON m.objid = t.oid AND m.classid = 'pg_type'::regclass)
          AND NOT EXISTS (SELECT FROM unnest(proargtypes) a JOIN pg_type t ON t.oid = a AND t.typnamespace = fn.pronamespace)
        ORDER BY 1""", "the comment does not name the permission"),
    ("public-execute", """
        SELECT title FROM fn WHERE proacl IS NULL
           OR EXISTS (SELECT FROM aclexplode(proacl) a WHERE a.grantee = 0) ORDER BY 1""", "PUBLIC may execute"),
    ("public-tables", """
        SELECT title FROM rel WHERE EXISTS (SELECT FROM aclexplode(relacl) a WHERE a.grantee = 0) ORDER BY 1""",
     "PUBLIC has rights on"),
    ("search-path", """
        SELECT title FROM fn
        WHERE (prosecdef OR (prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql') AND prorettype = 'trigger'::regtype))
          AND NOT COALESCE('search_path=pg_catalog, pg_temp' = ANY (proconfig), false) ORDER BY 1""",
     "SECURITY DEFINER (or a trigger) without SET search_path = pg_catalog, pg_temp"),
    ("volatility", """
        SELECT title FROM fn
        WHERE proname IN ('current_organization', 'of_current_organization', 'current_user_id', 'organization_id', 'user_id', 'can', 'require')
          AND (provolatile <> 's' OR proleakproof OR proparallel <> 's')
        UNION ALL SELECT title FROM fn WHERE proleakproof ORDER BY 1""",
     "who acts must be STABLE, PARALLEL SAFE and not LEAKPROOF"),
    ("dump", """
        SELECT title FROM rel, pg_extension e
        WHERE e.extname = 'backoffice' AND relkind IN ('r', 'S') AND NOT COALESCE(rel.oid = ANY (e.extconfig), false)
          AND NOT (relkind = 'r' AND relnatts = 0) AND COALESCE(comment, '') NOT LIKE '%Not dumped%' ORDER BY 1""",
     "pg_dump would lose its rows: pg_extension_config_dump(), or \"Not dumped: why\" in its comment"),
    ("setting-descriptions", """
        SELECT name FROM pg_settings WHERE name LIKE 'backoffice.%' AND COALESCE(short_desc, '') = '' ORDER BY 1""",
     "a setting without description"),
    ("setting-ranges", """
        SELECT name FROM pg_settings WHERE name LIKE 'backoffice.%'
          AND (vartype = 'integer' AND (min_val::bigint = -2147483648 OR max_val::bigint = 2147483647 AND unit IS NULL)
               OR vartype = 'real' AND (min_val::float8 < -1e300 OR max_val::float8 > 1e300)) ORDER BY 1""",
     "a setting without a range"),
    ("setting-units", r"""
        SELECT name FROM pg_settings WHERE name LIKE 'backoffice.%' AND vartype IN ('integer', 'real') AND unit IS NULL
          AND name ~ '(timeout|interval|period|delay|backoff|age|retention|bytes|memory|lifetime|ttl)($|_)' ORDER BY 1""",
     "a setting of time or size without unit"),
]


def settings_documented(pg):
    pages = "\n".join(read(path) for path in files("docs/*.md"))
    names = [row[0] for row in pg.query("SELECT name FROM pg_settings WHERE name LIKE 'backoffice.%' ORDER BY 1")]
    if not names:
        yield "no settings found"
    for name in names:
        if f"`{name}`" not in pages:
            yield f"{name} is in no page of docs/"
