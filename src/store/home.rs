//! Where a stream lives. One fact is never routed by two rules: a user's home is a pure function of the id; a
//! purchase's home is written down when it is first recorded (`streams`).

use sha2::{Digest as _, Sha256};

use crate::ledger::{PurchaseId, UserId};

/// The version of the rule below, stored in `ledger.home_function` when a database is made.
pub const HOME_FUNCTION: i16 = 1;

/// Number of a shard, from 0.
pub type Shard = i16;

/// The shard of a user: the first 8 bytes of SHA-256(`"user/" + id`), big-endian, modulo the number of shards.
pub fn of_user(id: &UserId, shards: u16) -> Shard {
    of_key("user/", id.as_str(), shards)
}

/// The shard of a purchase that names nobody: the same function of its own id.
pub fn of_unclaimed(id: &PurchaseId, shards: u16) -> Shard {
    of_key("purchase/", id.as_str(), shards)
}

fn of_key(prefix: &str, id: &str, shards: u16) -> Shard {
    let digest = Sha256::new()
        .chain_update(prefix.as_bytes())
        .chain_update(id.as_bytes())
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    let shard = u64::from_be_bytes(first) % u64::from(shards.max(1));
    // Below the number of shards, which the schema keeps at 1,024 or fewer.
    Shard::try_from(shard).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These values are part of the stored format: a user whose home moved would have two streams.
    #[test]
    fn homes_never_move() {
        let homes: Vec<Shard> = ["user_1", "user_2", "user_3RkJ4hi245d8WxbYllUz4trG8pG"]
            .iter()
            .map(|id| of_user(&UserId::parse(*id).unwrap(), 16))
            .collect();
        assert_eq!(homes, [3, 2, 9]);
        let purchase = PurchaseId::parse("razorpay:pay_1").unwrap();
        assert_eq!(of_unclaimed(&purchase, 16), 8);
    }
}
