//! The file: how it comes into being, and what is looked at before it is used.

use super::overlay::Overlay;
use super::schema::{self, META, META_BOOT, META_INCARNATIONS, META_MOVED, META_SECRET, META_VERSION, TABLES, VERSION};
use super::schema::{CURRENT, PREPARED};
use anyhow::{Context, anyhow, bail, ensure};
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableError};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What redb keeps in memory of the file, in bytes.
const CACHE: usize = 2 << 20;
/// The name of a store that is being made.
const NEW: &str = "redb.new";

/// What a new store holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Records that are confirmed, as JSON.
    pub current: Vec<(String, Vec<u8>)>,
    /// Records that are about to be made true, as JSON.
    pub prepared: Vec<(String, Vec<u8>)>,
    /// The last block of incarnations that was handed out.
    pub incarnations: u32,
    /// Whether this was in files of version 1, which are to be removed.
    pub moved: bool,
}

/// Makes a store. It has its name when all is in it and on disk; what is left of an earlier try is overwritten.
pub(super) fn create(path: &Path, contents: &Contents, boot: &str) -> anyhow::Result<()> {
    let new = path.with_extension(NEW);
    let made = make(&new, contents, boot).and_then(|()| Ok(fs::rename(&new, path)?)).and_then(|()| sync_parent(path));
    if made.is_err() {
        // What is half made is of no use to anybody, and may be what fills the disk.
        fs::remove_file(&new).ok();
    }
    made.with_context(|| format!("cannot make {}", path.display())).map_err(hinted)
}

fn make(path: &Path, contents: &Contents, boot: &str) -> anyhow::Result<()> {
    let mut secret = [0; 32];
    rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty()).context("no random bytes")?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let database = builder().create_with_backend(FileBackend::new(file)?)?;
    let transaction = database.begin_write()?;
    for table in TABLES {
        transaction.open_table(table)?;
    }
    {
        let mut meta = transaction.open_table(META)?;
        schema::set_number(&mut meta, META_VERSION, VERSION)?;
        schema::set_number(&mut meta, META_INCARNATIONS, contents.incarnations)?;
        meta.insert(META_BOOT, boot.as_bytes())?;
        meta.insert(META_SECRET, secret.as_slice())?;
        if contents.moved {
            meta.insert(META_MOVED, [].as_slice())?;
        }
        for (table, records) in [(CURRENT, &contents.current), (PREPARED, &contents.prepared)] {
            let mut table = transaction.open_table(table)?;
            for (id, record) in records {
                table.insert(id.as_str(), record.as_slice())?;
            }
        }
    }
    transaction.commit()?;
    database.close()?;
    Ok(())
}

/// Makes names in the file's directory durable.
pub(super) fn sync_parent(path: &Path) -> anyhow::Result<()> {
    path.parent().map_or(Ok(()), |parent| Ok(File::open(parent)?.sync_all()?))
}

/// Looks at a store, which stays as it is: whether it is whole, and of a version that is known here.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    let looked = File::open(path).map_err(anyhow::Error::from).and_then(|file| whole(FileBackend::new(file)?));
    looked.with_context(|| format!("cannot use {}", path.display())).map_err(hinted)
}

/// Opens a store that was looked at.
pub(super) fn open(path: &Path) -> anyhow::Result<Database> {
    let opened = builder().open(path).map_err(anyhow::Error::from);
    opened.with_context(|| format!("cannot open {}", path.display())).map_err(hinted)
}

/// Makes sure that a store is whole, as a crash may have left it, and of this version. What has to be written for that is not.
pub(super) fn whole(base: impl StorageBackend) -> anyhow::Result<()> {
    ensure!(base.len()? > 0, damaged("it is empty"));
    let overlay = Overlay::new(base)?;
    // A parser of what may be any bytes by now: should it panic, the store is damaged, and the daemon is not.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let database = builder().set_check_integrity_on_open(true).create_with_backend(overlay)?;
        let version = version(&database);
        database.close()?;
        version
    }));
    let version = looked.unwrap_or_else(|_| Err(damaged("its pages make no sense"))).map_err(told)?;
    match version {
        VERSION => Ok(()),
        0 => bail!(damaged("it has no version")),
        other => bail!(
            "it is of version {other}, and this daemon knows the versions up to {VERSION}\n  hint: start the daemon that made it; nothing was changed"
        ),
    }
}

fn version(database: &Database) -> anyhow::Result<u32> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(schema::number(&meta, META_VERSION)?),
        Err(TableError::Storage(error)) => Err(error.into()),
        Err(_) => Ok(0),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn damaged(how: &str) -> anyhow::Error {
    anyhow!(
        "it is damaged: {how}\n  hint: put a copy of it there, or move it away: then filter-ctl doctor lists the hooks that go on enforcing, and what is applied again starts anew; nothing was changed"
    )
}

/// An error of redb, in words that help.
fn told(error: anyhow::Error) -> anyhow::Error {
    let error = match error.downcast::<redb::DatabaseError>() {
        Ok(redb::DatabaseError::Storage(error)) => error.into(),
        Ok(error @ redb::DatabaseError::UpgradeRequired(_)) => return damaged(&error.to_string()),
        Ok(error) => error.into(),
        Err(error) => error,
    };
    match error.downcast_ref::<redb::StorageError>() {
        Some(redb::StorageError::Corrupted(how)) => damaged(how),
        Some(redb::StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            damaged(&error.to_string())
        }
        Some(redb::StorageError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            damaged("its end is missing")
        }
        _ => error,
    }
}

/// Says what to do about a disk that is full or takes nothing.
pub(in crate::daemon) fn hinted(error: anyhow::Error) -> anyhow::Error {
    let io = error.chain().find_map(|cause| match cause.downcast_ref::<redb::StorageError>() {
        Some(redb::StorageError::Io(error)) => Some(error.kind()),
        _ => match cause.downcast_ref::<redb::Error>() {
            Some(redb::Error::Io(error)) => Some(error.kind()),
            _ => match cause.downcast_ref::<redb::DatabaseError>() {
                Some(redb::DatabaseError::Storage(redb::StorageError::Io(error))) => Some(error.kind()),
                _ => cause.downcast_ref::<io::Error>().map(io::Error::kind),
            },
        },
    });
    let hint = match io {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => "make room on its disk",
        Some(io::ErrorKind::ReadOnlyFilesystem) => "mount its file system so that it can be written to",
        _ => return error,
    };
    anyhow!("{error:#}\n  hint: {hint}; what is enforced stays as it is")
}
