//! Sandboxes that the operator's command makes: one that is slow, that fails, and a daemon that dies while it runs.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use test_api::{Open, Reply, Request};
use test_world::internet::{WEB, WEB_ELSEWHERE};
use test_world::{Node, wait_until};

const SOON: Duration = Duration::from_secs(30);
const ECHO: u16 = 9000;
/// Create calls at once: more than the daemon asks the command for at a time.
const MANY: usize = 20;

/// Makes a namespace and a link whose host side is down. Files in its directory say how it behaves.
const COMMAND: &str = r#"#!/bin/sh
cd DIR || exit 9
read -r call
id=$(printf '%s' "$call" | sed 's/.*"sandboxID":"\([a-z0-9]*\)".*/\1/')
case $call in
*'"action":"create"'*)
    echo "create $id" >> calls
    echo $$ > "pid-$id"
    while [ -e slow-create ]; do sleep 0.05; done
    ip netns add "fx-$id" || exit 1
    if [ -e fail-create ]; then echo 'no image for it' >&2; exit 3; fi
    n=0
    while ! mkdir "taken-$n" 2>/dev/null; do n=$((n + 1)); done
    echo "$n" > "number-$id"
    here=198.51.100.$((200 + 2 * n)) there=198.51.100.$((201 + 2 * n))
    ip link add "fx$n" type veth peer name eth0 netns "fx-$id" &&
        ip address add "$here/31" dev "fx$n" &&
        ip -n "fx-$id" address add "$there/31" dev eth0 &&
        ip -n "fx-$id" link set eth0 up &&
        ip -n "fx-$id" route add default via "$here" || exit 1
    printf '{"attach":{"interface":"fx%s"},"addresses":["%s"]}\n' "$n" "$there"
    ;;
*)
    echo "destroy $id" >> calls
    echo $$ > "pid-$id"
    while [ -e slow-destroy ]; do sleep 0.05; done
    left=$(cat fail-destroy 2>/dev/null || echo 0)
    if [ "$left" -gt 0 ]; then echo $((left - 1)) > fail-destroy; echo 'still busy' >&2; exit 4; fi
    if [ -e "number-$id" ]; then
        n=$(cat "number-$id")
        ip link del "fx$n" 2>/dev/null
        rm -f "number-$id"
        rmdir "taken-$n"
    fi
    if [ -e "/run/netns/fx-$id" ]; then ip netns del "fx-$id" || exit 1; fi
    ;;
esac
"#;

/// A daemon whose provider is the command.
struct Commanded {
    /// Ended first: it has the command take away what is there.
    open: Open,
    dir: TempDir,
}

impl Commanded {
    fn new(name: &str) -> Result<Commanded> {
        let dir = tempfile::Builder::new().prefix("fx").tempdir()?;
        let path = dir.path().join("make");
        fs::write(&path, COMMAND.replace("DIR", &dir.path().display().to_string()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        let config = format!("provider: {{ exec: {{ command: [{}] }} }}\n", path.display());
        Ok(Commanded { open: Open::with(name, &config)?, dir })
    }

    /// Has the command behave in some way from now on.
    fn says(&self, file: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.dir.path().join(file), text)?)
    }

    fn unsays(&self, file: &str) -> Result<()> {
        Ok(fs::remove_file(self.dir.path().join(file))?)
    }

    /// What it was called for, in order.
    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn create(&self) -> Result<Reply> {
        let network = json!({ "denyOut": [WEB_ELSEWHERE.to_string()] });
        let body = json!({ "templateID": "base", "timeout": 600, "network": network });
        self.open.send(&Request::new("POST", "/v2/sandboxes").key(&self.open.key).json(&body))
    }

    fn created(&self) -> Result<(String, Node)> {
        let reply = self.create()?;
        ensure!(reply.status == 201, "{reply:?}");
        let id = id(&reply)?;
        let node = self.open.stage.world.adopt(&format!("fx-{id}"))?;
        Ok((id, node))
    }

    fn ask(&self, method: &'static str, id: &str) -> Result<Reply> {
        let (path, body) = match method {
            "PUT" => (format!("/sandboxes/{id}/network"), json!({})),
            _ => (format!("/sandboxes/{id}"), Value::Null),
        };
        let request = Request::new(method, path).key(&self.open.key);
        self.open.send(&if body.is_null() { request } else { request.json(&body) })
    }

    /// The command that is at work for a sandbox has ended.
    fn command_ends(&self, id: &str) -> Result<()> {
        let pid = fs::read_to_string(self.dir.path().join(format!("pid-{id}")))?;
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        let ended = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        ensure!(wait_until(SOON, ended), "the command goes on without the daemon");
        Ok(())
    }

    /// Nothing is there: no sandbox, no record, nothing that the provider is asked for, no namespace, no device.
    fn is_empty(&self) -> bool {
        let daemon = &self.open.stage.daemon;
        let own = |directory: &str| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries
                .filter(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    self.calls().iter().any(|call| call.split(' ').nth(1).is_some_and(|id| name == format!("fx-{id}")))
                })
                .count()
        };
        let host = self.open.stage.world.host();
        let devices = host.ip("-oneline link show").is_ok_and(|links| links.stdout.contains(": fx"));
        daemon.list().is_ok_and(|list| list.is_empty())
            && daemon.records().is_ok_and(|records| records.is_empty())
            && daemon.making().is_ok_and(|making| making.is_empty())
            && own("/run/netns") == 0
            && !devices
    }
}

fn id(reply: &Reply) -> Result<String> {
    Ok(reply.json()?["sandboxID"].as_str().context("no id")?.to_owned())
}

fn reaches(node: &Node) -> Result<bool> {
    Ok(node.udp_probe_within(Duration::from_millis(300), WEB, ECHO)?.is_echoed())
}

#[test]
fn an_end_that_fails_is_tried_until_it_works() -> Result<()> {
    let stage = Commanded::new("execend")?;
    let (id, node) = stage.created()?;
    ensure!(wait_until(SOON, || reaches(&node).is_ok_and(|reached| reached)), "it does not reach what it may");
    ensure!(!node.udp_probe_within(Duration::from_millis(300), WEB_ELSEWHERE, ECHO)?.is_echoed());
    stage.says("fail-destroy", "2")?;
    let killed = stage.ask("DELETE", &id)?;
    ensure!(killed.status == 500 && killed.message()?.contains("exit status: 4: still busy"), "{killed:?}");
    for method in ["GET", "PUT", "DELETE"] {
        let reply = stage.ask(method, &id)?;
        ensure!(
            reply.status == 409 && reply.message()? == format!("Sandbox \"{id}\" is being killed"),
            "{method}: {reply:?}"
        );
    }
    ensure!(!reaches(&node)?, "a sandbox that is being killed sends");
    ensure!(wait_until(SOON, || stage.ask("GET", &id).is_ok_and(|reply| reply.status == 404)), "it stays");
    ensure!(wait_until(SOON, || stage.is_empty()), "something is left");
    let destroys = stage.calls().iter().filter(|call| call.starts_with("destroy")).count();
    ensure!(destroys == 3, "{:?}", stage.calls());
    Ok(())
}

#[test]
fn a_command_that_fails_is_told_of_and_leaves_nothing() -> Result<()> {
    let stage = Commanded::new("execfail")?;
    stage.says("fail-create", "")?;
    let reply = stage.create()?;
    ensure!(reply.status == 500 && reply.message()?.contains("exit status: 3: no image for it"), "{reply:?}");
    ensure!(stage.is_empty(), "something is left: {:?}", stage.calls());
    // What cannot be taken away at once goes later.
    stage.says("fail-destroy", "1")?;
    let reply = stage.create()?;
    ensure!(reply.status == 500 && reply.message()?.contains("still busy"), "{reply:?}");
    ensure!(wait_until(SOON, || stage.is_empty()), "something is left: {:?}", stage.calls());
    stage.unsays("fail-create")?;
    ensure!(stage.ask("DELETE", &stage.created()?.0)?.status == 204);
    ensure!(wait_until(SOON, || stage.is_empty()), "something is left: {:?}", stage.calls());
    Ok(())
}

#[test]
fn an_id_that_is_taken_is_not_asked_for_again() -> Result<()> {
    let stage = Commanded::new("exectwice")?;
    let body = json!({ "templateID": "base", "sandboxID": "fxtwice" });
    let create = Request::new("POST", "/v2/sandboxes").key(&stage.open.operator).json(&body);
    // While the first is being made, and after.
    stage.says("slow-create", "")?;
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| stage.open.send(&create));
        let second = wait_until(SOON, || !stage.calls().is_empty()).then(|| stage.open.send(&create));
        stage.unsays("slow-create")?;
        let second = second.context("the command is not called")??;
        ensure!(second.status == 409, "{second:?}");
        first.join().expect("no panic in a call")
    })?;
    let node = stage.open.stage.world.adopt("fx-fxtwice")?;
    let third = stage.open.send(&create)?;
    ensure!(first.status == 201 && third.status == 409, "{first:?}, {third:?}");
    ensure!(stage.calls() == ["create fxtwice"], "{:?}", stage.calls());
    ensure!(wait_until(SOON, || reaches(&node).is_ok_and(|reached| reached)), "the first one has suffered");
    Ok(())
}

#[test]
fn a_slow_command_holds_nobody_else_up() -> Result<()> {
    let stage = Commanded::new("execslow")?;
    let (a, open) = (&stage.open.stage.a, &stage.open);
    open.create_at(a, &json!({}))?;
    stage.says("slow-create", "")?;
    thread::scope(|scope| {
        let creates: Vec<_> = (0..MANY).map(|_| scope.spawn(|| stage.create())).collect();
        let worked = (|| {
            ensure!(wait_until(SOON, || stage.calls().len() > 1), "the command is not called");
            for turn in 0..10 {
                let denied = if turn % 2 == 0 { json!([WEB.to_string()]) } else { json!([]) };
                ensure!(open.update(&open.operator, "a", &json!({ "denyOut": denied }))?.status == 204);
                ensure!(reaches(a)? == (turn % 2 == 1), "turn {turn}");
            }
            ensure!(creates.iter().all(|create| !create.is_finished()), "the command was not that slow");
            Ok(())
        })();
        stage.unsays("slow-create")?;
        for create in creates {
            let reply = create.join().expect("no panic in a call")?;
            ensure!(reply.status == 201, "{reply:?}");
        }
        worked
    })?;
    // Nor do ends that are slow.
    let ids: Vec<String> =
        open.stage.daemon.list()?.into_iter().map(|status| status.id).filter(|id| id != "a").collect();
    stage.says("slow-destroy", "")?;
    thread::scope(|scope| {
        let kills: Vec<_> = ids.iter().map(|id| scope.spawn(|| stage.ask("DELETE", id))).collect();
        let worked = (|| {
            let is_called = || stage.calls().iter().any(|call| call.starts_with("destroy"));
            ensure!(wait_until(SOON, is_called), "the command is not called");
            ensure!(open.update(&open.operator, "a", &json!({ "denyOut": [WEB.to_string()] }))?.status == 204);
            ensure!(!reaches(a)? && kills.iter().all(|kill| !kill.is_finished()));
            Ok(())
        })();
        stage.unsays("slow-destroy")?;
        for kill in kills {
            let reply = kill.join().expect("no panic in a call")?;
            ensure!(reply.status == 204, "{reply:?}");
        }
        worked
    })?;
    ensure!(open.send(&Request::new("DELETE", "/sandboxes/a").key(&open.operator))?.status == 204);
    open.stage.daemon.detach("a")?;
    ensure!(wait_until(SOON, || stage.is_empty()), "something is left");
    Ok(())
}

#[test]
fn a_daemon_that_dies_while_the_command_runs() -> Result<()> {
    let mut stage = Commanded::new("execdies")?;
    let (living, node) = stage.created()?;
    for (slow, action) in [("slow-create", "create"), ("slow-destroy", "destroy")] {
        let doomed = if action == "destroy" { Some(stage.created()?.0) } else { None };
        let before = stage.calls().len();
        stage.says(slow, "")?;
        let (call, id) = thread::scope(|scope| {
            let call = scope.spawn(|| match &doomed {
                Some(id) => stage.ask("DELETE", id),
                None => stage.create(),
            });
            let begun = wait_until(SOON, || stage.calls().len() > before);
            let id = stage.calls().last().and_then(|call| call.split(' ').nth(1).map(str::to_owned));
            let is_at_work = || id.as_ref().is_some_and(|id| stage.dir.path().join(format!("pid-{id}")).exists());
            ensure!(begun && wait_until(SOON, is_at_work), "the command is not called");
            let pid = stage.open.stage.daemon.pid().context("no daemon runs")?;
            nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL)?;
            Ok((call.join().expect("no panic in a call"), id.context("no id")?))
        })?;
        ensure!(call.is_err(), "{action} was answered: {call:?}");
        stage.open.stage.daemon.dies()?;
        stage.command_ends(&id)?;
        stage.unsays(slow)?;
        stage.open.stage.daemon.begin()?;
        ensure!(
            wait_until(SOON, || stage.ask("GET", &id).is_ok_and(|reply| reply.status == 404)
                && stage.open.stage.daemon.making().is_ok_and(|making| making.is_empty())
                && !Path::new(&format!("/run/netns/fx-{id}")).exists()),
            "{action}: something is left: {:?}",
            stage.calls()
        );
        ensure!(stage.calls().last() == Some(&format!("destroy {id}")), "{:?}", stage.calls());
        ensure!(reaches(&node)? && stage.ask("GET", &living)?.status == 200, "another sandbox has suffered");
    }
    ensure!(stage.ask("DELETE", &living)?.status == 204);
    ensure!(wait_until(SOON, || stage.is_empty()), "something is left");
    Ok(())
}
