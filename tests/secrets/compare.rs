//! Whatever is presented is compared with a secret in constant time: where secrets are read and compared is counted, so that a
//! new place is looked at before it is written down here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the text of a secret is taken out of its wrapping: to make a key or a digest of it, or to send it.
const EXPOSED: [(&str, usize); 10] = [
    // Digested at once.
    ("access/api_key.rs", 1),
    // Becomes a key of HMAC.
    ("access/supabase.rs", 1),
    ("provider/signature.rs", 1),
    // Parsed: URLs.
    ("app.rs", 1),
    ("postgres/database.rs", 1),
    // Sent; whether there is one is asked before.
    ("outbound/razorpay.rs", 2),
    ("outbound/stripe.rs", 2),
    ("outbound/witness.rs", 2),
    ("cli/demo/sealed.rs", 1),
    ("cli/demo/story.rs", 1),
];

/// Where keys and codes are compared, and by what.
const COMPARED: [(&str, &str); 2] = [
    ("access/api_key.rs", "self.0.ct_eq(&other.0)"),
    (
        "provider/signature.rs",
        "self.0.clone().verify_slice(candidate).is_ok()",
    ),
];

/// What can not be compared in any other way, since it has no `==`.
const WITHOUT_EQ: [(&str, &str); 4] = [
    ("access/api_key.rs", "struct KeyDigest("),
    ("provider/signature.rs", "struct Key {"),
    ("provider/signature.rs", "struct Code("),
    ("access/issued.rs", "struct NewKey {"),
];

/// The program's files without their tests, by their path below `src`.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|name| name == "tests");
            if path.is_dir() && !is_test {
                walk(&path, files);
            } else if path.extension().is_some_and(|name| name == "rs") && !is_test {
                files.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    walk(&src, &mut files);
    let named = files.iter().map(|path| {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        (name.to_owned(), code.to_owned())
    });
    named.collect()
}

#[test]
fn secrets_are_taken_out_where_it_is_known() {
    let mut found = BTreeMap::new();
    for (name, code) in sources() {
        for line in code.lines().filter(|line| line.contains("expose_secret()")) {
            assert!(
                !line.contains("==") && !line.contains("!="),
                "{name}: {line}"
            );
            *found.entry(name.clone()).or_insert(0) += 1;
        }
    }
    let known = EXPOSED.map(|(name, times)| (name.to_owned(), times));
    assert_eq!(found, BTreeMap::from(known));
}

#[test]
fn what_is_presented_is_compared_in_constant_time() {
    let sources = sources();
    for (name, comparison) in COMPARED {
        assert_eq!(sources[name].matches(comparison).count(), 1, "{name}");
    }
    for (name, declared) in WITHOUT_EQ {
        let (before, after) = sources[name].split_once(declared).unwrap();
        let attributes = before.rsplit("\n\n").next().unwrap();
        assert!(!attributes.contains("Eq"), "{declared}: {attributes}");
        let of_type = declared
            .trim_start_matches("struct ")
            .trim_end_matches([' ', '{', '(']);
        assert!(!after.contains(&format!("Eq for {of_type} ")), "{declared}");
    }
    // A code as bytes, which have `==`, is for whoever signs; and nobody else makes codes.
    for (name, code) in &sources {
        if name != "provider/signature.rs" {
            assert!(!code.contains("hmac::") && !code.contains("Hmac"), "{name}");
        }
        if name.starts_with("provider/") && name != "provider/sign.rs" {
            assert!(!code.contains("code.bytes()"), "{name}");
        }
    }
}
