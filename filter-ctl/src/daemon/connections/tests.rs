use super::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn connection(id: &str) -> Connection {
    Connection {
        time_ms: 2_000,
        id: id.to_owned(),
        by: By::Sidecar,
        protocol: "tcp",
        name: Some("api.test".to_owned()),
        address: "203.0.113.1".parse().unwrap(),
        port: 443,
        sent_bytes: 1,
        received_bytes: 2,
        generation: 3,
        duration_ms: 4,
    }
}

fn wait(log: &Log, what: &str, wanted: u64) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let counts = log.counts();
        if counts.iter().any(|(name, count)| *name == what && *count >= wanted) {
            return;
        }
        assert!(Instant::now() < end, "{counts:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("connections.jsonl");
    (directory, path)
}

#[test]
fn a_connection_is_a_line() {
    let (_directory, path) = directory();
    let log = Log::start(Some(Journal::open(&path, 1 << 20).unwrap())).unwrap();
    log.tell(connection("a"));
    wait(&log, "written", 1);
    let expected = r#"{"timeMs":2000,"id":"a","by":"sidecar","protocol":"tcp","name":"api.test","address":"203.0.113.1","port":443,"#;
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("\"sentBytes\":1,\"receivedBytes\":2,\"generation\":3,\"durationMs\":4}\n"), "{text}");
}

#[test]
fn a_file_that_is_full_is_begun_anew() {
    let (directory, path) = directory();
    let log = Log::start(Some(Journal::open(&path, 1_000).unwrap())).unwrap();
    for at in 1..=50 {
        log.tell(connection(&at.to_string()));
        // One at a time: a batch is never cut.
        wait(&log, "written", at);
    }
    let older = directory.path().join("connections.jsonl.1");
    let (new, old) = (lines(&path), lines(&older));
    for file in [&path, &older] {
        assert!(fs::metadata(file).unwrap().len() <= 1_000);
    }
    let numbers: Vec<u64> = old.iter().chain(&new).map(|line| line["id"].as_str().unwrap().parse().unwrap()).collect();
    assert!(numbers.len() >= 4 && numbers.ends_with(&[49, 50]), "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn what_is_lost_is_counted_and_told() {
    let (_directory, path) = directory();
    // Every write fails.
    let log = Log::start(Some(Journal::open(Path::new("/dev/full"), u64::MAX).unwrap())).unwrap();
    log.tell(connection("a"));
    log.tell(connection("b"));
    wait(&log, "lost", 2);
    log.replace(Some(Journal::open(&path, 1 << 20).unwrap()));
    log.carried(Carried {
        id: "c".to_owned(),
        name: None,
        server: "[2001:db8::1]:80".parse().unwrap(),
        sent: 0,
        received: 0,
        generation: 1,
        began_ms: 1,
        lasted_ms: 1,
        lost: 5,
    });
    wait(&log, "written", 1);
    let lines = lines(&path);
    assert_eq!(lines[0]["lost"], 7);
    assert_eq!((&lines[1]["id"], &lines[1]["name"]), (&"c".into(), &serde_json::Value::Null));
}

#[test]
fn nothing_is_written_without_a_journal() {
    let (_directory, path) = directory();
    let log = Log::start(None).unwrap();
    log.tell(connection("a"));
    log.replace(Some(Journal::open(&path, 1 << 20).unwrap()));
    log.tell(connection("b"));
    wait(&log, "written", 1);
    assert_eq!(lines(&path).iter().map(|line| line["id"].clone()).collect::<Vec<_>>(), ["b"]);
}
