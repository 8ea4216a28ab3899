-- The type events.position. Its operators and min/max stand in pg_catalog, so that positions compare under any search_path
-- (functions that run with their owner's rights fix theirs to pg_catalog).
CREATE TYPE events.position;

CREATE FUNCTION events.position_in(cstring) RETURNS events.position
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_in';
COMMENT ON FUNCTION events.position_in(cstring) IS 'Input of events.position. Error: bad_position.';
CREATE FUNCTION events.position_out(events.position) RETURNS cstring
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_out';
COMMENT ON FUNCTION events.position_out(events.position) IS 'Output of events.position: epoch (hex):tick:seq.';
CREATE FUNCTION events.position_recv(internal) RETURNS events.position
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_recv';
COMMENT ON FUNCTION events.position_recv(internal) IS 'Binary input of events.position: epoch int4, tick int8, seq int8.';
CREATE FUNCTION events.position_send(events.position) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_send';
COMMENT ON FUNCTION events.position_send(events.position) IS 'Binary output of events.position: epoch int4, tick int8, seq int8.';

CREATE TYPE events.position (
    INPUT = events.position_in, OUTPUT = events.position_out, RECEIVE = events.position_recv, SEND = events.position_send,
    INTERNALLENGTH = 24, ALIGNMENT = double
);
COMMENT ON TYPE events.position IS
'A place in the event log, written epoch:tick:seq. Opaque to clients: store it as it is, compare it, pass it back. Ordered by tick, then seq.';

CREATE FUNCTION events.position_lt(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_lt';
CREATE FUNCTION events.position_le(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_le';
CREATE FUNCTION events.position_eq(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_eq';
CREATE FUNCTION events.position_ne(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_ne';
CREATE FUNCTION events.position_ge(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_ge';
CREATE FUNCTION events.position_gt(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_gt';
CREATE FUNCTION events.position_cmp(events.position, events.position) RETURNS int
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_cmp';
CREATE FUNCTION events.position_smaller(events.position, events.position) RETURNS events.position
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_smaller';
CREATE FUNCTION events.position_larger(events.position, events.position) RETURNS events.position
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_larger';
COMMENT ON FUNCTION events.position_lt(events.position, events.position) IS 'Operator <: the first stands earlier in the log.';
COMMENT ON FUNCTION events.position_le(events.position, events.position) IS 'Operator <=.';
COMMENT ON FUNCTION events.position_eq(events.position, events.position) IS 'Operator =.';
COMMENT ON FUNCTION events.position_ne(events.position, events.position) IS 'Operator <>.';
COMMENT ON FUNCTION events.position_ge(events.position, events.position) IS 'Operator >=.';
COMMENT ON FUNCTION events.position_gt(events.position, events.position) IS 'Operator >: the first stands later in the log.';
COMMENT ON FUNCTION events.position_cmp(events.position, events.position) IS 'Support function of the btree operator class.';
COMMENT ON FUNCTION events.position_smaller(events.position, events.position) IS 'The earlier of two positions.';
COMMENT ON FUNCTION events.position_larger(events.position, events.position) IS 'The later of two positions.';

CREATE OPERATOR pg_catalog.< (FUNCTION = events.position_lt, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR pg_catalog.<= (FUNCTION = events.position_le, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR pg_catalog.= (FUNCTION = events.position_eq, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>), RESTRICT = eqsel, JOIN = eqjoinsel, MERGES);
CREATE OPERATOR pg_catalog.<> (FUNCTION = events.position_ne, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR pg_catalog.>= (FUNCTION = events.position_ge, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<), RESTRICT = scalargesel, JOIN = scalargejoinsel);
CREATE OPERATOR pg_catalog.> (FUNCTION = events.position_gt, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=), RESTRICT = scalargtsel, JOIN = scalargtjoinsel);

CREATE OPERATOR CLASS events.position_ops DEFAULT FOR TYPE events.position USING btree AS
    OPERATOR 1 pg_catalog.<, OPERATOR 2 pg_catalog.<=, OPERATOR 3 pg_catalog.=, OPERATOR 4 pg_catalog.>=, OPERATOR 5 pg_catalog.>,
    FUNCTION 1 events.position_cmp(events.position, events.position);

CREATE AGGREGATE pg_catalog.min(events.position) (
    SFUNC = events.position_smaller, STYPE = events.position, SORTOP = OPERATOR(pg_catalog.<), PARALLEL = safe);
CREATE AGGREGATE pg_catalog.max(events.position) (
    SFUNC = events.position_larger, STYPE = events.position, SORTOP = OPERATOR(pg_catalog.>), PARALLEL = safe);
COMMENT ON AGGREGATE pg_catalog.min(events.position) IS 'The earliest position.';
COMMENT ON AGGREGATE pg_catalog.max(events.position) IS 'The latest position.';

GRANT EXECUTE ON FUNCTION events.position_in(cstring), events.position_out(events.position), events.position_recv(internal),
    events.position_send(events.position), events.position_lt(events.position, events.position),
    events.position_le(events.position, events.position), events.position_eq(events.position, events.position),
    events.position_ne(events.position, events.position), events.position_ge(events.position, events.position),
    events.position_gt(events.position, events.position), events.position_cmp(events.position, events.position),
    events.position_smaller(events.position, events.position), events.position_larger(events.position, events.position),
    pg_catalog.min(events.position), pg_catalog.max(events.position)
    TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;
