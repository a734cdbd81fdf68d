//! Where the API listens, and how.

use anyhow::{Result, ensure};
use test_api::{Open, PORT, Request};
use test_scenarios::Stage;

#[test]
fn it_speaks_tls_when_it_has_a_certificate() -> Result<()> {
    let mut stage = Stage::new("apitls")?;
    let [certificate, key] = stage.nginx.identity().map(|path| path.display().to_string());
    let host = stage.world.host();
    stage.daemon.configure(&format!(
        "api: {{ listen: \"127.0.0.1:{PORT}\", tls: {{ certificate: {certificate}, key: {key} }} }}\n"
    ))?;
    stage.daemon.stop()?;
    stage.daemon.begin()?;
    let authority = stage.nginx.authority().display().to_string();
    let resolve = format!("example.test:{PORT}:127.0.0.1");
    let asks = |scheme: &str, more: &[&str]| {
        let url = format!("{scheme}://example.test:{PORT}/health");
        let words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--resolve", &resolve];
        host.run(&[&words, more, &[&url]].concat())
    };
    let trusted = asks("https", &["--cacert", &authority])?;
    ensure!(trusted.code() == Some(0) && trusted.stdout == "200", "{trusted:?}");
    ensure!(asks("https", &[])?.code() == Some(60), "a certificate of nobody is taken");
    ensure!(asks("https", &["--cacert", &authority, "--tls-max", "1.1"])?.code() != Some(0), "TLS 1.1 works");
    let plain = asks("http", &[])?;
    ensure!(plain.stdout == "000", "it answers without TLS: {plain:?}");
    // Whoever speaks no TLS keeps nobody else from it.
    ensure!(asks("https", &["--cacert", &authority])?.stdout == "200");
    Ok(())
}

#[test]
fn what_it_cannot_use_is_told_before_anything_is_taken_over() -> Result<()> {
    let mut stage = Stage::new("apiconf")?;
    let [certificate, key] = stage.nginx.identity().map(|path| path.display().to_string());
    let authority = stage.nginx.authority().display().to_string();
    let nothing = stage.daemon.file("nothing here")?;
    let taken = stage.world.host().spawn(&["nc", "-l", "-k", "127.0.0.1", "3001"])?;
    ensure!(test_world::wait_until(test_scenarios::SOON, || {
        stage.world.host().run(&["nc", "-z", "127.0.0.1", "3001"]).is_ok_and(|out| out.status.success())
    }));
    stage.daemon.stop()?;
    for (config, words) in [
        (format!("api: {{ tls: {{ certificate: {certificate}, key: /nowhere/key }} }}"), "cannot read a key from"),
        (format!("api: {{ tls: {{ certificate: /nowhere/cert, key: {key} }} }}"), "cannot read certificates from"),
        (format!("api: {{ tls: {{ certificate: {nothing}, key: {key} }} }}"), "has no certificate"),
        (format!("api: {{ tls: {{ certificate: {authority}, key: {key} }} }}"), "cannot be used"),
        ("api: { listen: \"127.0.0.1:3001\" }".to_owned(), "the API cannot listen on 127.0.0.1:3001"),
        ("api: { listen: \"203.0.113.9:3000\" }".to_owned(), "the API cannot listen on 203.0.113.9:3000"),
        ("api: { listen: localhost }".to_owned(), "socket address"),
        ("api: { listn: x }".to_owned(), "unknown field"),
        ("provider: { exec: { command: [nothing] } }".to_owned(), "is no absolute path"),
        ("provider: { netns: { pool: [203.0.114.0/26], uplink: nowhere } }".to_owned(), "nowhere"),
        ("provider: { vm: {} }".to_owned(), "unknown variant"),
    ] {
        stage.daemon.configure(&config)?;
        let ended = stage.daemon.ends(&[])?;
        ensure!(!ended.status.success() && ended.stderr.contains(words), "{config}: {}", ended.stderr);
    }
    drop(taken);
    Ok(())
}

#[test]
fn it_is_on_loopback_unless_told_otherwise_and_warns_of_keys_in_the_clear() -> Result<()> {
    let mut open = Open::with("apiopen", "")?;
    ensure!(!open.stage.daemon.log().contains("without TLS"), "it warns of loopback");
    let listening = open.stage.world.host().run(&["ss", "-Hltn"])?.stdout;
    let of_it: Vec<&str> = listening.lines().filter(|line| line.contains(&format!(":{PORT}"))).collect();
    ensure!(of_it.len() == 1 && of_it[0].contains(&format!("127.0.0.1:{PORT}")), "{listening}");
    open.stage.daemon.configure(&format!("api: {{ listen: \"0.0.0.0:{PORT}\" }}\n"))?;
    open.stage.daemon.stop()?;
    open.stage.daemon.begin()?;
    ensure!(open.stage.daemon.log().contains("without TLS: keys can be read on the way"), "it does not warn");
    ensure!(open.send(&Request::new("GET", "/health"))?.status == 200);
    Ok(())
}
