//! Sandboxes that a command makes: commands that are good, bad, slow, noisy, and failing.

use crate::place::{Place, ask, config, id, is_as_before};
use anyhow::{Context, Result, ensure};
use filter_provider::{Ask, Error, Provider};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use test_world::{World, wait_until};

const GOOD: &str = r#"echo '{"attach":{"interface":"tap7"},"addresses":["198.51.100.2"],"mac":"02:00:00:00:00:01"}'"#;

/// A command whose `create` is given. It writes down every call, and what `destroy` does is to say so.
struct Script {
    dir: TempDir,
    provider: Provider,
}

impl Script {
    fn new(create: &str, seconds: u64) -> Result<Script> {
        Script::with_destroy(create, "exit 0", seconds)
    }

    fn with_destroy(create: &str, destroy: &str, seconds: u64) -> Result<Script> {
        let dir = TempDir::new()?;
        let path = dir.path().join("make");
        let text = format!(
            "#!/bin/sh\ncd {} || exit 9\nread -r call\nprintf '%s\\n' \"$call\" >> calls\n\
             case $call in\n*'\"action\":\"create\"'*)\n{create}\n;;\n*)\n{destroy}\n;;\nesac\n",
            dir.path().display()
        );
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        let config = config(&format!("exec: {{ command: [{}, --flag], timeoutSeconds: {seconds} }}", path.display()))?;
        Ok(Script { provider: Provider::new(&config)?, dir })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn calls(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.file("calls"))?;
        text.lines().map(|line| serde_json::from_str(line).context("a call is one line of JSON")).collect()
    }

    /// The actions that were called, after a `create` that must fail; and the error.
    fn refused(&self) -> Result<(Vec<String>, String)> {
        let error = self.provider.create(&ask("vm1")).err().context("it should not have worked")?;
        let actions = self.calls()?.iter().map(|call| call["action"].as_str().unwrap_or_default().to_owned()).collect();
        Ok((actions, error.to_string()))
    }
}

#[test]
fn the_command_is_told_everything() -> Result<()> {
    let script = Script::new(&format!("env > env\necho \"$1\" > flag\n{GOOD}"), 20)?;
    let (settings, body) =
        (json!({ "kernel": "/boot/vm" }), json!({ "templateID": "base", "metadata": { "a": "ü\n" } }));
    let ask = Ask { id: "vm1".to_owned(), template: "base".to_owned(), settings: settings.clone(), body: body.clone() };
    let made = script.provider.create(&ask)?;
    assert_eq!(
        serde_json::to_value(&made)?,
        json!({
            "attach": { "interface": "tap7" }, "addresses": ["198.51.100.2"], "mac": "02:00:00:00:00:01",
            "gateway": [], "dhcp": false, "inboundFrom": [], "onDeny": "reject",
        })
    );
    script.provider.destroy("vm1")?;
    script.provider.destroy("vm1")?;
    assert_eq!(
        script.calls()?,
        [
            json!({ "action": "create", "sandboxID": "vm1", "templateID": "base", "template": settings, "request": body }),
            json!({ "action": "destroy", "sandboxID": "vm1", "templateID": "base" }),
            json!({ "action": "destroy", "sandboxID": "vm1" }),
        ]
    );
    assert_eq!(fs::read_to_string(script.file("flag"))?, "--flag\n");
    let env = fs::read_to_string(script.file("env"))?;
    let names: BTreeSet<&str> = env.lines().filter_map(|line| line.split('=').next()).collect();
    // The shell adds PWD, OLDPWD and the like itself.
    let known = BTreeSet::from(["PATH", "HOME", "LANG", "PWD", "OLDPWD", "_", "SHLVL"]);
    ensure!(names.is_subset(&known), "{names:?}");
    assert_eq!(script.provider.strays(&BTreeSet::new())?, Vec::<String>::new());
    Ok(())
}

#[test]
fn no_descriptor_is_inherited() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    // One that is not closed by itself: a duplicate.
    let kept = nix::unistd::dup(file.as_file())?;
    let script = Script::new(&format!("for fd in /proc/$$/fd/*; do readlink $fd; done > fds\n{GOOD}"), 20)?;
    script.provider.create(&ask("vm1"))?;
    let fds = fs::read_to_string(script.file("fds"))?;
    ensure!(fds.contains("pipe:") && !fds.contains(&file.path().display().to_string()), "{fds}");
    drop(kept);
    Ok(())
}

#[test]
fn what_cannot_be_used_is_undone() -> Result<()> {
    for (create, complaint) in [
        ("exit 0", "printed nothing"),
        ("echo hello", "expected value"),
        (r#"echo '{"attach":{},"addresses":["198.51.100.2"]}'"#, "attach is empty"),
        (r#"echo '{"attach":{"interface":"tap7"},"addresses":["198.51.100.2"],"nmae":1}'"#, "unknown field `nmae`"),
        (r#"echo '{"attach":{"interface":"tap7"},"addresses":["x"]}'"#, "addresses"),
        (r#"echo '{"attach":{"interface":"tap7"},"addresses":["198.51.100.2"]}{}'"#, "trailing"),
        ("echo one >&2; printf 'no \\033[31mimage\\n' >&2; exit 3", "exit status: 3: one | no \\u{1b}[31mimage"),
        ("kill -9 $$", "signal: 9"),
        ("i=0; while [ $i -lt 3000 ]; do echo 'line of an endless tale' $i >&2; i=$((i+1)); done; exit 1", "tale 2999"),
        ("yes", "printed more than 64 KiB"),
    ] {
        let script = Script::new(create, 20)?;
        let (actions, error) = script.refused()?;
        ensure!(error.contains(complaint), "{create}: {error}");
        ensure!(error.starts_with("sandbox vm1: create by /"), "{error}");
        ensure!(error.len() < 1500, "{create}: {} bytes", error.len());
        assert_eq!(actions, ["create", "destroy"], "{create}");
    }
    Ok(())
}

#[test]
fn a_slow_command_is_killed_with_its_children() -> Result<()> {
    let script = Script::new("echo waiting >&2\nsleep 600 & echo $! > child\nwait", 1)?;
    let begun = Instant::now();
    let (actions, error) = script.refused()?;
    ensure!(error.contains("not done after 1 s; it was killed: waiting"), "{error}");
    assert_eq!(actions, ["create", "destroy"]);
    ensure!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let child = fs::read_to_string(script.file("child"))?;
    let stat = format!("/proc/{}/stat", child.trim());
    let ended = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    ensure!(wait_until(Duration::from_secs(5), ended), "its child lives on");
    Ok(())
}

#[test]
fn what_it_leaves_running_goes_on_and_holds_nobody_up() -> Result<()> {
    // The machine inherits standard output and never closes it.
    let script = Script::with_destroy(&format!("sleep 600 & echo $! > child\n{GOOD}"), "kill $(cat child)", 60)?;
    let begun = Instant::now();
    script.provider.create(&ask("vm1"))?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let child = fs::read_to_string(script.file("child"))?;
    ensure!(fs::metadata(format!("/proc/{}", child.trim())).is_ok(), "the machine is gone");
    script.provider.destroy("vm1")?;
    ensure!(wait_until(Duration::from_secs(5), || {
        fs::read_to_string(format!("/proc/{}/stat", child.trim())).map_or(true, |stat| stat.contains(") Z "))
    }));
    Ok(())
}

#[test]
fn a_destroy_that_fails_is_told() -> Result<()> {
    let script = Script::with_destroy("exit 1", "echo 'still mounted' >&2; exit 4", 20)?;
    let (actions, error) = script.refused()?;
    assert_eq!(actions, ["create", "destroy"]);
    ensure!(error.contains("exit status: 1") && error.contains("may be left"), "{error}");
    ensure!(error.contains("destroy by") && error.contains("exit status: 4: still mounted"), "{error}");
    Ok(())
}

#[test]
fn a_large_call_to_a_command_that_does_not_read() -> Result<()> {
    let script = Script::new(GOOD, 20)?;
    let mut large = ask("vm1");
    large.body = Value::String("x".repeat(8 << 20));
    script.provider.create(&large)?;
    assert_eq!(script.calls()?[0]["request"].as_str().map(str::len), Some(8 << 20));
    let path = script.file("deaf");
    fs::write(&path, format!("#!/bin/sh\nexec <&-\n{GOOD}\n"))?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Provider::new(&config(&format!("exec: {{ command: [{}] }}", path.display()))?)?.create(&large)?;
    Ok(())
}

#[test]
fn a_command_must_be_there() -> Result<()> {
    for (yaml, complaint) in [
        ("exec: { command: [] }", "exec.command: is empty"),
        ("exec: { command: [make-vm] }", "no absolute path"),
        ("exec: { command: [/nonexistent/make-vm] }", "No such file"),
        ("exec: { command: [/etc/passwd] }", "Permission denied"),
        ("exec: { command: [/tmp] }", "no file"),
        ("exec: { command: [/bin/true], timeoutSeconds: 0 }", "timeoutSeconds"),
        ("exec: { command: [/bin/true], timeoutSeconds: 3601 }", "timeoutSeconds"),
    ] {
        let error = Provider::new(&config(yaml)?).err().context(yaml)?.to_string();
        ensure!(error.contains(complaint), "{yaml}: {error}");
    }
    for yaml in [
        "exec: { command: [/bin/true], shell: true }",
        "exec: { command: [/bin/true] }\nnetns: { pool: [10.1.0.0/16], uplink: eth0 }",
        "docker: {}",
        "netns: { uplink: eth0 }",
        "netns: { pool: [10.1.0.0/33], uplink: eth0 }",
        "{}",
    ] {
        ensure!(config(yaml).is_err(), "{yaml}");
    }
    Ok(())
}

#[test]
fn a_device_that_was_left_off_is_switched_on() -> Result<()> {
    let world = World::new("prexec")?;
    let host = world.host();
    let script = Script::new("exit 0", 20)?;
    host.ip("tuntap add tap7 mode tap")?;
    let is_up = || -> Result<bool> { Ok(host.ip("-oneline link show dev tap7")?.stdout.contains("UP")) };
    ensure!(!is_up()?);
    let place = Place::new(&world, &config(&format!("exec: {{ command: [{}] }}", script.file("make").display()))?)?;
    let before = place.everything()?;
    for attach in [json!({ "interface": "tap7" }), json!({ "interface": "tap7", "netns": host.name() })] {
        let made = serde_json::from_value(json!({ "attach": attach, "addresses": ["198.51.100.2"] }))?;
        place.provider().start(&id(), &made)?;
        ensure!(is_up()?, "{attach}");
        place.provider().start(&id(), &made)?;
        host.ip("link set tap7 down")?;
    }
    is_as_before(&place, &before)?;
    let made = serde_json::from_value(json!({ "attach": { "interface": "tap8" }, "addresses": ["198.51.100.2"] }))?;
    let error = place.provider().start(&id(), &made).err().context("there is no tap8")?;
    ensure!(matches!(&error, Error::Kernel(_)) && error.to_string().contains("tap8"), "{error}");
    Ok(())
}
