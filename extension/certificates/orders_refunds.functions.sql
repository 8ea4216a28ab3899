-- certificates: refunds of orders: which units one is for, and taking them back. (After orders.functions.sql, whose reconcile_order() calls apply_refunds().)

-- The units that one refund is for, or what is missing to know them.
CREATE OR REPLACE FUNCTION certificates.match_refund(o certificates.orders, p certificates.payments, OUT units certificates.order_units[], OUT missing text, OUT detail text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    all_units certificates.order_units[];
    money record := certificates.order_money(o);
    kept numeric := money.captured - money.refunded - p.amount_minor;
    wanted_ids uuid[] := ARRAY(SELECT v::uuid FROM jsonb_array_elements_text(coalesce(p.details -> 'certificateIds', '[]')) v);
    wanted_lines text[] := ARRAY(SELECT jsonb_array_elements_text(coalesce(p.details -> 'lineIds', '[]')));
    amount numeric;
BEGIN
    IF o.lines_version = 0 THEN
        missing := 'order';
        RETURN;
    END IF;
    IF o.currency IS DISTINCT FROM p.currency THEN
        missing := 'currency';
        detail := format('the order is in %s', o.currency);
        RETURN;
    END IF;
    SELECT array_agg(x ORDER BY x.line_id, x.unit) INTO all_units FROM certificates.order_units x
    WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state <> 'refunded';

    -- What replaced a unit's certificate, perhaps more than once, stands for it.
    IF EXISTS (SELECT FROM unnest(wanted_ids) w WHERE w NOT IN (SELECT x.certificate_id FROM unnest(all_units) x WHERE x.certificate_id IS NOT NULL)) THEN
        WITH RECURSIVE heirs (certificate_id, id) AS (
            SELECT c.id, c.replaced_by FROM unnest(all_units) x JOIN certificates.certificates c ON c.organization_id = x.organization_id AND c.id = x.certificate_id
            WHERE c.replaced_by IS NOT NULL
            UNION ALL SELECT h.certificate_id, c.replaced_by FROM heirs h JOIN certificates.certificates c ON c.organization_id = o.organization_id AND c.id = h.id
            WHERE c.replaced_by IS NOT NULL)
        SELECT array_agg(coalesce(h.certificate_id, w)) INTO wanted_ids FROM unnest(wanted_ids) w LEFT JOIN heirs h ON h.id = w;
    END IF;
    IF wanted_ids <> '{}' OR wanted_lines <> '{}' THEN
        SELECT array_agg(x ORDER BY x.line_id, x.unit) INTO units FROM unnest(all_units) x
        WHERE x.line_id = ANY (wanted_lines) OR x.certificate_id = ANY (wanted_ids)
           OR (x.unit = 1 AND x.line_id IN (SELECT l.line_id FROM certificates.order_lines l WHERE l.organization_id = o.organization_id
                        AND l.order_ref = o.order_ref AND l.certificate_id = ANY (wanted_ids)));
        SELECT string_agg(w::text, ', ') INTO detail FROM unnest(wanted_ids) w
        WHERE w NOT IN (SELECT x.certificate_id FROM unnest(units) x WHERE x.certificate_id IS NOT NULL)
          AND NOT EXISTS (SELECT FROM certificates.order_lines l WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND l.certificate_id = w);
        IF detail IS NOT NULL THEN
            missing := 'certificates';
            detail := 'not of this order: ' || detail;
            RETURN;
        END IF;
        -- Lines of other goods count with their amount, once, and concern no certificate.
        amount := (SELECT coalesce(sum(x.amount_minor), 0) FROM unnest(units) x)
            + (SELECT coalesce(sum(l.amount_minor), 0) FROM certificates.order_lines l
               WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND l.line_id = ANY (wanted_lines)
                 AND l.pool IS NULL AND l.certificate_id IS NULL AND NOT certificates.goods_refunded(l));
        IF amount <> p.amount_minor THEN
            missing := 'amount';
            detail := format('the named certificates and lines cost %s', amount);
        END IF;
    ELSIF kept < 0 AND NOT o.cancelled THEN
        missing := 'capture';
        detail := format('captured and not refunded yet are %s', money.captured - money.refunded);
    ELSIF kept >= money.due AND NOT o.cancelled THEN
        -- What is kept still pays for the order (it was corrected, or paid twice): the rest goes back, and no certificate with it.
        units := NULL;
    ELSIF kept = 0 OR p.amount_minor = money.due THEN
        units := all_units;
    ELSIF o.cancelled THEN
        -- Its certificates are taken back already; how much of the money returns is the retailer's affair.
        units := NULL;
    ELSE
        missing := 'certificates';
        detail := format('the refund is a part of what remains (%s), and does not say of which certificates', money.due);
    END IF;
END $$;
COMMENT ON FUNCTION certificates.match_refund(certificates.orders, certificates.payments) IS
'Which units of an order a refund is for; missing: what is not known yet (order, currency, certificates, amount, capture). Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.match_refund(certificates.orders, certificates.payments) TO backoffice_definer;

-- One refund: its certificates are taken back, all or none; or it is recorded what is missing.
CREATE OR REPLACE FUNCTION certificates.apply_refund(o certificates.orders, p certificates.payments) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m record;
    u certificates.order_units;
    c certificates.certificates;
    used uuid[];
    named uuid[];
BEGIN
    m := certificates.match_refund(o, p);
    IF m.missing IS NULL THEN
        -- Locked, so that nobody takes money from one between this look and the end of the others.
        FOREACH u IN ARRAY coalesce(m.units, '{}') LOOP
            CONTINUE WHEN u.certificate_id IS NULL;
            -- What a cancelled unit had may be somebody else's by now.
            IF u.state = 'cancelled' THEN
                named := named || u.certificate_id;
                CONTINUE;
            END IF;
            c := certificates.lock_heir(u.certificate_id);
            named := named || c.id;
            IF u.state IN ('issued', 'used') AND c.state NOT IN ('refunded', 'voided') AND NOT certificates.is_untouched(c) THEN
                used := used || c.id;
            END IF;
        END LOOP;
        IF used IS NOT NULL THEN
            m.missing := 'unused';
            m.detail := 'used: ' || array_to_string(used, ', ');
        END IF;
    END IF;
    IF m.missing IS NOT NULL THEN
        INSERT INTO certificates.pending_refunds AS r (organization_id, payment_ref, order_ref, amount_minor, currency, missing, detail)
        VALUES (o.organization_id, p.payment_ref, o.order_ref, p.amount_minor, p.currency, m.missing, m.detail)
        ON CONFLICT (organization_id, payment_ref) DO UPDATE SET missing = EXCLUDED.missing, detail = EXCLUDED.detail
            WHERE (r.missing, r.detail) IS DISTINCT FROM (EXCLUDED.missing, EXCLUDED.detail);
        IF FOUND THEN
            PERFORM certificates.emit(certificates.order_key(o.order_ref), 'refund.pendingDetails', o.channel, 'pending',
                jsonb_build_object('orderRef', o.order_ref, 'paymentRef', p.payment_ref, 'amountMinor', p.amount_minor, 'currency', p.currency,
                                   'missing', m.missing, 'detail', m.detail));
        END IF;
        RETURN false;
    END IF;
    FOREACH u IN ARRAY coalesce(m.units, '{}') LOOP
        PERFORM certificates.undo_unit(u, 'refunded', 'refunded by payment ' || p.payment_ref);
    END LOOP;
    UPDATE certificates.payments x SET applied_at = backoffice.now() WHERE x.organization_id = o.organization_id AND x.payment_ref = p.payment_ref;
    UPDATE certificates.pending_refunds r SET resolved_at = backoffice.now()
    WHERE r.organization_id = o.organization_id AND r.payment_ref = p.payment_ref;
    PERFORM certificates.emit(certificates.order_key(o.order_ref), 'refund', o.channel, 'completed',
        jsonb_build_object('orderRef', o.order_ref, 'paymentRef', p.payment_ref, 'amountMinor', p.amount_minor, 'currency', p.currency,
            'certificateIds', coalesce(named, '{}')));
    RETURN true;
END $$;
COMMENT ON FUNCTION certificates.apply_refund(certificates.orders, certificates.payments) IS
'Takes back what a refund paid back, emitting refund; or records what is missing, emitting refund.pendingDetails. True: done. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.apply_refund(certificates.orders, certificates.payments) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.apply_refunds(o certificates.orders) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p certificates.payments;
    progress boolean := true;
BEGIN
    -- One refund's effect may be what another waited for. Those that name what they are for go first.
    WHILE progress LOOP
        progress := false;
        FOR p IN
            SELECT * FROM certificates.payments x
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.type = 'refund' AND x.status = 'succeeded' AND x.applied_at IS NULL
            ORDER BY x.details IS NULL, x.payment_ref
        LOOP
            progress := certificates.apply_refund(o, p) OR progress;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION certificates.apply_refunds(certificates.orders) IS 'Applies every refund of an order that can be. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.apply_refunds(certificates.orders) TO backoffice_definer;
