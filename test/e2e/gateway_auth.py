"""Log-in, sessions, keys over HTTP: the whole way of a user, with tokens that the database issues."""
import contextlib

from harness.gateway import Site

PASSWORD = "correct horse battery staple"


@contextlib.contextmanager
def environment():
    with Site() as site:
        site.bob = site.person("bob@acme.test", site.org, "owner", PASSWORD)
        site.web = site.gateway()
        yield site


def login(site, **more):
    return site.web.call("POST", "/auth/login", {"email": "bob@acme.test", "password": PASSWORD, **more})


def test_login_and_me(site):
    answer = login(site, device_info={"name": "test"})
    assert answer.status == 200 and answer.json["token_type"] == "Bearer" and answer.headers["cache-control"] == "no-store", answer
    token = answer.json["access_token"]
    me = site.web.call("GET", "/auth/me", token=token)
    assert me.status == 200 and me.json["user"]["email"] == "bob@acme.test", me
    sessions = site.web.call("GET", "/auth/sessions", token=token).json["items"]
    assert sessions[0]["current"] and sessions[0]["ip"] == "127.0.0.1" and sessions[0]["device_info"] == {"name": "test"}, sessions
    # What the client writes there is not where it comes from.
    answer = site.web.call("POST", "/auth/login", {"email": "bob@acme.test", "password": PASSWORD}, headers={"X-Forwarded-For": "6.6.6.6"})
    token = answer.json["access_token"]
    assert {s["ip"] for s in site.web.call("GET", "/auth/sessions", token=token).json["items"]} == {"127.0.0.1"}
    assert site.web.call("GET", "/pools", token=token).status == 200


def test_device_info(site):
    """Kept to the last digit, wherever it stands in the body."""
    text = r'{"v": 0.1, "n": 12345678901234567890.5, "e": 1e3, "a": [0.30000000000000004, "\\", ",\"}"], "o": {"device_info": 2.50}}'
    for body in (f'{{"device_info": {text}, "email": "bob@acme.test", "password": "{PASSWORD}"}}',
                 f'{{"email":"bob@acme.test" , "organization_id": null,"\\u0070assword":"{PASSWORD}",\n"device_info" :\n{text}\n}}'):
        answer = site.web.call("POST", "/auth/login", body, headers={"Content-Type": "application/json"})
        assert answer.status == 200, answer
        stored = site.query("SELECT device_info::text, device_info = %s::jsonb AND device_info::text = %s::jsonb::text FROM access.sessions WHERE id = %s",
                            (text, text, answer.json["session_id"]))
        assert stored[0][1], stored


def test_wrong_password(site):
    answer = site.web.call("POST", "/auth/login", {"email": "bob@acme.test", "password": "wrong horse"})
    assert answer.status == 401 and answer.code == "invalid_credentials", answer
    assert [k.lower() for k, _ in answer.all_headers].count("www-authenticate") == 1
    unknown = site.web.call("POST", "/auth/login", {"email": "nobody@acme.test", "password": "wrong horse"})
    assert (unknown.status, unknown.code, unknown.json["detail"]) == (answer.status, answer.code, answer.json["detail"])
    # A stale token sent along does not matter.
    assert site.web.call("POST", "/auth/login", {"email": "bob@acme.test", "password": PASSWORD}, token="stale.token.x").status == 200


def test_refresh_and_logout(site):
    first = login(site).json
    second = site.web.call("POST", "/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert second.status == 200 and second.json["session_id"] == first["session_id"], second
    assert site.web.call("POST", "/auth/refresh", {"refresh_token": "bor_nonsense"}).code == "refresh_token_invalid"
    token = second.json["access_token"]
    assert site.web.call("POST", "/auth/logout", token=token).json == {"ended": True}
    answer = site.web.call("GET", "/auth/me", token=token)
    assert answer.status == 401 and answer.code == "session_ended", answer
    third = login(site).json
    other = login(site).json
    answer = site.web.call("DELETE", "/auth/sessions/" + other["session_id"], token=third["access_token"])
    assert answer.status == 200 and answer.json["ended"] is True, answer
    assert site.web.call("GET", "/auth/me", token=other["access_token"]).status == 401
    assert site.web.call("POST", "/auth/logout-all", token=third["access_token"]).json["ended"] >= 1


def test_passwords_and_factors(site):
    site.person("eve@acme.test", site.org, "member", PASSWORD)
    token = site.web.call("POST", "/auth/login", {"email": "eve@acme.test", "password": PASSWORD}).json["access_token"]
    wrong = site.web.call("POST", "/auth/password", {"old_password": "x", "new_password": "a new horse battery"}, token)
    assert wrong.status == 403 and wrong.code == "wrong_password", wrong
    assert site.web.call("POST", "/auth/password", {"old_password": PASSWORD, "new_password": "short"}, token).code == "password_too_short"
    assert site.web.call("POST", "/auth/password", {"old_password": PASSWORD, "new_password": "a new horse battery"}, token).status == 200
    factor = site.web.call("POST", "/auth/mfa/enroll", {}, token)
    assert factor.status == 200 and factor.json["otpauth_uri"].startswith("otpauth://"), factor
    answer = site.web.call("POST", "/auth/mfa/activate", {"factor_id": factor.json["factor_id"], "code": "000000"}, token)
    assert answer.status == 403 and answer.code == "wrong_code", answer


def test_keys_and_jwks(site):
    jwks = site.web.call("GET", "/.well-known/jwks.json")
    assert jwks.status == 200 and jwks.json["keys"] and jwks.headers["cache-control"] == "public, max-age=300", jwks
    assert all("d" not in key for key in jwks.json["keys"])
    token = login(site).json["access_token"]
    made = site.web.call("POST", "/api-keys", {"name": "robot", "scopes": ["certificates.read"]}, token)
    assert made.status == 201 and made.headers["location"] == "/api-keys/" + made.json["id"], made
    assert site.web.call("GET", "/pools", token=made.json["key"]).status == 200
    answer = site.web.call("GET", "/members", token=made.json["key"])
    assert answer.status == 403 and answer.code == "permission_denied", answer
    assert site.web.call("GET", "/api-keys", token=token).json["items"]
    assert site.web.call("DELETE", "/api-keys/" + made.json["id"], token=token).json["revoked"] is True
    assert site.web.call("GET", "/pools", token=made.json["key"]).status == 401
    assert site.web.call("GET", "/audit", token=token).status == 200


def test_no_secrets_in_the_log(site):
    text = site.web.text()
    assert PASSWORD not in text and "eyJ" not in text and "bor_" not in text and "bok_" not in text
