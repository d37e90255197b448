//! Tolerant reading of a provider's JSON: one level at a time, every member on its own.
//!
//! A member that is absent, null or of another type reads as "not there"; what is never asked for is never
//! looked into. So a number that no machine can hold, in metadata that a user may write, spoils nothing.
//! Must never fail on a whole payload because of one member.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The largest integer that every JSON reader keeps exact: 2^53 - 1.
const MAX_EXACT: i64 = 9_007_199_254_740_991;
/// The latest time in seconds that is believed: in the year 5138. What is above it are milliseconds (from the year
/// 1973 on), or times that `PostgreSQL` and calendars can not hold.
const MAX_SECONDS: i64 = 100_000_000_000;

/// The members of one JSON object, in the order in which they came. Of a name that comes twice the last one counts, as in
/// most readers. Nothing of the text is copied; there are few members, so a name is looked up by going through them.
#[derive(Default)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A name, borrowed unless it is written with escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    /// Reads a text that is one JSON object.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether a text is one JSON object.
    pub fn is_one(text: &str) -> bool {
        text.trim_start_matches([' ', '\t', '\n', '\r'])
            .starts_with('{')
            && serde_json::from_str::<&RawValue>(text).is_ok()
    }

    fn member(&self, name: &str) -> Option<&'a str> {
        let member = self.0.iter().rfind(|(known, _)| known == name);
        member.map(|(_, raw)| raw.get())
    }

    /// A member that is an object.
    pub fn object(&self, name: &str) -> Option<Self> {
        self.member(name).and_then(Self::parse)
    }

    /// Those elements of an array that are objects.
    pub fn objects(&self, name: &str) -> Vec<Self> {
        let elements: Option<Vec<&RawValue>> = self
            .member(name)
            .and_then(|text| serde_json::from_str(text).ok());
        elements
            .into_iter()
            .flatten()
            .filter_map(|raw| Self::parse(raw.get()))
            .collect()
    }

    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.member(name)
            .and_then(|text| serde_json::from_str(text).ok())
    }

    /// A member that is a whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.member(name)
            .and_then(|text| serde_json::from_str(text).ok())
    }

    /// A member that is true or false.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.member(name)
            .and_then(|text| serde_json::from_str(text).ok())
    }

    /// Whether a member is there and not null, whatever it is.
    pub fn is_set(&self, name: &str) -> bool {
        self.member(name).is_some_and(|text| text != "null")
    }

    /// A member that is a point in time in milliseconds since 1970: positive and exact.
    pub fn time_ms(&self, name: &str) -> Option<i64> {
        self.integer(name).filter(|t| (1..=MAX_EXACT).contains(t))
    }

    /// A member that is a point in time in seconds since 1970: positive, and no later than the year 5138.
    pub fn time_s(&self, name: &str) -> Option<i64> {
        self.integer(name).filter(|t| (1..=MAX_SECONDS).contains(t))
    }
}

/// A text fit to be stored and shown: without control characters (`PostgreSQL` holds no NUL), without blanks
/// around it, cut to a length at a character's boundary. `None` when nothing is left.
pub(super) fn clean(text: &str, max_bytes: usize) -> Option<String> {
    let visible: String = text.chars().filter(|c| !c.is_control()).collect();
    let visible = visible.trim();
    let cut = &visible[..visible.floor_char_boundary(max_bytes)];
    let cut = cut.trim_end();
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// The longest e-mail address in bytes: 64 before the `@`, 255 after it (RFC 5321, 4.5.3.1).
const EMAIL_MAX_BYTES: usize = 320;

/// An e-mail address fit to be stored. One that is too long is left out: cut, it would be somebody else's.
pub(super) fn clean_email(text: &str) -> Option<String> {
    clean(text, usize::MAX).filter(|email| email.len() <= EMAIL_MAX_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_can_not_be_read_spoil_nothing_else() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let text = format!(
            r#"{{"huge":1e999,"half":"\ud83d","deep":{deep},"id":"a","n":7,"o":{{"id":"b"}},"l":[1,{{"id":"c"}},null]}}"#
        );
        let object = Object::parse(&text).unwrap();
        assert!(Object::is_one(&text));
        assert_eq!(object.text("id").as_deref(), Some("a"));
        assert_eq!(object.integer("n"), Some(7));
        assert_eq!(object.integer("huge"), None);
        assert_eq!(object.text("half"), None);
        assert!(object.object("deep").is_none());
        assert_eq!(object.object("o").unwrap().text("id").as_deref(), Some("b"));
        let list = object.objects("l");
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].text("id").as_deref(), Some("c"));
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_one_counts() {
        let object = Object::parse(r#" {"a":1,"b":2,"\u0061":3}"#).unwrap();
        assert_eq!(object.integer("a"), Some(3));
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in ["", "[]", "null", "1", "\"a\"", "{} x", "\u{feff}{}", "{"] {
            assert!(Object::parse(text).is_none(), "{text:?}");
            assert!(!Object::is_one(text), "{text:?}");
        }
    }

    #[test]
    fn times_are_positive_and_exact() {
        let object =
            Object::parse(r#"{"a":0,"b":-1,"c":1,"d":9007199254740992,"e":1.5,"f":"1"}"#).unwrap();
        for name in ["a", "b", "d", "e", "f", "none"] {
            assert_eq!(object.time_ms(name), None, "{name}");
            assert_eq!(object.time_s(name), None, "{name}");
        }
        assert_eq!(object.time_ms("c"), Some(1));
        assert_eq!(object.time_s("c"), Some(1));
    }

    #[test]
    fn milliseconds_are_not_taken_for_seconds() {
        let object =
            Object::parse(r#"{"last":100000000000,"more":100000000001,"ms":1795000000000}"#)
                .unwrap();
        assert_eq!(object.time_s("last"), Some(100_000_000_000));
        assert_eq!(object.time_s("more"), None);
        assert_eq!(object.time_s("ms"), None);
        assert_eq!(object.time_ms("ms"), Some(1_795_000_000_000));
    }

    #[test]
    fn texts_are_cleaned() {
        assert_eq!(clean(" A\0sha\n ", 255).as_deref(), Some("Asha"));
        assert_eq!(clean("\0\n ", 255), None);
        assert_eq!(clean("éé", 3).as_deref(), Some("é"));
        assert_eq!(clean("a b", 2).as_deref(), Some("a"));
        assert_eq!(clean("é", 1), None);
        assert_eq!(clean_email(&format!("{}@x.example", "a".repeat(320))), None);
        assert_eq!(clean_email("a@x.example\n").as_deref(), Some("a@x.example"));
    }
}
