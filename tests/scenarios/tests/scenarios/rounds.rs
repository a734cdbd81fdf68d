//! Calls at the same time, which the daemon carries out together: each has its own answer.

use anyhow::{Context, Result};
use filter_core::Reason::AddressDenied;
use filter_ctl::api::{Applied, Change, State};
use std::collections::BTreeSet;
use std::fs;
use std::thread;
use test_scenarios::{Stage, document, http};
use test_world::internet::{WEB, WEB_ELSEWHERE};

const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;

/// Applies all texts at the same time, each in a call of its own.
fn at_once(stage: &Stage, texts: &[String]) -> Vec<Result<Vec<Applied>>> {
    thread::scope(|scope| {
        let calls: Vec<_> = texts.iter().map(|text| scope.spawn(|| stage.daemon.apply(text))).collect();
        calls.into_iter().map(|call| call.join().expect("no panic in a call")).collect()
    })
}

fn allowing(address: impl std::fmt::Display) -> String {
    format!("{DENY}, allowOut: [\"{address}\"]")
}

#[test]
fn a_call_that_is_refused_keeps_no_other_from_its_own() -> Result<()> {
    let stage = Stage::new("rounds")?;
    let others: Vec<_> = ["b", "c", "d"].iter().map(|name| stage.world.sandbox(name)).collect::<Result<_>>()?;
    let all: Vec<_> = std::iter::once(&stage.a).chain(&others).collect();
    for (round, network) in [allowing(WEB), allowing(WEB_ELSEWHERE), DENY.to_owned()].iter().enumerate() {
        let mut texts: Vec<String> = all.iter().map(|sandbox| document(sandbox, network)).collect();
        // A device that is not there, and a document without sense, beside a sandbox whose call must come to nothing as a whole.
        texts.push(document(&stage.a, network).replace("veth-a", "veth-x").replace("id: a", "id: x"));
        texts.push(document(&others[0], r#"denyOut: ["nonsense"]"#));
        let mut answers = at_once(&stage, &texts);
        assert!(answers.pop().context("a call")?.is_err() && answers.pop().context("a call")?.is_err());
        for answer in answers {
            let applied = answer?.remove(0);
            assert_eq!(applied.generation as usize, round + 1, "{applied:?}");
            assert_eq!(applied.change, if round == 0 { Change::Created } else { Change::Updated });
        }
        for sandbox in &all {
            let id = sandbox.device.trim_start_matches("veth-");
            let status = stage.daemon.status(id)?;
            assert_eq!((status.generation as usize, status.state), (round + 1, State::Active));
            assert_eq!(status.document.network.allow_out.len(), usize::from(round < 2));
        }
    }
    Ok(())
}

#[test]
fn calls_about_the_same_sandbox_follow_one_another() -> Result<()> {
    let stage = Stage::new("sameround")?;
    let texts: Vec<String> =
        (1..=8).map(|host| document(&stage.a, &allowing(format_args!("203.0.113.{host}")))).collect();
    let answers: Vec<Applied> =
        at_once(&stage, &texts).into_iter().map(|answer| Ok(answer?.remove(0))).collect::<Result<_>>()?;
    let generations: BTreeSet<u32> = answers.iter().map(|applied| applied.generation).collect();
    assert_eq!(generations, (1..=8).collect());
    assert_eq!(answers.iter().filter(|applied| applied.change == Change::Created).count(), 1);
    assert_eq!(stage.daemon.status("a")?.generation, 8);
    Ok(())
}

#[test]
fn what_the_kernel_refuses_takes_the_rest_of_its_call_back() -> Result<()> {
    let stage = Stage::new("takenback")?;
    let (b, c) = (stage.world.sandbox("b")?, stage.world.sandbox("c")?);
    stage.apply(&c, DENY)?;
    let before = stage.daemon.status("c")?;
    // Where the link of the second new sandbox is to be pinned.
    let links = stage.daemon.pin_dir().join(format!("abi-{}/links", filter_core::abi::VERSION));
    let obstacle = links.join("3-from_sandbox");
    fs::create_dir(&obstacle)?;
    let all = [document(&stage.a, DENY), document(&b, DENY), document(&c, &allowing(WEB))].join("---\n");
    let refused = stage.daemon.refuses(&all)?;
    assert_eq!(refused.reply.code, 500, "{}", refused.text());
    let ids: Vec<String> = stage.daemon.list()?.into_iter().map(|status| status.id).collect();
    assert_eq!(ids, ["c"]);
    assert_eq!(stage.daemon.status("c")?.document, before.document);
    assert!(http(WEB).gets_through(&stage.a, true)? && http(WEB).gets_through(&b, true)?, "they are not filtered");
    fs::remove_dir(&obstacle)?;
    let changes: Vec<Change> = stage.daemon.apply(&all)?.into_iter().map(|one| one.change).collect();
    assert_eq!(changes, [Change::Created, Change::Created, Change::Updated]);
    stage.expect(&b, &[(AddressDenied, &[http(WEB)])])
}
