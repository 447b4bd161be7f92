"""An OpenID Connect issuer: where people are sent to sign in, and what the ID token says that comes back (OpenID Connect Core 1.0).

Authlib makes the requests and checks the claims, joserfc the signatures; every call goes through our own guarded HTTP client, to the
issuer's host and those that the operator lists besides, and to no other.
"""

import base64
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from countersign.arguments import Duration
from countersign.errors import CountersignError, StepFailed

from .http import Http

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
CALL_SECONDS: Final = 5
KNOWN_SECONDS: Final = 3600.0
LEEWAY_SECONDS: Final = 60
MOST_BYTES: Final = 512 * 1024
MOST_GROUPS: Final = 500


class IssuerSilent(CountersignError):
    """The issuer cannot be asked now, or answers what it should not."""

    def __init__(self, because: str) -> None:
        super().__init__(f"The sign-in service cannot be asked now: {because}. Please try again in a minute.")


class WrongLogin(CountersignError):
    """What came back proves no login."""


@dataclass(frozen=True)
class Client:
    """How this hub is known to the issuer, and which claims say what. `hosts` may be called besides the issuer's own."""

    issuer: str
    client_id: str
    client_secret: str = ""
    hosts: tuple[str, ...] = ()
    scopes: str = "openid email profile"
    email_claim: str = "email"
    groups_claim: str = "groups"


@dataclass(frozen=True)
class Flow:
    """One sign-in that was begun in one browser, which keeps it until it comes back."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def begun(cls) -> "Flow":
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(frozen=True)
class Login:
    """Who signed in. `email` is empty unless the issuer vouches for it; without a groups claim `groups` is None; `age` is in seconds."""

    issuer: str
    subject: str
    email: str
    groups: tuple[str, ...] | None
    age: float | None
    token: str


class Issuer:
    """One per process; what the issuer says of itself and its keys are asked for again every hour, and for a key that is not known."""

    def __init__(self, client: Client) -> None:
        self.client = client
        own = urlsplit(client.issuer)
        port = own.port or (443 if own.scheme == "https" else 80)
        host = f"[{own.hostname}]" if ":" in (own.hostname or "") else own.hostname
        # Whoever names the issuer may name one in their own network; the others are public.
        private = [f"{host}:{port}={network}" for network in ("0.0.0.0/0", "::/0")]
        allow = [f"{host}:{port}", *client.hosts]
        settings = Http.Settings(allow=allow, private=private, max_bytes=MOST_BYTES, timeout=Duration(seconds=CALL_SECONDS))
        self._http = Http(settings)
        self._known: dict[str, tuple[float, Mapping[str, Any]]] = {}

    async def close(self) -> None:
        await self._http.close()

    async def address(self, flow: Flow, *, back: str, max_age: int) -> str:
        """Where the browser is sent; a login older than `max_age` seconds is asked for again. Raises IssuerSilent."""
        about = await self._about()
        more = {"nonce": flow.nonce, "max_age": max_age, "code_challenge": create_s256_code_challenge(flow.verifier)}
        uri: str = prepare_grant_uri(
            about["authorization_endpoint"],
            self.client.client_id,
            "code",
            back,
            self.client.scopes,
            flow.state,
            code_challenge_method="S256",
            **more,
        )
        return uri

    async def finish(self, flow: Flow, *, code: str, state: str, back: str) -> Login:
        """Who came back with this code; raises WrongLogin or IssuerSilent."""
        if not hmac.compare_digest(state.encode(), flow.state.encode()):
            raise WrongLogin("This sign-in was not begun in this browser, or it was begun again meanwhile.")
        answer = await self._exchanged(flow, code, back)
        return await self.check(str(answer.get("id_token", "")), nonce=flow.nonce)

    async def check(self, token: str, *, nonce: str = "") -> Login:
        """Whom an ID token of this issuer's for this hub is about (section 3.1.3.7); raises WrongLogin or IssuerSilent."""
        claims = await self._verified(token)
        issuer, client = self.client.issuer, self.client.client_id
        options = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client}, "sub": {"essential": True}}
        try:
            known = CodeIDToken(claims.claims, claims.header, options, {"client_id": client, **({"nonce": nonce} if nonce else {})})
            known.validate(leeway=LEEWAY_SECONDS)
        except JoseError as error:
            raise WrongLogin(f"What the sign-in service answered is not right: {type(error).__name__}.") from None
        return self._login(claims.claims, token)

    async def goodbye(self, *, back: str) -> str:
        """Where the browser ends its session with the issuer (RP-Initiated Logout 1.0); empty when the issuer offers no such thing."""
        try:
            end = str((await self._about()).get("end_session_endpoint", ""))
        except IssuerSilent:
            return ""
        return f"{end}?{urlencode({'client_id': self.client.client_id, 'post_logout_redirect_uri': back})}" if end else ""

    def _login(self, claims: Mapping[str, Any], token: str) -> Login:
        given = claims.get(self.client.groups_claim)
        groups = None if given is None else tuple(str(one) for one in (given if isinstance(given, list) else [given]))[:MOST_GROUPS]
        email, at = str(claims.get(self.client.email_claim) or ""), claims.get("auth_time")
        # Another claim than the standard one was chosen by the operator, who knows whether people can change it themselves.
        vouched = self.client.email_claim != "email" or claims.get("email_verified") is True
        age = max(0.0, time.time() - float(at)) if isinstance(at, int | float) else None
        return Login(self.client.issuer, str(claims["sub"]), email if vouched and "@" in email else "", groups, age, token)

    async def _exchanged(self, flow: Flow, code: str, back: str) -> Mapping[str, Any]:
        about = await self._about()
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": flow.verifier}
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        name, secret = self.client.client_id, self.client.client_secret
        if secret and "client_secret_basic" in about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            both = f"{quote(name, safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
        else:
            fields |= {"client_id": name} | ({"client_secret": secret} if secret else {})
        address, key = about["token_endpoint"], secrets.token_hex(8)
        body = urlencode(fields).encode()
        try:
            answer = await self._http.send("POST", address, key=key, body=body, headers=headers, statuses=(200, 400, 401))
        except StepFailed as error:
            raise IssuerSilent(str(error)) from None
        if answer.status != 200:
            raise WrongLogin("The sign-in service does not know this sign-in any more; begin again.")
        return _mapping(answer.body)

    async def _verified(self, token: str) -> jwt.Token:
        for again in (False, True):
            try:
                keys = KeySet.import_key_set(dict(await self._read((await self._about())["jwks_uri"], again=again)))  # type: ignore[arg-type]
                return jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            except (JoseError, ValueError, KeyError, TypeError):
                continue
        raise WrongLogin("What the sign-in service answered is not signed by it.")

    async def _about(self) -> Mapping[str, Any]:
        found = await self._read(f"{self.client.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self.client.issuer:
            raise IssuerSilent("it calls itself something else than COUNTERSIGN_OIDC_ISSUER says")
        if not all(isinstance(found.get(one), str) for one in ("authorization_endpoint", "token_endpoint", "jwks_uri")):
            raise IssuerSilent("it does not say where to sign in")
        return found

    async def _read(self, address: str, *, again: bool = False) -> Mapping[str, Any]:
        """A document of the issuer's. Asking `again` is no use within ten seconds, so strangers' tokens cannot keep it busy."""
        at, known = self._known.get(address, (float("-inf"), {}))
        if time.monotonic() - at < (10.0 if again else KNOWN_SECONDS):
            return known
        try:
            found = _mapping((await self._http.get(address)).body)
        except StepFailed as error:
            raise IssuerSilent(str(error)) from None
        self._known[address] = (time.monotonic(), found)
        return found


def _mapping(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IssuerSilent("its answer cannot be read")
    return found
