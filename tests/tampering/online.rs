//! Forgeries on the live database, by somebody who puts right whatever can be put right without the key. Each is verified
//! where it is, and as the export that the forger would hand over.

use credit_ledger_verify::report::{Report, checks};
use sha2::{Digest as _, Sha256};

use super::copy::Copy;
use super::folder::Folder;
use super::forge;
use super::sealed::{
    Ledger, Trusted, assert_clean, ledger, names, verdict_of, verdict_on, write_export,
};
use crate::support::TestApp;

/// The verdicts on a database and on its export.
async fn verdicts(copy: &Copy, trusted: &Trusted) -> [Report; 2] {
    let folder = Folder::new();
    write_export(&copy.database, &folder.0).await;
    [
        verdict_of(&copy.database, trusted).await,
        verdict_on(&folder.0, trusted),
    ]
}

fn said(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

async fn assert_found(copy: &Copy, trusted: &Trusted, checks: &[&str], place: &str) {
    for report in verdicts(copy, trusted).await {
        let found = names(&report, checks, &[place.to_owned()]);
        assert!(found, "{place} not in {:#?}", said(&report));
    }
}

/// The shard of which most events are sealed, and up to where they are.
async fn longest(copy: &Copy) -> (i16, i64) {
    let query = "select ends.shard, ends.position
                   from (select shards, positions from seals order by seal desc limit 1) as last
                  cross join lateral unnest(last.shards, last.positions) as ends(shard, position)
                  order by ends.position desc limit 1";
    let row = copy.sql.query_one(query, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn the_tail_of_a_shard_cut_off_with_its_head_put_right() {
    let ledger = ledger().await;
    let copy = Copy::of(&ledger.database).await;
    let (shard, end) = longest(&copy).await;
    copy.run(&format!(
        "delete from events where shard = {shard} and position > {end} - 3"
    ))
    .await;
    forge::chain(&copy.sql, shard).await;
    let place = format!("shard {shard} position {end}");
    assert_found(&copy, &Trusted::key(), &[checks::END_DIFFERS], &place).await;
}

/// Nothing is left of the user but what other streams say; all chains are made anew and are whole.
#[tokio::test]
async fn a_whole_stream_cut_out_with_the_chain_made_anew() {
    let ledger = ledger().await;
    let copy = Copy::of(&ledger.database).await;
    let user = &ledger.users[2];
    let query = format!("select distinct shard from events where aggregate_id = '{user}'");
    let shard: i16 = copy.sql.query_one(&query, &[]).await.unwrap().get(0);
    copy.run(&format!(
        "delete from events where aggregate_type = 'user' and aggregate_id = '{user}';
         delete from streams where aggregate_id = '{user}';
         delete from personal where aggregate_id = '{user}';
         delete from balance where user_id = '{user}';
         delete from entries where user_id = '{user}';
         delete from users where user_id = '{user}';
         delete from lots where user_id = '{user}';
         delete from holds where user_id = '{user}';
         update events e set position = 100000 + n.number
           from (select position, row_number() over (order by position) as number from events where shard = {shard}) as n
          where e.shard = {shard} and e.position = n.position;
         update events set position = position - 100000 where shard = {shard}"
    ))
    .await;
    forge::chain(&copy.sql, shard).await;
    let place = format!("shard {shard}");
    assert_found(&copy, &Trusted::key(), &[checks::END_DIFFERS], &place).await;
}

#[tokio::test]
async fn two_events_swapped_with_the_chain_made_anew() {
    let ledger = ledger().await;
    let copy = Copy::of(&ledger.database).await;
    // Of two streams, so that only the chain can tell.
    let query = "select e.shard, e.position from events e
                   join events n on n.shard = e.shard and n.position = e.position + 1 and n.aggregate_id <> e.aggregate_id
                  where e.position > 10 and e.recorded_at = n.recorded_at
                    and not exists (select from events later where later.payload::text ~ ('\"' || e.shard || '-(' || e.position || '|' || n.position || ')\"'))
                  order by e.shard, e.position limit 1";
    let row = copy.sql.query_one(query, &[]).await.unwrap();
    let (shard, position): (i16, i64) = (row.get(0), row.get(1));
    forge::swap(&copy.sql, shard, position, position + 1).await;
    forge::chain(&copy.sql, shard).await;
    let place = format!("shard {shard}");
    let found_by = [checks::END_DIFFERS, checks::ROOT_DIFFERS];
    assert_found(&copy, &Trusted::key(), &found_by, &place).await;
}

/// A user whom nobody knows yet, in a shard whose last event can have another place without anybody else naming it.
async fn thief(copy: &Copy) -> String {
    let query = "select array_agg(shard) from heads join events using (shard, position)
                  where event_type not in ('CreditsSpent', 'CreditsHeld', 'HoldCaptured', 'HoldReleased')";
    let shards: Vec<i16> = copy.sql.query_one(query, &[]).await.unwrap().get(0);
    (0..1000)
        .map(|number| format!("user_thief_{number}"))
        .find(|user| {
            let digest = Sha256::digest(format!("user/{user}"));
            let number = u64::from_be_bytes(digest[..8].try_into().unwrap());
            shards.contains(&i16::try_from(number % 16).unwrap())
        })
        .unwrap()
}

/// A grant, booked by the service itself, is put before the last sealed event of its shard: states, read models, positions
/// and the chain all agree with it, and only the seal does not.
async fn forged(ledger: &Ledger) -> (Copy, i16, i64) {
    let copy = Copy::of(&ledger.database).await;
    let app = TestApp::start_on(copy.database.clone(), crate::support::Options::default()).await;
    app.looked_once().await;
    let before = "select jsonb_object_agg(shard, position)::text from heads";
    let before: String = copy.sql.query_one(before, &[]).await.unwrap().get(0);
    let before: serde_json::Value = serde_json::from_str(&before).unwrap();
    let entry = app.grant(&thief(&copy).await, 1_000_000).await;
    app.stop().await;
    let (shard, position) = entry
        .text("entry_id")
        .split_once('-')
        .map(|(shard, position)| {
            (
                shard.parse::<i16>().unwrap(),
                position.parse::<i64>().unwrap(),
            )
        })
        .unwrap();
    assert_eq!(before[shard.to_string()], position - 1);
    // Its time must not run before that of the one behind it.
    copy.run(&format!(
        "update events set recorded_at = (select recorded_at from events where shard = {shard} and position = {position} - 1)
          where shard = {shard} and position = {position};
         update entries set recorded_at = (select recorded_at from events where shard = {shard} and position = {position} - 1)
          where shard = {shard} and position = {position}"
    ))
    .await;
    forge::swap(&copy.sql, shard, position - 1, position).await;
    forge::chain(&copy.sql, shard).await;
    (copy, shard, position - 1)
}

#[tokio::test]
async fn a_forged_event_that_everything_agrees_with_is_found_by_the_seal_alone() {
    let ledger = ledger().await;
    let (copy, shard, position) = forged(ledger).await;
    let place = format!("shard {shard} position {position}");
    assert_found(&copy, &Trusted::key(), &[checks::END_DIFFERS], &place).await;
    // Without seals nobody could tell.
    copy.run("delete from seals; delete from witnesses").await;
    for report in verdicts(&copy, &Trusted::nobody()).await {
        assert_clean(&report);
    }
    // And whoever was told of them does.
    let last = format!("seal {}", ledger.witness.len());
    assert_found(
        &copy,
        &Trusted::witness(ledger),
        &[checks::ROLLED_BACK],
        &last,
    )
    .await;
}

#[tokio::test]
async fn the_last_seal_taken_back() {
    let ledger = ledger().await;
    let copy = Copy::of(&ledger.database).await;
    copy.run("delete from seals where seal = (select max(seal) from seals); delete from witnesses")
        .await;
    for report in verdicts(&copy, &Trusted::key()).await {
        assert_clean(&report);
        assert!(report.unsealed_events > 0, "the verdict says so");
    }
    let last = format!("seal {}", ledger.witness.len());
    assert_found(
        &copy,
        &Trusted::witness(ledger),
        &[checks::ROLLED_BACK],
        &last,
    )
    .await;
}

/// With the key: what was sealed is cut off, and what is left is sealed again.
#[tokio::test]
async fn another_history_sealed_again_under_the_same_key() {
    let ledger = ledger().await;
    let copy = Copy::of(&ledger.database).await;
    copy.run("delete from seals where seal = (select max(seal) from seals); delete from witnesses")
        .await;
    let options = crate::support::seals::sealing_with(|settings| settings.events_max = 7);
    let app = TestApp::start_on(copy.database.clone(), options).await;
    app.seal_all().await;
    app.stop().await;
    for report in verdicts(&copy, &Trusted::key()).await {
        assert_clean(&report);
        assert_eq!(report.unsealed_events, 0);
    }
    let last = format!("seal {}", ledger.witness.len());
    assert_found(
        &copy,
        &Trusted::witness(ledger),
        &[checks::ROLLED_BACK],
        &last,
    )
    .await;
}

/// What was written after the last seal has nobody to vouch for it: the limit that the sealing lag is.
#[tokio::test]
async fn what_is_not_sealed_yet_can_be_cut_off_unseen() {
    let ledger = ledger().await;
    let copy = Copy::of(&ledger.database).await;
    let before = copy.count("select sum(position)::bigint from heads").await;
    let app = TestApp::start_on(copy.database.clone(), crate::support::Options::default()).await;
    app.looked_once().await;
    app.grant("user_of_the_tail", 5).await;
    app.stop().await;
    assert_eq!(
        copy.count("select sum(position)::bigint from heads").await,
        before + 1
    );
    copy.run(
        "delete from events where aggregate_id = 'user_of_the_tail';
         delete from streams where aggregate_id = 'user_of_the_tail';
         delete from balance where user_id = 'user_of_the_tail';
         delete from entries where user_id = 'user_of_the_tail'",
    )
    .await;
    for shard in 0..16 {
        forge::chain(&copy.sql, shard).await;
    }
    for report in verdicts(&copy, &Trusted::witness(ledger)).await {
        assert_clean(&report);
        assert_eq!(report.unsealed_events, 0);
    }
}
