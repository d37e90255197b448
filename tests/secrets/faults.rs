//! What goes wrong around the service: a database that refuses, that is gone, and commands beside it.

use credit_ledger::provider::sample;
use reqwest::Method;
use serde_json::json;

use super::life::{EMAIL, FIRST_NAME, REASON, marked, somebody};
use super::world::World;
use crate::crash::service::kill_postmaster;
use crate::support::app::ADMIN_KEY;
use crate::support::deliveries::{clerk, sale, some_time, told, unique};
use crate::support::eventually;

/// The database says in its errors which row it did not take.
pub async fn what_the_database_refuses(world: &mut World) {
    let sql = world.data.sql_of("leaky").await;
    let picky = "alter table users add constraint picky check (email not like 'picky.%') not valid";
    sql.batch_execute(picky).await.unwrap();
    let mut picky = somebody("user_3");
    picky.email = Some(format!("picky.{EMAIL}"));
    picky.updated_at = some_time();
    let body = marked(sample::clerk_user_created(&picky));
    let (status, body) = world
        .deliver("/webhooks/clerk", &clerk("msg_picky", body))
        .await
        .unwrap();
    assert_eq!((status, &body["status"]), (200, &json!("parked")));
    for (spoil, path, status) in [
        (
            "revoke select on users from credit_ledger_app",
            "/v1/users/user_1",
            503,
        ),
        (
            "grant select on users to credit_ledger_app",
            "/v1/users/user_1",
            200,
        ),
    ] {
        sql.batch_execute(spoil).await.unwrap();
        let request = world.request(Method::GET, path).bearer_auth(ADMIN_KEY);
        assert_eq!(world.status(request).await, status);
    }
    for body in [
        json!({"reason": REASON}),
        json!({"reason": REASON, "actor": FIRST_NAME}),
    ] {
        let path = "/v1/admin/inbox/clerk/msg_picky/retry";
        let request = world.request(Method::POST, path).bearer_auth(ADMIN_KEY);
        world.status(request.json(&body)).await;
    }
}

/// A rebuild fails on a row, which the server shows in the details of its error.
pub async fn a_rebuild_fails(world: &mut World) {
    let sql = world.data.sql_of("leaky").await;
    let picky = "
        create function picky() returns event_trigger language plpgsql as $$
        begin
          alter table rebuild.users add check (email not like '%leakproof%');
        end $$;
        create event trigger picky on ddl_command_end when tag in ('CREATE TABLE') execute function picky()";
    sql.batch_execute(picky).await.unwrap();
    let sign_up = marked(sample::clerk_user_created(&somebody("user_7")));
    let delivery = clerk("msg_7", sign_up);
    let (status, _) = world.deliver("/webhooks/clerk", &delivery).await.unwrap();
    assert_eq!(status, 200);
    let output = world.run(&["rebuild", "users"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("violates check constraint"), "{said}");
    world.look_at(&output.stderr);
    sql.batch_execute("drop event trigger picky").await.unwrap();
}

/// All commands, as loud, with the same settings. One of them makes a key, and prints it once.
pub fn commands(world: &mut World) {
    let url = format!("http://{}", world.service.address);
    let folder = world.data.0.join("export");
    let folder = folder.to_str().unwrap();
    for arguments in [
        &["keys", "create", "shop", "--scope", "audit"][..],
        &["keys", "list"],
        &["migrate"],
        &["recover", "--reason", REASON],
        &["rebuild", "users"],
        &["audit", "verify"],
        &["audit", "replay"],
        &["audit", "balance", "user_1"],
        &["audit", "public-key"],
        &["audit", "export", folder],
        &[
            "send",
            "clerk",
            "user.created",
            "--user",
            "user_5",
            "--url",
            &url,
        ],
        &[
            "send",
            "razorpay",
            "payment.captured",
            "--user",
            "user_5",
            "--url",
            &url,
        ],
        &[
            "send",
            "stripe",
            "checkout.session.completed",
            "--user",
            "user_5",
            "--payment",
            "pi_1",
            "--url",
            &url,
        ],
        &["serve", "--listen", &world.service.address.to_string()],
    ] {
        let output = world.run(arguments);
        let refused = arguments.contains(&"serve");
        let code = i32::from(refused);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        if arguments.contains(&"create") {
            let key = String::from_utf8(output.stdout).unwrap();
            world.needles.secret("a made key", key.trim());
        } else {
            world.look_at(&output.stdout);
        }
        world.look_at(&output.stderr);
    }
}

/// The database is killed, and comes back.
pub async fn without_a_database(world: &mut World) {
    kill_postmaster(&world.data);
    let body = marked(sample::clerk_user_created(&somebody("user_4")));
    for _ in 0..3 {
        let _ = world
            .deliver("/webhooks/clerk", &clerk(&unique("msg_"), body.clone()))
            .await;
        for path in ["/v1/users/user_1", "/v1/admin/overview", "/health/ready"] {
            let request = world.request(Method::GET, path).bearer_auth(ADMIN_KEY);
            world.status(request).await;
        }
        let sold = told("checkout.session.completed", &sale(Some("user_4")));
        let _ = world.deliver("/webhooks/stripe", &sold).await;
    }
    let address = world.service.address;
    let client = world.service.client.clone();
    eventually("the database is back", || async {
        let url = format!("http://{address}/health/ready");
        let status = client.get(url).send().await.unwrap().status();
        (status == 200).then_some(())
    })
    .await;
    let delivery = clerk(&unique("msg_"), body);
    let (status, _) = world.deliver("/webhooks/clerk", &delivery).await.unwrap();
    assert_eq!(status, 200);
}
