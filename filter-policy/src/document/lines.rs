//! Where each field of a document was written.
//!
//! Invariant: lines count from 1 in the whole file, over all its documents; what was not written has no line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The lines of one document, kept beside it so that `explain` can point at what decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lines {
    /// The file, as the caller named it.
    pub file: String,
    /// Where the document begins.
    pub start: u32,
    /// Line of each entry of `network.allowOut`.
    pub allow_out: Vec<u32>,
    /// Line of each entry of `network.denyOut`.
    pub deny_out: Vec<u32>,
    /// Line of everything else, by field: `id`, `attach.interface`, `addresses[0]`, `network.rules`.
    pub fields: BTreeMap<String, u32>,
}

impl Lines {
    /// Line of a field such as `network.denyOut[1]`; when it was not written itself, of what encloses it.
    #[must_use]
    pub fn line(&self, field: &str) -> Option<u32> {
        let mut field = field;
        loop {
            if let Some(line) = self.exact(field) {
                return Some(line);
            }
            match field.rfind(['.', '[']) {
                Some(end) => field = &field[..end],
                None => return (self.start > 0).then_some(self.start),
            }
        }
    }

    /// `file:line` of a field, as far as both are known.
    #[must_use]
    pub fn place(&self, field: &str) -> String {
        match self.line(field) {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }

    /// Remembers where `field` was written.
    pub(super) fn insert(&mut self, field: &str, line: u32) {
        let is_entry = |list: &str| field.strip_prefix(list).is_some_and(|rest| !rest.contains(['.', '[']));
        if is_entry("network.allowOut[") {
            self.allow_out.push(line);
        } else if is_entry("network.denyOut[") {
            self.deny_out.push(line);
        } else {
            self.fields.insert(field.to_owned(), line);
        }
    }

    fn exact(&self, field: &str) -> Option<u32> {
        for (list, lines) in [("network.allowOut[", &self.allow_out), ("network.denyOut[", &self.deny_out)] {
            if let Some(rest) = field.strip_prefix(list) {
                return lines.get(rest.strip_suffix(']')?.parse::<usize>().ok()?).copied();
            }
        }
        self.fields.get(field).copied()
    }
}
