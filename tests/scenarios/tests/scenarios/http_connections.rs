//! HTTP connections with several requests, long answers, tunnels and updates.

use anyhow::{Result, ensure};
use std::net::IpAddr;
use std::time::Duration;
use test_scenarios::{NOWHERE, NOWHERE6, SOON, Stage, Talk};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6};
use test_world::{Asked, Dnsmasq, Download, Live, Reply, Scripted, wait_until};

const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["a.test", "b.test", "six.test", "nginx.test"]"#;
/// Where nginx answers: the scripted server is not there.
const NGINX: IpAddr = IpAddr::V4(WEB_NEIGHBOUR);

fn stage(
    name: &str,
    script: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static,
) -> Result<(Stage, Scripted, Dnsmasq)> {
    let stage = Stage::with_names(name)?;
    let records = [("test", IpAddr::from(WEB)), ("six.test", WEB6.into()), ("nginx.test", NGINX)];
    let resolver = stage.resolver(&records)?;
    let server = stage.world.internet().scripted(&[WEB.into(), WEB6.into()], script)?;
    stage.apply(&stage.a, NAMES)?;
    Ok((stage, server, resolver))
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// The request's first line, as an answer.
fn echo(asked: &Asked<'_>) -> Reply {
    Reply::page(&format!("{} on {}", asked.text.lines().next().unwrap_or_default(), asked.connection))
}

#[test]
fn every_request_of_a_connection_is_judged() -> Result<()> {
    let (stage, server, _resolver) = stage("everyone", echo)?;
    let watch = stage.watch()?;
    for (number, to) in [NOWHERE, NOWHERE6].into_iter().enumerate() {
        let mut talk = Talk::connect(&stage.a, to, 80)?;
        let first = 3 * number;
        for (host, path, answer) in [
            ("a.test", "/1", format!("GET /1 HTTP/1.1 on {first}")),
            ("a.test", "/2", format!("GET /2 HTTP/1.1 on {first}")),
            ("b.test", "/3", format!("GET /3 HTTP/1.1 on {}", first + 1)),
            ("denied.test", "/4", "name-denied".to_owned()),
            ("six.test", "/5", format!("GET /5 HTTP/1.1 on {}", first + 2)),
            ("six.test", "/6", format!("GET /6 HTTP/1.1 on {}", first + 2)),
        ] {
            talk.heard.clear();
            talk.say(get(host, path).as_bytes());
            ensure!(talk.hears(&answer), "{host}{path}: {:?}", talk.heard);
        }
        ensure!(server.received().len() == first + 3);
    }
    ensure!(watch.hears("name-denied", "denied.test", 2));
    ensure!(server.received().iter().all(|all| !all.contains("denied") && !all.contains("/4")));
    Ok(())
}

#[test]
fn pipelined_requests_are_judged_one_by_one() -> Result<()> {
    let (stage, server, _resolver) = stage("pipelined", echo)?;
    let hosts = ["a.test", "denied.test", "b.test", "a.test", "203.0.113.10", "a.test"];
    let all: String = hosts.iter().zip(1..).map(|(host, number)| get(host, &format!("/{number}"))).collect();
    let upload = "POST /7 HTTP/1.1\r\nHost: b.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let last = "GET /8 HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\nGET /9 HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let all = all + upload + last;
    let whole: [&[u8]; 1] = [all.as_bytes()];
    let bytes: Vec<&[u8]> = all.as_bytes().chunks(1).collect();
    let expected =
        ["GET /1 ", "name-denied", "GET /3 ", "GET /4 ", "no-name", "GET /6 ", "POST /7 ", "ambiguous-request"];
    for (to, pieces) in [(NOWHERE, &whole[..]), (NOWHERE6, &bytes)] {
        let mut talk = Talk::connect(&stage.a, to, 80)?;
        for piece in pieces {
            talk.say(piece);
        }
        ensure!(talk.ends(SOON), "it goes on: {:?}", talk.heard);
        let places: Vec<_> = expected.iter().map(|answer| talk.heard.find(answer)).collect();
        ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{:?}", talk.heard);
        ensure!(talk.ended == Some(false), "the last answers are cut off");
    }
    let received = server.received().concat();
    ensure!(!received.contains("/2 ") && !received.contains("/5 ") && !received.contains("/9 "), "{received}");
    Ok(())
}

#[test]
fn a_server_that_closes_a_kept_connection_costs_no_request() -> Result<()> {
    let (stage, server, _resolver) = stage("reclosed", |asked| match (asked.text.contains("/early"), asked.request) {
        // It closes at once, though it has not said so.
        (true, 0) => Reply::Last("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage".to_owned()),
        // It closes as the next request comes.
        (_, 1) => Reply::Last(String::new()),
        _ => Reply::page("page"),
    })?;
    let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
    for times in 1..=6 {
        talk.say(get("a.test", if times % 2 == 0 { "/early" } else { "/late" }).as_bytes());
        ensure!(talk.hears_times("\r\n\r\npage", times), "{:?}", talk.heard);
    }
    // What must not be done twice is not: it may have been done.
    talk.say(get("b.test", "/").as_bytes());
    ensure!(talk.hears_times("\r\n\r\npage", 7), "{:?}", talk.heard);
    talk.say(b"POST /once HTTP/1.1\r\nHost: b.test\r\nContent-Length: 2\r\n\r\nhi");
    ensure!(talk.hears("\"unreachable\"") && talk.heard.contains("HTTP/1.1 502 "), "{:?}", talk.heard);
    ensure!(server.received().concat().matches("POST /once").count() == 1, "{:?}", server.received());
    Ok(())
}

#[test]
fn answers_arrive_as_they_are() -> Result<()> {
    let (stage, _server, _resolver) = stage("answers", |asked| {
        let text = match asked.text.split(' ').nth(1).unwrap_or_default() {
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n",
            "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "/early" => {
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
            }
            "/old" => return Reply::Last("HTTP/1.0 200 OK\r\n\r\nhello".to_owned()),
            "/hops" => {
                "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\nContent-Length: 5\r\n\r\nhello"
            }
            "/garbled" => return Reply::Last("220 mail ready\r\n\r\n".to_owned()),
            "/twice" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "/nul" => "HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 5\r\n\r\nhello",
            "/unasked" => "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "/silent" => return Reply::Last(String::new()),
            "/half" => return Reply::Last("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned()),
            _ => return Reply::Last("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf".to_owned()),
        };
        Reply::Send(text.to_owned())
    })?;
    let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
    for (method, path, end) in [
        ("HEAD", "/head", "1000\r\n\r\n"),
        ("GET", "/204", "204 No Content\r\n\r\n"),
        ("GET", "/304", "\r\n\r\n"),
        ("GET", "/chunked", "\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("GET", "/early", "\r\n\r\nhello"),
        ("GET", "/old", "5\r\nhello\r\n0\r\n\r\n"),
        ("GET", "/hops", "\r\n\r\nhello"),
        ("GET", "/garbled", "\"bad-answer\",\"sandbox\":\"a\"}"),
        ("GET", "/twice", "\"bad-answer\",\"sandbox\":\"a\"}"),
        ("GET", "/nul", "\"bad-answer\",\"sandbox\":\"a\"}"),
        ("GET", "/unasked", "\"bad-answer\",\"sandbox\":\"a\"}"),
        ("GET", "/silent", "\"unreachable\",\"sandbox\":\"a\"}"),
    ] {
        talk.heard.clear();
        talk.say(format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
        ensure!(talk.listen(SOON, |heard| heard.ends_with(end)), "{path}: {:?}", talk.heard);
        ensure!(!talk.heard.to_lowercase().contains("hop") && talk.ended.is_none(), "{path}: {:?}", talk.heard);
        let failed = end.ends_with('}');
        ensure!(talk.heard.contains("HTTP/1.1 502 ") == failed, "{path}: {:?}", talk.heard);
    }
    // Half an answer does not look like a whole one.
    for (path, version) in [("/half", "1.1"), ("/halfchunked", "1.1"), ("/halfchunked", "1.0")] {
        let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
        talk.say(format!("GET {path} HTTP/{version}\r\nHost: a.test\r\n\r\n").as_bytes());
        ensure!(talk.ends(SOON) && talk.ended == Some(true), "{path} {version}: {:?} {:?}", talk.ended, talk.heard);
    }
    Ok(())
}

#[test]
fn bodies_go_through_while_they_come() -> Result<()> {
    const BIG: usize = 8 << 20;
    let (stage, server, _resolver) = stage("bodies", |asked| match asked.text.len() {
        ..1000 => Reply::page(&"x".repeat(BIG)),
        long => Reply::page(&format!("{long} bytes")),
    })?;
    // Both ways at full length, with curl.
    let file = stage.a.dir().join("upload");
    std::fs::write(&file, vec![b'u'; BIG])?;
    let (file, resolve) = (format!("@{}", file.display()), format!("a.test:80:{NOWHERE}"));
    let down = stage.a.curl_with(&["--max-time", "60", "--resolve", &resolve], "http://a.test/")?;
    ensure!(down.is_ok() && down.body.len() == BIG, "{:?} {}", down.failure, down.body.len());
    for more in ["Expect: 100-continue", "Transfer-Encoding: chunked", "Expect:"] {
        let options = ["--max-time", "60", "--resolve", &resolve, "--header", more, "--data-binary", &file];
        let up = stage.a.curl_with(&options, "http://a.test/")?;
        ensure!(up.is_ok() && up.body.ends_with(" bytes"), "{more}: {:?} {}", up.failure, up.body);
        let sent = server.received().last().map_or(0, |all| all.matches('u').count());
        ensure!(sent >= BIG, "{more}: {sent} of {BIG} arrived");
    }
    // Piece by piece: what was said is there before more is said.
    let mut talk = Talk::connect(&stage.a, NOWHERE6, 80)?;
    talk.say(b"POST / HTTP/1.1\r\nHost: b.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let connection = server.received().len();
    for piece in ["first", "second", "third"] {
        talk.say(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes());
        let arrives = || server.received().get(connection).is_some_and(|all| all.contains(piece));
        ensure!(wait_until(SOON, arrives), "{piece} does not arrive: {:?}", server.received().get(connection));
    }
    Ok(())
}

#[test]
fn after_101_websocket_goes_on_and_nothing_else() -> Result<()> {
    let (stage, server, _resolver) = stage("websocket", |asked| {
        let wants = asked.text.to_lowercase().contains("upgrade: websocket");
        match (wants, asked.text.contains("/other")) {
            (true, false) => Reply::Send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\u{1}\u{5}early"
                    .to_owned(),
            ),
            (true, true) => Reply::Send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nsecret".to_owned(),
            ),
            _ => Reply::page("plain"),
        }
    })?;
    let ask = |host: &str, path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
    };
    for (number, to) in [NOWHERE, NOWHERE6].into_iter().enumerate() {
        let mut talk = Talk::connect(&stage.a, to, 80)?;
        talk.say(get("a.test", "/").as_bytes());
        ensure!(talk.hears("plain"));
        // A frame right behind the request is no request.
        talk.say((ask("a.test", "/") + "\u{2}\u{7}atonce!").as_bytes());
        ensure!(talk.hears("early"), "{:?}", talk.heard);
        ensure!(
            talk.heard.contains("Sec-WebSocket-Accept") && talk.heard.contains("101 Switching"),
            "{:?}",
            talk.heard
        );
        // What looks like a request is a part of the tunnel, and goes where the tunnel goes.
        talk.say(get("denied.test", "/inside").as_bytes());
        let arrives =
            || server.received()[number].ends_with(&("\u{7}atonce!".to_owned() + &get("denied.test", "/inside")));
        ensure!(wait_until(SOON, arrives), "{:?}", server.received());
        ensure!(server.received()[number].contains("Upgrade: websocket\r\n"), "{:?}", server.received());
    }
    // Refused, or answered with something else: nothing behind it is a request, and nothing tunnels.
    for (host, path, answer) in [("denied.test", "/", "name-denied"), ("a.test", "/other", "bad-answer")] {
        let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
        talk.say((ask(host, path) + &get("a.test", "/behind")).as_bytes());
        ensure!(talk.hears(answer), "{:?}", talk.heard);
        ensure!(talk.ends(SOON) && !talk.heard.contains("secret"), "{:?}", talk.heard);
    }
    ensure!(!server.received().concat().contains("/behind"), "{:?}", server.received());
    // An update that takes the name away ends the tunnel.
    let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
    talk.say(ask("a.test", "/").as_bytes());
    ensure!(talk.hears("early"));
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["b.test"]"#)?;
    ensure!(talk.ends(SOON) && talk.ended == Some(true), "{:?}", talk.ended);
    Ok(())
}

#[test]
fn a_document_that_says_the_same_ends_nothing() -> Result<()> {
    let (stage, server, _resolver) = stage("same", echo)?;
    let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
    for (path, lines) in [("/1", "# what was at other lines\n"), ("/2", ""), ("/3", "# and\n# again\n")] {
        talk.say(get("a.test", path).as_bytes());
        ensure!(talk.hears(&format!("{path} HTTP/1.1 on 0")), "{:?}", talk.heard);
        let applied = stage.apply_more(&stage.a, lines, NAMES)?;
        ensure!(applied.generation == 1, "{applied:?}");
    }
    ensure!(talk.ended.is_none() && server.received().len() == 1 && !stage.daemon.log().contains("lost"));
    Ok(())
}

fn download(stage: &Stage, name: &str) -> Result<Download> {
    let url = format!("http://{name}/big");
    let resolve = format!("{name}:80:{NOWHERE}");
    stage.a.download_with(&["--resolve", &resolve], &url)
}

#[test]
fn an_update_cuts_what_it_denies_and_nothing_else() -> Result<()> {
    let stage = Stage::with_names("updated")?;
    let _resolver = stage.resolver(&[("test", NGINX), ("other.test", WEB.into())])?;
    let both = r#"denyOut: ["0.0.0.0/0"], allowOut: ["kept.test", "cut.test", "other.test"]"#;
    stage.apply(&stage.a, both)?;
    let (mut kept, mut cut) = (download(&stage, "kept.test")?, download(&stage, "cut.test")?);
    // One that was used for another name before, and is used for one that stays now.
    let mut both_names = Talk::connect(&stage.a, NOWHERE, 80)?;
    both_names.say(get("cut.test", "/").as_bytes());
    ensure!(both_names.hears(&NGINX.to_string()));
    both_names.say(get("other.test", "/big").as_bytes());
    ensure!(both_names.hears("67108864") && kept.grows(SOON) && cut.grows(SOON));
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["kept.test", "*.kept.test", "other.test"]"#)?;
    let mut wire = stage.world.host().sniff("up0")?;
    let ended = cut.ended(SOON)?;
    ensure!(ended.is_some_and(|curl| curl.failure.is_some()), "it goes on");
    ensure!(kept.grows(SOON) && kept.ended(Duration::ZERO)?.is_none(), "it was cut");
    let heard = both_names.heard.len();
    ensure!(both_names.listen(SOON, |all| all.len() > heard + 100_000), "it was cut: {:?}", both_names.ended);
    ensure!(
        wait_until(SOON, || wire.count_to(NGINX).is_ok_and(|seen| seen > 0)),
        "the one that is kept is acknowledged"
    );
    Ok(())
}

#[test]
fn after_an_update_a_request_gets_a_new_connection() -> Result<()> {
    let (stage, server, _resolver) = stage("anewupdate", echo)?;
    let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
    for path in ["/1", "/2"] {
        talk.say(get("a.test", path).as_bytes());
        ensure!(talk.hears(&format!("GET {path} HTTP/1.1 on 0")), "{:?}", talk.heard);
    }
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["a.test"]"#)?;
    talk.say(get("a.test", "/3").as_bytes());
    ensure!(talk.hears("GET /3 HTTP/1.1 on 1"), "{:?}", talk.heard);
    // Allowed when the connection was opened, but not any more.
    talk.say(get("b.test", "/4").as_bytes());
    ensure!(talk.hears("name-denied"), "{:?}", talk.heard);
    ensure!(server.received().len() == 2 && talk.ended.is_none());
    Ok(())
}

#[test]
fn a_redirect_to_a_denied_name_ends_there() -> Result<()> {
    let (stage, _server, _resolver) = stage("redirected", |asked| match asked.text.contains("/ok") {
        true => Reply::Send("HTTP/1.1 302 Found\r\nLocation: http://b.test/\r\nContent-Length: 0\r\n\r\n".to_owned()),
        false if asked.text.contains("b.test") => Reply::page("arrived"),
        false => {
            Reply::Send("HTTP/1.1 302 Found\r\nLocation: http://denied.test/\r\nContent-Length: 0\r\n\r\n".to_owned())
        }
    })?;
    let watch = stage.watch()?;
    let names = ["a.test", "b.test", "denied.test"].map(|name| format!("{name}:80:{NOWHERE}"));
    let resolve = ["--location", "--resolve", &names[0], "--resolve", &names[1], "--resolve", &names[2]];
    let followed = stage.a.curl_with(&resolve, "http://a.test/ok")?;
    ensure!(followed.is_ok() && followed.body == "arrived", "{:?} {}", followed.failure, followed.body);
    let denied = stage.a.curl_with(&resolve, "http://a.test/")?;
    ensure!(denied.status == 403 && denied.body.contains("\"host\":\"denied.test\""), "{}", denied.body);
    ensure!(watch.hears("name-denied", "denied.test", 1));
    Ok(())
}
