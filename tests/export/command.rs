//! `credit-ledger audit export` and `audit verify`, the program itself.

use credit_ledger_verify::check::Trust;
use credit_ledger_verify::report::Verdict;
use serde_json::Value;

use crate::crash::service::DataDir;
use crate::support::folder::Folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_write_and_judge_beside_a_running_service() {
    let data = DataDir::new();
    let service = data.serve();
    let url = format!("http://{}", service.address);
    for event in [["clerk", "user.created"], ["razorpay", "payment.captured"]] {
        let send = [
            "send", event[0], event[1], "--user", "user_1", "--url", &url,
        ];
        assert!(data.said(&send, 0).contains("recorded"));
    }

    let folder = Folder::new();
    let path = folder.0.to_str().unwrap();
    let written = data.said(&["audit", "export", path], 0);
    assert_eq!(
        written,
        format!("{path}: 4 events, up to seal 0, 13 records in 12 files\n")
    );
    let mut trust = Trust::of_keys(vec![]);
    trust.waived = true;
    let report = credit_ledger_verify::export::verify(&folder.0, trust).unwrap();
    assert_eq!((report.events, report.verdict()), (4, Verdict::Clean));
    data.said(&["audit", "export", path, "--format", "csv"], 1);
    let users = Folder::new();
    let users = users.0.to_str().unwrap();
    data.said(&["audit", "export", users, "--user", "user_1"], 0);
    data.said(&["audit", "export", users, "--user", "user_2"], 1);

    let judged = data.said(&["audit", "verify", "--signatures"], 0);
    assert!(
        judged.starts_with("deliveries  2 signatures hold, 0 do not")
            && judged.contains("4 events of 2 streams")
            && judged.contains("\nverdict     clean"),
        "{judged}"
    );
    let sql = data.sql().await;
    let change = "update balance set balance = balance + 1";
    sql.batch_execute(change).await.unwrap();
    let judged = data.said(&["audit", "verify", "--json"], 1);
    let report: Value = serde_json::from_str(&judged).unwrap();
    assert_eq!(report["found"], 1, "{judged}");
    assert_eq!(report["findings"][0]["stream"], "user/user_1", "{judged}");
    data.said(&["audit", "verify", "--key", path], 1);
    drop(service);
}
