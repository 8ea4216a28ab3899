"""Rotating refresh tokens, against the row lock and the update that it cannot do without."""
from frame import CLIENTS, Load, pipeline, stepwise

SESSIONS = 100000

ROTATE = """\\if :warm = 0
SELECT token FROM plain.tokens WHERE client = :client_id \\gset
\\set warm 1
\\endif
SELECT access.refresh(:token)->>'refresh_token' AS token \\gset
"""

LOCK_AND_UPDATE = """BEGIN;
SELECT counter FROM plain.sessions WHERE id = :session FOR UPDATE;
UPDATE plain.sessions SET counter = counter + 1, last_seen_at = now() WHERE id = :session;
COMMIT;"""
FIND_SESSION = """\\if :warm = {}
SELECT id AS session FROM plain.sessions WHERE client = :client_id \\gset
\\set warm 2
\\endif"""


def refresh(bench):
    clients_max = max(CLIENTS)
    bench.query("DROP TABLE IF EXISTS plain.tokens, plain.sessions")
    bench.psql(f"""
        DROP TABLE IF EXISTS plain.tokens, plain.sessions;
        SELECT access.create_user('refresh@example.org', 'correct horse', '{bench.organization}') AS id \\gset
        CREATE TABLE plain.tokens (client int PRIMARY KEY, token text NOT NULL);
        INSERT INTO plain.tokens SELECT n, access.login('refresh@example.org', 'correct horse')->>'refresh_token' FROM generate_series(0, {clients_max - 1}) n;
        INSERT INTO access.sessions (id, user_id, created_at, authenticated_at, last_seen_at, expires_at, due_at, aal, amr, refresh_key)
            SELECT backoffice.uuid7(), :'id', now(), now(), now(), now() + interval '1 day', now() + interval '1 day', 1, '{{pwd}}', (SELECT refresh_key FROM access.sessions LIMIT 1)
            FROM generate_series(1, {SESSIONS});
        CREATE TABLE plain.sessions (id uuid PRIMARY KEY, client int, counter bigint NOT NULL DEFAULT 0, last_seen_at timestamptz, note text) WITH (fillfactor = 70);
        INSERT INTO plain.sessions SELECT backoffice.uuid7(), CASE WHEN n < {clients_max} THEN n END, 0, now(), repeat('x', 300) FROM generate_series(0, {SESSIONS}) n;
        CREATE INDEX ON plain.sessions (client) WHERE client IS NOT NULL;
        GRANT ALL ON plain.tokens, plain.sessions TO PUBLIC;
        VACUUM (ANALYZE) plain.sessions, plain.tokens, access.sessions;""")
    bench.settle()
    for clients in CLIENTS:
        # The tokens of the round before are void: each starts from the sessions' current ones.
        def rotate():
            bench.psql(f"""
                DELETE FROM plain.tokens;
                INSERT INTO plain.tokens SELECT n, access.login('refresh@example.org', 'correct horse')->>'refresh_token' FROM generate_series(0, {clients - 1}) n;""")
            return Load(ROTATE)
        results = bench.rounds({"ours": rotate, "baseline": Load(pipeline(LOCK_AND_UPDATE, FIND_SESSION.format(1)))}, clients)
        bench.report_rates(f"refresh_{clients}", results["ours"], results["baseline"], "rotations/s", 0.8,
                           note="with signature of the access token; the baseline locks and updates a row, blindly, in one round trip")
        results = bench.whole_rounds({"ours": rotate, "baseline": Load(stepwise(LOCK_AND_UPDATE, FIND_SESSION.format(0)))}, clients)
        bench.report_rates(f"refresh_{clients}_stepwise", results["ours"], results["baseline"], "rotations/s", 0.8,
                           note="the baseline looks at the row that it has locked: BEGIN; SELECT FOR UPDATE; UPDATE; COMMIT, four round trips")
