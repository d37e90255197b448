//! What every test looks at afterwards is seen when it is not whole.

use serde_json::json;

use super::{assert_whole, capture, grant, hold, remaining, reverse, still};
use crate::support::integrity::impossible;

const USER: &str = "user_1";
const LOTS: &str = "users whose lots are not their balance";
const HOLDS: &str = "open holds that are not those";
const RESERVED: &str = "users who reserve other credits";
const SETTLEMENTS: &str = "settlements that are not the one event";
const SLICES: &str = "movements that took or gave other credits";

#[tokio::test]
async fn lots_holds_and_settlements_that_were_changed_are_seen() {
    let (app, _) = still().await;
    for _ in 0..70 {
        grant(&app, USER, 1, &json!({})).await;
    }
    let spent = app.spend(USER, 3).await;
    reverse(&app, &spent.text("entry_id"), 1).await;
    let captured = hold(&app, USER, 2, 60).await;
    capture(&app, &captured, 1).await.assert_ok(&json!({}));
    hold(&app, USER, 2, 60).await;
    assert_eq!(remaining(&app, USER).await.len(), 65);
    assert_whole(&app).await;

    let tampering: [(&str, &[&str]); 9] = [
        ("update lots set remaining = remaining + 1 where lot = 70", &[LOTS]),
        ("delete from lots where lot = 70", &[LOTS]),
        (
            "insert into lots select 'user_x', lot, shard, kind, priority, expires_at_s, purchase_id, amount, remaining,
                    contested, expired, counted from lots where lot = 70",
            &[LOTS],
        ),
        (
            "update streams set state = replace(state::text, '\"balance\":67', '\"balance\":66')::json",
            &[LOTS],
        ),
        ("delete from holds", &[HOLDS, RESERVED]),
        ("update holds set times_out_at_s = times_out_at_s + 1", &[HOLDS]),
        (
            "delete from settlements where settlement = 'captured'",
            &[HOLDS, SETTLEMENTS],
        ),
        (
            "update settlements set settlement = 'released' where settlement = 'captured'",
            &[SETTLEMENTS],
        ),
        (
            "alter table events disable trigger all;
             update events set payload = replace(payload::text, '\"credits\":3', '\"credits\":4')::json
              where event_type = 'CreditsSpent'",
            &[SLICES],
        ),
    ];
    let sql = app.sql().await;
    for (tamper, seen) in tampering {
        sql.batch_execute(&format!("begin; {tamper}"))
            .await
            .unwrap();
        let found = impossible(&sql).await;
        sql.batch_execute("rollback").await.unwrap();
        assert_eq!(found.len(), seen.len(), "{tamper}: {found:?}");
        for (found, seen) in found.iter().zip(seen) {
            assert!(found.starts_with(seen), "{tamper}: {found}");
        }
    }
    assert_whole(&app).await;
    app.stop().await;
}
