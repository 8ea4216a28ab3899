"""access: what the OpenID provider of one organization can vouch for, and what not."""
import json

from faults.tokens import Shop, authenticate, code, expect, provider
from harness.signer import Issuer

BACK = "https://shop.test/auth/callback"


def log_in(shop, issuer, subject):
    """With a browser: the answer of oidc_complete()."""
    begun = shop.one("SELECT access.oidc_begin(%s, %s)", (issuer.name, BACK))
    shop.one("SELECT access.oidc_pending(%s)", (begun["state"],))
    nonce = begun["url"].split("nonce=")[1].split("&")[0]
    token = issuer.token({"sub": subject, "aud": "backoffice", "nonce": nonce, "typ": "ID", "email": subject + "@acme.test", "email_verified": True})
    return shop.one("SELECT access.oidc_complete(%s, %s, NULL, '{\"name\": \"browser\"}', '192.0.2.1')", (begun["state"], token))


def acting(conn, token, sql, params=(), end="ROLLBACK"):
    """The first value, or the symbolic code of the error; in a transaction of its own."""
    with conn.cursor() as cur:
        cur.execute("BEGIN; SELECT access.authenticate(%s)", (token,))
        got = code(conn, sql, params)
        cur.execute(end)
    return got


def names(organizations):
    return sorted(o["name"] for o in organizations)


class Everywhere:
    """Eve: known to Acme's provider, and a member of Bolt, where she logs in by password."""

    def __init__(self, shop):
        self.bolt = shop.one("SELECT id FROM access.organizations WHERE name = 'Bolt'")
        self.issuer = Issuer("https://id.test/acme")
        provider(shop, self.issuer, organization=shop.acme, provision=True)
        self.theirs = self.issuer.token({"sub": "eve", "azp": "backoffice", "email": "eve@acme.test", "email_verified": True})
        self.id = authenticate(shop.connect(), self.theirs)
        shop.one("SELECT access.set_password(%s, 'correct horse')", (self.id,))
        shop.one("SELECT access.add_member(%s, %s)", (self.bolt, self.id))
        self.by_password = shop.one("SELECT access.login('eve@acme.test', 'correct horse', %s)", (self.bolt,))
        self.by_provider = log_in(shop, self.issuer, "eve")
        self.key = shop.one("SELECT access.create_api_key('k', '{access.read}', organization => %s, \"user\" => %s)", (shop.acme, self.id))["key"]
        self.bound = {"session": self.by_provider["access_token"], "token": self.theirs, "API key": self.key}


def case_bound_sees():
    """Who is vouched for by one organization's provider, or by its API key, sees of itself what is that organization's."""
    with Shop() as shop:
        conn, eve = shop.connect(), Everywhere(shop)
        expect(names(eve.by_provider["user"]["organizations"]), ["Acme"], "the answer to the log-in")
        renewed = shop.one("SELECT access.refresh(%s)", (eve.by_provider["refresh_token"],))
        expect((renewed["status"], names(renewed["user"]["organizations"]), renewed["user"]["organization_id"]), ("ok", ["Acme"], shop.acme), "the answer to a refresh")
        shop.one("SELECT access.invite('eve@acme.test', organization => access.create_organization('Court'))")
        invitation = shop.one("SELECT id FROM access.invitations")
        for what, token in eve.bound.items():
            expect(names(acting(conn, token, "SELECT access.me()")["organizations"]), ["Acme"], what + ": its organizations")
            expect(acting(conn, token, "SELECT array_agg(DISTINCT organization_id::text) FROM access.my_sessions"), [shop.acme], what + ": its sessions")
            expect(acting(conn, token, "SELECT count(*) FROM access.my_invitations()"), 0, what + ": invitations of others")
            expect(acting(conn, token, "SELECT access.accept_invitation(%s)", (invitation,)), "unknown_invitation", what + ": which it does not accept")
        ours = eve.by_password["access_token"]
        expect(names(acting(conn, ours, "SELECT access.me()")["organizations"]), ["Acme", "Bolt"], "by password: all organizations")
        expect(acting(conn, ours, "SELECT count(*) FROM access.my_sessions"), 2, "by password: all sessions")
        expect(names(eve.by_password["user"]["organizations"]), ["Acme", "Bolt"], "by password: the answer")


def case_bound_ends():
    """It ends the sessions for its organization, and no others."""
    with Shop() as shop:
        conn, eve = shop.connect(), Everywhere(shop)
        for what, token in eve.bound.items():
            expect(acting(conn, token, "SELECT access.end_session(%s)", (eve.by_password["session_id"],)), "unknown_session", what + ": a session for Bolt")
        expect(acting(conn, eve.theirs, "SELECT access.end_session(%s)", (eve.by_provider["session_id"],)), True, "a session for Acme")
        expect(acting(conn, eve.by_provider["access_token"], "SELECT access.logout_all()", end="COMMIT"), 1, "all of Acme's")
        expect(authenticate(conn, eve.by_provider["access_token"]), "session_ended", "its own")
        expect(authenticate(conn, eve.by_password["access_token"]), eve.id, "not the one for Bolt")
        expect(acting(conn, eve.theirs, "SELECT access.logout_all()"), 0, "by their token: none is left")
        expect(acting(conn, eve.by_password["access_token"], "SELECT access.logout_all()"), 1, "by password: whatever there is")


def case_bound_proves():
    """What a user proves to be itself with everywhere is not changed by whom one organization vouches for; until it belongs elsewhere, all is one."""
    with Shop() as shop:
        conn, eve = shop.connect(), Everywhere(shop)
        calls = ("SELECT access.mfa_enroll('theirs')", "SELECT access.mfa_activate(gen_random_uuid(), '123456')", "SELECT access.mfa_disable(gen_random_uuid(), '123456')",
                 "SELECT access.mfa_recovery_codes('123456')", "SELECT access.change_password('correct horse', 'another horse')")
        for call in calls:
            expect(acting(conn, eve.by_provider["access_token"], call), "other_organization", call)
        assert "factor_id" in acting(conn, eve.by_password["access_token"], calls[0])
        expect(acting(conn, eve.by_password["access_token"], calls[4]), {"status": "ok"}, calls[4])
        # A code of the user's own factor is shown in any session.
        expect(acting(conn, eve.by_provider["access_token"], "SELECT access.mfa_verify('123456')"), {"status": "denied"}, "a code that is wrong")
        shop.one("SELECT access.remove_member(%s, %s)", (eve.bolt, eve.id))
        assert "factor_id" in acting(conn, eve.by_provider["access_token"], calls[0])


def case_bound_by_whom():
    """What is bound follows the issuer's record."""
    with Shop() as shop:
        conn, eve = shop.connect(), Everywhere(shop)
        provider(shop, eve.issuer, organization=shop.acme, provision=True, link_by_email=True)
        expect(names(acting(conn, eve.by_provider["access_token"], "SELECT access.me()")["organizations"]), ["Acme", "Bolt"], "trusted everywhere")
        assert json.dumps(shop.one("SELECT access.refresh(%s)", (eve.by_provider["refresh_token"],))["user"]["organizations"]).count("name") == 2
        assert "factor_id" in acting(conn, eve.by_provider["access_token"], "SELECT access.mfa_enroll('mine')")


def case_known_address():
    """A log-in at a provider does not make an address one that the user's password may be guessed from."""
    with Shop(**{"backoffice.login_free_failures": "1"}) as shop:
        eve = Everywhere(shop)
        log_in = "SELECT access.login('eve@acme.test', %s, ip => %s) ->> 'status'"
        expect(shop.one(log_in, ("correct horse", "192.0.2.9")), "ok", "from where the user has proved to know the password")
        for i in range(30):
            if shop.one(log_in, ("guess", f"203.0.113.{i}")) == "locked":
                break
        expect(shop.one(log_in, ("guess", "203.0.113.99")), "locked", "from anywhere")
        expect(eve.by_provider["status"], "ok", "the provider has logged somebody in from 192.0.2.1")
        expect(shop.one(log_in, ("guess", "192.0.2.1")), "locked", "from there")
        expect(shop.one(log_in, ("guess", "192.0.2.9")), "denied", "from the known address")


def claims(name):
    return {"sub": name, "azp": "backoffice", "email": name + "@bolt.test", "email_verified": True}


def case_said_address():
    """The provider of one organization says an address: that is good there, and keeps nobody from having it who comes after."""
    with Shop() as shop:
        conn = shop.connect()
        bolt = shop.one("SELECT id FROM access.organizations WHERE name = 'Bolt'")
        tenant, other, house, trusted = (Issuer("https://id.test/" + name) for name in ("acme", "bolt", "house", "trusted"))
        provider(shop, tenant, organization=shop.acme, provision=True)
        provider(shop, other, organization=bolt, provision=True)
        provider(shop, house, provision=True)
        provider(shop, trusted, provision=True, link_by_email=True)
        said = {name: authenticate(conn, tenant.token(claims(name))) for name in ("a", "b", "c", "d", "e")}
        members = "SELECT array_agg(email ORDER BY email) FROM access.members WHERE email LIKE '%%bolt.test'"
        there = [name + "@bolt.test" for name in "abcde"]

        def address(user):
            return shop.one("SELECT email FROM access.users WHERE id = %s", (user,))

        def invited(issuer, name):
            """Whether Bolt's invitation comes to whom this provider knows."""
            shop.one("SELECT access.invite(%s, organization => %s)", (name + "@bolt.test", bolt))
            return acting(conn, issuer.token(claims(name)), "SELECT count(*) FROM access.my_invitations()")

        # Its owner is made a user by a service, and logs in by password.
        owner = code(conn, "SELECT access.create_user('A@bolt.test', 'correct horse', %s)", (bolt,))
        assert len(owner) == 36 and owner != said["a"], owner
        expect(shop.one("SELECT access.login('a@bolt.test', 'correct horse')")["user"]["id"], owner, "by password")
        expect(code(conn, "SELECT access.create_user('a@BOLT.test')"), "email_taken", "twice")
        # Its owner comes by a provider of the installation, trusted with addresses or not; or by that of another organization.
        for name, issuer in (("b", house), ("c", trusted), ("d", other)):
            owner = authenticate(conn, issuer.token(claims(name)))
            expect((owner != said[name], address(owner)), (True, name + "@bolt.test"), issuer.name)
        expect((invited(tenant, "b"), invited(house, "b"), invited(trusted, "c")), (0, 1, 1), "invitations come to the owner")
        expect(authenticate(conn, trusted.token({**claims("b"), "sub": "b2"})), authenticate(conn, house.token(claims("b"))), "and another subject is linked to it")
        # In its organization the address is the user's; there is one of it.
        expect(acting(conn, shop.login()["access_token"], "SELECT access.can('access.read')"), False, "Ann")
        shop.one("SELECT access.grant_role((SELECT id FROM access.users WHERE email = 'ann@acme.test'), 'guest', organization => %s)", (shop.acme,))
        expect(acting(conn, shop.login()["access_token"], members), there, "what Acme sees")
        expect(code(conn, "SELECT access.create_user('e@bolt.test', NULL, %s)", (shop.acme,)), "email_taken", "a user of Acme")
        expect(code(conn, "SELECT access.invite('e@bolt.test', organization => %s)", (shop.acme,)), "already_member", "an invitation")
        again = authenticate(conn, tenant.token({**claims("e"), "sub": "e2"}))
        expect(address(again), again + "@oidc.invalid", "another subject")
        # Who learns by this whether an address is known?
        stranger = authenticate(conn, tenant.token({**claims("f"), "email": "a@bolt.test"}))
        known = authenticate(conn, tenant.token({**claims("g"), "email": "owner@else.test"}))
        code(conn, "SELECT access.create_user('known@else.test')")
        known = authenticate(conn, tenant.token({**claims("h"), "email": "known@else.test"}))
        expect((address(stranger), address(known)), (stranger + "@oidc.invalid", "known@else.test"), "one that a member has, one that somebody has")
        # A service's word for the person is none for the address.
        shop.one("SELECT access.set_password(%s, 'correct horse')", (said["e"],))
        expect(shop.one("SELECT access.login('e@bolt.test', 'correct horse')")["user"]["id"], said["e"], "by the password a service set")
        expect(invited(tenant, "e"), 0, "nor an invitation")
        owner = code(conn, "SELECT access.create_user('e@bolt.test', 'another horse')")
        expect(shop.one("SELECT access.login('e@bolt.test', 'correct horse')")["status"], "denied", "the owner's password counts")
        expect(shop.one("SELECT access.login('e@bolt.test', 'another horse')")["user"]["id"], owner, "the owner's")
        # Trusted with addresses later on, the provider has said them for everybody; but what somebody has.
        provider(shop, tenant, organization=shop.acme, provision=True, link_by_email=True)
        expect(shop.pg.query("SELECT email FROM access.users WHERE email_said_by = %s ORDER BY 1", (shop.acme,), dbname="shop"),
               [(name,) for name in ("a@bolt.test", "b@bolt.test", "c@bolt.test", "e@bolt.test", "known@else.test")], "those that somebody has")
