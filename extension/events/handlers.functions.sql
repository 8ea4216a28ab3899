CREATE OR REPLACE FUNCTION events.subscribe(name text, topics text[], handler regprocedure, max_attempts int DEFAULT 10,
                                            start text DEFAULT 'latest', role regrole DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_subscribe';
COMMENT ON FUNCTION events.subscribe(text, text[], regprocedure, int, text, regrole) IS
'Has the dispatcher call handler(events.event) once for each event of the topics, in order per key; its effects and its position commit together. start, for a new subscription: latest, earliest or a position; max_attempts: 1 to 1000, then the event is parked; role: what the handler runs as, one the caller is a member of, never a superuser (NULL: the caller; for a superuser backoffice_service). What it returns is ignored. The same name again changes topics, handler, max_attempts and role and keeps the position. Permission: backoffice_service, backoffice_admin. Errors: invalid_subscription, invalid_handler, superuser_handler, unknown_topic, not_a_handler.';
GRANT EXECUTE ON FUNCTION events.subscribe(text, text[], regprocedure, int, text, regrole) TO backoffice_service, backoffice_admin;

CREATE OR REPLACE FUNCTION events.unsubscribe(name text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_unsubscribe';
COMMENT ON FUNCTION events.unsubscribe(text) IS
'Ends a subscription: its position and what it set aside are forgotten. Waits for a batch under way. Returns false if there is none. Permission: members of its role, backoffice_admin.';
GRANT EXECUTE ON FUNCTION events.unsubscribe(text) TO backoffice_service, backoffice_admin;

CREATE OR REPLACE FUNCTION events.pause(name text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_pause';
COMMENT ON FUNCTION events.pause(text) IS
'Stops calling a handler until events.resume(); its events stay in the log. Returns false if there is no such subscription. Permission: members of its role, backoffice_admin.';
GRANT EXECUTE ON FUNCTION events.pause(text) TO backoffice_service, backoffice_admin;

CREATE OR REPLACE FUNCTION events.resume(name text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_resume';
COMMENT ON FUNCTION events.resume(text) IS
'Calls a paused handler again, from where it was. Returns false if there is no such subscription. Permission: members of its role, backoffice_admin.';
GRANT EXECUTE ON FUNCTION events.resume(text) TO backoffice_service, backoffice_admin;

CREATE OR REPLACE VIEW events.handlers WITH (security_invoker = true) AS
    SELECT s.name, r.topics, s.handler, s.role, s.max_attempts,
           CASE WHEN s.paused THEN 'paused' ELSE 'active' END AS state,
           c.position, s.last_error, s.last_error_at
    FROM events.subscriptions s
    JOIN events.registered_consumers r ON r.name = s.name
    JOIN events.cursors c ON c.consumer = s.name;
COMMENT ON VIEW events.handlers IS
'In-database handlers: state active or paused; last_error: why the dispatcher last could not go on as a whole (an event''s own error stands in events.parked). Permission: backoffice_admin, backoffice_service.';
GRANT SELECT ON events.handlers, events.registered_consumers, events.cursors TO backoffice_admin, backoffice_service;

CREATE OR REPLACE FUNCTION events.seek(consumer text, "position" events.position) RETURNS int
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_seek';
COMMENT ON FUNCTION events.seek(text, events.position) IS
'Moves a consumer, thin worker or handler, to a position, also backwards: what lies between comes again. ''0:0:0'' is the beginning of the log. Fences go up, so a thin worker learns of it. What is parked stays parked. Returns the number of shards moved. Permission: backoffice_admin. Errors: unknown_consumer, position_ahead.';
GRANT EXECUTE ON FUNCTION events.seek(text, events.position) TO backoffice_admin;

CREATE OR REPLACE FUNCTION events.seek(consumer text, since timestamptz) RETURNS int
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_seek_time';
COMMENT ON FUNCTION events.seek(text, timestamptz) IS
'Moves a consumer so that it reads everything that became readable at or after that time. Otherwise as seek(consumer, position). Permission: backoffice_admin. Errors: unknown_consumer.';
GRANT EXECUTE ON FUNCTION events.seek(text, timestamptz) TO backoffice_admin;

CREATE OR REPLACE FUNCTION events.seek(consumer text, target text) RETURNS int
    LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS
$$ SELECT CASE WHEN target ~ '^[0-9a-fA-F]+:[0-9]+:[0-9]+$' THEN events.seek(consumer, target::events.position)
               ELSE events.seek(consumer, target::timestamptz) END $$;
COMMENT ON FUNCTION events.seek(text, text) IS
'events.seek() to what a text without a type says: a position, as events.read() shows it, or else a time. Returns the number of shards moved. Permission: backoffice_admin. Errors: unknown_consumer, position_ahead.';
GRANT EXECUTE ON FUNCTION events.seek(text, text) TO backoffice_admin;
