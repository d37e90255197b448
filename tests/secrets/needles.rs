//! What nobody may see, sought in every spelling in which it could be written by mistake.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::support::url::percent_encoded;

/// Where something may not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    /// In no answer and no log.
    Everywhere,
    /// In no log and no answer that refuses: who may see it is told.
    FromStrangers,
}

/// Texts that nobody may see, each with what it is called here.
#[derive(Default)]
pub struct Needles(Vec<(String, Hidden, Vec<String>)>);

impl Needles {
    /// A key, a token, a password.
    pub fn secret(&mut self, what: &str, text: &str) {
        self.add(what, Hidden::Everywhere, text);
    }

    /// What is known of somebody, and what was sent.
    pub fn personal(&mut self, what: &str, text: &str) {
        self.add(what, Hidden::FromStrangers, text);
    }

    fn add(&mut self, what: &str, hidden: Hidden, text: &str) {
        assert!(text.len() >= 8, "{what} is found by chance");
        self.0.push((what.to_owned(), hidden, spellings(text)));
    }

    /// What of all this is in a log, or in the answer to somebody who is refused: the name, and what stands around it.
    pub fn in_log(&self, log: &str) -> Vec<String> {
        self.seen(log, |_| true)
    }

    /// What of the secrets is in the answer to somebody who may ask.
    pub fn in_answer(&self, answer: &str) -> Vec<String> {
        self.seen(answer, |hidden| hidden == Hidden::Everywhere)
    }

    fn seen(&self, text: &str, counts: impl Fn(Hidden) -> bool) -> Vec<String> {
        let mut seen = Vec::new();
        for (what, hidden, spellings) in &self.0 {
            let place = spellings.iter().find_map(|one| text.find(one.as_str()));
            if let Some(place) = place.filter(|_| counts(*hidden)) {
                let line = text[..place].rfind('\n').map_or(0, |end| end + 1);
                let line: String = text[line..].chars().take_while(|c| *c != '\n').collect();
                let around: String = line.chars().take(400).collect();
                seen.push(format!("{what} in: {around}"));
            }
        }
        seen
    }
}

/// As it is, escaped, in hexadecimal, as a list of bytes, in a URL, and inside of whatever is written in base64.
fn spellings(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let list = format!("{bytes:?}");
    let escaped = format!("{text:?}");
    let mut all = vec![
        text.to_owned(),
        escaped.trim_matches('"').to_owned(),
        hex::encode(bytes),
        list.trim_matches(['[', ']']).to_owned(),
        // RFC 3986, section 2.3.
        percent_encoded(bytes, b"-._~"),
    ];
    for before in 0..3 {
        let mut shifted = vec![b'.'; before];
        shifted.extend(bytes);
        shifted.truncate(shifted.len() / 3 * 3);
        // The first group holds what stood before, which is not known.
        let from = before.min(1) * 4;
        all.push(STANDARD_NO_PAD.encode(&shifted)[from..].to_owned());
        all.push(URL_SAFE_NO_PAD.encode(&shifted)[from..].to_owned());
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn every_spelling_is_found() {
    let secret = "pass+word/of=the tests";
    let mut needles = Needles::default();
    needles.secret("the password", secret);
    needles.personal("an address", "somebody@example.com");
    let in_base64 = |around: &str| STANDARD_NO_PAD.encode(format!("{around}{secret}{around}"));
    for text in [
        format!("a\nb {secret} c\nd"),
        format!("{:?}", format!("it is {secret}").as_bytes()),
        hex::encode(format!("it is {secret}")),
        "https://a.example/?b=pass%2Bword%2Fof%3Dthe%20tests".to_owned(),
        in_base64(""),
        in_base64("a"),
        in_base64("ab"),
        in_base64("abc"),
    ] {
        assert_eq!(needles.in_answer(&text).len(), 1, "{text}");
        assert_eq!(needles.in_log(&text).len(), 1, "{text}");
    }
    assert_eq!(needles.in_answer("to somebody@example.com").len(), 0);
    assert_eq!(needles.in_log("to somebody@example.com").len(), 1);
    assert_eq!(needles.in_log("pass word of the tests").len(), 0);
}
