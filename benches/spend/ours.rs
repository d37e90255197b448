//! This service: its settings, and users with credits and with histories, made by the rules themselves.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use credit_ledger::access::ApiKeySettings;
use credit_ledger::app::system_clock;
use credit_ledger::config::Config;
use credit_ledger::ledger::command::{GrantCredits, SpendCredits};
use credit_ledger::ledger::event::Note;
use credit_ledger::ledger::lots::{LotKind, PRIORITY_DEFAULT};
use credit_ledger::ledger::{Command, Credits, UserId};
use credit_ledger::postgres::{Database, DatabaseSettings};
use credit_ledger::store::{Ledger, LedgerSettings, Origin, Outcome, Unit, Work};

use super::calls::{API_KEY, Users};

/// What each user has at first.
pub const CREDITS: i64 = 1_000_000_000;
/// Commands of one unit while users are made.
const TOGETHER: u64 = 1000;

/// Default settings, and an API key.
pub fn config(folder: &Path, database: &str) -> anyhow::Result<Config> {
    let file = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/webhooks/ledger.toml"
    ));
    let mut config = Config::load(Some(&file), |name| {
        // To try other settings; what is reported is run without.
        let ours = matches!(name, "PG_BIN_DIR" | "LANES" | "WORKERS");
        std::env::var(name).ok().filter(|_| ours)
    })?;
    config.listen = ([127, 0, 0, 1], 0).into();
    config.api_keys = ApiKeySettings {
        service: Some(API_KEY.into()),
        ..config.api_keys
    };
    config.database = DatabaseSettings {
        data_dir: Some(folder.to_owned()),
        database: Some(database.to_owned()),
        ..config.database
    };
    Ok(config)
}

/// Makes histories without HTTP, through the same lanes.
pub struct Maker {
    ledger: Ledger,
    ended: Vec<tokio::task::JoinHandle<()>>,
}

impl Maker {
    /// On a database that is migrated.
    pub async fn open(database: &Database) -> anyhow::Result<Self> {
        let settings = LedgerSettings::default();
        let (ledger, ended) = Ledger::start(database, settings, system_clock()).await?;
        Ok(Self { ledger, ended })
    }

    /// Gives each of them credits.
    pub async fn grant(&self, users: Users) -> anyhow::Result<()> {
        let mut first = 0;
        while first < users.number {
            let last = users.number.min(first + TOGETHER);
            let grants = (first..last).map(|number| grant(&users.id(number)));
            self.run(grants.collect::<anyhow::Result<_>>()?).await?;
            first = last;
        }
        Ok(())
    }

    /// Lets each of them have so many events: a grant, then spends of one credit.
    pub async fn live(&self, users: Users, events: u64) -> anyhow::Result<()> {
        self.grant(users).await?;
        for number in 0..users.number {
            let spend = spend(&users.id(number))?;
            let mut left = events.saturating_sub(1);
            while left > 0 {
                let now = left.min(TOGETHER);
                self.run(vec![spend.clone(); usize::try_from(now)?]).await?;
                left -= now;
            }
        }
        Ok(())
    }

    async fn run(&self, commands: Vec<Command>) -> anyhow::Result<()> {
        let unit = Unit {
            origin: Origin::System,
            work: Work::Apply(Command::Together(commands)),
        };
        let outcome = self.ledger.execute(unit).await?;
        ensure!(outcome == Outcome::Recorded, "not recorded: {outcome:?}");
        Ok(())
    }

    /// Ends its lanes.
    pub async fn close(self) -> anyhow::Result<()> {
        drop(self.ledger);
        for ended in self.ended {
            ended.await?;
        }
        Ok(())
    }
}

fn grant(user_id: &str) -> anyhow::Result<Command> {
    Ok(Command::GrantCredits(GrantCredits {
        user_id: UserId::parse(user_id)?,
        credits: Credits::new(CREDITS)?,
        kind: LotKind::Bonus,
        priority: PRIORITY_DEFAULT,
        expires_at_s: None,
        reason: "to be spent".to_owned(),
        actor: "bench".to_owned(),
    }))
}

fn spend(user_id: &str) -> anyhow::Result<Command> {
    Ok(Command::SpendCredits(SpendCredits {
        user_id: UserId::parse(user_id)?,
        credits: Credits::new(1)?,
        allow_partial: false,
        note: Note {
            reason: Some("one request".to_owned()),
            reference: None,
        },
    }))
}
