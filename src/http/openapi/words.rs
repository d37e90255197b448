//! The closed sets of words that answers are made of.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::ledger::lots::LotKind;
use crate::ledger::{Credits, Place, Source, UserId};
use crate::provider::Providers;
use crate::reads::OUTCOMES;

/// What has become of a captured payment: the words of `projections/purchases/table.sql`.
pub(super) const PURCHASE_STATUSES: [&str; 6] = [
    "captured",
    "partially_refunded",
    "refunded",
    "disputed",
    "lost",
    "merged",
];

impl PartialSchema for Credits {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .maximum(Some(Self::MAX))
            .description(Some("A number of credits."));
        Schema::Object(object.build()).into()
    }
}

impl ToSchema for Credits {}

impl PartialSchema for Place {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .pattern(Some("^[0-9]+-[0-9]+$"))
            .description(Some("A place in the log: `<shard>-<position>`."));
        Schema::Object(object.build()).into()
    }
}

impl ToSchema for Place {}

impl PartialSchema for UserId {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .description(Some("The subject of the identity provider."));
        Schema::Object(object.build()).into()
    }
}

impl ToSchema for UserId {}

fn word<const N: usize>(words: [&str; N], description: &str) -> Schema {
    let object = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(words))
        .description(Some(description));
    Schema::Object(object.build())
}

fn constantly(value: bool) -> Schema {
    let object = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Boolean))
        .enum_values(Some([Value::Bool(value)]));
    Schema::Object(object.build())
}

/// Only `true`.
pub fn constantly_true() -> Schema {
    constantly(true)
}

/// Only `false`.
pub fn constantly_false() -> Schema {
    constantly(false)
}

/// Who caused a change.
pub fn source() -> Schema {
    word(Source::ALL.map(Source::as_str), "Who caused it.")
}

/// What credits are.
pub fn lot_kind() -> Schema {
    word(
        LotKind::ALL.map(LotKind::as_str),
        "`paid`: bought. `bonus`: given. `plan`: given with a plan. `promo`: given by a campaign.",
    )
}

/// A provider of webhooks.
pub fn provider() -> Schema {
    word(
        Providers::KNOWN.map(Source::as_str),
        "A provider of webhooks.",
    )
}

/// What has become of a payment.
pub fn purchase_status() -> Schema {
    word(PURCHASE_STATUSES, "What has become of the payment.")
}

/// What became of a delivery.
pub fn delivery_status() -> Schema {
    word(
        OUTCOMES,
        "`recorded`: it changed something. `duplicate`: what it tells was recorded before. `ignored`: it changes \
         nothing here. `parked`: it is kept, and tried again.",
    )
}

/// Why a payment gives no credits.
pub fn not_paid_status() -> Schema {
    word(
        [
            "pending",
            "failed",
            "expired",
            "no_payment_required",
            "refunded",
            "lost",
        ],
        "`pending`: not paid yet, or not known; ask again. All others are final.",
    )
}

/// What an act came to.
pub fn recorded_or_duplicate() -> Schema {
    word(["recorded", "duplicate"], "`duplicate`: it was so already.")
}
