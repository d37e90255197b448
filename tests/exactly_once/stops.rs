//! The service is told to stop: what it accepted is answered, what it acknowledged is there.

use super::waits::{lock_head, until_a_lane_waits, user_of_lane};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_before_the_stop_is_answered() {
    let app = TestApp::start().await;
    let database = app.database.clone();
    let name = user_of_lane(0, 2);
    let outside = lock_head(&app, &name).await;
    let mut requests = Vec::new();
    for _ in 0..20 {
        requests.push(post_raw(app.address, "razorpay", &captured(&payment(Some(&name)))).await);
    }
    until_a_lane_waits(&app).await;
    until_all_are_in(&app).await;
    let started = Instant::now();
    let address = app.address;
    let stopping = tokio::spawn(app.stop());
    let refused = || async move { TcpStream::connect(address).await.err() };
    eventually("the listener is closed", refused).await;
    outside.batch_execute("rollback").await.unwrap();
    for request in requests {
        assert_status(request, "recorded").await;
    }
    stopping.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    let next = TestApp::start_on(database, Options::default()).await;
    assert_eq!(next.balance(&name).await, 10_000);
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_keeps_what_was_acknowledged() {
    let app = TestApp::start().await;
    let database = app.database.clone();
    let sent = busy_minute(600);
    let (client, url) = (app.client.clone(), app.url("/webhooks/"));
    let (half, halfway) = tokio::sync::oneshot::channel();
    let load = async {
        let mut half = Some(half);
        let requests = sent.iter().map(|(source, delivery)| {
            let mut request = client
                .post(format!("{url}{source}"))
                .body(delivery.body.clone());
            for (name, value) in &delivery.headers {
                request = request.header(*name, value);
            }
            async move { (delivery, request.send().await) }
        });
        let mut answered = stream::iter(requests).buffer_unordered(CONNECTIONS);
        let mut acknowledged = BTreeSet::new();
        while let Some((delivery, response)) = answered.next().await {
            // Who comes when it stops is refused, or told so.
            if let Ok(response) = response {
                if response.status() == 200 {
                    acknowledged.insert(delivery.body.clone());
                } else {
                    assert_eq!(response.status(), 503);
                }
            }
            if acknowledged.len() == 200
                && let Some(half) = half.take()
            {
                half.send(()).unwrap();
            }
        }
        acknowledged
    };
    let stop = async {
        halfway.await.unwrap();
        let started = Instant::now();
        app.stop().await;
        started.elapsed()
    };
    let (acknowledged, took) = join(load, stop).await;
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(acknowledged.len() < 600, "it stopped before the end");
    let next = TestApp::start_on(database, Options::default()).await;
    let stored = stored_bodies(&next).await;
    assert!(acknowledged.is_subset(&stored));
    tally(&deliver_all(&[&next], &sent, CONNECTIONS).await);
    assert_busy_minute_is_booked(&next, 600).await;
    next.stop().await;
}
