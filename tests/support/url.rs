//! What stands in a URL.

/// Every byte in percent but letters, digits and those that are `kept` (RFC 3986, section 2.1).
pub fn percent_encoded(text: impl AsRef<[u8]>, kept: &[u8]) -> String {
    let byte = |byte: &u8| {
        if byte.is_ascii_alphanumeric() || kept.contains(byte) {
            char::from(*byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.as_ref().iter().map(byte).collect()
}
