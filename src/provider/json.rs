//! Tolerant reading of a provider's JSON: one level at a time, every member on its own.
//!
//! A member that is absent, null or of another type reads as "not there"; what is never asked for is never
//! looked into. So a number that no machine can hold, in metadata that a user may write, spoils nothing.
//! Must never fail on a whole payload because of one member.

use std::borrow::Cow;
use std::rc::Rc;

use memchr::{memchr, memchr2};
use serde_json::value::RawValue;

/// The largest integer that every JSON reader keeps exact: 2^53 - 1.
const MAX_EXACT: i64 = 9_007_199_254_740_991;
/// The latest time in seconds that is believed: in the year 5138. What is above it are milliseconds (from the year
/// 1973 on), or times that `PostgreSQL` and calendars can not hold.
const MAX_SECONDS: i64 = 100_000_000_000;

/// How many levels of objects are read at once. What is deeper is read when it is asked for, so that no text can make the
/// stack grow.
const LEVELS: u8 = 8;

/// The members of one JSON object, in the order in which they came. Of a name that comes twice the last one counts, as in
/// most readers. The text is gone through once for all objects in it, and nothing of it is copied; there are few members,
/// so a name is looked up by going through them.
#[derive(Clone, Default)]
pub(super) struct Object<'a>(Rc<Vec<Member<'a>>>);

struct Member<'a> {
    /// None: it can not be read.
    name: Option<Cow<'a, str>>,
    /// The value's text.
    text: &'a str,
    /// The value, where it is an object that was read at once.
    object: Option<Object<'a>>,
}

impl<'a> Object<'a> {
    /// Reads a text that is one JSON object.
    pub fn parse(text: &'a str) -> Option<Self> {
        Self::is_one(text).then(|| Self::of(text)).flatten()
    }

    /// Whether a text is one JSON object.
    pub fn is_one(text: &str) -> bool {
        text.trim_start_matches([' ', '\t', '\n', '\r'])
            .starts_with('{')
            && serde_json::from_str::<&RawValue>(text).is_ok()
    }

    /// Reads a text of which [`Object::is_one`] said yes, or a value in it. None: it is another value, or one of its names
    /// can not be read.
    pub fn of(text: &'a str) -> Option<Self> {
        Scanner { text, at: 0 }.value(LEVELS)?.1
    }

    fn member(&self, name: &str) -> Option<&Member<'a>> {
        let mut members = self.0.iter();
        members.rfind(|member| member.name.as_deref() == Some(name))
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.member(name).map(|member| member.text)
    }

    /// A member that is an object.
    pub fn object(&self, name: &str) -> Option<Self> {
        let member = self.member(name)?;
        member.object.clone().or_else(|| Self::of(member.text))
    }

    /// Those elements of an array that are objects.
    pub fn objects(&self, name: &str) -> Vec<Self> {
        let text = self.value(name).unwrap_or_default();
        Scanner { text, at: 0 }.objects()
    }

    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).and_then(unquoted).map(Cow::into_owned)
    }

    /// A member that is a whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.value(name)
            .and_then(|text| serde_json::from_str(text).ok())
    }

    /// A member that is true or false.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.value(name)
            .and_then(|text| serde_json::from_str(text).ok())
    }

    /// Whether a member is there and not null, whatever it is.
    pub fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some_and(|text| text != "null")
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

/// Finds where values begin and end in a text that is known to be JSON. Of any other text it may make anything, but
/// it comes to an end.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is no blank and stands between no values.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        let blanks = rest.iter().position(|byte| !between(byte))?;
        self.at += blanks;
        rest.get(blanks).copied()
    }

    /// A value's text and, if it is an object and levels are left, what is in it.
    fn value(&mut self, levels: u8) -> Option<(&'a str, Option<Object<'a>>)> {
        let first = self.next()?;
        let begin = self.at;
        let object = match first {
            b'{' if levels > 0 => {
                let members = self.members(levels - 1)?;
                let readable = members.iter().all(|member| member.name.is_some());
                readable.then(|| Object(Rc::new(members)))
            }
            b'{' | b'[' => self.skip_nested().map(|()| None)?,
            b'"' => self.skip_text().map(|()| None)?,
            _ => self.skip_word().map(|()| None)?,
        };
        let text = self.text.get(begin..self.at)?;
        Some((text, object))
    }

    fn members(&mut self, levels: u8) -> Option<Vec<Member<'a>>> {
        self.at += 1;
        let mut members = Vec::new();
        while self.next()? != b'}' {
            let name = unquoted(self.value(0)?.0);
            let (text, object) = self.value(levels)?;
            members.push(Member { name, text, object });
        }
        self.at += 1;
        Some(members)
    }

    /// The objects of an array; none of any other value.
    fn objects(&mut self) -> Vec<Object<'a>> {
        let mut objects = Vec::new();
        if self.next() == Some(b'[') {
            self.at += 1;
            while let Some((_, object)) = self.value(LEVELS) {
                objects.extend(object);
            }
        }
        objects
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.skip_text()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Some(());
            }
        }
    }

    fn skip_text(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let found = memchr2(b'"', b'\\', rest)?;
            if rest.get(found) == Some(&b'"') {
                self.at += found + 1;
                return Some(());
            }
            self.at += found + 2;
        }
    }

    /// A number, `true`, `false` or `null`; none at the end of an array.
    fn skip_word(&mut self) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let of_word = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'-' | b'.');
        let length = rest.iter().position(|byte| !of_word(byte));
        let length = length.unwrap_or(rest.len());
        self.at += length;
        (length > 0).then_some(())
    }
}

/// What a JSON text says, if it is one and can be read: half of a surrogate pair can not.
fn unquoted(json: &str) -> Option<Cow<'_, str>> {
    let plain = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr(b'\\', plain.as_bytes()).is_some() {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(plain))
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
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::{Object, Scanner, clean, clean_email};

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
    fn an_object_with_a_name_that_can_not_be_read_is_not_there() {
        let object = Object::parse(r#"{"o":{"\ud83d":1,"id":"a"},"id":"b"}"#).unwrap();
        assert!(object.object("o").is_none());
        assert_eq!(object.text("id").as_deref(), Some("b"));
        let text = r#"{"\ud83d":1}"#;
        assert!(Object::parse(text).is_none() && Object::is_one(text));
    }

    #[test]
    fn any_depth_is_read() {
        let levels = 3000;
        let text = format!(
            r#"{}{{"id":"a"}}{}"#,
            r#"{"o":"#.repeat(levels),
            "}".repeat(levels)
        );
        let outermost = Object::parse(&text).unwrap();
        let innermost = (0..levels).try_fold(outermost, |object, _| object.object("o"));
        assert_eq!(innermost.unwrap().text("id").as_deref(), Some("a"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
            "[ -~é\u{1F600}\n\0]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(12, 60, 4, |inner| {
            let member = ("[ab\"\\\\{}]{0,2}", inner.clone());
            prop_oneof![
                vec(inner, 0..4).prop_map(Value::from),
                vec(member, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Each value of an object as it is read here, beside what another reader makes of it.
    fn assert_same(object: &Object<'_>, members: &Map<String, Value>) {
        assert_eq!(object.0.len(), members.len());
        for (name, value) in members {
            let text = object.value(name).unwrap();
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *value);
            assert_eq!(object.text(name).as_deref(), value.as_str());
            match (object.object(name), value) {
                (Some(inner), Value::Object(members)) => assert_same(&inner, members),
                (inner, other) => assert!(inner.is_none() && !other.is_object()),
            }
            let elements = value.as_array().into_iter().flatten();
            let theirs: Vec<_> = elements.filter_map(Value::as_object).collect();
            let ours = object.objects(name);
            assert_eq!(ours.len(), theirs.len());
            for (inner, members) in ours.iter().zip(theirs) {
                assert_same(inner, members);
            }
        }
    }

    proptest! {
        #![proptest_config(crate::seeded::seeded())]

        #[test]
        fn what_is_written_is_read(value in json(), pretty: bool) {
            let write = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = write(&value).unwrap();
            match (Object::parse(&text), value) {
                (Some(object), Value::Object(members)) => assert_same(&object, &members),
                (object, other) => prop_assert!(object.is_none() && !other.is_object()),
            }
        }

        #[test]
        fn a_text_that_is_no_json_comes_to_an_end(text in "[\\[\\]{},:\"\\\\a1 ]{0,40}") {
            let object = Object::of(&text).unwrap_or_default();
            for member in object.0.iter() {
                prop_assert!(text.contains(member.text));
            }
            Scanner { text: &text, at: 0 }.objects();
        }
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
