//! Another daemon with another kernel program takes the place of the running one, and gives it back, under traffic in both directions. And one
//! that cannot read what is there changes nothing.
//!
//! The other program is the one that does without the kernel's types: other instructions, the same ABI.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use filter_core::Reason::{AddressDenied, AllowedByList};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use test_scenarios::{Daemon, Probe, SOON, Setup, Stage, http, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Cgroup, Download, Live, Sniffer, UdpStream, wait_until};

const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;
const VARIABLE: &str = "SANDBOX_FILTER_KERNEL_TYPES";

/// Streams of a hundred datagrams a second to each of two addresses.
const STREAMS: usize = 8;

/// What goes on while daemons come and go.
struct Traffic {
    allowed: Vec<UdpStream>,
    downloads: [Download; 2],
    denied: [UdpStream; 2],
    /// Somebody outside who sends to the sandbox.
    stranger: UdpStream,
    wire: Sniffer,
    inside: Sniffer,
}

impl Traffic {
    fn start(stage: &Stage) -> Result<Traffic> {
        let a = &stage.a;
        stage.knows_gateway(a)?;
        Ok(Traffic {
            wire: stage.world.host().sniff("up0")?,
            inside: a.sniff("eth0")?,
            allowed: [WEB.into(), WEB6.into()]
                .into_iter()
                .flat_map(|to: IpAddr| (0..STREAMS).map(move |_| a.udp_stream(to, 9000)))
                .collect::<Result<_>>()?,
            downloads: [a.download("http://203.0.113.10/big")?, a.download("http://[2001:db8:10::10]/big")?],
            denied: [a.udp_stream(WEB_NEIGHBOUR, 9000)?, a.udp_stream(WEB6_NEIGHBOUR, 9000)?],
            stranger: stage.world.internet().udp_stream(a.v4, 7777)?,
        })
    }

    /// Everything goes on, nothing denied has passed, and nothing allowed was lost.
    fn is_undisturbed(&mut self, strangers: Probe) -> Result<()> {
        for stream in &self.allowed {
            ensure!(stream.grows(SOON), "it stands still: {stream:?}");
            ensure!(wait_until(SOON, || stream.progress() == stream.sent()), "a datagram was lost: {stream:?}");
            ensure!(stream.rejected() == 0, "{stream:?}");
        }
        for download in &mut self.downloads {
            ensure!(download.grows(SOON), "a download stands still: {:?}", download.ended(Duration::ZERO)?);
        }
        for (stream, probe) in self.denied.iter().zip([udp(WEB_NEIGHBOUR), udp(WEB6_NEIGHBOUR)]) {
            let sent = stream.sent();
            ensure!(wait_until(SOON, || stream.sent() > sent) && stream.progress() == 0, "{stream:?}");
            ensure!(self.wire.count(|frame| probe.is_in(frame))? == 0, "{probe} left");
        }
        let sent = self.stranger.sent();
        ensure!(wait_until(SOON, || self.stranger.sent() > sent), "{:?}", self.stranger);
        ensure!(self.inside.count(|frame| strangers.is_in(frame))? == 0, "a stranger's packet came in");
        Ok(())
    }
}

/// Ids and tags of the programs behind pinned links.
fn pinned(stage: &Stage, slot: u32, hooks: &[&str]) -> Result<Vec<(u32, String)>> {
    const SCRIPT: &str = "
import ctypes, platform, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
def bpf(command, attributes):
    result = libc.syscall(number, command, ctypes.create_string_buffer(attributes, 64), 64)
    assert result >= 0, ctypes.get_errno()
    return result
def info(object, length):
    into = ctypes.create_string_buffer(length)
    bpf(15, struct.pack('IIQ', object, length, ctypes.addressof(into)))
    return into.raw
for path in sys.argv[1:]:
    text = ctypes.create_string_buffer(path.encode())
    program = struct.unpack('I', info(bpf(7, struct.pack('QII', ctypes.addressof(text), 0, 0)), 32)[8:12])[0]
    print('id', program, 'tag', info(bpf(13, struct.pack('III', program, 0, 0)), 16)[8:].hex())
";
    let pins = hooks.iter().map(|hook| stage.daemon.pins().join(format!("links/{slot}-{hook}")).display().to_string());
    let words: Vec<String> = ["python3", "-c", SCRIPT].map(str::to_owned).into_iter().chain(pins).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    read(&stage.world.host().run(&words)?.ok()?.stdout)
}

/// Ids and tags, as they are printed.
fn read(shown: &str) -> Result<Vec<(u32, String)>> {
    let words: Vec<&str> = shown.split_whitespace().collect();
    let after = |name: &str| {
        let named = words.windows(2).filter(move |pair| pair[0] == name);
        named.map(|pair| pair[1].to_owned()).collect::<Vec<_>>()
    };
    after("id").into_iter().zip(after("tag")).map(|(id, tag)| Ok((id.parse()?, tag))).collect()
}

/// Ids and tags of the programs at the device's hooks.
fn programs(stage: &Stage, hook: &str, slot: u32) -> Result<Vec<(u32, String)>> {
    if hook == "tcx" {
        return pinned(stage, slot, &["from_sandbox", "to_sandbox"]);
    }
    let host = stage.world.host();
    let shown = ["ingress", "egress"].map(|hook| host.run(&["tc", "filter", "show", "dev", "veth-a", hook]));
    read(&shown.into_iter().map(|shown| Ok(shown?.stdout)).collect::<Result<String>>()?)
}

/// The slot of a sandbox.
fn slot(stage: &Stage, id: &str) -> Result<u32> {
    let slot = stage.daemon.records()?.get(id).context("no record")?["slot"].as_u64();
    Ok(u32::try_from(slot.context("no slot")?)?)
}

/// The command of the ordinary build.
fn command() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    Ok(test.ancestors().nth(2).context("it lies in no target directory")?.join("filter-ctl"))
}

#[test]
fn another_program_takes_over_and_gives_back() -> Result<()> {
    for hook in ["tcx", "clsact"] {
        let config = format!("hook: {hook}\n");
        let mut stage = Stage::with("upgrade", &Setup { config: &config, ..Setup::default() })?;
        stage.apply(&stage.a, POLICY)?;
        let slot = slot(&stage, "a")?;
        let mut other = Daemon::prepare(&stage.world, "other", &config)?
            .with_program(&command()?, VARIABLE, Path::new("off"))
            .with_state_of(&stage.daemon)
            .with_pins_of(&stage.daemon)
            .with_socket_of(&stage.daemon);
        let strangers = Probe { port: 7777, ..udp(stage.a.v4) };
        let mut traffic = Traffic::start(&stage)?;
        traffic.is_undisturbed(strangers)?;
        let (mut before, first) = (programs(&stage, hook, slot)?, stage.daemon.status("a")?);
        ensure!(before.len() == 2, "{before:?}");
        let mut counted = first.counters.denied;
        for round in 0..6 {
            let (old, new) =
                if round % 2 == 0 { (&mut stage.daemon, &mut other) } else { (&mut other, &mut stage.daemon) };
            if round < 4 {
                old.stop().map(drop)?
            } else {
                old.kill9()?
            };
            let began = Instant::now();
            new.begin()?;
            println!("{hook}, round {round}: answers after {:?}", began.elapsed());
            let status = new.status("a")?;
            ensure!(status.generation == first.generation && status.state == first.state, "{status:?}");
            ensure!(status.counters.denied > counted, "counters fell: {} after {counted}", status.counters.denied);
            counted = status.counters.denied;
            let after = programs(&stage, hook, slot)?;
            let mut pairs = before.iter().zip(&after);
            ensure!(pairs.clone().all(|(old, new)| old.0 != new.0), "the same programs: {before:?} and {after:?}");
            ensure!(pairs.any(|(old, new)| old.1 != new.1), "no other instructions: {before:?} and {after:?}");
            before = after;
            traffic.is_undisturbed(strangers)?;
        }
        let sent: u64 = traffic.allowed.iter().map(UdpStream::sent).sum();
        println!("{hook}: of {sent} allowed datagrams none was lost; {counted} packets were denied");
        drop(traffic);
        stage.expect(&stage.a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;
    }
    Ok(())
}

/// Sends to an allowed and a denied address in turns, until a file is gone; tells of what was not as it must be.
const SENDS: &str = "import errno, os, socket, sys, time\nsent = 0\n\
                     while os.path.exists(sys.argv[3]):\n    for to, denied in ((sys.argv[1], False), (sys.argv[2], True)):\n        \
                     one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n        \
                     try: one.sendto(b'x', (to, 9000)); error = 0\n        \
                     except OSError as refused: error = refused.errno\n        \
                     if (error == errno.EPERM) != denied: print('WRONG', to, error, flush=True)\n        \
                     one.close(); sent += 1\n    \
                     if sent == 20: print('sending', flush=True)\n    time.sleep(0.001)\nprint('sent', sent)";

#[test]
fn another_program_takes_over_a_cgroup_and_gives_it_back() -> Result<()> {
    const HOOKS: [&str; 7] = [
        "cgroup_socket",
        "to_cgroup",
        "from_cgroup",
        "cgroup_connect4",
        "cgroup_connect6",
        "cgroup_sendmsg4",
        "cgroup_sendmsg6",
    ];
    let mut stage = Stage::with("upgradecg", &Setup::default())?;
    let cgroup = Cgroup::make()?;
    stage.daemon.apply(&format!(
        "version: 1\nid: c\nattach: {{ cgroup: {}, allowPrivileged: true }}\naddresses: any\nnetwork: {{ {POLICY} }}\n",
        cgroup.path().display()
    ))?;
    let slot = slot(&stage, "c")?;
    let mut other = Daemon::prepare(&stage.world, "other", "")?
        .with_program(&command()?, VARIABLE, Path::new("off"))
        .with_state_of(&stage.daemon)
        .with_pins_of(&stage.daemon)
        .with_socket_of(&stage.daemon);
    let goes_on = stage.daemon.state_dir().join("goes-on");
    fs::write(&goes_on, "")?;
    let mut wire = stage.world.host().sniff("up0")?;
    let [allowed, denied] = [WEB, WEB_NEIGHBOUR].map(|to| to.to_string());
    let enters = cgroup.entered("\"$@\"");
    let words = ["sh", "-c", &enters, "sh"];
    let sends = ["python3", "-c", SENDS, &allowed, &denied, &goes_on.display().to_string()];
    let mut sender = stage.world.host().spawn(&[&words[..], &sends].concat())?;
    ensure!(wait_until(SOON, || sender.stdout().contains("sending")), "{}", sender.stderr());
    let mut before = pinned(&stage, slot, &HOOKS)?;
    ensure!(before.len() == HOOKS.len(), "{before:?}");
    for round in 0..4 {
        let (old, new) = if round % 2 == 0 { (&mut stage.daemon, &mut other) } else { (&mut other, &mut stage.daemon) };
        if round < 2 {
            old.stop().map(drop)?
        } else {
            old.kill9()?
        };
        new.begin()?;
        let after = pinned(&stage, slot, &HOOKS)?;
        ensure!(before.iter().zip(&after).all(|(old, new)| old.0 != new.0), "{before:?} and {after:?}");
        before = after;
    }
    fs::remove_file(&goes_on)?;
    ensure!(sender.wait(SOON)?.code() == Some(0) && !sender.stdout().contains("WRONG"), "{}", sender.stdout());
    let [allowed, denied] = [udp(WEB), udp(WEB_NEIGHBOUR)];
    ensure!(wire.count(|frame| denied.is_in(frame))? == 0 && wire.count(|frame| allowed.is_in(frame))? > 0);
    Ok(())
}

#[test]
fn a_state_that_cannot_be_read_is_refused_and_enforcement_goes_on() -> Result<()> {
    let mut stage = Stage::new("unreadable")?;
    stage.apply(&stage.a, POLICY)?;
    let (slot, strangers) = (slot(&stage, "a")?, Probe { port: 7777, ..udp(stage.a.v4) });
    let mut traffic = Traffic::start(&stage)?;
    let (store, pins) = (stage.daemon.store(), stage.daemon.pin_dir().join("abi-77"));
    for (what, says) in [("schema", "of version"), ("abi", "ABI 77"), ("damage", "it is damaged")] {
        let (before, status) = (programs(&stage, "tcx", slot)?, stage.daemon.status("a")?);
        stage.daemon.stop()?;
        let whole = fs::read(&store)?;
        match what {
            "schema" => stage.daemon.sets_version(1_000)?,
            "abi" => fs::create_dir(&pins)?,
            _ => fs::write(&store, &whole[..whole.len() / 2])?,
        }
        let left = fs::read(&store)?;
        for _ in 0..2 {
            let ended = stage.daemon.ends(&[])?;
            ensure!(ended.code() == Some(1) && ended.stderr.contains(says), "{what}: {}", ended.stderr);
            ensure!(ended.stderr.contains("hint: ") || what == "abi", "{what}: {}", ended.stderr);
            traffic.is_undisturbed(strangers)?;
        }
        ensure!(programs(&stage, "tcx", slot)? == before, "{what}: another program");
        ensure!(fs::read(&store)? == left, "{what}: the store was changed");
        fs::write(&store, whole)?;
        if what == "abi" {
            fs::remove_dir(&pins)?;
        }
        stage.daemon.begin()?;
        let again = stage.daemon.status("a")?;
        ensure!(again.generation == status.generation && again.counters.denied > status.counters.denied, "{again:?}");
        traffic.is_undisturbed(strangers)?;
    }
    drop(traffic);
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])
}
