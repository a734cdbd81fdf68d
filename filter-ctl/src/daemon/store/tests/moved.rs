//! The files of version 1 move into the store, wherever that is interrupted.

use super::*;

/// A state directory as the last daemon of version 1 left it, one that died in the middle of changes.
fn version_1() -> Result<TempDir> {
    let dir = TempDir::new()?;
    let sandboxes = dir.path().join("sandboxes");
    fs::create_dir(&sandboxes)?;
    for (name, generation) in [("a.json", 1), ("a.next", 2), ("b.json", 5), ("c.next", 1)] {
        fs::write(sandboxes.join(name), serde_json::to_vec(&record(&name[..1], generation, 40))?)?;
    }
    fs::write(sandboxes.join("b.next"), &serde_json::to_vec(&record("b", 6, 40))?[..200])?;
    fs::write(dir.path().join("incarnations"), "41\n")?;
    fs::write(dir.path().join("incarnations.next"), "")?;
    fs::write(dir.path().join("lock"), "1\n")?;
    Ok(dir)
}

/// What there is of the files, and that all is in the store.
fn has_moved(dir: &TempDir) -> Result<()> {
    let store = Store::open_in(dir.path(), "one")?;
    assert_eq!(generations(&store)?, [of("a", Some(1), Some(2)), of("b", Some(5), None), of("c", None, Some(1))]);
    assert_eq!(store.reserve_incarnations()?, 42 << 16);
    drop(store);
    assert_eq!(names(dir)?, ["lock", "store.redb"]);
    Ok(())
}

fn names(dir: &TempDir) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(dir.path())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[test]
fn files_of_version_1_move_into_the_store() -> Result<()> {
    has_moved(&version_1()?)
}

#[test]
fn a_move_may_be_interrupted_anywhere() -> Result<()> {
    // While the new file is made.
    let dir = version_1()?;
    fs::write(dir.path().join("store.redb.new"), "half")?;
    has_moved(&dir)?;
    // After it has its name, with the old files as they were, and when each was removed in turn.
    let old = ["sandboxes/a.json", "sandboxes/a.next", "sandboxes/b.json", "sandboxes/b.next", "sandboxes/c.next"];
    for removed in 0..=old.len() + 1 {
        let dir = version_1()?;
        let contents = files::read(dir.path())?.context("there are files")?;
        file::create(&dir.path().join(FILE), &contents, "one")?;
        for name in old.iter().chain(&["incarnations"]).take(removed) {
            fs::remove_file(dir.path().join(name))?;
        }
        has_moved(&dir)?;
    }
    Ok(())
}

#[test]
fn a_damaged_file_of_version_1_is_refused_and_nothing_is_changed() -> Result<()> {
    let dir = version_1()?;
    for (name, text) in [("sandboxes/b.json", "{\"half\":"), ("incarnations", "many")] {
        let path = dir.path().join(name);
        let whole = fs::read(&path)?;
        fs::write(&path, text)?;
        let before = names(&dir)?;
        let told = format!("{:#}", Store::open_in(dir.path(), "one").err().context("it was taken")?);
        assert!(told.contains(name) && told.contains("is damaged"), "{told}");
        assert_eq!((names(&dir)?, fs::read_to_string(&path)?), (before, text.to_owned()));
        fs::write(&path, whole)?;
    }
    has_moved(&dir)
}

#[test]
fn records_of_an_older_daemon_that_ran_since_are_not_lost() -> Result<()> {
    let dir = version_1()?;
    has_moved(&dir)?;
    let late = dir.path().join("sandboxes/z.json");
    fs::create_dir(dir.path().join("sandboxes"))?;
    fs::write(&late, serde_json::to_vec(&record("z", 1, 0))?)?;
    let told = format!("{:#}", Store::open_in(dir.path(), "one").err().context("it was taken")?);
    assert!(told.contains("z.json") && told.contains("hint: move away"), "{told}");
    assert!(late.exists());
    Ok(())
}
