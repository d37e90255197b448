//! Mutations: of bytes, which break a payload, and of a payload's members, which leave it a payload.

use serde_json::{Value, json};

/// Makes the same mutations from the same seed.
pub struct Mutator(u64);

/// Stand for what [`Value`] can not hold, and are put in as text.
const SPELLINGS: [(&str, &[u8]); 8] = [
    ("@huge", b"1e999"),
    ("@half", br#""\ud83d""#),
    ("@minus", b"-0"),
    ("@long", b"123456789012345678901234567890"),
    ("@nul", br#""\u0000""#),
    (
        "@twice",
        br#"{"id":"pay_1","id":"pay_2","amount":1,"amount":2}"#,
    ),
    ("@bytes", b"\"\xff\xc3\""),
    ("@word", b"NaN"),
];

/// How deep the deepest nesting is that is put in.
const DEPTH: usize = 300;

impl Mutator {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end`, without it.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// A payload like this one, with something of the other: mostly still a JSON object. Both are JSON.
    pub fn payload(&mut self, from: &[u8], other: &[u8]) -> Vec<u8> {
        if self.below(5) == 0 {
            return self.bytes(from, other);
        }
        let mut value: Value = serde_json::from_slice(from).unwrap();
        let other: Value = serde_json::from_slice(other).unwrap();
        for _ in 0..=self.below(4) {
            self.change_member(&mut value, &other);
        }
        spelled(&value)
    }

    /// Bytes like these, with something of the others.
    pub fn bytes(&mut self, from: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = from.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(40)).min(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
                3 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                4 => {
                    let from = self.below(other.len() + 1);
                    let until = (from + self.below(40)).min(other.len());
                    bytes.splice(at..end, other[from..until].iter().copied());
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
        bytes
    }

    fn change_member(&mut self, value: &mut Value, other: &Value) {
        let ours = pointers(value);
        let Some((parent, name)) = self.one_of(&ours).rsplit_once('/') else {
            *value = self.odd_value();
            return;
        };
        let replacement = match self.below(4) {
            0 => None,
            1 => {
                let theirs = pointers(other);
                let at: &String = self.one_of(&theirs);
                other.pointer(at).cloned()
            }
            _ => Some(self.odd_value()),
        };
        let index: Option<usize> = name.parse().ok();
        match (value.pointer_mut(parent), index, replacement) {
            (Some(Value::Object(members)), _, None) => {
                members.remove(&unescaped(name));
            }
            (Some(Value::Object(members)), _, Some(new)) => {
                members.insert(unescaped(name), new);
            }
            (Some(Value::Array(elements)), Some(index), None) => drop(elements.remove(index)),
            (Some(Value::Array(elements)), Some(index), Some(new)) => elements[index] = new,
            _ => {}
        }
    }

    fn odd_value(&mut self) -> Value {
        match self.below(30) {
            0 => json!(true),
            1 => json!(i64::MAX),
            2 => json!(i64::MIN),
            3 => json!(u64::MAX),
            4 => json!(9_007_199_254_740_993_i64),
            5 => json!(1.5),
            6 => json!(1e300),
            7 => json!("\u{0}\u{7}\n"),
            8 => json!("é".repeat(200)),
            9 => json!("x".repeat(5000)),
            10 => json!([null, 1, {}, "pay_1"]),
            11 => (0..DEPTH).fold(json!([]), |inner, _| json!([inner])),
            12 => json!({}),
            13 => json!([]),
            14 => json!(""),
            15..18 => json!(self.one_of(&SPELLINGS).0),
            18..22 => json!(self.one_of(&["pay_1", "a b", " ", "49900", "INR"])),
            22..26 => json!(self.one_of(&[0, 1, -1, 49_900, 1_795_000_000])),
            _ => json!(null),
        }
    }
}

/// A value as text, with what stands for something else replaced.
fn spelled(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut bytes = Vec::with_capacity(text.len());
    // A name begins at each of these, too; it is left as it is.
    let mut rest = text.as_str();
    while let Some(at) = rest.find("\"@") {
        let (before, behind) = rest.split_at(at);
        bytes.extend(before.as_bytes());
        let stands = |(name, _): &&(&str, &[u8])| behind[1..].starts_with(&format!("{name}\""));
        let (length, spelling) = match SPELLINGS.iter().find(stands) {
            Some((name, spelling)) => (name.len() + 2, *spelling),
            None => (1, &b"\""[..]),
        };
        bytes.extend(spelling);
        rest = &behind[length..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// The pointers (RFC 6901) of everything in a value, itself included.
pub fn pointers(value: &Value) -> Vec<String> {
    fn collect(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    collect(member, &format!("{at}/{name}"), found);
                }
            }
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    collect(element, &format!("{at}/{index}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = vec![];
    collect(value, "", &mut found);
    found
}

fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}
