//! Looking for work stays cheap in a ledger that has grown.

use crate::support::TestApp;

/// Much history, little of which is left to do.
const GROWN: &str = "
insert into users (user_id, registered, deleted, erasure_requested, erased, bonus, plan_sequence, email, email_verified,
                   profile_sequence, deleted_at)
  select 'user_' || n, true, n % 50 = 0, n % 100 = 0, n % 100 = 0, true, 0, 'User_' || n || '@example.com', true, 1,
         case when n % 50 = 0 then now() - n * interval '1 minute' end
    from generate_series(1, 20000) as n;
insert into streams (aggregate_type, aggregate_id, shard, version, state)
  select 'user', 'user_' || n, n % 16, 1, '{}' from generate_series(1, 20000) as n;
insert into purchases (purchase_id, user_id, captured, sku, credits, subscription_id, payer_email, payer_erased,
                       refunded_minor, disputed_minor, lost_minor, standing_sequence, recorded_at)
  select 'stripe:pi_' || n, case when n % 50 > 0 then 'user_' || n end, true,
         case when n % 70 > 0 then 'credits_1' end, 1, 'sub_' || n % 1000,
         case when n % 50 = 0 then 'payer_' || n || '@example.com' end, false, 0, 0, 0, 0, now()
    from generate_series(1, 20000) as n;
insert into personal (aggregate_type, aggregate_id, sequence, salt, profile)
  select 'purchase', 'stripe:pi_' || n, 1, '',
         json_build_object('email', case when n % 50 = 0 then 'payer_' || n || '@example.com' end)
    from generate_series(1, 20000) as n;
insert into personal (aggregate_type, aggregate_id, sequence, salt, profile)
  select 'user', 'user_' || n, 1, '', json_build_object('email', 'User_' || n || '@example.com')
    from generate_series(1, 20000) as n;
insert into outbox (kind, aggregate_type, aggregate_id, sequence, created_at)
  select 'match', 'user', 'user_' || n, 1, now() from generate_series(1, 20000) as n;
insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, shard, position,
                    recorded_at, source, hash)
  select 'purchase', 'stripe:pi_' || n, 1, 'PaymentCaptured', '1.0', '{}', '{}', n % 16, n, now(), 'stripe',
         decode(repeat('00', 32), 'hex')
    from generate_series(1, 20000) as n;
insert into inbox (source, key, provider_event_id, body, body_sha256, headers, secret, received_at, outcome, shards,
                   positions, waits_for, next_attempt_at)
  select 'razorpay', n, 'evt_' || n, '', '', '{}', '', now() - n * interval '1 second', case when n % 100 = 0 then 'parked' else 'recorded' end,
         '{}', '{}', case when n % 200 = 0 then 'razorpay:sub_' || n end,
         case when n % 100 = 0 then now() + n * interval '1 minute' end
    from generate_series(1, 20000) as n;
analyze";

/// Each statement with values for its parameters.
const LOOK_UPS: [(&str, &[&str]); 28] = [
    (
        include_str!("../../projections/users/owners.sql"),
        &["'USER_7@example.com'", "2"],
    ),
    (
        include_str!("../../projections/purchases/unclaimed_of_payer.sql"),
        &["'payer_50@example.com'", "''", "100"],
    ),
    (
        include_str!("../../projections/purchases/unclaimed_of_subscription.sql"),
        &["'sub_7'", "'stripe'", "''", "100"],
    ),
    (
        include_str!("../../projections/purchases/subscriber_of.sql"),
        &["'stripe:pi_7'"],
    ),
    (
        include_str!("../../projections/purchases/subscriber.sql"),
        &["'sub_7'", "'stripe'"],
    ),
    (
        include_str!("../../src/store/sql/select_address.sql"),
        &["'purchase'", "'stripe:pi_7'", "1"],
    ),
    (
        include_str!("../../src/store/sql/select_payer_addresses.sql"),
        &["'stripe:pi_7'", "10"],
    ),
    (
        include_str!("../../src/store/sql/delete_unmatched.sql"),
        &["'{7,8}'"],
    ),
    (
        include_str!("../../src/store/sql/select_due.sql"),
        &["now()", "100"],
    ),
    (
        include_str!("../../src/store/sql/update_waiting.sql"),
        &["'razorpay:sub_200'", "now()"],
    ),
    (
        include_str!("../../src/store/sql/select_delivery.sql"),
        &["'razorpay'", "'7'"],
    ),
    (
        include_str!("../../src/store/sql/find_delivery.sql"),
        &["'razorpay'", "'evt_7'"],
    ),
    (
        include_str!("../../src/reads/sql/page_inbox.sql"),
        &[
            "'{clerk,razorpay}'",
            "'recorded'",
            "now()",
            "'7'",
            "'clerk'",
            "50",
        ],
    ),
    (
        include_str!("../../src/reads/sql/count_parked.sql"),
        &["'{clerk,razorpay}'", "10001"],
    ),
    (
        include_str!("../../src/reads/sql/select_last_deliveries.sql"),
        &["'{clerk,razorpay}'", "'{parked,recorded}'"],
    ),
    (
        include_str!("../../src/reads/sql/select_purchase_deliveries.sql"),
        &["'stripe:pi_7'", "20"],
    ),
    (
        include_str!("../../projections/purchases/page_unclaimed.sql"),
        &["now()", "''", "50"],
    ),
    (
        include_str!("../../projections/purchases/page_unpriced.sql"),
        &["now()", "''", "50"],
    ),
    (
        include_str!("../../projections/purchases/count_unresolved.sql"),
        &["10001"],
    ),
    (
        include_str!("../../projections/users/page_without_bonus.sql"),
        &["''", "100"],
    ),
    (
        include_str!("../../projections/users/to_erase.sql"),
        &[
            "now() - interval '300 hours'",
            "timestamptz 'epoch'",
            "''",
            "100",
        ],
    ),
    (
        include_str!("../../projections/purchases/to_erase.sql"),
        &["'user_7'", "'{payer_50@EXAMPLE.com}'", "''", "100"],
    ),
    (
        include_str!("../../src/store/sql/select_own_addresses.sql"),
        &["'user_7'", "100"],
    ),
    (
        include_str!("../../src/store/sql/select_subscriptions.sql"),
        &["'user_7'"],
    ),
    (
        include_str!("../../src/store/sql/select_told.sql"),
        &["'purchase'", "'stripe:pi_7'", "0", "1000"],
    ),
    (
        include_str!("../../src/store/sql/walk_inbox.sql"),
        &["'7'", "'razorpay'", "500"],
    ),
    (
        include_str!("../../src/store/sql/blank_inbox.sql"),
        &["'{razorpay}'", "'{7}'", "now()"],
    ),
    (
        include_str!("../../src/store/sql/delete_personal.sql"),
        &["'{\"(user,user_7,3)\"}'"],
    ),
];

#[tokio::test]
async fn every_look_up_goes_by_an_index() {
    let app = TestApp::start_blind().await;
    let sql = app.sql().await;
    sql.batch_execute(GROWN).await.unwrap();
    // As in a lane's session.
    let row_types = include_str!("../../src/store/sql/create_row_types.sql");
    sql.batch_execute(row_types).await.unwrap();
    for (statement, values) in LOOK_UPS {
        let mut statement = statement.to_owned();
        for (number, value) in (1..).zip(values) {
            statement = statement.replace(&format!("${number}"), value);
        }
        let (header, body): (Vec<&str>, Vec<&str>) =
            statement.lines().partition(|line| line.starts_with("--"));
        let rows = sql
            .query(&format!("explain {}", body.join("\n")), &[])
            .await
            .unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(
            !plan.iter().any(|line| line.contains("Seq Scan")),
            "{}\n{}",
            header[0],
            plan.join("\n")
        );
    }
    app.stop().await;
}
