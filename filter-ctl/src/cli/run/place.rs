//! Where the command runs.

use super::{about, failure};
use crate::cli::error::Failure;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// The sandbox of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Place {
    /// A cgroup, on the host's network.
    Cgroup { id: String, path: PathBuf },
    /// A network namespace of its own, which the daemon makes.
    Netns { id: String },
}

impl Place {
    /// A place that nobody has.
    pub(super) fn new(is_cgroup: bool) -> Result<Place, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        let id = format!("run{}x{now:x}", process::id());
        if !is_cgroup {
            return Ok(Place::Netns { id });
        }
        let below = filter_dataplane::own_cgroup().map_err(|error| {
            failure(format!("a cgroup is needed: {error}"), Some("leave out --cgroup, or mount a cgroup2 file system"))
        })?;
        Ok(Place::Cgroup { path: below.join(format!("sandbox-filter-{id}")), id })
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Place::Cgroup { id, .. } | Place::Netns { id } => id,
        }
    }
}

/// Makes a cgroup that is not there yet.
pub(super) fn make_cgroup(path: &Path) -> Result<(), Failure> {
    fs::create_dir(path).map_err(about(path))
}
