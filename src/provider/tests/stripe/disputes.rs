//! Disputes, from the first question to the last word.

use super::*;

fn dispute(status: &str, movements: &[i64]) -> Value {
    let movements: Vec<_> = movements
        .iter()
        .map(|n| json!({"amount": n, "currency": "eur"}))
        .collect();
    with(
        sample::dispute(&sale(), status),
        "balance_transactions",
        json!(movements),
    )
}

fn read(dispute: &Value) -> String {
    let one = shown(says("charge.dispute.updated", dispute));
    // What the event is called does not matter.
    for name in ["created", "closed", "funds_withdrawn", "funds_reinstated"] {
        assert_eq!(shown(says(&format!("charge.dispute.{name}"), dispute)), one);
    }
    one
}

#[test]
fn a_dispute_is_open_then_won_or_lost() {
    for (status, movements, wanted) in [
        ("needs_response", vec![], "0 open 4900"),
        ("needs_response", vec![-4900], "10 open 4900"),
        ("under_review", vec![-4900], "10 open 4900"),
        ("appeal_under_review", vec![-4900], "10 open 4900"),
        ("lost", vec![-4900], "1011 lost 4900"),
        ("lost", vec![], "1001 lost 4900"),
        ("won", vec![-4900, 4900], "1022 won"),
        ("won", vec![-4900], "1012 won"),
        ("word_of_tomorrow", vec![-4900], "10 open 4900"),
    ] {
        let wanted = format!("dispute stripe:pi_1 du_1 {wanted}");
        assert_eq!(read(&dispute(status, &movements)), wanted, "{status}");
    }
}

/// Whatever was said while it was open stands below every decision, and of decisions the later one is above.
#[test]
fn stages_only_grow_in_the_life_of_a_dispute() {
    let life = [
        dispute("needs_response", &[]),
        dispute("under_review", &[-4900]),
        dispute("lost", &[-4900]),
        dispute("lost", &[-4900, 1500]),
        dispute("won", &[-4900, 1500, 3400]),
        dispute("lost", &[-4900, 1500, 3400, -4900]),
    ];
    let stages = life.map(|dispute| match says("charge.dispute.updated", &dispute) {
        Translated::Apply(Command::DisputePayment(dispute)) => dispute.stage,
        other => panic!("{other:?}"),
    });
    assert!(
        stages.is_sorted_by(|earlier, later| earlier < later),
        "{stages:?}"
    );
    // An appeal is no step back.
    let appeal = says(
        "charge.dispute.updated",
        &dispute("appeal_under_review", &[-4900; 200]),
    );
    assert!(matches!(appeal, Translated::Apply(Command::DisputePayment(d)) if d.stage < stages[2]));
}

#[test]
fn of_a_lost_dispute_what_was_given_back_is_not_lost() {
    for (movements, lost) in [
        (vec![-4900, 1500], 3400),
        // In the currency of the balance, with whatever rate: the proportion counts, rounded down.
        (vec![-300, 100], 3266),
        (vec![-300, 299], 16),
        (vec![-1, 1], 0),
        // Won, and lost after all.
        (vec![-4900, 4900, -4900], 4900),
        (vec![-4900, 1500, 3400, -4900], 4900),
        (vec![-300, 300, -300, 100], 3266),
        // More than was taken.
        (vec![-4900, 5000], 0),
        (vec![5000], 4900),
        (vec![i64::MIN, i64::MAX, i64::MIN, i64::MAX], 0),
        (vec![i64::MIN; 150], 4900),
    ] {
        let read = read(&dispute("lost", &movements));
        assert!(
            read.ends_with(&format!(" lost {lost}")),
            "{movements:?}: {read}"
        );
    }
}

#[test]
fn an_inquiry_moves_nothing_and_its_end_undoes_nothing() {
    for status in [
        "warning_needs_response",
        "warning_under_review",
        "warning_closed",
        "prevented",
    ] {
        let wanted = format!("ignore inquiry, status {status}: no money moved");
        assert_eq!(read(&dispute(status, &[])), wanted);
        assert_eq!(read(&dispute(status, &[-4900])), wanted);
    }
    let mut inquiry = dispute("needs_response", &[]);
    inquiry["payment_method_details"]["card"]["case_type"] = json!("inquiry");
    assert_eq!(
        read(&inquiry),
        "ignore inquiry, status needs_response: no money moved"
    );
    // It became a dispute.
    inquiry["balance_transactions"] = json!([{"amount": -4900}]);
    assert_eq!(read(&inquiry), "dispute stripe:pi_1 du_1 10 open 4900");
    assert_eq!(
        read(&dispute("word_of_tomorrow", &[])),
        "ignore dispute status word_of_tomorrow: no money moved"
    );
}

#[test]
fn a_dispute_of_a_part_contests_that_part() {
    let part = with(dispute("needs_response", &[-1500]), "amount", json!(1500));
    assert_eq!(read(&part), "dispute stripe:pi_1 du_1 10 open 1500");
    let of_charge = with(part, "payment_intent", json!(null));
    assert_eq!(read(&of_charge), "dispute stripe:ch_1 du_1 10 open 1500");
}

#[test]
fn a_dispute_says_its_currency() {
    let eur = with(dispute("lost", &[]), "currency", json!("eur"));
    let read = says("charge.dispute.closed", &eur);
    let Translated::Apply(Command::DisputePayment(dispute)) = read else {
        panic!("{read:?}");
    };
    assert_eq!(dispute.currency, Currency::parse("EUR").ok());
}

#[test]
fn disputes_that_can_not_be_read_are_parked() {
    for (name, value) in [
        ("status", json!(null)),
        ("id", json!("")),
        ("amount", json!(null)),
        ("amount", json!(-1)),
    ] {
        let wanted = format!("park missing_fields: data.object.{name}");
        assert_eq!(read(&with(dispute("lost", &[]), name, value)), wanted);
    }
    let nameless = without(without(dispute("lost", &[]), "payment_intent"), "charge");
    assert_eq!(
        read(&nameless),
        "park missing_fields: data.object.payment_intent"
    );
}
