//! What a unit leaves to be looked at once it is committed.

use super::Working;
use crate::ledger::{Command, Emitted, StreamId};
use crate::store::append::OutboxRow;

impl Working {
    /// Notes what is to be looked at once the event is committed.
    pub(super) fn leave_work(&mut self, emitted: &Emitted, sequence: i64) {
        let mut leave = |kind, subject: Option<String>| {
            // One look is enough for all that a batch says of a subject.
            let outbox = &mut self.append.outbox;
            if subject.is_none() || outbox.iter().all(|row| row.subject != subject) {
                outbox.push(OutboxRow {
                    kind,
                    stream: emitted.stream.clone(),
                    sequence,
                    subject,
                });
            }
        };
        if emitted.matchable {
            leave("match", None);
        }
        if emitted.to_erase {
            leave("erasure", None);
        }
        if let Some(subscription) = &emitted.subscription {
            leave("subscription", Some(subscription.as_str().to_owned()));
        }
    }

    /// Who asks for what was done before wants what was stored since to go, too: that is looked through again.
    pub(super) fn erase_again(&mut self, command: &Command) {
        if let Command::EraseUser { user_id } = command
            && let Some(slot) = self.users.get(user_id)
            && slot.state.erased
        {
            self.append.outbox.push(OutboxRow {
                kind: "erasure",
                stream: StreamId::User(user_id.clone()),
                sequence: slot.version,
                subject: None,
            });
        }
    }
}
