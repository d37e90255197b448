//! Settings from files and environments that were made up.

use std::sync::atomic::{AtomicU32, Ordering};

use sha2::Digest as _;

use super::*;

/// The private key of RFC 8032, section 7.1, test 1, as `openssl genpkey` would write it, in one line.
const SEAL_KEY: &str = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n-----END PRIVATE KEY-----\\n";

fn load(toml: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let unique = format!(
        "credit-ledger-config-{}-{}.toml",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    let path = std::env::temp_dir().join(unique);
    std::fs::write(&path, toml).unwrap();
    let config = Config::load(Some(&path), |name| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    });
    std::fs::remove_file(&path).unwrap();
    config
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = load(
        "listen = \"127.0.0.1:1\"\nlanes = 3",
        &[("LISTEN", "127.0.0.1:2")],
    )
    .unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.store.lanes, 3);
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.rules.signup.bonus_credits.get(), 20);
    assert_eq!(config.rules.signup.plan, "free");
    assert_eq!(config.verify_wait, Duration::from_secs(3));
    assert_eq!(config.erase_after, None);
    assert!(config.rules.catalog.packs().is_empty());
}

#[test]
fn an_erasure_may_follow_a_deletion_by_days() {
    for (toml, env, days) in [
        ("erase_after_days = 0", vec![], 0),
        ("erase_after_days = 30", vec![], 30),
        ("", vec![("ERASE_AFTER_DAYS", "3650")], 3650),
    ] {
        let config = load(toml, &env).unwrap();
        assert_eq!(config.erase_after, Some(Duration::from_hours(24 * days)));
    }
}

#[test]
fn the_catalog_is_read_and_checked() {
    let pack = "[[catalog]]\nsku = \"a\"\ncredits = 5\nprices = [ { currency = \"INR\", amount_minor = 100 } ]\n";
    assert_eq!(load(pack, &[]).unwrap().rules.catalog.packs().len(), 1);
    assert!(load(&pack.repeat(2), &[]).is_err());
}

#[test]
fn secrets_may_be_several_and_are_never_shown() {
    let config = load("", &[("CLERK_WEBHOOK_SECRET", "whsec_bmV3, whsec_b2xk")]).unwrap();
    assert_eq!(config.clerk_webhook_secrets.len(), 2);
    assert!(!format!("{config:?}").contains("whsec"));
}

#[test]
fn mistakes_are_named_without_their_values() {
    for (toml, env, says) in [
        ("lissten = 1", vec![], "`lissten` is not a setting"),
        ("[signup]\nbonus = 1", vec![], "unknown field"),
        ("[signup]\nbonus_credits = -1", vec![], "credits"),
        ("", vec![("VERIFY_WAIT_MS", "40000")], "VERIFY_WAIT_MS"),
        ("", vec![("UPKEEP_EVERY_MS", "0")], "UPKEEP_EVERY_MS"),
        ("erase_after_days = -1", vec![], "ERASE_AFTER_DAYS"),
        ("", vec![("ERASE_AFTER_DAYS", "3651")], "ERASE_AFTER_DAYS"),
        ("", vec![("SEAL_KEY", "hunter2")], "SEAL_KEY: must be"),
        (
            "seal_every_ms = 99",
            vec![("SEAL_KEY", SEAL_KEY)],
            "SEAL_EVERY_MS",
        ),
        ("seal_every_ms = 100", vec![], "SEAL_EVERY_MS: needs"),
        (
            "seal_witness_token = \"hunter2\"",
            vec![("SEAL_KEY", SEAL_KEY)],
            "SEAL_WITNESS_TOKEN: needs SEAL_WITNESS_URL",
        ),
        ("", vec![("LANES", "0")], "LANES"),
        ("rate_limit_per_key = 0", vec![], "RATE_LIMIT_PER_KEY"),
        ("rate_limit_per_key = -1", vec![], "RATE_LIMIT_PER_KEY"),
        ("rate_limit_per_key = 0.5", vec![], "RATE_LIMIT_PER_KEY"),
        (
            "",
            vec![("RATE_LIMIT_PER_ADDRESS", "100001")],
            "RATE_LIMIT_PER_ADDRESS",
        ),
        (
            "rate_limit_per_key = 1",
            vec![("RATE_LIMIT_BURST", "0")],
            "RATE_LIMIT_BURST",
        ),
        (
            "rate_limit_per_address = 1",
            vec![("TRUSTED_PROXIES", "17")],
            "TRUSTED_PROXIES",
        ),
        ("", vec![("STRIPE_LIVEMODE", "yes")], "STRIPE_LIVEMODE"),
        (
            "stripe_livemode = true",
            vec![("STRIPE_SECRET_KEY", "rk_test_hunter2")],
            "STRIPE_LIVEMODE: must be the mode",
        ),
        ("", vec![("LISTEN", "here")], "LISTEN"),
        ("", vec![("DATABASE_URL", " ")], "DATABASE_URL: must not be"),
        ("database_url = \"\"", vec![], "DATABASE_URL: must not be"),
        (
            "database_url = \"postgres://hunter2@there\"",
            vec![("DATABASE_URL", "")],
            "DATABASE_URL: must not be",
        ),
        ("admin_api_key = \"hunter2\" x", vec![], "line 1"),
    ] {
        let error = load(toml, &env).unwrap_err().to_string();
        assert!(error.contains(says), "{toml:?} gave {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_setting_that_would_do_nothing_is_refused() {
    let secret = ("RAZORPAY_KEY_SECRET", "hunter2");
    let clerk = (
        "CLERK_JWKS_URL",
        "https://clerk.example/.well-known/jwks.json",
    );
    let supabase = ("SUPABASE_URL", "https://project.supabase.co");
    let stripe = ("STRIPE_SECRET_KEY", "sk_test_hunter2");
    let per_address = ("RATE_LIMIT_PER_ADDRESS", "1");
    for (setting, given, needed) in [
        ("RATE_LIMIT_BURST", "5", ("RATE_LIMIT_PER_KEY", "1")),
        ("RATE_LIMIT_BURST", "5", per_address),
        ("TRUSTED_PROXIES", "1", per_address),
    ] {
        let error = load("", &[(setting, given)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{setting}: needs ")), "{error}");
        load("", &[(setting, given), needed]).unwrap();
    }
    for (setting, needed) in [
        ("RAZORPAY_KEY_ID", secret),
        ("STRIPE_API_URL", stripe),
        ("CLERK_ISSUER", clerk),
        ("CLERK_AUTHORIZED_PARTIES", clerk),
        ("SUPABASE_JWT_SECRET", supabase),
        ("SEAL_WITNESS_FILE", ("SEAL_KEY", SEAL_KEY)),
        ("SEAL_WITNESS_URL", ("SEAL_KEY", SEAL_KEY)),
    ] {
        let error = load("", &[(setting, "hunter2")]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{setting}: needs ")), "{error}");
        assert!(
            error.contains(needed.0) && !error.contains("hunter2"),
            "{error}"
        );
        load("", &[(setting, "hunter2"), needed]).unwrap();
        load("", &[needed]).unwrap();
        // Blank is not set.
        load("", &[(setting, " ")]).unwrap();
    }
}

#[test]
fn the_mode_of_stripe_is_set_or_that_of_the_key() {
    let mode = |env: &[(&str, &str)]| load("", env).unwrap().stripe_livemode;
    let key = |key| mode(&[("STRIPE_SECRET_KEY", key)]);
    assert_eq!(mode(&[]), None);
    for (text, wanted) in [("true", true), ("false", false)] {
        assert_eq!(mode(&[("STRIPE_LIVEMODE", text)]), Some(wanted));
    }
    for (text, wanted) in [
        ("sk_live_1", Some(true)),
        ("rk_live_1", Some(true)),
        ("sk_test_1", Some(false)),
        ("rk_test_1", Some(false)),
        ("another kind of key", None),
    ] {
        assert_eq!(key(text), wanted, "{text}");
    }
    let set = ("STRIPE_LIVEMODE", "true");
    assert_eq!(mode(&[set, ("STRIPE_SECRET_KEY", "sk_live_1")]), Some(true));
    assert_eq!(mode(&[set, ("STRIPE_SECRET_KEY", "another")]), Some(true));
    assert_eq!(
        load("stripe_livemode = false", &[])
            .unwrap()
            .stripe_livemode,
        Some(false)
    );
}

#[test]
fn what_is_set_up_is_said_by_name() {
    assert_eq!(
        load("", &[]).unwrap().set_up().to_string(),
        "webhooks: none; sessions: none; API keys: none; seals: none"
    );
    let everything = [
        ("CLERK_WEBHOOK_SECRET", "whsec_aHVudGVyMg=="),
        ("RAZORPAY_WEBHOOK_SECRET", "hunter2"),
        ("STRIPE_WEBHOOK_SECRET", "hunter2"),
        ("CLERK_JWT_KEY", "hunter2"),
        ("SUPABASE_URL", "https://project.supabase.co"),
        ("ADMIN_API_KEY", "hunter2"),
        ("SERVICE_API_KEY", " "),
        ("AUDIT_API_KEY", "hunter2"),
        ("SEAL_KEY", SEAL_KEY),
        ("SEAL_WITNESS_FILE", "seals.ndjson"),
        ("SEAL_WITNESS_URL", "https://witness.example/hunter2"),
    ];
    assert_eq!(
        load("", &everything).unwrap().set_up().to_string(),
        "webhooks: clerk, razorpay, stripe; sessions: clerk, supabase; API keys: admin, audit; seals: signed, to a file, to a URL"
    );
}

#[test]
fn limits_are_off_until_they_are_set() {
    let limits = |env: &[(&str, &str)]| load("", env).unwrap().rate_limits;
    assert_eq!(limits(&[]), RateLimitSettings::default());
    let set = limits(&[
        ("RATE_LIMIT_PER_KEY", "100000"),
        ("RATE_LIMIT_PER_ADDRESS", "20"),
        ("RATE_LIMIT_BURST", "50"),
        ("TRUSTED_PROXIES", "2"),
    ]);
    let number = std::num::NonZeroU32::new;
    let expected = RateLimitSettings {
        per_key: number(100_000),
        per_address: number(20),
        burst: number(50),
        trusted_proxies: 2,
    };
    assert_eq!(set, expected);
}

#[test]
fn a_key_for_seals_may_have_one_line_or_several() {
    let lines = SEAL_KEY.replace("\\n", "\n");
    let crlf = SEAL_KEY.replace("\\n", "\r\n");
    let escaped = SEAL_KEY.replace("\\n", "\\r\\n");
    for pem in [SEAL_KEY, &lines, &crlf, &escaped] {
        let seals = load("", &[("SEAL_KEY", pem)]).unwrap().seals.unwrap();
        // The public key of the same test vector.
        let public =
            hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let digest = sha2::Sha256::digest(public.unwrap());
        assert_eq!(seals.key.public().id(), hex::encode(&digest[..8]));
        assert_eq!(seals.every, Duration::from_secs(5));
    }
    assert!(load("", &[]).unwrap().seals.is_none());
}
