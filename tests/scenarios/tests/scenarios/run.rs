//! `filter-ctl run`: one command in a sandbox of its own.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use test_scenarios::{RESOLVER, Setup, Stage, binary};
use test_world::internet::{WEB, WEB_NEIGHBOUR};
use test_world::{Node, Output, Process, wait_until};

/// How long a command and all around it may take: mostly the start of a daemon, among many.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The ways of having a sandbox.
pub(crate) const MODES: [&[&str]; 2] = [&["--cgroup"], &[]];

/// A host without a daemon, whose commands can be run in namespaces of their own.
pub(crate) fn stage(name: &str) -> Result<Stage> {
    let mut stage = Stage::with(name, &Setup::default())?;
    stage.daemon.stop()?;
    Ok(stage)
}

/// The words that run a command with the options of a mode, where names are resolved by [`RESOLVER`].
pub(crate) fn words(stage: &Stage, mode: &[&str], options: &[&str], command: &[&str]) -> Result<Vec<String>> {
    let resolvers = stage.world.dir().join("resolv.conf");
    fs::write(&resolvers, format!("nameserver {RESOLVER}\n"))?;
    let script = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", resolvers.display());
    let (program, socket) = (binary()?, stage.daemon.socket().display().to_string());
    let own = ["unshare", "--mount", "sh", "-c", &script, "sh", &program, "--socket", &socket, "run"];
    let all = [&own[..], mode, options, &["--"], command].concat();
    Ok(all.into_iter().map(str::to_owned).collect())
}

pub(crate) fn run(stage: &Stage, mode: &[&str], options: &[&str], command: &[&str]) -> Result<Output> {
    let words = words(stage, mode, options, command)?;
    stage.world.host().run_within(LIMIT, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(crate) fn start(stage: &Stage, mode: &[&str], options: &[&str], command: &[&str]) -> Result<Process> {
    let words = words(stage, mode, options, command)?;
    stage.world.host().spawn(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What is left of sandboxes of commands in the namespace of a node.
pub(crate) fn left(node: &Node) -> Result<Vec<PathBuf>> {
    let inode = node.within(|| fs::read_link("/proc/thread-self/ns/net"))??;
    let inode = inode.display().to_string().replace(|c: char| !c.is_ascii_digit(), "");
    let directories =
        ["/run/sandbox-filter-run/".to_owned() + &inode, format!("/sys/fs/bpf/sandbox-filter-run-{inode}")];
    let links = node.run(&["ip", "-o", "link"])?.ok()?.stdout;
    let devices = links.lines().filter(|line| line.contains(": sf")).map(PathBuf::from);
    Ok(directories.into_iter().map(PathBuf::from).filter(|path| path.exists()).chain(devices).collect())
}

pub(crate) fn nothing_is_left(stage: &Stage) -> Result<()> {
    let host = stage.world.host();
    ensure!(wait_until(LIMIT, || left(host).is_ok_and(|left| left.is_empty())), "{:?}", left(host)?);
    Ok(())
}

#[test]
fn a_command_reaches_what_it_may_and_is_told_what_it_may_not() -> Result<()> {
    let stage = stage("run")?;
    let (web, other) = (format!("http://{WEB}/"), format!("http://{WEB_NEIGHBOUR}/"));
    let (web_entry, options) = (WEB.to_string(), ["--deny-out", "0.0.0.0/0", "--allow-out"]);
    let options = [&options[..], &[web_entry.as_str()]].concat();
    for mode in MODES {
        let allowed = run(&stage, mode, &options, &["curl", "-sS", "--max-time", "5", "-o", "/dev/null", &web])?;
        ensure!(allowed.code() == Some(0) && allowed.stderr.is_empty(), "{mode:?}: {allowed:?}");
        let denied = run(&stage, mode, &options, &["curl", "-sS", "--max-time", "5", &other])?;
        ensure!(denied.code() == Some(7), "{mode:?}: {denied:?}");
        let entry = format!("--allow-out {WEB_NEIGHBOUR}");
        ensure!(denied.stderr.contains(&entry) && denied.stderr.contains("address-denied"), "{mode:?}: {denied:?}");
        nothing_is_left(&stage)?;
    }
    Ok(())
}

#[test]
fn exit_codes_pipes_and_signals_are_the_commands() -> Result<()> {
    let stage = stage("codes")?;
    for mode in MODES {
        for (command, code) in [
            (&["sh", "-c", "exit 42"][..], 42),
            (&["sh", "-c", "kill -9 $$"], 137),
            (&["/there/is/no/such/command"], 127),
            (&["/etc/passwd"], 126),
        ] {
            let ended = run(&stage, mode, &[], command)?;
            ensure!(ended.code() == Some(code), "{mode:?} {command:?}: {ended:?}");
        }
        let piped = run(&stage, mode, &[], &["sh", "-c", "echo out; echo err >&2; ls /proc/self/fd | wc -l"])?;
        // The last one is what `ls` reads.
        ensure!(piped.stdout == "out\n4\n" && piped.stderr == "err\n", "{piped:?}");

        let mut told =
            start(&stage, mode, &[], &["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"])?;
        ensure!(wait_until(LIMIT, || told.stdout().contains("ready")), "{}", told.stderr());
        told.signal(Signal::SIGTERM)?;
        ensure!(told.wait(LIMIT)?.code() == Some(7));
        nothing_is_left(&stage)?;
    }
    Ok(())
}

#[test]
fn nothing_is_left_when_it_is_killed() -> Result<()> {
    let stage = stage("killed")?;
    for mode in MODES {
        let running = start(&stage, mode, &[], &["sh", "-c", "echo $$; sleep 1000 & sleep 1000"])?;
        ensure!(wait_until(LIMIT, || running.stdout().ends_with('\n')), "{}", running.stderr());
        let pid: u32 = running.stdout().trim().parse().context("a process id")?;
        ensure!(!left(stage.world.host())?.is_empty());
        running.signal(Signal::SIGKILL)?;
        nothing_is_left(&stage)?;
        let has_ended = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        ensure!(wait_until(LIMIT, has_ended), "it goes on");
    }
    Ok(())
}

#[test]
fn commands_share_a_daemon_and_the_last_one_takes_it_away() -> Result<()> {
    let stage = stage("shared")?;
    let mut long: Vec<Process> = MODES
        .iter()
        .map(|mode| start(&stage, mode, &[], &["sh", "-c", "echo ready; sleep 1000"]))
        .collect::<Result<_>>()?;
    for one in &long {
        ensure!(wait_until(LIMIT, || one.stdout().contains("ready")), "{}", one.stderr());
    }
    for mode in MODES {
        let short = run(&stage, mode, &[], &["true"])?;
        ensure!(short.code() == Some(0), "{mode:?}: {short:?}");
    }
    ensure!(long.iter_mut().all(Process::is_running) && !left(stage.world.host())?.is_empty());
    for one in &long {
        one.signal(Signal::SIGTERM)?;
    }
    nothing_is_left(&stage)
}

#[test]
fn what_a_command_has_reached_becomes_a_policy() -> Result<()> {
    let stage = stage("learn")?;
    let _resolver = stage.resolver(&[("a.test", WEB.into()), ("b.test", WEB.into())])?;
    let reach = format!(
        "curl -sS --max-time 5 -o /dev/null http://a.test/ && curl -sS --max-time 5 -o /dev/null http://{WEB_NEIGHBOUR}:8080/"
    );
    for mode in MODES {
        let learnt = run(&stage, mode, &["--learn"], &["sh", "-c", &reach])?;
        ensure!(learnt.code() == Some(0), "{mode:?}: {learnt:?}");
        let entries: Vec<&str> = learnt.stdout.lines().filter(|line| line.contains("    - ")).collect();
        let expected = ["    - \"a.test\"    # port 80".to_owned(), format!("    - \"{WEB_NEIGHBOUR}\"    # tcp 8080")];
        ensure!(entries == expected, "{mode:?}: {learnt:?}");

        let file = stage.world.dir().join("policy.yaml");
        fs::write(&file, &learnt.stdout)?;
        let policy = ["--policy", &file.display().to_string()].map(str::to_owned);
        let policy: Vec<&str> = policy.iter().map(String::as_str).collect();
        let again = run(&stage, mode, &policy, &["sh", "-c", &reach])?;
        ensure!(again.code() == Some(0) && again.stderr.is_empty(), "{mode:?}: {again:?}");
        let more = run(&stage, mode, &policy, &["curl", "-sS", "--max-time", "5", "http://b.test/"])?;
        ensure!(
            more.stdout.contains("egress_denied") && more.stderr.contains("--allow-out b.test"),
            "{mode:?}: {more:?}"
        );
        nothing_is_left(&stage)?;
    }
    Ok(())
}

#[test]
fn what_leads_out_of_a_sandbox_is_taken_away() -> Result<()> {
    let stage = stage("out")?;
    let deny = ["--deny-out", "0.0.0.0/0"];
    let packet = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)";
    let cgroup = run(&stage, &["--cgroup"], &deny, &["python3", "-c", packet])?;
    ensure!(cgroup.stderr.contains("PermissionError"), "{cgroup:?}");
    let script = "for f in $(grep -o '/[^ ]* /sys/fs/cgroup[^ ]*' /proc/self/mountinfo | cut -d' ' -f2); do \
                  [ ! -e $f/cgroup.procs ] || { echo $$ > $f/cgroup.procs && echo left; }; done; true";
    let moves = run(&stage, &["--cgroup"], &deny, &["sh", "-c", script])?;
    ensure!(moves.stderr.contains("Read-only") && !moves.stdout.contains("left"), "{moves:?}");
    for mode in MODES {
        let enters = run(&stage, mode, &deny, &["nsenter", "-t", "1", "-n", "true"])?;
        ensure!(enters.code() != Some(0), "{mode:?}: {enters:?}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_run_is_refused() -> Result<()> {
    let stage = stage("unrun")?;
    let bad = run(&stage, &["--cgroup"], &["--allow-out", "a.test"], &["true"])?;
    ensure!(bad.code() == Some(1) && bad.stderr.contains("allowOut"), "{bad:?}");
    ensure!(run(&stage, &[], &[], &[])?.code() == Some(2));
    stage.world.host().sysctls(&[("net.ipv4.conf.up0.forwarding", "0")])?;
    let shut = run(&stage, &[], &[], &["true"])?;
    ensure!(shut.code() == Some(1) && shut.stderr.contains("net.ipv4.conf.up0.forwarding=1"), "{shut:?}");
    ensure!(run(&stage, &["--cgroup"], &[], &["true"])?.code() == Some(0));
    nothing_is_left(&stage)
}
