//! One daemon a state directory.

use super::store::hinted;
use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Makes the directory, for this user alone, and locks it for as long as the result lives.
pub(super) fn state_dir(directory: &Path) -> anyhow::Result<Flock<File>> {
    lock(directory).map_err(hinted)
}

fn lock(directory: &Path) -> anyhow::Result<Flock<File>> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create the state directory {}", directory.display()))?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
        .with_context(|| format!("cannot make {} private", directory.display()))?;
    let path = directory.join("lock");
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
            noted.with_context(|| format!("cannot write to {}", path.display()))?;
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            bail!(
                "another daemon (process {}) uses {}\n  hint: stop it, or give this one its own --state-dir, --pin-dir and --socket",
                holder.trim(),
                directory.display()
            )
        }
    }
}
