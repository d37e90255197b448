//! Request bodies: bounded in size, in time and in how much of them is held at once, and read as JSON without guessing.

use std::future::{Ready, ready};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, Data, Payload};
use actix_web::{FromRequest, HttpRequest, dev};
use chrono::DateTime;
use credit_ledger_verify::json::Object;
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};
use crate::ledger::{Credits, InvalidValue};

/// The largest webhook taken: 1 MiB. Providers' own limits are far below.
pub const WEBHOOK_BYTES_MAX: usize = 1024 * 1024;
/// The largest body of any other request.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The largest body of a request of many items: 1 MiB.
pub const BULK_BYTES_MAX: usize = 1024 * 1024;
/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// So many bytes of each body are ordinary: most of what providers send is smaller. Whoever sends less than a body and
/// stands still takes no more of what those need.
const ORDINARY_BYTES: usize = 16 * 1024;
/// How many bytes of bodies requests hold at once until they are answered, of all connections: the ordinary ones, and
/// beside them, so that large bodies are in nobody's way, what is behind those. What waits for a commit is a copy, and
/// bounded in front of the lanes.
const HELD_BYTES: usize = 64 * 1024 * 1024;

/// How many bytes of bodies requests may still hold, in all workers.
pub struct Room {
    ordinary: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            ordinary: Arc::new(Semaphore::new(HELD_BYTES)),
            large: Arc::new(Semaphore::new(HELD_BYTES)),
        }
    }
}

/// A body that has not been read yet.
pub struct Incoming {
    payload: Payload,
    room: Data<Room>,
}

impl FromRequest for Incoming {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let room = request.app_data::<Data<Room>>().cloned();
        let room = room.ok_or_else(|| Code::Internal.because("bodies have no room").into());
        let payload = Payload::from_request(request, payload).into_inner();
        ready(room.and_then(|room| payload.map(|payload| Self { payload, room })))
    }
}

/// The bytes of a body, with the room that they take until they are dropped.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    ordinary: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// Adds what came. False: there is no room for it.
    fn add(&mut self, chunk: &[u8], room: &Room) -> bool {
        let ordinary = ORDINARY_BYTES
            .saturating_sub(self.bytes.len())
            .min(chunk.len());
        let taken = take(&room.ordinary, &mut self.ordinary, ordinary)
            && take(&room.large, &mut self.large, chunk.len() - ordinary);
        if taken {
            self.bytes.extend_from_slice(chunk);
        }
        taken
    }
}

/// Adds so many bytes to what is taken of a room.
fn take(room: &Arc<Semaphore>, taken: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> bool {
    if bytes == 0 {
        return true;
    }
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let Ok(more) = Arc::clone(room).try_acquire_many_owned(bytes) else {
        return false;
    };
    match taken {
        Some(taken) => taken.merge(more),
        None => *taken = Some(more),
    }
    true
}

/// The raw bytes of a body.
///
/// # Errors
/// `payload_too_large`, `request_timeout`, `unavailable` when too much of others is held, or `malformed` when the
/// connection breaks off.
pub async fn read(incoming: Incoming, bytes_max: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(ARRIVAL, collect(incoming, bytes_max)).await;
    read.unwrap_or_else(|_| {
        let seconds = ARRIVAL.as_secs();
        Err(Code::RequestTimeout.because(format!("the body must come within {seconds} s")))
    })
}

async fn collect(incoming: Incoming, bytes_max: usize) -> Result<Bytes, Problem> {
    let Incoming { mut payload, room } = incoming;
    let mut held = Held::default();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Code::Malformed.because("the body ended too early"))?;
        if held.bytes.len() + chunk.len() > bytes_max {
            let detail = format!("at most {bytes_max} bytes are taken");
            return Err(Code::PayloadTooLarge.because(detail));
        }
        if !held.add(&chunk, &room) {
            return Err(Code::Unavailable.because("too much is sent at once"));
        }
    }
    Ok(Bytes::from_owner(held))
}

/// A JSON object whose members are taken out one by one; what is left over at the end is a mistake of the caller.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The body as a JSON object in which no name comes twice: of two values nobody says which one is meant.
    ///
    /// # Errors
    /// `malformed` for anything else.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(Object(fields)) => Ok(Self(fields)),
            Err(error) if error.is_data() => Err(Code::Malformed
                .because("the body must be a JSON object in which no name comes twice")),
            Err(error) => Err(Code::Malformed.because(format!(
                "the body is not JSON (line {}, column {})",
                error.line(),
                error.column()
            ))),
        }
    }

    /// The body as a JSON object, or no members where there is no body.
    ///
    /// # Errors
    /// `malformed` for anything else.
    pub fn parse_optional(body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            Ok(Self(Map::new()))
        } else {
            Self::parse(body)
        }
    }

    /// The members of one item of a list.
    ///
    /// # Errors
    /// `invalid_request` for anything but an object.
    pub fn of_item(item: Value) -> Result<Self, Problem> {
        match item {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(invalid("items", "must hold objects")),
        }
    }

    /// Whether there is such a member.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn text(&mut self, name: &str) -> Result<String, Problem> {
        match self.0.remove(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
            Some(Value::String(_)) => Err(invalid(name, "must not be empty")),
            Some(_) => Err(invalid(name, "must be a text")),
            None => Err(invalid(name, "is missing")),
        }
    }

    /// A text that may be absent, or null.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn optional_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => {
                self.0.remove(name);
                Ok(None)
            }
            Some(_) => self.text(name).map(Some),
        }
    }

    /// A whole number that may be absent, or null.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn optional_integer(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_i64()
                .map(Some)
                .ok_or_else(|| invalid(name, "must be a whole number")),
        }
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    fn integer(&mut self, name: &str) -> Result<i64, Problem> {
        self.optional_integer(name)?
            .ok_or_else(|| invalid(name, "is missing"))
    }

    /// A number of credits that must be there, at least 1.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn amount(&mut self, name: &str) -> Result<Credits, Problem> {
        amount(name, self.integer(name)?)
    }

    /// A number of credits that may be absent, or null; at least 1.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn optional_amount(&mut self, name: &str) -> Result<Option<Credits>, Problem> {
        let number = self.optional_integer(name)?;
        number.map(|number| amount(name, number)).transpose()
    }

    /// A whole number in a range, or what counts where it is absent, or null.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn number_in(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
        default: i64,
    ) -> Result<i64, Problem> {
        match self.optional_integer(name)? {
            None => Ok(default),
            Some(number) if range.contains(&number) => Ok(number),
            Some(_) => {
                let (least, most) = range.into_inner();
                Err(invalid(name, &format!("must be {least} to {most}")))
            }
        }
    }

    /// `true` or `false`; absent or null: `false`.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(invalid(name, "must be true or false")),
        }
    }

    /// A text for the history that may be absent, or null: at most so many characters, none of them a control character.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn optional_note(
        &mut self,
        name: &str,
        chars_max: usize,
    ) -> Result<Option<String>, Problem> {
        let text = self.optional_text(name)?;
        match &text {
            Some(text) if text.chars().count() > chars_max => Err(invalid(
                name,
                &format!("must have at most {chars_max} characters"),
            )),
            Some(text) if text.chars().any(char::is_control) => {
                Err(invalid(name, "must not hold control characters"))
            }
            _ => Ok(text),
        }
    }

    /// As [`Fields::optional_note`], and it must be there.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn note(&mut self, name: &str, chars_max: usize) -> Result<String, Problem> {
        self.optional_note(name, chars_max)?
            .ok_or_else(|| invalid(name, "is missing"))
    }

    /// A time of RFC 3339 in whole seconds, seconds since 1970, that may be absent, or null.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn optional_second(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.optional_text(name)? else {
            return Ok(None);
        };
        DateTime::parse_from_rfc3339(&text)
            .ok()
            .filter(|time| time.timestamp_subsec_nanos() == 0)
            .map(|time| Some(time.timestamp()))
            .ok_or_else(|| invalid(name, "must be a time of RFC 3339 in whole seconds"))
    }

    /// A list that must be there.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, Problem> {
        match self.0.remove(name) {
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(invalid(name, "must be a list")),
            None => Err(invalid(name, "is missing")),
        }
    }

    /// Refuses members that nobody asked for.
    ///
    /// # Errors
    /// `invalid_request` naming the first.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(invalid(&shown(name), "is not a field of this request")),
        }
    }
}

fn amount(name: &str, number: i64) -> Result<Credits, Problem> {
    Credits::new(number)
        .ok()
        .filter(|credits| !credits.is_zero())
        .ok_or_else(|| invalid(name, &format!("must be 1 to {}", Credits::MAX)))
}

impl From<InvalidValue> for Problem {
    fn from(error: InvalidValue) -> Self {
        invalid(error.field, error.rule)
    }
}

/// A field is not as it must be.
pub fn invalid(field: &str, rule: &str) -> Problem {
    Code::InvalidRequest.because(format!("{field} {rule}"))
}

/// A name that the caller made up, short and without control characters.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_leave_room_for_ordinary_ones_and_give_theirs_back() {
        for size in [WEBHOOK_BYTES_MAX, REQUEST_BYTES_MAX - 1] {
            let room = Room::default();
            let mut large = Vec::new();
            let chunk = vec![0; size];
            loop {
                let mut held = Held::default();
                if !held.add(&chunk, &room) {
                    break;
                }
                large.push(held);
            }
            let bytes: usize = large.iter().map(|held| held.bytes.len()).sum();
            assert!(bytes > HELD_BYTES && bytes < 2 * HELD_BYTES, "{bytes}");
            let mut ordinary = Held::default();
            assert!(ordinary.add(&[0; 3000], &room) && ordinary.add(&[0; 3000], &room));
            assert_eq!(Bytes::from_owner(ordinary).len(), 6000);
            drop(large);
            assert_eq!(room.ordinary.available_permits(), HELD_BYTES);
            assert_eq!(room.large.available_permits(), HELD_BYTES);
        }
    }
}
