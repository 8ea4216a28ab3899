-- What must be the same before and after an update, one (name, value) each.
SELECT 'pools', string_agg(concat_ws(' ', pool, state, created, available, reserved, issued, terminal, outstanding_minor), ', ' ORDER BY pool) FROM certificates.pool_status
UNION ALL SELECT 'conservation', sum(difference)::text FROM certificates.conservation
UNION ALL SELECT 'certificates', md5(string_agg(concat_ws(' ', id, pool_id, slot_no, state, version, balance_minor, held_minor, order_ref, code_index, hold_until), E'\n' ORDER BY id)) FROM certificates.certificates
UNION ALL SELECT 'redemptions', md5(string_agg(concat_ws(' ', id, certificate_id, state, amount_minor), E'\n' ORDER BY id)) FROM certificates.redemptions
UNION ALL SELECT 'orders', string_agg(order_ref || ' ' || state, ', ' ORDER BY order_ref) FROM certificates.orders
UNION ALL SELECT 'events', count(*) || ' ' || md5(string_agg(concat_ws(' ', id, key, type, payload), E'\n')) FROM events.read(NULL, 100000)
UNION ALL SELECT 'consumers', string_agg(concat_ws(' ', consumer, shard, position = '0:0:0'), ', ' ORDER BY consumer, shard) FROM events.cursors WHERE consumer = 'upgrade-consumer'
UNION ALL SELECT 'parked', string_agg(concat_ws(' ', consumer, id, reason, state, attempts), ', ') FROM events.parked
UNION ALL SELECT 'users', string_agg(email || ' ' || state, ', ' ORDER BY email) FROM access.users
UNION ALL SELECT 'roles', md5(string_agg(concat_ws(' ', organization_id, name, permissions), E'\n' ORDER BY organization_id, name)) FROM access.roles
