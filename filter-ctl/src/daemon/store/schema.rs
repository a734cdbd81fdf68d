//! What is in the file, and of which version.

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

/// The version of what is described here. Version 1 was a file a sandbox: see [`super::files`].
pub(super) const VERSION: u32 = 2;

/// A table of bytes by name.
pub(super) type Definition = TableDefinition<'static, &'static str, &'static [u8]>;

/// What concerns the whole store: the keys below.
pub(super) const META: Definition = TableDefinition::new("meta");
/// Records that are confirmed, by id, as JSON.
pub(super) const CURRENT: Definition = TableDefinition::new("current");
/// Records that are about to be made true, by id, as JSON.
pub(super) const PREPARED: Definition = TableDefinition::new("prepared");
/// API keys, as JSON.
pub(super) const KEYS: Definition = TableDefinition::new("keys");
/// Sandboxes that a provider is asked for, as JSON.
pub(super) const MAKING: Definition = TableDefinition::new("making");

/// Every table: all are there from the beginning.
pub(super) const TABLES: [Definition; 5] = [META, CURRENT, PREPARED, KEYS, MAKING];

/// In [`META`]: [`VERSION`], in decimal.
pub(super) const META_VERSION: &str = "version";
/// In [`META`]: the last block of incarnations that was handed out, in decimal.
pub(super) const META_INCARNATIONS: &str = "incarnations";
/// In [`META`]: which life of the kernel the prepared records are about.
pub(super) const META_BOOT: &str = "boot";
/// In [`META`]: 32 bytes that nobody else knows.
pub(super) const META_SECRET: &str = "secret";
/// In [`META`], while files of version 1 are to be removed: all that was in them is here.
pub(super) const META_MOVED: &str = "moved";
/// In [`META`]: how often it was tried whether the disk takes what is written.
pub(super) const META_PROBES: &str = "probes";

/// Makes what was prepared for a sandbox current, if anything was.
pub(super) fn complete(transaction: &WriteTransaction, id: &str, bytes: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(PREPARED)?.remove(id)?;
    transaction.open_table(CURRENT)?.insert(id, bytes)?;
    Ok(())
}

/// Forgets a sandbox.
pub(super) fn forget(transaction: &WriteTransaction, id: &str) -> Result<(), redb::Error> {
    transaction.open_table(CURRENT)?.remove(id)?;
    transaction.open_table(PREPARED)?.remove(id)?;
    Ok(())
}

/// Everything in a table, in the order of the names.
pub(super) fn entries(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let mut found = Vec::new();
    for entry in table.iter()? {
        let (name, value) = entry?;
        found.push((name.value().to_owned(), value.value().to_vec()));
    }
    Ok(found)
}

/// A value in decimal; 0 where there is none or it is no number.
pub(super) fn number(table: &impl ReadableTable<&'static str, &'static [u8]>, key: &str) -> Result<u32, redb::Error> {
    let value = table.get(key)?;
    let text = value.as_ref().and_then(|value| std::str::from_utf8(value.value()).ok());
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Writes a value in decimal.
pub(super) fn set_number(
    table: &mut Table<'_, &'static str, &'static [u8]>,
    key: &str,
    number: u32,
) -> Result<(), redb::Error> {
    table.insert(key, number.to_string().as_bytes())?;
    Ok(())
}
