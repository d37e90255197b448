//! The walk over the inbox, step by step. Must never log what it looks for.

use std::time::Duration;

use tokio::time::sleep;

use super::UpkeepError;
use super::needles::Needles;
use crate::app::App;
use crate::store::backlog::erasure::InboxPlace;

/// Deliveries in one step: many beside the cost of a statement, and even if each is as large as any may be, few enough for
/// one.
const STEP: i64 = 500;
/// How often a step is tried, and how long it waits in between.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_secs(1);

/// Blanks what has any of these in it.
pub(super) async fn walk(app: &App, needles: &Needles) -> Result<(), UpkeepError> {
    let mut way = Way::default();
    loop {
        let taken = step(app, needles, &way.after).await;
        match way.next(taken)? {
            Next::Step => {}
            Next::SameAgain => sleep(WAIT).await,
            Next::End => return Ok(()),
        }
    }
}

/// Gives where it ended; none: there was nothing more.
async fn step(
    app: &App,
    needles: &Needles,
    after: &InboxPlace,
) -> Result<Option<InboxPlace>, UpkeepError> {
    let step = app
        .backlog
        .walk((&after.0, &after.1), STEP, &|body| needles.are_in(body))
        .await?;
    app.backlog.blank(&step.found, app.now()).await?;
    Ok(step.last)
}

/// How far it is. A step that fails is taken again, a few times, so that what was gone through is not gone through once
/// more.
#[derive(Default)]
struct Way {
    after: InboxPlace,
    failed: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Step,
    SameAgain,
    End,
}

impl Way {
    fn next<E>(&mut self, taken: Result<Option<InboxPlace>, E>) -> Result<Next, E> {
        match taken {
            Ok(Some(last)) => {
                (self.after, self.failed) = (last, 0);
                Ok(Next::Step)
            }
            Ok(None) => Ok(Next::End),
            Err(error) => {
                self.failed += 1;
                if self.failed == TRIES {
                    return Err(error);
                }
                Ok(Next::SameAgain)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_where_a_step_failed_and_ends_after_several() {
        let mut way = Way::default();
        let place = |key: &str| Ok(Some((key.to_owned(), "stripe".to_owned())));
        for (taken, then, after) in [
            (Err("1"), Ok(Next::SameAgain), ""),
            (place("a"), Ok(Next::Step), "a"),
            (Err("1"), Ok(Next::SameAgain), "a"),
            (Err("2"), Ok(Next::SameAgain), "a"),
            (place("b"), Ok(Next::Step), "b"),
            (Err("1"), Ok(Next::SameAgain), "b"),
            (Ok(None), Ok(Next::End), "b"),
            (Err("2"), Ok(Next::SameAgain), "b"),
            (Err("3"), Err("3"), "b"),
        ] {
            assert_eq!(way.next(taken), then);
            assert_eq!(way.after.0, after);
        }
    }
}
