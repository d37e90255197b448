//! The methods that a path of the map answers, as the header `Allow` lists them.

use std::fmt;

/// Every method that a path may have, in the order in which they are listed.
const NAMES: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

/// A set of methods. Small enough to be a part of a problem's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods([bool; NAMES.len()]);

impl Methods {
    /// What a path answers that is only read.
    pub const READ: Self = Self([true, true, false, false, false]);

    /// The methods of these routes. Where there is `GET`, there is `HEAD`: the same without the body.
    pub fn of<'a>(methods: impl IntoIterator<Item = &'a str>) -> Self {
        let mut set = [false; NAMES.len()];
        for method in methods {
            for (is_in, name) in set.iter_mut().zip(NAMES) {
                *is_in |= name == method || (name == "HEAD" && method == "GET");
            }
        }
        Self(set)
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.into_iter().zip(self.0);
        let mut separator = "";
        for (name, _) in names.filter(|(_, is_in)| *is_in) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_listed_in_one_order() {
        for (methods, listed) in [
            (&["GET"][..], "GET, HEAD"),
            (&["POST"], "POST"),
            (&["DELETE", "GET"], "GET, HEAD, DELETE"),
            (&["PUT", "POST", "GET"], "GET, HEAD, POST, PUT"),
            (&[], ""),
        ] {
            assert_eq!(Methods::of(methods.iter().copied()).to_string(), listed);
        }
        assert_eq!(Methods::READ, Methods::of(["GET"]));
    }
}
