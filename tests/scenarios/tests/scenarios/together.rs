//! Many documents in one call: all of them or none.

use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByDefault};
use filter_ctl::api::Change;
use std::thread;
use test_scenarios::{Small, Stage, document, http, udp};
use test_world::internet::{WEB, WEB6};

const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;

#[test]
fn all_are_applied_in_one_call() -> Result<()> {
    let stage = Stage::new("together")?;
    let (a, b, c) = (&stage.a, stage.world.sandbox("b")?, stage.world.sandbox("c")?);
    let all = [document(a, DENY), document(&b, ""), document(&c, DENY)].join("---\n");
    let changes = |yaml: &str| -> Result<Vec<(String, Change)>> {
        Ok(stage.daemon.apply(yaml)?.into_iter().map(|one| (one.id, one.change)).collect())
    };
    let each = |change| ["a", "b", "c"].map(|id| (id.to_owned(), change));
    assert_eq!(changes(&all)?, each(Change::Created));
    assert_eq!(changes(&all)?, each(Change::Unchanged));
    assert_eq!(stage.daemon.links()?.len(), 6, "one each way");
    stage.expect(a, &[(AddressDenied, &[http(WEB), udp(WEB6)])])?;
    stage.expect(&b, &[(AllowedByDefault, &[http(WEB), udp(WEB6)])])?;
    stage.expect(&c, &[(AddressDenied, &[http(WEB), udp(WEB6)])])
}

#[test]
fn a_bad_document_leaves_the_others_unapplied() -> Result<()> {
    let stage = Stage::new("badone")?;
    let (a, daemon) = (&stage.a, &stage.daemon);
    let (b, c) = (stage.world.sandbox("b")?, stage.world.sandbox("c")?);
    stage.apply(&c, "")?;
    let before = daemon.traces()?;
    let bad = [
        (document(&b, r#"denyOut: ["example.test"]"#), "denyOut[0]"),
        (document(&b, DENY).replace("veth-b", "veth-c"), "already belongs to sandbox \"c\""),
        (document(&b, DENY).replace("veth-b", "veth-a"), "already belongs to sandbox \"a\""),
        (document(&b, DENY).replace("veth-b", "nowhere"), "interface nowhere does not exist"),
        (document(&b, DENY).replace(&b.v4.to_string(), &a.v4.to_string()), "overlaps 198.51.100.2 of sandbox \"a\""),
        (document(&b, DENY).replace("id: b\n", "id: a\n"), "\"a\""),
    ];
    for (second, told) in bad {
        daemon.refuses(&format!("{}---\n{second}", document(a, DENY)))?.says(&[told]);
        assert_eq!(daemon.traces()?, before, "{second}");
        daemon.refuses(&format!("{second}---\n{}", document(a, DENY)))?;
        assert_eq!(daemon.traces()?, before, "{second}");
    }
    assert!(http(WEB).gets_through(a, true)?, "the first is not filtered");
    Ok(())
}

#[test]
fn a_full_disk_leaves_all_unapplied_until_there_is_room() -> Result<()> {
    let mut stage = Stage::new("late")?;
    stage.daemon.stop()?;
    let small = Small::over(stage.daemon.state_dir(), 1_500)?;
    stage.daemon.begin()?;
    let (a, daemon) = (&stage.a, &stage.daemon);
    let (b, c) = (stage.world.sandbox("b")?, stage.world.sandbox("c")?);
    stage.apply(&c, "")?;
    small.fill()?;
    let (status, links) = (daemon.status("c")?, daemon.links()?);
    // Long enough to need room.
    let long: String = (0..8_000).map(|nth| format!(", \"9.{}.{}.0/24\"", nth / 200, nth % 200)).collect();
    let long = format!(r#"denyOut: ["0.0.0.0/0"{long}]"#);
    let all = [document(a, DENY), document(&c, DENY), document(&b, &long)].join("---\n");
    for _ in 0..2 {
        let refused = daemon.refuses(&all)?;
        assert_eq!((refused.exit, refused.reply.code), (1, 500));
        refused.says(&["cannot write to the store", "No space left on device", "make room"]);
        assert_eq!(daemon.links()?, links);
        let ids: Vec<String> = daemon.list()?.into_iter().map(|status| status.id).collect();
        assert_eq!(ids, ["c"]);
        assert_eq!(daemon.status("c")?.document, status.document);
        assert!(http(WEB).gets_through(a, true)? && udp(WEB6).gets_through(&b, true)?, "they are not filtered");
    }
    stage.expect(&c, &[(AllowedByDefault, &[http(WEB), udp(WEB6)])])?;

    small.empty()?;
    let changes: Vec<Change> = daemon.apply(&all)?.into_iter().map(|one| one.change).collect();
    assert_eq!(changes, [Change::Created, Change::Updated, Change::Created]);
    for sandbox in [a, &b, &c] {
        stage.expect(sandbox, &[(AddressDenied, &[http(WEB), udp(WEB6)])])?;
    }
    stage.daemon.stop().map(drop)
}

#[test]
fn calls_at_the_same_time_are_each_whole() -> Result<()> {
    const ROUNDS: u32 = 10;
    let stage = Stage::new("parallel")?;
    let (a, b) = (&stage.a, stage.world.sandbox("b")?);
    stage.apply(a, "")?;
    stage.apply(&b, "")?;
    // Four at once: two on one sandbox, one on the other, one on both.
    let deny = |thread: u32, round: u32| format!("denyOut: [\"9.{thread}.{round}.0/24\"]");
    let applies = |thread: u32, round: u32| match thread {
        0 | 1 => document(a, &deny(thread, round)),
        2 => document(&b, &deny(thread, round)),
        _ => [document(a, &deny(thread, round)), document(&b, &deny(thread, round))].join("---\n"),
    };
    let daemon = &stage.daemon;
    thread::scope(|scope| {
        let each = |thread| move || (0..ROUNDS).try_for_each(|round| daemon.apply(&applies(thread, round)).map(drop));
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(each(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    assert_eq!((daemon.status("a")?.generation, daemon.status("b")?.generation), (1 + 3 * ROUNDS, 1 + 2 * ROUNDS));
    stage.expect(a, &[(AllowedByDefault, &[http(WEB), udp(WEB6)])])
}
