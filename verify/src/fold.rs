//! What follows from the events of a stream, by plain arithmetic: what was given, what was taken, what is left in which lot.
//!
//! This knows no rule of the service, only what every ledger must obey; it shares no code with what made the events. After
//! something that can not be, it goes on from what the event says, so that one damage is one finding.

pub(crate) mod purchase;
pub(crate) mod user;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::report::checks;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// Who hears of what can not be: the check, and what is wrong.
pub(crate) type Say<'a> = dyn FnMut(&'static str, String) + 'a;

/// Tells that a rule does not hold.
pub(crate) fn rule(holds: bool, else_what: &str, say: &mut Say<'_>) {
    if !holds {
        say(checks::RULE_BROKEN, else_what.to_owned());
    }
}

/// The fields of an event, with the type that it says it is of.
pub(crate) trait Typed {
    /// That type.
    fn event_type(&self) -> &str;
}

/// Reads a payload.
pub(crate) fn read<'a, T: Deserialize<'a> + Typed>(
    payload: &'a str,
    event_type: &str,
) -> Result<T, String> {
    let fields: T = serde_json::from_str(payload).map_err(|error| said(&error))?;
    if fields.event_type() == event_type {
        Ok(fields)
    } else {
        Err("its payload says that it is of another type".to_owned())
    }
}

/// Where JSON can not be read. The error's own text may repeat what was read.
pub(crate) fn said(error: &serde_json::Error) -> String {
    format!(
        "JSON that can not be read at line {} column {}",
        error.line(),
        error.column()
    )
}

/// What differs between what is said and what the events make, by name.
pub(crate) fn differences(said: &Object, made: &Object) -> Option<String> {
    let mut wrong = Vec::new();
    for (name, made) in made {
        match said.get(name) {
            None => wrong.push(format!(
                "{name} is not there, the events make {}",
                short(made)
            )),
            Some(said) if said != made => wrong.push(format!(
                "{name} is {}, the events make {}",
                short(said),
                short(made)
            )),
            Some(_) => {}
        }
    }
    for (name, said) in said {
        if !made.contains_key(name) {
            wrong.push(format!(
                "{name} is {}, the events make nothing of that name",
                short(said)
            ));
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// A value, shortened.
fn short(value: &Value) -> String {
    const MOST: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// An amount is read in 64 bits and counted in 128: no sum of what is read can overflow.
pub(crate) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
    i64::deserialize(from).map(i128::from)
}

/// A number as JSON.
pub(crate) fn number(number: i128) -> Value {
    i64::try_from(number).map_or(Value::Null, Value::from)
}

/// Puts a field where it is not what an absent one means.
pub(crate) fn put(object: &mut Object, name: &str, value: impl Into<Value>) {
    let value = value.into();
    let nothing = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if !nothing {
        object.insert(name.to_owned(), value);
    }
}
