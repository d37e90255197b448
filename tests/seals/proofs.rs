//! Proofs over HTTP, verified with nothing but the public key.
