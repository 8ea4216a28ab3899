"""An OpenID provider that signs what it is told to, for tests: no network, no package.

    issuer = Issuer("https://id.test/realms/shop")
    issuer.jwks()                       # {"keys": [...]}, what access.set_issuer_keys() gets
    issuer.token({"sub": "ann"})        # signed with the newest key; iss, iat and exp are added
"""
import hashlib
import json
import secrets
import time

from harness.jws import G, N, encode, times

# The key pair of RFC 7515, A.2.
RSA_N = ("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7"
         "OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91"
         "kzk2PAcDTW9gb54h4FRWyuXpoQ")
RSA_D = ("Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ")


def number(text):
    import base64
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


class Es256:
    algorithm = "ES256"

    def __init__(self):
        self.d = secrets.randbelow(N - 1) + 1
        self.point = times(self.d, G)

    def jwk(self):
        return {"kty": "EC", "crv": "P-256", **{c: encode(v.to_bytes(32, "big")) for c, v in zip("xy", self.point)}}

    def sign(self, data):
        digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
        while True:
            k = secrets.randbelow(N - 1) + 1
            r = times(k, G)[0] % N
            s = pow(k, -1, N) * (digest + r * self.d) % N
            if r and s:
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Rs256:
    algorithm = "RS256"
    prefix = bytes.fromhex("3031300d060960864801650304020105000420")

    def jwk(self):
        return {"kty": "RSA", "n": RSA_N, "e": "AQAB"}

    def sign(self, data):
        digest = self.prefix + hashlib.sha256(data).digest()
        padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest
        return pow(int.from_bytes(padded, "big"), number(RSA_D), number(RSA_N)).to_bytes(256, "big")


class Issuer:
    def __init__(self, name, algorithm=Es256):
        self.name, self.algorithm, self.keys = name, algorithm, {}
        self.rotate()

    def rotate(self, keep=True):
        """A new key, which signs from now on. Returns its id."""
        if not keep:
            self.keys.clear()
        self.kid = "key-" + secrets.token_hex(4)
        self.keys[self.kid] = self.algorithm()
        return self.kid

    def jwks(self):
        keys = [{**key.jwk(), "kid": kid, "alg": key.algorithm, "use": "sig"} for kid, key in self.keys.items()]
        return {"keys": keys + [{**Rs256().jwk(), "kid": "not-for-signatures", "alg": "RSA-OAEP", "use": "enc"}]}

    def token(self, claims, header=None, kid=None):
        """claims over iss, iat, exp; None leaves one out."""
        now = int(time.time())
        body = {k: v for k, v in {"iss": self.name, "iat": now, "exp": now + 300, **claims}.items() if v is not None}
        kid = kid or self.kid
        head = {"alg": self.keys[kid].algorithm, "typ": "JWT", "kid": kid, **(header or {})}
        data = ".".join(encode(json.dumps({k: v for k, v in part.items() if v is not None}).encode()) for part in (head, body))
        return data + "." + encode(self.keys[kid].sign(data.encode()))
