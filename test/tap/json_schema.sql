-- Cases of schema, payload and answer: true (valid), or the keyword that is violated.
BEGIN;
SELECT events.define_topic('s', direction => 'internal');

CREATE TEMP TABLE cases (schema jsonb, payload jsonb, answer text);
INSERT INTO cases VALUES
    ('true', '1', 'true'), ('false', '1', 'false'), ('{}', 'null', 'true'),
    ('{"type": "integer"}', '1', 'true'), ('{"type": "integer"}', '1.0', 'true'), ('{"type": "integer"}', '1.5', 'type'),
    ('{"type": "number"}', '1.5', 'true'), ('{"type": "number"}', '"1"', 'type'),
    ('{"type": ["string", "null"]}', 'null', 'true'), ('{"type": ["string", "null"]}', 'false', 'type'),
    ('{"type": "boolean"}', 'true', 'true'), ('{"type": "object"}', '[]', 'type'), ('{"type": "array"}', '{}', 'type'),
    ('{"const": {"a": [1, 2]}}', '{"a": [1.0, 2]}', 'true'), ('{"const": {"a": [1, 2]}}', '{"a": [2, 1]}', 'const'),
    ('{"enum": [1, "a", null]}', 'null', 'true'), ('{"enum": [1, "a", null]}', '"b"', 'enum'), ('{"enum": [false]}', '0', 'enum'),
    ('{"required": ["a"]}', '{"a": null}', 'true'), ('{"required": ["a"]}', '{"b": 1}', 'required'), ('{"required": ["a"]}', '"a"', 'true'),
    ('{"properties": {"a": {"type": "string"}}}', '{"a": "x", "b": 1}', 'true'),
    ('{"properties": {"a": {"type": "string"}}}', '{"a": 1}', 'type'),
    ('{"properties": {"a": true}, "additionalProperties": false}', '{"a": 1, "b": 2}', 'additionalProperties'),
    ('{"additionalProperties": {"type": "integer"}}', '{"b": "x"}', 'type'),
    ('{"patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": false}', '{"x-a": 1}', 'true'),
    ('{"patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": false}', '{"y": 1}', 'additionalProperties'),
    ('{"patternProperties": {"^x-": {"type": "integer"}}}', '{"x-a": "1"}', 'type'),
    ('{"propertyNames": {"maxLength": 2}}', '{"ab": 1}', 'true'), ('{"propertyNames": {"maxLength": 2}}', '{"abc": 1}', 'maxLength'),
    ('{"minProperties": 1}', '{}', 'minProperties'), ('{"maxProperties": 1}', '{"a": 1, "b": 2}', 'maxProperties'),
    ('{"items": {"type": "integer"}}', '[1, 2]', 'true'), ('{"items": {"type": "integer"}}', '[1, "2"]', 'type'),
    ('{"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}', '["a", 1]', 'true'),
    ('{"prefixItems": [{"type": "string"}], "items": false}', '["a", 1]', 'false'),
    ('{"minItems": 2}', '[1]', 'minItems'), ('{"maxItems": 1}', '[1, 2]', 'maxItems'),
    ('{"uniqueItems": true}', '[1, 2, {"a": 1}, {"a": 2}]', 'true'), ('{"uniqueItems": true}', '[{"a": 1}, 2, {"a": 1.0}]', 'uniqueItems'),
    ('{"uniqueItems": true}', '[1, true, "1"]', 'true'),
    ('{"minLength": 2}', '"ж"', 'minLength'), ('{"maxLength": 2}', '"жук"', 'maxLength'), ('{"maxLength": 3}', '"жук"', 'true'),
    ('{"pattern": "^[A-Z]{3}$"}', '"RUB"', 'true'), ('{"pattern": "^[A-Z]{3}$"}', '"rub"', 'pattern'), ('{"pattern": "b"}', '"abc"', 'true'),
    ('{"minimum": 0}', '0', 'true'), ('{"minimum": 0}', '-0.0001', 'minimum'), ('{"maximum": 9007199254740993}', '9007199254740994', 'maximum'),
    ('{"exclusiveMinimum": 0}', '0', 'exclusiveMinimum'), ('{"exclusiveMaximum": 1}', '0.999', 'true'), ('{"exclusiveMaximum": 1}', '1', 'exclusiveMaximum'),
    ('{"multipleOf": 0.01}', '19.99', 'true'), ('{"multipleOf": 0.01}', '19.995', 'multipleOf'), ('{"multipleOf": 3}', '"x"', 'true'),
    ('{"allOf": [{"minimum": 1}, {"maximum": 2}]}', '3', 'maximum'),
    ('{"anyOf": [{"type": "string"}, {"minimum": 2}]}', '3', 'true'), ('{"anyOf": [{"type": "string"}, {"minimum": 2}]}', '1', 'anyOf'),
    ('{"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}', '4', 'true'), ('{"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}', '6', 'oneOf'),
    ('{"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}', '5', 'oneOf'),
    ('{"not": {"type": "null"}}', '1', 'true'), ('{"not": {"type": "null"}}', 'null', 'not'),
    ('{"if": {"properties": {"k": {"const": "card"}}, "required": ["k"]}, "then": {"required": ["pan"]}, "else": {"required": ["iban"]}}', '{"k": "card", "pan": 1}', 'true'),
    ('{"if": {"properties": {"k": {"const": "card"}}, "required": ["k"]}, "then": {"required": ["pan"]}, "else": {"required": ["iban"]}}', '{"k": "card"}', 'required'),
    ('{"if": {"properties": {"k": {"const": "card"}}, "required": ["k"]}, "then": {"required": ["pan"]}, "else": {"required": ["iban"]}}', '{"k": "x"}', 'required'),
    ('{"$defs": {"money": {"type": "integer", "minimum": 0}}, "properties": {"amount": {"$ref": "#/$defs/money"}}}', '{"amount": -1}', 'minimum'),
    ('{"$defs": {"a/b~c": {"type": "integer"}}, "$ref": "#/$defs/a~1b~0c"}', '"x"', 'type'),
    ('{"properties": {"next": {"$ref": "#"}, "v": {"type": "integer"}}}', '{"next": {"next": {"v": "x"}}}', 'type'),
    ('{"properties": {"next": {"$ref": "#"}, "v": {"type": "integer"}}}', '{"next": {"next": {"v": 1}}}', 'true'),
    ('{"format": "uuid"}', '"018f0000-0000-7000-8000-000000000001"', 'true'), ('{"format": "uuid"}', '"018f"', 'format'),
    ('{"format": "date"}', '"2024-02-29"', 'true'), ('{"format": "date"}', '"2023-02-29"', 'format'),
    ('{"format": "date-time"}', '"2024-01-01T00:00:00.5+03:00"', 'true'), ('{"format": "date-time"}', '"2024-01-01 00:00:00Z"', 'format'),
    ('{"format": "email"}', '"a.b+c@example.com"', 'true'), ('{"format": "email"}', '"a@b@"', 'format'), ('{"format": "email"}', '5', 'true'),
    ('{"format": "phone"}', '"anything"', 'true'),
    ('{"title": "t", "description": "d", "$comment": "c", "default": 1, "examples": [], "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:x"}', '1', 'true');

CREATE TEMP TABLE bad_schemas (schema jsonb, what text);
INSERT INTO bad_schemas VALUES
    ('{"minimun": 1}', 'keyword "minimun" at #: not supported'),
    ('{"properties": {"a": {"contains": true}}}', 'keyword "contains" at #/properties/a: not supported'),
    ('{"unevaluatedProperties": false}', 'keyword "unevaluatedProperties" at #'),
    ('{"type": "text"}', 'keyword "type" at #: expected'), ('{"type": []}', 'keyword "type"'), ('{"type": 1}', 'keyword "type"'),
    ('{"minLength": -1}', 'keyword "minLength"'), ('{"minLength": 1.5}', 'keyword "minLength"'), ('{"maxItems": "1"}', 'keyword "maxItems"'),
    ('{"multipleOf": 0}', 'keyword "multipleOf"'), ('{"minimum": "0"}', 'keyword "minimum"'),
    ('{"required": "a"}', 'keyword "required"'), ('{"required": [1]}', 'keyword "required"'),
    ('{"enum": 1}', 'keyword "enum"'), ('{"anyOf": []}', 'keyword "anyOf"'), ('{"items": [{}]}', 'a schema is an object, true or false'),
    ('{"properties": {"a": 1}}', 'a schema is an object, true or false'), ('5', 'a schema is an object, true or false'),
    ('{"$ref": "https://example.com/x"}', 'keyword "$ref"'), ('{"$ref": "#/$defs/none"}', 'no schema stands there'),
    ('{"$schema": "http://json-schema.org/draft-07/schema#"}', 'keyword "$schema"'),
    ('{"properties": {"a": {"$id": "x"}}}', 'keyword "$id" at #/properties/a'),
    ('{"pattern": 5}', 'keyword "pattern"'), ('{"uniqueItems": 1}', 'keyword "uniqueItems"');

CREATE FUNCTION pg_temp.answer(schema jsonb, payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM events.define_schema('s', NULL, schema);
    PERFORM events.check_payload('s', 'x', payload);
    RETURN 'true';
EXCEPTION WHEN SQLSTATE 'PT422' THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN substring(detail FROM 'at "[^"]*": ([A-Za-z$]+) \(');
END $$;
CREATE FUNCTION pg_temp.detail(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    EXECUTE sql;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || detail;
END $$;

SELECT plan((SELECT count(*) FROM cases)::int + (SELECT count(*) FROM bad_schemas)::int + 14);
SELECT is(pg_temp.answer(schema, payload), answer, format('%s with %s', schema, payload)) FROM cases;
SELECT matches(pg_temp.detail(format('SELECT events.define_schema(''s'', NULL, %L)', schema)), '^22023 invalid_schema: .*' || regexp_replace(what, '([$/#.*()\[\]])', '\\\1', 'g'),
               format('%s is refused', schema)) FROM bad_schemas;
SELECT throws_ok($$SELECT events.define_schema('s', NULL, '{"pattern": "("}')$$, '2201B', NULL, 'a pattern that is no regular expression is refused');

-- the error names the place, and never prints the payload
SELECT events.define_schema('s', 'order', '{"properties": {"lines": {"items": {"properties": {"pan": {"maxLength": 4}}}}}}');
SELECT events.define_schema('s', NULL, '{"required": ["lines"]}');
SELECT is(pg_temp.detail($$SELECT events.check_payload('s', 'order', '{"lines": [{}, {"pan": "4111111111111111"}]}')$$),
          'PT422 schema_violation: event type "order", at "/lines/1/pan": maxLength (#/properties/lines/items/properties/pan): expected at most 4 characters, found a longer string',
          'pointer, keyword, expected, found');
SELECT doesnt_match(pg_temp.detail($$SELECT events.check_payload('s', 'order', '{"lines": [{"pan": "4111111111111111"}]}')$$), '4111', 'no values of the payload');
SELECT is(pg_temp.detail($$SELECT events.check_payload('s', 'order', '{}')$$),
          'PT422 schema_violation: event type "order", at "": required (#): expected property "lines", found nothing', 'the schema of all types holds besides the type''s own');
SELECT lives_ok($$SELECT events.check_payload('s', 'other', '{"lines": [{"pan": "4111111111111111"}]}')$$, 'the schema of one type does not hold for others');
SELECT throws_ok($$SELECT events.emit('s', NULL, 'order', '{}')$$, 'PT422', NULL, 'emit refuses');
SELECT events.define_schema('s', 'order', NULL);
SELECT events.define_schema('s', NULL, NULL);
SELECT lives_ok($$SELECT events.check_payload('s', 'order', '{}')$$, 'a removed schema is gone');

-- limits
SELECT events.define_schema('s', NULL, '{"items": {"$ref": "#"}}');
SELECT lives_ok(format('SELECT events.check_payload(''s'', ''x'', %L)', repeat('[', 100) || repeat(']', 100)), 'a hundred levels are checked');
SELECT matches(pg_temp.detail(format('SELECT events.check_payload(''s'', ''x'', %L)', repeat('[', 500) || repeat(']', 500))), '^22023 schema_too_deep', 'five hundred are refused');
SELECT events.define_schema('s', NULL, '{"$ref": "#"}');
SELECT matches(pg_temp.detail($$SELECT events.check_payload('s', 'x', '1')$$), '^22023 schema_too_deep', 'a reference to itself ends');
SELECT matches(pg_temp.detail(format('SELECT events.define_schema(''s'', NULL, %L)', repeat('{"not": ', 100) || 'true' || repeat('}', 100))), 'nested too deep', 'so do schemas');
SELECT events.define_schema('s', NULL, '{"uniqueItems": true}');
SELECT lives_ok($$SELECT events.check_payload('s', 'x', (SELECT jsonb_agg(i) FROM generate_series(1, 100000) i))$$, 'unique elements of a long array');

SELECT events.define_schema('s', NULL, '{"properties": {"c": {"oneOf": [{"$ref": "#"}, {"$ref": "#"}]}}}');
SET LOCAL statement_timeout = '20s';
SELECT matches(pg_temp.detail(format('SELECT events.check_payload(''s'', ''x'', %L)', repeat('{"c": ', 60) || '1' || repeat('}', 60))), '^22023 schema_too_costly',
    'branches that double the work with each level come to an end');
SET LOCAL statement_timeout = 0;
SELECT events.define_schema('s', NULL, ('{"required": ["' || repeat('x', 99) || 'é"]}')::jsonb);
SELECT lives_ok($$SELECT convert_from(convert_to(pg_temp.detail(format('SELECT events.check_payload(''s'', %L, ''{}'')', repeat('x', 63) || 'é')), 'UTF8'), 'UTF8')$$,
    'texts of errors are cut between characters');

SELECT * FROM finish();
ROLLBACK;
