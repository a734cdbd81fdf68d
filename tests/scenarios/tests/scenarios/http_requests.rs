//! Single HTTP requests: what is clear is sent on, written anew; what is not is refused, and nothing of it leaves the host.

use anyhow::{Result, ensure};
use std::net::IpAddr;
use std::time::Duration;
use test_scenarios::{NOWHERE, NOWHERE6, Stage, Talk};
use test_world::internet::{WEB, WEB6};
use test_world::{Reply, Scripted};

const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["a.test", "*.wild.test", "bücher.test"]"#;
const AMBIGUOUS: (&str, &str) = ("400", "ambiguous-request");
const UNJUDGED: (&str, &str) = ("400", "unjudged-protocol");
const NO_NAME: (&str, &str) = ("403", "no-name");
const DENIED: (&str, &str) = ("403", "name-denied");
const TOO_LONG: (&str, &str) = ("431", "hello-too-long");

/// A stage where every name is at a server that keeps what it gets, of both families.
fn stage(name: &str) -> Result<(Stage, Scripted, test_world::Dnsmasq)> {
    let stage = Stage::with_names(name)?;
    let resolver = stage.resolver(&[("test", IpAddr::from(WEB)), ("six.wild.test", WEB6.into())])?;
    let server = stage.world.internet().scripted(&[WEB.into(), WEB6.into()], |_| Reply::page("page"))?;
    stage.apply(&stage.a, NAMES)?;
    Ok((stage, server, resolver))
}

/// Says something on a connection of its own, and listens for words.
fn say(stage: &Stage, to: IpAddr, bytes: &[u8], words: &str) -> Result<Talk> {
    let mut talk = Talk::connect(&stage.a, to, 80)?;
    talk.say(bytes);
    ensure!(talk.hears(words), "{words:?} was not the answer to {}: {:?}", bytes.escape_ascii(), talk.heard);
    Ok(talk)
}

#[test]
fn what_is_not_clear_or_not_allowed_is_refused_and_nothing_leaves() -> Result<()> {
    let (stage, server, _resolver) = stage("refused")?;
    let watch = stage.watch()?;
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
    let line = |line: &str| format!("{line}\r\nHost: a.test\r\n\r\n");
    let cases = [
        // No Host, two, and such as are none.
        (get(""), NO_NAME, ""),
        (get("Host:\r\n"), NO_NAME, ""),
        (get("Host: a.test\r\nHost: a.test\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\r\nHost: b.test\r\n"), AMBIGUOUS, ""),
        (get("Host: 203.0.113.10\r\n"), NO_NAME, "203.0.113.10"),
        (get("Host: [2001:db8:10::10]\r\n"), NO_NAME, "[2001:db8:10::10]"),
        (get("Host: 0xcb00710a\r\n"), NO_NAME, "0xcb00710a"),
        (get("Host: 3405803786\r\n"), NO_NAME, "3405803786"),
        (get("Host: 0313.0.0161.012\r\n"), NO_NAME, "0313.0.0161.012"),
        // Other names.
        (get("Host: b.test\r\n"), DENIED, "b.test"),
        (get("Host: a.test.b.test\r\n"), DENIED, "a.test.b.test"),
        (get("Host: xa.test\r\n"), DENIED, "xa.test"),
        (get("Host: wild.test\r\n"), DENIED, "wild.test"),
        (get("Host: xn--bucher-kva.test\r\n"), DENIED, "xn--bucher-kva.test"),
        (get("Host: a.test..\r\n"), NO_NAME, "a.test.."),
        (get("Host: a .test\r\n"), AMBIGUOUS, "a .test"),
        (get(&format!("Host: {}.wild.test\r\n", "x".repeat(64))), NO_NAME, &format!("{}.wild.test", "x".repeat(64))),
        (get(&format!("Host: {}\r\n", long(254))), NO_NAME, &long(254)),
        (get(&format!("Host: {}\r\n", "x".repeat(60_000))), NO_NAME, &"x".repeat(256)),
        // A user, a list, a port that is none.
        (get("Host: a.test@b.test\r\n"), AMBIGUOUS, "a.test@b.test"),
        (get("Host: u:p@a.test\r\n"), AMBIGUOUS, "u:p@a.test"),
        (get("Host: a.test, b.test\r\n"), AMBIGUOUS, "a.test, b.test"),
        (get("Host: a.test:http\r\n"), AMBIGUOUS, "a.test:http"),
        // Lines.
        (get("Host: a.test\r\n folded\r\n"), AMBIGUOUS, ""),
        (get("Host: b.test\r\nX: y\r\n\tHost: a.test\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\nX: y\r\n"), AMBIGUOUS, ""),
        (get("Host : a.test\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\0.b.test\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\rX: y\r\n"), AMBIGUOUS, ""),
        ("GET / HTTP/1.1\nHost: a.test\n\n".to_owned(), AMBIGUOUS, ""),
        // Targets.
        (line("GET http://b.test/ HTTP/1.1"), AMBIGUOUS, "a.test"),
        (line("GET http://a.test@b.test/ HTTP/1.1"), AMBIGUOUS, "a.test"),
        (line("GET https://a.test/ HTTP/1.1"), AMBIGUOUS, "a.test"),
        (line("GET * HTTP/1.1"), AMBIGUOUS, "a.test"),
        (line("GET a.test HTTP/1.1"), AMBIGUOUS, "a.test"),
        (line("GET  / HTTP/1.1"), AMBIGUOUS, ""),
        (line("GET /"), AMBIGUOUS, ""),
        // Where it ends.
        (get("Host: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\r\nContent-Length: 5, 5\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\r\nTransfer-Encoding: gzip, chunked\r\n"), AMBIGUOUS, ""),
        (get("Host: a.test\r\nTransfer-Encoding: identity\r\n"), AMBIGUOUS, ""),
        // What leads past the judgement.
        (line("CONNECT a.test:443 HTTP/1.1"), UNJUDGED, ""),
        (line("GET / HTTP/3.0"), UNJUDGED, ""),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), UNJUDGED, ""),
        (get("Host: a.test\r\nConnection: upgrade\r\nUpgrade: TLS/1.2\r\n"), UNJUDGED, "a.test"),
        ("\x16\x03\x01\x02\0\x01".to_owned(), UNJUDGED, ""),
        // Too much.
        (get(&format!("Host: a.test\r\nX: {}\r\n", "x".repeat(64 << 10))), TOO_LONG, ""),
        (get(&format!("Host: a.test\r\n{}", "X: y\r\n".repeat(100))), TOO_LONG, ""),
    ];
    let mut wire = stage.world.host().sniff("up0")?;
    for (request, (status, reason), name) in &cases {
        for to in [NOWHERE, NOWHERE6] {
            let told_as = name.escape_default().to_string();
            let told = watch.count(reason, &told_as);
            let talk = say(&stage, to, request.as_bytes(), "\"sandbox\":\"a\"}")?;
            let begin = &request[..request.len().min(200)];
            ensure!(talk.heard.starts_with(&format!("HTTP/1.1 {status} ")), "{begin:?}: {}", talk.heard);
            ensure!(talk.heard.contains(&format!("\"reason\":\"{reason}\"")), "{begin:?}: {}", talk.heard);
            ensure!(talk.heard.contains("\"error\":\"egress_denied\""), "{begin:?}: {}", talk.heard);
            ensure!(watch.hears(reason, &told_as, told + 1), "{begin:?}: not told as {reason} of {name:?}");
        }
    }
    ensure!(wire.count(leaves_for_web)? == 0, "something left");
    ensure!(server.received().is_empty(), "{:?}", server.received());
    Ok(())
}

/// A name of this length that an entry covers.
fn long(length: usize) -> String {
    let (begin, end) = (format!("{0}.{0}.{0}.", "x".repeat(60)), ".wild.test");
    format!("{begin}{}{end}", "y".repeat(length - begin.len() - end.len()))
}

/// Whether a frame is to port 80 of anybody.
fn leaves_for_web(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(23) == Some(&6) && frame.get(36..38) == Some(&[0, 80]),
        Some([0x86, 0xdd]) => frame.get(20) == Some(&6) && frame.get(56..58) == Some(&[0, 80]),
        _ => false,
    }
}

#[test]
fn what_is_clear_is_written_anew() -> Result<()> {
    let (stage, server, _resolver) = stage("anew")?;
    let get_longest = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", long(253));
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("GET /x?y HTTP/1.1\r\nHost: A.Test.:80\r\n\r\n", "GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("GET / HTTP/1.1\r\nhost:\ta.test:8080 \r\n\r\n", "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: a.b.WILD.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.b.wild.test\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: six.wild.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: six.wild.test\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: BÜCHER.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: xn--bcher-kva.test\r\n\r\n"),
        ("GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("GET http://A.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("GET //b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET //b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        (&get_longest, &get_longest),
        (
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Mine, Host\r\nX-Mine: 1\r\nX-Odd: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Odd: 2\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\
             Connection: Upgrade, HTTP2-Settings\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: CHUNKED\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
    ];
    for (number, (said, wanted)) in cases.iter().enumerate() {
        for (to, at) in [(NOWHERE, 2 * number), (NOWHERE6, 2 * number + 1)] {
            say(&stage, to, said.as_bytes(), "\r\n\r\npage")?;
            let received = server.received();
            ensure!(
                received.len() == at + 1 && received[at] == *wanted,
                "{said:?} became {:?}",
                received[at..].first()
            );
        }
    }
    Ok(())
}

#[test]
fn a_body_that_goes_wrong_ends_both_connections() -> Result<()> {
    let (stage, server, _resolver) = stage("wrongbody")?;
    let watch = stage.watch()?;
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (number, body) in
        ["5\nhello\r\n0\r\n\r\n", "5\r\nhelloGET", "0x5\r\nhello\r\n", "-1\r\n", "0\r\nX: y\n\r\n"].iter().enumerate()
    {
        let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
        talk.say(head.as_bytes());
        talk.say(body.as_bytes());
        talk.say(b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
        ensure!(talk.ends(Duration::from_secs(8)), "{body:?}: {:?}", talk.heard);
        ensure!(!talk.heard.contains("page"), "{body:?}: {:?}", talk.heard);
        if number == 0 {
            ensure!(
                test_world::wait_until(test_scenarios::SOON, || watch.events().iter().any(is_ambiguous)),
                "not told"
            );
        }
    }
    let received = server.received();
    ensure!(received.iter().all(|all| !all.contains("smuggled") && !all.contains("\r\n0\r\n\r\n")), "{received:?}");
    Ok(())
}

fn is_ambiguous(event: &filter_ctl::api::DenyEvent) -> bool {
    event.reason_name == "ambiguous-request"
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() -> Result<()> {
    let (stage, _server, _resolver) = stage("slowhead")?;
    let watch = stage.watch()?;
    let mut silent = Talk::connect(&stage.a, NOWHERE, 80)?;
    let mut begun = Talk::connect(&stage.a, NOWHERE6, 80)?;
    begun.say(b"GET / HTTP/1.1\r\nHost: a.");
    // Later ones have their own time.
    let mut later = Talk::connect(&stage.a, NOWHERE, 80)?;
    later.say(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / ");
    for talk in [&mut silent, &mut begun, &mut later] {
        let told = talk.listen(Duration::from_secs(15), |heard| heard.contains("hello-too-late"));
        ensure!(told && talk.heard.contains("HTTP/1.1 408 "), "{:?}", talk.heard);
        ensure!(talk.ends(Duration::from_secs(5)), "it goes on");
    }
    ensure!(later.heard.contains("page"), "{:?}", later.heard);
    ensure!(watch.hears("hello-too-late", "", 3), "{:?}", watch.events());
    Ok(())
}
