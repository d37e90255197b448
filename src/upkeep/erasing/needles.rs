//! What a body is searched for to find out whether it is about somebody who is to be erased.
//!
//! In JSON strings, however they are escaped: ids as whole strings or as words in one, as in the address of a page or in JSON
//! inside it; addresses anywhere, in any case. Not in numbers.
//! Pure. Must never be logged.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// The shortest id that is looked for, in bytes. A shorter one may be anything; what the events tell of is found without.
const ID_MIN_BYTES: usize = 6;

/// Ids and e-mail addresses.
#[derive(Default)]
pub struct Needles {
    ids: HashSet<String>,
    /// By what is behind the `@`, what is before it; all in lower case.
    addresses: HashMap<String, HashSet<String>>,
}

impl Needles {
    /// An id of a provider.
    pub fn add_id(&mut self, id: &str) {
        if id.len() >= ID_MIN_BYTES {
            self.ids.insert(id.to_owned());
        }
    }

    /// An e-mail address. What is none is looked for as a whole string.
    pub fn add_address(&mut self, address: &str) {
        match address.trim().to_lowercase().rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                let locals = self.addresses.entry(domain.to_owned()).or_default();
                locals.insert(local.to_owned());
            }
            _ => self.add_id(address),
        }
    }

    /// Whether one of them is in a JSON text. What is no JSON is searched as well as it can be.
    pub fn are_in(&self, body: &[u8]) -> bool {
        let text = String::from_utf8_lossy(body);
        strings(&text).any(|string| self.id_in(&string) || self.address_in(&string))
    }

    fn id_in(&self, string: &str) -> bool {
        let mut words = string
            .split(|c| !in_word(c))
            .filter(|word| is_like_id(word));
        self.ids.contains(string) || words.any(|word| self.ids.contains(word))
    }

    fn address_in(&self, string: &str) -> bool {
        // As in the address of a page.
        let string = if string.contains("%40") {
            Cow::Owned(string.replace("%40", "@"))
        } else {
            Cow::Borrowed(string)
        };
        if self.addresses.is_empty() || !string.contains('@') {
            return false;
        }
        let string = string.to_lowercase();
        string.match_indices('@').any(|(at, _)| {
            let (before, behind) = (&string[..at], &string[at + 1..]);
            let end = behind.find(|c: char| !in_domain(c));
            let domain = behind[..end.unwrap_or(behind.len())].trim_end_matches(['.', '-']);
            let locals = self.addresses.get(domain);
            locals.is_some_and(|locals| locals.iter().any(|local| ends_with(before, local)))
        })
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// A word of a language is an id only where it is all that a string says.
fn is_like_id(word: &str) -> bool {
    word.len() >= ID_MIN_BYTES && word.contains(|c: char| c.is_ascii_digit() || c == '_')
}

/// Whether a text ends with what is before an `@`, and that is all of it.
fn ends_with(before: &str, local: &str) -> bool {
    let rest = before.strip_suffix(local);
    rest.is_some_and(|rest| !rest.ends_with(in_local))
}

fn in_domain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-')
}

/// What belongs to an address if it is before one. Other characters may, too (RFC 5322, section 3.2.3), and more often do
/// not: `mailto:`, `=`, `'`.
fn in_local(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+')
}

/// The strings of a JSON text, names of members included, as they are meant.
fn strings(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, inside) = rest.split_once('"')?;
        let end = end_of_string(inside);
        let string = &inside[..end];
        rest = inside.get(end + 1..).unwrap_or_default();
        Some(if string.contains('\\') {
            Cow::Owned(unescaped(string))
        } else {
            Cow::Borrowed(string)
        })
    })
}

/// Where the quotation mark is that ends a string; the end of the text if there is none.
fn end_of_string(inside: &str) -> usize {
    let mut escaped = false;
    let end = inside.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.unwrap_or(inside.len())
}

/// What an escaped string means (RFC 8259, section 7). What means nothing is left out.
fn unescaped(string: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(string.len());
    let mut rest = string;
    while let Some(at) = rest.find('\\') {
        units.extend(rest[..at].encode_utf16());
        let mut behind = rest[at + 1..].chars();
        let kind = behind.next();
        rest = behind.as_str();
        match kind {
            Some('u') => {
                let hex = rest.get(..4);
                if let Some(unit) = hex.and_then(|hex| u16::from_str_radix(hex, 16).ok()) {
                    units.push(unit);
                    rest = &rest[4..];
                }
            }
            Some('n' | 'r' | 't' | 'b' | 'f') => units.push(u16::from(b' ')),
            Some(other) => units.extend(other.encode_utf16(&mut [0; 2]).iter()),
            None => {}
        }
    }
    units.extend(rest.encode_utf16());
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(ids: &[&str], addresses: &[&str]) -> Needles {
        let mut needles = Needles::default();
        for id in ids {
            needles.add_id(id);
        }
        for address in addresses {
            needles.add_address(address);
        }
        needles
    }

    #[test]
    fn an_address_is_found_however_it_is_spelt() {
        let needles = needles(&[], &["Zoë.O'Brien+shop@Müller.example"]);
        for body in [
            r#"{"email":"Zoë.O'Brien+shop@Müller.example"}"#,
            r#"{"email":"zoë.o'brien+SHOP@müller.EXAMPLE"}"#,
            r#"{"email":"Zo\u00eb.O\u0027Brien\u002bshop\u0040M\u00FCller.example"}"#,
            r#"{"text":"Receipt for \u003CZoë.O'Brien+shop@Müller.example\u003E."}"#,
            r#"{"text":"line\nZoë.O'Brien+shop@Müller.example."}"#,
            r#"{"inner":"{\"email\":\"Zoë.O'Brien+shop@Müller.example\"}"}"#,
            r#"{"url":"https:\/\/shop.example\/?email=Zoë.O'Brien+shop%40Müller.example&x=1"}"#,
            r#"{"mailto:Zoë.O'Brien+shop@Müller.example":1}"#,
            r#"["a@b.c", "Zoë.O'Brien+shop@Müller.example"]"#,
            // Cut off.
            r#"{"email":"Zoë.O'Brien+shop@Müller.example"#,
        ] {
            assert!(needles.are_in(body.as_bytes()), "{body}");
        }
        let latin_1 = b"{\"name\":\"Zo\xeb\",\"email\":\"a@example.com\"}";
        assert!(self::needles(&[], &["a@example.com"]).are_in(latin_1));
    }

    #[test]
    fn a_longer_address_is_another() {
        let needles = needles(&[], &["rao@example.com"]);
        for other in [
            "asha.rao@example.com",
            "asha-rao@example.com",
            "asha+rao@example.com",
            "xrao@example.com",
            "rao@example.com.au",
            "rao@example.community",
            "rao@mail.example.com",
            "rao",
            "@example.com",
            "rao@example",
        ] {
            let body = serde_json::json!({ "email": other }).to_string();
            assert!(!needles.are_in(body.as_bytes()), "{other}");
        }
    }

    #[test]
    fn an_id_is_a_whole_string_or_a_word() {
        let ids = [
            "user_1",
            "pay_29QQoUBi66xm2f",
            "customer",
            "1234567",
            "42",
            "",
        ];
        let needles = needles(&ids, &[""]);
        for body in [
            r#"{"user_id":"user_1"}"#,
            r#"{"notes":{"user_1":true}}"#,
            r#"{"id":"pay_29QQoUBi\u0036\u0036xm2f"}"#,
            r#"{"url":"https:\/\/shop.example\/users\/user_1?tab=2"}"#,
            r#"{"description":"Credits for user_1, paid by pay_29QQoUBi66xm2f."}"#,
            r#"{"inner":"{\"user_id\":\"user_1\"}"}"#,
            r#"{"purchase":"razorpay:pay_29QQoUBi66xm2f"}"#,
            r#"{"object":"customer"}"#,
        ] {
            assert!(needles.are_in(body.as_bytes()), "{body}");
        }
        for body in [
            r#"{"user_id":"user_12"}"#,
            r#"{"user_id":"User_1"}"#,
            r#"{"description":"for user_1-2 or user_1_2, a customer of ours"}"#,
            r#"{"amount":1234567}"#,
            r#"{"amount":42,"quantity":"42","nothing":""}"#,
            "{}",
            "",
        ] {
            assert!(!needles.are_in(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn nothing_can_break_the_search() {
        let needles = needles(&["user_1"], &["a@example.com"]);
        for body in [
            &b"\""[..],
            b"\"\\",
            b"\"\\u",
            b"\"\\u12",
            b"\"\\ud83d\\ud83d\"",
            "\"\\u12é4\"".as_bytes(),
            b"\xff\xfe\"\\",
            "\"@\"\"é@é\"".as_bytes(),
        ] {
            assert!(!needles.are_in(body), "{body:?}");
        }
    }
}
