//! Where events come from: each that a provider caused names the delivery that it came with, and the digest of what proved
//! that genuine; the stored delivery lists the event.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::evidence;
use crate::manifest::Scope;
use crate::record::{DeliveryRecord, EventRecord};
use crate::report::{Finding, Found, checks};

/// Who causes events without a delivery: calls with a key or a session, operators, the service itself.
const SOURCES_WITHOUT: [&str; 3] = ["api", "admin", "system"];
/// The events without which nothing that is stored of anybody may be erased.
const ERASURES: [&str; 3] = ["ErasureRequested", "UserErased", "PayerErased"];

/// What an event says of its delivery.
#[derive(Deserialize)]
struct Metadata {
    inbox: Option<String>,
    evidence: Option<String>,
}

/// What an event named, as digests that nobody can aim at.
#[derive(Debug)]
struct Named {
    delivery: u64,
    evidence: u64,
}

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// By place: the events whose delivery was not seen yet; nothing: it was.
    named: HashMap<(i16, i64), Option<Named>>,
    digest: RandomState,
    /// Somebody was erased, or is to be.
    erasures: bool,
    pub(super) seen: u64,
}

impl Deliveries {
    pub(super) fn event(&mut self, event: &EventRecord, found: &mut Found) {
        self.erasures |= ERASURES.contains(&event.event_type.as_str());
        let finding = |what: &str| {
            let finding =
                Finding::new(checks::DELIVERY_MISSING, what).at(event.shard, event.position);
            finding.of(&event.aggregate_type, &event.aggregate_id)
        };
        let Ok(Metadata { inbox, evidence }) = serde_json::from_str(&event.metadata) else {
            return found.add(finding("its metadata can not be read"));
        };
        match (&event.provider_event_id, inbox, evidence) {
            (Some(id), Some(key), Some(evidence)) => {
                let named = Named {
                    delivery: self.digest.hash_one((
                        event.source.as_str(),
                        key.as_str(),
                        id.as_str(),
                    )),
                    evidence: self.digest.hash_one(evidence.as_str()),
                };
                self.named
                    .insert((event.shard, event.position), Some(named));
            }
            (None, None, None) if SOURCES_WITHOUT.contains(&event.source.as_str()) => {}
            (None, None, None) => {
                found.add(finding("a provider caused it, and it names no delivery"));
            }
            _ => found.add(finding("it names a delivery only in part")),
        }
    }

    pub(super) fn delivery(
        &mut self,
        delivery: &DeliveryRecord,
        body: Option<&[u8]>,
        scope: &Scope,
        found: &mut Found,
    ) {
        self.seen += 1;
        let mut differs = |what: String, place: Option<(i16, i64)>| {
            let what = format!("delivery {} of {}: {what}", delivery.key, delivery.source);
            let finding = Finding::new(checks::DELIVERY_DIFFERS, what);
            found.add(match place {
                Some((shard, position)) => finding.at(shard, position),
                None => finding,
            });
        };
        if let Some(body) = body {
            // The body of a delivery that waits stays until it waits no more.
            let gone = delivery.erased && delivery.outcome != "parked";
            if gone && !body.is_empty() {
                differs(
                    "it is said to be erased, and its body is there".to_owned(),
                    None,
                );
            } else if !gone && Sha256::digest(body).as_slice() != delivery.body_sha256 {
                differs("its body is not the one that was digested".to_owned(), None);
            }
        }
        // Which ones an erasure concerns depends on what they held, so not on whose events they led to.
        if delivery.erased && !self.erasures && *scope == Scope::Whole {
            differs("its body was erased, and nobody ever was".to_owned(), None);
        }
        let recorded = delivery.outcome == "recorded";
        if !recorded
            && !matches!(
                delivery.outcome.as_str(),
                "duplicate" | "ignored" | "parked"
            )
        {
            differs(format!("there is no outcome {}", delivery.outcome), None);
        } else if recorded == delivery.led_to.is_empty() {
            let what = format!(
                "it is {}, and led to {} events",
                delivery.outcome,
                delivery.led_to.len()
            );
            differs(what, None);
        }
        let key = (
            delivery.source.as_str(),
            delivery.key.as_str(),
            delivery.provider_event_id.as_str(),
        );
        let key = self.digest.hash_one(key);
        let evidence = hex::encode(evidence::digest(&delivery.evidence()));
        let evidence = self.digest.hash_one(evidence.as_str());
        for place in &delivery.led_to {
            let what = match self.named.get_mut(place) {
                // Of one user only some of the events are there.
                None if *scope != Scope::Whole => continue,
                None => {
                    "it says that it led to this event, which names no delivery or is not there"
                }
                Some(named) => match named.take() {
                    None => "another delivery led to this event, too",
                    Some(named) if named.delivery != key => "this event names another delivery",
                    Some(named) if named.evidence != evidence => {
                        "this event was recorded with other evidence than is stored"
                    }
                    Some(_) => continue,
                },
            };
            differs(what.to_owned(), Some(*place));
        }
    }

    pub(super) fn finish(&mut self, found: &mut Found) {
        let mut alone: Vec<_> = self
            .named
            .iter()
            .filter(|(_, named)| named.is_some())
            .collect();
        alone.sort_unstable_by_key(|(place, _)| **place);
        for ((shard, position), _) in alone {
            let what = "no stored delivery says that it led to this event";
            found.add(Finding::new(checks::DELIVERY_MISSING, what).at(*shard, *position));
        }
    }
}
