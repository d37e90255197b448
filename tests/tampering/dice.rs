//! Chance that can be had again: `TAMPERING_SEED` repeats a run, and each run says which seed it has.

use serde_json::Value;

/// Random numbers (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// Dice of a test, from the seed of the environment or a new one.
    pub fn of(test: &str) -> Self {
        let seed = std::env::var("TAMPERING_SEED").map_or_else(
            |_| {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).unwrap();
                u64::from_le_bytes(bytes)
            },
            |seed| seed.parse().unwrap(),
        );
        println!("{test}: TAMPERING_SEED={seed}");
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to `end` - 1.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(end).unwrap()).unwrap()
    }

    /// So many of them, each once, in any order.
    pub fn some<T: Clone>(&mut self, all: &[T], number: usize) -> Vec<T> {
        let mut left = all.to_vec();
        let number = number.min(left.len());
        for place in 0..number {
            let chosen = place + self.below(left.len() - place);
            left.swap(place, chosen);
        }
        left.truncate(number);
        left
    }

    /// The value with one bit of one of its bytes changed. Texts stay texts and hexadecimal digits stay such, so that it
    /// is not the form that gives it away.
    pub fn flip(&mut self, value: &Value) -> Value {
        match value {
            Value::Null => Value::from("x"),
            Value::Bool(one) => Value::from(!one),
            Value::Number(number) => {
                // Numbers stay as long as they may be: at most 53 bits, and none below zero.
                let number = number.as_i64().unwrap();
                Value::from(number ^ (1 << self.below(15)))
            }
            Value::String(text) => Value::from(self.flip_text(text)),
            Value::Array(_) | Value::Object(_) => panic!("no single value: {value}"),
        }
    }

    fn flip_text(&mut self, text: &str) -> String {
        if text.is_empty() {
            return "x".to_owned();
        }
        if text.len() >= 32
            && let Ok(mut bytes) = hex::decode(text)
        {
            let place = self.below(bytes.len());
            bytes[place] ^= 1 << self.below(8);
            return hex::encode(bytes);
        }
        loop {
            let mut bytes = text.as_bytes().to_vec();
            let place = self.below(bytes.len());
            bytes[place] ^= 1 << self.below(7);
            match String::from_utf8(bytes) {
                // PostgreSQL's texts hold no NUL.
                Ok(flipped) if !flipped.contains('\0') => return flipped,
                _ => {}
            }
        }
    }
}

/// Places of the log in handfuls: few enough that every finding about them is listed, and far enough from each other that
/// none hides another.
pub fn handfuls(places: Vec<(i64, i64)>) -> Vec<Vec<(i64, i64)>> {
    let mut handfuls: Vec<Vec<(i64, i64)>> = vec![];
    for place in places {
        let is_far = |other: &(i64, i64)| other.0 != place.0 || other.1.abs_diff(place.1) > 4;
        let fits = |handful: &&mut Vec<(i64, i64)>| handful.len() < 8 && handful.iter().all(is_far);
        match handfuls.iter_mut().find(fits) {
            Some(handful) => handful.push(place),
            None => handfuls.push(vec![place]),
        }
    }
    handfuls
}
