\set SHOW_CONTEXT never
-- A life cycle is declared,
CREATE SCHEMA shop;
CREATE TABLE shop.parcels (id int PRIMARY KEY, organization_id uuid, state text NOT NULL, version bigint, weight_g int);
CREATE FUNCTION shop.is_light(old shop.parcels, new shop.parcels) RETURNS boolean
    LANGUAGE plpgsql AS $$ BEGIN RETURN new.weight_g < 2000; END $$;
SELECT events.define_topic('shop.parcels', 'parcel id');
SELECT lifecycle.define('shop.parcels', 'state', '{
    "initial": ["packed"], "topic": "shop.parcels", "organization": "organization_id", "version": "version",
    "states": {"packed": {"description": "in the warehouse"}, "sent": {}, "delivered": {}, "lost": {}},
    "transitions": [
        {"from": "packed", "to": "sent", "event": "parcel.sent", "guard": "shop.is_light"},
        {"from": "sent", "to": "delivered", "event": "parcel.delivered"},
        {"from": ["packed", "sent"], "to": "lost", "event": "parcel.lost"}],
    "terminal": ["delivered", "lost"]}');

-- can be asked and drawn,
SELECT entity, from_state, to_state, event, guard FROM lifecycle.transitions WHERE entity = 'shop.parcels'::regclass;
SELECT lifecycle.diagram('shop.parcels') \g (format=unaligned tuples_only=on)
SELECT lifecycle.check_transition('shop.parcels', 'sent', 'delivered');

-- and holds every write.
INSERT INTO shop.parcels (id, organization_id, state, weight_g) VALUES (1, '01900000-0000-7000-8000-000000000001', 'packed', 3000);
INSERT INTO shop.parcels (id, state) VALUES (2, 'delivered');
UPDATE shop.parcels SET state = 'delivered';
UPDATE shop.parcels SET state = 'stolen';
UPDATE shop.parcels SET state = 'sent';
UPDATE shop.parcels SET state = 'sent', weight_g = 1500;
UPDATE shop.parcels SET state = 'delivered' RETURNING id, state, version;
UPDATE shop.parcels SET state = 'lost';

-- Each step has told its event.
SELECT key, type, payload FROM events.log WHERE type LIKE 'parcel.%' ORDER BY seq;

-- Another definition must have room for the rows that are there.
SELECT lifecycle.define('shop.parcels', 'state', '{"initial": ["packed"], "states": ["packed"], "transitions": []}');
SELECT lifecycle.define('shop.parcels', 'state', '{"initial": ["packed"], "states": ["packed", "lost"], "transitions": [{"from": "packed", "to": "stolen"}]}');
