//! When seals are made and the server of a witness is told: one task per instance, which may be cut off anywhere.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::witness::Turn;
use super::{SealError, Sealer};

/// The longest until a server that did not answer is asked again.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Seals, for ever. A seal that is not committed is made again by whoever looks next.
pub async fn seal(sealer: &Sealer, every: Duration) {
    loop {
        let next = Instant::now() + every;
        sleep_until(next).await;
        loop {
            match sealer.round().await {
                Ok(round) if round.more => {}
                Ok(_) => break,
                Err(error) => {
                    log(&error, "sealing failed");
                    break;
                }
            }
        }
    }
}

/// Tells the server of a witness what it has not heard of yet, for ever.
pub async fn tell(sealer: &Sealer, every: Duration) {
    let mut pause = every;
    loop {
        sleep(pause).await;
        pause = match sealer.tell_server().await {
            Ok(Turn::More) => Duration::ZERO,
            Ok(Turn::Done | Turn::Elsewhere) => every,
            Err(error) => {
                log(&error, "the witness was not told");
                (pause * 2).clamp(every, PAUSE_MAX.max(every))
            }
        };
    }
}

/// What passes by itself is a warning; what somebody must look at is an error.
fn log(error: &SealError, what: &str) {
    match error {
        SealError::Pool(_)
        | SealError::Late(_)
        | SealError::Query(_)
        | SealError::Witness { .. } => {
            tracing::warn!(%error, "{what}; it is tried again");
        }
        // Said when it began.
        SealError::Clock(_) => {}
        SealError::Unreadable
        | SealError::Changed(_)
        | SealError::RolledBack(_)
        | SealError::File(_)
        | SealError::CutOff => tracing::error!(%error, "{what}"),
    }
}
