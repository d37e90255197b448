//! `audit export`: what is in the files, that they can be verified with nothing else, and that an interrupted run or an
//! earlier export is continued to the very same bytes.

mod command;

use std::collections::BTreeSet;
use std::path::Path;

use credit_ledger::audit::export::{self, ExportError, Format, Request};
use credit_ledger::ledger::{PurchaseEvent, Source, UserEvent};
use credit_ledger::postgres::Database;
use credit_ledger_verify::check::Trust;
use credit_ledger_verify::manifest::{Content, Manifest, Scope};
use credit_ledger_verify::report::{Report, Verdict};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{SERVICE_KEY, answer};
use crate::support::deliveries::{captured, created, payment, unique, user};
use crate::support::folder::Folder;
use crate::support::seals::{key, sealing_with};
use crate::support::{TestApp, story};

/// Written last.
const MANIFEST: &str = "manifest.json";
/// The same while files are written.
const BEGUN: &str = "manifest.partial.json";

fn request(folder: &Path, scope: Scope, format: Format) -> Request {
    Request {
        folder: folder.to_owned(),
        scope,
        format,
    }
}

async fn try_export(database: &Database, request: &Request) -> Result<Manifest, ExportError> {
    export::export(database, request, chrono::Utc::now(), &mut |_, _| {}).await
}

async fn whole(database: &Database, folder: &Folder, format: Format) -> Manifest {
    let request = request(&folder.0, Scope::Whole, format);
    try_export(database, &request).await.unwrap()
}

fn judged(folder: &Folder) -> Report {
    let trust = Trust::of_keys(vec![key().public()]);
    credit_ledger_verify::export::verify(&folder.0, trust).unwrap()
}

#[track_caller]
fn assert_clean(report: &Report) {
    assert_eq!(report.findings, vec![]);
    assert_eq!(report.verdict(), Verdict::Clean);
}

/// A service with a history of which the first part is sealed, in several seals.
pub async fn told() -> TestApp {
    let app = TestApp::start_with(sealing_with(|settings| settings.events_max = 40)).await;
    story::tell(&app, 5).await;
    claimed_and_erased(&app).await;
    many_lots(&app).await;
    app.seal_all().await;
    story::tell(&app, 1).await;
    claimed_and_erased(&app).await;
    app
}

/// So many lots that not all are in the state of their user.
async fn many_lots(app: &TestApp) {
    let user_id = unique("user_");
    let grant = json!({"type": "grant", "user_id": user_id, "amount": 1, "reason": "many"});
    let items = vec![grant; 70];
    let answer = app
        .post_new("/v1/bulk", &json!({"mode": "each", "items": items}))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(app.count("select count(*) from lots").await > 0);
}

/// A purchase that is found to be somebody's by the payer's address, and that somebody is erased.
async fn claimed_and_erased(app: &TestApp) {
    let someone = user(&unique("user_"));
    app.deliver(Source::Clerk, &created(&someone)).await;
    let mut paid = payment(None);
    paid.email.clone_from(&someone.email);
    app.deliver(Source::Razorpay, &captured(&paid)).await;
    app.idle().await;
    assert_eq!(app.balance(&someone.user_id).await, 520);
    let path = format!("/v1/users/{}", someone.user_id);
    let request = app.request(Method::DELETE, &path).bearer_auth(SERVICE_KEY);
    assert_eq!(answer(request).await.status, 200);
    app.idle().await;
    let erased = app.count("select count(*) from inbox where erased_at is not null");
    assert!(erased.await > 0);
}

/// All files but the manifest, which has the time in it.
fn data(folder: &Folder) -> Vec<(String, String)> {
    let files = folder.files().into_iter();
    let files = files.filter(|(name, _)| name != MANIFEST);
    files
        .map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap()))
        .collect()
}

#[tokio::test]
async fn an_export_is_proven_without_the_ledger() {
    let app = told().await;
    let folder = Folder::new();
    let manifest = whole(&app.database, &folder, Format::Ndjson).await;
    assert_eq!(
        manifest,
        credit_ledger_verify::export::manifest(&folder.0).unwrap()
    );
    let contents: BTreeSet<Content> = manifest.files.iter().map(|file| file.content).collect();
    assert_eq!(contents, Content::ALL.into_iter().collect());

    let report = judged(&folder);
    assert_clean(&report);
    let events = app.count("select count(*) from events").await;
    let sealed = app
        .count("select sum(position)::bigint from seals, unnest(positions) as position where seal = (select max(seal) from seals)")
        .await;
    assert_eq!(report.events, events.unsigned_abs());
    assert_eq!(report.unsealed_events, (events - sealed).unsigned_abs());
    assert!(report.seals > 2 && report.unsealed_events > 0);
    for (content, table) in [
        (Content::Deliveries, "inbox"),
        (Content::Streams, "streams"),
        (Content::Lots, "lots"),
        (Content::Holds, "holds"),
        (Content::Settlements, "settlements"),
        (Content::Balance, "balance"),
        (Content::Users, "users"),
        (Content::Purchases, "purchases"),
        (Content::Entries, "entries"),
        (Content::Seals, "seals"),
    ] {
        let files = manifest.files.iter().filter(|file| file.content == content);
        let lines: u64 = files.map(|file| file.lines).sum();
        let rows = app.count(&format!("select count(*) from {table}")).await;
        assert_eq!(lines, rows.unsigned_abs(), "{table}");
    }
    app.stop().await;
}

/// The story has every kind of event that a product's users cause, so what is exported is not only the plain ones.
#[tokio::test]
async fn the_history_of_these_tests_has_most_kinds_of_events() {
    let app = told().await;
    let types = "select array_agg(distinct event_type) from events";
    let types: Vec<String> = app.sql().await.query_one(types, &[]).await.unwrap().get(0);
    let known = UserEvent::TYPES.len() + PurchaseEvent::TYPES.len();
    assert!(types.len() * 3 > known * 2, "{types:?}");
    app.stop().await;
}

#[tokio::test]
async fn an_export_beside_a_service_that_writes_is_one_moment() {
    let app = told().await;
    let writing = async {
        for _ in 0..3 {
            story::tell(&app, 1).await;
            app.seal_all().await;
        }
    };
    let exporting = async {
        for _ in 0..4 {
            let folder = Folder::new();
            whole(&app.database, &folder, Format::Ndjson).await;
            assert_clean(&judged(&folder));
        }
    };
    tokio::join!(writing, exporting);
    app.stop().await;
}

#[tokio::test]
async fn a_run_that_was_cut_off_anywhere_is_continued_to_the_same_files() {
    let app = told().await;
    for format in [Format::Ndjson, Format::Csv] {
        let complete = Folder::new();
        whole(&app.database, &complete, format).await;
        let files = data(&complete);
        for (cut, bytes) in &files {
            // Within a line, and at the end of one.
            let line = bytes[..bytes.len() / 2]
                .rfind('\n')
                .map_or(0, |end| end + 1);
            for length in [bytes.len() / 2, line, 0] {
                let folder = complete.copy();
                std::fs::rename(folder.0.join(MANIFEST), folder.0.join(BEGUN)).unwrap();
                std::fs::write(folder.0.join(cut), &bytes[..length]).unwrap();
                whole(&app.database, &folder, format).await;
                assert_eq!(data(&folder), files, "{cut} cut off at {length}");
            }
            let folder = complete.copy();
            std::fs::rename(folder.0.join(MANIFEST), folder.0.join(BEGUN)).unwrap();
            std::fs::remove_file(folder.0.join(cut)).unwrap();
            whole(&app.database, &folder, format).await;
            assert_eq!(data(&folder), files, "{cut} was not there");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn an_earlier_export_is_brought_up_to_date() {
    let app = told().await;
    let grown = Folder::new();
    whole(&app.database, &grown, Format::Ndjson).await;
    // More that is not sealed; then all of that in seals; then more again.
    for seal in [false, true, false] {
        story::tell(&app, 1).await;
        if seal {
            app.seal_all().await;
        }
        let before = grown.files();
        whole(&app.database, &grown, Format::Ndjson).await;
        let fresh = Folder::new();
        whole(&app.database, &fresh, Format::Ndjson).await;
        assert_eq!(data(&grown), data(&fresh));
        assert_clean(&judged(&grown));
        for grows in ["events-sealed.ndjson", "seals.ndjson"] {
            assert!(grown.files()[grows].starts_with(&before[grows]), "{grows}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn what_can_not_be_continued_is_left_alone() {
    let app = told().await;
    let complete = Folder::new();
    whole(&app.database, &complete, Format::Ndjson).await;

    for file in ["events-sealed.ndjson", "seals.ndjson"] {
        let folder = complete.copy();
        let path = folder.0.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let last = text.trim_end().rfind('\n').unwrap();
        let changed = text[last..].replace("\"hash\":\"", "\"hash\":\"0");
        let changed = changed.replace("\"head\":\"", "\"head\":\"0");
        std::fs::write(&path, format!("{}{changed}", &text[..last])).unwrap();
        let before = folder.files();
        let asked = request(&folder.0, Scope::Whole, Format::Ndjson);
        let error = try_export(&app.database, &asked).await.unwrap_err();
        assert!(matches!(error, ExportError::Diverged(_)), "{error}");
        assert_eq!(folder.files(), before);
    }
    // Sealed events of which some are not there.
    let folder = complete.copy();
    let path = folder.0.join("events-sealed.ndjson");
    let text = std::fs::read_to_string(&path).unwrap();
    let (_, without_first) = text.split_once('\n').unwrap();
    std::fs::write(&path, without_first).unwrap();
    let asked = request(&folder.0, Scope::Whole, Format::Ndjson);
    let error = try_export(&app.database, &asked).await.unwrap_err();
    assert!(matches!(error, ExportError::Diverged(_)), "{error}");

    let before = complete.files();
    let someone = "select min(user_id) from users";
    let someone = app
        .sql()
        .await
        .query_one(someone, &[])
        .await
        .unwrap()
        .get(0);
    for (scope, format) in [
        (Scope::Whole, Format::Csv),
        (Scope::User(someone), Format::Ndjson),
    ] {
        let asked = request(&complete.0, scope, format);
        let error = try_export(&app.database, &asked).await.unwrap_err();
        assert!(matches!(error, ExportError::OtherExport(_)), "{error}");
    }
    assert_eq!(complete.files(), before);

    let others = Folder::new();
    std::fs::write(others.0.join("letter.txt"), "mine").unwrap();
    let asked = request(&others.0, Scope::Whole, Format::Ndjson);
    let error = try_export(&app.database, &asked).await.unwrap_err();
    assert!(matches!(error, ExportError::NotEmpty(_)), "{error}");
    assert_eq!(others.files().len(), 1);

    let busy = Folder::new();
    let held = std::fs::File::open(&busy.0).unwrap();
    held.lock().unwrap();
    let asked = request(&busy.0, Scope::Whole, Format::Ndjson);
    let error = try_export(&app.database, &asked).await.unwrap_err();
    assert!(matches!(error, ExportError::InUse(_)), "{error}");
    app.stop().await;
}

#[tokio::test]
async fn the_history_of_one_user_is_proven_by_itself() {
    let app = told().await;
    let story = story::tell(&app, 2).await;
    app.seal_all().await;
    app.spend(&story.users[0], 1).await;
    let folder = Folder::new();
    let asked = request(
        &folder.0,
        Scope::User(story.users[0].clone()),
        Format::Ndjson,
    );
    let manifest = try_export(&app.database, &asked).await.unwrap();
    let report = judged(&folder);
    assert_clean(&report);
    assert_eq!(report.unsealed_events, 1);
    let named: Vec<String> = app
        .sql()
        .await
        .query(
            "select 'user/' || $1 as stream union select 'purchase/' || purchase_id from purchases where user_id = $1 order by 1",
            &[&story.users[0]],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let events = lines(&folder, "events.ndjson");
    let streams: BTreeSet<String> = events
        .iter()
        .map(|line| {
            let of = |name: &str| line["event"][name].as_str().unwrap().to_owned();
            format!("{}/{}", of("aggregate_type"), of("aggregate_id"))
        })
        .collect();
    assert_eq!(streams.into_iter().collect::<Vec<_>>(), named);
    for file in &manifest.files {
        let text = std::fs::read_to_string(folder.0.join(&file.name)).unwrap();
        assert!(!text.contains(&story.users[1]), "{}", file.name);
    }
    // Said again, the same.
    let before = data(&folder);
    try_export(&app.database, &asked).await.unwrap();
    assert_eq!(data(&folder), before);

    let nobody = Folder::new();
    let asked = request(&nobody.0, Scope::User("nobody".to_owned()), Format::Ndjson);
    let error = try_export(&app.database, &asked).await.unwrap_err();
    assert!(matches!(error, ExportError::UnknownUser(_)), "{error}");
    // Nothing was begun that would be in the way of the right name.
    assert_eq!(nobody.files().len(), 0);
    app.stop().await;
}

fn lines(folder: &Folder, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.0.join(name)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn nothing_personal_is_in_an_export() {
    let app = told().await;
    let story = story::tell(&app, 1).await;
    for scope in [Scope::Whole, Scope::User(story.users[0].clone())] {
        for format in [Format::Ndjson, Format::Csv] {
            let folder = Folder::new();
            let asked = request(&folder.0, scope.clone(), format);
            try_export(&app.database, &asked).await.unwrap();
            for (name, bytes) in folder.files() {
                let text = String::from_utf8(bytes).unwrap().to_lowercase();
                for personal in ["example.com", "asha", "\"rao\"", ",rao,"] {
                    assert!(!text.contains(personal), "{personal} in {name}");
                }
            }
        }
    }
    app.stop().await;
}

/// A value as CSV has it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn csv_says_what_ndjson_says() {
    let app = told().await;
    let story = story::tell(&app, 1).await;
    app.seal_all().await;
    for scope in [Scope::Whole, Scope::User(story.users[0].clone())] {
        let (ndjson, csv) = (Folder::new(), Folder::new());
        let asked = request(&ndjson.0, scope.clone(), Format::Ndjson);
        let manifest = try_export(&app.database, &asked).await.unwrap();
        let asked = request(&csv.0, scope, Format::Csv);
        let table = try_export(&app.database, &asked).await.unwrap();
        for (file, table) in manifest.files.iter().zip(&table.files) {
            assert_eq!(
                (table.content, table.lines),
                (file.content, file.lines),
                "{}",
                file.name
            );
            let mut reader = csv::Reader::from_path(csv.0.join(&table.name)).unwrap();
            let names: Vec<String> = reader
                .headers()
                .unwrap()
                .iter()
                .map(str::to_owned)
                .collect();
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            let records = lines(&ndjson, &file.name);
            assert_eq!(rows.len(), records.len(), "{}", file.name);
            for (row, record) in rows.iter().zip(&records) {
                let mut flat = record.as_object().unwrap().clone();
                // What is proven is laid out flat.
                for proven in ["event", "seal"] {
                    if let Some(Value::Object(inner)) = flat.get(proven).cloned() {
                        flat.remove(proven);
                        flat.extend(inner);
                    }
                }
                assert_eq!(flat.len(), names.len(), "{}", file.name);
                for (name, said) in names.iter().zip(row) {
                    assert_eq!(said, cell(&flat[name]), "{name} in {}", table.name);
                }
            }
        }
    }
    app.stop().await;
}
