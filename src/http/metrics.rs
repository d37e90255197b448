//! `GET /metrics`: for whoever watches the instances, in the text format of Prometheus.

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::app::App;

/// The text format of Prometheus.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The numbers of this instance. What the database does not say in time is `NaN`.
pub async fn metrics(app: Data<App>) -> HttpResponse {
    if let Some(sealer) = &app.sealer {
        sealer.show_numbers(&app.seals).await;
    }
    // Said even while nothing is decided.
    let _ = app.check_clock().await;
    let ahead = app.telemetry.gauge(
        "credit_ledger_clock_ahead_seconds",
        "How far this instance's clock is ahead of the database's",
    );
    ahead.set(app.ledger.clock().ahead_s());
    HttpResponse::Ok()
        .content_type(TEXT_FORMAT)
        .body(app.telemetry.text())
}
