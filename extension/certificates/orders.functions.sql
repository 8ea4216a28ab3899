-- certificates: the order flow.
--
-- Orders, payments and clients arrive in any order, twice, late, corrected. So nothing is done "on" a message: each is stored
-- as the newest word on its order or payment, and then certificates.reconcile_order() moves the order's units (the single
-- certificates it asks for) to what all that is known says they should be. It runs again whenever something is learned, and
-- running it twice changes nothing. Everything happens under the lock on the order's row.
--
-- PL/pgSQL by exception: this is a decision tree over rows, run by the dispatcher, off the hot path.

-- An alert or error on the stream, once per order and kind.
CREATE OR REPLACE FUNCTION certificates.order_alert(order_ref text, kind text, status text, detail jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    alerting_channel text;
BEGIN
    UPDATE certificates.orders o SET alerts = o.alerts || (order_alert.kind || ':' || order_alert.status)
    WHERE o.organization_id = backoffice.current_organization() AND o.order_ref = order_alert.order_ref
      AND (order_alert.kind || ':' || order_alert.status) <> ALL (o.alerts)
    RETURNING o.channel INTO alerting_channel;
    IF FOUND THEN
        PERFORM certificates.emit(certificates.order_key(order_alert.order_ref), order_alert.kind, alerting_channel, order_alert.status,
                                  jsonb_build_object('orderRef', order_alert.order_ref) || coalesce(order_alert.detail, '{}'));
    END IF;
END $$;
COMMENT ON FUNCTION certificates.order_alert(text, text, text, jsonb) IS
'Emits an alert or error about an order, each status once per order. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.order_alert(text, text, text, jsonb) TO backoffice_definer;

-- Events that concern an order and no single certificate need a key that is the same for all of them.
CREATE OR REPLACE FUNCTION certificates.order_key(order_ref text) RETURNS uuid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT md5(coalesce(backoffice.current_organization()::text, '') || ':' || coalesce(order_ref, ''))::uuid $$;
COMMENT ON FUNCTION certificates.order_key(text) IS
'The key under which events about an order as a whole are emitted. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.order_key(text) TO backoffice_definer;

-- The order's row, locked; made when this is the first word of it.
CREATE OR REPLACE FUNCTION certificates.lock_order(order_ref text) RETURNS certificates.orders
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    o certificates.orders;
BEGIN
    INSERT INTO certificates.orders (organization_id, order_ref) VALUES (backoffice.current_organization(), lock_order.order_ref)
    ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT o FROM certificates.orders x
    WHERE x.organization_id = backoffice.current_organization() AND x.order_ref = lock_order.order_ref FOR UPDATE;
    RETURN o;
END $$;
COMMENT ON FUNCTION certificates.lock_order(text) IS 'An order''s row, locked, made when it is new. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.lock_order(text) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.store_client(message jsonb) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO certificates.clients AS c (organization_id, client_ref, client_version, contacts)
    VALUES (backoffice.current_organization(), message ->> 'clientId', coalesce((message ->> 'version')::numeric::bigint, 1), coalesce(message -> 'contacts', '{}'))
    ON CONFLICT (organization_id, client_ref) DO UPDATE
        SET client_version = EXCLUDED.client_version, contacts = EXCLUDED.contacts, updated_at = backoffice.now()
        WHERE c.client_version <= EXCLUDED.client_version
$$;
COMMENT ON FUNCTION certificates.store_client(jsonb) IS 'Stores what All_Clients says, unless a newer version is known. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.store_client(jsonb) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.store_order(message jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    org uuid := backoffice.current_organization();
    ref text := message ->> 'orderId';
    o certificates.orders := certificates.lock_order(message ->> 'orderId');
    currencies text[];
    told bigint := (message ->> 'version')::numeric::bigint;
    has_lines boolean := message ->> 'status' <> 'cancelled' OR message -> 'lines' <> '[]';
BEGIN
    -- Duplicates, and what was overtaken by a newer version; but a cancellation that came without lines still wants them.
    IF told <= o.lines_version OR told <= o.order_version AND NOT (o.cancelled AND has_lines) THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(DISTINCT l #>> '{amount,currency}') INTO currencies FROM jsonb_array_elements(message -> 'lines') l;
    IF cardinality(currencies) > 1 THEN
        PERFORM backoffice.raise('PT422', 'mixed_currencies', 'an order has one currency', array_to_string(currencies, ', '));
    END IF;
    IF told > o.order_version THEN
        UPDATE certificates.orders x SET order_version = told, cancelled = message ->> 'status' = 'cancelled', channel = message ->> 'channel',
               client_ref = coalesce(message #>> '{customer,clientId}', x.client_ref)
        WHERE x.organization_id = org AND x.order_ref = ref;
    END IF;
    IF has_lines THEN
        UPDATE certificates.orders x SET lines_version = told, currency = coalesce(currencies[1], x.currency), updated_at = backoffice.now(),
               total_minor = (SELECT coalesce(sum((l #>> '{amount,minor}')::numeric::bigint), 0) FROM jsonb_array_elements(message -> 'lines') l)
        WHERE x.organization_id = org AND x.order_ref = ref;
        DELETE FROM certificates.order_lines x WHERE x.organization_id = org AND x.order_ref = ref;
        INSERT INTO certificates.order_lines (organization_id, order_ref, line_id, pool, certificate_id, quantity, amount_minor)
        SELECT org, ref, l ->> 'lineId', l ->> 'pool', (l ->> 'certificateId')::uuid, coalesce((l ->> 'quantity')::numeric::int, 1), (l #>> '{amount,minor}')::numeric::bigint
        FROM jsonb_array_elements(message -> 'lines') l;
    END IF;
    RETURN ref;
END $$;
COMMENT ON FUNCTION certificates.store_order(jsonb) IS
'Stores the newest version of an order. Returns its id, NULL when nothing was new. Errors: PT422 mixed_currencies. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.store_order(jsonb) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.store_payment(message jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    org uuid := backoffice.current_organization();
    ref text := message ->> 'orderId';
    p certificates.payments;
BEGIN
    PERFORM certificates.lock_order(ref);
    SELECT * INTO p FROM certificates.payments x WHERE x.organization_id = org AND x.payment_ref = message ->> 'paymentId' FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO certificates.payments (organization_id, payment_ref, order_ref, type, status, amount_minor, currency, details, occurred_at)
        VALUES (org, message ->> 'paymentId', ref, message ->> 'type', message ->> 'status', (message #>> '{amount,minor}')::numeric::bigint,
                message #>> '{amount,currency}', message -> 'refund', (message ->> 'occurredAt')::timestamptz);
    ELSIF p.order_ref <> ref OR p.type <> message ->> 'type' OR p.amount_minor <> (message #>> '{amount,minor}')::numeric::bigint
          OR p.currency <> message #>> '{amount,currency}' OR 'pending' NOT IN (p.status, message ->> 'status') AND p.status <> message ->> 'status' THEN
        PERFORM certificates.order_alert(ref, 'error', 'payment_conflict:' || p.payment_ref,
            jsonb_build_object('paymentRef', p.payment_ref, 'reason', 'a payment of that id came with another order, type, amount or final status before'));
        RETURN NULL;
    ELSE
        -- The same payment again: pending may become final, a refund may bring the details it lacked; nothing else changes.
        UPDATE certificates.payments x
        SET status = CASE WHEN x.status = 'pending' THEN message ->> 'status' ELSE x.status END,
            details = CASE WHEN x.applied_at IS NULL THEN coalesce(message -> 'refund', x.details) ELSE x.details END
        WHERE x.organization_id = org AND x.payment_ref = p.payment_ref;
    END IF;
    RETURN ref;
END $$;
COMMENT ON FUNCTION certificates.store_payment(jsonb) IS
'Stores a payment, or what is new about it. Returns its order''s id, NULL when it contradicts what is known. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.store_payment(jsonb) TO backoffice_definer;

-- What the order asks for, as units: new ones are added, those no longer asked for are cancelled.
CREATE OR REPLACE FUNCTION certificates.sync_units(o certificates.orders) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    u certificates.order_units;
BEGIN
    -- A line that is for another pool now gives up what it had, and wants it anew below.
    FOR u IN
        SELECT x.* FROM certificates.order_units x
        JOIN certificates.order_lines l ON l.organization_id = x.organization_id AND l.order_ref = x.order_ref AND l.line_id = x.line_id AND x.unit <= l.quantity
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state IN ('reserved', 'issued')
          -- Not a join: without statistics the planner would begin with all certificates of the pools.
          AND l.pool <> (SELECT p.code FROM certificates.pools p WHERE p.organization_id = x.organization_id
                         AND p.id = (SELECT c.pool_id FROM certificates.certificates c WHERE c.organization_id = x.organization_id AND c.id = x.certificate_id))
        ORDER BY x.line_id, x.unit
    LOOP
        PERFORM certificates.undo_unit(u, 'cancelled', 'the order was changed');
    END LOOP;
    INSERT INTO certificates.order_units AS x (organization_id, order_ref, line_id, unit, amount_minor)
    SELECT l.organization_id, l.order_ref, l.line_id, n,
           -- A line's amount in equal parts; the first unit carries the rest.
           l.amount_minor / l.quantity + CASE WHEN n = 1 THEN l.amount_minor % l.quantity ELSE 0 END
    FROM certificates.order_lines l, generate_series(1, l.quantity) n
    WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND (l.pool IS NOT NULL OR l.certificate_id IS NOT NULL)
    ON CONFLICT (organization_id, order_ref, line_id, unit) DO UPDATE
        SET amount_minor = EXCLUDED.amount_minor,
            state = CASE WHEN x.state = 'cancelled' AND NOT o.cancelled THEN 'wanted' ELSE x.state END,
            certificate_id = CASE WHEN x.state = 'cancelled' AND NOT o.cancelled THEN NULL ELSE x.certificate_id END;
    FOR u IN
        SELECT x.* FROM certificates.order_units x
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state NOT IN ('cancelled', 'refunded', 'used')
          AND (o.cancelled OR NOT EXISTS (
              SELECT FROM certificates.order_lines l
              WHERE l.organization_id = x.organization_id AND l.order_ref = x.order_ref AND l.line_id = x.line_id AND x.unit <= l.quantity
                AND (l.pool IS NOT NULL OR l.certificate_id IS NOT NULL)))
        ORDER BY x.line_id, x.unit
    LOOP
        PERFORM certificates.undo_unit(u, 'cancelled', 'the order was cancelled or changed');
    END LOOP;
END $$;
COMMENT ON FUNCTION certificates.sync_units(certificates.orders) IS
'Makes an order''s units those of its newest version. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.sync_units(certificates.orders) TO backoffice_definer;

-- What a unit's certificate was replaced by, if it was: the money is there.
CREATE OR REPLACE FUNCTION certificates.lock_heir(certificate uuid) RETURNS certificates.certificates
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c certificates.certificates;
    heir uuid := lock_heir.certificate;
BEGIN
    -- In the order of replace(): the old one first. One that was replaced never changes again.
    LOOP
        SELECT * INTO c FROM certificates.certificates x WHERE x.organization_id = backoffice.current_organization() AND x.id = heir FOR UPDATE;
        EXIT WHEN c.replaced_by IS NULL;
        heir := c.replaced_by;
    END LOOP;
    RETURN c;
END $$;
COMMENT ON FUNCTION certificates.lock_heir(uuid) IS
'A certificate, or the last of those that replaced it, locked. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.lock_heir(uuid) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.is_untouched(c certificates.certificates) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT c.state IN ('issued', 'active', 'blocked', 'expired') AND c.balance_minor = c.face_value_minor AND c.held_minor = 0 $$;
COMMENT ON FUNCTION certificates.is_untouched(certificates.certificates) IS
'Was it sold, and is all its money still there? Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.is_untouched(certificates.certificates) TO backoffice_definer;

-- Takes one unit back: false (state used) if money was taken from its certificate.
CREATE OR REPLACE FUNCTION certificates.undo_unit(u certificates.order_units, outcome text, reason text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c certificates.certificates;
BEGIN
    -- What a cancelled unit had may be somebody else's by now.
    IF u.certificate_id IS NOT NULL AND u.state <> 'cancelled' THEN
        c := certificates.lock_heir(u.certificate_id);
        IF c.state = 'reserved' AND u.state <> 'issued' AND c.order_ref = u.order_ref THEN
            PERFORM certificates.release(c.id);
        ELSIF u.state IN ('issued', 'used') AND certificates.is_untouched(c) THEN
            IF outcome = 'refunded' THEN
                PERFORM certificates.refund_purchase(c.id, reason);
            ELSE
                PERFORM certificates.void_purchase(c.id, reason);
            END IF;
        ELSIF u.state IN ('issued', 'used') AND c.state NOT IN ('refunded', 'voided') THEN
            UPDATE certificates.order_units x SET state = 'used'
            WHERE x.organization_id = u.organization_id AND x.order_ref = u.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
            PERFORM certificates.order_alert(u.order_ref, 'alert', 'certificate_used:' || c.id,
                jsonb_build_object('certificateId', c.id, 'certificateState', c.state, 'reason', reason));
            RETURN false;
        END IF;
    END IF;
    UPDATE certificates.order_units x SET state = outcome
    WHERE x.organization_id = u.organization_id AND x.order_ref = u.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
    RETURN true;
END $$;
COMMENT ON FUNCTION certificates.undo_unit(certificates.order_units, text, text) IS
'Takes one unit of an order back: releases its reservation, or undoes its purchase if the certificate is untouched. outcome: cancelled or refunded. False: it was used, and an alert was emitted. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.undo_unit(certificates.order_units, text, text) TO backoffice_definer;

-- A certificate whose hold lapsed went to the pool and came to somebody else: the unit that had it wants another one.
CREATE OR REPLACE FUNCTION certificates.drop_claims(certificate uuid, order_ref text, line_id text, unit int) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE certificates.order_units x SET certificate_id = NULL, state = 'wanted'
    WHERE x.organization_id = backoffice.current_organization() AND x.certificate_id = drop_claims.certificate AND x.state = 'reserved'
      AND (x.order_ref, x.line_id, x.unit) <> (drop_claims.order_ref, drop_claims.line_id, drop_claims.unit)
$$;
COMMENT ON FUNCTION certificates.drop_claims(uuid, text, text, int) IS
'Takes a certificate from the units that had it reserved before, all but this one. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.drop_claims(uuid, text, text, int) TO backoffice_definer;

-- Ties the certificates that an order names to it, where they are reserved and nobody else's.
CREATE OR REPLACE FUNCTION certificates.adopt_units(o certificates.orders) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    u record;
    c record;
    trouble text;
BEGIN
    FOR u IN
        SELECT x.*, l.certificate_id AS named, l.pool FROM certificates.order_units x
        JOIN certificates.order_lines l ON l.organization_id = x.organization_id AND l.order_ref = x.order_ref AND l.line_id = x.line_id
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND l.certificate_id IS NOT NULL
          AND x.unit = 1 AND x.state IN ('wanted', 'reserved', 'blocked') AND x.certificate_id IS DISTINCT FROM l.certificate_id
        ORDER BY l.certificate_id
    LOOP
        trouble := NULL;
        -- Without a pool of its own, the line is for the pool of the certificate it names.
        UPDATE certificates.order_lines l SET pool = p.code
        FROM certificates.certificates x JOIN certificates.pools p ON p.organization_id = x.organization_id AND p.id = x.pool_id
        WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND l.line_id = u.line_id AND l.pool IS NULL
          AND x.organization_id = o.organization_id AND x.id = u.named;
        SELECT x.id, x.state, x.order_ref, p.code AS pool INTO c
        FROM certificates.certificates x JOIN certificates.pools p ON p.organization_id = x.organization_id AND p.id = x.pool_id
        WHERE x.organization_id = o.organization_id AND x.id = u.named FOR UPDATE OF x;
        IF NOT FOUND THEN
            trouble := 'unknown_certificate';
        ELSIF c.pool <> u.pool THEN
            trouble := 'other_pool';
        ELSIF c.state = 'reserved' AND c.order_ref IS NOT NULL AND c.order_ref <> o.order_ref THEN
            trouble := 'certificate_of_another_order';
        ELSIF c.state NOT IN ('reserved', 'available') THEN
            trouble := 'certificate_not_reserved';
        END IF;
        IF trouble IS NOT NULL THEN
            -- It is told, and the order gets another certificate of the pool when it is paid.
            PERFORM certificates.order_alert(o.order_ref, 'alert', trouble || ':' || u.named,
                jsonb_build_object('certificateId', u.named, 'lineId', u.line_id));
        ELSIF c.state = 'reserved' THEN
            UPDATE certificates.certificates x SET order_ref = o.order_ref, order_line = u.line_id, client_ref = coalesce(o.client_ref, x.client_ref)
            WHERE x.organization_id = o.organization_id AND x.id = c.id;
            PERFORM certificates.drop_claims(c.id, o.order_ref, u.line_id, u.unit);
            -- The one that the line named before goes back, unless another line names it.
            PERFORM certificates.release(x.id) FROM certificates.certificates x
            WHERE x.organization_id = o.organization_id AND x.id = u.certificate_id AND x.state = 'reserved' AND x.order_ref = o.order_ref
              AND NOT EXISTS (SELECT FROM certificates.order_lines l WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND l.certificate_id = x.id);
            UPDATE certificates.order_units x SET certificate_id = c.id, state = 'reserved'
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION certificates.adopt_units(certificates.orders) IS
'Ties the reserved certificates that an order names to it. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.adopt_units(certificates.orders) TO backoffice_definer;

-- Issues the certificate of one paid unit, reserving one where it has none (any more). False: the pool is empty.
CREATE OR REPLACE FUNCTION certificates.issue_unit(o certificates.orders, u certificates.order_units, pool text, payment text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    certificate uuid;
    r certificates.reservation;
BEGIN
    IF u.certificate_id IS NOT NULL THEN
        SELECT x.id INTO certificate FROM certificates.certificates x
        WHERE x.organization_id = o.organization_id AND x.id = u.certificate_id AND x.state = 'reserved' AND x.order_ref = o.order_ref FOR UPDATE;
    END IF;
    IF certificate IS NULL THEN
        IF NOT EXISTS (SELECT FROM certificates.pools p WHERE p.organization_id = o.organization_id AND p.code = pool AND p.state NOT IN ('paused', 'closed')) THEN
            PERFORM certificates.order_alert(o.order_ref, 'alert', 'no_such_pool:' || coalesce(pool, u.line_id), jsonb_build_object('lineId', u.line_id, 'pool', pool));
            UPDATE certificates.order_units x SET state = 'blocked', certificate_id = NULL
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
            RETURN false;
        END IF;
        -- A blocked order asks again and again: it is told once (order_alert), not at each try.
        IF u.state = 'blocked' AND NOT EXISTS (
                SELECT FROM certificates.pools p WHERE p.organization_id = o.organization_id AND p.code = pool AND p.state IN ('open', 'low')) THEN
            RETURN false;
        END IF;
        r := certificates.reserve_next(pool => pool, channel => o.channel, order_ref => o.order_ref);
        certificate := r.id;
    END IF;
    IF certificate IS NULL THEN
        UPDATE certificates.order_units x SET state = 'blocked', certificate_id = NULL
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
        RETURN false;
    END IF;
    UPDATE certificates.certificates x SET state = 'issued', issued_at = backoffice.now(), hold_until = NULL,
           valid_until = coalesce(x.valid_until, backoffice.now() + p.validity),
           order_ref = o.order_ref, order_line = u.line_id, client_ref = coalesce(o.client_ref, x.client_ref), payment_ref = payment
    FROM certificates.pools p
    WHERE x.organization_id = o.organization_id AND x.id = certificate AND p.organization_id = x.organization_id AND p.id = x.pool_id;
    PERFORM certificates.drop_claims(certificate, o.order_ref, u.line_id, u.unit);
    UPDATE certificates.order_units x SET state = 'issued', certificate_id = certificate, payment_ref = payment
    WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
    PERFORM certificates.request_notification(certificate);
    RETURN true;
END $$;
COMMENT ON FUNCTION certificates.issue_unit(certificates.orders, certificates.order_units, text, text) IS
'Issues the certificate of one paid unit and asks CRM to notify the client; false: the pool has none, and the unit is blocked. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.issue_unit(certificates.orders, certificates.order_units, text, text) TO backoffice_definer;

-- Other goods have no unit that could say so.
CREATE OR REPLACE FUNCTION certificates.goods_refunded(l certificates.order_lines) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM certificates.payments x WHERE x.organization_id = l.organization_id AND x.order_ref = l.order_ref
                   AND x.type = 'refund' AND x.applied_at IS NOT NULL AND x.details -> 'lineIds' ? l.line_id)
$$;
COMMENT ON FUNCTION certificates.goods_refunded(certificates.order_lines) IS
'Did a refund name this line, and have its effect? Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.goods_refunded(certificates.order_lines) TO backoffice_definer;

-- What went back pays nothing, and what it went back for costs nothing: captured - refunded is to cover due.
CREATE OR REPLACE FUNCTION certificates.order_money(o certificates.orders, OUT captured numeric, OUT refunded numeric, OUT due numeric)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT coalesce(sum(p.amount_minor) FILTER (WHERE p.type = 'capture' AND p.status = 'succeeded'), 0),
           coalesce(sum(p.amount_minor) FILTER (WHERE p.type = 'refund' AND p.applied_at IS NOT NULL), 0)
    INTO captured, refunded
    FROM certificates.payments p WHERE p.organization_id = o.organization_id AND p.order_ref = o.order_ref AND p.currency = o.currency;
    due := o.total_minor
        - (SELECT coalesce(sum(u.amount_minor), 0) FROM certificates.order_units u
           JOIN certificates.order_lines l ON l.organization_id = u.organization_id AND l.order_ref = u.order_ref AND l.line_id = u.line_id AND u.unit <= l.quantity
           WHERE u.organization_id = o.organization_id AND u.order_ref = o.order_ref AND u.state = 'refunded'
             AND (l.pool IS NOT NULL OR l.certificate_id IS NOT NULL))
        - (SELECT coalesce(sum(l.amount_minor), 0) FROM certificates.order_lines l
           WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND l.pool IS NULL AND l.certificate_id IS NULL
             AND certificates.goods_refunded(l));
END $$;
COMMENT ON FUNCTION certificates.order_money(certificates.orders) IS
'The money of an order, in minor units: captured; refunded, by refunds that had their effect; due, what its lines cost, less what of them was refunded. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.order_money(certificates.orders) TO backoffice_definer;

-- What has to be told about the money of an order.
CREATE OR REPLACE FUNCTION certificates.watch_payments(o certificates.orders, waiting boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
    money record := certificates.order_money(o);
BEGIN
    FOR p IN
        SELECT * FROM certificates.payments x
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.type = 'capture' AND x.status = 'succeeded'
          AND x.currency <> o.currency
    LOOP
        PERFORM certificates.order_alert(o.order_ref, 'alert', 'payment_currency:' || p.payment_ref,
            jsonb_build_object('paymentRef', p.payment_ref, 'currency', p.currency, 'orderCurrency', o.currency));
    END LOOP;
    IF money.captured - money.refunded > money.due AND NOT o.cancelled THEN
        PERFORM certificates.order_alert(o.order_ref, 'alert', 'overpaid',
            jsonb_build_object('capturedMinor', money.captured, 'refundedMinor', money.refunded, 'totalMinor', o.total_minor, 'currency', o.currency));
    ELSIF waiting AND money.captured >= o.total_minor AND money.captured - money.refunded < money.due AND NOT o.cancelled THEN
        PERFORM certificates.order_alert(o.order_ref, 'alert', 'underpaid',
            jsonb_build_object('capturedMinor', money.captured, 'refundedMinor', money.refunded, 'totalMinor', o.total_minor, 'currency', o.currency,
                               'reason', 'what was captured was given back'));
    END IF;
    IF o.cancelled AND money.captured > (SELECT coalesce(sum(x.amount_minor), 0) FROM certificates.payments x
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.type = 'refund' AND x.status = 'succeeded') THEN
        PERFORM certificates.order_alert(o.order_ref, 'alert', 'refund_due',
            jsonb_build_object('capturedMinor', money.captured, 'currency', o.currency, 'reason', 'the order is cancelled, the money is not given back'));
    END IF;
END $$;
COMMENT ON FUNCTION certificates.watch_payments(certificates.orders, boolean) IS
'Alerts about the money of an order: another currency, too much, kept after a cancellation, or given back although certificates wait (waiting). Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.watch_payments(certificates.orders, boolean) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.reconcile_order(order_ref text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    o certificates.orders := certificates.lock_order(reconcile_order.order_ref);
    money record;
    waiting boolean;
    payment text;
    u certificates.order_units;
    outcome text := 'open';
BEGIN
    PERFORM certificates.sync_units(o);
    IF NOT o.cancelled THEN
        PERFORM certificates.adopt_units(o);
    END IF;
    PERFORM certificates.apply_refunds(o);

    money := certificates.order_money(o);
    waiting := EXISTS (SELECT FROM certificates.order_units x
                       WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state IN ('wanted', 'reserved', 'blocked'));
    SELECT max(p.payment_ref) INTO payment FROM certificates.payments p
    WHERE p.organization_id = o.organization_id AND p.order_ref = o.order_ref AND p.type = 'capture' AND p.status = 'succeeded' AND p.currency = o.currency;
    IF o.order_version > 0 THEN
        PERFORM certificates.watch_payments(o, waiting);
    END IF;
    IF o.order_version > 0 AND NOT o.cancelled
       AND (money.captured - money.refunded >= money.due OR NOT waiting AND money.captured >= o.total_minor) THEN
        outcome := 'fulfilled';
        FOR u IN
            SELECT * FROM certificates.order_units x
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state IN ('wanted', 'reserved', 'blocked')
            ORDER BY x.line_id, x.unit
        LOOP
            IF NOT certificates.issue_unit(o, u, (SELECT l.pool FROM certificates.order_lines l WHERE l.organization_id = o.organization_id
                                                    AND l.order_ref = o.order_ref AND l.line_id = u.line_id), payment) THEN
                outcome := 'blocked';
            END IF;
        END LOOP;
    END IF;
    IF o.order_version = 0 THEN
        outcome := 'expected';
    ELSIF o.cancelled THEN
        outcome := 'cancelled';
    ELSIF (SELECT count(*) > 0 AND bool_and(x.state = 'refunded') FROM certificates.order_units x
           WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state <> 'cancelled') THEN
        outcome := 'refunded';
    END IF;
    UPDATE certificates.orders x SET state = outcome, updated_at = backoffice.now()
    WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state <> outcome;
    RETURN outcome;
END $$;
COMMENT ON FUNCTION certificates.reconcile_order(text) IS
'Moves the certificates of an order to what its newest version and its payments say; running it again changes nothing. Returns the order''s state. Permission: the extension only; operators call certificates.retry_order().';
GRANT EXECUTE ON FUNCTION certificates.reconcile_order(text) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.retry_order(order_ref text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM access.require('certificates.issue');
    IF NOT EXISTS (SELECT FROM certificates.orders o WHERE o.organization_id = backoffice.current_organization() AND o.order_ref = retry_order.order_ref) THEN
        PERFORM backoffice.raise('PT404', 'order_not_found', 'there is no such order', retry_order.order_ref);
    END IF;
    RETURN certificates.reconcile_order(retry_order.order_ref);
END $$;
COMMENT ON FUNCTION certificates.retry_order(text) IS
'Looks at an order again, e.g. after a pool was filled (the keeper does that too). Returns the order''s state. Permission: certificates.issue. Errors: PT404 order_not_found.';
GRANT EXECUTE ON FUNCTION certificates.retry_order(text) TO backoffice_service, backoffice_definer;

-- May pass by itself: locks, serialization, resources, shutdown.
CREATE OR REPLACE FUNCTION certificates.is_passing(state text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT left(state, 2) IN ('40', '53', '55', '57', '58', 'XX') OR state = 'PT503' $$;
COMMENT ON FUNCTION certificates.is_passing(text) IS 'Is an error of this SQLSTATE worth trying again? Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.is_passing(text) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.tell_error(topic text, message jsonb, status text, state text, what text, detail text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT certificates.emit(certificates.order_key(coalesce(message ->> 'orderId', message ->> 'clientId')), 'error', message ->> 'channel', status,
        jsonb_build_object('topic', topic, 'orderRef', message ->> 'orderId', 'paymentRef', message ->> 'paymentId',
                           'sqlstate', state, 'error', what, 'detail', detail))
$$;
COMMENT ON FUNCTION certificates.tell_error(text, jsonb, text, text, text, text) IS
'Emits the error event for a message. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.tell_error(text, jsonb, text, text, text, text) TO backoffice_definer;

-- One message of a feed. What can't be understood is told on the stream and not raised, so that the feed goes on; what may
-- pass by itself is raised, and the dispatcher tries again. What was stored stays when the certificates can't follow it:
-- the order's next message or an operator (retry_order) has them try again.
CREATE OR REPLACE FUNCTION certificates.handle_message(topic text, message jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ref text;
    detail text;
BEGIN
    BEGIN
        CASE topic
            WHEN 'All_SalesOrder' THEN ref := certificates.store_order(message);
            WHEN 'All_Payments' THEN ref := certificates.store_payment(message);
            WHEN 'All_Clients' THEN PERFORM certificates.store_client(message);
            WHEN 'certificates.commands' THEN ref := message ->> 'orderId';
        END CASE;
    EXCEPTION WHEN OTHERS THEN
        IF certificates.is_passing(SQLSTATE) THEN
            RAISE;
        END IF;
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        PERFORM certificates.tell_error(topic, message, 'rejected', SQLSTATE, SQLERRM, detail);
        RETURN;
    END;
    IF ref IS NULL THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM certificates.reconcile_order(ref);
    EXCEPTION WHEN OTHERS THEN
        IF certificates.is_passing(SQLSTATE) THEN
            RAISE;
        END IF;
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        PERFORM certificates.tell_error(topic, message, 'not_applied', SQLSTATE, SQLERRM, detail);
    END;
END $$;
COMMENT ON FUNCTION certificates.handle_message(text, jsonb) IS
'Handles one message of All_SalesOrder, All_Payments, All_Clients or certificates.commands for the acting organization; what can''t be understood or done becomes an error event. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.handle_message(text, jsonb) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.on_event(event events.event) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF backoffice.current_organization() IS NULL THEN
        PERFORM backoffice.raise('22023', 'organization_required', 'a message of a feed belongs to an organization', event.topic || ' ' || event.id);
    END IF;
    PERFORM certificates.handle_message(event.topic, event.payload);
END $$;
COMMENT ON FUNCTION certificates.on_event(events.event) IS
'The order flow''s handler (subscription certificates.orders). Errors: 22023 organization_required. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.on_event(events.event) TO backoffice_definer;

-- The order flow uses the context's own functions as backoffice_definer.
GRANT EXECUTE ON FUNCTION certificates.reserve_next(text, text, text, text, interval) TO backoffice_definer;
GRANT EXECUTE ON FUNCTION certificates.release(uuid, text), certificates.request_notification(uuid) TO backoffice_definer;

SELECT events.subscribe('certificates.orders', ARRAY['All_SalesOrder', 'All_Payments', 'All_Clients', 'certificates.commands'],
                        'certificates.on_event(events.event)'::regprocedure, start => 'earliest', role => 'backoffice_definer');
