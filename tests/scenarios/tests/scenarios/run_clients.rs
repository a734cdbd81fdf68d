//! `filter-ctl run` with the programs that fetch things for people: curl, git, pip, npm and apt, each from a server of its own name.

use crate::run::{MODES, nothing_is_left, run, stage};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use test_scenarios::Stage;
use test_world::internet::WEB;

/// Makes what is fetched: a repository, a wheel, a package of npm, one of Debian, each with its index.
const MAKES: &str = r#"set -e; cd "$1"; mkdir work
git init -q -b main work/repo; echo content > work/repo/file
git -C work/repo add file; git -C work/repo -c user.name=a -c user.email=a@a.test commit -qm first
git clone -q --bare work/repo repo.git; git -C repo.git update-server-info
mkdir -p simple/thing; python3 - <<'PYTHON'
import zipfile
wheel = zipfile.ZipFile('simple/thing/thing-1.0-py3-none-any.whl', 'w')
wheel.writestr('thing.py', 'content = 1\n')
wheel.writestr('thing-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n')
wheel.writestr('thing-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
wheel.writestr('thing-1.0.dist-info/RECORD', '')
PYTHON
echo '<a href="thing-1.0-py3-none-any.whl">thing-1.0-py3-none-any.whl</a>' > simple/thing/index.html
mkdir -p work/package; echo '{"name":"thing","version":"1.0.0"}' > work/package/package.json
tar -czf thing.tgz -C work package
echo '{"name":"thing","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"thing","version":"1.0.0","dist":{"tarball":"http://npm.example.test/thing.tgz"}}}}' > thing
mkdir -p work/deb/DEBIAN; printf 'Package: thing\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@a.test>\nDescription: thing\n' > work/deb/DEBIAN/control
dpkg-deb --build work/deb thing.deb >/dev/null
{ cat work/deb/DEBIAN/control; echo "Filename: ./thing.deb"; echo "Size: $(stat -c %s thing.deb)"; echo "SHA256: $(sha256sum thing.deb | cut -d' ' -f1)"; } > Packages
"#;

/// Fetches them all into a folder: as `$1`, with Python `$2` and Node.js `$3`.
const FETCHES: &str = r#"set -e; cd "$1"; export HOME="$1"
curl -fsS --max-time 20 -o page http://curl.example.test/
git clone -q http://git.example.test/repo.git repo
"$2" -m pip download -q --disable-pip-version-check --no-deps --index-url http://pip.example.test/simple/ --trusted-host pip.example.test thing
"$3" "$(dirname "$(readlink -f "$3")")/../lib/node_modules/npm/bin/npm-cli.js" install --silent --no-audit --no-fund --registry http://npm.example.test/ thing
echo "deb [trusted=yes] http://apt.example.test/ ./" > sources.list; mkdir -p state/lists/partial cache/archives/partial
apt="apt-get -qq -o Dir::State=$1/state -o Dir::State::status=/dev/null -o Dir::Cache=$1/cache -o Dir::Etc::sourcelist=$1/sources.list -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root -o Acquire::Languages=none"
$apt update; $apt download thing
ls page repo/file thing-1.0-py3-none-any.whl node_modules/thing/package.json thing*.deb | wc -l
"#;

/// Where the clients of the tests are: `cargo xtask setup` puts them there.
fn clients() -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/clients");
    path.canonicalize().context("there are no clients: run cargo xtask setup")
}

fn with_packages(name: &str) -> Result<Stage> {
    let stage = stage(name)?;
    let made = Command::new("sh").args(["-c", MAKES, "sh"]).arg(stage.nginx.root()).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(stage)
}

#[test]
fn what_fetches_things_works_by_names_alone() -> Result<()> {
    let stage = with_packages("clients")?;
    let names = ["curl", "git", "pip", "npm", "apt"].map(|name| format!("{name}.example.test"));
    let records: Vec<_> = names.iter().map(|name| (name.as_str(), WEB.into())).collect();
    let _resolver = stage.resolver(&records)?;
    let clients = clients()?;
    let (python, node) = (clients.join("newest/bin/python"), clients.join("node/node"));
    for (number, mode) in MODES.iter().enumerate() {
        let folder = stage.world.dir().join(format!("fetched-{number}"));
        fs::create_dir(&folder)?;
        let paths = [&folder, &python, &node].map(|path| path.display().to_string());
        let command = ["sh", "-c", FETCHES, "sh", &paths[0], &paths[1], &paths[2]];
        let names = ["--deny-out", "0.0.0.0/0", "--allow-out", "*.example.test"];
        let fetched = run(&stage, mode, &names, &command)?;
        ensure!(fetched.code() == Some(0) && fetched.stdout.trim() == "5", "{mode:?}: {fetched:?}");
        // Without one name its client fails, and is told of by it.
        for (client, line) in [
            ("git", "git clone -q http://git.example.test/repo.git again".to_owned()),
            (
                "pip",
                format!(
                    "{} -m pip download -q --retries 0 --no-deps --index-url http://pip.example.test/simple/ --trusted-host pip.example.test thing",
                    paths[1]
                ),
            ),
        ] {
            let only = ["--deny-out", "0.0.0.0/0", "--allow-out", "curl.example.test"];
            let line = format!("cd {} && {line}", paths[0]);
            let denied = run(&stage, mode, &only, &["sh", "-c", &line])?;
            let entry = format!("--allow-out {client}.example.test");
            ensure!(denied.code() != Some(0) && denied.stderr.contains(&entry), "{mode:?} {client}: {denied:?}");
        }
        nothing_is_left(&stage)?;
    }
    Ok(())
}

#[test]
fn a_policy_of_ten_destinations_is_learnt_and_denies_an_eleventh() -> Result<()> {
    let stage = stage("ten")?;
    let names: Vec<String> = (0..6).map(|number| format!("n{number}.example.test")).collect();
    let more = ["eleventh.example.test".to_owned()];
    let records: Vec<_> = names.iter().chain(&more).map(|name| (name.as_str(), WEB.into())).collect();
    let _resolver = stage.resolver(&records)?;
    let authority = stage.nginx.authority().display().to_string();
    let mut script = String::from("set -e\n");
    for (number, name) in names.iter().enumerate() {
        let scheme = if number % 2 == 0 { "http" } else { "https" };
        script += &format!("curl -fsS --max-time 10 --cacert {authority} -o /dev/null {scheme}://{name}/\n");
    }
    // Four more by their addresses alone, by TCP and by datagrams.
    script += "curl -fsS --max-time 10 -o /dev/null http://203.0.113.20:8080/\n\
               curl -fsS --max-time 10 -o /dev/null http://192.0.2.10:8080/\n";
    let datagram = "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); \
                    s.sendto(b'hello', (sys.argv[1], 9000)); s.recv(99)";
    for address in ["1.1.1.1", "8.8.8.8"] {
        script += &format!("python3 -c \"{datagram}\" {address}\n");
    }
    let eleventh = ["curl", "-fsS", "--max-time", "10", "http://eleventh.example.test/"];
    let twelfth = ["curl", "-fsS", "--max-time", "5", "http://203.0.113.10:8080/"];
    for mode in MODES {
        let learnt = run(&stage, mode, &["--learn"], &["sh", "-c", &script])?;
        ensure!(learnt.code() == Some(0), "{mode:?}: {learnt:?}");
        let entries = learnt.stdout.lines().filter(|line| line.contains("    - ")).count();
        ensure!(entries == 10, "{mode:?}: {}", learnt.stdout);
        let file = stage.world.dir().join("learnt.yaml");
        fs::write(&file, &learnt.stdout)?;
        let file = file.display().to_string();
        let policy = ["--policy", file.as_str()];
        let again = run(&stage, mode, &policy, &["sh", "-c", &script])?;
        ensure!(again.code() == Some(0) && again.stderr.is_empty(), "{mode:?}: {again:?}");
        for command in [&eleventh, &twelfth] {
            let denied = run(&stage, mode, &policy, command)?;
            ensure!(denied.code() != Some(0), "{mode:?}: {denied:?}");
        }
        nothing_is_left(&stage)?;
    }
    Ok(())
}
