//! Lots: credits that came together and end together, and the order in which they burn.
//!
//! A user may have ten thousand of them, and every event of the user rewrites the state. So the state holds the ones that
//! burn next, the *front*; those behind it are rows of their own, of which the state knows only the sum, where they
//! begin, and when the next of them ends. Whatever a decision needs of them it asks for ([`Wanted`]); what it was given
//! goes back with [`Lots::store`]. Which lots are in the front is no rule: it never changes what follows.
//!
//! Must never lose a credit: the front's credits and those behind are all that the user has in lots.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::value::{Credits, PurchaseId};

/// The most lots in the front. Few in unit tests, so that rules are tried over the rows behind it, too.
const FRONT_MAX: usize = if cfg!(test) { 4 } else { 64 };
/// How many stay in the front when there are more, so that not each new one pushes another out.
const FRONT_KEPT: usize = if cfg!(test) { 2 } else { 32 };
/// How many rows are asked for at first, when the front is used up.
const NEXT_ROWS: u32 = if cfg!(test) { 2 } else { 64 };
/// How many slices are given one by one. More are sorted in together: looking for each and making room for it would take
/// as long as there are slices times lots.
const GIVEN_SINGLY: usize = if cfg!(test) { 2 } else { 16 };
/// The place in the order of burning of credits of which nobody said another.
pub const PRIORITY_DEFAULT: u8 = 100;

/// What credits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotKind {
    /// Bought.
    Paid,
    /// Given: at sign-up, by hand, for a referral.
    Bonus,
    /// Given with a plan.
    Plan,
    /// Given by a campaign.
    Promo,
}

impl LotKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Paid, Self::Bonus, Self::Plan, Self::Promo];

    /// The name as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Bonus => "bonus",
            Self::Plan => "plan",
            Self::Promo => "promo",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What is settled about a lot when it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What its credits are.
    pub kind: LotKind,
    /// Its place in the order of burning, lower first. Absent in JSON means the default.
    #[serde(
        default = "default_priority",
        skip_serializing_if = "is_default_priority"
    )]
    pub priority: u8,
    /// When it ends, seconds since 1970; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_s: Option<i64>,
    /// The purchase that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase_id: Option<PurchaseId>,
    /// How many credits it had at first.
    pub amount: Credits,
}

pub(super) const fn default_priority() -> u8 {
    PRIORITY_DEFAULT
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(super) const fn is_default_priority(priority: &u8) -> bool {
    *priority == PRIORITY_DEFAULT
}

/// The place of a lot in the order of burning: by priority, then what ends soonest, then what was given before what was
/// paid, then the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BurnKey(pub u8, pub i64, pub bool, pub i64);

/// A lot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// The place in the user's stream of the event that it came with.
    pub id: i64,
    /// What is settled about it.
    #[serde(flatten)]
    pub terms: Terms,
    /// Credits that are left in it, without those that holds reserve.
    pub remaining: Credits,
    /// How many of them are held back for a dispute about the lot's purchase: they neither burn nor end.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub contested: Credits,
    /// Credits of a purchase that ended unspent. If its money goes back they count as taken back.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub expired: Credits,
    /// How many of the expired ones were counted so.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub counted: Credits,
}

/// Credits of one lot that an event moved. It says all that is settled about the lot, so that a lot that was used up can
/// come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The lot.
    pub lot: i64,
    /// How many.
    pub credits: Credits,
    /// What is settled about the lot.
    #[serde(flatten)]
    pub terms: Terms,
}

impl Terms {
    /// Credits that never end, of the default priority.
    pub const fn plain(kind: LotKind, amount: Credits) -> Self {
        Self {
            kind,
            priority: PRIORITY_DEFAULT,
            expires_at_s: None,
            purchase_id: None,
            amount,
        }
    }

    /// The place in the order of burning of a lot with these terms.
    pub fn key(&self, id: i64) -> BurnKey {
        let ends = self.expires_at_s.unwrap_or(i64::MAX);
        BurnKey(self.priority, ends, self.kind == LotKind::Paid, id)
    }
}

impl Lot {
    /// A lot that just came.
    pub const fn new(id: i64, terms: Terms, remaining: Credits) -> Self {
        Self {
            id,
            terms,
            remaining,
            contested: Credits::ZERO,
            expired: Credits::ZERO,
            counted: Credits::ZERO,
        }
    }

    /// Its place in the order of burning.
    pub fn key(&self) -> BurnKey {
        self.terms.key(self.id)
    }

    /// Credits that may burn and end.
    pub const fn free(&self) -> Credits {
        self.remaining.less(self.contested)
    }

    /// Whether it holds credits, or remembers some that ended.
    const fn is_open(&self) -> bool {
        !self.remaining.is_zero()
    }

    const fn is_remembered(&self) -> bool {
        self.terms.purchase_id.is_some() && !self.expired.is_zero()
    }

    fn add(&mut self, credits: Credits) {
        self.remaining = [self.remaining, credits].into_iter().sum();
    }

    fn slice(&self, credits: Credits) -> Slice {
        Slice {
            lot: self.id,
            credits,
            terms: self.terms.clone(),
        }
    }

    /// When its free credits end, if they do.
    fn ends_at_s(&self) -> Option<i64> {
        self.terms.expires_at_s.filter(|_| !self.free().is_zero())
    }
}

/// What is known of the lots behind the front, which are rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The credits in them.
    pub credits: Credits,
    /// None of them burns before this.
    pub after: BurnKey,
    /// None of them ends before this, seconds since 1970; `None`: none ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at_s: Option<i64>,
}

/// A user's lots.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lots {
    /// In the order of burning; in memory also rows that were read. What burns is taken from the front.
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    open: VecDeque<Lot>,
    /// Those that are not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<Behind>,
    /// Some lots of purchases that ended are remembered in rows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    remembers: bool,
    /// Lots of purchases without credits that ended unspent, as far as they were read or came up.
    #[serde(skip)]
    remembered: Vec<Lot>,
    /// The rows that were read, as they are stored.
    #[serde(skip)]
    rows: BTreeMap<i64, Lot>,
    /// What was asked for and read, be there rows or not.
    #[serde(skip)]
    asked: Wanted,
}

impl PartialEq for Lots {
    /// Equal lots, wherever they are kept.
    fn eq(&self, other: &Self) -> bool {
        let sorted = |lots: &Self| {
            let mut remembered = lots.remembered.clone();
            remembered.sort_by_key(|lot| lot.id);
            remembered
        };
        self.open == other.open && self.behind == other.behind && sorted(self) == sorted(other)
    }
}

impl Eq for Lots {}

/// Rows of a user that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// So many lots behind the front, in the order of burning.
    pub next: u32,
    /// Lots that end, and holds that time out, until then, seconds since 1970.
    pub due_until_s: Option<i64>,
    /// The lots that came with these events.
    pub ids: BTreeSet<i64>,
    /// The lots of these purchases.
    pub purchases: BTreeSet<PurchaseId>,
}

impl Wanted {
    /// Takes in what else is needed.
    pub fn add(&mut self, more: &Self) {
        self.next = self.next.max(more.next);
        self.due_until_s = self.due_until_s.max(more.due_until_s);
        self.ids.extend(&more.ids);
        self.purchases.extend(more.purchases.iter().cloned());
    }
}

/// What was read of the lots behind a front.
#[derive(Debug, Clone, Default)]
pub struct ReadLots {
    /// The rows, each once.
    pub lots: Vec<Lot>,
    /// If so many were asked for in the order of burning: the place of the first that was not read; `None`: all were.
    pub after: Option<BurnKey>,
    /// When the first lot ends that ends later than was asked for, seconds since 1970.
    pub due_after_s: Option<i64>,
}

/// The rows that a decision changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredLots {
    /// To be written as they are.
    pub changed: Vec<Lot>,
    /// No rows any more.
    pub gone: Vec<i64>,
}

impl Lots {
    /// The lots that are here, in the order of burning.
    pub const fn open(&self) -> &VecDeque<Lot> {
        &self.open
    }

    /// Credits in all lots.
    pub fn credits(&self) -> Credits {
        let behind = self.behind.as_ref().map(|behind| behind.credits);
        self.open
            .iter()
            .map(|lot| lot.remaining)
            .chain(behind)
            .sum()
    }

    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.behind.is_none() && !self.remembers
    }

    /// The earliest time at which something may end, seconds since 1970.
    pub fn due_at_s(&self) -> Option<i64> {
        let behind = self.behind.as_ref().and_then(|behind| behind.due_at_s);
        self.open
            .iter()
            .filter_map(Lot::ends_at_s)
            .chain(behind)
            .min()
    }

    /// The next lots that end: when, and their free credits.
    pub(super) fn ending(&self) -> Option<(i64, Vec<Slice>)> {
        let at_s = self.open.iter().filter_map(Lot::ends_at_s).min()?;
        let ends = self.open.iter().filter(|lot| lot.ends_at_s() == Some(at_s));
        Some((at_s, ends.map(|lot| lot.slice(lot.free())).collect()))
    }

    /// Asks for what may end until then, if it is not here.
    pub(super) fn need_due(&self, until_s: i64) -> Result<(), LedgerError> {
        match self.behind.as_ref().and_then(|behind| behind.due_at_s) {
            Some(due_at_s) if due_at_s <= until_s => Err(unread(Wanted {
                due_until_s: Some(until_s),
                ..Wanted::default()
            })),
            _ => Ok(()),
        }
    }

    /// Slices of so many credits in the order of burning; with `contested`, also those held back, last. Fewer, if there
    /// are fewer.
    pub(super) fn burn(
        &self,
        credits: Credits,
        contested: bool,
    ) -> Result<Vec<Slice>, LedgerError> {
        let mut left = credits;
        let mut slices = Vec::new();
        for lot in &self.open {
            if left.is_zero() {
                return Ok(slices);
            }
            self.need_before(lot)?;
            let taken = lot.free().min(left);
            if !taken.is_zero() {
                left = left.less(taken);
                slices.push(lot.slice(taken));
            }
        }
        if !left.is_zero() && self.behind.is_some() {
            return Err(self.need_next());
        }
        if contested {
            for lot in &self.open {
                let most = lot.contested.min(lot.remaining);
                take(&mut slices, &mut left, lot, most);
            }
        }
        Ok(slices)
    }

    /// Asks for more, if a lot that is not here burns before this one.
    fn need_before(&self, lot: &Lot) -> Result<(), LedgerError> {
        match &self.behind {
            Some(behind) if behind.after <= lot.key() => Err(self.need_next()),
            _ => Ok(()),
        }
    }

    /// Eight times as many as last time: a large spend over small lots needs a few rounds, not thousands.
    fn need_next(&self) -> LedgerError {
        unread(Wanted {
            next: self.asked.next.saturating_mul(8).max(NEXT_ROWS),
            ..Wanted::default()
        })
    }

    /// The lot of a purchase, with credits or remembered. There is one at most: what comes back to a purchase goes there.
    pub(super) fn of_purchase(&self, id: &PurchaseId) -> Result<Option<&Lot>, LedgerError> {
        let found = self.known_of(id);
        if found.is_none() && self.may_be_row_of(id) {
            return Err(unread(Wanted {
                purchases: BTreeSet::from([id.clone()]),
                ..Wanted::default()
            }));
        }
        Ok(found)
    }

    fn known_of(&self, id: &PurchaseId) -> Option<&Lot> {
        let mut known = self.open.iter().chain(&self.remembered);
        known.find(|lot| lot.terms.purchase_id.as_ref() == Some(id))
    }

    fn may_be_row_of(&self, id: &PurchaseId) -> bool {
        let has_rows = self.behind.is_some() || self.remembers;
        has_rows && !self.asked.purchases.contains(id)
    }

    /// Asks for the lots that slices come back to, where they may be rows.
    pub(super) fn need_lots_of<'a>(
        &self,
        slices: impl IntoIterator<Item = &'a Slice>,
    ) -> Result<(), LedgerError> {
        let mut wanted = Wanted::default();
        for slice in slices {
            let behind = self.behind.as_ref();
            match &slice.terms.purchase_id {
                Some(id) if self.known_of(id).is_none() && self.may_be_row_of(id) => {
                    wanted.purchases.insert(id.clone());
                }
                None if behind.is_some_and(|behind| behind.after <= slice.terms.key(slice.lot))
                    && !self.asked.ids.contains(&slice.lot)
                    && !self.open.iter().any(|lot| lot.id == slice.lot) =>
                {
                    wanted.ids.insert(slice.lot);
                }
                _ => {}
            }
        }
        if wanted == Wanted::default() {
            return Ok(());
        }
        Err(unread(wanted))
    }

    /// The slice as it comes back: a purchase may have got another lot since.
    pub(super) fn coming_back(&self, slice: &Slice) -> Slice {
        let purchase_id = slice.terms.purchase_id.as_ref();
        match purchase_id.and_then(|id| self.known_of(id)) {
            Some(lot) => lot.slice(slice.credits),
            None => slice.clone(),
        }
    }

    /// Adds credits to lots, which come (back) if they are not here.
    pub(super) fn give_all(&mut self, slices: &[Slice]) {
        if slices.len() <= GIVEN_SINGLY {
            for slice in slices {
                self.give(slice);
            }
            return;
        }
        let here = self.open.iter().enumerate();
        let mut places: HashMap<i64, usize> = here.map(|(index, lot)| (lot.id, index)).collect();
        for slice in slices.iter().filter(|slice| !slice.credits.is_zero()) {
            if let Some(index) = places.get(&slice.lot) {
                self.open[*index].add(slice.credits);
            } else {
                places.insert(slice.lot, self.open.len());
                let lot = self.coming(slice);
                self.open.push_back(lot);
            }
        }
        self.sort();
    }

    /// Adds credits to a lot, which comes (back) if it is not here.
    pub(super) fn give(&mut self, slice: &Slice) {
        if slice.credits.is_zero() {
            return;
        }
        if let Some(lot) = self.open.iter_mut().find(|lot| lot.id == slice.lot) {
            lot.add(slice.credits);
            return;
        }
        let lot = self.coming(slice);
        let index = self.open.partition_point(|other| other.key() < lot.key());
        self.open.insert(index, lot);
    }

    /// A lot that is not open and gets these credits.
    fn coming(&mut self, slice: &Slice) -> Lot {
        let remembered = self.remembered.iter().position(|lot| lot.id == slice.lot);
        match remembered {
            Some(index) => Lot {
                remaining: slice.credits,
                ..self.remembered.remove(index)
            },
            None => Lot::new(slice.lot, slice.terms.clone(), slice.credits),
        }
    }

    fn sort(&mut self) {
        self.open.make_contiguous().sort_by_key(Lot::key);
    }

    /// Takes credits out of a lot: out of its free ones first.
    pub(super) fn take(&mut self, slice: &Slice) {
        self.change(slice.lot, |lot| {
            lot.remaining = lot.remaining.less(slice.credits);
            lot.contested = lot.contested.min(lot.remaining);
        });
    }

    /// Notes that free credits of a lot ended.
    pub(super) fn end(&mut self, slice: &Slice) {
        self.change(slice.lot, |lot| {
            lot.remaining = lot.remaining.less(slice.credits);
            lot.expired = [lot.expired, slice.credits].into_iter().sum();
        });
    }

    /// Changes what is held back in the lot of a purchase, or how many of its ended credits count as taken back.
    pub(super) fn change_purchase(&mut self, id: &PurchaseId, change: impl FnOnce(&mut Lot)) {
        let known = self.open.iter().chain(&self.remembered);
        let found = known
            .into_iter()
            .find(|lot| lot.terms.purchase_id.as_ref() == Some(id));
        if let Some(id) = found.map(|lot| lot.id) {
            self.change(id, change);
        }
    }

    fn change(&mut self, id: i64, change: impl FnOnce(&mut Lot)) {
        // Mostly what burns next: it is among the first.
        let Some(index) = self.open.iter().position(|lot| lot.id == id) else {
            if let Some(lot) = self.remembered.iter_mut().find(|lot| lot.id == id) {
                change(lot);
            }
            return;
        };
        change(&mut self.open[index]);
        if !self.open[index].is_open() {
            let gone = self.open.remove(index);
            self.remembered.extend(gone.filter(Lot::is_remembered));
        }
    }

    /// Gives each lot the priority that its kind has here. No rule does: it is for asking what would have been, where all
    /// lots are in memory.
    pub fn prioritize(&mut self, priorities: &BTreeMap<LotKind, u8>) {
        for lot in self.open.iter_mut().chain(&mut self.remembered) {
            if let Some(priority) = priorities.get(&lot.terms.kind) {
                lot.terms.priority = *priority;
            }
        }
        self.sort();
    }

    /// Takes in what was read for a decision.
    pub fn take_in(&mut self, wanted: &Wanted, read: ReadLots) {
        for lot in read.lots {
            if self.rows.insert(lot.id, lot.clone()).is_some() {
                continue;
            }
            if let Some(behind) = &mut self.behind {
                behind.credits = behind.credits.less(lot.remaining);
            }
            if lot.is_open() {
                self.open.push_back(lot);
            } else {
                self.remembered.push(lot);
            }
        }
        self.sort();
        if let Some(behind) = &mut self.behind {
            if wanted.due_until_s.is_some() {
                behind.due_at_s = read.due_after_s;
            }
            match read.after {
                Some(after) if wanted.next > 0 => behind.after = after,
                _ if wanted.next > 0 => self.behind = None,
                _ => {}
            }
        }
        if self
            .behind
            .as_ref()
            .is_some_and(|behind| behind.credits.is_zero())
        {
            self.behind = None;
        }
        self.asked.add(wanted);
    }

    /// Splits into the front, which stays, and the rows that are to be written. Nothing can be decided on it after that.
    pub fn store(&mut self) -> StoredLots {
        let mut stored = StoredLots::default();
        let after = self.behind.as_ref().map(|behind| behind.after);
        let before = |lot: &Lot| after.is_none_or(|after| lot.key() < after);
        let mut front = self.open.partition_point(before);
        if front > FRONT_MAX {
            front = FRONT_KEPT;
        }
        let mut rows = std::mem::take(&mut self.rows);
        let back = self.open.split_off(front);
        for lot in &back {
            self.push_behind(lot);
        }
        self.remembers |= !self.remembered.is_empty();
        for lot in back.into_iter().chain(std::mem::take(&mut self.remembered)) {
            if rows.remove(&lot.id).as_ref() != Some(&lot) {
                stored.changed.push(lot);
            }
        }
        stored.gone.extend(rows.into_keys());
        stored
    }

    fn push_behind(&mut self, lot: &Lot) {
        let behind = self.behind.get_or_insert_with(|| Behind {
            credits: Credits::ZERO,
            after: lot.key(),
            due_at_s: None,
        });
        behind.credits = [behind.credits, lot.remaining].into_iter().sum();
        behind.after = behind.after.min(lot.key());
        let due = [behind.due_at_s, lot.ends_at_s()];
        behind.due_at_s = due.into_iter().flatten().min();
    }
}

fn take(slices: &mut Vec<Slice>, left: &mut Credits, lot: &Lot, most: Credits) {
    let taken = most.min(*left);
    if taken.is_zero() {
        return;
    }
    *left = left.less(taken);
    match slices.iter_mut().find(|slice| slice.lot == lot.id) {
        Some(slice) => slice.credits = [slice.credits, taken].into_iter().sum(),
        None => slices.push(lot.slice(taken)),
    }
}

fn unread(wanted: Wanted) -> LedgerError {
    LedgerError::Unread(Box::new(wanted))
}

/// The sum of slices.
pub fn total(slices: &[Slice]) -> Credits {
    slices.iter().map(|slice| slice.credits).sum()
}

/// The first so many credits of slices, and the rest.
pub(super) fn split(slices: &[Slice], credits: Credits) -> (Vec<Slice>, Vec<Slice>) {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    let mut left = credits;
    for slice in slices {
        let here = slice.credits.min(left);
        left = left.less(here);
        let part = |credits| Slice {
            credits,
            ..slice.clone()
        };
        if !here.is_zero() {
            first.push(part(here));
        }
        if here < slice.credits {
            rest.push(part(slice.credits.less(here)));
        }
    }
    (first, rest)
}
