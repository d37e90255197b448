//! An account: three numbers, and what follows from them.

/// An account, as events carry it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) balance: i128,
    pub(crate) held: i128,
    pub(crate) debt: i128,
    pub(super) disputed: i128,
    pub(super) reserved: i128,
}

impl Account {
    pub(super) const fn of(net: i128, disputed: i128, reserved: i128) -> Self {
        let in_lots = if net > 0 { net } else { 0 };
        let there = if disputed < in_lots {
            disputed
        } else {
            in_lots
        };
        let beyond = disputed - net;
        Self {
            balance: in_lots + reserved,
            held: there + reserved,
            debt: if beyond > 0 { beyond } else { 0 },
            disputed,
            reserved,
        }
    }

    pub(super) const fn net(self) -> i128 {
        if self.debt == 0 {
            self.balance - self.reserved
        } else {
            self.disputed - self.debt
        }
    }
}

impl Account {
    pub(super) fn show(self, delta: i128) -> String {
        let Self {
            balance,
            held,
            debt,
            disputed,
            reserved,
        } = self;
        format!(
            "delta {delta} balance {balance} held {held} debt {debt} disputed {disputed} reserved {reserved}"
        )
    }
}
