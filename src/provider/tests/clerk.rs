//! Every quirk of Clerk's payloads by itself.

use super::super::sample::{self, SampleUser};
use super::*;
use crate::ledger::command::{ChangeProfile, RegisterUser};

fn user_created(data: &Value) -> Value {
    json!({ "type": "user.created", "object": "event", "data": data })
}

fn registered(body: &Value) -> RegisterUser {
    match clerk_says(body) {
        Translated::Apply(Command::RegisterUser(register)) => register,
        other => panic!("no registration: {other:?}"),
    }
}

#[test]
fn a_field_that_no_machine_can_hold_spoils_no_sign_up() {
    let body = r#"{"type":"user.created","data":{"id":"user_1","updated_at":5,
        "unsafe_metadata":{"n":1e999,"s":"\ud83d"},"first_name":"A\u0000sha"}}"#;
    let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), body).unwrap();
    let verified = verify(&clerk(), &signed).unwrap();
    let Translated::Apply(Command::RegisterUser(register)) =
        clerk().translate(&verified, &rules(), SALT)
    else {
        panic!("no registration");
    };
    let profile = profile_of(&register.profile);
    assert_eq!(profile.first_name.as_deref(), Some("Asha"));
}

#[test]
fn the_version_of_a_profile_falls_back() {
    let version = |data: Value, timestamp: Value| {
        let body = with(user_created(&data), "timestamp", timestamp);
        registered(&body).profile_version
    };
    let all = version(
        json!({"id": "u", "updated_at": 3, "created_at": 2}),
        json!(1),
    );
    assert_eq!((all.updated_at_ms, all.event_id.as_str()), (3, "msg_1"));
    let created = json!({"id": "u", "updated_at": null, "created_at": 2});
    assert_eq!(version(created, json!(1)).updated_at_ms, 2);
    let neither = json!({"id": "u", "updated_at": "3", "created_at": -2});
    assert_eq!(version(neither, json!(1)).updated_at_ms, 1);
    let none = user_created(&json!({"id": "u"}));
    assert_eq!(clerk_says(&none), parked("data.updated_at"));
}

#[test]
fn a_user_without_a_usable_id_is_parked() {
    for data in [
        json!(null),
        json!({}),
        json!({"id": null, "updated_at": 1}),
        json!({"id": "", "updated_at": 1}),
        json!({"id": "a b", "updated_at": 1}),
        json!({"id": 7, "updated_at": 1}),
    ] {
        for event_type in ["user.created", "user.updated", "user.deleted"] {
            let body = json!({ "type": event_type, "data": data });
            assert_eq!(clerk_says(&body), parked("data.id"), "{body}");
        }
    }
    assert_eq!(clerk_says(&json!({"type": 1})), parked("type"));
}

#[test]
fn only_the_primary_address_counts() {
    let profile = |primary: Value, addresses: Value| {
        let data = json!({"id": "u", "updated_at": 1,
            "primary_email_address_id": primary, "email_addresses": addresses});
        profile_of(&registered(&user_created(&data)).profile)
    };
    let address = |id: &str, email: Value, verification: Value| json!({"id": id, "email_address": email, "verification": verification});
    let ok = json!({"status": "verified"});
    let other = address("1", json!("other@x.example"), ok.clone());
    for (primary, addresses) in [
        (json!(null), json!([other])),
        (json!("2"), json!([other])),
        (json!("2"), json!(null)),
        (
            json!("2"),
            json!([other, address("2", json!(null), ok.clone())]),
        ),
        (
            json!("2"),
            json!([address("2", json!("\u{0} "), ok.clone())]),
        ),
        (
            json!("2"),
            json!([address("2", json!("a".repeat(321)), ok.clone())]),
        ),
    ] {
        let profile = profile(primary, addresses);
        assert_eq!((profile.email, profile.email_verified), (None, false));
    }
    for (verification, verified) in [
        (ok, true),
        (json!({"status": "unverified"}), false),
        (json!({"status": "some new word"}), false),
        (json!({}), false),
        (json!(null), false),
    ] {
        let mine = address("2", json!(" me@x.example\r\n"), verification);
        let profile = profile(json!("2"), json!([1, null, other, mine]));
        assert_eq!(profile.email.as_deref(), Some("me@x.example"));
        assert_eq!(profile.email_verified, verified);
    }
}

#[test]
fn names_are_cut_at_a_characters_boundary() {
    let data = json!({"id": "u", "updated_at": 1, "first_name": "é".repeat(200), "last_name": " "});
    let profile = profile_of(&registered(&user_created(&data)).profile);
    assert_eq!(profile.first_name.unwrap().len(), 254);
    assert_eq!(profile.last_name, None);
}

#[test]
fn the_samples_are_read_like_the_real_ones() {
    let user = SampleUser {
        user_id: "user_1".to_owned(),
        email: Some("a@x.example".to_owned()),
        first_name: Some("Asha".to_owned()),
        last_name: None,
        updated_at: now(),
    };
    let register = registered(&sample::clerk_user_created(&user));
    let profile = profile_of(&register.profile);
    assert_eq!(profile.email.as_deref(), Some("a@x.example"));
    assert!(profile.email_verified);
    assert_eq!(
        register.profile_version.updated_at_ms,
        now().timestamp_millis()
    );
    let nobody = SampleUser {
        email: None,
        ..user
    };
    let Translated::Apply(Command::ChangeProfile(ChangeProfile { profile, .. })) =
        clerk_says(&sample::clerk_user_updated(&nobody))
    else {
        panic!("no change");
    };
    assert_eq!(profile_of(&profile).email, None);
    assert!(matches!(
        clerk_says(&sample::clerk_user_deleted("user_1", now())),
        Translated::Apply(Command::DeleteUser { user_id }) if user_id.as_str() == "user_1"
    ));
}
