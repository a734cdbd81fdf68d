//! Stores that are not used, and disks that take nothing.

use super::*;
use nix::mount::{MsFlags, mount, umount};
use redb::Builder;

/// A file system of so many KiB, until dropped.
struct Small(TempDir);

impl Small {
    fn new(kib: u32) -> Result<Small> {
        let dir = TempDir::new()?;
        let size = format!("size={kib}k");
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))?;
        Ok(Small(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.path().join("full");
        let written = fs::write(&path, vec![1; 64 << 20]);
        assert!(written.is_err_and(|error| error.kind() == std::io::ErrorKind::StorageFull));
        Ok(path)
    }

    fn read_only(&self, yes: bool) -> Result<()> {
        let flags = if yes { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        Ok(mount(None::<&str>, self.path(), None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>)?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount(self.0.path()).expect("it is mounted and nobody uses it");
    }
}

/// What opening is refused with.
fn refusal(dir: &Path) -> Result<String> {
    Ok(format!("{:#}", Store::open_in(dir, "one").err().context("it was taken")?))
}

fn with_records(dir: &Path) -> Result<()> {
    let store = Store::open_in(dir, "one")?;
    for n in 0..40 {
        let id = format!("s{n}");
        store.prepare(&id, &record(&id, 1, 50))?;
        store.commit(&id)?;
    }
    store.close()
}

#[test]
fn a_newer_version_is_refused_and_stays_as_it_is() -> Result<()> {
    let dir = TempDir::new()?;
    with_records(dir.path())?;
    let path = dir.path().join(FILE);
    let set = |version: u32| -> Result<()> {
        let database = Builder::new().open(&path)?;
        let transaction = database.begin_write()?;
        schema::set_number(&mut transaction.open_table(META)?, schema::META_VERSION, version)?;
        Ok(transaction.commit()?)
    };
    set(schema::VERSION + 1)?;
    let before = fs::read(&path)?;
    let told = refusal(dir.path())?;
    for part in ["store.redb", "version 3", "up to 2", "hint: start the daemon that made it"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(fs::read(&path)? == before, "it was changed");
    set(schema::VERSION)?;
    assert_eq!(Store::open_in(dir.path(), "one")?.load()?.len(), 40);
    Ok(())
}

#[test]
fn a_damaged_file_is_refused_and_stays_as_it_is() -> Result<()> {
    let dir = TempDir::new()?;
    with_records(dir.path())?;
    let path = dir.path().join(FILE);
    let whole = fs::read(&path)?;
    let mut random = fastrand::Rng::with_seed(3);
    let mut cases: Vec<(String, Vec<u8>)> = vec![("nothing".to_owned(), Vec::new())];
    cases.push(("text".to_owned(), b"sandboxes: none\n".repeat(400)));
    for len in [1, 8, 9, 100, 320, 4_095, 4_096, 9_000, whole.len() / 2, whole.len() - 1] {
        cases.push((format!("the first {len} bytes"), whole[..len].to_vec()));
    }
    for (start, len) in [(0, 64), (64, 300), (4_096, 4_096), (8_192, whole.len() - 8_192)] {
        let mut bytes = whole.clone();
        random.fill(&mut bytes[start..start + len]);
        cases.push((format!("noise from {start} on"), bytes));
    }
    for (what, bytes) in cases {
        fs::write(&path, &bytes)?;
        let told = refusal(dir.path()).context(what.clone())?;
        assert!(told.contains("store.redb: it is damaged") && told.contains("hint: put a copy"), "{what}: {told}");
        assert!(fs::read(&path)? == bytes, "{what}: it was changed");
    }
    fs::write(&path, whole)?;
    assert_eq!(Store::open_in(dir.path(), "one")?.load()?.len(), 40);
    Ok(())
}

#[test]
fn one_wrong_byte_is_found_or_does_no_harm() -> Result<()> {
    let dir = TempDir::new()?;
    with_records(dir.path())?;
    let path = dir.path().join(FILE);
    let whole = fs::read(&path)?;
    let (mut random, mut found) = (fastrand::Rng::with_seed(4), 0);
    for _ in 0..400 {
        let mut bytes = whole.clone();
        let at = random.usize(..bytes.len());
        bytes[at] ^= 1 << random.u32(..8);
        fs::write(&path, &bytes)?;
        match Store::open_in(dir.path(), "one") {
            Ok(store) => assert_eq!(store.load()?.len(), 40, "byte {at}"),
            Err(error) => {
                assert!(format!("{error:#}").contains("damaged"), "byte {at}: {error:#}");
                assert!(fs::read(&path)? == bytes, "byte {at}: it was changed");
                found += 1;
            }
        }
    }
    println!("{found} of 400 wrong bytes were found");
    assert!(found > 50);
    Ok(())
}

#[test]
fn a_disk_that_is_full_from_the_beginning() -> Result<()> {
    let small = Small::new(400)?;
    let full = small.fill()?;
    let told = refusal(small.path())?;
    assert!(told.contains("store.redb") && told.contains("hint: make room"), "{told}");
    assert_eq!(fs::read_dir(small.path())?.count(), 1, "something half made was left");
    fs::remove_file(full)?;
    Store::open_in(small.path(), "one").map(drop)
}

#[test]
fn a_directory_that_can_only_be_read() -> Result<()> {
    for with_store in [false, true] {
        let small = Small::new(2_000)?;
        if with_store {
            with_records(small.path())?;
        }
        small.read_only(true)?;
        let told = refusal(small.path())?;
        assert!(told.contains("store.redb") && told.contains("hint: mount its file system"), "{told}");
        small.read_only(false)?;
        assert_eq!(Store::open_in(small.path(), "one")?.load()?.len(), if with_store { 40 } else { 0 });
    }
    Ok(())
}

#[test]
fn a_disk_that_fills_up_refuses_updates_until_there_is_room() -> Result<()> {
    let small = Small::new(1_500)?;
    let store = Store::open_in(small.path(), "one")?;
    store.prepare("a", &record("a", 1, 50))?;
    store.commit("a")?;
    let full = small.fill()?;
    for _ in 0..3 {
        let told = format!("{:#}", store.prepare("a", &record("a", 2, 20_000)).err().context("it was taken")?);
        assert!(told.contains("No space left") && told.contains("hint: make room"), "{told}");
    }
    let told = format!("{:#}", store.put(Table::Keys, "k", &vec![7; 200_000]).err().context("it was taken")?);
    assert!(told.contains("No space left"), "{told}");
    let told = format!("{:#}", store.probe().err().context("it was taken")?);
    assert!(told.contains("No space left") && told.contains("hint: make room"), "{told}");
    fs::remove_file(full)?;
    store.probe()?;
    // What was committed before the first error was not durable by itself.
    assert_eq!(generations(&store)?, [of("a", Some(1), None)]);
    store.prepare("a", &record("a", 2, 20_000))?;
    store.commit("a")?;
    drop(store);
    assert_eq!(generations(&Store::open_in(small.path(), "two")?)?, [of("a", Some(2), None)]);
    Ok(())
}
