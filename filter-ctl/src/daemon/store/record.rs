//! A sandbox, as kept on disk.

use crate::daemon::origin::Origin;
use filter_dataplane::Place;
use filter_policy::{Document, Lines};
use serde::{Deserialize, Serialize};

/// A sandbox, as kept on disk. Holds the document's secrets: the file is for root alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::daemon) struct Record {
    /// What its author wrote.
    pub document: Document,
    /// Where it was written.
    pub lines: Option<Lines>,
    /// Its index in the arrays of maps.
    pub slot: u32,
    /// Which attachment of this daemon's life it is.
    pub incarnation: u32,
    /// Generation of its policy.
    pub generation: u32,
    /// Name of its device.
    pub device: String,
    /// Index of its device.
    pub ifindex: u32,
    /// Namespace of its device.
    pub netns_inode: u64,
    /// Whether it has ended.
    pub sealed: bool,
    /// Whether it is being taken off its device; only what is prepared can say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// Where it comes from, if it was asked for by the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When it was created, seconds since 1970.
    pub created: u64,
    /// When it was last changed, seconds since 1970.
    pub updated: u64,
}

impl Record {
    /// Where it is in the kernel.
    pub(in crate::daemon) fn place(&self) -> Place {
        Place { slot: self.slot, netns_inode: self.netns_inode, ifindex: self.ifindex }
    }
}

/// What the store has of one sandbox.
pub(in crate::daemon) struct Pending {
    /// What was confirmed last.
    pub current: Option<Record>,
    /// What was about to be made true when the daemon died.
    pub next: Option<Record>,
}
