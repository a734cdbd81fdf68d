//! The store on real files, on a disk that remembers, and on disks that refuse.

mod cuts;
mod disk;
mod errors;
mod moved;
mod refused;
mod workload;

use super::*;
use anyhow::Result;
use disk::Disk;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;
use tempfile::TempDir;

/// A record of generation `generation`, of about so many entries of 20 bytes.
fn record(id: &str, generation: u32, entries: usize) -> Record {
    let denied: Vec<String> = (0..entries).map(|n| format!("11.{}.{}.0/24", n / 250, n % 250)).collect();
    let record = json!({
        "document": {
            "version": 1, "id": id, "attach": { "interface": format!("veth-{id}") }, "addresses": ["198.51.100.2"],
            "network": { "denyOut": denied },
        },
        "lines": null, "slot": 3, "incarnation": 65_536, "generation": generation, "device": format!("veth-{id}"),
        "ifindex": 7, "netnsInode": 4_026_531_840_u64, "sealed": false, "created": 1, "updated": 2,
    });
    serde_json::from_value(record).expect("a record")
}

/// An id, and the generations of what is current and of what is prepared.
type Generations = (String, Option<u32>, Option<u32>);

fn generations(store: &Store) -> Result<Vec<Generations>> {
    let generation = |record: Option<Record>| record.map(|record| record.generation);
    Ok(store.load()?.into_iter().map(|(id, all)| (id, generation(all.current), generation(all.next))).collect())
}

fn of(id: &str, current: Option<u32>, next: Option<u32>) -> Generations {
    (id.to_owned(), current, next)
}

#[test]
fn what_is_prepared_becomes_current_or_is_dropped() -> Result<()> {
    let dir = TempDir::new()?;
    let store = Store::open(dir.path())?;
    assert_eq!(fs::metadata(dir.path().join(FILE))?.permissions().mode() & 0o777, 0o600);
    store.prepare("a", &record("a", 1, 3))?;
    assert_eq!(generations(&store)?, [of("a", None, Some(1))]);
    store.commit("a")?;
    store.prepare("a", &record("a", 2, 3))?;
    let outcomes = store.prepare_many(&[("b", &record("b", 1, 3)), ("c", &record("c", 1, 3))]);
    assert!(outcomes.iter().all(Result::is_ok) && outcomes.len() == 2);
    store.drop_prepared("a");
    let outcomes = store.commit_many(&["b", "nobody"]);
    assert!(outcomes[0].is_ok() && format!("{:#}", outcomes[1].as_ref().unwrap_err()).contains("nobody"));
    let expected = [of("a", Some(1), None), of("b", Some(1), None), of("c", None, Some(1))];
    assert_eq!(generations(&store)?, expected);
    store.rewrite("a", &record("a", 9, 0))?;
    assert!(store.rewrite("nobody", &record("nobody", 1, 0)).is_err());
    store.remove("b")?;
    drop(store);

    let store = Store::open(dir.path())?;
    assert_eq!(generations(&store)?, [of("a", Some(9), None), of("c", None, Some(1))]);
    store.commit("c")?;
    store.close()?;
    assert!(store.prepare("a", &record("a", 10, 0)).is_err(), "it is closed");
    assert_eq!(generations(&Store::open(dir.path())?)?, [of("a", Some(9), None), of("c", Some(1), None)]);
    Ok(())
}

#[test]
fn incarnations_values_and_the_secret_outlive_the_daemon() -> Result<()> {
    let dir = TempDir::new()?;
    let store = Store::open(dir.path())?;
    assert_eq!((store.reserve_incarnations()?, store.reserve_incarnations()?), (1 << 16, 2 << 16));
    store.put(Table::Keys, "k", &json!({ "hash": "of a key" }))?;
    store.put(Table::Making, "m", &1_u32)?;
    store.put(Table::Making, "m", &2_u32)?;
    store.put(Table::Making, "n", &3_u32)?;
    assert!(store.take(Table::Making, "n")? && !store.take(Table::Making, "n")?);
    let secret = store.host_secret();
    drop(store);
    let store = Store::open(dir.path())?;
    assert_eq!(store.reserve_incarnations()?, 3 << 16);
    assert_eq!(store.all::<u32>(Table::Making)?, [("m".to_owned(), 2)]);
    assert_eq!(store.all::<serde_json::Value>(Table::Keys)?, [("k".to_owned(), json!({ "hash": "of a key" }))]);
    let told = store.all::<u32>(Table::Keys).unwrap_err().to_string();
    assert!(told.contains("k of Keys") && told.contains("damaged") && !told.contains("of a key"), "{told}");
    assert_eq!(store.host_secret(), secret);
    assert_ne!(Store::open(TempDir::new()?.path())?.host_secret(), secret);
    Ok(())
}

#[test]
fn after_a_restart_of_the_machine_what_is_prepared_is_completed() -> Result<()> {
    let dir = TempDir::new()?;
    let store = Store::open_in(dir.path(), "one")?;
    for id in ["updated", "deleted", "detached", "dropped"] {
        store.prepare(id, &record(id, 1, 0))?;
        store.commit(id)?;
    }
    store.prepare("created", &record("created", 1, 0))?;
    store.prepare("updated", &record("updated", 2, 0))?;
    store.prepare("deleted", &Record { sealed: true, ..record("deleted", 1, 0) })?;
    store.prepare("detached", &Record { leaving: true, ..record("detached", 1, 0) })?;
    store.prepare("dropped", &record("dropped", 2, 0))?;
    store.drop_prepared("dropped");
    let before = generations(&store)?;
    assert_eq!(before[0], of("created", None, Some(1)));
    drop(store);
    // Another daemon on the same kernel asks that.
    let store = Store::open_in(dir.path(), "one")?;
    assert_eq!(generations(&store)?, before);
    drop(store);
    for _ in 0..2 {
        let store = Store::open_in(dir.path(), "two")?;
        let expected = [("created", 1), ("deleted", 1), ("dropped", 1), ("updated", 2)];
        assert_eq!(generations(&store)?, expected.map(|(id, generation)| of(id, Some(generation), None)));
        let deleted = store.load()?.into_iter().find(|(id, _)| id == "deleted");
        assert!(deleted.and_then(|(_, all)| all.current).is_some_and(|record| record.sealed));
    }
    Ok(())
}

#[test]
fn a_change_is_one_durable_write() -> Result<()> {
    let disk = Disk::new()?;
    let store = disk.store("one")?;
    let many: Vec<(String, Record)> = (0..64).map(|n| (format!("s{n}"), record(&format!("s{n}"), 1, 30))).collect();
    let many: Vec<(&str, &Record)> = many.iter().map(|(id, record)| (id.as_str(), record)).collect();
    let ids: Vec<&str> = many.iter().map(|(id, _)| *id).collect();
    // The file grows now, and need not any more afterwards.
    for _ in 0..4 {
        assert!(store.prepare_many(&many).iter().all(Result::is_ok));
        assert!(store.commit_many(&ids).iter().all(Result::is_ok));
    }
    let one = record("s7", 2, 30);
    type Change<'a> = &'a dyn Fn() -> Result<()>;
    let changes: [(&str, u64, Change<'_>); 8] = [
        ("an update", 1, &|| store.prepare("s7", &one).and_then(|()| store.commit("s7"))),
        ("64 updates", 1, &|| {
            store.prepare_many(&many).into_iter().collect::<Result<()>>()?;
            store.commit_many(&ids).into_iter().collect()
        }),
        ("a refused update", 2, &|| store.prepare("s7", &one).map(|()| store.drop_prepared("s7"))),
        ("a rewritten record", 1, &|| store.rewrite("s7", &one)),
        ("an end", 1, &|| store.remove("s8")),
        ("a value", 1, &|| store.put(Table::Keys, "k", &1)),
        ("a flush with nothing to do", 0, &|| store.flush()),
        ("an update and a flush", 2, &|| {
            store.prepare("s7", &one).and_then(|()| store.commit("s7")).and_then(|()| store.flush())
        }),
    ];
    for (what, expected, change) in changes {
        let before = disk.syncs();
        change()?;
        assert_eq!(disk.syncs() - before, expected, "{what}");
    }
    Ok(())
}

#[test]
fn a_thousand_records_open_soon() -> Result<()> {
    let dir = TempDir::new()?;
    let store = Store::open_in(dir.path(), "one")?;
    let many: Vec<(String, Record)> = (0..1_000).map(|n| (format!("s{n}"), record(&format!("s{n}"), 1, 100))).collect();
    for some in many.chunks(100) {
        let some: Vec<(&str, &Record)> = some.iter().map(|(id, record)| (id.as_str(), record)).collect();
        store.prepare_many(&some).into_iter().collect::<Result<()>>()?;
        store.commit_many(&some.iter().map(|(id, _)| *id).collect::<Vec<_>>()).into_iter().collect::<Result<()>>()?;
    }
    // As a kill leaves it: to be repaired.
    let copy = TempDir::new()?;
    fs::copy(dir.path().join(FILE), copy.path().join(FILE))?;
    for boot in ["one", "two"] {
        let started = Instant::now();
        let opened = Store::open_in(copy.path(), boot)?;
        let took = started.elapsed();
        assert_eq!(opened.load()?.len(), 1_000);
        println!("opened in {took:?}, {} KiB", fs::metadata(copy.path().join(FILE))?.len() / 1024);
        assert!(took < Duration::from_millis(900), "{took:?}");
    }
    Ok(())
}
