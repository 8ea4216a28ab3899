CREATE OR REPLACE FUNCTION lifecycle.check_row() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'lifecycle_check_row';
COMMENT ON FUNCTION lifecycle.check_row() IS
'BEFORE trigger made by lifecycle.define(); its argument is the definition''s name. Checks state, transition and guard, counts the version up, and emits the event of an UPDATE where no emit_step() is there to do it. Raises 22023 unknown_state, PT409 illegal_transition, PT409 guard_failed, PT409 row_would_move, 39P01 define_again. Permission: who may write the table.';
GRANT EXECUTE ON FUNCTION lifecycle.check_row() TO backoffice_admin, backoffice_owner, backoffice_service;

CREATE OR REPLACE FUNCTION lifecycle.emit_step() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'lifecycle_emit_step';
COMMENT ON FUNCTION lifecycle.emit_step() IS
'AFTER trigger made by lifecycle.define(), for INSERT and where the check cannot emit by itself; its argument is the definition''s name. Emits the event of the transition that the row made. Permission: who may write the table.';
GRANT EXECUTE ON FUNCTION lifecycle.emit_step() TO backoffice_admin, backoffice_owner, backoffice_service;

CREATE OR REPLACE FUNCTION lifecycle.check_transition(definition text, from_state text, to_state text) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'lifecycle_check_transition_sql';
COMMENT ON FUNCTION lifecycle.check_transition(text, text, text) IS
'Would this step be legal? Answers its event (NULL: none), without looking at guards or rows. definition: its name; from_state NULL: insertion. Raises what the triggers raise: 22023 unknown_state, PT409 illegal_transition; PT404 unknown_definition. Permission: service, admin.';
GRANT EXECUTE ON FUNCTION lifecycle.check_transition(text, text, text) TO backoffice_service, backoffice_admin, backoffice_definer, backoffice_kernel;

-- Validates and writes a definition; the triggers are made by the C caller. Not for callers of their own.
CREATE OR REPLACE FUNCTION lifecycle.store_definition(entity regclass, state_column name, definition jsonb, built_in boolean,
        OUT definition_name text, OUT legal_states text[], OUT emits boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entity_schema text;
    entity_table text;
    row_type oid;
    label text;
    t jsonb;
    f text;
    wrong text;
    from_states text[];
    pairs text[] := '{}';
    pair text;
    n int := 0;
    initial text[];
    terminal text[];
    reachable text[];
    topic text := definition ->> 'topic';
    payload text := definition ->> 'payload';

BEGIN
    SELECT s.nspname, c.relname, c.reltype INTO entity_schema, entity_table, row_type
    FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = entity AND c.relkind IN ('r', 'p');
    IF NOT FOUND THEN
        PERFORM backoffice.raise('22023', 'invalid_definition', format('%s is not a table', entity), 'only ordinary and partitioned tables have a life cycle');
    END IF;
    IF definition IS NULL OR jsonb_typeof(definition) <> 'object' THEN
        PERFORM lifecycle.refuse('a definition is a JSON object', coalesce(jsonb_typeof(definition), 'NULL'));
    END IF;
    definition := lifecycle.spelled_out(definition);
    SELECT string_agg(k, ', ') INTO wrong FROM jsonb_object_keys(definition) k
    WHERE k <> ALL (ARRAY['name', 'initial', 'states', 'transitions', 'terminal', 'topic', 'key', 'organization', 'version', 'payload', 'emit']);
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('unknown key in a definition', wrong);
    END IF;
    SELECT string_agg(k, ', ') INTO wrong FROM unnest(ARRAY['name', 'topic', 'key', 'organization', 'version', 'payload']) k
    WHERE jsonb_typeof(definition -> k) NOT IN ('string', 'null');
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('must be a string', wrong);
    END IF;
    IF jsonb_typeof(definition -> 'emit') NOT IN ('boolean', 'null') THEN
        PERFORM lifecycle.refuse('must be true or false', 'emit');
    END IF;

    definition_name := coalesce(definition ->> 'name', entity_schema || '.' || entity_table);
    IF octet_length(definition_name) NOT BETWEEN 1 AND 150 THEN
        PERFORM lifecycle.refuse('a definition''s name has 1 to 150 bytes', definition_name);
    END IF;
    legal_states := lifecycle.string_list(definition -> 'states', 'states');
    IF cardinality(legal_states) NOT BETWEEN 1 AND 64 THEN
        PERFORM lifecycle.refuse('a definition has 1 to 64 states', cardinality(legal_states)::text || ' states');
    END IF;
    IF jsonb_typeof(definition -> 'transitions') IS DISTINCT FROM 'array' THEN
        PERFORM lifecycle.refuse('transitions must be an array of objects', coalesce(jsonb_typeof(definition -> 'transitions'), 'missing'));
    END IF;
    PERFORM lifecycle.check_columns(entity, state_column, legal_states, definition);

    -- One definition, one table; and the extension's own are not redefined behind its back.
    SELECT string_agg(g.tgrelid::regclass::text, ', ') INTO wrong FROM lifecycle.governed g
    WHERE g.definition = definition_name AND g.tgrelid <> entity;
    IF wrong IS NOT NULL THEN
        PERFORM backoffice.raise('PT409', 'definition_in_use', format('definition "%s" belongs to another table', definition_name), wrong,
                                 'Give the definition another name.');
    END IF;
    IF NOT built_in AND EXISTS (SELECT FROM lifecycle.definitions d LEFT JOIN lifecycle.governed g ON g.definition = d.name
                                WHERE d.built_in AND (d.name = definition_name OR g.tgrelid = entity)) THEN
        PERFORM backoffice.raise('PT409', 'built_in_definition', format('the life cycle of %I.%I comes with the extension', entity_schema, entity_table),
                                 definition_name, 'It changes with the extension''s version only.');
    END IF;

    IF payload IS NOT NULL THEN
        payload := lifecycle.find_function(payload, ARRAY[row_type, row_type, 'text'::regtype, 'text'::regtype]::oid[], 'jsonb'::regtype);
    END IF;
    emits := coalesce((definition ->> 'emit')::boolean, true);
    DELETE FROM lifecycle.definitions d WHERE d.name = definition_name
        OR d.name IN (SELECT g.definition FROM lifecycle.governed g WHERE g.tgrelid = entity);
    INSERT INTO lifecycle.definitions (name, entity_schema, entity_table, state_column, states, descriptions, key_column, organization_column,
                                       version_column, topic, emit, payload_function, built_in, defined_at)
    VALUES (definition_name, entity_schema, entity_table, state_column, legal_states,
            CASE jsonb_typeof(definition -> 'states') WHEN 'object' THEN definition -> 'states' ELSE '{}' END,
            coalesce(definition ->> 'key', 'id'), definition ->> 'organization', definition ->> 'version', topic, emits, payload, built_in, backoffice.now());

    -- Insertion is a transition from nothing: "initial" is its short form.
    FOR t IN
        SELECT jsonb_build_object('from', NULL, 'to', i) FROM unnest(lifecycle.string_list(coalesce(definition -> 'initial', '[]'), 'initial')) i
        WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(definition -> 'transitions') e
                          WHERE jsonb_typeof(e) = 'object' AND e ->> 'to' = i AND coalesce(e -> 'from', 'null') = 'null')
        UNION ALL SELECT e FROM jsonb_array_elements(definition -> 'transitions') e
    LOOP
        IF jsonb_typeof(t) <> 'object' THEN
            PERFORM lifecycle.refuse('a transition is a JSON object', t::text);
        END IF;
        SELECT string_agg(k, ', ') INTO wrong FROM jsonb_object_keys(t) k
        WHERE k <> ALL (ARRAY['from', 'to', 'event', 'guard'])
           OR k <> 'from' AND jsonb_typeof(t -> k) NOT IN ('string', 'null');
        IF wrong IS NOT NULL THEN
            PERFORM lifecycle.refuse('a transition has from, to, event and guard, all strings', wrong || ' in ' || t::text);
        END IF;
        from_states := CASE coalesce(jsonb_typeof(t -> 'from'), 'null')
            WHEN 'null' THEN ARRAY[NULL::text]
            WHEN 'string' THEN ARRAY[t ->> 'from']
            ELSE lifecycle.string_list(t -> 'from', 'from') END;
        IF t ->> 'to' IS NULL OR t ->> 'to' <> ALL (legal_states) THEN
            PERFORM lifecycle.refuse('a transition leads to an unknown state', t::text);
        END IF;
        IF octet_length(t ->> 'event') NOT BETWEEN 1 AND 200 THEN
            PERFORM lifecycle.refuse('an event''s type has 1 to 200 bytes', t::text);
        END IF;
        IF emits AND topic IS NULL AND t ->> 'event' IS NOT NULL THEN
            PERFORM lifecycle.refuse('transitions have events, but the definition has no topic', t::text);
        END IF;
        IF t ->> 'guard' IS NOT NULL THEN
            t := t || jsonb_build_object('guard', lifecycle.find_function(t ->> 'guard', ARRAY[row_type, row_type]::oid[], 'boolean'::regtype));
        END IF;
        FOREACH f IN ARRAY from_states LOOP
            IF f IS NOT NULL AND f <> ALL (legal_states) THEN
                PERFORM lifecycle.refuse('a transition starts from an unknown state', t::text);
            END IF;
            IF f = t ->> 'to' THEN
                PERFORM lifecycle.refuse('a transition leads to where it starts', t::text);
            END IF;
            pair := coalesce(quote_literal(f), '-') || '>' || (t ->> 'to');
            IF pair = ANY (pairs) THEN
                PERFORM lifecycle.refuse('a transition is declared twice', t::text);
            END IF;
            pairs := pairs || pair;
            n := n + 1;
            INSERT INTO lifecycle.rules (definition, position, from_state, to_state, event, guard, built_in)
            VALUES (definition_name, n, f, t ->> 'to', t ->> 'event', t ->> 'guard', built_in);
        END LOOP;
    END LOOP;

    WITH RECURSIVE reach (state) AS (
        SELECT r.to_state FROM lifecycle.rules r WHERE r.definition = definition_name AND r.from_state IS NULL
        UNION SELECT r.to_state FROM reach JOIN lifecycle.rules r ON r.definition = definition_name AND r.from_state = reach.state)
    SELECT array_agg(state), count(*) INTO reachable, n FROM reach;
    IF n = 0 THEN
        PERFORM lifecycle.refuse('no state is initial', 'nothing could ever be inserted');
    END IF;
    SELECT string_agg(s, ', ') INTO wrong FROM unnest(legal_states) s WHERE s <> ALL (reachable);
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('states that can''t be reached', wrong);
    END IF;
    IF coalesce(jsonb_typeof(definition -> 'terminal'), 'null') <> 'null' THEN
        terminal := lifecycle.string_list(definition -> 'terminal', 'terminal');
        SELECT string_agg(s, ', ') INTO wrong FROM unnest(terminal) s WHERE s <> ALL (legal_states);
        IF wrong IS NOT NULL THEN
            PERFORM lifecycle.refuse('unknown terminal states', wrong);
        END IF;
        SELECT string_agg(s, ', ') INTO wrong FROM unnest(legal_states) s
        WHERE (s = ANY (terminal)) = EXISTS (SELECT FROM lifecycle.rules r WHERE r.definition = definition_name AND r.from_state = s);
        IF wrong IS NOT NULL THEN
            PERFORM lifecycle.refuse('terminal states are those that no transition leaves', wrong);
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION lifecycle.store_definition(regclass, name, jsonb, boolean) IS
'The part of lifecycle.define() that validates and writes. Raises 22023 invalid_definition, PT409 definition_in_use, PT409 built_in_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.store_definition(regclass, name, jsonb, boolean) TO backoffice_definer;

CREATE OR REPLACE FUNCTION lifecycle.refuse(message text, detail text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $$ SELECT backoffice.raise('22023', 'invalid_definition', message, detail, 'See docs/lifecycle.md for what a definition holds.') $$;
COMMENT ON FUNCTION lifecycle.refuse(text, text) IS 'Raises 22023 invalid_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.refuse(text, text) TO backoffice_definer;

CREATE OR REPLACE FUNCTION lifecycle.spelled_out(definition jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH lists AS (
        SELECT definition || coalesce((SELECT jsonb_object_agg(k, jsonb_build_array(v)) FROM jsonb_each(definition) e (k, v)
                                       WHERE k IN ('initial', 'terminal') AND jsonb_typeof(v) = 'string'), '{}') AS d
    ), steps AS (
        SELECT CASE jsonb_typeof(d -> 'transitions') WHEN 'object' THEN d || jsonb_build_object('transitions', (
            SELECT coalesce(jsonb_agg(jsonb_build_object('from', k, 'to', s)), '[]')
            FROM jsonb_each(d -> 'transitions') e (k, v),
                 jsonb_array_elements(CASE jsonb_typeof(v) WHEN 'array' THEN v ELSE jsonb_build_array(v) END) s)) ELSE d END AS d
        FROM lists
    )
    SELECT CASE WHEN d ? 'states' THEN d ELSE d || jsonb_build_object('states', (
        SELECT coalesce(jsonb_agg(DISTINCT s), '[]')
        FROM (SELECT jsonb_path_query(d, 'lax $.initial[*]') UNION ALL SELECT jsonb_path_query(d, 'lax $.terminal[*]')
              UNION ALL SELECT jsonb_path_query(d, 'lax $.transitions[*].from[*]') UNION ALL SELECT jsonb_path_query(d, 'lax $.transitions[*].to')) u (s)
        WHERE jsonb_typeof(s) = 'string')) END
    FROM steps
$$;
COMMENT ON FUNCTION lifecycle.spelled_out(jsonb) IS
'A definition without its short forms: one initial or terminal state as a string, transitions as an object of lists, states left out. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.spelled_out(jsonb) TO backoffice_definer;

CREATE OR REPLACE FUNCTION lifecycle.string_list(list jsonb, what text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names text[];
BEGIN
    IF jsonb_typeof(list) = 'object' THEN
        names := ARRAY(SELECT jsonb_object_keys(list));
    ELSIF jsonb_typeof(list) = 'array' AND NOT jsonb_path_exists(list, 'strict $[*] ? (@.type() <> "string")') THEN
        names := ARRAY(SELECT jsonb_array_elements_text(list));
    ELSE
        PERFORM lifecycle.refuse('must be an array of strings', what || ': ' || coalesce(list::text, 'missing'));
    END IF;
    IF EXISTS (SELECT FROM unnest(names) n WHERE octet_length(n) NOT BETWEEN 1 AND 63) THEN
        PERFORM lifecycle.refuse('a state''s name has 1 to 63 bytes', what || ': ' || list::text);
    END IF;
    IF cardinality(names) <> (SELECT count(DISTINCT n) FROM unnest(names) n) THEN
        PERFORM lifecycle.refuse('a name stands twice', what || ': ' || list::text);
    END IF;
    RETURN names;
END $$;
COMMENT ON FUNCTION lifecycle.string_list(jsonb, text) IS
'Names from a JSON array of strings or the keys of an object; what: for the error. Raises 22023 invalid_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.string_list(jsonb, text) TO backoffice_definer;

CREATE OR REPLACE FUNCTION lifecycle.find_function(qualified_name text, arguments oid[], result regtype) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[];
    match text;
BEGIN
    BEGIN
        parts := parse_ident(qualified_name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := NULL;
    END;
    IF cardinality(parts) IS DISTINCT FROM 2 THEN
        PERFORM lifecycle.refuse('a function is named schema.function', qualified_name);
    END IF;
    SELECT format('%I.%I', s.nspname, p.proname) INTO match FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
    WHERE s.nspname = parts[1] AND p.proname = parts[2] AND p.prokind = 'f' AND NOT p.proretset AND p.prorettype = result
      AND p.proargtypes = array_to_string(arguments, ' ')::oidvector;
    IF match IS NULL THEN
        PERFORM lifecycle.refuse('no such function', format('%s(%s) returning %s', qualified_name,
            (SELECT string_agg(format_type(a, NULL), ', ' ORDER BY i) FROM unnest(arguments) WITH ORDINALITY u (a, i)), result));
    END IF;
    RETURN match;
END $$;
COMMENT ON FUNCTION lifecycle.find_function(text, oid[], regtype) IS
'The function of that name and signature, quoted and qualified. Raises 22023 invalid_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.find_function(text, oid[], regtype) TO backoffice_definer;

CREATE OR REPLACE FUNCTION lifecycle.check_columns(entity regclass, state_column name, states text[], definition jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(format('%s (%s)', c.what, coalesce(c.name, 'NULL')), ', ') INTO wrong
    FROM (VALUES ('state column', state_column::text, NULL::regtype[]),
                 ('key', coalesce(definition ->> 'key', 'id'), NULL),
                 ('organization', definition ->> 'organization', ARRAY['uuid']::regtype[]),
                 ('version', definition ->> 'version', ARRAY['int8', 'int4']::regtype[])) c (what, name, types)
    LEFT JOIN pg_attribute a ON a.attrelid = entity AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    WHERE (c.name IS NOT NULL OR c.what IN ('state column', 'key'))
      AND (a.attname IS NULL OR a.atttypid <> ALL (c.types)
           OR c.what = 'state column' AND a.atttypid <> ALL (ARRAY['text', 'varchar']::regtype[]) AND t.typtype <> 'e');
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('columns that are missing or of a wrong type (state: text, varchar or an enum; organization: uuid; version: bigint or integer)', wrong);
    END IF;
    SELECT string_agg(a.attname, ', ') INTO wrong FROM pg_attribute a
    WHERE a.attrelid = entity AND a.attname IN (state_column, definition ->> 'version') AND a.attnum > 0 AND a.attgenerated <> '';
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('state and version can''t be generated columns: they are computed after the check', wrong);
    END IF;
    SELECT string_agg(s, ', ') INTO wrong
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid AND t.typtype = 'e', unnest(states) s
    WHERE a.attrelid = entity AND a.attname = state_column
      AND NOT EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = t.oid AND e.enumlabel = s);
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('states that the state column''s type does not have', wrong);
    END IF;
END $$;
COMMENT ON FUNCTION lifecycle.check_columns(regclass, name, text[], jsonb) IS
'The columns a definition names exist and have the right types. Raises 22023 invalid_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.check_columns(regclass, name, text[], jsonb) TO backoffice_definer;

CREATE OR REPLACE FUNCTION lifecycle.define(entity regclass, state_column name, definition jsonb) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'lifecycle_define';
COMMENT ON FUNCTION lifecycle.define(regclass, name, jsonb) IS
'Declares the life cycle of a table''s rows and enforces it from now on; replaces an earlier definition if every row''s state remains legal. state_column: text, varchar or enum. definition: see docs/lifecycle.md. Raises 22023 invalid_definition, 42501 not_owner, PT409 states_in_use, PT409 definition_in_use, PT409 built_in_definition. Permission: admin, and the table''s owner.';
GRANT EXECUTE ON FUNCTION lifecycle.define(regclass, name, jsonb) TO backoffice_admin;

-- Which table is governed by which definition is said by the triggers, so that renames need no care.
CREATE OR REPLACE VIEW lifecycle.governed WITH (security_invoker = true) AS
SELECT g.tgrelid, CASE WHEN g.tgnargs = 1 THEN
           pg_catalog.convert_from(pg_catalog.substring(g.tgargs, 1, pg_catalog."position"(g.tgargs, '\x00'::bytea) - 1),
                                   pg_catalog.getdatabaseencoding()) END AS definition
FROM pg_catalog.pg_trigger g
WHERE g.tgfoid = 'lifecycle.check_row()'::pg_catalog.regprocedure AND g.tgparentid = 0 AND g.tgnargs = 1;
COMMENT ON VIEW lifecycle.governed IS 'tables with a life cycle (tgrelid) and the name of its definition';
GRANT SELECT ON lifecycle.governed, lifecycle.rules TO backoffice_definer, backoffice_kernel, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin;

CREATE OR REPLACE VIEW lifecycle.transitions WITH (security_invoker = true) AS
SELECT g.tgrelid::pg_catalog.regclass AS entity, r.definition, r.from_state, r.to_state, r.event, r.guard
FROM lifecycle.rules r LEFT JOIN lifecycle.governed g ON g.definition = r.definition;
COMMENT ON VIEW lifecycle.transitions IS 'every declared transition; from_state NULL is insertion, event NULL is a silent step';
GRANT SELECT ON lifecycle.transitions TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin;

CREATE OR REPLACE FUNCTION lifecycle.diagram(entity regclass) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH d AS (
        SELECT d.name, d.states, d.descriptions FROM lifecycle.definitions d JOIN lifecycle.governed g ON g.definition = d.name
        WHERE g.tgrelid = entity
    ), lines AS (
        SELECT 1 AS part, s.i AS ord, format('    state "%s" as s%s', replace(s.state, '"', ''''), s.i) AS line
        FROM d, unnest(d.states) WITH ORDINALITY s (state, i) WHERE s.state !~ '^[A-Za-z_][A-Za-z0-9_]*$'
        UNION ALL
        SELECT 2, r.position, format('    %s --> %s%s', lifecycle.diagram_node(d.states, r.from_state), lifecycle.diagram_node(d.states, r.to_state),
               coalesce(' : ' || nullif(concat_ws(' ', r.event, '[' || r.guard || ']'), ''), ''))
        FROM d JOIN lifecycle.rules r ON r.definition = d.name
        UNION ALL
        SELECT 3, s.i, format('    %s --> [*]', lifecycle.diagram_node(d.states, s.state))
        FROM d, unnest(d.states) WITH ORDINALITY s (state, i)
        WHERE NOT EXISTS (SELECT FROM lifecycle.rules r WHERE r.definition = d.name AND r.from_state = s.state)
    )
    SELECT E'stateDiagram-v2\n' || string_agg(line, E'\n' ORDER BY part, ord) FROM lines
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION lifecycle.diagram(regclass) IS
'The life cycle of a table as a Mermaid state diagram; NULL when the table has none. Permission: user, service, worker, admin.';
GRANT EXECUTE ON FUNCTION lifecycle.diagram(regclass) TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin;

CREATE OR REPLACE FUNCTION lifecycle.diagram_node(states text[], state text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN state IS NULL THEN '[*]' WHEN state ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN state
                ELSE 's' || array_position(states, state) END
$$;
COMMENT ON FUNCTION lifecycle.diagram_node(text[], text) IS 'How the diagram names a state. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.diagram_node(text[], text) TO backoffice_definer;
