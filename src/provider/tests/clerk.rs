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

// ---- what Clerk sends beside the plain sign-up, by name

fn changed(fixture: &str) -> (Profile, ChangeProfile) {
    match clerk_says(&read_json(&format!("clerk/{fixture}.json"))) {
        Translated::Apply(Command::ChangeProfile(change)) => (profile_of(&change.profile), change),
        other => panic!("no change: {other:?}"),
    }
}

fn signed_up(fixture: &str) -> (Profile, RegisterUser) {
    let register = registered(&read_json(&format!("clerk/{fixture}.json")));
    (profile_of(&register.profile), register)
}

#[test]
fn a_user_without_an_e_mail_address_signs_up() {
    let (profile, register) = signed_up("user.created.phone_only_no_email");
    assert_eq!((profile.email, profile.email_verified), (None, false));
    assert_eq!(register.bonus.get(), 20);
    let (profile, _) = changed("user.updated.all_emails_removed");
    assert_eq!((profile.email, profile.email_verified), (None, false));
}

#[test]
fn the_primary_address_need_not_be_the_first() {
    let fixture = "user.created.multi_email_primary_second";
    let first = read_json(&format!("clerk/{fixture}.json"));
    let first = &first["data"]["email_addresses"][0]["email_address"];
    let (profile, _) = signed_up(fixture);
    assert!(profile.email.is_some() && json!(profile.email) != *first);
}

#[test]
fn an_address_that_is_not_verified_is_kept_and_proves_nothing() {
    let (profile, _) = signed_up("user.created.primary_email_unverified");
    assert_eq!(profile.email.as_deref(), Some("una@example.net"));
    assert!(!profile.email_verified);
}

/// A ban ends sessions, which is Clerk's to do. It takes no credits.
#[test]
fn a_ban_leaves_the_profile_as_it_is() {
    let (before, _) = signed_up("user.created");
    let (banned, change) = changed("user.updated.banned");
    assert_eq!(banned, before);
    assert!(change.profile_version.updated_at_ms > 1_795_000_001_000);
}

/// The metadata that we write comes back to us. Nothing in it is read.
#[test]
fn an_echo_of_metadata_is_the_same_profile_at_a_later_time() {
    let (before, register) = signed_up("user.created");
    let (echo, change) = changed("user.updated.metadata_echo");
    assert_eq!(echo, before);
    assert_eq!(change.user_id, register.user_id);
    assert!(change.profile_version > register.profile_version);
    let mut rich = read_json("clerk/user.updated.metadata_echo.json");
    for metadata in ["public_metadata", "private_metadata", "unsafe_metadata"] {
        rich["data"][metadata] =
            json!({"credits": 1_000_000, "plan": "pro", "email": "x@x.example"});
    }
    assert_eq!(
        clerk_says(&rich),
        Translated::Apply(Command::ChangeProfile(change))
    );
}

#[test]
fn who_signs_up_again_with_the_same_address_is_another_user() {
    let (before, first) = signed_up("user.created");
    let (after, second) = signed_up("user.created.resignup_same_email_new_id");
    assert_eq!(after.email, before.email);
    assert_ne!(second.user_id, first.user_id);
    assert_eq!(second.bonus.get(), 20);
}

/// A deletion says only who; whether the user is known is not asked here.
#[test]
fn a_deletion_needs_nothing_but_the_id() {
    for fixture in ["user.deleted", "user.deleted.with_external_id"] {
        let translated = clerk_says(&read_json(&format!("clerk/{fixture}.json")));
        assert!(matches!(
            translated,
            Translated::Apply(Command::DeleteUser { .. })
        ));
    }
}
