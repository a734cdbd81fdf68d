//! What is kept beside the records: values of any kind, by name.

use super::Store;
use super::schema::{self, Definition};
use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A table of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Table {
    /// API keys.
    Keys,
    /// Sandboxes that a provider is being asked for.
    Making,
}

impl Table {
    fn definition(self) -> Definition {
        match self {
            Table::Keys => schema::KEYS,
            Table::Making => schema::MAKING,
        }
    }
}

impl Store {
    /// Keeps a value, in the place of the one with this id. It is on disk when this returns.
    ///
    /// # Errors
    /// When the disk does not take it: then the old value or the new one is there, whole.
    pub(in crate::daemon) fn put(&self, table: Table, id: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(value)?;
        let put = self.engine.durable(|transaction| {
            transaction.open_table(table.definition())?.insert(id, bytes.as_slice())?;
            Ok(())
        });
        put.with_context(|| format!("cannot keep {id} among {table:?}"))
    }

    /// Takes a value out. It is gone from the disk when this returns. Tells whether there was one.
    ///
    /// # Errors
    /// When the disk does not take that.
    pub(in crate::daemon) fn take(&self, table: Table, id: &str) -> anyhow::Result<bool> {
        let taken =
            self.engine.durable(|transaction| Ok(transaction.open_table(table.definition())?.remove(id)?.is_some()));
        taken.with_context(|| format!("cannot take {id} from {table:?}"))
    }

    /// All values, in the order of their ids.
    ///
    /// # Errors
    /// When the disk cannot be read, or a value is none of `T`.
    pub(in crate::daemon) fn all<T: DeserializeOwned>(&self, table: Table) -> anyhow::Result<Vec<(String, T)>> {
        let entries = self.engine.read(|transaction| schema::entries(&transaction.open_table(table.definition())?))?;
        entries
            .into_iter()
            .map(|(id, bytes)| {
                // What does not hold may be a secret: it is not told.
                let value = serde_json::from_slice(&bytes).map_err(|_| self.damaged(&format!("{id} of {table:?}")))?;
                Ok((id, value))
            })
            .collect()
    }
}
