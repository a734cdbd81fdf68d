//! What a resolver says of a name, true or not, and where that leads.

use anyhow::{Result, ensure};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use test_scenarios::{NOWHERE, NOWHERE6, RESOLVER, SOON, Stage, Talk, http_other};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6};
use test_world::{Answer, Curl, Liar, Question, Record, wait_until};

const ANY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["*"]"#;

fn stage(name: &str, script: impl Fn(&Question) -> Option<Answer> + Send + Sync + 'static) -> Result<(Stage, Liar)> {
    let stage = Stage::with_names(name)?;
    let liar = stage.world.internet().liar(RESOLVER, script)?;
    stage.apply(&stage.a, ANY)?;
    Ok((stage, liar))
}

fn get(stage: &Stage, name: &str) -> Result<Curl> {
    let resolve = format!("{name}:80:{NOWHERE}");
    stage.a.curl_with(&["--max-time", "15", "--resolve", &resolve], &format!("http://{name}/"))
}

fn is(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

#[test]
fn no_answer_leads_to_a_protected_address() -> Result<()> {
    const TRAPS: [&str; 22] = [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.1.2.3",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:203.0.113.10",
        "::7f00:1",
        "fd00::1",
        "fe80::1",
        "ff02::1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ];
    let script = |question: &Question| {
        let number: usize = question.name.strip_prefix("trap").and_then(|rest| rest.split('.').next()?.parse().ok())?;
        Some(Answer::addresses(question, 0, &[is(TRAPS[number])]))
    };
    let (stage, _liar) = stage("traps", script)?;
    let watch = stage.watch()?;
    let mut wire = stage.world.host().sniff("up0")?;
    for (number, trap) in TRAPS.iter().enumerate() {
        let name = format!("trap{number}.test");
        let got = get(&stage, &name)?;
        ensure!(got.status == 403 && got.body.contains("\"protected-name\""), "{trap}: {} {}", got.status, got.body);
        ensure!(watch.hears("protected-name", &name, 1), "{trap}: not told");
        ensure!(wire.count_to(is(trap))? == 0, "{trap}: something left");
    }
    Ok(())
}

#[test]
fn a_name_that_moves_into_a_protected_range_is_not_followed() -> Result<()> {
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = looks.clone();
    let (stage, _liar) = stage("rebound", move |question| {
        let metadata = counted.load(Ordering::Relaxed) > 0;
        let address = if metadata { is("169.254.169.254") } else { WEB.into() };
        Some(Answer::addresses(question, 0, &[address]))
    })?;
    // On a connection that stays open, too.
    let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
    talk.say(b"GET / HTTP/1.1\r\nHost: moving.test\r\n\r\n");
    ensure!(talk.hears(&format!("{WEB}\n")), "{:?}", talk.heard);
    looks.store(1, Ordering::Relaxed);
    let refused = || get(&stage, "moving.test").is_ok_and(|got| got.body.contains("\"protected-name\""));
    ensure!(wait_until(SOON, refused), "it leads there");
    talk.heard.clear();
    talk.say(b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n");
    ensure!(talk.hears("\"protected-name\""), "{:?}", talk.heard);
    Ok(())
}

#[test]
fn of_good_and_bad_addresses_the_good_ones_are_dialled() -> Result<()> {
    let (stage, _liar) = stage("mixed", |question| {
        let addresses = match question.name.as_str() {
            "mixed.test" => vec![is("10.0.0.1"), is("fd00::1"), is("127.0.0.1"), is("::1"), WEB.into()],
            // Nobody is at the first ones.
            "dead.test" => vec![is("2001:db8:10::dead"), is("203.0.113.222"), WEB.into()],
            // As many as a message holds.
            "many.test" => (0..3_000_u32).map(|number| IpAddr::from((0xcb00_7200 + number).to_be_bytes())).collect(),
            _ => vec![WEB6.into(), WEB_NEIGHBOUR.into()],
        };
        let mut answer = Answer::addresses(question, 1, &addresses);
        answer.truncated = question.name == "many.test" && !question.tcp;
        if answer.truncated {
            answer.records.clear();
        }
        Some(answer)
    })?;
    for (name, body) in [("mixed.test", format!("{WEB}\n")), ("dead.test", format!("{WEB}\n"))] {
        let got = get(&stage, name)?;
        ensure!(got.is_ok() && got.body == body, "{name}: {:?} {}", got.failure, got.body);
    }
    let got = get(&stage, "both.test")?;
    ensure!(got.is_ok() && [format!("{WEB6}\n"), format!("{WEB_NEIGHBOUR}\n")].contains(&got.body), "{}", got.body);
    let begun = Instant::now();
    let got = get(&stage, "many.test")?;
    ensure!(got.status == 502 && begun.elapsed() < Duration::from_secs(13), "{} {:?}", got.status, begun.elapsed());
    Ok(())
}

#[test]
fn answers_that_are_odd_but_true_are_followed() -> Result<()> {
    let (stage, liar) = stage("odd", |question| {
        let alias = |from: &str, to: &str| (from.to_owned(), 5, Record::Alias(to.to_owned()));
        let web = |name: &str| (name.to_owned(), 5, Record::Address(WEB.into()));
        let records = match question.name.as_str() {
            "chain.test" => vec![alias("chain.test", "one.org"), alias("one.org", "two.org"), web("two.org")],
            "truncated.test" if !question.tcp => vec![],
            "loop.test" => vec![alias("loop.test", "loop.org"), alias("loop.org", "loop.test")],
            "inward.test" => vec![
                alias("inward.test", "inward.org"),
                ("inward.org".to_owned(), 5, Record::Address(is("169.254.169.254"))),
            ],
            // About somebody else.
            "stranger.test" => vec![web("somebody.org")],
            "error.test" => return Some(Answer { code: 2, ..Answer::default() }),
            "nowhere.test" => return Some(Answer { code: 3, ..Answer::default() }),
            "silent.test" => return None,
            name => vec![web(name)],
        };
        Some(Answer { truncated: question.name == "truncated.test" && !question.tcp, records, ..Answer::default() })
    })?;
    for (name, wanted) in [
        ("chain.test", "203.0.113.10\n"),
        ("truncated.test", "203.0.113.10\n"),
        ("inward.test", "\"protected-name\""),
        ("loop.test", "\"name-not-found\""),
        ("stranger.test", "\"name-not-found\""),
        ("error.test", "\"no-resolver\""),
        ("nowhere.test", "\"name-not-found\""),
        ("silent.test", "\"no-resolver\""),
    ] {
        let got = get(&stage, name)?;
        ensure!(got.body.contains(wanted), "{name}: {:?} {}", got.failure, got.body);
    }
    // Names are absolute, and those that nothing matches are not asked for.
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["only.test"]"#)?;
    ensure!(get(&stage, "secret-data.denied.test")?.body.contains("\"name-denied\""));
    ensure!(get(&stage, "only.test")?.is_ok());
    let allowed = |name: &str| name.ends_with(".test") || name.ends_with(".org");
    let asked = liar.asked();
    ensure!(asked.iter().all(|question| allowed(&question.name) && !question.name.contains("secret")), "{asked:?}");
    ensure!(asked.iter().any(|question| question.name == "truncated.test" && question.tcp), "{asked:?}");
    Ok(())
}

#[test]
fn a_resolver_that_is_down_is_said_to_be() -> Result<()> {
    let stage = Stage::with_names("noresolver")?;
    stage.apply(&stage.a, ANY)?;
    let begun = Instant::now();
    let got = get(&stage, "web.test")?;
    ensure!(got.status == 502 && got.body.contains("\"egress_failed\""), "{} {}", got.status, got.body);
    ensure!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let _liar =
        stage.world.internet().liar(RESOLVER, |question| Some(Answer::addresses(question, 0, &[WEB.into()])))?;
    ensure!(wait_until(SOON, || get(&stage, "web.test").is_ok_and(|got| got.is_ok())), "it stays down");
    Ok(())
}

#[test]
fn an_answer_that_has_expired_ends_no_connection() -> Result<()> {
    let (stage, liar) = stage("expired", |question| Some(Answer::addresses(question, 0, &[WEB.into()])))?;
    let mut talk = Talk::connect(&stage.a, NOWHERE6, 80)?;
    for times in 1..=3 {
        talk.say(b"GET / HTTP/1.1\r\nHost: brief.test\r\n\r\n");
        ensure!(talk.hears_times(&format!("{WEB}\n"), times), "{:?}", talk.heard);
        // Others ask meanwhile.
        ensure!(get(&stage, "brief.test")?.is_ok());
    }
    ensure!(!liar.asked().is_empty());
    Ok(())
}

#[test]
fn what_the_sandbox_believes_of_names_does_not_matter() -> Result<()> {
    let (stage, _liar) = stage("believed", |question| {
        // Two names at one address, and one elsewhere.
        let address = if question.name == "third.test" { WEB_NEIGHBOUR } else { WEB };
        Some(Answer::addresses(question, 60, &[address.into()]))
    })?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["first.test", "third.test"]"#)?;
    // As its hosts file would have it: at an address of another name, of its own, or of nobody.
    for address in [WEB.to_string(), WEB_NEIGHBOUR.to_string(), NOWHERE.to_string(), format!("[{NOWHERE6}]")] {
        for (name, wanted) in [
            ("first.test", format!("{WEB}\n")),
            ("second.test", "\"name-denied\"".to_owned()),
            ("third.test", format!("{WEB_NEIGHBOUR}\n")),
        ] {
            let resolve = format!("{name}:80:{address}");
            let got = stage.a.curl_with(&["--resolve", &resolve], &format!("http://{name}/"))?;
            ensure!(got.body.contains(&wanted), "{name} at {address}: {:?} {}", got.failure, got.body);
        }
    }
    // Other ports know addresses only.
    let resolve = format!("first.test:8080:{WEB}");
    let got = stage.a.curl_with(&["--resolve", &resolve], "http://first.test:8080/")?;
    ensure!(got.failure == Some(test_world::Failure::Refused), "{:?}", got.failure);
    stage.expect(&stage.a, &[(filter_core::Reason::AddressDenied, &[http_other(WEB), http_other(WEB6)])])?;
    Ok(())
}
