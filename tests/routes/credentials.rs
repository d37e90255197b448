//! Everything that somebody may present and that opens nothing: forged tokens, keys that are none, and good ones that are
//! carried in a wrong way.

use std::sync::LazyLock;

use credit_ledger::access::mint::TokenMint;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::app::{ADMIN_KEY, AUDIT_KEY, ISSUER, MINT, SERVICE_KEY};
use crate::support::tokens::{self, SUPABASE_SECRET};

/// The only frontend whose sessions are taken.
pub const PARTY: &str = "https://app.example.com";
/// Whose key nobody knows.
static STRANGER: LazyLock<TokenMint> = LazyLock::new(|| TokenMint::generate().unwrap());

/// Who is asked, and the Supabase project whose sessions it takes: by its secret, and by keys that are Clerk's, too.
#[derive(Clone, Copy)]
pub struct Door<'a> {
    pub app: &'a TestApp,
    pub project: &'a str,
}

impl Door<'_> {
    /// What stands in a good session token of Clerk for that frontend.
    pub fn clerk_claims(self) -> Value {
        let mut claims = tokens::clerk_claims("user_1", self.app.now());
        claims["azp"] = json!(PARTY);
        claims
    }

    fn supabase_claims(self) -> Value {
        tokens::supabase_claims(self.project, self.app.now())
    }

    fn now_s(self) -> i64 {
        self.app.now().timestamp()
    }
}

/// What is sent to be let in, wherever in the request it stands.
#[derive(Default, Clone)]
pub struct Presented {
    pub what: String,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub query: String,
}

impl Presented {
    /// As it should be.
    pub fn bearer(what: &str, token: &str) -> Self {
        Self::header(what, "authorization", format!("Bearer {token}"))
    }

    pub fn header(what: &str, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            what: what.to_owned(),
            headers: vec![(name, value.into())],
            ..Self::default()
        }
    }
}

/// Good sessions: of Clerk and of Supabase.
pub fn good_sessions(door: Door<'_>) -> [String; 3] {
    let supabase = door.supabase_claims();
    [
        tokens::rs256(&door.clerk_claims()),
        tokens::rs256(&supabase),
        tokens::hs256(SUPABASE_SECRET.as_bytes(), &supabase),
    ]
}

fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    changed[name] = value;
    changed
}

fn without(claims: &Value, name: &str) -> Value {
    let mut changed = claims.clone();
    changed.as_object_mut().unwrap().remove(name).unwrap();
    changed
}

/// Session tokens that are none.
pub fn forged_sessions(door: Door<'_>) -> Vec<Presented> {
    let tokens = [
        claims_of_clerk(door),
        headers_and_signatures_of_clerk(door),
        confused(door),
        of_supabase(door),
    ];
    let mut all: Vec<Presented> = tokens
        .into_iter()
        .flatten()
        .map(|(what, token)| Presented::bearer(what, &token))
        .collect();
    all.push(Presented::bearer("garbage", "garbage"));
    all.push(Presented::bearer("dots", "..."));
    all
}

/// Signed by Clerk's key, with claims that Clerk does not give to this service's users.
fn claims_of_clerk(door: Door<'_>) -> Vec<(&'static str, String)> {
    let (claims, now_s) = (door.clerk_claims(), door.now_s());
    let mut all = vec![];
    for (what, name, value) in [
        ("expired", "exp", json!(now_s - 60)),
        ("expires as a text", "exp", json!((now_s + 60).to_string())),
        ("not yet valid", "nbf", json!(now_s + 60)),
        ("issued in the future", "iat", json!(now_s + 60)),
        ("another issuer", "iss", json!("https://other.test.invalid")),
        ("an issuer with a slash", "iss", json!(format!("{ISSUER}/"))),
        ("several issuers", "iss", json!([ISSUER])),
        (
            "Supabase's issuer",
            "iss",
            json!(format!("{}/auth/v1", door.project)),
        ),
        ("another frontend", "azp", json!("https://evil.example.com")),
        (
            "a frontend whose name goes on",
            "azp",
            json!(format!("{PARTY}.evil.example")),
        ),
        ("several frontends", "azp", json!([PARTY])),
        ("another audience", "aud", json!("another service")),
        ("nobody", "sub", json!(null)),
        ("an empty user", "sub", json!("")),
        ("a user that is a number", "sub", json!(1)),
        ("a machine", "sub", json!("mch_1")),
        ("a Supabase user", "sub", json!(tokens::SUPABASE_USER)),
        ("no session", "sid", json!("")),
        ("a pending session", "sts", json!("pending")),
        ("another version", "v", json!(3)),
        ("an actor without a name", "act", json!({"sub": ""})),
        ("an actor that is none", "act", json!("user_operator")),
        ("too long", "more", json!("x".repeat(9000))),
    ] {
        all.push((what, tokens::rs256(&changed(&claims, name, value))));
    }
    for (what, name) in [
        ("without a user", "sub"),
        ("without an issuer", "iss"),
        ("without an end", "exp"),
        ("without a time of issue", "iat"),
        ("without a beginning", "nbf"),
        ("without a frontend", "azp"),
        ("without a session", "sid"),
    ] {
        all.push((what, tokens::rs256(&without(&claims, name))));
    }
    all.push(("no object", tokens::rs256(&json!([claims]))));
    all
}

/// Good claims under headers and signatures that are not Clerk's.
fn headers_and_signatures_of_clerk(door: Door<'_>) -> Vec<(&'static str, String)> {
    let claims = door.clerk_claims();
    let good = tokens::rs256(&claims);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let mut all = vec![
        ("no signature", format!("{head}.")),
        ("two parts", head.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("a cut signature", good[..good.len() - 8].to_owned()),
        ("padding", format!("{good}==")),
        (
            "another user's name",
            tokens::with_claims(&good, &changed(&claims, "sub", json!("user_2"))),
        ),
        (
            "a longer life",
            tokens::with_claims(&good, &changed(&claims, "exp", json!(i64::MAX))),
        ),
        (
            "another key",
            STRANGER
                .clerk_token("user_1", ISSUER, Some(PARTY), door.app.now(), 60)
                .unwrap(),
        ),
        (
            "another key, which it brings",
            STRANGER
                .sign(
                    &json!({"alg": "RS256", "typ": "JWT", "kid": TokenMint::KEY_ID,
                            "jwk": {"kty": "RSA"}, "jku": "https://evil.example.com/jwks"}),
                    &claims,
                )
                .unwrap(),
        ),
    ];
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        all.push(("signed by nobody", tokens::unsigned(algorithm, &claims)));
    }
    for (what, header) in [
        ("RS512", json!({"alg": "RS512", "typ": "JWT"})),
        ("PS256", json!({"alg": "PS256", "typ": "JWT"})),
        ("ES256", json!({"alg": "ES256", "typ": "JWT"})),
        (
            "HS256 with a signature of RS256",
            json!({"alg": "HS256", "typ": "JWT"}),
        ),
        (
            "none with a signature",
            json!({"alg": "none", "typ": "JWT"}),
        ),
        ("no algorithm", json!({"typ": "JWT"})),
        ("no type", json!({"alg": "RS256"})),
        ("another type", json!({"alg": "RS256", "typ": "at+jwt"})),
        (
            "a condition that nobody knows",
            json!({"alg": "RS256", "typ": "JWT", "crit": ["b64"], "b64": false}),
        ),
    ] {
        all.push((what, tokens::rs256_under(&header, &claims)));
    }
    all
}

/// What is public taken for a secret, and one provider's for the other's.
fn confused(door: Door<'_>) -> Vec<(&'static str, String)> {
    let pem = MINT.public_pem();
    let der = tokens::public_der();
    let mut all = vec![];
    for claims in [door.clerk_claims(), door.supabase_claims()] {
        for secret in [
            pem.as_bytes(),
            pem.trim_end().as_bytes(),
            &der,
            &der[24..],
            &der[33..289],
            b"",
            tokens::key_set()["keys"][0]["n"]
                .as_str()
                .unwrap()
                .as_bytes(),
        ] {
            all.push(("the public key as a secret", tokens::hs256(secret, &claims)));
        }
    }
    let clerk = door.clerk_claims();
    let secret = SUPABASE_SECRET.as_bytes();
    all.push((
        "Clerk's under Supabase's secret",
        tokens::hs256(secret, &clerk),
    ));
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": TokenMint::KEY_ID});
    let token = tokens::hs256_under(&header, secret, &door.supabase_claims());
    all.push(("a code where a signature should be", token));
    all
}

/// Signed with the project's secret, as its public `anon` key is, or nearly so.
fn of_supabase(door: Door<'_>) -> Vec<(&'static str, String)> {
    let (claims, now_s) = (door.supabase_claims(), door.now_s());
    let sign = |claims: &Value| tokens::hs256(SUPABASE_SECRET.as_bytes(), claims);
    let mut all = vec![];
    // The project's API keys are JWTs with a good signature and years of life; the first is in every browser.
    for role in ["anon", "service_role"] {
        let key = json!({
            "iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": role, "iat": now_s, "exp": now_s + 315_360_000,
        });
        all.push(("an API key of the project", sign(&key)));
        let issued = changed(&key, "iss", claims["iss"].clone());
        all.push(("the same by the right issuer", sign(&issued)));
        let named = changed(&issued, "sub", claims["sub"].clone());
        all.push((
            "the same with a user",
            sign(&changed(&named, "aud", json!(role))),
        ));
    }
    for (what, name, value) in [
        ("the role anon", "role", json!("anon")),
        ("the role of the service", "role", json!("service_role")),
        ("several roles", "role", json!(["authenticated"])),
        ("an anonymous user", "is_anonymous", json!(true)),
        ("perhaps anonymous", "is_anonymous", json!("false")),
        ("another audience", "aud", json!("anon")),
        ("no audience", "aud", json!([])),
        ("no UUID", "sub", json!("user_1")),
        ("no user", "sub", json!("")),
        ("no session", "session_id", json!("")),
        ("expired", "exp", json!(now_s - 60)),
        ("not yet valid", "nbf", json!(now_s + 60)),
        ("Clerk's issuer", "iss", json!(ISSUER)),
        (
            "another project",
            "iss",
            json!("https://other.test.invalid/auth/v1"),
        ),
    ] {
        all.push((what, sign(&changed(&claims, name, value))));
    }
    for name in ["sub", "aud", "role", "session_id", "exp", "iat", "iss"] {
        all.push(("a claim is missing", sign(&without(&claims, name))));
    }
    let other = b"another-secret-of-at-least-32-bytes";
    all.push(("another secret", tokens::hs256(other, &claims)));
    all.push(("signed by nobody", tokens::unsigned("none", &claims)));
    for algorithm in ["HS384", "HS512"] {
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let token = tokens::hs256_under(&header, SUPABASE_SECRET.as_bytes(), &claims);
        all.push(("another algorithm", token));
    }
    all
}

/// API keys that are none.
pub fn false_keys() -> Vec<Presented> {
    [
        ("wrong", "wrong-key-of-the-tests-000000".to_owned()),
        ("cut", SERVICE_KEY[..SERVICE_KEY.len() - 1].to_owned()),
        ("longer", format!("{SERVICE_KEY}0")),
        ("another case", SERVICE_KEY.to_uppercase()),
        ("two in one", format!("{SERVICE_KEY}{ADMIN_KEY}")),
        ("a list", format!("{SERVICE_KEY},{ADMIN_KEY}")),
        ("its name", "service".to_owned()),
        ("huge", "k".repeat(10_000)),
        ("made up", format!("cl_{}", "0a".repeat(38))),
        ("a prefix alone", format!("cl_{}", "0a".repeat(6))),
    ]
    .map(|(what, key)| Presented::bearer(what, &key))
    .into()
}

/// The keys of the settings.
pub fn good_keys() -> Vec<Presented> {
    [ADMIN_KEY, SERVICE_KEY, AUDIT_KEY]
        .map(|key| Presented::bearer("an API key", key))
        .into()
}

/// What is good, carried so that it is not.
pub fn badly_carried(good: &str) -> Vec<Presented> {
    let mut all = vec![Presented {
        what: "nothing".to_owned(),
        ..Presented::default()
    }];
    for value in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        good.to_owned(),
        format!("Bearer{good}"),
        format!("Bearer\t{good}"),
        format!("Bearer: {good}"),
        format!("Bearer, Bearer {good}"),
        format!("Bearer {good}, Bearer {good}"),
        format!("Bearer \"{good}\""),
        format!("Bearer token={good}"),
        format!("Bearer Bearer {good}"),
        format!("Bearer {good} {good}"),
        format!("Bearer {good};"),
        format!("Bearer {} {}", &good[..9], &good[9..]),
        format!("Basic {good}"),
        format!("Digest {good}"),
        format!("Token {good}"),
        format!("ApiKey {good}"),
        format!("JWT {good}"),
        format!("Bearer2 {good}"),
    ] {
        let what = format!("{value:.20}…");
        all.push(Presented::header(&what, "authorization", value));
    }
    let raw = [b"Bearer ", good.as_bytes(), b"\xff"].concat();
    all.push(Presented::header("beyond ASCII", "authorization", raw));
    for name in [
        "x-api-key",
        "api-key",
        "proxy-authorization",
        "x-authorization",
    ] {
        all.push(Presented::header(name, name, format!("Bearer {good}")));
    }
    let cookie = format!("__session={good}; sb-access-token={good}; authorization=Bearer {good}");
    all.push(Presented::header("a cookie", "cookie", cookie));
    for name in ["access_token", "api_key", "token", "key", "authorization"] {
        all.push(Presented {
            what: format!("{name} in the query"),
            query: format!("{name}={good}"),
            ..Presented::default()
        });
    }
    let authorization = |token: &str| ("authorization", format!("Bearer {token}").into_bytes());
    for (first, second) in [(good, good), (good, "garbage"), ("garbage", good)] {
        all.push(Presented {
            what: "twice".to_owned(),
            headers: vec![authorization(first), authorization(second)],
            ..Presented::default()
        });
    }
    all
}

/// What is good, carried in all the ways that are: a scheme has no case, and spaces may be several (RFC 9110, section 11.4).
pub fn well_carried(good: &str) -> Vec<Presented> {
    [
        format!("Bearer {good}"),
        format!("bearer {good}"),
        format!("BEARER {good}"),
        format!("Bearer   {good}"),
        format!(" Bearer {good} "),
    ]
    .map(|value| Presented::header("well", "authorization", value))
    .into()
}
