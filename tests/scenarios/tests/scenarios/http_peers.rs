//! Clients and servers that people use, over names.

use anyhow::{Result, anyhow, ensure};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use test_scenarios::{NOWHERE, NOWHERE6, SOON, Stage};
use test_world::internet::{WEB, WEB6};
use tungstenite::{Error, HandshakeError, Message};

const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["web.test", "six.test"]"#;

#[test]
fn curl_wget_and_python_reach_nginx_by_name() -> Result<()> {
    let stage = Stage::with_names("httppeers")?;
    let _resolver = stage.resolver(&[("web.test", WEB.into()), ("six.test", WEB6.into())])?;
    stage.apply(&stage.a, NAMES)?;
    for (name, answer) in [("web.test", WEB.to_string()), ("six.test", WEB6.to_string())] {
        for at in [NOWHERE.to_string(), format!("[{NOWHERE6}]")] {
            // Two requests on one connection.
            let (resolve, url) = (format!("{name}:80:{at}"), format!("http://{name}/"));
            for version in ["--http1.1", "--http1.0", "--http2"] {
                let got = stage.a.curl_with(&[version, "--resolve", &resolve, &url], &url)?;
                ensure!(
                    got.is_ok() && got.body == format!("{answer}\n").repeat(2),
                    "{version} {name} at {at}: {got:?}"
                );
            }
            let header = format!("Host: {name}");
            let url = format!("http://{at}/");
            let got = stage.a.run(&["wget", "-q", "-O", "-", "--tries=1", "--timeout=8", "--header", &header, &url])?;
            ensure!(got.stdout == format!("{answer}\n"), "wget {name} at {at}: {got:?}");
        }
        // Over one connection: allowed, denied, allowed, with bodies and without.
        let script = format!(
            "import http.client\n\
             connection = http.client.HTTPConnection('{NOWHERE}', 80, timeout=8)\n\
             connection.connect()\n\
             first = connection.sock\n\
             for host, body in [('{name}', None), ('denied.test', None), ('{name}', None), ('{name}', b'x' * 100000)]:\n\
             \x20   connection.request('POST' if body else 'GET', '/', body, {{'Host': host}})\n\
             \x20   response = connection.getresponse()\n\
             \x20   response.read()\n\
             \x20   print(response.status, connection.sock is first)\n"
        );
        let got = stage.a.run(&["python3", "-c", &script])?;
        ensure!(got.stdout == "200 True\n403 True\n200 True\n200 True\n", "python {name}: {got:?}");
    }
    let log = stage.nginx.log()?;
    ensure!(log.lines().all(|line| !line.contains("denied")), "{log}");
    ensure!(
        log.lines().filter(|line| line.contains("\"six.test\"") && line.contains("HTTP/1.1\" 200")).count() == 17,
        "{log}"
    );
    Ok(())
}

/// Says back what a client says, until that closes.
fn say_back(listener: &TcpListener) -> Result<()> {
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(SOON))?;
    let mut socket = tungstenite::accept(stream)?;
    loop {
        match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message)?,
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[test]
fn a_websocket_pair_talks_by_name() -> Result<()> {
    let stage = Stage::with_names("websockets")?;
    let _resolver = stage.resolver(&[("web.test", WEB.into()), ("six.test", WEB6.into())])?;
    stage.apply(&stage.a, NAMES)?;
    let connect = |to: IpAddr| -> Result<TcpStream> {
        let stream = stage.a.within(|| TcpStream::connect((to, 80)))??;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    };
    for (name, address, to) in [("web.test", IpAddr::from(WEB), NOWHERE), ("six.test", WEB6.into(), NOWHERE6)] {
        let listener = stage.world.internet().in_front(address)?;
        let server = thread::spawn(move || say_back(&listener));
        let (mut socket, _) = tungstenite::client(format!("ws://{name}/"), connect(to)?)?;
        for message in [Message::text("short"), Message::binary(vec![7; 3 << 20]), Message::text("again")] {
            socket.send(message.clone())?;
            ensure!(socket.read()? == message, "{name}: {} bytes do not come back", message.len());
        }
        socket.close(None)?;
        while socket.read().is_ok() {}
        server.join().map_err(|_| anyhow!("the server panicked"))??;
        match tungstenite::client("ws://denied.test/", connect(to)?) {
            Err(HandshakeError::Failure(Error::Http(answer))) => ensure!(answer.status() == 403, "{answer:?}"),
            other => ensure!(false, "{other:?}"),
        }
    }
    Ok(())
}
