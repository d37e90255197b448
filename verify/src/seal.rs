//! Seals: from time to time the ledger says, signed, "these are the events since the last time, and this is where every
//! shard ends".
//!
//! The events of a seal are the leaves of a tree (their hashes, by shard and position), whose root stands in the
//! seal's [`Batch`]. The batches themselves are the leaves of another tree, which only grows; its root after a batch is
//! the seal's head, and the head is what is signed. So a signature vouches for everything up to it, and any two heads
//! can be proven to be one history. Signing is apart, in `sign`.

mod sign;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::record::EndRecord;
use crate::{Hash, merkle};
pub use sign::SealKey;

/// What the encoding of a batch begins with.
const BATCH: &[u8] = b"credit-ledger seal v1\n";
/// What is signed begins with.
const HEAD: &[u8] = b"credit-ledger head v1\n";

/// What is sealed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// 1, 2, 3 … without holes.
    pub seal: i64,
    /// When, microseconds since 1970-01-01 UTC.
    pub sealed_at_us: i64,
    /// How many events.
    pub events: i64,
    /// The root of the tree over the hashes of the events, by shard and position.
    pub root: Hash,
    /// Where every shard ends with this seal, by shard.
    pub ends: Vec<EndRecord>,
}

impl Batch {
    /// Its bytes: all integers signed and big-endian, 64 bits but for the shards' 16.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = BATCH.to_vec();
        bytes.extend(self.seal.to_be_bytes());
        bytes.extend(self.sealed_at_us.to_be_bytes());
        bytes.extend(self.events.to_be_bytes());
        bytes.extend(self.root);
        bytes.extend((self.ends.len() as u64).to_be_bytes());
        for end in &self.ends {
            bytes.extend(end.shard.to_be_bytes());
            bytes.extend(end.position.to_be_bytes());
            bytes.extend(end.hash);
        }
        bytes
    }

    /// The leaf that it is in the tree of batches.
    pub fn leaf(&self) -> Hash {
        merkle::leaf(&self.encode())
    }
}

/// The leaf that an event is in the tree of its seal.
pub fn event_leaf(hash: &Hash) -> Hash {
    merkle::leaf(hash)
}

/// What is signed: the number of a seal and its head.
fn statement(seal: i64, head: &Hash) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    bytes.extend(seal.to_be_bytes());
    bytes.extend(head);
    bytes
}

/// A key that can not be used. Never holds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey;

impl std::fmt::Display for BadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("is no Ed25519 key in PEM (PKCS #8 for a private key, SPKI for a public one)")
    }
}

impl std::error::Error for BadKey {}

/// A key that seals are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key in PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// [`BadKey`]
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        VerifyingKey::from_public_key_pem(pem.trim())
            .map(Self)
            .map_err(|_| BadKey)
    }

    /// Writes it in PEM.
    ///
    /// # Errors
    /// [`BadKey`], which does not happen for a key that was read.
    pub fn to_pem(&self) -> Result<String, BadKey> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|_| BadKey)
    }

    /// What it is called in seals: the first 16 hex digits of the SHA-256 of its 32 bytes.
    pub fn id(&self) -> String {
        hex::encode(&Sha256::digest(self.0.as_bytes())[..8])
    }

    /// Whether this key signed that head.
    pub fn verifies(&self, seal: i64, head: &Hash, signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.0
            .verify_strict(&statement(seal, head), &signature)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::GENESIS;
    use crate::merkle::{Tree, node, root};

    /// The event of the test vector of `chain`.
    const FIRST: &str = "9143c3b75195685895023d4718a7fda1f08ef62ca6578ced43e0849543bf1a49";

    fn hash(hex: &str) -> Hash {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    fn key() -> SealKey {
        SealKey::from_seed(&std::array::from_fn(|index| u8::try_from(index).unwrap()))
    }

    fn batch(seal: i64, event: Hash) -> Batch {
        Batch {
            seal,
            sealed_at_us: 1_795_000_000_123_456,
            events: 1,
            root: root(&[event_leaf(&event)]),
            ends: vec![
                EndRecord {
                    shard: 0,
                    position: 0,
                    hash: GENESIS,
                },
                EndRecord {
                    shard: 3,
                    position: seal,
                    hash: event,
                },
            ],
        }
    }

    /// The test vectors of `schema/README.md`.
    #[test]
    fn the_encoding_is_as_written_down() {
        let (first, second) = (batch(1, hash(FIRST)), batch(2, [7; 32]));
        let mut history = Tree::default();
        history.push(first.leaf());
        let head = history.root();
        history.push(second.leaf());
        let key = key();
        assert_eq!(key.public().id(), "56475aa75463474c");
        assert_eq!(
            hex::encode(key.public().0.as_bytes()),
            "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
        );
        assert_eq!(
            hex::encode(first.root),
            "8fa2ee50b8edb1a1a72121451b86b7a1b8fa2c906d0416f778a32e5cfb9eb546"
        );
        assert_eq!(
            hex::encode(Sha256::digest(first.encode())),
            "dd08e1100553721c93b5a10e14f526f16a1d047b9db4779be95c49afc2c0b0d3"
        );
        assert_eq!(
            hex::encode(head),
            "42c0819ba0aa30097dce8bca563b4d104bd64057c826ff0c3f688f26ffea97a6"
        );
        assert_eq!(head, first.leaf());
        assert_eq!(
            hex::encode(key.sign(1, &head)),
            "284e03f40737078e262609c027aa1213bac0765b5b2fae9542aa8ddbd158da173a90b3372516d05ecb8615ea9954d634fed6a60f570eda1c36ea0b79bc758104"
        );
        assert_eq!(history.root(), node(&first.leaf(), &second.leaf()));
        assert_eq!(
            hex::encode(history.root()),
            "77340ba89bd6643d1e6787c30cc3cd400215dd5a9ebbd29887dd89b5a9aaf7b3"
        );
        assert_eq!(
            hex::encode(key.sign(2, &history.root())),
            "2882f65e0af16ef92c2875824cb520ccec4623789fac83c5619e73f464881bc4d1c319f80facf686be917d3a1815273dcb8b70f7763b30b6c6282981b0a66e04"
        );
    }

    #[test]
    fn every_field_counts() {
        let base = batch(1, hash(FIRST));
        let change = |change: fn(&mut Batch)| {
            let mut batch = base.clone();
            change(&mut batch);
            batch
        };
        for changed in [
            change(|batch| batch.seal = 2),
            change(|batch| batch.sealed_at_us = 1),
            change(|batch| batch.events = 2),
            change(|batch| batch.root = GENESIS),
            change(|batch| batch.ends[1].shard = 4),
            change(|batch| batch.ends[1].position = 2),
            change(|batch| batch.ends[1].hash = GENESIS),
            change(|batch| batch.ends.truncate(1)),
        ] {
            assert_ne!(changed.leaf(), base.leaf(), "{changed:?}");
        }
    }

    #[test]
    fn only_the_key_that_signed_verifies_and_only_that_head() {
        let (key, other, head) = (key(), SealKey::from_seed(&[8; 32]), [1; 32]);
        let signature = key.sign(1, &head);
        assert!(key.public().verifies(1, &head, &signature));
        assert!(!other.public().verifies(1, &head, &signature));
        assert!(!key.public().verifies(2, &head, &signature));
        assert!(!key.public().verifies(1, &[2; 32], &signature));
        let pem = key.public().to_pem().unwrap();
        assert_eq!(PublicKey::from_pem(&pem), Ok(key.public()));
        assert!(PublicKey::from_pem("-----BEGIN PUBLIC KEY-----").is_err());
        assert!(!format!("{key:?}").contains(&hex::encode([0, 1, 2, 3])));
    }
}
