//! What a link of the hash chain takes: that of the event of a purchase, with what goes with it.

use std::hint::black_box;

use credit_ledger_verify::chain::{self, GENESIS, Link};
use criterion::Criterion;

/// `CreditsPurchased`, as the log has it.
const PAYLOAD: &str = r#"{"type":"CreditsPurchased","purchase_id":"razorpay:pay_Rf1DLxPeMKIsXE","sku":"credits_500","credits":500,"delta":500,"balance":520}"#;
const METADATA: &str = r#"{"inbox":"9143c3b75195685895023d4718a7fda1f08ef62ca6578ced43e0849543bf1a49","evidence":"795c39413782c4bd8e5b79757e1ac09d0d8643343af41253f187607389317f35"}"#;

/// One event after another that is the same.
pub fn measure(criterion: &mut Criterion) {
    let event = Link {
        shard: 3,
        position: 1_000_000,
        aggregate_type: "user",
        aggregate_id: "user_3RkJ4hi245d8WxbYllUz4trG8pG",
        sequence: 3,
        event_type: "CreditsPurchased",
        event_version: "1.0",
        payload: PAYLOAD,
        metadata: METADATA,
        source: "razorpay",
        provider_event_id: Some("Rf1EMfPeMKIsXE"),
        recorded_at_us: 1_795_000_000_123_456,
    };
    let mut hash = GENESIS;
    criterion.bench_function("chain/one event", |bencher| {
        bencher.iter(|| hash = chain::link(&hash, black_box(&event)));
    });
}
