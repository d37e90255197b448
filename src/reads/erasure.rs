//! What the read models say of whom to erase, and of what is theirs.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::{ReadError, Reads};

/// A purchase whose payer is to be erased, by all the ids that deliveries name it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayerRow {
    /// `<provider>:<payment id>`.
    pub purchase_id: String,
    /// The provider's order.
    pub order_id: Option<String>,
    /// The provider's subscription that it pays.
    pub subscription_id: Option<String>,
    /// Whose it is, or whose the purchase is that it is a part of.
    pub user_id: Option<String>,
}

impl Reads {
    /// Users who were deleted by a time and whose erasure nobody asked for, the longest deleted first: those after a time and
    /// a user, at most so many.
    pub async fn users_to_erase(
        &self,
        deleted_by: DateTime<Utc>,
        after: &(DateTime<Utc>, String),
        limit: i64,
    ) -> Result<Vec<(DateTime<Utc>, String)>, ReadError> {
        let sql = include_str!("../../projections/users/to_erase.sql");
        let rows = self
            .query(sql, &[&deleted_by, &after.0, &after.1, &limit])
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("deleted_at")?, row.try_get("user_id")?)))
            .collect()
    }

    /// The purchases that are a user's, or were paid with one of these addresses: those after an id, at most so many.
    pub async fn payers_to_erase(
        &self,
        user_id: &str,
        addresses: &[String],
        after: &str,
        limit: i64,
    ) -> Result<Vec<PayerRow>, ReadError> {
        let sql = include_str!("../../projections/purchases/to_erase.sql");
        let rows = self
            .query(sql, &[&user_id, &addresses, &after, &limit])
            .await?;
        rows.iter().map(payer).collect()
    }

    /// A purchase and the other ids of the same money: those after an id, at most so many.
    pub async fn same_payment(
        &self,
        purchase_id: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<PayerRow>, ReadError> {
        let sql = include_str!("../../projections/purchases/same_payment.sql");
        let rows = self.query(sql, &[&purchase_id, &after, &limit]).await?;
        rows.iter().map(payer).collect()
    }
}

fn payer(row: &Row) -> Result<PayerRow, ReadError> {
    Ok(PayerRow {
        purchase_id: row.try_get("purchase_id")?,
        order_id: row.try_get("order_id")?,
        subscription_id: row.try_get("subscription_id")?,
        user_id: row.try_get("user_id")?,
    })
}
