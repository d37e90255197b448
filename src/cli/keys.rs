//! `keys`: make, list and revoke the API keys that are kept in the database.

use std::ffi::OsStr;
use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Args, Subcommand};
use tokio_postgres::error::SqlState;

use super::{exit, with_database};
use crate::access::Scope;
use crate::access::issued::{InvalidPrefix, KeyName, KeyPrefix, NewKey};
use crate::access::registry::{self, RegistryError, ShownKey};
use crate::app::{random_bytes, system_now};
use crate::config::Config;
use crate::postgres::{ConnectOptions, Role};

/// Flags of `keys`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and print it, this once: nobody keeps it. A name may have several keys, so that a new one can take the
    /// place of an old one.
    Create {
        /// Whose it is: 1 to 64 of a-z, 0-9, _, - and . Recorded with everything that is done with it.
        name: KeyName,
        /// What it may do: credits:read, credits:write, admin or audit. May be given several times.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
    },
    /// List the keys: those that are good first, then the newest first.
    List {
        /// How many to list.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Revoke a key for ever. Services that run refuse it within seconds.
    Revoke {
        /// The key's prefix, as `list` shows it, or the whole key.
        #[arg(value_parser = Unrepeated)]
        key: KeyPrefix,
    },
}

/// Reads a key. What is none may be one that was mistyped, so the refusal does not repeat it, as it would by itself.
#[derive(Clone)]
struct Unrepeated;

impl TypedValueParser for Unrepeated {
    type Value = KeyPrefix;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<KeyPrefix, clap::Error> {
        let prefix = value.to_str().unwrap_or_default().parse();
        prefix.map_err(|problem: InvalidPrefix| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("<KEY> {problem}\n"))
                .with_cmd(command)
        })
    }
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    with_database(&config, async |database| {
        let owner = database
            .connect(Role::Owner, &ConnectOptions::default())
            .await?;
        let done = act(arguments.command, &owner).await;
        match done {
            Err(Failed::Registry(RegistryError::Database(error)))
                if error.code() == Some(&SqlState::UNDEFINED_TABLE) =>
            {
                bail!("the database has no table of keys yet: run `credit-ledger migrate` first")
            }
            done => Ok(done?),
        }
    })
    .await
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the system has no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

async fn act(command: Command, owner: &tokio_postgres::Client) -> Result<ExitCode, Failed> {
    let now = system_now();
    match command {
        Command::Create { name, scopes } => {
            let key = NewKey::of(&random_bytes()?);
            registry::create(owner, &key, &name, &distinct(scopes), now).await?;
            eprintln!("a key of {}; it is shown this once:", name.as_str());
            println!("{}", key.reveal());
        }
        Command::List { limit } => {
            let keys = registry::list(owner, i64::from(limit)).await?;
            println!("{}", table(&keys));
            if keys.len() == usize::try_from(limit).unwrap_or(usize::MAX) {
                eprintln!("there may be more: raise --limit");
            }
        }
        Command::Revoke { key } => {
            let Some(revoked) = registry::revoke(owner, &key, now).await? else {
                eprintln!("error: there is no key {}", key.as_str());
                return Ok(exit(false));
            };
            println!("{}", line(&revoked));
        }
    }
    Ok(exit(true))
}

fn distinct(mut scopes: Vec<Scope>) -> Vec<Scope> {
    let mut seen = Vec::with_capacity(Scope::ALL.len());
    scopes.retain(|scope| {
        let is_new = !seen.contains(scope);
        seen.push(*scope);
        is_new
    });
    scopes
}

fn table(keys: &[ShownKey]) -> String {
    if keys.is_empty() {
        return "no keys".to_owned();
    }
    keys.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(key: &ShownKey) -> String {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let revoked = key
        .revoked_at
        .map(|at| format!("  revoked {}", time(at)))
        .unwrap_or_default();
    format!(
        "{}  {}  {}  created {}{revoked}",
        key.prefix,
        key.name,
        key.scopes.join(","),
        time(key.created_at)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_given_twice_is_one() {
        let (read, write) = (Scope::CreditsRead, Scope::CreditsWrite);
        assert_eq!(distinct(vec![write, read, write]), [write, read]);
    }

    #[test]
    fn a_key_is_one_line() {
        let at = |seconds: i64| DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap();
        let mut key = ShownKey {
            prefix: "cl_0123456789ab".to_owned(),
            name: "shop".to_owned(),
            scopes: vec!["credits:read".to_owned(), "credits:write".to_owned()],
            created_at: at(0),
            revoked_at: None,
        };
        assert_eq!(
            line(&key),
            "cl_0123456789ab  shop  credits:read,credits:write  created 2026-11-18T11:06:40Z"
        );
        key.revoked_at = Some(at(60));
        assert_eq!(
            table(&[key]),
            "cl_0123456789ab  shop  credits:read,credits:write  created 2026-11-18T11:06:40Z  revoked 2026-11-18T11:07:40Z"
        );
        assert_eq!(table(&[]), "no keys");
    }
}
