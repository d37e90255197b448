//! The adapters to `cqrs-es`: its given-when-then test framework tests the rules, and stock `postgres-es`
//! folds our history with the same aggregates.
//!
//! Must hold no rule. The service itself decides through [`super::decision`] and never through the
//! framework's stores: snapshots there apply events twice, and its queries run after the commit.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

use super::LedgerError;
use super::event::{PurchaseEvent, UserEvent};
use super::purchase::{Purchase, PurchaseCommand};
use super::user::{User, UserCommand};
use super::value::StreamId;

impl Aggregate for User {
    const TYPE: &'static str = StreamId::USER;
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = LedgerError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in self.decide(&command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.evolve(&event);
    }
}

impl Aggregate for Purchase {
    const TYPE: &'static str = StreamId::PURCHASE;
    type Command = PurchaseCommand;
    type Event = PurchaseEvent;
    type Error = LedgerError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in self.decide(&command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.evolve(&event);
    }
}
