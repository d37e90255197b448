//! Judges the history of a credit ledger: from an export, a public key and nothing else.
//!
//! The service uses the same code to hash and to seal, so what is proven is defined here once; `schema/README.md`
//! of the service says it in words, exactly enough to write another verifier.
//!
//! - [`chain`]: the hash of an event, over the one before it in its shard.
//! - [`evidence`]: the digest of what proves a delivery genuine, which its events carry.
//! - [`merkle`]: the tree of RFC 6962, its proofs and their verification.
//! - [`seal`]: what a seal says, and who signed it.
//! - [`record`]: the lines of an export; [`manifest`]: what an export says of itself.
//! - [`json`]: JSON in which no name comes twice.
//! - `fold`: what follows from events, by plain arithmetic.
//! - [`check`]: the checks, fed record by record.
//! - [`export`]: feeds the checks from the folder of an export.
//! - [`proof`]: one answer of the service, judged by itself.
//! - [`report`]: what was seen, what was proven, and what does not agree.
//!
//! Nothing here knows a database, a clock or a secret, and nothing trusts what it reads.

pub mod chain;
pub mod check;
pub mod evidence;
pub mod export;
mod fold;
pub mod json;
pub mod manifest;
pub mod merkle;
pub mod proof;
pub mod record;
pub mod report;
pub mod seal;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// A digest in lower-case hex. `hex::encode` gives the same and takes several times as long, character by character.
pub fn hex(hash: &Hash) -> String {
    let mut text = [0; 64];
    // Two digits for each byte: there is room.
    let _ = hex::encode_to_slice(hash, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_digest_is_written_as_ever() {
        let hash = std::array::from_fn(|index| u8::try_from(index * 37 % 256).unwrap());
        assert_eq!(super::hex(&hash), hex::encode(hash));
    }
}
