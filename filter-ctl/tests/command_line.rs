//! The command as it is installed, where it needs no daemon.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

const GOOD: &str = "\
version: 1
id: agent
attach: { interface: veth7 }
addresses: [198.51.100.2]
network:
  denyOut: [\"0.0.0.0/0\"]
  allowOut: [203.0.113.0/24, 192.0.2.7]
";

const BAD: &str = "\
version: 1
id: agent
attach: { interface: veth7 }
addresses: any
network:
  denyOut: [\"0.0.0.0/0\", example.com]
";

/// A directory of its own for the test; nobody answers at its `api.sock`.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn with(files: &[(&str, &str)]) -> Place {
        let place = Place::new();
        for (name, text) in files {
            fs::write(place.path().join(name), text).unwrap();
        }
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filter-ctl"));
        command.current_dir(self.path()).args(line.split_whitespace()).stdin(Stdio::null());
        command.env("SANDBOX_FILTER_SOCKET", "api.sock").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command
    }

    fn run(&self, line: &str) -> Seen {
        Seen::from(self.command(line).output().unwrap())
    }

    fn run_with_input(&self, line: &str, input: &[u8]) -> Seen {
        let mut command = self.command(line);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        // A command that has seen enough does not read to the end.
        drop(child.stdin.take().unwrap().write_all(input));
        Seen::from(child.wait_with_output().unwrap())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Seen {
    fn from(output: Output) -> Seen {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Seen { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn seen(code: i32, stdout: &str, stderr: &str) -> Seen {
    Seen { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

#[test]
fn check_sums_up_what_is_good() {
    let place = Place::with(&[("agent.yaml", GOOD)]);
    assert_eq!(place.run("check -f agent.yaml"), seen(0, "ok  agent  2 addresses allowed, 0.0.0.0/0 denied\n", ""));
}

#[test]
fn check_places_every_problem() {
    let unknown = GOOD.replace("addresses:", "adresses:");
    let place = Place::with(&[("bad.yaml", BAD), ("unknown.yaml", &unknown)]);
    assert_eq!(
        place.run("check -f bad.yaml unknown.yaml missing.yaml"),
        seen(
            1,
            "",
            "\
error: bad.yaml:6: denyOut[1] \"example.com\": domains cannot be denied
  hint: deny everything with \"0.0.0.0/0\" and list what may be reached in allowOut
error: unknown.yaml:1: addresses: is missing
error: unknown.yaml:4: adresses: unknown field
  hint: did you mean \"addresses\"?
error: missing.yaml: cannot be read: No such file or directory (os error 2)
"
        )
    );
}

#[test]
fn check_warns_of_what_may_not_be_meant() {
    let open = GOOD.replace("[\"0.0.0.0/0\"]", "[]");
    let seen = Place::new().run_with_input("check -f -", open.as_bytes());
    assert_eq!(seen.code, 0);
    assert_eq!(seen.stdout, "ok  agent  2 addresses allowed, nothing denied\n");
    assert!(seen.stderr.starts_with("warning: stdin:7: allowOut: restricts nothing"), "{}", seen.stderr);
}

#[test]
fn check_reads_json_and_directories_in_the_order_of_names() {
    let json = r#"{"version": 1, "id": "b", "attach": {"interface": "b"}, "addresses": "any"}"#;
    let two = format!("{}---\n{}", GOOD.replace("agent", "c1"), GOOD.replace("agent", "c2"));
    let place =
        Place::with(&[("c.yml", &two), ("b.json", json), ("a.yaml", GOOD), (".a.yaml", "["), ("notes.txt", "[")]);
    let seen = place.run("check -f .");
    let ids: Vec<_> = seen.stdout.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!((seen.code, ids), (0, vec!["agent", "b", "c1", "c2"]), "{}", seen.stderr);
}

#[test]
fn an_empty_directory_is_refused() {
    let seen = Place::new().run("check -f .");
    assert_eq!((seen.code, seen.stderr.as_str()), (1, "error: .: no *.yaml, *.yml or *.json in this directory\n"));
}

#[test]
fn an_id_is_used_once_over_all_inputs() {
    let place = Place::with(&[("a.yaml", GOOD), ("b.yaml", GOOD)]);
    let seen = place.run("check -f a.yaml -f b.yaml");
    assert_eq!((seen.code, seen.stderr.as_str()), (1, "error: b.yaml:2: id \"agent\": already used at a.yaml:2\n"));
}

#[test]
fn check_prints_json() {
    let place = Place::with(&[("bad.yaml", BAD), ("good.yaml", &GOOD.replace("agent", "good"))]);
    let seen = place.run("check -f good.yaml bad.yaml --json");
    let report: serde_json::Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!((seen.code, seen.stderr.as_str()), (1, ""));
    assert_eq!(report["documents"][0]["id"], "good");
    assert_eq!(report["problems"][0]["field"], "network.denyOut[1]");
    assert_eq!(report["problems"][0]["line"], 6);
}

#[test]
fn inputs_end_at_the_limit() {
    let place = Place::new();
    let large = File::create(place.path().join("large.yaml")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let hint = "  hint: write prefixes instead of single addresses, or several documents\n";
    let refused = |name: &str| seen(1, "", &format!("error: {name}: larger than 64 MiB\n{hint}"));
    assert_eq!(place.run("check -f large.yaml"), refused("large.yaml"));
    assert_eq!(place.run("check -f /dev/zero"), refused("/dev/zero"));
    assert_eq!(place.run_with_input("check -f -", &vec![b'#'; (64 << 20) + 1]), refused("stdin"));
}

#[test]
fn only_text_is_read() {
    let seen = Place::new().run_with_input("check -f -", b"version: 1\nid: \xff\n");
    assert_eq!((seen.code, seen.stderr.as_str()), (1, "error: stdin:2: not UTF-8 text\n"));
}

#[test]
fn a_document_cannot_write_to_the_terminal() {
    let seen = Place::new().run_with_input("check -f -", BAD.replace("example.com", "\"\\e]0;owned\\a\"").as_bytes());
    assert_eq!(seen.code, 1);
    assert!(!seen.stderr.contains('\u{1b}'), "{}", seen.stderr);
}

#[test]
fn no_daemon_has_its_own_exit_code() {
    let place = Place::with(&[("a.yaml", GOOD)]);
    let text = "\
error: no daemon at api.sock
  start one: sudo systemctl start sandbox-filter     or in this terminal: sudo filter-ctl daemon
";
    for line in
        ["apply -f a.yaml", "get", "get agent", "delete agent", "detach agent", "watch", "explain agent 1.1.1.1"]
    {
        let seen = place.run(line);
        assert_eq!((seen.code, seen.stderr.as_str()), (3, text), "{line}");
    }
    // A socket that a daemon left behind.
    drop(UnixListener::bind(place.path().join("api.sock")).unwrap());
    assert_eq!(place.run("get"), seen(3, "", text));
    let seen = place.run("get --json --socket other.sock");
    let reply: serde_json::Value = serde_json::from_str(&seen.stderr).unwrap();
    assert_eq!((seen.code, reply["message"].as_str()), (3, Some("no daemon at other.sock")));
}

#[test]
fn a_daemon_that_goes_away_is_told() {
    let place = Place::with(&[("a.yaml", GOOD)]);
    let listener = UnixListener::bind(place.path().join("api.sock")).unwrap();
    let closer = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let seen = place.run("apply -f a.yaml");
    closer.join().unwrap();
    assert_eq!(seen.code, 3);
    assert!(seen.stderr.starts_with("error: the daemon went away before it had answered\n"), "{}", seen.stderr);
}

#[test]
fn something_else_at_the_socket_is_told() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path().join("api.sock")).unwrap();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // An end with something unread would look like a daemon that died.
        while stream.read(&mut [0; 1024]).unwrap() == 1024 {}
        stream.write_all(b"220 mail ready\r\n").unwrap();
    });
    let seen = place.run("get");
    answer.join().unwrap();
    assert_eq!(seen.code, 1);
    assert!(seen.stderr.starts_with("error: the answer at api.sock is not understood"), "{}", seen.stderr);
}

#[test]
fn apply_asks_nobody_about_bad_documents() {
    let place = Place::with(&[("bad.yaml", BAD)]);
    let seen = place.run("apply -f bad.yaml");
    assert_eq!(seen.code, 1);
    assert!(seen.stderr.starts_with("error: bad.yaml:6: denyOut[1]"), "{}", seen.stderr);
    assert!(seen.stderr.ends_with("\n  nothing was changed\n"), "{}", seen.stderr);
}

#[test]
fn names_are_never_resolved() {
    let place = Place::new();
    let asked = place.run("explain agent https://api.example.com/");
    assert_eq!(asked.code, 3, "there is no daemon to ask");
    let elsewhere = place.run("explain agent api.example.com:22");
    assert_eq!(elsewhere.code, 2);
    assert!(elsewhere.stderr.contains("names count on TCP ports 80 and 443 only"), "{}", elsewhere.stderr);
    let address = place.run("explain agent 203.0.113.9 --at 203.0.113.9");
    assert_eq!(address.code, 2);
    assert!(address.stderr.contains("--at"), "{}", address.stderr);
}

#[test]
fn colours_are_for_terminals() {
    let place = Place::with(&[("a.yaml", GOOD)]);
    assert!(!place.run("check -f a.yaml").stdout.contains('\u{1b}'));
    assert!(place.run("check -f a.yaml --color always").stdout.contains('\u{1b}'));
    let no_color = place.command("check -f a.yaml").env("NO_COLOR", "1").output().unwrap();
    assert!(!Seen::from(no_color).stdout.contains('\u{1b}'));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let place = Place::with(&[("a.yaml", GOOD)]);
    for line in ["check -f a.yaml", "completion bash", "--help"] {
        let mut child = place.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let seen = Seen::from(child.wait_with_output().unwrap());
        assert_eq!((seen.code, seen.stderr.as_str()), (0, ""), "{line}");
    }
}

#[test]
fn usage_is_told_apart() {
    let place = Place::new();
    for line in ["", "frobnicate", "apply", "get Agent", "get --json -o yaml", "explain agent ftp://1.1.1.1/"] {
        assert_eq!(place.run(line).code, 2, "{line}");
    }
    let help = place.run("--help");
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("3  no daemon, or it went away"));
}

#[test]
fn the_example_configuration_is_accepted() {
    let place = Place::with(&[("file", ""), ("bad.yaml", "nameserver: [8.8.8.8]\n")]);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/config.yaml");
    let start =
        |config: &str| place.run(&format!("daemon --config {config} --state-dir file/state --pin-dir file/pins"));
    let good = start(example);
    assert_eq!(good.code, 1);
    assert!(good.stderr.starts_with("error: cannot create the state directory file/state"), "{}", good.stderr);
    let bad = start("bad.yaml");
    assert_eq!(bad.code, 1);
    assert!(bad.stderr.starts_with("error: bad.yaml: "), "{}", bad.stderr);
    assert!(start("missing.yaml").stderr.contains("missing.yaml"));
}

#[test]
fn a_configuration_is_printed_and_checked() {
    let place = Place::with(&[("bad.yaml", "nameserver: [8.8.8.8]\n"), ("marks.yaml", "marks: { own: 0 }\n")]);
    let printed = place.run("config print");
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    assert_eq!(
        printed.stdout,
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/config.yaml")).unwrap()
    );
    fs::write(place.path().join("good.yaml"), &printed.stdout).unwrap();
    assert_eq!(place.run("config check good.yaml"), seen(0, "ok  good.yaml\n", ""));
    let json: serde_json::Value = serde_json::from_str(&place.run("config check good.yaml --json").stdout).unwrap();
    assert_eq!(json["file"], "good.yaml");
    for (file, says) in
        [("bad.yaml", "nameserver"), ("marks.yaml", "marks: own and capture"), ("none.yaml", "cannot read")]
    {
        let refused = place.run(&format!("config check {file}"));
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{file}");
        assert!(refused.stderr.contains(file) && refused.stderr.contains(says), "{}", refused.stderr);
        assert!(refused.stderr.contains("hint: filter-ctl config print"), "{}", refused.stderr);
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let seen = place.run(&format!("completion {shell}"));
        assert!(seen.code == 0 && seen.stdout.contains("explain"), "{shell}");
    }
    assert_eq!(place.run("man ."), seen(0, "", ""));
    let page = fs::read_to_string(place.path().join("filter-ctl-apply.1")).unwrap();
    assert!(page.contains("dry"));
    assert!(place.path().join("filter-ctl.1").exists());
}
