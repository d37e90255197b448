//! More than the service can take.
