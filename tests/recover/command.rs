//! `credit-ledger recover`, the program itself.

use crate::crash::service::DataDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_repairs_beside_a_running_service() {
    let data = DataDir::new();
    let service = data.serve();
    let url = format!("http://{}", service.address);
    for user_id in ["user_1", "user_2", "user_3"] {
        // The update of a user whose sign-up never arrived.
        let send = [
            "send",
            "clerk",
            "user.updated",
            "--user",
            user_id,
            "--url",
            &url,
        ];
        assert!(data.said(&send, 0).contains("recorded"));
    }
    assert_eq!(service.balance("user_1").await, 0);

    let planned = data.said(&["recover", "--dry-run", "--limit", "2"], 0);
    assert_eq!(
        planned,
        "no_bonus user_1: grant_bonus planned (20)\n\
         no_bonus user_2: grant_bonus planned (20)\n\
         found: 0 parked, 2 without bonus, 0 unpriced, 0 unclaimed\n\
         2 would be tried; nothing was changed\n\
         there may be more: raise --limit\n"
    );
    assert_eq!(service.balance("user_1").await, 0);

    let done = data.said(&["recover", "--reason", "the sign-ups were lost"], 0);
    assert!(
        done.contains("no_bonus user_3: grant_bonus done (20)\n")
            && done.ends_with("3 done, 0 unchanged, 0 refused, 0 failed\n"),
        "{done}"
    );
    for user_id in ["user_1", "user_2", "user_3"] {
        assert_eq!(service.balance(user_id).await, 20);
    }
    let sql = data.sql().await;
    let caused = "select count(*) from events where event_type = 'SignupBonusGranted' and source = 'admin'
                     and metadata->>'actor' = 'cli:operator' and metadata->>'reason' = 'the sign-ups were lost'";
    let caused: i64 = sql.query_one(caused, &[]).await.unwrap().get(0);
    assert_eq!(caused, 3);

    let again = data.said(&["recover", "--reason", "once more"], 0);
    assert_eq!(
        again,
        "found: 0 parked, 0 without bonus, 0 unpriced, 0 unclaimed\n\
         0 done, 0 unchanged, 0 refused, 0 failed\n"
    );
    data.said(&["recover"], 2);
    data.said(&["recover", "--reason", " "], 1);
    data.said(&["recover", "--dry-run", "--limit", "0"], 2);
    assert!(
        data.said(&["audit", "replay"], 0)
            .contains("the history agrees")
    );
    // The command left the service alone.
    assert_eq!(service.balance("user_1").await, 20);
    drop(service);
}
