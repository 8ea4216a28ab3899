-- certificates: what the kernel set aside is told on the stream, where BI and support watch (C7).

CREATE OR REPLACE FUNCTION certificates.on_alert(event events.event) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT certificates.emit(md5((event).payload ->> 'topic')::uuid, 'alert', NULL, (event).type, (event).payload, (event).organization_id)
    WHERE (event).payload ->> 'topic' IN ('All_SalesOrder', 'All_Payments', 'All_Clients', 'GiftCertificates.Stream', 'certificates.commands')
      -- An alert that the relay cannot deliver is not told by another of its kind.
      AND (event).payload ->> 'eventType' IS DISTINCT FROM 'alert'
$$;
COMMENT ON FUNCTION certificates.on_alert(events.event) IS
'Tells alerts of the kernel (backoffice.alerts) that concern the topics of certificates on GiftCertificates.Stream: type alert, status inbound.parked, inbound.rewound or event.parked, payload as of the alert. Handler of the subscription certificates.alerts. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.on_alert(events.event) TO backoffice_kernel;

-- As the kernel: a message that cannot be understood belongs to no organization yet.
SELECT events.subscribe('certificates.alerts', ARRAY['backoffice.alerts'], 'certificates.on_alert(events.event)'::regprocedure,
                        start => 'earliest', role => 'backoffice_kernel');
