"""Reads compact JWS: HS256, and ES256 by the formula, so that tests need no package for it. Not for anything but tests."""
import base64
import hashlib
import hmac
import json

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
     0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


class Invalid(Exception):
    """Not a token that this key signed."""


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k, point):
    total = None
    while k:
        if k & 1:
            total = add(total, point)
        point = add(point, point)
        k >>= 1
    return total


def es256_ok(jwk, data, signature):
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < N and 0 < s < N):
        return False
    digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
    w = pow(s, -1, N)
    key = tuple(int.from_bytes(decode(jwk[c]), "big") for c in "xy")
    point = add(times(digest * w % N, G), times(r * w % N, key))
    return point is not None and point[0] % N == r


def hs256(secret, data):
    return hmac.new(secret, data, hashlib.sha256).digest()


def sign_hs256(claims, secret, **header):
    data = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", **header}, claims))
    return data + "." + encode(hs256(secret, data.encode()))


def verify(token, keys):
    """The claims. keys: JWKs (kty oct with k, or EC P-256)."""
    try:
        head, body, signature = token.split(".")
        header, claims, raw = json.loads(decode(head)), json.loads(decode(body)), decode(signature)
    except ValueError as e:
        raise Invalid(str(e)) from None
    data = f"{head}.{body}".encode()
    for jwk in keys:
        if header.get("kid") not in (None, jwk.get("kid")):
            continue
        if header.get("alg") == "HS256" and jwk["kty"] == "oct" and hmac.compare_digest(hs256(decode(jwk["k"]), data), raw):
            return claims
        if header.get("alg") == "ES256" and jwk["kty"] == "EC" and es256_ok(jwk, data, raw):
            return claims
    raise Invalid("no suitable key")
