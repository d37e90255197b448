//! What the read models say of whom to erase, and of what is theirs.

use chrono::{DateTime, Utc};

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
}

impl Reads {
    /// Users who were deleted by a time and whose erasure nobody asked for; at most so many.
    pub async fn users_to_erase(
        &self,
        deleted_by: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<String>, ReadError> {
        let sql = include_str!("../../projections/users/to_erase.sql");
        let rows = self.query(sql, &[&deleted_by, &limit]).await?;
        rows.iter().map(|row| Ok(row.try_get("user_id")?)).collect()
    }

    /// The purchases that are a user's, or nobody's and were paid with one of these addresses: those after an id.
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
        rows.iter()
            .map(|row| {
                Ok(PayerRow {
                    purchase_id: row.try_get("purchase_id")?,
                    order_id: row.try_get("order_id")?,
                    subscription_id: row.try_get("subscription_id")?,
                })
            })
            .collect()
    }
}
