-- What the conformance corpus calls: a workshop's functions, of every kind that an answer depends on.
-- Three roles: conform_anon (no token), conform_clerk (a token's role claim), conform_owner (owns what they may not see).
CREATE ROLE conform_anon NOLOGIN;
CREATE ROLE conform_clerk NOLOGIN;
CREATE ROLE conform_owner NOLOGIN;

CREATE SCHEMA conform;
CREATE SCHEMA conform_two;
CREATE SCHEMA hidden;
CREATE SCHEMA common;
CREATE SCHEMA "Odd ""@/\#~_-";
GRANT USAGE ON SCHEMA conform, conform_two, common, "Odd ""@/\#~_-" TO conform_anon, conform_clerk;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
SET search_path = conform;

-- ---- types ----

CREATE TYPE grade AS ENUM ('fine', 'rough');
CREATE DOMAIN small_number AS integer CHECK (VALUE < 100);
CREATE TYPE spot AS (x integer, y integer);
CREATE TYPE hidden.place AS (x integer, y integer, z integer);
CREATE DOMAIN spot_domain AS spot;
CREATE TYPE common.kind AS ENUM ('hammer', 'saw');
CREATE DOMAIN "text/plain" AS text;
CREATE DOMAIN "text/html" AS text;
CREATE DOMAIN "text/xml" AS xml;
CREATE DOMAIN "application/octet-stream" AS bytea;
CREATE DOMAIN "image/gif" AS bytea;
CREATE DOMAIN "*/*" AS bytea;
CREATE DOMAIN conform_two."text/two" AS text;
CREATE DOMAIN conform_two."text/plain" AS text;

-- ---- rows ----

CREATE TABLE tools (id integer PRIMARY KEY, name text NOT NULL, maker_id integer);
INSERT INTO tools VALUES (1, 'Plane 7', 1), (2, 'Plane 10', 1), (3, 'Saw', 2), (4, 'Chisel', 2), (5, 'Nameless', NULL);

CREATE TABLE parts (id integer PRIMARY KEY);
INSERT INTO parts SELECT generate_series(1, 15);

CREATE TABLE members (id integer PRIMARY KEY, name text, above integer, beside integer);
INSERT INTO members VALUES (1, 'First', NULL, NULL), (2, 'Second', NULL, NULL), (3, 'Third', 1, 2), (4, 'Fourth', 1, 2);

CREATE TABLE items (id integer PRIMARY KEY, name text, numbers integer[], words tsvector);
INSERT INTO items VALUES (1, 'item 1', '{1}', to_tsvector('simple', 'bar foo')), (2, 'item 2', '{1,2}', to_tsvector('simple', 'baz qux')),
  (3, 'item 3', '{1,2,3}', NULL), (4, NULL, NULL, NULL);

CREATE TABLE spans (id integer PRIMARY KEY, span numrange);
INSERT INTO spans VALUES (1, '[1,3]'), (2, '[3,6]'), (3, '[6,9]'), (4, '[9,12]'), (5, NULL);

CREATE TABLE notes (id integer PRIMARY KEY, body text, data jsonb);
INSERT INTO notes VALUES (1, 'It is fun to mend the broken clock', '{"say": "mend the clock"}'),
  (2, 'Also fun to see what is mended', '{"say": "see it"}'), (3, 'Fat cats ate rats', '{"say": "cats and rats"}'),
  (4, 'Ceci est un peu amusant', '{"say": "un peu"}');

CREATE TABLE words (id integer PRIMARY KEY, vector tsvector);
INSERT INTO words VALUES (1, to_tsvector('english', 'It is fun to mend the broken clock')),
  (2, to_tsvector('english', 'Also fun to see what is possible')), (3, to_tsvector('english', 'Fat cats ate rats')),
  (4, to_tsvector('french', 'Ceci est un peu amusant')), (5, to_tsvector('german', 'Das ist eine Art Spaß'));

CREATE TABLE papers (id integer PRIMARY KEY, data json);
INSERT INTO papers VALUES (1, '[1, 2, 3]'), (2, '[4, 5, 6]'), (3, '[[9, 8, 7], [11, 12, 13]]'), (4, '[[[5, 6], 7, 8]]'),
  (5, '[{"a": "A"}, {"b": "B"}]'), (6, '[{"a": [1,2,3]}, {"b": [4,5]}]'), (7, '{"c": [1,2,3], "d": [4,5]}'),
  (8, '{"c": [{"d": [4,5,6,7,8]}]}'), (9, '[{"0xy1": [1,{"23-xy-45": [2, {"xy-6": [3]}]}]}]'), (10, '{"!@#$%^&*_a": [{"!@#$%^&*_b": 1}], "!@#$%^&*_d": {"!@#$%^&*_e": 3}}');

CREATE TABLE settings (id integer PRIMARY KEY, data jsonb);
INSERT INTO settings VALUES (1, '{"id": 1, "foo": {"bar": "baz", "int": 1}}'), (2, '{"id": 3}'), (3, '{"id": 0}');

CREATE TABLE chores (id integer PRIMARY KEY, name text, done boolean);
INSERT INTO chores VALUES (1, 'sweep', true), (2, 'oil', false), (3, 'sharpen', NULL);

CREATE TABLE codes (k text PRIMARY KEY, extra text);
INSERT INTO codes VALUES ('xyyx', 'u'), ('xYYx', 'v');

CREATE TABLE pairs (a text, b text);
INSERT INTO pairs VALUES (NULL, NULL), ('1', '0'), ('2', '0');

CREATE TABLE people (name text PRIMARY KEY);
INSERT INTO people VALUES ('Hebdon, John'), ('Williams, Mary'), ('Smith, Joseph'), ('David White'), ('Larry Thompson'),
  ('Double O Seven(007)'), ('"'), ('Double"Quote"McGraw"'), ('\'), ('/\Slash/\Beast/\');

CREATE TABLE grand (id integer PRIMARY KEY, name text);
INSERT INTO grand VALUES (1, 'child 1'), (2, 'child 2'), (3, 'child 3'), (4, '(grand,child,4)'), (5, '(grand,child,5)');

CREATE TABLE moments (at timestamptz);
INSERT INTO moments VALUES ('2023-10-18 12:37:59.611+00'), ('2023-10-18 14:37:59.611+00'), ('2023-10-18 16:37:59.611+00');

CREATE TABLE once (col integer CONSTRAINT once_col_key UNIQUE DEFERRABLE INITIALLY IMMEDIATE);
INSERT INTO once VALUES (1);

CREATE TABLE articles (id integer PRIMARY KEY, body text);
INSERT INTO articles VALUES (1, 'No plan... It is a thing of greatness that will not stop'), (2, 'Stop. A brain is a thing'), (3, 'Nothing here');

CREATE TABLE odd (t integer, count integer, "UPPER case" integer, "with ""quote" integer, and_column text, or_column text);
INSERT INTO odd VALUES (1, 2, 3, 4, 'smth', 'other');

CREATE TABLE arrays (id integer PRIMARY KEY, numbers integer[], grid integer[], pair spot);
INSERT INTO arrays VALUES (0, '{1,2,3}', '{{1,2,3},{4,5,6},{7,8,9}}', '(5,6)'), (1, '{11,12,13}', '{{11,12,13},{14,15,16},{17,18,19}}', '(7,8)');

CREATE TABLE conform_two.parents (id integer PRIMARY KEY, name text);
INSERT INTO conform_two.parents VALUES (3, 'parent 3'), (4, 'parent 4');
CREATE TABLE secrets (id integer PRIMARY KEY, secret text);
INSERT INTO secrets VALUES (1, 'not for clerks');
CREATE TABLE ledgers (owner text, note text);
INSERT INTO ledgers VALUES ('jdoe', 'test content');

CREATE SEQUENCE callings START 1;

-- ---- sets of rows ----

CREATE FUNCTION all_tools() RETURNS SETOF tools LANGUAGE sql STABLE AS 'SELECT * FROM conform.tools ORDER BY id';
CREATE FUNCTION tool(id integer) RETURNS SETOF tools LANGUAGE sql STABLE AS 'SELECT * FROM conform.tools t WHERE t.id = $1';
CREATE FUNCTION tools_below(id integer) RETURNS SETOF tools LANGUAGE sql STABLE AS 'SELECT * FROM conform.tools t WHERE t.id < $1 ORDER BY t.id';
CREATE FUNCTION one_tool(id integer) RETURNS tools LANGUAGE sql STABLE AS 'SELECT * FROM conform.tools t WHERE t.id = $1';
CREATE DOMAIN tools_domain AS tools;
CREATE FUNCTION tool_domain(id integer) RETURNS SETOF tools_domain LANGUAGE sql STABLE AS 'SELECT t::conform.tools_domain FROM conform.tools t WHERE t.id = $1';
CREATE FUNCTION rename_tools(low integer, high integer, name text) RETURNS SETOF tools LANGUAGE sql AS
  'UPDATE conform.tools t SET name = $3 WHERE t.id BETWEEN $1 AND $2 RETURNING t.*';
CREATE FUNCTION parts_between(low integer, high integer) RETURNS SETOF parts LANGUAGE sql STABLE AS
  'SELECT * FROM conform.parts WHERE id > $1 AND id <= $2 ORDER BY id';
CREATE FUNCTION find_part(id integer) RETURNS SETOF parts LANGUAGE sql STABLE AS 'SELECT * FROM conform.parts p WHERE p.id = $1';
CREATE FUNCTION all_members() RETURNS SETOF members LANGUAGE sql STABLE AS 'SELECT * FROM conform.members ORDER BY id';
CREATE FUNCTION all_items() RETURNS SETOF items LANGUAGE sql STABLE AS 'SELECT * FROM conform.items ORDER BY id';
CREATE FUNCTION all_spans() RETURNS SETOF spans LANGUAGE sql STABLE AS 'SELECT * FROM conform.spans ORDER BY id';
CREATE FUNCTION all_notes() RETURNS SETOF notes LANGUAGE sql STABLE AS 'SELECT * FROM conform.notes ORDER BY id';
CREATE FUNCTION all_words() RETURNS SETOF words LANGUAGE sql STABLE AS 'SELECT * FROM conform.words ORDER BY id';
CREATE FUNCTION all_papers() RETURNS SETOF papers LANGUAGE sql STABLE AS 'SELECT * FROM conform.papers ORDER BY id';
CREATE FUNCTION all_settings() RETURNS SETOF settings LANGUAGE sql STABLE AS 'SELECT * FROM conform.settings ORDER BY id';
CREATE FUNCTION all_chores() RETURNS SETOF chores LANGUAGE sql STABLE AS 'SELECT * FROM conform.chores ORDER BY id';
CREATE FUNCTION all_codes() RETURNS SETOF codes LANGUAGE sql STABLE AS 'SELECT * FROM conform.codes ORDER BY extra';
CREATE FUNCTION all_pairs() RETURNS SETOF pairs LANGUAGE sql STABLE AS 'SELECT * FROM conform.pairs';
CREATE FUNCTION all_people() RETURNS SETOF people LANGUAGE sql STABLE AS 'SELECT * FROM conform.people';
CREATE FUNCTION all_grand() RETURNS SETOF grand LANGUAGE sql STABLE AS 'SELECT * FROM conform.grand ORDER BY id';
CREATE FUNCTION all_moments() RETURNS SETOF moments LANGUAGE sql STABLE AS 'SELECT * FROM conform.moments ORDER BY at';
CREATE FUNCTION all_articles() RETURNS SETOF articles LANGUAGE sql STABLE AS 'SELECT * FROM conform.articles ORDER BY id';
CREATE FUNCTION all_arrays() RETURNS SETOF arrays LANGUAGE sql STABLE AS 'SELECT * FROM conform.arrays ORDER BY id';
CREATE FUNCTION all_odd() RETURNS SETOF odd LANGUAGE sql STABLE AS 'SELECT * FROM conform.odd';
CREATE FUNCTION nothing_found() RETURNS SETOF integer LANGUAGE sql STABLE AS 'SELECT 1 WHERE false';
CREATE FUNCTION three_numbers() RETURNS SETOF integer LANGUAGE sql STABLE AS 'VALUES (1), (2), (3)';
CREATE FUNCTION take_parts_set() RETURNS SETOF parts LANGUAGE sql AS 'DELETE FROM conform.parts RETURNING *';
CREATE FUNCTION take_parts_table() RETURNS TABLE (id integer) LANGUAGE sql AS 'DELETE FROM conform.parts RETURNING id';
CREATE FUNCTION take_parts_quietly() RETURNS void LANGUAGE sql AS 'DELETE FROM conform.parts';
CREATE FUNCTION a_record() RETURNS record LANGUAGE sql STABLE AS 'SELECT t FROM conform.tools t WHERE id = 1';
CREATE FUNCTION one_column_table() RETURNS TABLE (a text) LANGUAGE sql STABLE AS 'SELECT ''A''';
CREATE FUNCTION two_column_table() RETURNS TABLE (a text, b text) LANGUAGE sql STABLE AS 'SELECT ''A'', ''B''';
CREATE FUNCTION scalars() RETURNS TABLE (a text, b grade, c integer, d int4range) LANGUAGE sql STABLE AS
  'SELECT ''scalars'', ''fine''::conform.grade, 1, int4range(10, 20)';
-- A column with the function's own name.
CREATE FUNCTION test() RETURNS TABLE (test text, value integer) LANGUAGE sql STABLE AS 'SELECT ''hello'', 1';
CREATE FUNCTION "true"() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';

CREATE FUNCTION spots() RETURNS TABLE (id integer, val spot) LANGUAGE sql STABLE AS
  'SELECT i, (i, 10 - i)::conform.spot FROM generate_series(1, 3) i';
CREATE DOMAIN vector_domain AS tsvector;
CREATE DOMAIN vector_domain_domain AS vector_domain;
CREATE FUNCTION vectors() RETURNS TABLE (id integer, v vector_domain, w vector_domain_domain) LANGUAGE sql STABLE AS
  $$SELECT i, to_tsvector('simple', t), to_tsvector('simple', t) FROM (VALUES (1, 'kind of fun'), (2, 'fat cats')) x(i, t)$$;
CREATE FUNCTION record_out(OUT id integer, OUT name text, OUT maker_id integer) RETURNS record LANGUAGE sql STABLE AS
  'SELECT * FROM conform.tools WHERE id = 1';
CREATE FUNCTION records_out(low integer, pattern text, OUT id integer, OUT name text) RETURNS SETOF record LANGUAGE sql STABLE AS
  'SELECT t.id, t.name FROM conform.tools t WHERE t.id >= $1 AND t.name LIKE $2 ORDER BY t.id';
-- Two comments on objects of one number: of a function and of another catalogue's object.
CREATE FUNCTION commented(id integer) RETURNS integer LANGUAGE sql STABLE AS 'SELECT $1';
COMMENT ON FUNCTION commented(integer) IS 'Gives its argument back.';
CREATE FUNCTION "سلام"("نام" text) RETURNS TABLE ("هویت" text) LANGUAGE sql STABLE AS 'SELECT $1';

-- ---- single values ----

CREATE FUNCTION sum_of(a integer, b integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
CREATE FUNCTION greet(name text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''Hello, '' || $1';
CREATE FUNCTION greet_all(name text, VARIADIC rest text[]) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''Hello, '' || $1';
CREATE FUNCTION plain() RETURNS text LANGUAGE sql STABLE AS 'SELECT ''What a function without parameters returns.''';
CREATE FUNCTION an_array() RETURNS integer[] LANGUAGE sql STABLE AS 'SELECT ''{1,2,3}''::integer[]';
CREATE FUNCTION an_enum(val text) RETURNS grade LANGUAGE sql STABLE AS 'SELECT $1::conform.grade';
CREATE FUNCTION a_domain(val integer) RETURNS small_number LANGUAGE sql STABLE AS 'SELECT $1::conform.small_number';
CREATE FUNCTION a_range(low integer, up integer) RETURNS int4range LANGUAGE sql STABLE AS 'SELECT int4range($1, $2)';
CREATE FUNCTION a_spot() RETURNS spot LANGUAGE sql STABLE AS 'SELECT (10, 5)::conform.spot';
CREATE FUNCTION a_place() RETURNS hidden.place LANGUAGE plpgsql STABLE AS 'BEGIN RETURN ROW(7, -3, 4)::hidden.place; END';
CREATE FUNCTION a_spot_domain() RETURNS spot_domain LANGUAGE sql STABLE AS 'SELECT (10, 5)::conform.spot::conform.spot_domain';
CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION a_null() RETURNS integer LANGUAGE sql STABLE AS 'SELECT NULL::integer';
CREATE FUNCTION kind_of_json(arg json) RETURNS text LANGUAGE sql STABLE AS 'SELECT json_typeof($1)';
CREATE FUNCTION taking_kind(kind common.kind) RETURNS text LANGUAGE sql STABLE AS 'SELECT ''a '' || $1';
CREATE FUNCTION many_kinds("double" double precision, "varchar" character varying, "boolean" boolean, "date" date, "money" money,
  "enum" grade, arr text[], "integer" integer, "json" json DEFAULT '{}', "jsonb" jsonb DEFAULT '{}') RETURNS json LANGUAGE sql IMMUTABLE AS
  $$SELECT json_build_object('double', $1, 'varchar', $2, 'boolean', $3, 'date', $4, 'money', $5, 'enum', $6, 'arr', $7, 'integer', $8, 'json', $9, 'jsonb', $10)$$;
CREATE FUNCTION "camelCase"("user" text, "fullName" text, "SSN" text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
  $$SELECT jsonb_build_object('user', $1, 'fullName', $2, 'SSN', $3)$$;
CREATE FUNCTION all_of(VARIADIC v text[] DEFAULT '{}') RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION numbers_of(VARIADIC n integer[] DEFAULT '{}') RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT sum(i)::integer FROM unnest($1) i';
CREATE FUNCTION three_defaults(a integer DEFAULT 1, b integer DEFAULT 2, c integer DEFAULT 3) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2 + $3';
CREATE FUNCTION current_role_name() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
CREATE FUNCTION wide_char(char_ char(4), char_arr char(4)[]) RETURNS TABLE (char_ text, char_arr text[]) LANGUAGE sql STABLE AS 'SELECT $1, $2::text[]';
CREATE FUNCTION wide_bit(bit_ bit(3), bit_arr bit(3)[]) RETURNS TABLE (bit_ text, bit_arr text[]) LANGUAGE sql STABLE AS 'SELECT $1::text, $2::text[]';
CREATE TABLE narrow (char_ char(5), bit_ bit(5));
CREATE FUNCTION store_char(char_ char(4)) RETURNS void LANGUAGE sql AS 'INSERT INTO conform.narrow (char_) VALUES ($1)';
CREATE FUNCTION store_bit(bit_ bit(3)) RETURNS void LANGUAGE sql AS 'INSERT INTO conform.narrow (bit_) VALUES ($1)';

-- ---- OUT and INOUT ----

CREATE FUNCTION one_out(num integer, OUT num_plus_one integer) LANGUAGE sql STABLE AS 'SELECT $1 + 1';
CREATE FUNCTION one_json_out(a integer, b text, OUT my_json json) LANGUAGE sql STABLE AS $$SELECT json_build_object('a', $1, 'b', $2)$$;
CREATE FUNCTION one_inout(INOUT num integer) LANGUAGE sql STABLE AS 'SELECT $1 + 1';
CREATE FUNCTION many_out(OUT my_json json, OUT num integer, OUT str text) LANGUAGE sql STABLE AS $$SELECT '{"a": 1, "b": "two"}'::json, 3, 'four'$$;
CREATE FUNCTION many_inout(INOUT num integer, INOUT str text, INOUT b boolean DEFAULT true) LANGUAGE sql STABLE AS 'SELECT $1, $2, $3';

-- ---- overloads ----

CREATE FUNCTION many_forms() RETURNS SETOF integer LANGUAGE sql STABLE AS 'VALUES (1), (2), (3)';
CREATE FUNCTION many_forms(json) RETURNS SETOF text LANGUAGE sql STABLE AS $$SELECT i->>'x' FROM json_array_elements($1) i$$;
CREATE FUNCTION many_forms(a integer, b integer) RETURNS integer LANGUAGE sql STABLE AS 'SELECT $1 + $2';
CREATE FUNCTION many_forms(a text, b text, c text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1 || $2 || $3';
CREATE FUNCTION same_names(arg integer) RETURNS json LANGUAGE sql STABLE AS 'SELECT to_json($1)';
CREATE FUNCTION same_names(arg xml) RETURNS json LANGUAGE sql STABLE AS 'SELECT to_json($1)';
CREATE FUNCTION same_names(arg text, num integer DEFAULT 0) RETURNS json LANGUAGE sql STABLE AS 'SELECT to_json($1)';
CREATE FUNCTION spot_of() RETURNS integer LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION spot_of(x integer, y integer) RETURNS spot LANGUAGE sql STABLE AS 'SELECT ($1, $2)::conform.spot';
CREATE FUNCTION by_default(opt text DEFAULT 'Saw') RETURNS SETOF tools LANGUAGE sql STABLE AS 'SELECT * FROM conform.tools WHERE name = $1';
CREATE FUNCTION by_default(must integer) RETURNS jsonb LANGUAGE sql STABLE AS $$SELECT jsonb_build_object('val', $1)$$;
CREATE FUNCTION by_default(a integer, opt text DEFAULT 'Chisel') RETURNS SETOF tools LANGUAGE sql STABLE AS 'SELECT * FROM conform.tools WHERE id = $1';
CREATE FUNCTION by_default(a integer, must integer) RETURNS jsonb LANGUAGE sql STABLE AS $$SELECT jsonb_build_object('a', $1, 'val', $2)$$;

-- ---- the body as the only parameter ----

CREATE FUNCTION body_json(json) RETURNS json LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION named_json(data json) RETURNS json LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION body_text(text) RETURNS "text/plain" LANGUAGE sql STABLE AS 'SELECT $1::conform."text/plain"';
CREATE FUNCTION body_xml(xml) RETURNS "text/xml" LANGUAGE sql STABLE AS 'SELECT $1::conform."text/xml"';
CREATE FUNCTION body_bytes(bytea) RETURNS "application/octet-stream" LANGUAGE sql STABLE AS 'SELECT $1::conform."application/octet-stream"';
CREATE FUNCTION body_integer(integer) RETURNS integer LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION body_any() RETURNS integer LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION body_any(x integer, y integer) RETURNS integer LANGUAGE sql STABLE AS 'SELECT $1 + $2';
CREATE FUNCTION body_any(json) RETURNS json LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION body_any(text) RETURNS "text/plain" LANGUAGE sql STABLE AS 'SELECT $1::conform."text/plain"';
CREATE FUNCTION body_any(bytea) RETURNS "application/octet-stream" LANGUAGE sql STABLE AS 'SELECT $1::conform."application/octet-stream"';
CREATE FUNCTION body_both(json) RETURNS json LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION body_both(jsonb) RETURNS jsonb LANGUAGE sql STABLE AS 'SELECT $1';

-- ---- media types ----

CREATE FUNCTION hello_page() RETURNS "text/html" LANGUAGE sql STABLE AS $$SELECT '<html><body>Hello</body></html>'::conform."text/html"$$;
CREATE FUNCTION hello_text() RETURNS "text/plain" LANGUAGE sql STABLE AS $$SELECT 'Hello from the workshop'::conform."text/plain"$$;
CREATE FUNCTION hello_xml() RETURNS "text/xml" LANGUAGE sql STABLE AS $$SELECT '<tool/>'::xml::conform."text/xml"$$;
CREATE FUNCTION a_picture() RETURNS "image/gif" LANGUAGE sql STABLE AS $$SELECT '\x474946383961000102ff'::bytea::conform."image/gif"$$;
CREATE FUNCTION a_picture_of(id integer) RETURNS "image/gif" LANGUAGE sql STABLE AS $$SELECT '\x47'::bytea::conform."image/gif" WHERE $1 = 1$$;
CREATE FUNCTION anything() RETURNS "*/*" LANGUAGE sql STABLE AS $$SELECT 'any'::bytea::conform."*/*"$$;
CREATE FUNCTION some_things() RETURNS "*/*" LANGUAGE plpgsql STABLE AS $$
DECLARE wanted text := current_setting('request.headers')::json->>'accept';
BEGIN
  IF wanted NOT IN ('*/*', 'app/chico', 'app/harpo') THEN
    RAISE SQLSTATE 'PT406' USING message = 'Not Acceptable';
  END IF;
  PERFORM set_config('response.headers', json_build_array(json_build_object('Content-Type', CASE wanted WHEN '*/*' THEN 'app/groucho' ELSE wanted END))::text, true);
  RETURN convert_to(CASE wanted WHEN 'app/chico' THEN 'chico' WHEN 'app/harpo' THEN 'harpo' ELSE 'groucho' END, 'UTF8')::conform."*/*";
END $$;
CREATE DOMAIN "application/vnd.lines" AS text;
CREATE FUNCTION lines_next(state "application/vnd.lines", next tools) RETURNS "application/vnd.lines" LANGUAGE sql IMMUTABLE AS
  $$SELECT ($1 || next.name || E'\n')::conform."application/vnd.lines"$$;
CREATE AGGREGATE lines_of(tools) (SFUNC = lines_next, STYPE = "application/vnd.lines", INITCOND = '');

-- ---- settings of the request and the response ----

CREATE FUNCTION setting_of(name text) RETURNS text LANGUAGE sql STABLE AS 'SELECT nullif(current_setting($1, true), '''')';
CREATE FUNCTION setting_of(prefix text, name text) RETURNS text LANGUAGE sql STABLE AS 'SELECT nullif(current_setting($1, true), '''')::json->>$2';
CREATE FUNCTION tools_and_headers() RETURNS SETOF tools LANGUAGE plpgsql STABLE AS $$
BEGIN
  PERFORM set_config('response.headers', '[{"X-Test": "key1=val1; someValue; key2=val2"}, {"X-Test-2": "key1=val1"}]', true);
  RETURN QUERY SELECT * FROM conform.tools ORDER BY id;
END $$;
CREATE FUNCTION number_and_headers(num integer) RETURNS integer LANGUAGE plpgsql STABLE AS $$
BEGIN
  PERFORM set_config('response.headers', '[{"X-Test": "key1=val1; someValue; key2=val2"}, {"X-Test-2": "key1=val1"}]', true);
  RETURN num;
END $$;
CREATE FUNCTION bad_headers_1() RETURNS void LANGUAGE sql STABLE AS $$SELECT set_config('response.headers', '{"X-Test": "invalid structure for headers"}', true)$$;
CREATE FUNCTION bad_headers_2() RETURNS void LANGUAGE sql STABLE AS $$SELECT set_config('response.headers', '["invalid", "structure", "for", "headers"]', true)$$;
CREATE FUNCTION bad_headers_3() RETURNS void LANGUAGE sql STABLE AS $$SELECT set_config('response.headers', '{"X-Test": "x", "X-Test-2": "y"}', true)$$;
CREATE FUNCTION split_headers() RETURNS void LANGUAGE sql STABLE AS $$SELECT set_config('response.headers', E'[{"X-Test": "a\\r\\nSet-Cookie: b"}]', true)$$;
CREATE FUNCTION two_cookies() RETURNS void LANGUAGE sql STABLE AS
  $$SELECT set_config('response.headers', '[{"Set-Cookie": "session=38afes7a8; HttpOnly; Path=/"}, {"Set-Cookie": "id=a3fWa; Secure; HttpOnly"}]', true)$$;
CREATE FUNCTION own_vary() RETURNS SETOF tools LANGUAGE sql STABLE AS
  $$SELECT set_config('response.headers', '[{"Vary": "X-Test-Accept"}]', true); SELECT * FROM conform.tools ORDER BY id$$;
CREATE FUNCTION own_type() RETURNS json LANGUAGE sql STABLE AS
  $$SELECT set_config('response.headers', '[{"Content-Type": "application/custom+json"}]', true); SELECT '{"a": 1}'::json$$;
CREATE FUNCTION refused_login() RETURNS json LANGUAGE sql STABLE AS
  $$SELECT set_config('response.status', '403', true); SELECT '{"message": "invalid user or password"}'::json$$;
CREATE FUNCTION refused_teapot() RETURNS void LANGUAGE sql STABLE AS $$SELECT set_config('response.status', '418', true)$$;
CREATE FUNCTION bad_status() RETURNS json LANGUAGE sql STABLE AS
  $$SELECT set_config('response.status', 'bad', true); SELECT '{"message": "invalid user or password"}'::json$$;

-- ---- errors ----

CREATE FUNCTION problem() RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''bad thing''; END';
CREATE FUNCTION assertion() RETURNS void LANGUAGE plpgsql AS 'BEGIN ASSERT false, ''bad thing''; END';
CREATE FUNCTION pay_first() RETURNS void LANGUAGE plpgsql STABLE AS
  $$BEGIN RAISE SQLSTATE 'PT402' USING message = 'Payment Required', detail = 'Quota exceeded', hint = 'Upgrade your plan'; END$$;
CREATE FUNCTION bad_pt() RETURNS void LANGUAGE plpgsql STABLE AS $$BEGIN RAISE SQLSTATE 'PT40A' USING message = 'Wrong'; END$$;
CREATE FUNCTION custom_all() RETURNS void LANGUAGE plpgsql STABLE AS $$BEGIN RAISE SQLSTATE 'PGRST' USING
  message = '{"code": "123", "message": "ABC", "details": "DEF", "hint": "XYZ"}', detail = '{"status": 332, "status_text": "My Custom Status", "headers": {"X-Header": "str"}}'; END$$;
CREATE FUNCTION custom_few() RETURNS void LANGUAGE plpgsql STABLE AS $$BEGIN RAISE SQLSTATE 'PGRST' USING
  message = '{"code": "123", "message": "ABC"}', detail = '{"status": 332, "headers": {"X-Header": "str"}}'; END$$;
CREATE FUNCTION custom_known() RETURNS void LANGUAGE plpgsql STABLE AS $$BEGIN RAISE SQLSTATE 'PGRST' USING
  message = '{"code": "123", "message": "ABC"}', detail = '{"status": 404, "headers": {"X-Header": "str"}}'; END$$;
CREATE FUNCTION custom_renamed() RETURNS void LANGUAGE plpgsql STABLE AS $$BEGIN RAISE SQLSTATE 'PGRST' USING
  message = '{"code": "123", "message": "ABC"}', detail = '{"status": 404, "status_text": "My Not Found", "headers": {"X-Header": "str"}}'; END$$;
CREATE FUNCTION custom_bad_message() RETURNS void LANGUAGE plpgsql STABLE AS $$BEGIN RAISE SQLSTATE 'PGRST' USING
  message = 'INVALID', detail = '{"status": 332, "headers": {"X-Header": "str"}}'; END$$;
CREATE FUNCTION custom_bad_detail() RETURNS void LANGUAGE plpgsql STABLE AS $$BEGIN RAISE SQLSTATE 'PGRST' USING
  message = '{"code": "123", "message": "ABC"}', detail = 'INVALID'; END$$;
CREATE FUNCTION custom_no_detail() RETURNS void LANGUAGE plpgsql STABLE AS
  $$BEGIN RAISE SQLSTATE 'PGRST' USING message = '{"code": "123", "message": "ABC"}'; END$$;
CREATE FUNCTION two_rows() RETURNS integer LANGUAGE sql STABLE AS 'SELECT (SELECT i FROM generate_series(1, 2) i)';
-- Any error there is: what status its SQLSTATE gets.
CREATE FUNCTION fail(state text, text text DEFAULT 'failed') RETURNS void LANGUAGE plpgsql STABLE AS 'BEGIN RAISE EXCEPTION USING errcode = state, message = text; END';
CREATE FUNCTION deep(n integer) RETURNS integer LANGUAGE plpgsql STABLE AS 'BEGIN RETURN conform.deep(n + 1); END';
CREATE FUNCTION much_on_disk() RETURNS void LANGUAGE sql STABLE SET work_mem = '64kB' AS
  'SELECT count(*) FROM (SELECT i FROM generate_series(1, 100000) i ORDER BY md5(i::text) OFFSET 99999) x';
CREATE FUNCTION break_rule(deferred boolean DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF deferred THEN SET CONSTRAINTS conform.once_col_key DEFERRED; END IF;
  INSERT INTO conform.once VALUES (1);
END $$;
CREATE FUNCTION missing_table() RETURNS void LANGUAGE plpgsql STABLE AS 'BEGIN PERFORM * FROM conform.no_such_table; END';
CREATE FUNCTION count_calls() RETURNS integer LANGUAGE sql AS $$SELECT nextval('conform.callings')::integer$$;
CREATE FUNCTION reset_calls() RETURNS void LANGUAGE sql AS $$SELECT setval('conform.callings', 1, false)$$;

-- ---- rights ----

CREATE FUNCTION privileged_greet(name text) RETURNS text LANGUAGE sql STABLE AS 'SELECT ''Privileged hello to '' || $1';
CREATE FUNCTION read_secrets() RETURNS SETOF secrets LANGUAGE sql STABLE AS 'SELECT * FROM conform.secrets';
CREATE FUNCTION read_ledgers() RETURNS SETOF ledgers LANGUAGE sql STABLE AS 'SELECT * FROM conform.ledgers';
CREATE FUNCTION big_claims() RETURNS TABLE (iss text, sub text, exp bigint, nbf bigint, iat bigint, jti text, "http://example.com/foo" boolean) LANGUAGE sql STABLE AS $$
  SELECT c->>'iss', c->>'sub', (c->>'exp')::bigint, (c->>'nbf')::bigint, (c->>'iat')::bigint, c->>'jti', (c->>'http://example.com/foo')::boolean
  FROM (SELECT current_setting('request.jwt.claims')::json AS c) s $$;

-- Before each call of one gateway of the suite: a role for the claim id, headers for whom asks.
CREATE FUNCTION before() RETURNS void LANGUAGE plpgsql AS $$
DECLARE id text := current_setting('request.jwt.claims', true)::json->>'id';
BEGIN
  IF id = '1' THEN
    PERFORM set_config('role', 'conform_clerk', true);
  ELSIF id = '2' THEN
    PERFORM set_config('role', 'conform_anon', true);
  ELSIF id = '3' THEN
    RAISE 'Disabled ID --> %', id USING HINT = 'Please contact administrator';
  END IF;
  IF current_setting('request.headers', true)::json->>'user-agent' = 'custom' THEN
    PERFORM set_config('response.headers', '[{"Content-Type": "application/custom+json"}, {"Vary": "X-Test-Accept"}, {"Cache-Control": "no-cache"}]', true);
  END IF;
END $$;

-- ---- the other schemas ----

CREATE FUNCTION conform_two.parents_below(id integer) RETURNS SETOF conform_two.parents LANGUAGE sql STABLE AS
  'SELECT * FROM conform_two.parents p WHERE p.id < $1 ORDER BY p.id';
CREATE FUNCTION conform_two.plain_text() RETURNS conform_two."text/plain" LANGUAGE sql STABLE AS $$SELECT 'plain'::conform_two."text/plain"$$;
CREATE FUNCTION conform_two.special_text() RETURNS conform_two."text/two" LANGUAGE sql STABLE AS $$SELECT 'special'::conform_two."text/two"$$;
CREATE FUNCTION conform_two.path() RETURNS text LANGUAGE sql STABLE AS $$SELECT current_setting('search_path')$$;

CREATE FUNCTION "Odd ""@/\#~_-".names() RETURNS TABLE (id integer, name text) LANGUAGE sql STABLE AS
  $$VALUES (1, 'John'), (2, 'Mary'), (3, 'José')$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA conform, conform_two TO conform_anon, conform_clerk;
GRANT USAGE, UPDATE ON SEQUENCE callings TO conform_anon, conform_clerk;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA conform, conform_two, "Odd ""@/\#~_-" TO conform_anon, conform_clerk;
REVOKE ALL ON secrets, ledgers FROM conform_anon, conform_clerk;
GRANT SELECT ON ledgers TO conform_clerk;
REVOKE EXECUTE ON FUNCTION privileged_greet(text) FROM conform_anon;
RESET search_path;
