//! Other rules than those of the settings, for asking what would have been.
//!
//! The file may be a whole settings file: what else it sets is checked and passed over.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{ConfigError, Referral, SignupTable, check_names, parse};
use crate::ledger::Credits;
use crate::ledger::lots::LotKind;
use crate::provider::Catalog;

/// What a file says otherwise. What it does not say stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OtherRules {
    /// `[signup]`, `bonus_credits`: what every new user gets.
    pub signup_bonus: Option<Credits>,
    /// `[[catalog]]`: what payments buy.
    pub catalog: Option<Catalog>,
    /// `[burn]`: the priority of all lots of a kind, 0 to 255, lower burns first. It takes the place of their own.
    pub burn: BTreeMap<LotKind, u8>,
}

#[derive(Deserialize)]
struct File {
    signup: Option<SignupTable>,
    catalog: Option<Catalog>,
    #[serde(default)]
    burn: BTreeMap<LotKind, u8>,
    /// Rewards that were given are given again as they were.
    #[serde(rename = "referral")]
    _referral: Option<Referral>,
    #[serde(flatten)]
    settings: BTreeMap<String, toml::Value>,
}

impl OtherRules {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] when it can not be read or says what no rule and no setting is called.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: File = parse(path, text)?;
        check_names(path, &file.settings)?;
        Ok(Self {
            signup_bonus: file.signup.and_then(|table| table.bonus_credits),
            catalog: file.catalog,
            burn: file.burn,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<OtherRules, String> {
        OtherRules::parse(Path::new("other.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_file_does_not_say_stays_as_it_was() {
        assert_eq!(parsed("").unwrap(), OtherRules::default());
        let rules = parsed("[signup]\nplan = \"pro\"\n[burn]\npaid = 0").unwrap();
        assert_eq!(rules.signup_bonus, None);
        assert_eq!(rules.burn, BTreeMap::from([(LotKind::Paid, 0)]));
        assert_eq!(
            parsed("catalog = []").unwrap().catalog,
            Some(Catalog::default())
        );
    }

    #[test]
    fn a_whole_settings_file_will_do_and_mistakes_are_named() {
        let whole = "clerk_webhook_secret = \"whsec_\"\n[signup]\nbonus_credits = 40\n[referral]\nreferred_credits = 5";
        assert_eq!(parsed(whole).unwrap().signup_bonus, Credits::new(40).ok());
        for (text, says) in [
            ("[[catalogue]]\nsku = \"x\"", "`catalogue` is not a setting"),
            ("[burn]\npaid = 256", "line 2"),
            ("[burn]\ngold = 1", "line"),
            ("[signup]\nbonus = 1", "line"),
            (
                "[[catalog]]\nsku = \"x\"\ncredits = 0\nprices = []",
                "credits must be at least 1",
            ),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
