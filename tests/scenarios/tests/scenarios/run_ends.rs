//! `filter-ctl run` where it is easily wrong: terminals, ways out of a cgroup, what is being made when it is killed, what it refuses in time.

use crate::run::{LIMIT, MODES, nothing_is_left, run, stage, start, words};
use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use test_scenarios::{Setup, Stage};
use test_world::internet::WEB;
use test_world::wait_until;

/// Counts the interrupts that it gets within half a second of the first.
const COUNTS: &str = "import signal, time\ntimes = []\nsignal.signal(signal.SIGINT, lambda *_: times.append(time.time()))\n\
                      print('ready', flush=True)\nwhile not times or time.time() < times[0] + 0.5: time.sleep(0.01)\n\
                      print('interrupts:', len(times), flush=True)";

/// Runs the words after it at a terminal, whose user presses Ctrl-C once they read `ready`.
const TERMINAL: &str = "import os, pty, sys\npid, terminal = pty.fork()\nif pid == 0: os.execvp(sys.argv[1], sys.argv[1:])\n\
                        seen, pressed = b'', False\n\
                        while True:\n    try: more = os.read(terminal, 4096)\n    except OSError: break\n    if not more: break\n\
                        \x20   seen += more\n    if b'ready' in seen and not pressed: pressed = True; os.write(terminal, b'\\x03')\n\
                        print(seen.decode())\nsys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";

/// Tries to leave its cgroup by the root directory of the process that it is told of, as whose user it may look there.
const LEAVES: &str = "import ctypes, os, sys\nlibc = ctypes.CDLL(None)\nlibc.setfsgid(65534); libc.setfsuid(65534)\n\
                      root = os.open(f'/proc/{sys.argv[1]}/root', os.O_PATH)\nlibc.setfsuid(0); libc.setfsgid(0)\n\
                      for line in open('/proc/self/mountinfo'):\n    if ' - cgroup2 ' in line:\n\
                      \x20       procs = os.open(line.split()[4].lstrip('/') + '/cgroup.procs', os.O_WRONLY, dir_fd=root)\n\
                      \x20       os.write(procs, b'0'); print('left')";

#[test]
fn an_interrupt_from_a_terminal_comes_once() -> Result<()> {
    let stage = stage("interrupt")?;
    for mode in MODES {
        // With standard input from the terminal, and from elsewhere.
        for script in ["exec \"$@\"", "exec \"$@\" </dev/null"] {
            let command = words(&stage, mode, &[], &["python3", "-c", COUNTS])?;
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            let all = [&["python3", "-c", TERMINAL, "sh", "-c", script, "sh"][..], &command].concat();
            let ended = stage.world.host().run_within(LIMIT, &all)?;
            ensure!(ended.code() == Some(0) && ended.stdout.contains("interrupts: 1"), "{mode:?} {script}: {ended:?}");
        }
        nothing_is_left(&stage)?;
    }
    Ok(())
}

/// A shell with job control starts the command of the arguments, which repeats what it hears. It is stopped from the terminal and goes on.
/// What is typed before each of its processes has stopped may be read by either.
const STOPPED: &str = "import glob, os, pty, shlex, signal, sys, time\npid, terminal = pty.fork()\n\
                       if pid == 0: os.execvp('bash', ['bash', '--norc', '-i'])\nwhole, at = b'', 0\n\
                       def late(*_): sys.exit(f'waited in vain after {whole[:at]}; came: {whole[at:]}')\n\
                       signal.signal(signal.SIGALRM, late); signal.alarm(40)\n\
                       def until(what):\n    global whole, at\n    while what not in whole[at:]: whole += os.read(terminal, 4096)\n    \
                       at = whole.index(what, at) + len(what)\n\
                       def say(what): os.write(terminal, what)\n\
                       def states(group):\n    for stat in glob.glob('/proc/[0-9]*/stat'):\n        \
                       try: fields = open(stat).read().rsplit(')', 1)[1].split()\n        except OSError: continue\n        \
                       if int(fields[2]) == group: yield fields[0]\n\
                       say(b\"stty -echo; PS1=; echo be''gun\\n\"); until(b'begun')\n\
                       say(shlex.join(sys.argv[1:]).encode() + b'\\n'); until(b'ready')\n\
                       say(b'one\\n'); until(b'heard one')\n\
                       group = os.tcgetpgrp(terminal); say(b'\\x1a'); until(b'Stopped')\n\
                       while set(states(group)) != {'T'}: time.sleep(0.01)\n\
                       say(b'echo shell\\n'); until(b'shell')\nsay(b'fg\\n'); say(b'two\\n'); until(b'heard two')\n\
                       say(b'\\x04'); say(b'echo ended $?\\n'); until(b'ended 7')\nsay(b'exit\\n')";

#[test]
fn a_command_is_stopped_from_a_terminal_and_goes_on() -> Result<()> {
    let stage = stage("stopped")?;
    let repeats = "echo ready; while read line; do echo heard $line; done; exit 7";
    for mode in MODES {
        let command = words(&stage, mode, &[], &["sh", "-c", repeats])?;
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let ended = stage.world.host().run_within(LIMIT, &[&["python3", "-c", STOPPED][..], &command].concat())?;
        ensure!(ended.code() == Some(0), "{mode:?}: {}", ended.stderr);
        nothing_is_left(&stage)?;
    }
    Ok(())
}

#[test]
fn root_in_a_cgroup_cannot_leave_by_processes_outside() -> Result<()> {
    let stage = stage("leaves")?;
    let outside = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", "echo; sleep 1000"];
    let outside = stage.world.host().spawn(&outside)?;
    ensure!(wait_until(LIMIT, || !outside.stdout().is_empty()), "{}", outside.stderr());
    let pid = outside.pid().to_string();
    let ended = run(&stage, &["--cgroup"], &["--deny-out", "0.0.0.0/0"], &["python3", "-c", LEAVES, &pid])?;
    ensure!(!ended.stdout.contains("left") && ended.stderr.contains("PermissionError"), "{ended:?}");
    ensure!(ended.stderr.contains("/root"), "it was kept out later than it should: {ended:?}");

    let script = "grep NoNewPrivs /proc/self/status";
    let bound = run(&stage, &["--cgroup"], &[], &["sh", "-c", script])?;
    ensure!(bound.stdout.split_whitespace().eq(["NoNewPrivs:", "1"]), "{bound:?}");
    Ok(())
}

#[test]
fn what_is_being_made_when_it_is_killed_is_taken_away() -> Result<()> {
    let config = "provider: { netns: { pool: [203.0.119.0/26], uplink: up0 } }\n";
    let stage = Stage::with("making", &Setup { config, ..Setup::default() })?;
    for mode in MODES {
        // From before the keeper is there until after the command has begun, whatever the machine's speed.
        for step in 0..40 {
            let one = start(&stage, mode, &[], &["sleep", "1000"])?;
            sleep(Duration::from_millis(step * 10));
            one.signal(Signal::SIGKILL)?;
        }
    }
    let is_empty = || stage.daemon.ctl(&["get"]).is_ok_and(|got| got.stdout.trim() == "[]");
    let mut seen = 0;
    // Nothing comes after nothing was there for a while: a keeper may be about to ask.
    ensure!(
        wait_until(LIMIT, || {
            seen = if is_empty() { seen + 1 } else { 0 };
            seen > 20
        }),
        "{:?}",
        stage.daemon.ctl(&["get"])?
    );
    Ok(())
}

#[test]
fn what_cannot_be_told_afterwards_is_refused_before_it_runs() -> Result<()> {
    let mut stage = stage("before")?;
    let marker = stage.world.dir().join("has-run");
    let touch = ["touch", &marker.display().to_string()].map(str::to_owned);
    let touch: Vec<&str> = touch.iter().map(String::as_str).collect();
    let report = run(&stage, &["--cgroup"], &["--report", "/there/is/no/such/report"], &touch)?;
    ensure!(report.code() == Some(1) && report.stderr.contains("/there/is/no/such/report"), "{report:?}");
    ensure!(!marker.exists(), "it has run");
    stage.daemon.begin()?;
    let learns = run(&stage, &["--cgroup"], &["--learn"], &touch)?;
    ensure!(learns.code() == Some(1) && learns.stderr.contains("stop the daemon"), "{learns:?}");
    ensure!(!marker.exists(), "it has run");
    Ok(())
}

#[test]
fn what_is_not_used_of_a_document_is_told() -> Result<()> {
    let stage = stage("unused")?;
    let file = stage.world.dir().join("document.yaml");
    let text = "version: 1\nid: other\nattach: { interface: tap0 }\naddresses: [198.51.100.7]\nnetwork: { denyOut: [\"0.0.0.0/0\"] }\n";
    fs::write(&file, text)?;
    let web = format!("http://{WEB}/");
    let policy = ["--policy", &file.display().to_string()].map(str::to_owned);
    let policy: Vec<&str> = policy.iter().map(String::as_str).collect();
    let ended = run(&stage, &["--cgroup"], &policy, &["curl", "-sS", "--max-time", "5", &web])?;
    ensure!(ended.code() == Some(7) && ended.stderr.contains("addresses, attach, id: not used"), "{ended:?}");
    Ok(())
}
