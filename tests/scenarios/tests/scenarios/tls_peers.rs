//! Real clients of TLS over names, against nginx with a certificate that they verify. Where they believe the names to be nobody is.

use crate::tls::{RESOLVER, is_of_a_client};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{PipeWriter, Write};
use std::thread;
use std::time::Duration;
use test_scenarios::{SOON, Setup, Stage};
use test_world::internet::{WEB, WEB6};
use test_world::{Dnsmasq, Failure, Live, Output, Process, poll, wait_until};

const NOWHERE: [&str; 2] = ["203.0.113.99", "2001:db8:10::99"];
/// The first is reached over IPv4, the second over IPv6; the third has both, the last is not allowed.
const NAMES: [&str; 3] = ["four.example.test", "six.example.test", "both.example.test"];
const DENIED: &str = "denied.example.test";

/// Fetches the page of the server's address, by `requests` where it is there.
const PYTHON: &str = r"
import sys
name, authority = sys.argv[1:]
try:
    import requests
    print(requests.get('https://' + name + '/', verify=authority, timeout=10).text)
except ImportError:
    import ssl, urllib.request
    context = ssl.create_default_context(cafile=authority)
    print(urllib.request.urlopen('https://' + name + '/', context=context, timeout=10).read().decode())
";

struct Peers {
    stage: Stage,
    authority: String,
    resolver: Dnsmasq,
}

impl Peers {
    fn new(name: &str) -> Result<Peers> {
        let config = format!("resolvers: [\"{RESOLVER}\"]\n");
        let stage = Stage::with(name, &Setup { config: &config, ..Setup::default() })?;
        let [four, six, both] = NAMES;
        let records = [(four, WEB.into()), (six, WEB6.into()), (both, WEB.into()), (both, WEB6.into())];
        let resolver = stage.world.internet().dnsmasq(&[RESOLVER.into()], &records)?;
        let allowed = NAMES.map(|name| format!("{name:?}")).join(", ");
        stage.apply(&stage.a, &format!(r#"denyOut: ["0.0.0.0/0"], allowOut: [{allowed}]"#))?;
        let authority = stage.nginx.authority().display().to_string();
        for address in NOWHERE {
            let hosts: String = NAMES.iter().chain([&DENIED]).map(|name| format!("{address} {name}\n")).collect();
            fs::write(hosts_file(&stage, address), hosts).context("the hosts file")?;
        }
        Ok(Peers { stage, authority, resolver })
    }

    /// Runs a client to whom all names are at an address where nobody is. What the machine's environment says of proxies and authorities is
    /// not for it.
    fn run(&self, nowhere: &str, words: &[&str]) -> Result<Output> {
        let authority = format!("GIT_SSL_CAINFO={}", self.authority);
        let script = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
        let hosts = hosts_file(&self.stage, nowhere);
        self.stage.a.run_within(
            Duration::from_secs(30),
            &[&["env", "no_proxy=*", &authority, "unshare", "--mount", "sh", "-c", script, hosts.as_str()], words]
                .concat(),
        )
    }

    /// Runs every client for a name, from both families.
    fn run_all(&self, name: &str) -> Result<Vec<(String, Output)>> {
        thread::scope(|scope| {
            let clients = self.clients(name);
            let run = |(client, words): (&'static str, Vec<String>), nowhere: &'static str| {
                scope.spawn(move || {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    Ok((format!("{client} for {name} at {nowhere}"), self.run(nowhere, &words)?))
                })
            };
            let started: Vec<_> =
                clients.into_iter().flat_map(|client| NOWHERE.map(|nowhere| run(client.clone(), nowhere))).collect();
            started.into_iter().map(|client| client.join().expect("no panic")).collect()
        })
    }

    /// Clients that print the page of the server's address.
    fn clients(&self, name: &str) -> Vec<(&'static str, Vec<String>)> {
        let (authority, url) = (self.authority.as_str(), format!("https://{name}/"));
        let curl = |version: &str| words(&["curl", "-sS", "--max-time", "15", version, "--cacert", authority, &url]);
        let openssl = |version: &str| {
            let client = format!("openssl s_client -connect {name}:443 -servername {name} {version} -quiet");
            let verified = format!("-verify_return_error -verify_hostname {name} -CAfile {authority}");
            let request = format!(r"printf 'GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n'");
            words(&["sh", "-c", &format!("{request} | {client} -ign_eof {verified}")])
        };
        vec![
            ("curl by HTTP/1.1", curl("--http1.1")),
            ("curl by HTTP/2", curl("--http2")),
            ("openssl by TLS 1.2", openssl("-tls1_2")),
            ("openssl by TLS 1.3", openssl("-tls1_3")),
            ("wget", words(&["wget", "-q", "-nv", "-t1", "-T15", "-O-", "--ca-certificate", authority, &url])),
            ("python", words(&["python3", "-c", PYTHON, name, authority])),
        ]
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn hosts_file(stage: &Stage, address: &str) -> String {
    stage.a.dir().join(format!("hosts-{}", address.replace(':', "-"))).display().to_string()
}

/// Whether a client has said that access was denied, in OpenSSL's, Python's or GnuTLS' words.
fn shows_alert(output: &Output) -> bool {
    let said = output.stderr.to_lowercase().replace('_', " ");
    said.contains("access denied") || said.contains("access was denied")
}

#[test]
fn clients_reach_allowed_names_and_verify_who_answers() -> Result<()> {
    let peers = Peers::new("peers")?;
    let [four, six, both] = NAMES;
    for (name, answers) in [(four, vec![WEB.to_string()]), (six, vec![WEB6.to_string()])] {
        for (client, output) in peers.run_all(name)? {
            let body = output.stdout.trim().lines().next_back().unwrap_or_default();
            let from = |answer: &String| body.trim_matches(['[', ']']) == answer;
            ensure!(output.code() == Some(0) && answers.iter().any(from), "{client}: {output:?}");
        }
    }
    let url = format!("https://{both}/");
    let out =
        ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_version}", "--http2", "--cacert", &peers.authority, &url];
    let version = peers.run(NOWHERE[0], &out)?.ok()?;
    ensure!(version.stdout == "2", "HTTP/{}", version.stdout);
    Ok(())
}

#[test]
fn clients_of_a_denied_name_show_the_alert() -> Result<()> {
    let peers = Peers::new("alerts")?;
    let mut wire = peers.stage.world.host().sniff("up0")?;
    for (client, output) in peers.run_all(DENIED)? {
        ensure!(output.code() != Some(0), "{client}: {output:?}");
        // wget says nothing of what GnuTLS tells it.
        ensure!(shows_alert(&output) || client.starts_with("wget"), "{client}: {output:?}");
    }
    let left = wire.frames(is_of_a_client)?;
    ensure!(left.is_empty(), "on the wire: {left:02x?}");
    ensure!(!peers.resolver.log().contains(DENIED), "somebody was asked for {DENIED}: {}", peers.resolver.log());
    Ok(())
}

#[test]
fn a_repository_is_cloned_over_tls() -> Result<()> {
    let peers = Peers::new("git")?;
    let root = peers.stage.nginx.root();
    let make = "git init -q work && cd work && git -c user.name=t -c user.email=t@example.test commit -q --allow-empty -m first \
                && git clone -q --bare . ../www/repository.git && git -C ../www/repository.git update-server-info";
    let out = peers.stage.a.run(&["sh", "-c", &format!("cd {} && {make}", root.with_file_name("").display())])?;
    out.ok()?;
    for (at, nowhere) in NOWHERE.into_iter().enumerate() {
        let into = peers.stage.a.dir().join(format!("clone-{at}")).display().to_string();
        let url = format!("https://{}/repository.git", NAMES[at]);
        peers.run(nowhere, &["git", "clone", "-q", &url, &into])?.ok()?;
        let log = peers.stage.a.run(&["git", "-C", &into, "log", "--format=%s"])?.ok()?;
        ensure!(log.stdout == "first\n", "{log:?}");
        let url = format!("https://{DENIED}/repository.git");
        let denied = peers.run(nowhere, &["git", "clone", "-q", &url, &format!("{into}-denied")])?;
        ensure!(denied.code() != Some(0) && shows_alert(&denied), "{denied:?}");
    }
    Ok(())
}

#[test]
fn sessions_are_resumed() -> Result<()> {
    let peers = Peers::new("resumed")?;
    for (version, nowhere) in [("-tls1_2", NOWHERE[0]), ("-tls1_3", NOWHERE[1])] {
        let session = peers.stage.a.dir().join(format!("session{version}")).display().to_string();
        let visit = |option: &str| {
            let client = format!("openssl s_client -connect {0}:443 -servername {0} {version} -ign_eof", NAMES[0]);
            let request = format!(r"printf 'GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n'", NAMES[0]);
            let all =
                format!("{request} | {client} -verify_return_error -CAfile {} {option} {session}", peers.authority);
            peers.run(nowhere, &["sh", "-c", &all])?.ok()
        };
        ensure!(visit("-sess_out")?.stdout.contains("New, TLSv1"));
        let again = visit("-sess_in")?;
        ensure!(again.stdout.contains("Reused, TLSv1"), "{version}: {}", again.stdout);
    }
    Ok(())
}

/// OpenSSL's server in nginx' place, which says back each line from its end to its beginning.
fn openssl_server(stage: &Stage, options: &[&str]) -> Result<Process> {
    kill(Pid::from_raw(stage.nginx.pid().cast_signed()), Signal::SIGTERM)?;
    let [certificate, key] = stage.nginx.identity().map(|file| file.display().to_string());
    let server = ["openssl", "s_server", "-accept", "443", "-rev", "-cert", &certificate, "-key", &key];
    poll(SOON, || {
        // The port may not be free yet.
        let mut server = stage.world.internet().spawn(&[server.as_slice(), options].concat()).ok()?;
        let up = poll(SOON, || {
            server.stdout().contains("ACCEPT").then_some(true).or((!server.is_running()).then_some(false))
        });
        (up == Some(true)).then_some(server)
    })
    .context("no server")
}

/// OpenSSL's client, to which lines are said one after the other.
struct Client {
    process: Process,
    say: PipeWriter,
}

impl Client {
    fn start(stage: &Stage, nowhere: &str, name: &str, options: &[&str]) -> Result<Client> {
        let (input, say) = std::io::pipe()?;
        let mut client = stage.a.command("openssl");
        let to = if nowhere.contains(':') { format!("[{nowhere}]:443") } else { format!("{nowhere}:443") };
        client.args(["s_client", "-connect", &to, "-servername", name]).args(options).stdin(input);
        Ok(Client { process: stage.a.spawn_command(client)?, say })
    }

    fn says(&mut self, line: &str, answer: &str) -> Result<()> {
        self.say.write_all(line.as_bytes())?;
        self.hears(answer)
    }

    fn hears(&self, words: &str) -> Result<()> {
        let heard = || self.process.stdout().contains(words) || self.process.stderr().contains(words);
        ensure!(wait_until(SOON, heard), "no {words:?}: {}{}", self.process.stdout(), self.process.stderr());
        Ok(())
    }
}

#[test]
fn a_renegotiation_is_the_server_s_affair() -> Result<()> {
    let peers = Peers::new("again")?;
    let stage = &peers.stage;
    let mut server = openssl_server(stage, &["-4", "-tls1_2", "-client_renegotiation"])?;
    let mut client = Client::start(stage, NOWHERE[0], NAMES[0], &["-tls1_2"])?;
    client.hears("Verify return code")?;
    client.says("R\n", "RENEGOTIATING")?;
    client.says("renegotiated\n", "detaitogener")?;
    ensure!(server.is_running());
    Ok(())
}

#[test]
fn a_second_hello_that_the_server_asks_for_is_carried() -> Result<()> {
    // A key of another group than the client has sent one of (HelloRetryRequest: RFC 8446, section 4.1.4).
    let peers = Peers::new("retry")?;
    let stage = &peers.stage;
    let _server = openssl_server(stage, &["-tls1_3", "-groups", "P-384"])?;
    for (nowhere, name) in [(NOWHERE[0], NAMES[0]), (NOWHERE[1], NAMES[1])] {
        let mut client = Client::start(stage, nowhere, name, &["-tls1_3", "-groups", "X25519:P-384", "-msg"])?;
        client.says("retried\n", "deirter")?;
        let said = client.process.stdout();
        ensure!(said.matches("ClientHello").count() == 2, "{name}: {said}");
    }
    Ok(())
}

#[test]
fn a_download_is_cut_by_the_update_that_takes_its_name() -> Result<()> {
    let peers = Peers::new("taken")?;
    let stage = &peers.stage;
    for nowhere in NOWHERE {
        let [gone, stays, _] = NAMES;
        stage.apply(&stage.a, &format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{gone}", "{stays}"]"#))?;
        let host = if nowhere.contains(':') { format!("[{nowhere}]") } else { nowhere.to_owned() };
        let download = |name: &str| {
            let resolve = format!("{name}:443:{host}");
            let options = ["--resolve", &resolve, "--cacert", &peers.authority];
            stage.a.download_with(&options, &format!("https://{name}/big"))
        };
        let (mut cut, mut kept) = (download(gone)?, download(stays)?);
        ensure!(cut.grows(SOON) && kept.grows(SOON), "the downloads stand still");
        stage.apply(&stage.a, &format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{stays}"]"#))?;
        // The reset was sent before the call returned: all that is left is curl's own time.
        let ended = cut.ended(Duration::from_secs(2))?.context("it goes on")?;
        ensure!(ended.failure == Some(Failure::Reset), "{:?}: {}", ended.failure, ended.stderr);
        ensure!(kept.grows(SOON) && kept.ended(Duration::ZERO)?.is_none(), "the other one was cut as well");
    }
    Ok(())
}
