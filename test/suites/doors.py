"""Three doors, one answer: the same requests by SQL, by PostgREST's statements and rules, and at the gateway where it is built (/rpc, and its routes).

Each door has its own copy of one database, so that all begin alike. Status, body and the headers that a function can set must be equal; ids
that are made on the way are replaced by their number of first appearance. What the answers must be, the steps say. Errors of the gateway's
routes are problem details: there status and symbolic code count.
"""
import contextlib
import dataclasses
import json
import os
import re

from harness import doors, jws
from harness.pg import Cluster
from harness.postgrest_door import Postgrest, Request, load_catalogue

SECRET = "an HS256 secret for tests, long enough"
FOREIGN = "another secret, which only PostgREST trusts"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
THIRD = "unmodified"
COMPARED = ("location", "retry-after", "www-authenticate")

SETUP = """
CREATE ROLE doors_gateway LOGIN IN ROLE backoffice_gateway;
CREATE ROLE doors_authenticator LOGIN NOINHERIT IN ROLE backoffice_anon, backoffice_user;
SELECT access.add_verification_key('test', 'HS256', '%s');
SELECT access.create_organization('Doors') AS org, access.create_organization('Elsewhere') AS other \\gset
SELECT access.create_user('ann@doors.test', 'correct horse battery', :'org') AS ann, access.create_user('bob@doors.test', 'correct horse battery', :'org') AS bob \\gset
SELECT access.grant_role(:'ann', 'owner', NULL, :'org'), access.grant_role(:'bob', 'member', NULL, :'org');
SELECT access.login('bob@doors.test', 'correct horse battery');  -- makes the key that tokens are signed with
BEGIN;
SELECT access.act_as(:'org');
SELECT certificates.create_pool('PAPER', 'EUR', 5000), certificates.generate_codes('PAPER', 2);
COMMIT;
""" % SECRET


class Known:
    """Ids and tokens that the steps speak of."""

    def __init__(self, pg):
        def one(sql):
            return str(pg.query(sql, dbname="doors")[0][0])
        self.org, self.other = (one(f"SELECT id FROM access.organizations WHERE name = '{n}'") for n in ("Doors", "Elsewhere"))
        self.ids = {n: one(f"SELECT id FROM access.users WHERE email = '{n}@doors.test'") for n in ("ann", "bob")}
        self.pool = one("SELECT id FROM certificates.pools")
        self.certificates = [str(r[0]) for r in pg.query("SELECT id FROM certificates.certificates ORDER BY slot_no", dbname="doors")]
        self.ann, self.bob = self.token("ann"), self.token("bob")

    def token(self, who, secret=SECRET, kid="test", **more):
        return jws.sign_hs256({"sub": self.ids[who], "org": self.org, "role": "backoffice_user", "exp": 4102444800, **more}, secret.encode(), kid=kid)


def steps(k):
    """(title, request, status, symbolic code or None), in order. "$title: member" is the member of that step's answer."""
    card, nobody = k.certificates[0], "00000000-0000-7000-8000-000000000000"
    key = {"Idempotency-Key": "k-1"}

    def ask(function, arguments=None, token=k.ann, method="POST", **headers):
        return Request(function, arguments or {}, method, token, headers.get("headers", {}))
    return [
        ("health for everybody", ask("health", token=None), 200, None),
        ("health by GET", ask("health", token=None, method="GET"), 200, None),
        ("nobody reads pools", ask("pools", token=None), 401, None),
        ("a page of pools", ask("pools", {"max_items": 10}), 200, None),
        ("a page too large", ask("pools", {"max_items": 1001}), 400, "bad_limit"),
        ("a pool by GET", ask("pool", {"pool": "PAPER"}, method="GET"), 200, None),
        ("a pool that is none", ask("pool", {"pool": "no-such"}), 404, "pool_not_found"),
        ("a permission that lacks", ask("pools", token=k.bob), 403, "permission_denied"),
        ("no writing by GET", ask("block_certificate", {"id": card}, method="GET"), 405, None),
        ("no id", ask("certificate", {"id": "not-an-id"}), 400, None),
        ("reserved", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "pos", "hold_s": 60}, headers=key), 201, None),
        ("reserved, told again", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "pos", "hold_s": 60}, headers=key), 201, None),
        ("the key with another request", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "pos"}, headers=key), 409, "idempotency_conflict"),
        ("a key too long", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "pos"}, headers={"Idempotency-Key": "k" * 513}), 400, "invalid_idempotency_key"),
        ("issued", ask("issue_certificate", {"id": card, "order_ref": "o-1"}, headers=key), 200, None),
        ("issued, told again with its code", ask("issue_certificate", {"id": card, "order_ref": "o-1"}, headers=key), 200, None),
        ("not issued twice", ask("issue_certificate", {"id": card}), 409, "illegal_transition"),
        ("redeemed", ask("redeem_certificate", {"id": card, "amount_minor": 1200}), 200, None),
        ("more than there is", ask("redeem_certificate", {"id": card, "amount_minor": 4000}), 409, "insufficient_balance"),
        ("refunded", ask("refund_certificate", {"id": card, "amount_minor": 200}), 200, None),
        ("more than was taken", ask("refund_certificate", {"id": card, "amount_minor": 2000}), 409, "refund_exceeds_redeemed"),
        ("blocked", ask("block_certificate", {"id": card, "reason": "lost"}), 200, None),
        ("unblocked", ask("unblock_certificate", {"id": card}), 200, None),
        ("no CVC unasked", ask("certificate_cvc", {"id": card}), 409, "notification_not_requested"),
        ("notified", ask("notify_certificate", {"id": card}), 200, None),
        ("the CVC", ask("certificate_cvc", {"id": card}), 200, None),
        ("the certificate", ask("certificate", {"id": card}, method="GET"), 200, None),
        ("a certificate that is none", ask("certificate", {"id": nobody}), 404, "certificate_not_found"),
        ("the last one", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "internet_store"}), 201, None),
        ("an empty pool", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "internet_store"}, headers={"Idempotency-Key": "k-2"}), 409, "pool_empty"),
        ("released", ask("release_certificate", {"id": k.certificates[1]}), 200, None),
        ("the pool has one again, for the same key", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "internet_store"}, headers={"Idempotency-Key": "k-2"}), 201, None),
        ("a code that is none", ask("check_certificate", {"code": "AAAAA-BBBBB-CCCCC-DDDDD", "cvc": "0000"}), 200, None),
        *pool_steps(ask, key),
        ("members", ask("members"), 200, None),
        ("a role", ask("define_role", {"name": "till", "permissions": ["certificates.reserve"], "inherits": ["member"]}), 200, None),
        ("a role with nonsense", ask("define_role", {"name": "till", "permissions": ["no.such"]}), 400, "unknown_permission"),
        ("granted", ask("grant_role", {"user_id": k.ids["bob"], "role": "till", "valid_until": "2030-01-01T00:00:00Z"}), 200, None),
        ("which has its effect at once", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "pos"}, token=k.bob), 409, "pool_empty"),
        ("revoked", ask("revoke_role", {"user_id": k.ids["bob"], "role": "till"}), 200, None),
        ("so has that", ask("reserve_next_certificate", {"pool": "PAPER", "channel": "pos"}, token=k.bob), 403, "permission_denied"),
        ("invited", ask("invite_member", {"email": "carl@doors.test"}), 201, None),
        ("invitations", ask("invitations"), 200, None),
        ("topics", ask("event_topics"), 200, None),
        ("an organization of somebody else", ask("pools", headers={"X-Organization-Id": k.other}), 403, "not_a_member"),
        ("an organization that is none", ask("pools", headers={"X-Organization-Id": nobody}), 403, "not_a_member"),
        ("one's own", ask("pools", headers={"X-Organization-Id": k.org}), 200, None),
        ("keys for everybody", ask("jwks", token=None), 200, None),
        ("a wrong password", ask("login", {"email": "ann@doors.test", "password": "wrong horse battery"}, token=None), 401, "invalid_credentials"),
        ("an unknown user", ask("login", {"email": "zoe@doors.test", "password": "wrong horse battery"}, token=None), 401, "invalid_credentials"),
        ("logged in", ask("login", {"email": "Ann@doors.test", "password": "correct horse battery", "device_info": {"name": "phone"}}, token=None,
                          headers={"User-Agent": "doors", "X-Forwarded-For": "10.0.0.1, 192.0.2.7"}), 200, None),
        ("who it is", ask("me", token="$logged in: access_token"), 200, None),
        ("who nobody is", ask("me", token=None), 401, None),
        ("the session", ask("sessions", token="$logged in: access_token"), 200, None),
        ("refreshed", ask("refresh", {"refresh_token": "$logged in: refresh_token"}, token=None), 200, None),
        ("refreshed, told again", ask("refresh", {"refresh_token": "$logged in: refresh_token"}, token=None), 200, None),
        ("refreshed once more", ask("refresh", {"refresh_token": "$refreshed: refresh_token"}, token=None), 200, None),
        ("an old token ends the session", ask("refresh", {"refresh_token": "$logged in: refresh_token"}, token=None), 401, "refresh_token_reused"),
        ("which is over", ask("me", token="$logged in: access_token"), 401, "session_ended"),
        ("and stays so", ask("refresh", {"refresh_token": "$refreshed once more: refresh_token"}, token=None), 401, None),
        ("no refresh token", ask("refresh", {"refresh_token": "bor_nonsense"}, token=None), 401, "refresh_token_invalid"),
        ("logged in again", ask("login", {"email": "ann@doors.test", "password": "correct horse battery"}, token=None), 200, None),
        ("a factor", ask("mfa_enroll", {"label": "phone"}, token="$logged in again: access_token", headers=key), 200, None),
        ("a factor, told again", ask("mfa_enroll", {"label": "phone"}, token="$logged in again: access_token", headers=key), 200, None),
        ("not its code", ask("mfa_activate", {"factor_id": "$a factor: factor_id", "code": "000"}, token="$logged in again: access_token"), 403, "wrong_code"),
        ("not the password", ask("change_password", {"old_password": "wrong horse battery", "new_password": "another horse battery"},
                                 token="$logged in again: access_token"), 403, "wrong_password"),
        ("too short", ask("change_password", {"old_password": "correct horse battery", "new_password": "short"}, token="$logged in again: access_token"), 400, "password_too_short"),
        ("another password", ask("change_password", {"old_password": "correct horse battery", "new_password": "another horse battery"},
                                 token="$logged in again: access_token"), 200, None),
        ("a session that is none", ask("end_session", {"id": nobody}, token="$logged in again: access_token"), 404, "unknown_session"),
        ("logged out", ask("logout", token="$logged in again: access_token"), 200, None),
        ("and out", ask("me", token="$logged in again: access_token"), 401, "session_ended"),
        ("the old password", ask("login", {"email": "ann@doors.test", "password": "correct horse battery"}, token=None), 401, "invalid_credentials"),
        ("a team", ask("create_team", {"name": "Tills"}), 201, None),
        ("a team of that name", ask("create_team", {"name": "TILLS"}), 409, "team_name_taken"),
        ("in the team", ask("add_team_member", {"team_id": "$a team: id", "user_id": k.ids["bob"]}), 200, None),
        ("teams", ask("teams"), 200, None),
        ("out of the team", ask("remove_team_member", {"team_id": "$a team: id", "user_id": k.ids["bob"]}), 200, None),
        ("no team any more", ask("delete_team", {"id": "$a team: id"}), 200, None),
        ("none to delete", ask("delete_team", {"id": "$a team: id"}), 404, "unknown_team"),
        ("all organizations", ask("organizations"), 403, "platform_only"),
        ("a provider that is none", ask("oidc_begin", {"issuer": "https://no.test", "redirect_uri": "https://x.test/"}, token=None), 404, "unknown_issuer"),
        ("no logout token", ask("backchannel_logout", {"logout_token": "nonsense"}, token=None), 401, "token_malformed"),
        ("a machine's key", ask("create_api_key", {"name": "till 7", "scopes": ["certificates.read"]}, headers=key), 201, None),
        ("a machine's key, told again", ask("create_api_key", {"name": "till 7", "scopes": ["certificates.read"]}, headers=key), 201, None),
        ("keys", ask("api_keys"), 200, None),
        ("a key for more than one has", ask("create_api_key", {"name": "x", "scopes": ["*"]}, token=k.bob), 403, "permission_denied"),
        ("a key that is none", ask("revoke_api_key", {"id": nobody}), 404, "unknown_api_key"),
        ("revoked key", ask("revoke_api_key", {"id": "$a machine's key: id"}), 200, None),
        ("another name of a team", ask("create_team", {"name": "Drivers"}), 201, None),
        ("a team renamed", ask("rename_team", {"id": "$another name of a team: id", "name": "Riders"}), 200, None),
        ("a team that is none, renamed", ask("rename_team", {"id": nobody, "name": "Walkers"}), 404, "unknown_team"),
        ("roles", ask("roles"), 200, None),
        ("permissions", ask("permissions", method="GET"), 200, None),
        ("what was done, too much of it", ask("audit", {"max_items": 0}, method="GET"), 400, "bad_limit"),
        ("what was done is not for all", ask("audit", token=k.bob), 403, "permission_denied"),
        ("an invitation withdrawn", ask("withdraw_invitation", {"id": "$invited: id"}), 200, None),
        ("nothing to withdraw", ask("withdraw_invitation", {"id": "$invited: id"}), 404, "unknown_invitation"),
        ("no invitations to me", ask("my_invitations"), 200, None),
        ("an invitation that is none", ask("accept_invitation", {"id": nobody}), 404, "unknown_invitation"),
        ("an organization, not by its owner", ask("create_organization", {"name": "Third"}), 403, "platform_only"),
        ("a state of one, not by its owner", ask("set_organization_state", {"id": k.org, "state": "suspended"}), 403, "platform_only"),
        ("a third session", ask("login", {"email": "ann@doors.test", "password": "another horse battery"}, token=None), 200, None),
        ("a code without a factor", ask("mfa_verify", {"code": "123456"}, token="$a third session: access_token"), 403, "wrong_code"),
        ("recovery codes without a factor", ask("mfa_recovery_codes", {"code": "123456"}, token="$a third session: access_token"), 403, None),
        ("a factor that is none", ask("mfa_disable", {"factor_id": nobody, "code": "123456"}, token="$a third session: access_token"), 404, "unknown_factor"),
        ("out everywhere", ask("logout_all", token="$a third session: access_token"), 200, None),
        ("the third one too", ask("me", token="$a third session: access_token"), 401, "session_ended"),
        ("out of a bare token nowhere", ask("logout"), 403, None),
        # PostgREST trusts this key and sets the claims and the role; the database does not believe it.
        ("a claim that somebody else signed", ask("pools", token=k.token("ann", FOREIGN, "foreign")), 401, "token_unknown_key"),
        ("a claim without the right to it", ask("pools", token=k.token("ann", sub="00000000-0000-7000-8000-000000000001")), 401, "token_unknown_user"),
        ("removed", ask("remove_member", {"user_id": k.ids["bob"]}), 200, None),
        ("no member any more", ask("pools", token=k.bob), 403, "not_a_member"),
    ]


def pool_steps(ask, key):
    """Pools by HTTP alone, holds, and what ends a certificate."""
    first, second, third = ({"id": "$%s: id" % title} for title in ("a card", "a second card", "a third card"))

    def held(n):
        return {"id": f"$held {n}: id"}
    return [
        ("a pool made", ask("create_pool", {"code": "CARD", "currency": "EUR", "face_value_minor": 3000, "requires_activation": True, "low_water": 1}, headers=key), 201, None),
        ("a pool made, told again", ask("create_pool", {"code": "CARD", "currency": "EUR", "face_value_minor": 3000, "requires_activation": True, "low_water": 1}, headers=key), 201, None),
        ("a pool of that code", ask("create_pool", {"code": "CARD", "currency": "EUR", "face_value_minor": 3000}), 409, "pool_exists"),
        ("a pool of nothing", ask("create_pool", {"code": "FREE", "currency": "EUR", "face_value_minor": 0}), 422, "invalid_pool"),
        ("imported", ask("import_codes", {"pool": "CARD", "codes": [f"GIFT-000{n}" for n in range(4)], "cvcs": ["1234", "5678", "9012", "3456"]}), 200, None),
        ("not imported again", ask("import_codes", {"pool": "CARD", "codes": ["GIFT-0009", "GIFT-0002"]}), 422, "invalid_codes"),
        ("generated", ask("generate_codes", {"pool": "CARD", "count": 3}, headers=key), 200, None),
        ("generated, told again", ask("generate_codes", {"pool": "CARD", "count": 3}, headers=key), 200, None),
        ("how many that made", ask("pool", {"pool": "CARD"}, method="GET"), 200, None),
        ("paused", ask("pause_pool", {"pool": "CARD"}), 200, None),
        ("none from a paused pool", ask("reserve_next_certificate", {"pool": "CARD", "channel": "pos"}), 409, "pool_paused"),
        ("resumed", ask("resume_pool", {"pool": "CARD"}), 200, None),
        ("a card", ask("reserve_next_certificate", {"pool": "CARD", "channel": "pos"}), 201, None),
        ("a second card", ask("reserve_next_certificate", {"pool": "CARD", "channel": "pos"}), 201, None),
        ("a third card", ask("reserve_next_certificate", {"pool": "CARD", "channel": "pos"}), 201, None),
        *[(f"issued {n}", ask("issue_certificate", card), 200, None) for n, card in enumerate((first, second, third))],
        ("not active yet", ask("hold_certificate", {**first, "amount_minor": 100}), 409, "not_redeemable"),
        *[(f"active {n}", ask("activate_certificate", card), 200, None) for n, card in enumerate((first, second, third))],
        ("its code", ask("certificate_code", first), 200, None),
        ("a code that is none", ask("certificate_code", {"id": "00000000-0000-7000-8000-000000000000"}), 404, "certificate_not_found"),
        ("held 1", ask("hold_certificate", {**first, "amount_minor": 1000, "hold_s": 600, "channel": "pos", "order_ref": "o-9"}, headers=key), 201, None),
        ("held 1, told again", ask("hold_certificate", {**first, "amount_minor": 1000, "hold_s": 600, "channel": "pos", "order_ref": "o-9"}, headers=key), 201, None),
        ("the key for another hold", ask("hold_certificate", {**first, "amount_minor": 1001}, headers=key), 409, "idempotency_conflict"),
        ("held 2", ask("hold_certificate", {**first, "amount_minor": 500}), 201, None),
        ("not for nothing", ask("hold_certificate", {**first, "amount_minor": 1, "hold_s": 0}), 400, "invalid_ttl"),
        ("more than is available", ask("hold_certificate", {**first, "amount_minor": 1501}), 409, "insufficient_balance"),
        ("a hold", ask("redemption", held(1), method="GET"), 200, None),
        ("a hold that is none", ask("redemption", {"id": "00000000-0000-7000-8000-000000000000"}), 404, "redemption_not_found"),
        ("more than is held", ask("capture_hold", {**held(1), "amount_minor": 1001}), 409, "hold_exceeded"),
        ("captured", ask("capture_hold", {**held(1), "amount_minor": 600}, headers=key), 200, None),
        ("captured, told again", ask("capture_hold", {**held(1), "amount_minor": 600}, headers=key), 200, None),
        ("not captured twice", ask("capture_hold", held(1)), 409, "already_captured"),
        ("what became of it", ask("redemption", held(1)), 200, None),
        ("given up", ask("release_hold", held(2)), 200, None),
        ("not given up twice", ask("release_hold", held(2)), 409, "already_released"),
        ("nobody gives up", ask("release_hold", held(2), token=None), 401, None),
        ("extended", ask("extend_certificate", {**first, "valid_until": "2031-01-01T00:00:00+00:00"}), 200, None),
        ("not into the past", ask("extend_certificate", {**first, "valid_until": "2020-01-01T00:00:00+00:00"}), 400, "invalid_valid_until"),
        ("a used one is no refund", ask("refund_purchase", first), 409, "certificate_used"),
        ("replaced", ask("replace_certificate", {**first, "reason": "lost"}, headers=key), 201, None),
        ("replaced, told again", ask("replace_certificate", {**first, "reason": "lost"}, headers=key), 201, None),
        ("the successor", ask("certificate", {"id": "$replaced: replaced_by"}), 200, None),
        ("its code too", ask("certificate_code", {"id": "$replaced: replaced_by"}), 200, None),
        ("a pool of one", ask("create_pool", {"code": "LONE", "currency": "EUR", "face_value_minor": 3000}), 201, None),
        ("its one code", ask("generate_codes", {"pool": "LONE", "count": 1}), 200, None),
        ("the one", ask("reserve_next_certificate", {"pool": "LONE", "channel": "pos"}), 201, None),
        ("the one issued", ask("issue_certificate", {"id": "$the one: id"}), 200, None),
        ("no successor", ask("replace_certificate", {"id": "$the one: id"}, headers={"Idempotency-Key": "k-lost"}), 409, "pool_empty"),
        ("which is told", ask("pool", {"pool": "LONE"}, method="GET"), 200, None),
        ("one more code", ask("generate_codes", {"pool": "LONE", "count": 1}), 200, None),
        ("a successor, for the same key", ask("replace_certificate", {"id": "$the one: id"}, headers={"Idempotency-Key": "k-lost"}), 201, None),
        ("bought back", ask("refund_purchase", {**second, "reason": "changed her mind"}), 200, None),
        ("cancelled", ask("void_purchase", third), 200, None),
        ("cancelled is cancelled", ask("void_purchase", third), 200, None),
        ("and is not bought back", ask("refund_purchase", third), 409, "illegal_transition"),
        ("an order that is none", ask("retry_order", {"order_ref": "no-such"}), 404, "order_not_found"),
        ("closed", ask("close_pool", {"pool": "CARD"}), 200, None),
        ("for good", ask("resume_pool", {"pool": "CARD"}), 409, "pool_state"),
    ]


def symbol(body):
    """The symbolic code of an error body: in front of its details, or its code where the function answered it."""
    error = json.loads(body)
    found = re.match(r"([a-z0-9_]+): ", error.get("details") or "")
    return found.group(1) if found else error["code"]


def plain(text, known, fresh):
    return UUID.sub(lambda m: m.group(0) if m.group(0) in known else fresh.setdefault(m.group(0), f"<new {len(fresh)}>"), text)


def filled(value, answers):
    """With what earlier answers said in the place of "$title: member"."""
    if isinstance(value, dict):
        return {k: filled(v, answers) for k, v in value.items()}
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    title, member = value[1:].rsplit(": ", 1)
    return json.loads(answers[title].body)[member]


# Random by nature: tokens (JWS, refresh tokens), keys, seeds.
RANDOM = re.compile(r'eyJ[\w-]+\.[\w-]+\.[\w-]+|bo[rk]_[\w-]+|(?<="secret": ")\w+|(?<="code": ")[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}|(?<=secret=)\w+|(?<="kid": ")[\w-]+|(?<="[xyn]": ")[\w-]+')


# The gateway tells of a token that it refuses as PostgREST tells of one that *it* refuses; SQL, and a PostgREST that trusts the key, as the database does.
TOKEN_CODES = {"token_unknown_key"}


def play(door, script, known):
    """[(title, what is compared, problem or None)]"""
    fresh, answers = {}, {}
    for title, request, status, code in script:
        if not door.takes(request):
            yield title, None, None
            continue
        try:
            answer = door.ask(dataclasses.replace(request, token=filled(request.token, answers), arguments=filled(request.arguments, answers)))
        except (KeyError, TypeError) as e:
            yield title, "", f"{door.name}: {title}: an earlier answer lacks {e}"
            continue
        answers[title] = answer
        headers = {name: plain(answer.headers[name], known, fresh) for name in COMPARED if name in answer.headers}
        problem = None
        accepted = (code, "PGRST301") if code in TOKEN_CODES and door.name == "gateway" else (code,)
        if answer.status != status or (code is not None and symbol(answer.body) not in accepted):
            problem = f"{door.name}: {title}: {answer.status} {answer.body}, expected {status} {code or ''}"
        if len(accepted) > 1 or (door.name == "routes" and status >= 400):
            yield title, None, problem      # told in other words
            continue
        body = RANDOM.sub(lambda m: fresh.setdefault(m.group(0), f"<random {len(fresh)}>"), plain(answer.body, known, fresh))
        yield title, f"{answer.status} {headers} {body}", problem


@contextlib.contextmanager
def opened(pg, keys, third):
    """The doors there are, each with its own database."""
    copy(pg, "sql", "postgrest", "gateway", "routes", *([THIRD] if third else []))
    with contextlib.ExitStack() as stack:
        found = [doors.Sql(pg, "sql", "doors_gateway"), Postgrest(pg, "postgrest", "doors_authenticator", keys)]
        if third:
            found.append(stack.enter_context(third(pg, keys)))
        if os.path.exists(doors.GATEWAY):
            gateway = stack.enter_context(doors.Gateway(pg.dsn("gateway", "doors_gateway")))
            found += [gateway] if gateway.serves_rpc() else []
            found.append(stack.enter_context(doors.Routes(pg.dsn("routes", "doors_gateway"), doors.load_routes(pg, "doors"))))
        yield found


def prepare(pg):
    """The database doors; what it has, and the keys that a PostgREST is to trust."""
    pg.create_database("doors")
    pg.psql("doors", SETUP)
    keys = [{"kty": "oct", "kid": kid, "k": jws.encode(secret.encode())} for kid, secret in (("test", SECRET), ("foreign", FOREIGN))]
    return Known(pg), keys + pg.query("SELECT access.jwks()", dbname="doors")[0][0]["keys"]


def copy(pg, *names):
    """Databases like doors. Time stands still at the present: a PostgREST knows no other."""
    now = pg.query("SELECT date_trunc('second', now())")[0][0]
    for name in names:
        pg.query(f'CREATE DATABASE "{name}" TEMPLATE doors')
        pg.query(f"ALTER DATABASE \"{name}\" SET backoffice.frozen_now = '{now}'")


def run(only=None, third=None):
    """third: a context manager of (cluster, keys) that opens one door more, to the database THIRD."""
    with Cluster() as pg:
        known, keys = prepare(pg)
        script = steps(known)
        ids = {known.org, known.other, known.pool, *known.ids.values(), *known.certificates, "00000000-0000-7000-8000-000000000000"}
        with opened(pg, keys, third) as all_doors:
            played = {door.name: list(play(door, script, ids)) for door in all_doors}
            unasked = sorted(set(load_catalogue(pg, "doors")[0]) - {request.function for _, request, _, _ in script} - {"pre_request"})
            missing = [route for door in all_doors if door.name == "routes" for route in door.missing()]
        yield "every function has its route", not missing, "\n".join(missing)
        yield "every function is asked", not unasked, ", ".join(unasked)
        for name, answers in played.items():
            problems = [problem for _, _, problem in answers if problem]
            yield f"{name} ({len(answers)} requests)", not problems, "\n".join(problems)
        counts = committed(pg, played)
        first = played.pop("sql")
        for name, answers in played.items():
            different = [f"{a[0]}:\n  sql: {a[1]}\n  {name}: {b[1]}" for a, b in zip(first, answers) if b[1] is not None and a[1] != b[1]]
            yield f"sql = {name}", not different and len(first) == len(answers), "\n".join(different)
        yield "committed-although-an-error", set(counts.values()) == {3}, str(counts)


def committed(pg, names):
    """issue.blocked of the requests that were answered 409."""
    return {name: pg.query("SELECT count(*) FROM events.log WHERE type = 'issue.blocked'", dbname=name)[0][0] for name in names}
