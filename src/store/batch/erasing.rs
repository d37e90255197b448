//! What a unit has to do with those of whom no personal data is kept.

use super::Working;
use crate::ledger::{Command, PurchaseId, StreamId};
use crate::store::unit::{Origin, Unit};

impl Working {
    /// Whether a delivery is about somebody of whom no personal data is kept any more. What is erased later is looked for
    /// then; so no delivery can slip between.
    pub(super) fn concerns_erased(&self, unit: &Unit, command: &Command) -> bool {
        let delivery = matches!(unit.origin, Origin::Delivery(_) | Origin::Retry(_));
        let payer_erased = |id: &PurchaseId| {
            let slot = self.purchases.get(id);
            slot.is_some_and(|slot| slot.state.payer_erased)
        };
        delivery
            && self.anyone_erased
            && command.streams().iter().any(|stream| match stream {
                StreamId::User(id) => {
                    let slot = self.users.get(id);
                    slot.is_some_and(|slot| slot.state.erasure_requested)
                }
                StreamId::Purchase(id) => {
                    let slot = self.purchases.get(id);
                    let whole = slot.and_then(|slot| slot.state.part_of.as_ref());
                    payer_erased(id) || whole.is_some_and(payer_erased)
                }
            })
    }
}
