//! Requests that no client means.

use anyhow::{Result, ensure};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use test_api::{Open, PORT, Request};
use test_scenarios::http;
use test_world::Node;
use test_world::internet::WEB;

/// How long the daemon waits for the rest of what was begun, and a little.
const PATIENCE: Duration = Duration::from_secs(45);

fn connect(host: &Node) -> Result<TcpStream> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let stream = host.within(|| TcpStream::connect_timeout(&to, PATIENCE))??;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What comes until the other side ends it.
fn heard(mut stream: &TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset ends it as well.
    drop(stream.read_to_end(&mut heard));
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn bodies_that_say_nothing_or_two_things() -> Result<()> {
    let open = Open::with("apibodies", "")?;
    open.create_at(&open.stage.a, &json!({}))?;
    let put = Request::new("PUT", "/sandboxes/a/network").key(&open.operator);
    let long = |bytes: usize| format!("{{\"denyOut\":[\"203.0.113.9\"{}]}}", " ".repeat(bytes));
    let deep = format!("{{\"rules\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, status, words) in [
        (String::new(), 400, "no JSON"),
        ("{".to_owned(), 400, "no JSON"),
        ("[]".to_owned(), 400, "no JSON object"),
        ("null".to_owned(), 400, "no JSON object"),
        (r#"{"denyOut":["203.0.113.9"]"#.to_owned(), 400, "no JSON"),
        (r#"{"denyOut":[]} {"denyOut":[]}"#.to_owned(), 400, "no JSON"),
        (r#"{"denyOut":["203.0.113.9"],"denyOut":[]}"#.to_owned(), 400, "twice"),
        (r#"{"rules":{"a.test":[],"a.test":[]}}"#.to_owned(), 400, "twice"),
        ("{\"denyOut\":[\"\u{0}\"]}".to_owned(), 400, "no JSON"),
        (deep, 400, "levels deep"),
        (long(17 << 20), 413, "16 MiB"),
    ] {
        for chunked in [false, true] {
            let reply = open.send(&Request { chunked, ..put.clone().text(body.clone()) })?;
            let message = reply.message()?;
            let shown: String = body.chars().take(60).collect();
            ensure!(reply.status == status && message.contains(words), "{shown}: {} {message}", reply.status);
        }
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json5", "", "\u{fc}"] {
        let reply = open.send(&Request { content_type: Some(content_type), ..put.clone().text("{}") })?;
        ensure!(reply.status == 415, "{content_type}: {reply:?}");
    }
    for content_type in [None, Some("application/json; charset=utf-8"), Some("Application/JSON")] {
        let reply = open.send(&Request { content_type, ..put.clone().text("{}") })?;
        ensure!(reply.status == 204, "{content_type:?}: {reply:?}");
    }
    let reply = open.send(&put.clone().text(long(15 << 20)))?;
    ensure!(reply.status == 204, "{reply:?}");
    ensure!(open.stage.daemon.status("a")?.generation == 2, "something else took effect");
    Ok(())
}

#[test]
fn clients_that_go_away_in_the_middle_change_nothing() -> Result<()> {
    let open = Open::with("apicut", "")?;
    let a = &open.stage.a;
    open.create_at(a, &json!({}))?;
    let put = Request::new("PUT", "/sandboxes/a/network").key(&open.operator);
    let bytes = put.text(r#"{"denyOut":["0.0.0.0/0"]}"#).bytes();
    for end in (0..bytes.len()).step_by(7) {
        connect(open.stage.world.host())?.write_all(&bytes[..end])?;
    }
    ensure!(open.stage.daemon.status("a")?.generation == 1, "half a request took effect");
    ensure!(http(WEB).gets_through(a, true)?);
    Ok(())
}

#[test]
fn slow_clients_are_let_go() -> Result<()> {
    let open = Open::with("apislow", "")?;
    let host = open.stage.world.host();
    let (mut silent, mut head, mut body) = (connect(host)?, connect(host)?, connect(host)?);
    head.write_all(b"GET /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-A: ")?;
    let put = format!("PUT /sandboxes/a/network HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\n", open.operator);
    body.write_all(format!("{put}Content-Length: 100\r\n\r\n{{").as_bytes())?;
    let begun = Instant::now();
    let ends: Vec<(String, Duration)> = std::thread::scope(|scope| {
        let wait = |stream| scope.spawn(move || (heard(stream), begun.elapsed()));
        let waits = [wait(&silent), wait(&head), wait(&body)];
        waits.into_iter().map(|wait| wait.join().expect("no panic")).collect()
    });
    ensure!(ends.iter().all(|(_, took)| *took < PATIENCE), "somebody was waited for too long: {ends:?}");
    ensure!(ends[2].0.starts_with("HTTP/1.1 408 "), "{:?}", ends[2]);
    for stream in [&mut silent, &mut head, &mut body] {
        drop(stream.flush());
    }
    Ok(())
}

#[test]
fn garbage_before_and_after_a_request() -> Result<()> {
    let open = Open::with("apigarbage", "")?;
    let host = open.stage.world.host();
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut stream = connect(host)?;
        stream.write_all(bytes)?;
        let heard = heard(&stream);
        ensure!(heard.is_empty() || heard.starts_with("HTTP/1.1 4"), "{heard:?}");
    }
    let request = format!("GET /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\n\r\n", open.operator);
    let mut stream = connect(host)?;
    stream.write_all(format!("{request}{request}garbage\r\n\r\n").as_bytes())?;
    let heard = heard(&stream);
    ensure!(heard.matches("HTTP/1.1 200 ").count() == 2 && heard.matches("HTTP/1.1 400 ").count() == 1, "{heard:?}");
    let mut stream = connect(host)?;
    stream.write_all(format!("GET / HTTP/1.1\r\nX-A: {}\r\n\r\n", "a".repeat(1 << 20)).as_bytes()).ok();
    let heard = self::heard(&stream);
    ensure!(heard.is_empty() || heard.starts_with("HTTP/1.1 431 "), "{heard:?}");
    ensure!(open.send(&Request::new("GET", "/health"))?.status == 200);
    Ok(())
}
