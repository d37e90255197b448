//! When a purchase forgets who paid, beside the asking for it: what comes to a user who is being erased has no payer, whichever
//! came first; and of ids of the same money all forget, or none.
//!
//! Each `PayerErased` here calls for a look at what is stored already ([`Emitted::to_erase`](super::Emitted)), but the one
//! that was asked for: whoever asked has looked.

use super::{Draft, Rejection, States};
use crate::ledger::purchase::PurchaseCommand;
use crate::ledger::value::{PurchaseId, UserId};

impl<S: States> Draft<'_, S> {
    /// Only for a user whose erasure was asked for. Another's purchase may have been paid with an address of this user's.
    pub(super) fn erase_payer(
        &mut self,
        id: &PurchaseId,
        user_id: &UserId,
    ) -> Result<(), Rejection> {
        let whole = self.canonical(id)?;
        let purchase = self.purchase(id)?;
        let owner = purchase.user_id.as_ref();
        let owner = owner.or(self.purchase(&whole)?.user_id.as_ref());
        let others = owner.is_some_and(|owner| owner != user_id);
        if !self.user(user_id)?.erasure_requested || (others && !purchase.payer) {
            return Ok(());
        }
        let events = purchase.decide(&PurchaseCommand::ErasePayer)?;
        self.record(id, events, None)
    }

    /// After something was recorded of a purchase that was `before`'s. Who gets it now is asked for by name; of whom had it
    /// before it is enough to know what is there: whoever is erased is gone through with all purchases.
    pub(super) fn forget_with_owner(
        &mut self,
        id: &PurchaseId,
        before: Option<&UserId>,
    ) -> Result<(), Rejection> {
        let Some(owner) = self.purchase(id)?.user_id.as_ref() else {
            return Ok(());
        };
        let owner = match before {
            Some(_) => self.users.get(owner).or_else(|| self.states.user(owner)),
            None => Some(self.user(owner)?),
        };
        if owner.is_some_and(|owner| owner.erasure_requested) {
            self.forget(id)?;
        }
        Ok(())
    }

    /// Ids of the same money: if one has forgotten who paid, or is of a user who is being erased, both forget.
    pub(super) fn forget_together(
        &mut self,
        part: &PurchaseId,
        whole: &PurchaseId,
    ) -> Result<(), Rejection> {
        let (one, other) = (self.purchase(part)?, self.purchase(whole)?);
        let mut forget = one.payer_erased || other.payer_erased;
        for owner in [&one.user_id, &other.user_id].into_iter().flatten() {
            forget |= self.user(owner)?.erasure_requested;
        }
        if forget {
            self.forget(part)?;
            self.forget(whole)?;
        }
        Ok(())
    }

    fn forget(&mut self, id: &PurchaseId) -> Result<(), Rejection> {
        let events = self.purchase(id)?.decide(&PurchaseCommand::ErasePayer)?;
        self.take(id, events, None, true)
    }
}
