//! The fuzz targets' bodies on their seeds and on mutated fixtures, a bounded number of them, the same in every run; and
//! the same bytes over HTTP, to the webhooks and to every other route: whatever comes, signed by whomever, the service says
//! that it took it or that it is no good, never that it broke.
//!
//! `FUZZ_SEED` makes other mutations, `FUZZ_ROUNDS` more of them. The real fuzzing is in `fuzz/`.

mod api;
pub mod mutate;
#[expect(
    clippy::expect_used,
    reason = "a fuzz target says by a panic that something is wrong"
)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use credit_ledger::ledger::Source;

use crate::support::deliveries::signed;
use crate::support::integrity::assert_log_is_whole;
use crate::support::load::{Sent, deliver_all};
use crate::support::{Options, TestApp};
use mutate::Mutator;
use targets::Subject;

/// Who sends webhooks.
const PROVIDERS: [Source; 3] = [Source::Clerk, Source::Razorpay, Source::Stripe];
/// The fixture whose genuine request is a target's seed.
const SEEDS: [(Source, &str); 3] = [
    (Source::Clerk, "user.created.legacy_minimal.json"),
    (Source::Razorpay, "payment.captured.notes_empty_array.json"),
    (Source::Stripe, "invoice_payment.paid.endive.json"),
];
/// A target: its name, which is that of the folder of its seeds, and what it does.
type Target = (&'static str, fn(&[u8]));
const TARGETS: [Target; 9] = [
    ("verify_clerk", |bytes| verify(Source::Clerk, bytes)),
    ("verify_razorpay", |bytes| verify(Source::Razorpay, bytes)),
    ("verify_stripe", |bytes| verify(Source::Stripe, bytes)),
    ("translate_clerk", |bytes| translate(Source::Clerk, bytes)),
    ("translate_razorpay", |bytes| {
        translate(Source::Razorpay, bytes);
    }),
    ("translate_stripe", |bytes| translate(Source::Stripe, bytes)),
    ("read_export", targets::audit::read_export),
    ("read_proof", targets::audit::read_proof),
    ("read_witness", targets::audit::read_witness),
];
/// How many mutations of each seed are tried.
const ROUNDS_SEED: usize = 5;
/// How many mutations of each fixture are tried.
const ROUNDS: usize = 50;
/// How many of each fixture are sent over HTTP.
const ROUNDS_HTTP: usize = 10;
const CONNECTIONS: usize = 16;

fn subject(source: Source) -> &'static Subject {
    match source {
        Source::Clerk => &targets::CLERK,
        Source::Razorpay => &targets::RAZORPAY,
        Source::Stripe => &targets::STRIPE,
        other => panic!("{other} sends no webhooks"),
    }
}

fn verify(source: Source, bytes: &[u8]) {
    targets::verify(subject(source), bytes);
}

fn translate(source: Source, bytes: &[u8]) {
    targets::translate(subject(source), bytes);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn mutator() -> Mutator {
    let seed = setting("FUZZ_SEED", 1);
    println!("FUZZ_SEED={seed}");
    Mutator::new(seed)
}

fn rounds(default: usize) -> usize {
    let default = u64::try_from(default).unwrap();
    usize::try_from(setting("FUZZ_ROUNDS", default)).unwrap()
}

fn in_checkout(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All payloads of a provider, in the order of their names.
fn fixtures(source: Source) -> Vec<Vec<u8>> {
    files(&in_checkout("tests/fixtures").join(source.as_str()))
}

/// Calls something with so many mutations of every fixture of a provider.
fn each_mutation(source: Source, rounds: usize, mut then: impl FnMut(Vec<u8>)) {
    let mut mutator = mutator();
    let fixtures = fixtures(source);
    for fixture in &fixtures {
        for _ in 0..rounds {
            let other = mutator.one_of(&fixtures).clone();
            then(mutator.payload(fixture, &other));
        }
    }
}

/// Each has a program of the fuzzer's, a corpus, and its place in the list above.
#[test]
fn the_targets_are_the_same_everywhere() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(in_checkout(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let stems = paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
        stems.collect()
    };
    let manifest = std::fs::read_to_string(in_checkout("fuzz/Cargo.toml")).unwrap();
    let programs = manifest.split("[[bin]]\nname = \"").skip(1);
    let programs = programs.map(|rest| rest.split('"').next().unwrap().to_owned());
    assert_eq!(listed, names("fuzz/fuzz_targets"));
    assert_eq!(listed, names("fuzz/seeds"));
    assert_eq!(listed, programs.collect());
}

#[test]
fn no_payload_that_is_signed_makes_a_target_panic() {
    for source in PROVIDERS {
        for fixture in fixtures(source) {
            translate(source, &fixture);
        }
        each_mutation(source, rounds(ROUNDS), |body| {
            translate(source, &body);
        });
    }
}

#[test]
fn no_request_makes_a_target_panic() {
    for source in PROVIDERS {
        let mut mutator = mutator();
        let requests: Vec<Vec<u8>> = fixtures(source)
            .iter()
            .map(|body| targets::request(subject(source), body))
            .collect();
        for request in &requests {
            assert!(targets::is_genuine(subject(source), request));
            for _ in 0..rounds(ROUNDS) {
                let other = mutator.one_of(&requests).clone();
                verify(source, &mutator.bytes(request, &other));
            }
        }
    }
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let files = paths.iter().map(|path| std::fs::read(path).unwrap());
    files.collect()
}

/// What the fuzzers found worth keeping, and what once failed.
#[test]
fn no_seed_and_nothing_like_it_makes_a_target_panic() {
    for (name, target) in TARGETS {
        let mut mutator = mutator();
        let seeds = files(&in_checkout("fuzz/seeds").join(name));
        assert!(!seeds.is_empty(), "{name}");
        for seed in &seeds {
            target(seed);
            for _ in 0..rounds(ROUNDS_SEED) {
                let other = mutator.one_of(&seeds).clone();
                target(&mutator.bytes(seed, &other));
            }
        }
    }
    let sound = std::fs::read(in_checkout("fuzz/seeds/read_export/sound")).unwrap();
    assert!(targets::audit::is_clean(&sound));
}

/// Exports whose lines are JSON of another meaning: each line by itself, every target has a manifest that fits.
#[test]
fn no_record_of_an_export_makes_the_auditor_panic() {
    let sound = std::fs::read(in_checkout("fuzz/seeds/read_export/sound")).unwrap();
    let lines: Vec<&[u8]> = sound.split_inclusive(|byte| *byte == b'\n').collect();
    let records: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at][0] == b'{')
        .collect();
    let mut mutator = mutator();
    for at in &records {
        for _ in 0..rounds(ROUNDS_SEED) {
            let other = lines[*mutator.one_of(&records)];
            let mut changed: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
            changed[*at] = [mutator.payload(lines[*at], other), b"\n".to_vec()].concat();
            targets::audit::read_export(&changed.concat());
        }
    }
}

/// A fuzzer can not find a signature, so it is given one.
#[test]
fn the_seeds_of_the_targets_are_genuine() {
    for (source, file) in SEEDS {
        let body = std::fs::read(
            in_checkout("tests/fixtures")
                .join(source.as_str())
                .join(file),
        );
        let seed = in_checkout(format!("fuzz/seeds/verify_{source}")).join(file);
        let request = targets::request(subject(source), &body.unwrap());
        if std::env::var_os("FUZZ_SEEDS").is_some() {
            std::fs::create_dir_all(seed.parent().unwrap()).unwrap();
            std::fs::write(&seed, &request).unwrap();
        }
        let same = std::fs::read(&seed).unwrap() == request;
        assert!(
            same,
            "{}: write it anew with FUZZ_SEEDS=write",
            seed.display()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_make_the_service_answer_that_it_broke() {
    let app = TestApp::start_with(Options::default()).await;
    for source in PROVIDERS {
        let mut sent: Vec<Sent> = vec![];
        each_mutation(source, rounds(ROUNDS_HTTP), |body| {
            sent.push((source, signed(source, body)));
        });
        let answers = deliver_all(&[&app], &sent, CONNECTIONS).await;
        assert_eq!(answers.len(), sent.len());
        for (answer, (_, delivery)) in answers.iter().zip(&sent) {
            let body = String::from_utf8_lossy(&delivery.body);
            match answer.status.as_u16() {
                200 => assert!(answer.body["status"].is_string(), "{answer:?}"),
                400 => answer.assert_problem(400, "malformed"),
                _ => panic!("{source}: {answer:?}\n{body}"),
            }
        }
    }
    assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}
