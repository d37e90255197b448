//! The operators' sweep: finds what should have credits and has none, and repairs what can be repaired.
//!
//! | kind | found | repaired by |
//! |---|---|---|
//! | `parked` | deliveries that wait | trying them again, now |
//! | `no_bonus` | users who never got the bonus of a sign-up | granting it |
//! | `unpriced` | purchases that fitted nothing in the catalog | translating their stored deliveries by today's catalog |
//! | `unclaimed` | purchases that are nobody's | looking for the payer's address among the users |
//!
//! In that order, since a repair may bring what the next one needs. A sweep looks at a bounded number of each kind, newest
//! first (users by their ids), and says where the next one goes on: what can not be repaired blocks nothing. Every repair
//! is a command like any other, guarded by the aggregates, so sweeping twice or side by side does nothing twice; its
//! events carry the operator and the reason. Without an operator a sweep only says what it would try, and writes nothing.
//!
//! Must never decide a rule, and never repair anything without a reason.

mod cursor;
mod repair;

use serde::Serialize;
use utoipa::ToSchema;

pub use cursor::Cursor;

use crate::app::App;
use crate::reads::ReadError;
use crate::store::{Operator, StoreError};
use crate::upkeep::UpkeepError;
use repair::Sweeper;

/// How many of each kind are looked at when nobody says.
pub const LIMIT_DEFAULT: u16 = 100;
/// The most of each kind that one sweep looks at.
pub const LIMIT_MAX: u16 = 1000;

/// What a sweep is to do.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Who repairs, and why; none: nothing is repaired.
    pub operator: Option<Operator>,
    /// How many of each kind are looked at, 1 to [`LIMIT_MAX`].
    pub limit: u16,
    /// Where it goes on; the default: at the beginning.
    pub from: Cursor,
}

/// Something that a sweep looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(into = "&'static str")]
#[schema(as = SweepKind, rename_all = "snake_case")]
pub enum Kind {
    /// A delivery that waits.
    Parked,
    /// A user who never got the bonus of a sign-up.
    NoBonus,
    /// A purchase that fitted nothing in the catalog.
    Unpriced,
    /// A purchase that is nobody's.
    Unclaimed,
}

impl Kind {
    /// Its name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::NoBonus => "no_bonus",
            Self::Unpriced => "unpriced",
            Self::Unclaimed => "unclaimed",
        }
    }
}

impl From<Kind> for &'static str {
    fn from(value: Kind) -> Self {
        value.as_str()
    }
}

/// What a sweep does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(into = "&'static str")]
#[schema(as = SweepAction, rename_all = "snake_case")]
pub enum Deed {
    /// Tries the delivery again.
    Retry,
    /// Grants the bonus.
    GrantBonus,
    /// Prices the purchase.
    Price,
    /// Gives the purchase to its payer.
    Claim,
}

impl Deed {
    /// Its name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::GrantBonus => "grant_bonus",
            Self::Price => "price",
            Self::Claim => "claim",
        }
    }
}

impl From<Deed> for &'static str {
    fn from(value: Deed) -> Self {
        value.as_str()
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(into = "&'static str")]
#[schema(as = SweepResult, rename_all = "snake_case")]
pub enum Came {
    /// Would be tried: nothing was done.
    Planned,
    /// Done.
    Done,
    /// There is nothing that could be done, or somebody else was faster.
    Unchanged,
    /// A rule said no.
    Refused,
    /// It can not be stored; the log of the service says why.
    Failed,
}

impl Came {
    /// Its name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl From<Came> for &'static str {
    fn from(value: Came) -> Self {
        value.as_str()
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SweepItem)]
pub struct Action {
    /// What it is.
    pub kind: Kind,
    /// Which: a user's or a purchase's id, or `<source>/<inbox key>`.
    pub id: String,
    /// What is done about it.
    pub action: Deed,
    /// What came of it.
    pub result: Came,
    /// Whose the purchase is now, what it buys, or why nothing could be done. Never personal data.
    #[schema(required)]
    pub detail: Option<String>,
}

/// How many of each kind were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = SweepFound)]
pub struct Found {
    /// Deliveries that wait.
    pub parked: usize,
    /// Users without their bonus.
    pub no_bonus: usize,
    /// Purchases that fit nothing.
    pub unpriced: usize,
    /// Purchases that are nobody's.
    pub unclaimed: usize,
}

/// What a sweep found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many of each kind it looked at.
    pub found: Found,
    /// Each of them, in the order of looking.
    pub actions: Vec<Action>,
    /// Where the next sweep goes on; none: all of every kind was looked at.
    pub next: Option<Cursor>,
}

/// Why a sweep ended early. What it did until then is done; another one does the rest.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The read models could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take a repair, or could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A delivery could not be translated or tried.
    #[error(transparent)]
    Upkeep(#[from] UpkeepError),
}

/// Looks at a bounded number of each kind and repairs what it can. `progress` hears of each that was looked at, how many
/// were before it, itself included.
///
/// # Errors
/// [`RecoverError`]
pub async fn sweep(
    app: &App,
    sweep: &Sweep,
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<Report, RecoverError> {
    let mut sweeper = Sweeper::new(app, sweep, progress);
    let mut next = sweep.from.clone();
    sweeper.parked(&mut next).await?;
    sweeper.no_bonus(&mut next).await?;
    sweeper.unpriced(&mut next).await?;
    sweeper.unclaimed(&mut next).await?;
    let actions = sweeper.into_actions();
    let count = |kind| actions.iter().filter(|action| action.kind == kind).count();
    Ok(Report {
        found: Found {
            parked: count(Kind::Parked),
            no_bonus: count(Kind::NoBonus),
            unpriced: count(Kind::Unpriced),
            unclaimed: count(Kind::Unclaimed),
        },
        actions,
        next: (!next.is_end()).then_some(next),
    })
}

impl Report {
    /// Takes in what the next sweep found and did.
    pub fn extend(&mut self, more: Self) {
        self.found.parked += more.found.parked;
        self.found.no_bonus += more.found.no_bonus;
        self.found.unpriced += more.found.unpriced;
        self.found.unclaimed += more.found.unclaimed;
        self.actions.extend(more.actions);
        self.next = more.next;
    }
}
