//! What a command says of settings, files and arguments that it can not use, and of a database that it can not reach.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};

use credit_ledger::config::{Config, NAMES};
use credit_ledger_verify::seal::SealKey;

use super::world::LOUD;
use crate::crash::service::{DataDir, finish};
use crate::support::seals;

/// In no form that anything can use.
const MARK: &str = "hunter2-that-nobody-may-see";

#[track_caller]
fn assert_silent(output: &Output, what: &str) {
    let [out, err] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    let said = format!("{out}{err}");
    assert_ne!(output.status.code(), Some(0), "{what} is taken: {said}");
    assert!(!said.is_empty(), "{what}");
    assert!(!said.contains("hunter2"), "{what}: {said}");
    assert!(!said.contains("panicked"), "{what}: {said}");
}

/// A start that can not succeed, so that a value which is of use does no harm: its port is taken.
fn taken() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn serve(data: &DataDir, address: &str) -> Command {
    let mut command = data.program(&["serve"]);
    command.env("RUST_LOG", LOUD).env("LISTEN", address);
    command
}

#[test]
fn no_setting_is_repeated_wherever_it_comes_from() {
    let data = DataDir::new();
    let (_listener, address) = taken();
    for name in NAMES {
        for value in [
            MARK.to_owned(),
            format!("whsec_{MARK}!"),
            format!("https://me:{MARK}@example.com"),
            format!("-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----"),
            "hunter2".to_owned(),
        ] {
            let mut command = serve(&data, &address);
            // Beside it what it does nothing without.
            if name != "CLERK_JWT_KEY" {
                command.env("CLERK_JWKS_URL", "https://clerk.example.com/jwks");
            }
            command
                .env("CLERK_ISSUER", "https://clerk.example.com")
                .env("SUPABASE_URL", "https://supabase.example.com")
                .env("RAZORPAY_KEY_ID", "rzp_test_1")
                .env("RAZORPAY_KEY_SECRET", "key-secret")
                .env("STRIPE_SECRET_KEY", "sk_test_1")
                .env("SEAL_KEY", seals::key_pem())
                .env("SEAL_WITNESS_URL", "https://witness.example.com")
                .env(name, &value);
            assert_silent(&finish(command), &format!("{name}={value}"));
        }
        let file = data.0.join("settings.toml");
        std::fs::write(&file, format!("{} = \"{MARK}\"", name.to_lowercase())).unwrap();
        let mut command = data.program(&["serve", "--config"]);
        // The program's own file was named before, and may be named once.
        command = with_file(&command, &file);
        command.env("LISTEN", &address).env_remove(name);
        assert_silent(&finish(command), &format!("{name} in the file"));
    }
    assert!(!data.0.join("data").exists(), "nothing was started");
}

/// The same program and environment with this file as the only settings file.
fn with_file(like: &Command, file: &std::path::Path) -> Command {
    let mut command = Command::new(like.get_program());
    command.env_clear().arg("--config").arg(file).arg("serve");
    for (name, value) in like.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    command
}

/// But the name of a setting that there is none of is: whoever mistyped it looks for it.
#[test]
fn no_line_of_a_file_is_repeated() {
    let data = DataDir::new();
    let (_listener, address) = taken();
    let file = data.0.join("settings.toml");
    for text in [
        format!("stripe_secret_key = \"{MARK}"),
        format!("stripe_secret_key = {MARK}"),
        format!("stripe_secret_key: {MARK}"),
        MARK.to_owned(),
        format!("[signup]\nbonus_credits = \"{MARK}\""),
        format!("[signup]\nplan = [\"{MARK}\"]\nbonus_credits = -1"),
        format!("signup = \"{MARK}\""),
        format!("referral = \"{MARK}\""),
        format!("[referral]\nreferred_credits = \"{MARK}\""),
        format!("catalog = \"{MARK}\""),
        format!("[[catalog]]\nsku = \"a\"\ncredits = \"{MARK}\""),
        format!("[[catalog]]\nsku = \"a\"\ncredits = 1\nprices = \"{MARK}\""),
        format!(
            "[[catalog]]\nsku = \"a\"\ncredits = 1\nprices = [ {{ currency = \"{MARK}\", amount_minor = 1 }} ]"
        ),
        format!("stripe_secret_key = {{ value = \"{MARK}\" }}"),
        format!("stripe_secret_key = \"a\"\nstripe_secret_key = \"{MARK}\""),
    ] {
        std::fs::write(&file, &text).unwrap();
        let mut command = with_file(&data.program(&[]), &file);
        command.env("LISTEN", &address).env("RUST_LOG", LOUD);
        assert_silent(&finish(command), &text);
    }
}

#[test]
fn a_key_that_is_mistyped_is_not_repeated() {
    let data = DataDir::new();
    let key = format!("cl_{}", "0a".repeat(38));
    for mistyped in [
        key[..key.len() - 1].to_owned(),
        key.to_uppercase(),
        format!("{key}0"),
        format!("{key} "),
        format!("Bearer {key}"),
        MARK.to_owned(),
    ] {
        let output = data.run(&["keys", "revoke", &mistyped]);
        assert_eq!(output.status.code(), Some(2), "{mistyped}");
        let said = String::from_utf8_lossy(&output.stderr);
        // Of a key no more than its prefix may be seen.
        assert!(
            !said.contains("hunter2") && !said.to_lowercase().contains(&"0a".repeat(8)),
            "{said}"
        );
    }
}

/// A server that wants the password in clear, and then does not like it.
fn picky_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut read = [0; 1024];
            let _ = stream.read(&mut read);
            let _ = stream.write_all(b"R\0\0\0\x08\0\0\0\x03");
            let _ = stream.read(&mut read);
            let _ = stream.write_all(b"E\0\0\0\x1bSFATAL\0C28P01\0Mno entry\0\0");
        }
    });
    address
}

#[test]
fn no_password_of_a_database_is_repeated() {
    let data = DataDir::new();
    let picky = picky_server();
    for url in [
        format!("postgres://me:{MARK}@127.0.0.1:1/ledger"),
        format!("postgres://me:{MARK}@{picky}/ledger?sslmode=disable"),
        format!("postgres://me:{MARK}@{picky}/ledger?sslmode=require"),
        format!("postgres://me:{MARK}@nowhere.invalid/ledger"),
        format!("postgres://me:{MARK}@{picky}/ledger?sslmode=disable&password={MARK}"),
        format!(
            "postgres://me@{picky}/ledger?sslmode=disable&password={MARK}&connect_timeout={MARK}"
        ),
        format!("postgres://me:{MARK}@ledger:port/ledger"),
        format!("postgres://me:{MARK}"),
        format!("postgres://me:p@{MARK}@ledger/ledger"),
        format!("postgres://me:%ff{MARK}@ledger/ledger"),
        format!("mysql://me:{MARK}@ledger/ledger"),
        format!("host=ledger user=me password={MARK}"),
    ] {
        for arguments in [
            &["serve"][..],
            &["migrate"],
            &["keys", "list"],
            &["audit", "verify"],
            &["audit", "replay"],
        ] {
            let mut command = data.program(arguments);
            command
                .env_remove("DATA_DIR")
                .env("RUST_LOG", LOUD)
                .env("DATABASE_URL", &url);
            assert_silent(&finish(command), &format!("{arguments:?} {url}"));
        }
    }
}

/// A panic says where, and not what: here that nobody reads the standard output.
#[test]
fn a_panic_says_nothing_that_may_be_data() {
    let data = DataDir::new();
    let mut command = data.program(&["openapi"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let output = command.stderr(std::process::Stdio::piped()).output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(
        said.contains("panicked at ") && said.contains("stdio.rs"),
        "{said}"
    );
    assert!(
        said.contains("may hold data") && !said.contains("pipe"),
        "{said}"
    );
}

/// Whoever logs the settings, or panics with them, says nothing.
#[test]
fn settings_are_shown_without_what_is_secret() {
    let seal = seals::key_pem();
    let settings = [
        ("DATABASE_URL", "postgres://me:hunter2@ledger/ledger"),
        ("CLERK_WEBHOOK_SECRET", "whsec_hunter2,whsec_hunter22"),
        ("RAZORPAY_WEBHOOK_SECRET", "hunter2"),
        ("STRIPE_WEBHOOK_SECRET", "hunter2"),
        ("RAZORPAY_KEY_ID", "rzp_test_1"),
        ("RAZORPAY_KEY_SECRET", "hunter2"),
        ("STRIPE_SECRET_KEY", "sk_test_hunter2"),
        ("CLERK_JWT_KEY", "hunter2"),
        ("CLERK_ISSUER", "https://clerk.example.com"),
        ("SUPABASE_URL", "https://supabase.example.com"),
        ("SUPABASE_JWT_SECRET", "hunter2"),
        ("ADMIN_API_KEY", "hunter2-of-the-admin"),
        ("SERVICE_API_KEY", "hunter2-of-the-service"),
        ("AUDIT_API_KEY", "hunter2-of-the-audit"),
        ("SEAL_KEY", seal.as_str()),
        ("SEAL_WITNESS_URL", "https://witness.example.com/?hunter2"),
        ("SEAL_WITNESS_TOKEN", "hunter2"),
    ];
    let secret = |name: &str| {
        ["SECRET", "KEY", "TOKEN", "DATABASE_URL", "WITNESS_URL"]
            .iter()
            .any(|part| name.contains(part))
            && !["RAZORPAY_KEY_ID", "RATE_LIMIT_PER_KEY"].contains(&name)
    };
    for name in NAMES.iter().filter(|name| secret(name)) {
        assert!(settings.iter().any(|(one, _)| one == name), "{name} is new");
    }
    let get = |name: &str| {
        let found = settings.iter().find(|(one, _)| *one == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let config = Config::load(Some(std::path::Path::new("/dev/null")), get).unwrap();
    let shown = format!("{config:?} {config:#?} {}", config.set_up());
    let key = SealKey::from_pem(&seal).unwrap();
    for text in ["hunter2", &seal[30..60], &hex::encode([7; 8]), "7, 7, 7"] {
        assert!(
            !shown.contains(text) && !format!("{key:?}").contains(text),
            "{text} in {shown}"
        );
    }
}
