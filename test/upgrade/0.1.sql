--
-- PostgreSQL database dump
--

\restrict aqR21eE5rRc5DmnnGcxUSaNR2i9yr2AOOmgNuhcSAUSeQPOdf67M0SbE9SLYYsR

-- Dumped from database version 15.20 (Debian 15.20-0+deb12u1)
-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: backoffice; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA backoffice;


ALTER SCHEMA backoffice OWNER TO postgres;

--
-- Name: backoffice; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS backoffice WITH SCHEMA backoffice VERSION '0.1';


--
-- Name: EXTENSION backoffice; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION backoffice IS 'the back office of a subscription business: events, access, life cycles, gift certificates';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: facts; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.facts (
    name text NOT NULL,
    value text
);


ALTER TABLE public.facts OWNER TO postgres;

--
-- Data for Name: organizations; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.organizations (id, name, state, created_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	Flowers	active	2026-11-26 15:57:25.367318+00
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.users (id, email, password_hash, state, created_at) FROM stdin;
01a21893-7017-7da0-99dc-2908093684d2	ann@flowers.test	$argon2id$v=19$m=19456,t=2,p=1$RmUPevM4K1olYBQ9s0AuUw$6rfMCpSvYpzFj0P+pgUuTYAjsdpfVgt5MGZCprE3Las	active	2026-11-26 15:57:25.378126+00
\.


--
-- Data for Name: memberships; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.memberships (organization_id, user_id, state, created_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7017-7da0-99dc-2908093684d2	active	2026-11-26 15:57:25.378126+00
\.


--
-- Data for Name: api_key_records; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.api_key_records (organization_id, id, name, user_id, scopes, hash, state, created_by, created_at, expires_at, last_used_at) FROM stdin;
\.


--
-- Data for Name: audit_entries; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.audit_entries (organization_id, id, topic, key, type, payload, occurred_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-6ffe-7b9c-a3ad-ed186389aad4	access.audit	01a21893-6ff7-7d30-9944-5905ede4b04f	organization.created	{"name": "Flowers", "organizationId": "01a21893-6ff7-7d30-9944-5905ede4b04f"}	2026-11-26 15:57:25.367318+00
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7018-791c-b05c-df17c8b0edcb	access.audit	01a21893-7017-7da0-99dc-2908093684d2	user.created	{"userId": "01a21893-7017-7da0-99dc-2908093684d2"}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7018-79b8-909c-66a9ee56831f	access.users	01a21893-7017-7da0-99dc-2908093684d2	user.created	{"email": "ann@flowers.test", "userId": "01a21893-7017-7da0-99dc-2908093684d2"}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7019-73cc-bcdb-38e95a429c3b	access.audit	01a21893-7017-7da0-99dc-2908093684d2	member.added	{"userId": "01a21893-7017-7da0-99dc-2908093684d2"}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-701c-7028-86d4-ad2716cd5df4	access.audit	01a21893-7017-7da0-99dc-2908093684d2	role.granted	{"role": "owner", "userId": "01a21893-7017-7da0-99dc-2908093684d2"}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-701d-7018-826f-4ded280737a0	access.audit	till	role.defined	{"role": "till", "inherits": [], "permissions": ["certificates.read", "certificates.reserve"]}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7049-7ce8-bf22-2587ebca04fc	access.users	01a21893-7017-7da0-99dc-2908093684d2	user.logged_in	{"method": "pwd", "userId": "01a21893-7017-7da0-99dc-2908093684d2", "sessionId": "01a21893-7048-7f40-b4d3-73c5819317db"}	2026-11-26 15:57:25.426752+00
\.


--
-- Data for Name: default_roles; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.default_roles (name, permissions, inherits, builtin) FROM stdin;
\.


--
-- Data for Name: issuers; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.issuers (issuer, id, client_id, client_secret, audience, algorithms, role_map, home_organization, provision, link_by_email, aal2_values, scope, redirect_uris, metadata, state, keys_at, keys_max_age_s, created_at) FROM stdin;
\.


--
-- Data for Name: identities; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.identities (issuer, subject, user_id, roles, roles_as_of, created_at) FROM stdin;
\.


--
-- Data for Name: roles; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.roles (organization_id, name, permissions, inherits, created_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	owner	{*}	{}	2026-11-26 15:57:25.367318+00
01a21893-6ff7-7d30-9944-5905ede4b04f	administrator	{access.*}	{}	2026-11-26 15:57:25.367318+00
01a21893-6ff7-7d30-9944-5905ede4b04f	member	{access.read}	{}	2026-11-26 15:57:25.367318+00
01a21893-6ff7-7d30-9944-5905ede4b04f	till	{certificates.read,certificates.reserve}	{}	2026-11-26 15:57:25.378126+00
\.


--
-- Data for Name: invitations; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.invitations (organization_id, id, email, role, invited_by, created_at, expires_at) FROM stdin;
\.


--
-- Data for Name: mfa_factors; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.mfa_factors (id, user_id, label, seed, state, last_step, created_at, activated_at) FROM stdin;
\.


--
-- Data for Name: permissions; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.permissions (name, "bit", description, aal2, builtin) FROM stdin;
\.


--
-- Data for Name: platform_administrators; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.platform_administrators (user_id, created_at) FROM stdin;
\.


--
-- Data for Name: recovery_codes; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.recovery_codes (user_id, code_hash, created_at, used_at) FROM stdin;
\.


--
-- Data for Name: role_grants; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.role_grants (organization_id, user_id, role, valid_until, created_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7017-7da0-99dc-2908093684d2	owner	\N	2026-11-26 15:57:25.378126+00
\.


--
-- Data for Name: teams; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.teams (organization_id, id, name, created_at) FROM stdin;
\.


--
-- Data for Name: team_members; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.team_members (organization_id, team_id, user_id, created_at) FROM stdin;
\.


--
-- Data for Name: token_keys; Type: TABLE DATA; Schema: access; Owner: backoffice_owner
--

COPY access.token_keys (id, issuer, kid, kind, alg, state, public_key, secret, role_claim, audience, expires_required, verify_until, current_since, created_at) FROM stdin;
01a21893-704a-7438-a24b-c080a45487ec		01a21893-704a-7438-a24b-c080a45487ec	own	ES256	current	{"x": "3iBDBE-IDp7BsLevWaElxIDDPxojh09HY9Rv4l-40G4", "y": "VVCZQ01CjJNb4Wf3PV2vY4ioh_a0zgmJ2twWheGFR68", "crv": "P-256", "kty": "EC"}	\\x0775706772616465580152698d5a349406444ba22bbfdac77f9ebc2abcfaf0a5200219b671912844911d85481ef574e39770054c5b6b91d32b831e52edd71844e63f5848662b3c27a928bffdd73727bab4ef0d212fcb0ef5e89af5436d4ab390b916668edba3c9c14507a729562fea9d3d7d4682c584b91ad8f20989ff82ee694526a1a7fda0a805555612f3f084fa0efe887cda529a244b88d59db820	\N	{}	t	\N	2026-11-26 15:57:25.426752+00	2026-11-26 15:57:25.426752+00
01a21893-704b-7930-8a5d-3d7ae6c3f716		01a21893-704b-7930-8a5d-3d7ae6c3f716	own	ES256	next	{"x": "miD-H3NEWhKFMfICHhuukRfub4v5-pGI-GVbbk9nCnw", "y": "RjKyMEo4EK5cFBESqE35u5jqx9eTs6s-htSPYrxGWGU", "crv": "P-256", "kty": "EC"}	\\x077570677261646584cc9cdaef6b37d415d52b39e2592680bf7028e5fdd3673ab33e1ed012a60c8faa3f6aeb486e3223ffc4c32ebe268558fb692b6b4a2f7f1a8acfa15007839dbe2c112e5a4fd8aa3f5ae368ddf17a62e74ab556d283adcb190ace5f386e7dfe77bfc94eb10a689c11242f218866a147f42e07bdff7c36ed2ced673e1df013aef9e25ea543b37ff2b67ccda02b1cd745e4ec2e78d526	\N	{}	t	\N	\N	2026-11-26 15:57:25.426752+00
\.


--
-- Data for Name: idempotency_keys; Type: TABLE DATA; Schema: backoffice; Owner: backoffice_owner
--

COPY backoffice.idempotency_keys (organization_id, scope, key, request_hash, response, created_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	certificates.reserve_next	key-1	\\xb07ebd98c179ad1c3cfe7e2485353cc07a551a7d7a4649d3bf15191e79144e48	{"id": "01a21893-7025-76d8-ba75-e346c9b6ae81", "holdUntil": 849025645378126}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	certificates.redeem	receipt-1	\\x1247db36ae1a24f8992297bbb9411928e9c412092c4edfd94b69244d44364f9e	{"id": "01a21893-702b-7838-b41e-4027d56fce2b", "kind": "captured", "state": "partially_redeemed", "currency": "EUR", "amountMinor": 2000, "balanceMinor": 3000, "certificateId": "01a21893-7025-76d8-ba75-e346c9b6ae81", "availableMinor": 3000}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	certificates.authorize	hold-1	\\x8e25a9d2157ad08a838cd714cb36ff466a226ceac16ab021335fb452a3bec5af	{"id": "01a21893-702f-7030-8c8c-7671748d6562", "kind": "authorized", "state": "partially_redeemed", "currency": "EUR", "amountMinor": 500, "balanceMinor": 3000, "certificateId": "01a21893-7025-76d8-ba75-e346c9b6ae81", "availableMinor": 2500}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	certificates.reserve_next	key-2	\\x5da92d0f903219a5e0a0ecce57d79c6f5185d374046847040e7a8bf436f93132	{"id": "01a21893-7025-7814-8e5d-b67bf665ebd3", "holdUntil": 849025645378126}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	certificates.reserve_next	key-3	\\x3872adc34e18650bce3d2daae733caa5d0430fdb3559a53710121ec7db0a6761	{"id": "01a21893-7025-782c-9150-348d0c02dca4", "holdUntil": 874943845378126}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	certificates.reserve_next	key-4	\\xc301b5a9f8c6fee03787ac00c09f38c5743bb8ca834d816f1549e22f552ab170	{"id": "01a21893-7025-7844-bd9b-51c4184e0382", "holdUntil": 849025645378126}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	certificates.reserve_next	key-5	\\x9a6b784f04ece5c1a4d6db53c665545b2717b4e6d0bbdda67a3b73177006f2b1	{"id": "01a21893-7027-78c8-a002-02431eff889f", "holdUntil": 874943845378126}	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	certificates.reserve_next	key-6	\\x36c9139d0f4d737ef7c113b1f5ddd2849343a850ea51bc8155ff37a18ce9b549	{"id": "01a21893-7027-7908-9e47-355a641ea687", "holdUntil": 874943845378126}	2026-11-26 15:57:25.378126+00
\.


--
-- Data for Name: certificates; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.certificates (organization_id, id, pool_id, slot_no, face_value_minor, balance_minor, held_minor, created_at, version, state, code_index, code_secret, cvc_hash, cvc_secret, code_last4, hold_until, disclosed_at, issued_at, activated_at, valid_until, notification_requested_at, cvc_delivered_at, replaced_by, channel, order_ref, order_line, client_ref, payment_ref, blocked_from) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-786c-8376-a99a690ce7d4	01a21893-701d-7484-bff8-43a9d64934e1	6	5000	5000	0	2026-11-26 15:57:25.378126+00	1	available	\\x0775706772616465acb617382cdb41edad963365c5b6dd7754093fbd4c2b527e8dd09d7ae1a263a8	\\x07757067726164658ab6b2da73774722bbd613f859b70650df18ffc4f93cdf306e2b536a7dce1f6b0eb35f722573feaa9f57	\\x077570677261646547cbdafbaf89e3fe47b978396c1cff7b3e46032054d9ff95c7e8ec9a21908abb	\\x077570677261646544ab300e3b70a28fe5a722f8b59ea09ac9ab1917dccd0b864f58e581134cd387	0006	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7880-bee9-1e9fc8df930e	01a21893-701d-7484-bff8-43a9d64934e1	7	5000	5000	0	2026-11-26 15:57:25.378126+00	1	available	\\x07757067726164656956ff93c560c6da00aecb33aaeb6f1984558748cee09c4491a739bf81b4e546	\\x07757067726164656c2c70a99ee6570a36a9bb19f9a5dbccfb74642afb57f6667d2040c643b4afbd9774841698df3a1717ed	\\x0775706772616465f7de167cfc7220eb5177e063a3e08a10574bc0628af7023d5ca9f95404403a3a	\\x07757067726164659c9c97356e48574ae285c49ccfa1a6985152d9dae844a1cb08e82305dc7a5d49	0007	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7898-9019-fc249b2de8bf	01a21893-701d-7484-bff8-43a9d64934e1	8	5000	5000	0	2026-11-26 15:57:25.378126+00	1	available	\\x07757067726164653608f3577f9a80aada95a8e7fe3cab37063274709d25437ef46ea6121c540781	\\x0775706772616465b18fbe1b9004c5e4acadb6612e0992f390bd21c12c861801d21adfbe53b9095388069f90eebeb333a784	\\x07757067726164650c00f9d23680ae10d91f485ba67aa753409ca6f6b2103f067ba5f18d9684b24f	\\x07757067726164653cf4e190cfb20b2b8fcd45e25d3d858f075b174d849215aba5564415fafa31e0	0008	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-78ac-b126-acc214b0b624	01a21893-701d-7484-bff8-43a9d64934e1	9	5000	5000	0	2026-11-26 15:57:25.378126+00	1	available	\\x0775706772616465a9a95f3a9384b0f773ea4b607591a6c4999f315741f20b1bcebddc07ca9e014a	\\x07757067726164659ac5f62cdb52eec1cf62801747ce686952c5e953eba459d1b61906c4575f5ce6f6096ea1a772f1a04e1e	\\x0775706772616465555aea8534b1e7ad28232a34353efb998d1e4904af5ef1f40ca58a34e5aa2314	\\x0775706772616465d54a469b7a9a8a857472f75a64812ee703884312d3f710b81ae0b7a2c0061342	0009	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-78c4-8438-b760a7515923	01a21893-701d-7484-bff8-43a9d64934e1	10	5000	5000	0	2026-11-26 15:57:25.378126+00	1	available	\\x077570677261646536ea5d67c7ee793d29ed0c90ed15736a235672c9d3a176762ba7ae57d630d336	\\x077570677261646561847e9b33cd83016cd4d478203a6bb554a7760060a7b35c9c4b4818252ce4b206e5d0d74221162c3263	\\x0775706772616465c8ff316fba6c0cf7092f16186980a4fc2eb1f7a09121c77e2a95a7de18ab3b26	\\x07757067726164653d113c7d7ccb803ff93dc945b098c26aeaf5de683baabb9b84535e745af428ee	0010	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-78d8-bb33-a59f85183b40	01a21893-701d-7484-bff8-43a9d64934e1	11	5000	5000	0	2026-11-26 15:57:25.378126+00	1	available	\\x0775706772616465aaf81e47af11a3e3f48d786cca1ef3463d200a880e2899f784962b9be4171d0c	\\x0775706772616465391e175a6a11f8b27d883ff79e78ed04d48339fc04c15040094b970839b71d61a645a22fdb9986c31a5a	\\x07757067726164657fd6508f106e4cfec3a7f712d5c137ac92bfe0a796a9c12bc9327f721143c92d	\\x0775706772616465775dac77f6cdd1237ac4dcfee9447b9dc4b83aa5298f2c34920cbc1fba2761ab	0011	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-76d8-ba75-e346c9b6ae81	01a21893-701d-7484-bff8-43a9d64934e1	1	5000	3000	500	2026-11-26 15:57:25.378126+00	5	partially_redeemed	\\x07757067726164651f8c01ca5adabb6617696d353c4fd7c12041698201a51edfa316e12a0df396b4	\\x077570677261646578d8a08c7a294460e3a371815d97eecdcd37f75d9c478138ac9455a261a9642de64b9f2a7bab47a1326f	\\x0775706772616465a415d618d3b21c5ab28b9c30e3736698f50d5f07bfc332a880492d0869786605	\\x07757067726164650dedc1e1e1c33a440f2f137270794b6cc5539ce0f0f350353e51a87a708cbcc2	0001	\N	2026-11-26 15:57:25.378126+00	2026-11-26 15:57:25.378126+00	\N	2027-11-26 15:57:25.378126+00	\N	\N	\N	pos	order-1	\N	anna	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7858-ac5c-d6f15ece864f	01a21893-701d-7484-bff8-43a9d64934e1	5	5000	5000	0	2026-11-26 15:57:25.378126+00	4	issued	\\x0775706772616465a722b612c980207983d2ef9fa948b1b3b046e7b21ba6673a7431615685fb8ca7	\\x0775706772616465c33b9f8b883b7cc4a5e9db122e7906eeab6ead07f081db8d89ee0cba024e39b5695e5fccad8f0862e25d	\\x0775706772616465f7f6290f507025065a8c469fe923df9d6d768b5f72f62a071907578d4db0347e	\\x0775706772616465e6acfb6e141e7ff3be52eb0dad96166132f70347abeade7109adde1b30d2e9e7	0005	\N	\N	2026-11-26 15:57:25.467494+00	\N	2027-11-26 15:57:25.467494+00	2026-11-26 15:57:25.467494+00	\N	\N	pos	A	1	\N	p1	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7814-8e5d-b67bf665ebd3	01a21893-701d-7484-bff8-43a9d64934e1	13	5000	5000	0	2026-11-26 15:57:25.378126+00	3	available	\\x077570677261646566441a70ddbef388e38fbad9bcd1255f3858bc743f679cd7c2e54f83b407895d	\\x0775706772616465d8b29ce7f1430388823439fcb349864170b041ae2173e9d5c4f3f7637af6dbc5fa41b28388e484428fce	\\x0775706772616465d741486a82275ea2a6a6a0b19cf300e44eec003f39901ffb98fa82a5b95c3f22	\\x0775706772616465bd449049d116644713bc20dd58c8f187d6dd417724e3d300f3685a70732d74b8	0002	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-782c-9150-348d0c02dca4	01a21893-701d-7484-bff8-43a9d64934e1	3	5000	5000	0	2026-11-26 15:57:25.378126+00	2	reserved	\\x07757067726164657f1f9ad72ddeb4100b6195cf12b9225fb9e6a0438e9cddf0e1faca435cb830b2	\\x07757067726164654b58b03a93a886cbd0c33d6dd9766d37059b2fcae6a1f6bb64f4c4880c53f64283c90b8bcf6a2ccd3f31	\\x0775706772616465b8ba8d213a6b15633488d7c1ee7f720a771a79b7d5f3f67c83f5ba6d4cd64d7e	\\x0775706772616465f5fef6fe0bc8bdfc62a83aa83e79f35ffab5ffd6ea999ad2867f6a9400ac7703	0003	2027-09-22 15:57:25.378126+00	\N	\N	\N	\N	\N	\N	\N	internet_store	order-3	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7844-bd9b-51c4184e0382	01a21893-701d-7484-bff8-43a9d64934e1	4	5000	5000	0	2026-11-26 15:57:25.378126+00	4	voided	\\x0775706772616465f3f39b82e293eb25c5c6dafa2aac6ef6e71a671f6b26f148edc12ededbb383f6	\\x077570677261646568a0c3a9a574425a3b74329c248ea0f9561e8c9810c36c03c3514184990e74ae5975bc03da2f882ce4f3	\\x0775706772616465ba2da51b7c5e81a240743f66af7d5ce07d776ba340424176997dcc2fdd862581	\\x07757067726164658b05afaeba3e7c2adeee6931a5239863d9928e694e5e3583c9fea3a649545e0b	0004	\N	2026-11-26 15:57:25.378126+00	\N	\N	\N	\N	\N	\N	pos	order-4	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-78f0-a846-fd8b8f9f7444	01a21893-701d-7484-bff8-43a9d64934e1	12	5000	5000	0	2026-11-26 15:57:25.378126+00	1	available	\\x07757067726164659889021bb6c2c7dcd0b8c61714b6166b038610dd4554ce4341e9bfd0e156c50d	\\x07757067726164653d10d354c718a3be3a595365e25f9976652527fcc4df5ac22c243c5a0b4fd1a4b304b39c243cf0400792	\\x077570677261646587a1f45a1fe557a3bdc5d5a609fa3d187eed6c5ed2a4992ba6e7fea56f68494d	\\x0775706772616465ee87b709bdf2eda00cbcbde3d93c65dd3a7a6a056f7e202ff9ade54f4ca4c666	0012	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7027-7928-93f6-9997ccb75cdb	01a21893-7021-7b30-a0e4-63ead36fa791	3	2500	2500	0	2026-11-26 15:57:25.378126+00	1	available	\\x0775706772616465505ed2f702990b5055b4ec06a463dd9fea8a41c43797547579d2f89441656fcc	\\x0775706772616465ede3916ba4cec8b428a8d048f14fa4c23d5b445305344a645a9a36fc255b27634bcf4da7fc88967a141177cc24a3ab5728dfd9	\\x0775706772616465179c9bf6d5b8a54ad3ffbb6eaf4acd0596cf91400656c2cf5083bb1e376bf307	\\x0775706772616465825864847bb2904d5f5ee8980f8c48c762dee9e8827a6c01c8b4d064578288b9	G1NV	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7028-7410-b8b4-49887c03efde	01a21893-7021-7eec-bfc4-6dd112e6eeef	1	100	100	0	2026-11-26 15:57:25.378126+00	1	available	\\x07757067726164651610ea2cc533371596bdfec9d8a70db84563d4bd20d12046c078be78e11ba72c	\\x0775706772616465621eaf1cc44ffd2540f3810ca0d3ffed86c4b13bd1fa59c32adbcf8eb0f428593078f5a3686669f12b61de326ff7e74d228929	\\x07757067726164659535a4eae5473d979e52863215efb99de93904a35d5634a58c7ece7096abd3ba	\\x0775706772616465ad4a1c32cde8d64d230a10611e502c4d849d028c3d8f7485f34c74811795320c	GVX0	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7028-7448-b9ff-0d5d08152e91	01a21893-7021-7eec-bfc4-6dd112e6eeef	2	100	100	0	2026-11-26 15:57:25.378126+00	1	available	\\x0775706772616465ec1395071bcca61ca8696eefce5e63e43408df507493d3bdefb91bc0e1f864df	\\x07757067726164658ead73368e93b2689dd154270df8e7bc4f688f449770b9f470cad5dc1c24a6938e5701250ae4028bbcaa727a3c76098dda894c	\\x0775706772616465b1ad979f80fda1c16a2a2ae45ea185fdbbb8164ddf96eeaf8c6b8570a4872b5b	\\x0775706772616465e347da3ad1b07d9b100782a97282e85feacc03fff7e226d172a500606161905e	QFWH	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7027-78c8-a002-02431eff889f	01a21893-7021-7b30-a0e4-63ead36fa791	1	2500	2500	0	2026-11-26 15:57:25.378126+00	2	reserved	\\x07757067726164651018a65805cbdd0e253fc1f2b4fc21444464168b54a5cf990f765b4340f4a4f2	\\x077570677261646553e32dd5d7aa6c21695646e0f4fa473865755ae7c6fadf92193271a3f5524405e341007779c80da6c2db18877c0beb5bdfd074	\\x077570677261646542bf3227bd1a7c563471d022f1126f4120994432c235797c357412aab4a1ec21	\\x07757067726164652764c3b0489cd41e354669c66a6b06fe1657f1c4d9585da2199f9ccff5aa05e9	M470	2027-09-22 15:57:25.378126+00	\N	\N	\N	\N	\N	\N	\N	pos	order-5	\N	\N	\N	\N
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7027-7908-9e47-355a641ea687	01a21893-7021-7b30-a0e4-63ead36fa791	2	2500	2500	0	2026-11-26 15:57:25.378126+00	2	reserved	\\x07757067726164650d85c00a070558de0e5a1edfaf17c38ad0499133a360d5483fe6fe2033b9ced2	\\x077570677261646547adfb5cb60f3c0446ba426398dab3ee116f1e63505a7f059cfcdb44bba4a1e28800998ce1d0fd01831eeb95df5db041d8a66f	\\x0775706772616465f4021cc6c50f2c1db3999aa460a7fd11167f928600cc1a8889d5156fc01a6d2b	\\x07757067726164650c9d5baaf70e1130745850bfc6b813e819b69375d2befbdb1bc486c540f8f97f	ENKJ	2027-09-22 15:57:25.378126+00	\N	\N	\N	\N	\N	\N	\N	pos	order-6	\N	\N	\N	\N
\.


--
-- Data for Name: clients; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.clients (organization_id, client_ref, client_version, contacts, updated_at) FROM stdin;
\.


--
-- Data for Name: orders; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.orders (organization_id, order_ref, state, version, order_version, lines_version, cancelled, channel, client_ref, currency, total_minor, alerts, retry_asked_at, created_at, updated_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	A	fulfilled	4	1	1	f	pos	\N	EUR	5000	{}	\N	2026-11-26 15:57:25.467494+00	2026-11-26 15:57:25.467494+00
\.


--
-- Data for Name: order_lines; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.order_lines (organization_id, order_ref, line_id, pool, certificate_id, quantity, amount_minor) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	A	1	gift	\N	1	5000
\.


--
-- Data for Name: order_units; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.order_units (organization_id, order_ref, line_id, unit, state, certificate_id, amount_minor, payment_ref) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	A	1	1	issued	01a21893-7025-7858-ac5c-d6f15ece864f	5000	p1
\.


--
-- Data for Name: payments; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.payments (organization_id, payment_ref, order_ref, type, status, amount_minor, currency, details, applied_at, occurred_at, received_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	p1	A	capture	succeeded	5000	EUR	\N	\N	\N	2026-11-26 15:57:25.467494+00
\.


--
-- Data for Name: pending_refunds; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.pending_refunds (organization_id, payment_ref, order_ref, amount_minor, currency, missing, detail, created_at, resolved_at) FROM stdin;
\.


--
-- Data for Name: pools; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.pools (organization_id, id, created, next_slot, sweep_slot, hold_slot, face_value_minor, low_water, created_at, validity, hold, version, cvc_digits, requires_activation, destroy_cvc_after_delivery, code_format, currency, state, code) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7021-7eec-bfc4-6dd112e6eeef	2	3	1	1	100	0	2026-11-26 15:57:25.378126+00	1 year	00:30:00	4	4	f	f	any	EUR	paused	still
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-701d-7484-bff8-43a9d64934e1	12	14	1	1	5000	3	2026-11-26 15:57:25.378126+00	1 year	00:30:00	4	4	f	f	any	EUR	open	gift
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7021-7b30-a0e4-63ead36fa791	3	4	1	1	2500	1	2026-11-26 15:57:25.378126+00	1 year	00:30:00	4	4	f	f	any	EUR	low	rest
\.


--
-- Data for Name: redemptions; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.redemptions (organization_id, id, certificate_id, state, version, amount_minor, captured_minor, refunded_minor, hold_until, channel, order_ref, created_at, captured_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-702b-7838-b41e-4027d56fce2b	01a21893-7025-76d8-ba75-e346c9b6ae81	captured	1	2000	2000	0	\N	\N	\N	2026-11-26 15:57:25.378126+00	2026-11-26 15:57:25.378126+00
01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-702f-7030-8c8c-7671748d6562	01a21893-7025-76d8-ba75-e346c9b6ae81	authorized	1	500	0	0	2027-09-22 15:57:25.378126+00	\N	\N	2026-11-26 15:57:25.378126+00	\N
\.


--
-- Data for Name: refunds; Type: TABLE DATA; Schema: certificates; Owner: backoffice_owner
--

COPY certificates.refunds (organization_id, id, certificate_id, amount_minor, reason, created_at) FROM stdin;
\.


--
-- Data for Name: registered_consumers; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.registered_consumers (name, kind, shard_count, topics, created_at) FROM stdin;
access.audit_entries	handler	1	{access.audit,access.users,access.teams}	2026-11-26 15:57:25.04599+00
certificates.orders	handler	1	{All_SalesOrder,All_Payments,All_Clients,certificates.commands}	2026-11-26 15:57:25.04599+00
certificates.alerts	handler	1	{backoffice.alerts}	2026-11-26 15:57:25.04599+00
upgrade-consumer	worker	2	\N	2026-11-26 15:57:25.454912+00
\.


--
-- Data for Name: cursors; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.cursors (consumer, shard, "position", owner, fence, lease_until, updated_at) FROM stdin;
access.audit_entries	0	c0d578d6:3:68	\N	0	\N	2026-11-26 15:57:25.453967+00
upgrade-consumer	1	0:0:0	one	1	2026-11-26 15:57:35.455+00	2026-11-26 15:57:25.455472+00
upgrade-consumer	0	c0d578d6:2:20	one	1	2026-11-26 15:57:35.455+00	2026-11-26 15:57:25.457871+00
certificates.alerts	0	c0d578d6:4:71	\N	0	\N	2026-11-26 15:57:25.467246+00
certificates.orders	0	c0d578d6:4:71	\N	0	\N	2026-11-26 15:57:25.495592+00
\.


--
-- Data for Name: epochs; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.epochs (first_tick, epoch, era, system_identifier, database_oid, extension_oid, timeline, began_at) FROM stdin;
1	-1059751722	5139388620054876537	7712509899489009375	16384	16386	1	2026-11-26 15:57:25.375282+00
\.


--
-- Data for Name: floor; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.floor (one, tick, seq) FROM stdin;
\.


--
-- Data for Name: inbox; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.inbox (organization_id, source, message_id, request_hash, event_id, received_at) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	kafka	m1	\\xaa99bf2d6fa87ffe22c6981eff4c9a32174770f9a05f9b21e4b05f1c3af83866	01a21893-704e-7148-ad5f-ba4c7170fd3d	2026-11-26 15:57:25.453212+00
01a21893-6ff7-7d30-9944-5905ede4b04f	kafka	m2	\\x0d15898a4bc166678a572992a6946b8c7a83b140fe095d77a1aac562205dfcec	01a21893-704e-7ba4-93a0-3c7e506d9453	2026-11-26 15:57:25.454661+00
\.


--
-- Data for Name: log_0; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.log_0 (seq, era, xid, occurred_at, topic_id, id, organization_id, key, type, payload, headers) FROM stdin;
1	5139388620054876537	726	2026-11-26 15:57:25.367318+00	2146026726	01a21893-6ffe-7b9c-a3ad-ed186389aad4	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-6ff7-7d30-9944-5905ede4b04f	organization.created	{"name": "Flowers", "organizationId": "01a21893-6ff7-7d30-9944-5905ede4b04f"}	\N
2	5139388620054876537	735	2026-11-26 15:57:25.378126+00	2146026726	01a21893-7018-791c-b05c-df17c8b0edcb	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7017-7da0-99dc-2908093684d2	user.created	{"userId": "01a21893-7017-7da0-99dc-2908093684d2"}	\N
3	5139388620054876537	735	2026-11-26 15:57:25.378126+00	639483245	01a21893-7018-79b8-909c-66a9ee56831f	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7017-7da0-99dc-2908093684d2	user.created	{"email": "ann@flowers.test", "userId": "01a21893-7017-7da0-99dc-2908093684d2"}	\N
4	5139388620054876537	735	2026-11-26 15:57:25.378126+00	2146026726	01a21893-7019-73cc-bcdb-38e95a429c3b	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7017-7da0-99dc-2908093684d2	member.added	{"userId": "01a21893-7017-7da0-99dc-2908093684d2"}	\N
5	5139388620054876537	735	2026-11-26 15:57:25.378126+00	2146026726	01a21893-701c-7028-86d4-ad2716cd5df4	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7017-7da0-99dc-2908093684d2	role.granted	{"role": "owner", "userId": "01a21893-7017-7da0-99dc-2908093684d2"}	\N
6	5139388620054876537	735	2026-11-26 15:57:25.378126+00	2146026726	01a21893-701d-7018-826f-4ded280737a0	01a21893-6ff7-7d30-9944-5905ede4b04f	till	role.defined	{"role": "till", "inherits": [], "permissions": ["certificates.read", "certificates.reserve"]}	\N
7	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7026-7394-b3d0-7ba207a241a4	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-701d-7484-bff8-43a9d64934e1	pool.imported	{"status": "imported", "channel": null, "eventId": "01a21893-7026-7394-b3d0-7ba207a241a4", "payload": {"pool": "gift", "count": 12, "poolId": "01a21893-701d-7484-bff8-43a9d64934e1"}, "eventType": "pool.imported", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
8	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7026-7e64-814a-792a366efae9	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-701d-7484-bff8-43a9d64934e1	pool.replenished	{"status": "open", "channel": null, "eventId": "01a21893-7026-7e64-814a-792a366efae9", "payload": {"pool": "gift", "poolId": "01a21893-701d-7484-bff8-43a9d64934e1", "version": 3, "lowWater": 3, "previousStatus": "empty"}, "eventType": "pool.replenished", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
9	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7027-79ac-9640-4e8590453266	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7021-7b30-a0e4-63ead36fa791	pool.imported	{"status": "generated", "channel": null, "eventId": "01a21893-7027-79ac-9640-4e8590453266", "payload": {"pool": "rest", "count": 3, "poolId": "01a21893-7021-7b30-a0e4-63ead36fa791"}, "eventType": "pool.imported", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
10	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7027-7da0-8e57-b86ac402dd20	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7021-7b30-a0e4-63ead36fa791	pool.replenished	{"status": "open", "channel": null, "eventId": "01a21893-7027-7da0-8e57-b86ac402dd20", "payload": {"pool": "rest", "poolId": "01a21893-7021-7b30-a0e4-63ead36fa791", "version": 3, "lowWater": 1, "previousStatus": "empty"}, "eventType": "pool.replenished", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
11	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7028-749c-ac11-c2dc35a60adc	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7021-7eec-bfc4-6dd112e6eeef	pool.imported	{"status": "generated", "channel": null, "eventId": "01a21893-7028-749c-ac11-c2dc35a60adc", "payload": {"pool": "still", "count": 2, "poolId": "01a21893-7021-7eec-bfc4-6dd112e6eeef"}, "eventType": "pool.imported", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
12	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7028-7814-8f0a-062b8dba9993	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7021-7eec-bfc4-6dd112e6eeef	pool.replenished	{"status": "open", "channel": null, "eventId": "01a21893-7028-7814-8f0a-062b8dba9993", "payload": {"pool": "still", "poolId": "01a21893-7021-7eec-bfc4-6dd112e6eeef", "version": 3, "lowWater": 0, "previousStatus": "empty"}, "eventType": "pool.replenished", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
13	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7028-7ec0-a83a-80e4031687ca	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7021-7eec-bfc4-6dd112e6eeef	pool.paused	{"status": "paused", "channel": null, "eventId": "01a21893-7028-7ec0-a83a-80e4031687ca", "payload": {"pool": "still", "poolId": "01a21893-7021-7eec-bfc4-6dd112e6eeef", "version": 4, "lowWater": 0, "previousStatus": "open"}, "eventType": "pool.paused", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
14	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7029-7cd0-8c83-c67d62ba2b30	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-76d8-ba75-e346c9b6ae81	certificate.reserved	{"status": "reserved", "channel": "pos", "eventId": "01a21893-7029-7cd0-8c83-c67d62ba2b30", "payload": {"pool": "gift", "version": 2, "currency": "EUR", "orderRef": "order-1", "heldMinor": 0, "holdUntil": "2026-11-26T16:27:25.378126+00:00", "balanceMinor": 5000, "certificateId": "01a21893-7025-76d8-ba75-e346c9b6ae81", "faceValueMinor": 5000, "previousStatus": "available"}, "eventType": "certificate.reserved", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
15	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-702a-7b48-b038-662cada21539	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-76d8-ba75-e346c9b6ae81	certificate.issued	{"status": "issued", "channel": "pos", "eventId": "01a21893-702a-7b48-b038-662cada21539", "payload": {"pool": "gift", "version": 3, "currency": "EUR", "orderRef": "order-1", "clientRef": "anna", "heldMinor": 0, "validUntil": "2027-11-26T15:57:25.378126+00:00", "balanceMinor": 5000, "certificateId": "01a21893-7025-76d8-ba75-e346c9b6ae81", "faceValueMinor": 5000, "previousStatus": "reserved"}, "eventType": "certificate.issued", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
16	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-702b-77f0-b384-5fdd4f8612ad	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-76d8-ba75-e346c9b6ae81	certificate.partially_redeemed	{"status": "partially_redeemed", "channel": "pos", "eventId": "01a21893-702b-77f0-b384-5fdd4f8612ad", "payload": {"pool": "gift", "version": 4, "currency": "EUR", "orderRef": "order-1", "clientRef": "anna", "heldMinor": 0, "validUntil": "2027-11-26T15:57:25.378126+00:00", "balanceMinor": 3000, "certificateId": "01a21893-7025-76d8-ba75-e346c9b6ae81", "faceValueMinor": 5000, "previousStatus": "issued"}, "eventType": "certificate.partially_redeemed", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
17	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-702e-7414-9775-327e9cd6e681	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-76d8-ba75-e346c9b6ae81	redemption.captured	{"status": "captured", "channel": "pos", "eventId": "01a21893-702e-7414-9775-327e9cd6e681", "payload": {"poolId": "01a21893-701d-7484-bff8-43a9d64934e1", "currency": "EUR", "clientRef": "anna", "amountMinor": 2000, "balanceMinor": 3000, "redemptionId": "01a21893-702b-7838-b41e-4027d56fce2b", "certificateId": "01a21893-7025-76d8-ba75-e346c9b6ae81", "availableMinor": 3000, "certificateState": "partially_redeemed"}, "eventType": "redemption.captured", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
40	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-769c-bda1-6fc3e726bb91	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 13}	\N
41	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-76b0-aca3-83e0692513fa	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 14}	\N
42	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7700-9368-bb5fc398a9fe	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 15}	\N
43	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-770c-b763-5c1c36da01d7	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 16}	\N
18	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-702f-72c0-a581-d31305fa1e61	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-76d8-ba75-e346c9b6ae81	redemption.authorized	{"status": "authorized", "channel": "pos", "eventId": "01a21893-702f-72c0-a581-d31305fa1e61", "payload": {"poolId": "01a21893-701d-7484-bff8-43a9d64934e1", "currency": "EUR", "clientRef": "anna", "amountMinor": 500, "balanceMinor": 3000, "redemptionId": "01a21893-702f-7030-8c8c-7671748d6562", "certificateId": "01a21893-7025-76d8-ba75-e346c9b6ae81", "availableMinor": 2500, "certificateState": "partially_redeemed"}, "eventType": "redemption.authorized", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
19	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-702f-7c70-bf55-b52b8c71226f	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7814-8e5d-b67bf665ebd3	certificate.reserved	{"status": "reserved", "channel": "pos", "eventId": "01a21893-702f-7c70-bf55-b52b8c71226f", "payload": {"pool": "gift", "version": 2, "currency": "EUR", "orderRef": "order-2", "heldMinor": 0, "holdUntil": "2026-11-26T16:27:25.378126+00:00", "balanceMinor": 5000, "certificateId": "01a21893-7025-7814-8e5d-b67bf665ebd3", "faceValueMinor": 5000, "previousStatus": "available"}, "eventType": "certificate.reserved", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
20	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7030-7610-b9c4-d96a73f584df	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7814-8e5d-b67bf665ebd3	certificate.released	{"status": "available", "channel": "pos", "eventId": "01a21893-7030-7610-b9c4-d96a73f584df", "payload": {"pool": "gift", "version": 3, "currency": "EUR", "orderRef": "order-2", "heldMinor": 0, "balanceMinor": 5000, "certificateId": "01a21893-7025-7814-8e5d-b67bf665ebd3", "faceValueMinor": 5000, "previousStatus": "reserved"}, "eventType": "certificate.released", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
21	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7030-7904-b799-407fb184d972	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-782c-9150-348d0c02dca4	certificate.reserved	{"status": "reserved", "channel": "internet_store", "eventId": "01a21893-7030-7904-b799-407fb184d972", "payload": {"pool": "gift", "version": 2, "currency": "EUR", "orderRef": "order-3", "heldMinor": 0, "holdUntil": "2027-09-22T15:57:25.378126+00:00", "balanceMinor": 5000, "certificateId": "01a21893-7025-782c-9150-348d0c02dca4", "faceValueMinor": 5000, "previousStatus": "available"}, "eventType": "certificate.reserved", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
22	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7030-7c7c-9328-7a270679203e	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7844-bd9b-51c4184e0382	certificate.reserved	{"status": "reserved", "channel": "pos", "eventId": "01a21893-7030-7c7c-9328-7a270679203e", "payload": {"pool": "gift", "version": 2, "currency": "EUR", "orderRef": "order-4", "heldMinor": 0, "holdUntil": "2026-11-26T16:27:25.378126+00:00", "balanceMinor": 5000, "certificateId": "01a21893-7025-7844-bd9b-51c4184e0382", "faceValueMinor": 5000, "previousStatus": "available"}, "eventType": "certificate.reserved", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
23	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7031-72b8-94a5-34764986f036	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7844-bd9b-51c4184e0382	audit.code_disclosed	{"status": "disclosed", "channel": "pos", "eventId": "01a21893-7031-72b8-94a5-34764986f036", "payload": {"pool": "gift", "orderRef": "order-4", "certificateId": "01a21893-7025-7844-bd9b-51c4184e0382"}, "eventType": "audit.code_disclosed", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
24	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7031-7648-be64-061facb856eb	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7844-bd9b-51c4184e0382	certificate.voided	{"status": "voided", "channel": "pos", "eventId": "01a21893-7031-7648-be64-061facb856eb", "payload": {"pool": "gift", "version": 4, "currency": "EUR", "orderRef": "order-4", "heldMinor": 0, "balanceMinor": 5000, "certificateId": "01a21893-7025-7844-bd9b-51c4184e0382", "faceValueMinor": 5000, "previousStatus": "reserved"}, "eventType": "certificate.voided", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
25	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7031-7b0c-abb9-343a404e4062	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7027-78c8-a002-02431eff889f	certificate.reserved	{"status": "reserved", "channel": "pos", "eventId": "01a21893-7031-7b0c-abb9-343a404e4062", "payload": {"pool": "rest", "version": 2, "currency": "EUR", "orderRef": "order-5", "heldMinor": 0, "holdUntil": "2027-09-22T15:57:25.378126+00:00", "balanceMinor": 2500, "certificateId": "01a21893-7027-78c8-a002-02431eff889f", "faceValueMinor": 2500, "previousStatus": "available"}, "eventType": "certificate.reserved", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
26	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7031-7c18-9b1b-a0a7ed2f9234	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7027-7908-9e47-355a641ea687	certificate.reserved	{"status": "reserved", "channel": "pos", "eventId": "01a21893-7031-7c18-9b1b-a0a7ed2f9234", "payload": {"pool": "rest", "version": 2, "currency": "EUR", "orderRef": "order-6", "heldMinor": 0, "holdUntil": "2027-09-22T15:57:25.378126+00:00", "balanceMinor": 2500, "certificateId": "01a21893-7027-7908-9e47-355a641ea687", "faceValueMinor": 2500, "previousStatus": "available"}, "eventType": "certificate.reserved", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
27	5139388620054876537	735	2026-11-26 15:57:25.378126+00	952180723	01a21893-7031-7e74-a0cc-d89712061854	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7021-7b30-a0e4-63ead36fa791	pool.low	{"status": "low", "channel": null, "eventId": "01a21893-7031-7e74-a0cc-d89712061854", "payload": {"pool": "rest", "poolId": "01a21893-7021-7b30-a0e4-63ead36fa791", "version": 4, "lowWater": 1, "available": 1, "previousStatus": "open"}, "eventType": "pool.low", "occurredAt": "2026-11-26T15:57:25.378126+00:00"}	\N
28	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-75d0-b750-832719fdd8b6	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 1}	\N
29	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-75f8-b895-220352470d77	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 2}	\N
30	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7608-8f95-d9a0e234db9e	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 3}	\N
31	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7614-8b46-0f1e20d89274	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 4}	\N
32	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7620-a0ba-4066890d6eed	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 5}	\N
33	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-762c-8d97-40d70fbddcc1	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 6}	\N
34	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7638-9793-0c16e31b2a8f	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 7}	\N
35	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-765c-9550-8c6f6f7ade5d	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 8}	\N
36	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7668-9e9a-7131f0c3d175	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 9}	\N
37	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7678-8403-e2e84f2589ae	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 10}	\N
38	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7684-be4f-a26966960f17	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 11}	\N
39	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7690-9dc9-678d5f60017b	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 12}	\N
44	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7718-ae44-95c10308c44c	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 17}	\N
45	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-779c-80da-08c147a6af1a	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 18}	\N
46	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-77ac-98d3-525327e7853a	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 19}	\N
47	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-77b8-91e7-52ae960106d0	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 20}	\N
48	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-77c4-b591-0ea623f61c28	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 21}	\N
49	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-77d0-92d8-2f95740aaa30	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 22}	\N
50	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-77dc-9cb9-57ee73433d73	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 23}	\N
51	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-77e4-bf81-6a280b1635f5	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 24}	\N
52	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-77fc-ab0d-f8114cf0d0e8	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 25}	\N
53	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7808-af2d-1d0eaccfb36a	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 26}	\N
54	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7814-ab45-c6193846e717	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 27}	\N
55	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7820-a91c-014f81a33575	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 28}	\N
56	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-782c-9c98-ffe50e909641	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 29}	\N
57	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7834-b9c1-78be5b2a4cb9	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 30}	\N
58	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7840-8c92-97eac56834a0	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 31}	\N
59	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-784c-b1e9-2579a3670c8e	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 32}	\N
60	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7854-909d-bddef017436f	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 33}	\N
61	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7860-a4fe-3da4214539bb	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 34}	\N
62	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-786c-b933-4c7f273bd9fe	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 35}	\N
63	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7878-bbed-f61e07f9d448	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 36}	\N
64	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7880-8ea2-0bd1f6711465	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 37}	\N
65	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-788c-9734-7cd83d02abcd	01a21893-6ff7-7d30-9944-5905ede4b04f	k2	order.made	{"n": 38}	\N
66	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-7898-aa07-c2966938efd7	01a21893-6ff7-7d30-9944-5905ede4b04f	k0	order.made	{"n": 39}	\N
67	5139388620054876537	735	2026-11-26 15:57:25.378126+00	1058956586	01a21893-7032-78a4-8a41-382cf8fac8d4	01a21893-6ff7-7d30-9944-5905ede4b04f	k1	order.made	{"n": 40}	\N
68	5139388620054876537	744	2026-11-26 15:57:25.426752+00	639483245	01a21893-7049-7ce8-bf22-2587ebca04fc	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7017-7da0-99dc-2908093684d2	user.logged_in	{"method": "pwd", "userId": "01a21893-7017-7da0-99dc-2908093684d2", "sessionId": "01a21893-7048-7f40-b4d3-73c5819317db"}	\N
69	5139388620054876537	749	2026-11-26 15:57:25.453212+00	220169714	01a21893-704e-7148-ad5f-ba4c7170fd3d	01a21893-6ff7-7d30-9944-5905ede4b04f	A	capture	{"type": "capture", "amount": {"minor": 5000, "currency": "EUR"}, "status": "succeeded", "orderId": "A", "paymentId": "p1"}	\N
70	5139388620054876537	750	2026-11-26 15:57:25.454661+00	508893709	01a21893-704e-7ba4-93a0-3c7e506d9453	01a21893-6ff7-7d30-9944-5905ede4b04f	A	All_SalesOrder	{"lines": [{"pool": "gift", "amount": {"minor": 5000, "currency": "EUR"}, "lineId": "1"}], "status": "created", "channel": "pos", "orderId": "A", "version": 1}	\N
71	5139388620054876537	753	2026-11-26 15:57:25.458052+00	1401101571	01a21893-7052-7d70-b4d5-a4370e7fed37	01a21893-6ff7-7d30-9944-5905ede4b04f	upgrade-consumer	event.parked	{"key": "k1", "topic": "upgrade.orders", "reason": "refused", "eventId": "01a21893-7032-75d0-b750-832719fdd8b6", "consumer": "upgrade-consumer", "eventType": "order.made"}	\N
72	5139388620054876537	761	2026-11-26 15:57:25.467494+00	952180723	01a21893-7075-7994-8730-23ea28b6dd80	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7858-ac5c-d6f15ece864f	certificate.reserved	{"status": "reserved", "channel": "pos", "eventId": "01a21893-7075-7994-8730-23ea28b6dd80", "payload": {"pool": "gift", "version": 2, "currency": "EUR", "orderRef": "A", "heldMinor": 0, "holdUntil": "2026-11-26T16:27:25.467494+00:00", "balanceMinor": 5000, "certificateId": "01a21893-7025-7858-ac5c-d6f15ece864f", "faceValueMinor": 5000, "previousStatus": "available"}, "eventType": "certificate.reserved", "occurredAt": "2026-11-26T15:57:25.467494+00:00"}	\N
73	5139388620054876537	761	2026-11-26 15:57:25.467494+00	952180723	01a21893-7076-7600-8df9-55df9dcf5bdf	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7858-ac5c-d6f15ece864f	certificate.issued	{"status": "issued", "channel": "pos", "eventId": "01a21893-7076-7600-8df9-55df9dcf5bdf", "payload": {"pool": "gift", "version": 3, "currency": "EUR", "orderRef": "A", "heldMinor": 0, "orderLine": "1", "paymentRef": "p1", "validUntil": "2027-11-26T15:57:25.467494+00:00", "balanceMinor": 5000, "certificateId": "01a21893-7025-7858-ac5c-d6f15ece864f", "faceValueMinor": 5000, "previousStatus": "reserved"}, "eventType": "certificate.issued", "occurredAt": "2026-11-26T15:57:25.467494+00:00"}	\N
74	5139388620054876537	761	2026-11-26 15:57:25.467494+00	952180723	01a21893-7077-7324-819a-a2eaafe4f760	01a21893-6ff7-7d30-9944-5905ede4b04f	01a21893-7025-7858-ac5c-d6f15ece864f	notification.requested	{"status": "requested", "channel": "pos", "eventId": "01a21893-7077-7324-819a-a2eaafe4f760", "payload": {"pool": "gift", "orderRef": "A", "certificateId": "01a21893-7025-7858-ac5c-d6f15ece864f"}, "eventType": "notification.requested", "occurredAt": "2026-11-26T15:57:25.467494+00:00"}	\N
\.


--
-- Data for Name: log_1; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.log_1 (seq, era, xid, occurred_at, topic_id, id, organization_id, key, type, payload, headers) FROM stdin;
\.


--
-- Data for Name: log_2; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.log_2 (seq, era, xid, occurred_at, topic_id, id, organization_id, key, type, payload, headers) FROM stdin;
\.


--
-- Data for Name: parked_events; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.parked_events (organization_id, consumer, id, shard, "position", topic, key, type, payload, headers, occurred_at, state, attempts, reason, parked_at, due_at, alone) FROM stdin;
01a21893-6ff7-7d30-9944-5905ede4b04f	upgrade-consumer	01a21893-7032-75d0-b750-832719fdd8b6	0	c0d578d6:2:28	upgrade.orders	k1	order.made	{"n": 1}	\N	2026-11-26 15:57:25.458649+00	parked	1	refused	2026-11-26 15:57:25.458649+00	\N	f
\.


--
-- Data for Name: parked_inbound; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.parked_inbound (source, topic, partition, "offset", key, value, reason, parked_at) FROM stdin;
\.


--
-- Data for Name: source_positions; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.source_positions (source_group, topic, partition, next_offset, updated_at) FROM stdin;
\.


--
-- Data for Name: subscriptions; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.subscriptions (name, handler, role, max_attempts, paused, running, last_error, last_error_at, created_at) FROM stdin;
access.audit_entries	access.on_audit_event(events.event)	backoffice_definer	10	f	t	\N	\N	2026-11-26 15:57:25.04599+00
certificates.alerts	certificates.on_alert(events.event)	backoffice_kernel	10	f	t	\N	\N	2026-11-26 15:57:25.04599+00
certificates.orders	certificates.on_event(events.event)	backoffice_definer	10	f	t	\N	\N	2026-11-26 15:57:25.04599+00
\.


--
-- Data for Name: ticks_0; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.ticks_0 (tick, era, seq_lo, seq_hi, next_xid, at, epoch, snapshot) FROM stdin;
1	5139388620054876537	1	1	727	2026-11-26 15:57:25.375251+00	-1059751722	727:727:
2	5139388620054876537	67	67	736	2026-11-26 15:57:25.428149+00	-1059751722	736:736:
3	5139388620054876537	68	68	745	2026-11-26 15:57:25.453248+00	-1059751722	745:745:
4	5139388620054876537	71	71	754	2026-11-26 15:57:25.460635+00	-1059751722	754:754:
5	5139388620054876537	74	74	767	2026-11-26 15:57:25.49573+00	-1059751722	767:767:
\.


--
-- Data for Name: ticks_1; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.ticks_1 (tick, era, seq_lo, seq_hi, next_xid, at, epoch, snapshot) FROM stdin;
\.


--
-- Data for Name: topics; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.topics (id, name, direction, key_rule, retention, partitions, description, created_at, listen_permission) FROM stdin;
1401101571	backoffice.alerts	internal	\N	30 days	1	Alerts of the kernel: events set aside, inbound messages that cannot be understood.	2026-11-26 15:57:25.04599+00	\N
508893709	All_SalesOrder	in	orderId	7 days	6	Orders of the retailer's channels, with lines for gift certificates.	2026-11-26 15:57:25.04599+00	\N
220169714	All_Payments	in	orderId	7 days	6	Payments of the retailer's channels: authorizations, captures, refunds, cancellations.	2026-11-26 15:57:25.04599+00	\N
566460571	All_Clients	in	clientId	7 days	6	Clients of the retailer.	2026-11-26 15:57:25.04599+00	\N
876776483	certificates.commands	internal	orderId	1 day	1	What the keeper asks the order flow to do again.	2026-11-26 15:57:25.04599+00	\N
952180723	GiftCertificates.Stream	out	the certificate's id, or the pool's	7 days	6	Everything that happens to gift certificates: {eventId, eventType, channel, status, occurredAt, payload}.	2026-11-26 15:57:25.04599+00	certificates.read
639483245	access.users	out	user id	7 days	6	Users: user.created, user.updated, user.logged_in.	2026-11-26 15:57:25.04599+00	access.read_audit
521679607	access.teams	out	team id	7 days	6	Teams: team.created, team.updated, team.deleted, team.member.added, team.member.removed.	2026-11-26 15:57:25.04599+00	access.read
2146026726	access.audit	internal	user id, or what else it is about	365 days	1	What matters to security: rights, members, log-ins, sessions, second factors.	2026-11-26 15:57:25.04599+00	access.read_audit
1058956586	upgrade.orders	out	order	30 days	2	\N	2026-11-26 15:57:25.375166+00	\N
\.


--
-- Data for Name: topic_grants; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.topic_grants (topic_id, role) FROM stdin;
1401101571	backoffice_service
2146026726	backoffice_service
639483245	backoffice_service
521679607	backoffice_service
952180723	backoffice_service
508893709	backoffice_service
220169714	backoffice_service
566460571	backoffice_service
876776483	backoffice_service
1058956586	backoffice_service
\.


--
-- Data for Name: topic_schemas; Type: TABLE DATA; Schema: events; Owner: backoffice_owner
--

COPY events.topic_schemas (topic_id, type, schema, defined_at) FROM stdin;
639483245		{"type": "object", "required": ["userId"], "properties": {"by": {"type": "string"}, "ip": {"type": "string"}, "email": {"type": "string"}, "state": {"enum": ["active", "disabled"]}, "method": {"type": "string"}, "userId": {"type": "string"}, "changed": {"type": "array", "items": {"type": "string"}}, "sessionId": {"type": "string"}}, "additionalProperties": false}	2026-11-26 15:57:25.04599+00
521679607		{"type": "object", "required": ["teamId"], "properties": {"by": {"type": "string"}, "name": {"type": "string"}, "teamId": {"type": "string"}, "userId": {"type": "string"}}, "additionalProperties": false}	2026-11-26 15:57:25.04599+00
508893709		{"type": "object", "$defs": {"money": {"type": "object", "required": ["minor", "currency"], "properties": {"minor": {"type": "integer", "maximum": 9007199254740991, "minimum": 0}, "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}}}, "required": ["orderId", "channel", "status", "version", "lines"], "properties": {"lines": {"type": "array", "items": {"type": "object", "required": ["lineId", "amount"], "properties": {"sku": {"type": "string", "maxLength": 200}, "pool": {"type": "string", "maxLength": 64, "minLength": 1}, "amount": {"$ref": "#/$defs/money"}, "lineId": {"type": "string", "maxLength": 100, "minLength": 1}, "quantity": {"type": "integer", "maximum": 1000, "minimum": 1}, "certificateId": {"type": "string", "format": "uuid"}}}, "maxItems": 1000}, "status": {"enum": ["created", "changed", "cancelled"]}, "channel": {"type": "string", "maxLength": 64, "minLength": 1}, "orderId": {"type": "string", "maxLength": 100, "minLength": 1}, "version": {"type": "integer", "maximum": 9007199254740991, "minimum": 1}, "customer": {"type": "object", "properties": {"clientId": {"type": "string", "maxLength": 100, "minLength": 1}}}, "occurredAt": {"type": "string"}}}	2026-11-26 15:57:25.04599+00
220169714		{"type": "object", "required": ["paymentId", "orderId", "type", "status", "amount"], "properties": {"type": {"enum": ["authorization", "capture", "refund", "cancel"]}, "amount": {"type": "object", "required": ["minor", "currency"], "properties": {"minor": {"type": "integer", "maximum": 9007199254740991, "minimum": 1}, "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}}, "refund": {"type": "object", "properties": {"lineIds": {"type": "array", "items": {"type": "string", "maxLength": 100, "minLength": 1}, "maxItems": 1000}, "certificateIds": {"type": "array", "items": {"type": "string", "format": "uuid"}, "maxItems": 1000}}}, "status": {"enum": ["pending", "succeeded", "failed"]}, "orderId": {"type": "string", "maxLength": 100, "minLength": 1}, "paymentId": {"type": "string", "maxLength": 100, "minLength": 1}, "occurredAt": {"type": "string"}}}	2026-11-26 15:57:25.04599+00
566460571		{"type": "object", "required": ["clientId"], "properties": {"version": {"type": "integer", "maximum": 9007199254740991, "minimum": 1}, "clientId": {"type": "string", "maxLength": 100, "minLength": 1}, "contacts": {"type": "object", "properties": {"email": {"type": "string", "maxLength": 254}, "phone": {"type": "string", "maxLength": 32}}}}}	2026-11-26 15:57:25.04599+00
1058956586		{"type": "object", "required": ["n"]}	2026-11-26 15:57:25.376632+00
\.


--
-- Data for Name: definitions; Type: TABLE DATA; Schema: lifecycle; Owner: backoffice_owner
--

COPY lifecycle.definitions (name, entity_schema, entity_table, state_column, states, descriptions, key_column, organization_column, version_column, topic, emit, payload_function, built_in, defined_at) FROM stdin;
\.


--
-- Data for Name: rules; Type: TABLE DATA; Schema: lifecycle; Owner: backoffice_owner
--

COPY lifecycle.rules (definition, "position", from_state, to_state, event, guard, built_in) FROM stdin;
\.


--
-- Data for Name: facts; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.facts (name, value) FROM stdin;
pools	gift open 12 8 1 2 1 8000, rest low 3 1 2 0 0 0, still paused 2 2 0 0 0 0
conservation	0
certificates	9a508283205d66874078ad25b2aee4a2
redemptions	211a0fb87a01cc9266b75d439c340bc9
orders	A fulfilled
events	74 c64c83b48bb5752bb830eaab5ba7f153
consumers	upgrade-consumer 0 f, upgrade-consumer 1 t
parked	upgrade-consumer 01a21893-7032-75d0-b750-832719fdd8b6 refused parked 1
users	ann@flowers.test active
roles	cbfa5e92ac788a9864da2f1f0b426273
\.


--
-- Name: log_seq; Type: SEQUENCE SET; Schema: events; Owner: backoffice_owner
--

SELECT pg_catalog.setval('events.log_seq', 74, true);


--
-- Name: facts facts_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.facts
    ADD CONSTRAINT facts_pkey PRIMARY KEY (name);


--
-- Name: TABLE orders; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.orders FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.orders FROM backoffice_definer;
REVOKE SELECT ON TABLE certificates.orders FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.orders FROM backoffice_admin;
REVOKE SELECT,UPDATE ON TABLE certificates.orders FROM backoffice_kernel;
GRANT ALL ON TABLE certificates.orders TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.orders TO backoffice_definer;
GRANT SELECT ON TABLE certificates.orders TO backoffice_service;
GRANT SELECT ON TABLE certificates.orders TO backoffice_admin;
GRANT SELECT,UPDATE ON TABLE certificates.orders TO backoffice_kernel;


--
-- Name: TABLE payments; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.payments FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.payments FROM backoffice_definer;
REVOKE SELECT ON TABLE certificates.payments FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.payments FROM backoffice_admin;
GRANT ALL ON TABLE certificates.payments TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.payments TO backoffice_definer;
GRANT SELECT ON TABLE certificates.payments TO backoffice_service;
GRANT SELECT ON TABLE certificates.payments TO backoffice_admin;


--
-- Name: TABLE order_units; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.order_units FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.order_units FROM backoffice_definer;
REVOKE SELECT ON TABLE certificates.order_units FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.order_units FROM backoffice_admin;
REVOKE SELECT ON TABLE certificates.order_units FROM backoffice_kernel;
GRANT ALL ON TABLE certificates.order_units TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.order_units TO backoffice_definer;
GRANT SELECT ON TABLE certificates.order_units TO backoffice_service;
GRANT SELECT ON TABLE certificates.order_units TO backoffice_admin;
GRANT SELECT ON TABLE certificates.order_units TO backoffice_kernel;


--
-- Name: FUNCTION retry_order(order_ref text); Type: ACL; Schema: certificates; Owner: backoffice_definer
--

REVOKE ALL ON FUNCTION certificates.retry_order(order_ref text) FROM postgres;
REVOKE ALL ON FUNCTION certificates.retry_order(order_ref text) FROM backoffice_service;
GRANT ALL ON FUNCTION certificates.retry_order(order_ref text) TO backoffice_definer;
GRANT ALL ON FUNCTION certificates.retry_order(order_ref text) TO backoffice_service;


--
-- Name: FUNCTION let_listen(topic text, permission text); Type: ACL; Schema: events; Owner: backoffice_definer
--

REVOKE ALL ON FUNCTION events.let_listen(topic text, permission text) FROM postgres;
REVOKE ALL ON FUNCTION events.let_listen(topic text, permission text) FROM backoffice_admin;
GRANT ALL ON FUNCTION events.let_listen(topic text, permission text) TO backoffice_definer;
GRANT ALL ON FUNCTION events.let_listen(topic text, permission text) TO backoffice_admin;


--
-- Name: FUNCTION diagram(entity regclass); Type: ACL; Schema: lifecycle; Owner: backoffice_definer
--

REVOKE ALL ON FUNCTION lifecycle.diagram(entity regclass) FROM postgres;
REVOKE ALL ON FUNCTION lifecycle.diagram(entity regclass) FROM backoffice_user;
REVOKE ALL ON FUNCTION lifecycle.diagram(entity regclass) FROM backoffice_service;
REVOKE ALL ON FUNCTION lifecycle.diagram(entity regclass) FROM backoffice_worker;
REVOKE ALL ON FUNCTION lifecycle.diagram(entity regclass) FROM backoffice_admin;
GRANT ALL ON FUNCTION lifecycle.diagram(entity regclass) TO backoffice_definer;
GRANT ALL ON FUNCTION lifecycle.diagram(entity regclass) TO backoffice_user;
GRANT ALL ON FUNCTION lifecycle.diagram(entity regclass) TO backoffice_service;
GRANT ALL ON FUNCTION lifecycle.diagram(entity regclass) TO backoffice_worker;
GRANT ALL ON FUNCTION lifecycle.diagram(entity regclass) TO backoffice_admin;


--
-- Name: TABLE api_key_records; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.api_key_records FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.api_key_records FROM backoffice_kernel;
REVOKE INSERT,UPDATE ON TABLE access.api_key_records FROM backoffice_definer;
GRANT ALL ON TABLE access.api_key_records TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.api_key_records TO backoffice_kernel;
GRANT INSERT,UPDATE ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.organization_id; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(organization_id) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(organization_id) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(organization_id) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(organization_id) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.id; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(id) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(id) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(id) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(id) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.name; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(name) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(name) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(name) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(name) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.user_id; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(user_id) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(user_id) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(user_id) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(user_id) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.scopes; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(scopes) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(scopes) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(scopes) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(scopes) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.state; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(state) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(state) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(state) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(state) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.created_by; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(created_by) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(created_by) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(created_by) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(created_by) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.created_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(created_at) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(created_at) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(created_at) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(created_at) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.expires_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(expires_at) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(expires_at) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(expires_at) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(expires_at) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: COLUMN api_key_records.last_used_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(last_used_at) ON TABLE access.api_key_records FROM backoffice_service;
REVOKE SELECT(last_used_at) ON TABLE access.api_key_records FROM backoffice_definer;
GRANT SELECT(last_used_at) ON TABLE access.api_key_records TO backoffice_service;
GRANT SELECT(last_used_at) ON TABLE access.api_key_records TO backoffice_definer;


--
-- Name: TABLE api_keys; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.api_keys FROM postgres;
REVOKE SELECT ON TABLE access.api_keys FROM backoffice_service;
REVOKE SELECT ON TABLE access.api_keys FROM backoffice_definer;
GRANT ALL ON TABLE access.api_keys TO backoffice_owner;
GRANT SELECT ON TABLE access.api_keys TO backoffice_service;
GRANT SELECT ON TABLE access.api_keys TO backoffice_definer;


--
-- Name: TABLE audit_entries; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.audit_entries FROM postgres;
REVOKE SELECT,INSERT ON TABLE access.audit_entries FROM backoffice_definer;
REVOKE SELECT,DELETE ON TABLE access.audit_entries FROM backoffice_kernel;
REVOKE SELECT ON TABLE access.audit_entries FROM backoffice_service;
GRANT ALL ON TABLE access.audit_entries TO backoffice_owner;
GRANT SELECT,INSERT ON TABLE access.audit_entries TO backoffice_definer;
GRANT SELECT,DELETE ON TABLE access.audit_entries TO backoffice_kernel;
GRANT SELECT ON TABLE access.audit_entries TO backoffice_service;


--
-- Name: TABLE default_roles; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.default_roles FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.default_roles FROM backoffice_kernel;
GRANT ALL ON TABLE access.default_roles TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.default_roles TO backoffice_kernel;


--
-- Name: TABLE external_logouts; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.external_logouts FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.external_logouts FROM backoffice_kernel;
GRANT ALL ON TABLE access.external_logouts TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.external_logouts TO backoffice_kernel;


--
-- Name: TABLE external_sessions; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.external_sessions FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.external_sessions FROM backoffice_kernel;
GRANT ALL ON TABLE access.external_sessions TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.external_sessions TO backoffice_kernel;


--
-- Name: TABLE identities; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.identities FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.identities FROM backoffice_kernel;
GRANT ALL ON TABLE access.identities TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.identities TO backoffice_kernel;


--
-- Name: TABLE invitations; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.invitations FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.invitations FROM backoffice_definer;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.invitations FROM backoffice_kernel;
REVOKE SELECT ON TABLE access.invitations FROM backoffice_service;
GRANT ALL ON TABLE access.invitations TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.invitations TO backoffice_definer;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.invitations TO backoffice_kernel;
GRANT SELECT ON TABLE access.invitations TO backoffice_service;


--
-- Name: TABLE issuers; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.issuers FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.issuers FROM backoffice_kernel;
GRANT ALL ON TABLE access.issuers TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.issuers TO backoffice_kernel;


--
-- Name: COLUMN issuers.issuer; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(issuer) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(issuer) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(issuer) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(issuer) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.client_id; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(client_id) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(client_id) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(client_id) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(client_id) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.audience; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(audience) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(audience) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(audience) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(audience) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.algorithms; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(algorithms) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(algorithms) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(algorithms) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(algorithms) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.role_map; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(role_map) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(role_map) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(role_map) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(role_map) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.home_organization; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(home_organization) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(home_organization) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(home_organization) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(home_organization) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.provision; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(provision) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(provision) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(provision) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(provision) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.link_by_email; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(link_by_email) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(link_by_email) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(link_by_email) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(link_by_email) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.aal2_values; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(aal2_values) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(aal2_values) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(aal2_values) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(aal2_values) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.scope; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(scope) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(scope) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(scope) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(scope) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.redirect_uris; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(redirect_uris) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(redirect_uris) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(redirect_uris) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(redirect_uris) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.metadata; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(metadata) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(metadata) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(metadata) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(metadata) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.state; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(state) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(state) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(state) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(state) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.keys_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(keys_at) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(keys_at) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(keys_at) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(keys_at) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.keys_max_age_s; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(keys_max_age_s) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(keys_max_age_s) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(keys_max_age_s) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(keys_max_age_s) ON TABLE access.issuers TO backoffice_service;


--
-- Name: COLUMN issuers.created_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(created_at) ON TABLE access.issuers FROM backoffice_admin;
REVOKE SELECT(created_at) ON TABLE access.issuers FROM backoffice_service;
GRANT SELECT(created_at) ON TABLE access.issuers TO backoffice_admin;
GRANT SELECT(created_at) ON TABLE access.issuers TO backoffice_service;


--
-- Name: TABLE memberships; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.memberships FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.memberships FROM backoffice_kernel;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.memberships FROM backoffice_definer;
REVOKE SELECT ON TABLE access.memberships FROM backoffice_service;
GRANT ALL ON TABLE access.memberships TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.memberships TO backoffice_kernel;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.memberships TO backoffice_definer;
GRANT SELECT ON TABLE access.memberships TO backoffice_service;


--
-- Name: TABLE role_grants; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.role_grants FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.role_grants FROM backoffice_kernel;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.role_grants FROM backoffice_definer;
REVOKE SELECT ON TABLE access.role_grants FROM backoffice_service;
GRANT ALL ON TABLE access.role_grants TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.role_grants TO backoffice_kernel;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.role_grants TO backoffice_definer;
GRANT SELECT ON TABLE access.role_grants TO backoffice_service;


--
-- Name: TABLE users; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.users FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.users FROM backoffice_kernel;
GRANT ALL ON TABLE access.users TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.users TO backoffice_kernel;


--
-- Name: COLUMN users.id; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(id) ON TABLE access.users FROM backoffice_definer;
REVOKE SELECT(id) ON TABLE access.users FROM backoffice_service;
GRANT SELECT(id) ON TABLE access.users TO backoffice_definer;
GRANT SELECT(id) ON TABLE access.users TO backoffice_service;


--
-- Name: COLUMN users.email; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(email) ON TABLE access.users FROM backoffice_definer;
REVOKE SELECT(email) ON TABLE access.users FROM backoffice_service;
GRANT SELECT(email) ON TABLE access.users TO backoffice_definer;
GRANT SELECT(email) ON TABLE access.users TO backoffice_service;


--
-- Name: COLUMN users.state; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(state) ON TABLE access.users FROM backoffice_definer;
REVOKE SELECT(state) ON TABLE access.users FROM backoffice_service;
GRANT SELECT(state) ON TABLE access.users TO backoffice_definer;
GRANT SELECT(state) ON TABLE access.users TO backoffice_service;


--
-- Name: COLUMN users.created_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(created_at) ON TABLE access.users FROM backoffice_definer;
REVOKE SELECT(created_at) ON TABLE access.users FROM backoffice_service;
GRANT SELECT(created_at) ON TABLE access.users TO backoffice_definer;
GRANT SELECT(created_at) ON TABLE access.users TO backoffice_service;


--
-- Name: TABLE members; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.members FROM postgres;
REVOKE SELECT ON TABLE access.members FROM backoffice_service;
REVOKE SELECT ON TABLE access.members FROM backoffice_definer;
GRANT ALL ON TABLE access.members TO backoffice_owner;
GRANT SELECT ON TABLE access.members TO backoffice_service;
GRANT SELECT ON TABLE access.members TO backoffice_definer;


--
-- Name: TABLE mfa_factors; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.mfa_factors FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.mfa_factors FROM backoffice_kernel;
GRANT ALL ON TABLE access.mfa_factors TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.mfa_factors TO backoffice_kernel;


--
-- Name: TABLE sessions; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.sessions FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.sessions FROM backoffice_kernel;
GRANT ALL ON TABLE access.sessions TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.sessions TO backoffice_kernel;


--
-- Name: COLUMN sessions.id; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(id) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(id) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(id) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(id) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.user_id; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(user_id) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(user_id) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(user_id) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(user_id) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.for_organization; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(for_organization) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(for_organization) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(for_organization) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(for_organization) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.device_info; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(device_info) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(device_info) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(device_info) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(device_info) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.ip; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(ip) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(ip) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(ip) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(ip) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.user_agent; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(user_agent) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(user_agent) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(user_agent) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(user_agent) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.created_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(created_at) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(created_at) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(created_at) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(created_at) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.authenticated_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(authenticated_at) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(authenticated_at) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(authenticated_at) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(authenticated_at) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.last_seen_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(last_seen_at) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(last_seen_at) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(last_seen_at) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(last_seen_at) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.expires_at; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(expires_at) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(expires_at) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(expires_at) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(expires_at) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.aal; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(aal) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(aal) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(aal) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(aal) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.amr; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(amr) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(amr) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(amr) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(amr) ON TABLE access.sessions TO backoffice_service;


--
-- Name: COLUMN sessions.state; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE SELECT(state) ON TABLE access.sessions FROM backoffice_definer;
REVOKE SELECT(state) ON TABLE access.sessions FROM backoffice_service;
GRANT SELECT(state) ON TABLE access.sessions TO backoffice_definer;
GRANT SELECT(state) ON TABLE access.sessions TO backoffice_service;


--
-- Name: TABLE my_sessions; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.my_sessions FROM postgres;
REVOKE SELECT ON TABLE access.my_sessions FROM backoffice_service;
REVOKE SELECT ON TABLE access.my_sessions FROM backoffice_definer;
GRANT ALL ON TABLE access.my_sessions TO backoffice_owner;
GRANT SELECT ON TABLE access.my_sessions TO backoffice_service;
GRANT SELECT ON TABLE access.my_sessions TO backoffice_definer;


--
-- Name: TABLE oidc_logins; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.oidc_logins FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.oidc_logins FROM backoffice_kernel;
GRANT ALL ON TABLE access.oidc_logins TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.oidc_logins TO backoffice_kernel;


--
-- Name: TABLE organizations; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.organizations FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.organizations FROM backoffice_kernel;
REVOKE SELECT ON TABLE access.organizations FROM backoffice_definer;
REVOKE SELECT ON TABLE access.organizations FROM backoffice_service;
GRANT ALL ON TABLE access.organizations TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.organizations TO backoffice_kernel;
GRANT SELECT ON TABLE access.organizations TO backoffice_definer;
GRANT SELECT ON TABLE access.organizations TO backoffice_service;


--
-- Name: TABLE permissions; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.permissions FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.permissions FROM backoffice_kernel;
REVOKE SELECT ON TABLE access.permissions FROM backoffice_definer;
REVOKE SELECT ON TABLE access.permissions FROM backoffice_service;
REVOKE SELECT ON TABLE access.permissions FROM backoffice_admin;
GRANT ALL ON TABLE access.permissions TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.permissions TO backoffice_kernel;
GRANT SELECT ON TABLE access.permissions TO backoffice_definer;
GRANT SELECT ON TABLE access.permissions TO backoffice_service;
GRANT SELECT ON TABLE access.permissions TO backoffice_admin;


--
-- Name: TABLE platform_administrators; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.platform_administrators FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.platform_administrators FROM backoffice_kernel;
GRANT ALL ON TABLE access.platform_administrators TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.platform_administrators TO backoffice_kernel;


--
-- Name: TABLE recovery_codes; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.recovery_codes FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.recovery_codes FROM backoffice_kernel;
GRANT ALL ON TABLE access.recovery_codes TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.recovery_codes TO backoffice_kernel;


--
-- Name: TABLE roles; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.roles FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.roles FROM backoffice_kernel;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.roles FROM backoffice_definer;
REVOKE SELECT ON TABLE access.roles FROM backoffice_service;
GRANT ALL ON TABLE access.roles TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.roles TO backoffice_kernel;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.roles TO backoffice_definer;
GRANT SELECT ON TABLE access.roles TO backoffice_service;


--
-- Name: TABLE team_members; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.team_members FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.team_members FROM backoffice_definer;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.team_members FROM backoffice_kernel;
REVOKE SELECT ON TABLE access.team_members FROM backoffice_service;
GRANT ALL ON TABLE access.team_members TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.team_members TO backoffice_definer;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.team_members TO backoffice_kernel;
GRANT SELECT ON TABLE access.team_members TO backoffice_service;


--
-- Name: TABLE teams; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.teams FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.teams FROM backoffice_definer;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.teams FROM backoffice_kernel;
REVOKE SELECT ON TABLE access.teams FROM backoffice_service;
GRANT ALL ON TABLE access.teams TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.teams TO backoffice_definer;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.teams TO backoffice_kernel;
GRANT SELECT ON TABLE access.teams TO backoffice_service;


--
-- Name: TABLE token_keys; Type: ACL; Schema: access; Owner: backoffice_owner
--

REVOKE ALL ON TABLE access.token_keys FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE access.token_keys FROM backoffice_kernel;
GRANT ALL ON TABLE access.token_keys TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.token_keys TO backoffice_kernel;


--
-- Name: TABLE heartbeats; Type: ACL; Schema: backoffice; Owner: backoffice_owner
--

REVOKE ALL ON TABLE backoffice.heartbeats FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE backoffice.heartbeats FROM backoffice_kernel;
GRANT ALL ON TABLE backoffice.heartbeats TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE backoffice.heartbeats TO backoffice_kernel;


--
-- Name: TABLE idempotency_keys; Type: ACL; Schema: backoffice; Owner: backoffice_owner
--

REVOKE ALL ON TABLE backoffice.idempotency_keys FROM postgres;
REVOKE SELECT,INSERT,UPDATE ON TABLE backoffice.idempotency_keys FROM backoffice_definer;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE backoffice.idempotency_keys FROM backoffice_kernel;
GRANT ALL ON TABLE backoffice.idempotency_keys TO backoffice_owner;
GRANT SELECT,INSERT,UPDATE ON TABLE backoffice.idempotency_keys TO backoffice_definer;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE backoffice.idempotency_keys TO backoffice_kernel;


--
-- Name: TABLE metrics; Type: ACL; Schema: backoffice; Owner: backoffice_owner
--

REVOKE ALL ON TABLE backoffice.metrics FROM postgres;
REVOKE SELECT ON TABLE backoffice.metrics FROM backoffice_worker;
REVOKE SELECT ON TABLE backoffice.metrics FROM backoffice_admin;
GRANT ALL ON TABLE backoffice.metrics TO backoffice_owner;
GRANT SELECT ON TABLE backoffice.metrics TO backoffice_worker;
GRANT SELECT ON TABLE backoffice.metrics TO backoffice_admin;


--
-- Name: TABLE workers; Type: ACL; Schema: backoffice; Owner: backoffice_owner
--

REVOKE ALL ON TABLE backoffice.workers FROM postgres;
REVOKE SELECT ON TABLE backoffice.workers FROM backoffice_worker;
REVOKE SELECT ON TABLE backoffice.workers FROM backoffice_admin;
REVOKE SELECT ON TABLE backoffice.workers FROM backoffice_service;
GRANT ALL ON TABLE backoffice.workers TO backoffice_owner;
GRANT SELECT ON TABLE backoffice.workers TO backoffice_worker;
GRANT SELECT ON TABLE backoffice.workers TO backoffice_admin;
GRANT SELECT ON TABLE backoffice.workers TO backoffice_service;


--
-- Name: TABLE certificates; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.certificates FROM postgres;
REVOKE SELECT,INSERT,UPDATE ON TABLE certificates.certificates FROM backoffice_definer;
REVOKE SELECT,INSERT,UPDATE ON TABLE certificates.certificates FROM backoffice_kernel;
GRANT ALL ON TABLE certificates.certificates TO backoffice_owner;
GRANT SELECT,INSERT,UPDATE ON TABLE certificates.certificates TO backoffice_definer;
GRANT SELECT,INSERT,UPDATE ON TABLE certificates.certificates TO backoffice_kernel;


--
-- Name: COLUMN certificates.organization_id; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(organization_id) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(organization_id) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(organization_id) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(organization_id) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.id; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(id) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(id) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(id) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(id) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.pool_id; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(pool_id) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(pool_id) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(pool_id) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(pool_id) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.slot_no; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(slot_no) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(slot_no) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(slot_no) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(slot_no) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.face_value_minor; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(face_value_minor) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(face_value_minor) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(face_value_minor) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(face_value_minor) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.balance_minor; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(balance_minor) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(balance_minor) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(balance_minor) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(balance_minor) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.held_minor; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(held_minor) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(held_minor) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(held_minor) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(held_minor) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.created_at; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(created_at) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(created_at) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(created_at) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(created_at) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.version; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(version) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(version) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(version) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(version) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.state; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(state) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(state) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(state) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(state) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.code_last4; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(code_last4) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(code_last4) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(code_last4) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(code_last4) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.hold_until; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(hold_until) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(hold_until) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(hold_until) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(hold_until) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.disclosed_at; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(disclosed_at) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(disclosed_at) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(disclosed_at) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(disclosed_at) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.issued_at; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(issued_at) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(issued_at) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(issued_at) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(issued_at) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.activated_at; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(activated_at) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(activated_at) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(activated_at) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(activated_at) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.valid_until; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(valid_until) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(valid_until) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(valid_until) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(valid_until) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.notification_requested_at; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(notification_requested_at) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(notification_requested_at) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(notification_requested_at) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(notification_requested_at) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.cvc_delivered_at; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(cvc_delivered_at) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(cvc_delivered_at) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(cvc_delivered_at) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(cvc_delivered_at) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.replaced_by; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(replaced_by) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(replaced_by) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(replaced_by) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(replaced_by) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.channel; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(channel) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(channel) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(channel) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(channel) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.order_ref; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(order_ref) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(order_ref) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(order_ref) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(order_ref) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.order_line; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(order_line) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(order_line) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(order_line) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(order_line) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.client_ref; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(client_ref) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(client_ref) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(client_ref) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(client_ref) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.payment_ref; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(payment_ref) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(payment_ref) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(payment_ref) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(payment_ref) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: COLUMN certificates.blocked_from; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE SELECT(blocked_from) ON TABLE certificates.certificates FROM backoffice_service;
REVOKE SELECT(blocked_from) ON TABLE certificates.certificates FROM backoffice_admin;
GRANT SELECT(blocked_from) ON TABLE certificates.certificates TO backoffice_service;
GRANT SELECT(blocked_from) ON TABLE certificates.certificates TO backoffice_admin;


--
-- Name: TABLE clients; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.clients FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.clients FROM backoffice_definer;
REVOKE SELECT ON TABLE certificates.clients FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.clients FROM backoffice_admin;
GRANT ALL ON TABLE certificates.clients TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.clients TO backoffice_definer;
GRANT SELECT ON TABLE certificates.clients TO backoffice_service;
GRANT SELECT ON TABLE certificates.clients TO backoffice_admin;


--
-- Name: TABLE pool_status; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.pool_status FROM postgres;
REVOKE SELECT ON TABLE certificates.pool_status FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.pool_status FROM backoffice_admin;
REVOKE SELECT ON TABLE certificates.pool_status FROM backoffice_definer;
GRANT ALL ON TABLE certificates.pool_status TO backoffice_owner;
GRANT SELECT ON TABLE certificates.pool_status TO backoffice_service;
GRANT SELECT ON TABLE certificates.pool_status TO backoffice_admin;
GRANT SELECT ON TABLE certificates.pool_status TO backoffice_definer;


--
-- Name: TABLE conservation; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.conservation FROM postgres;
REVOKE SELECT ON TABLE certificates.conservation FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.conservation FROM backoffice_admin;
GRANT ALL ON TABLE certificates.conservation TO backoffice_owner;
GRANT SELECT ON TABLE certificates.conservation TO backoffice_service;
GRANT SELECT ON TABLE certificates.conservation TO backoffice_admin;


--
-- Name: TABLE redemptions; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.redemptions FROM postgres;
REVOKE SELECT,INSERT,UPDATE ON TABLE certificates.redemptions FROM backoffice_definer;
REVOKE SELECT,UPDATE ON TABLE certificates.redemptions FROM backoffice_kernel;
REVOKE SELECT ON TABLE certificates.redemptions FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.redemptions FROM backoffice_admin;
GRANT ALL ON TABLE certificates.redemptions TO backoffice_owner;
GRANT SELECT,INSERT,UPDATE ON TABLE certificates.redemptions TO backoffice_definer;
GRANT SELECT,UPDATE ON TABLE certificates.redemptions TO backoffice_kernel;
GRANT SELECT ON TABLE certificates.redemptions TO backoffice_service;
GRANT SELECT ON TABLE certificates.redemptions TO backoffice_admin;


--
-- Name: TABLE discrepancies; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.discrepancies FROM postgres;
REVOKE SELECT ON TABLE certificates.discrepancies FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.discrepancies FROM backoffice_admin;
GRANT ALL ON TABLE certificates.discrepancies TO backoffice_owner;
GRANT SELECT ON TABLE certificates.discrepancies TO backoffice_service;
GRANT SELECT ON TABLE certificates.discrepancies TO backoffice_admin;


--
-- Name: TABLE import; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.import FROM postgres;
REVOKE INSERT ON TABLE certificates.import FROM backoffice_service;
REVOKE INSERT ON TABLE certificates.import FROM backoffice_admin;
GRANT ALL ON TABLE certificates.import TO backoffice_owner;
GRANT INSERT ON TABLE certificates.import TO backoffice_service;
GRANT INSERT ON TABLE certificates.import TO backoffice_admin;


--
-- Name: TABLE order_lines; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.order_lines FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.order_lines FROM backoffice_definer;
REVOKE SELECT ON TABLE certificates.order_lines FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.order_lines FROM backoffice_admin;
REVOKE SELECT ON TABLE certificates.order_lines FROM backoffice_kernel;
GRANT ALL ON TABLE certificates.order_lines TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.order_lines TO backoffice_definer;
GRANT SELECT ON TABLE certificates.order_lines TO backoffice_service;
GRANT SELECT ON TABLE certificates.order_lines TO backoffice_admin;
GRANT SELECT ON TABLE certificates.order_lines TO backoffice_kernel;


--
-- Name: TABLE pending_refunds; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.pending_refunds FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.pending_refunds FROM backoffice_definer;
REVOKE SELECT ON TABLE certificates.pending_refunds FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.pending_refunds FROM backoffice_admin;
GRANT ALL ON TABLE certificates.pending_refunds TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE certificates.pending_refunds TO backoffice_definer;
GRANT SELECT ON TABLE certificates.pending_refunds TO backoffice_service;
GRANT SELECT ON TABLE certificates.pending_refunds TO backoffice_admin;


--
-- Name: TABLE pools; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.pools FROM postgres;
REVOKE SELECT,INSERT,UPDATE ON TABLE certificates.pools FROM backoffice_definer;
REVOKE SELECT,INSERT,UPDATE ON TABLE certificates.pools FROM backoffice_kernel;
REVOKE SELECT ON TABLE certificates.pools FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.pools FROM backoffice_admin;
GRANT ALL ON TABLE certificates.pools TO backoffice_owner;
GRANT SELECT,INSERT,UPDATE ON TABLE certificates.pools TO backoffice_definer;
GRANT SELECT,INSERT,UPDATE ON TABLE certificates.pools TO backoffice_kernel;
GRANT SELECT ON TABLE certificates.pools TO backoffice_service;
GRANT SELECT ON TABLE certificates.pools TO backoffice_admin;


--
-- Name: TABLE refunds; Type: ACL; Schema: certificates; Owner: backoffice_owner
--

REVOKE ALL ON TABLE certificates.refunds FROM postgres;
REVOKE SELECT,INSERT,UPDATE ON TABLE certificates.refunds FROM backoffice_definer;
REVOKE SELECT ON TABLE certificates.refunds FROM backoffice_service;
REVOKE SELECT ON TABLE certificates.refunds FROM backoffice_admin;
GRANT ALL ON TABLE certificates.refunds TO backoffice_owner;
GRANT SELECT,INSERT,UPDATE ON TABLE certificates.refunds TO backoffice_definer;
GRANT SELECT ON TABLE certificates.refunds TO backoffice_service;
GRANT SELECT ON TABLE certificates.refunds TO backoffice_admin;


--
-- Name: TABLE consumer_instances; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.consumer_instances FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.consumer_instances FROM backoffice_kernel;
GRANT ALL ON TABLE events.consumer_instances TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.consumer_instances TO backoffice_kernel;


--
-- Name: TABLE consumers; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.consumers FROM postgres;
REVOKE SELECT ON TABLE events.consumers FROM backoffice_worker;
REVOKE SELECT ON TABLE events.consumers FROM backoffice_admin;
REVOKE SELECT ON TABLE events.consumers FROM backoffice_service;
GRANT ALL ON TABLE events.consumers TO backoffice_owner;
GRANT SELECT ON TABLE events.consumers TO backoffice_worker;
GRANT SELECT ON TABLE events.consumers TO backoffice_admin;
GRANT SELECT ON TABLE events.consumers TO backoffice_service;


--
-- Name: TABLE cursors; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.cursors FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.cursors FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.cursors FROM backoffice_admin;
REVOKE SELECT ON TABLE events.cursors FROM backoffice_worker;
REVOKE SELECT ON TABLE events.cursors FROM backoffice_service;
GRANT ALL ON TABLE events.cursors TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.cursors TO backoffice_kernel;
GRANT SELECT ON TABLE events.cursors TO backoffice_admin;
GRANT SELECT ON TABLE events.cursors TO backoffice_worker;
GRANT SELECT ON TABLE events.cursors TO backoffice_service;


--
-- Name: TABLE epochs; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.epochs FROM postgres;
REVOKE SELECT,INSERT ON TABLE events.epochs FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.epochs FROM backoffice_definer;
GRANT ALL ON TABLE events.epochs TO backoffice_owner;
GRANT SELECT,INSERT ON TABLE events.epochs TO backoffice_kernel;
GRANT SELECT ON TABLE events.epochs TO backoffice_definer;


--
-- Name: TABLE floor; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.floor FROM postgres;
REVOKE SELECT,INSERT,UPDATE ON TABLE events.floor FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.floor FROM backoffice_definer;
GRANT ALL ON TABLE events.floor TO backoffice_owner;
GRANT SELECT,INSERT,UPDATE ON TABLE events.floor TO backoffice_kernel;
GRANT SELECT ON TABLE events.floor TO backoffice_definer;


--
-- Name: TABLE registered_consumers; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.registered_consumers FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.registered_consumers FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.registered_consumers FROM backoffice_admin;
REVOKE SELECT ON TABLE events.registered_consumers FROM backoffice_worker;
REVOKE SELECT ON TABLE events.registered_consumers FROM backoffice_service;
GRANT ALL ON TABLE events.registered_consumers TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.registered_consumers TO backoffice_kernel;
GRANT SELECT ON TABLE events.registered_consumers TO backoffice_admin;
GRANT SELECT ON TABLE events.registered_consumers TO backoffice_worker;
GRANT SELECT ON TABLE events.registered_consumers TO backoffice_service;


--
-- Name: TABLE subscriptions; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.subscriptions FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.subscriptions FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.subscriptions FROM backoffice_admin;
REVOKE SELECT ON TABLE events.subscriptions FROM backoffice_service;
GRANT ALL ON TABLE events.subscriptions TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.subscriptions TO backoffice_kernel;
GRANT SELECT ON TABLE events.subscriptions TO backoffice_admin;
GRANT SELECT ON TABLE events.subscriptions TO backoffice_service;


--
-- Name: TABLE handlers; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.handlers FROM postgres;
REVOKE SELECT ON TABLE events.handlers FROM backoffice_admin;
REVOKE SELECT ON TABLE events.handlers FROM backoffice_service;
GRANT ALL ON TABLE events.handlers TO backoffice_owner;
GRANT SELECT ON TABLE events.handlers TO backoffice_admin;
GRANT SELECT ON TABLE events.handlers TO backoffice_service;


--
-- Name: TABLE inbox; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.inbox FROM postgres;
REVOKE SELECT,INSERT,DELETE ON TABLE events.inbox FROM backoffice_kernel;
GRANT ALL ON TABLE events.inbox TO backoffice_owner;
GRANT SELECT,INSERT,DELETE ON TABLE events.inbox TO backoffice_kernel;


--
-- Name: TABLE log; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.log FROM postgres;
REVOKE SELECT,INSERT ON TABLE events.log FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.log FROM backoffice_definer;
GRANT ALL ON TABLE events.log TO backoffice_owner;
GRANT SELECT,INSERT ON TABLE events.log TO backoffice_kernel;
GRANT SELECT ON TABLE events.log TO backoffice_definer;


--
-- Name: SEQUENCE log_seq; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON SEQUENCE events.log_seq FROM postgres;
REVOKE SELECT,USAGE ON SEQUENCE events.log_seq FROM backoffice_kernel;
GRANT ALL ON SEQUENCE events.log_seq TO backoffice_owner;
GRANT SELECT,USAGE ON SEQUENCE events.log_seq TO backoffice_kernel;


--
-- Name: TABLE open_transactions; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.open_transactions FROM postgres;
REVOKE SELECT ON TABLE events.open_transactions FROM backoffice_worker;
REVOKE SELECT ON TABLE events.open_transactions FROM backoffice_admin;
REVOKE SELECT ON TABLE events.open_transactions FROM backoffice_service;
GRANT ALL ON TABLE events.open_transactions TO backoffice_owner;
GRANT SELECT ON TABLE events.open_transactions TO backoffice_worker;
GRANT SELECT ON TABLE events.open_transactions TO backoffice_admin;
GRANT SELECT ON TABLE events.open_transactions TO backoffice_service;


--
-- Name: TABLE parked_events; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.parked_events FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.parked_events FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.parked_events FROM backoffice_admin;
REVOKE SELECT ON TABLE events.parked_events FROM backoffice_worker;
REVOKE SELECT ON TABLE events.parked_events FROM backoffice_service;
GRANT ALL ON TABLE events.parked_events TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.parked_events TO backoffice_kernel;
GRANT SELECT ON TABLE events.parked_events TO backoffice_admin;
GRANT SELECT ON TABLE events.parked_events TO backoffice_worker;
GRANT SELECT ON TABLE events.parked_events TO backoffice_service;


--
-- Name: TABLE parked; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.parked FROM postgres;
REVOKE SELECT ON TABLE events.parked FROM backoffice_admin;
REVOKE SELECT ON TABLE events.parked FROM backoffice_worker;
REVOKE SELECT ON TABLE events.parked FROM backoffice_service;
GRANT ALL ON TABLE events.parked TO backoffice_owner;
GRANT SELECT ON TABLE events.parked TO backoffice_admin;
GRANT SELECT ON TABLE events.parked TO backoffice_worker;
GRANT SELECT ON TABLE events.parked TO backoffice_service;


--
-- Name: TABLE parked_inbound; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.parked_inbound FROM postgres;
REVOKE SELECT,INSERT,DELETE ON TABLE events.parked_inbound FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.parked_inbound FROM backoffice_admin;
REVOKE SELECT ON TABLE events.parked_inbound FROM backoffice_worker;
GRANT ALL ON TABLE events.parked_inbound TO backoffice_owner;
GRANT SELECT,INSERT,DELETE ON TABLE events.parked_inbound TO backoffice_kernel;
GRANT SELECT ON TABLE events.parked_inbound TO backoffice_admin;
GRANT SELECT ON TABLE events.parked_inbound TO backoffice_worker;


--
-- Name: TABLE source_positions; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.source_positions FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.source_positions FROM backoffice_kernel;
GRANT ALL ON TABLE events.source_positions TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.source_positions TO backoffice_kernel;


--
-- Name: TABLE ticks; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.ticks FROM postgres;
REVOKE SELECT ON TABLE events.ticks FROM backoffice_kernel;
REVOKE SELECT ON TABLE events.ticks FROM backoffice_definer;
GRANT ALL ON TABLE events.ticks TO backoffice_owner;
GRANT SELECT ON TABLE events.ticks TO backoffice_kernel;
GRANT SELECT ON TABLE events.ticks TO backoffice_definer;


--
-- Name: TABLE topic_grants; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.topic_grants FROM postgres;
REVOKE SELECT ON TABLE events.topic_grants FROM backoffice_service;
REVOKE SELECT ON TABLE events.topic_grants FROM backoffice_worker;
REVOKE SELECT ON TABLE events.topic_grants FROM backoffice_admin;
REVOKE SELECT ON TABLE events.topic_grants FROM backoffice_kernel;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.topic_grants FROM backoffice_definer;
GRANT ALL ON TABLE events.topic_grants TO backoffice_owner;
GRANT SELECT ON TABLE events.topic_grants TO backoffice_service;
GRANT SELECT ON TABLE events.topic_grants TO backoffice_worker;
GRANT SELECT ON TABLE events.topic_grants TO backoffice_admin;
GRANT SELECT ON TABLE events.topic_grants TO backoffice_kernel;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.topic_grants TO backoffice_definer;


--
-- Name: TABLE topic_schemas; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.topic_schemas FROM postgres;
REVOKE SELECT ON TABLE events.topic_schemas FROM backoffice_service;
REVOKE SELECT ON TABLE events.topic_schemas FROM backoffice_worker;
REVOKE SELECT ON TABLE events.topic_schemas FROM backoffice_admin;
REVOKE SELECT ON TABLE events.topic_schemas FROM backoffice_kernel;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.topic_schemas FROM backoffice_definer;
GRANT ALL ON TABLE events.topic_schemas TO backoffice_owner;
GRANT SELECT ON TABLE events.topic_schemas TO backoffice_service;
GRANT SELECT ON TABLE events.topic_schemas TO backoffice_worker;
GRANT SELECT ON TABLE events.topic_schemas TO backoffice_admin;
GRANT SELECT ON TABLE events.topic_schemas TO backoffice_kernel;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.topic_schemas TO backoffice_definer;


--
-- Name: TABLE topics; Type: ACL; Schema: events; Owner: backoffice_owner
--

REVOKE ALL ON TABLE events.topics FROM postgres;
REVOKE SELECT ON TABLE events.topics FROM backoffice_service;
REVOKE SELECT ON TABLE events.topics FROM backoffice_worker;
REVOKE SELECT ON TABLE events.topics FROM backoffice_admin;
REVOKE SELECT ON TABLE events.topics FROM backoffice_kernel;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE events.topics FROM backoffice_definer;
GRANT ALL ON TABLE events.topics TO backoffice_owner;
GRANT SELECT ON TABLE events.topics TO backoffice_service;
GRANT SELECT ON TABLE events.topics TO backoffice_worker;
GRANT SELECT ON TABLE events.topics TO backoffice_admin;
GRANT SELECT ON TABLE events.topics TO backoffice_kernel;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE events.topics TO backoffice_definer;


--
-- Name: TABLE definitions; Type: ACL; Schema: lifecycle; Owner: backoffice_owner
--

REVOKE ALL ON TABLE lifecycle.definitions FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE lifecycle.definitions FROM backoffice_definer;
REVOKE SELECT ON TABLE lifecycle.definitions FROM backoffice_kernel;
GRANT ALL ON TABLE lifecycle.definitions TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lifecycle.definitions TO backoffice_definer;
GRANT SELECT ON TABLE lifecycle.definitions TO backoffice_kernel;


--
-- Name: TABLE governed; Type: ACL; Schema: lifecycle; Owner: backoffice_owner
--

REVOKE ALL ON TABLE lifecycle.governed FROM postgres;
REVOKE SELECT ON TABLE lifecycle.governed FROM backoffice_definer;
REVOKE SELECT ON TABLE lifecycle.governed FROM backoffice_kernel;
REVOKE SELECT ON TABLE lifecycle.governed FROM backoffice_user;
REVOKE SELECT ON TABLE lifecycle.governed FROM backoffice_service;
REVOKE SELECT ON TABLE lifecycle.governed FROM backoffice_worker;
REVOKE SELECT ON TABLE lifecycle.governed FROM backoffice_admin;
GRANT ALL ON TABLE lifecycle.governed TO backoffice_owner;
GRANT SELECT ON TABLE lifecycle.governed TO backoffice_definer;
GRANT SELECT ON TABLE lifecycle.governed TO backoffice_kernel;
GRANT SELECT ON TABLE lifecycle.governed TO backoffice_user;
GRANT SELECT ON TABLE lifecycle.governed TO backoffice_service;
GRANT SELECT ON TABLE lifecycle.governed TO backoffice_worker;
GRANT SELECT ON TABLE lifecycle.governed TO backoffice_admin;


--
-- Name: TABLE rules; Type: ACL; Schema: lifecycle; Owner: backoffice_owner
--

REVOKE ALL ON TABLE lifecycle.rules FROM postgres;
REVOKE SELECT,INSERT,DELETE,UPDATE ON TABLE lifecycle.rules FROM backoffice_definer;
REVOKE SELECT ON TABLE lifecycle.rules FROM backoffice_kernel;
REVOKE SELECT ON TABLE lifecycle.rules FROM backoffice_user;
REVOKE SELECT ON TABLE lifecycle.rules FROM backoffice_service;
REVOKE SELECT ON TABLE lifecycle.rules FROM backoffice_worker;
REVOKE SELECT ON TABLE lifecycle.rules FROM backoffice_admin;
GRANT ALL ON TABLE lifecycle.rules TO backoffice_owner;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lifecycle.rules TO backoffice_definer;
GRANT SELECT ON TABLE lifecycle.rules TO backoffice_kernel;
GRANT SELECT ON TABLE lifecycle.rules TO backoffice_user;
GRANT SELECT ON TABLE lifecycle.rules TO backoffice_service;
GRANT SELECT ON TABLE lifecycle.rules TO backoffice_worker;
GRANT SELECT ON TABLE lifecycle.rules TO backoffice_admin;


--
-- Name: TABLE transitions; Type: ACL; Schema: lifecycle; Owner: backoffice_owner
--

REVOKE ALL ON TABLE lifecycle.transitions FROM postgres;
REVOKE SELECT ON TABLE lifecycle.transitions FROM backoffice_user;
REVOKE SELECT ON TABLE lifecycle.transitions FROM backoffice_service;
REVOKE SELECT ON TABLE lifecycle.transitions FROM backoffice_worker;
REVOKE SELECT ON TABLE lifecycle.transitions FROM backoffice_admin;
GRANT ALL ON TABLE lifecycle.transitions TO backoffice_owner;
GRANT SELECT ON TABLE lifecycle.transitions TO backoffice_user;
GRANT SELECT ON TABLE lifecycle.transitions TO backoffice_service;
GRANT SELECT ON TABLE lifecycle.transitions TO backoffice_worker;
GRANT SELECT ON TABLE lifecycle.transitions TO backoffice_admin;


--
-- PostgreSQL database dump complete
--

\unrestrict aqR21eE5rRc5DmnnGcxUSaNR2i9yr2AOOmgNuhcSAUSeQPOdf67M0SbE9SLYYsR

