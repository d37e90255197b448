//! The ledger that is tampered with: some hundred events of every kind, all of them sealed and witnessed. Made once, and
//! exported once; what is changed is a copy.

use std::path::Path;

use credit_ledger::audit::export::{self, Format, Request};
use credit_ledger::audit::verify;
use credit_ledger::postgres::Database;
use credit_ledger_verify::check::Trust;
use credit_ledger_verify::manifest::Scope;
use credit_ledger_verify::record::SealRecord;
use credit_ledger_verify::report::{Finding, Report, Verdict};
use credit_ledger_verify::seal::PublicKey;
use tokio::sync::OnceCell;

use super::folder::Folder;
use crate::support::TestApp;
use crate::support::seals::{key, sealing_with};
use crate::support::story;

static LEDGER: OnceCell<Ledger> = OnceCell::const_new();

/// The ledger. Nobody writes to it any more.
pub struct Ledger {
    /// The name of its database.
    pub database: String,
    /// Its export.
    pub folder: Folder,
    /// Whose story it is: the first user signed up, bought, was refunded, spent and held.
    pub users: Vec<String>,
    /// What the witness file says.
    pub witness: Vec<SealRecord>,
}

/// The ledger.
pub async fn ledger() -> &'static Ledger {
    LEDGER.get_or_init(make).await
}

async fn make() -> Ledger {
    let files = Folder::new();
    let witness_file = files.0.join("witness.ndjson");
    let told_in = witness_file.clone();
    // Small seals: there are several, and most end within shards.
    let options = sealing_with(move |settings| {
        settings.events_max = 50;
        settings.witness_file = Some(told_in.clone());
    });
    let app = TestApp::start_with(options).await;
    let mut users = vec![];
    for _ in 0..2 {
        users.extend(story::tell(&app, 7).await.users);
        app.seal_all().await;
    }
    let witness = std::fs::read_to_string(&witness_file).unwrap();
    let witness = witness
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let database = app.database.clone();
    app.stop().await;
    let folder = Folder::new();
    write_export(&database, &folder.0).await;
    Ledger {
        database: database.name().to_owned(),
        folder,
        users,
        witness: witness.collect(),
    }
}

/// Exports everything.
pub async fn write_export(database: &Database, folder: &Path) {
    let request = Request {
        folder: folder.to_owned(),
        scope: Scope::Whole,
        format: Format::Ndjson,
    };
    export::export(database, &request, chrono::Utc::now(), &mut |_, _| {})
        .await
        .unwrap();
}

/// Who is trusted beforehand.
#[derive(Clone)]
pub struct Trusted {
    pub keys: Vec<PublicKey>,
    pub waived: bool,
    pub witness: Vec<SealRecord>,
}

impl Trusted {
    /// Whoever has the public key.
    pub fn key() -> Self {
        Self {
            keys: vec![key().public()],
            waived: false,
            witness: vec![],
        }
    }

    /// Whoever has what the witness was told, too.
    pub fn witness(ledger: &Ledger) -> Self {
        Self {
            witness: ledger.witness.clone(),
            ..Self::key()
        }
    }

    /// Whoever has nothing.
    pub fn nobody() -> Self {
        Self {
            keys: vec![],
            waived: true,
            witness: vec![],
        }
    }
}

/// The verdict of `credit-ledger-verify` on a folder.
pub fn verdict_on(folder: &Path, trusted: &Trusted) -> Report {
    credit_ledger_verify::export::verify(folder, trusted.trust()).unwrap()
}

/// The verdict of `audit verify` on a database.
pub async fn verdict_of(database: &Database, trusted: &Trusted) -> Report {
    verify::verify(database, trusted.trust(), None, &mut |_, _| {})
        .await
        .unwrap()
        .report
}

impl Trusted {
    fn trust(&self) -> Trust {
        let mut trust = Trust::default();
        (trust.keys, trust.waived) = (self.keys.clone(), self.waived);
        for seal in &self.witness {
            trust.witness(seal);
        }
        trust
    }
}

/// Fails unless all was found to be as it must be.
#[track_caller]
pub fn assert_clean(report: &Report) {
    assert_eq!(report.findings, vec![]);
    assert_eq!((report.found, report.verdict()), (0, Verdict::Clean));
}

/// Whether one of these checks named one of these places: a part of what a finding says, not followed by another digit.
pub fn names(report: &Report, checks: &[&str], places: &[String]) -> bool {
    let has = |said: &str, place: &str| {
        let mut ends = said
            .match_indices(place)
            .map(|(at, _)| &said[at + place.len()..]);
        ends.any(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    };
    let named = |finding: &Finding| {
        let said = finding.to_string();
        checks.contains(&finding.check) && places.iter().any(|place| has(&said, place))
    };
    report.findings.iter().any(named)
}
