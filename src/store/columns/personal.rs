//! Personal data as columns: what comes, and what an event takes with it.

use tokio_postgres::types::ToSql;

use crate::store::append::Append;

#[derive(Default)]
pub(in crate::store) struct PersonalRows<'a> {
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    sequences: Vec<i64>,
    salts: Vec<Vec<u8>>,
    profiles: Vec<&'a str>,
}

impl<'a> PersonalRows<'a> {
    pub(in crate::store) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for row in &append.events {
            let Some(personal) = &row.personal else {
                continue;
            };
            columns.aggregate_types.push(row.stream.aggregate_type());
            columns.aggregate_ids.push(row.stream.aggregate_id());
            columns.sequences.push(row.sequence);
            columns.salts.push(personal.salt().0.to_vec());
            columns.profiles.push(personal.profile_json());
        }
        columns
    }

    pub(in crate::store) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.sequences; self.aggregate_types, self.aggregate_ids, self.sequences, self.salts, self.profiles]
    }
}

#[derive(Default)]
pub(in crate::store) struct Erased<'a> {
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    sequences: Vec<i64>,
}

impl<'a> Erased<'a> {
    pub(in crate::store) fn of(append: &'a Append) -> Self {
        let mut columns = Self::default();
        for (stream, sequence) in &append.erased {
            columns.aggregate_types.push(stream.aggregate_type());
            columns.aggregate_ids.push(stream.aggregate_id());
            columns.sequences.push(*sequence);
        }
        columns
    }

    pub(in crate::store) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params![self.sequences; self.aggregate_types, self.aggregate_ids, self.sequences]
    }
}
