//! Flows that are open while policies change.

use anyhow::Result;
use filter_ctl::api::Change;
use std::time::Duration;
use test_scenarios::{SOON, Stage};
use test_world::internet::{WEB, WEB6};
use test_world::{Download, Live, UdpStream, wait_until};

const QUIET: Duration = Duration::from_millis(300);
const BIG: [&str; 2] = ["http://203.0.113.10/big", "https://[2001:db8:10::10]/big"];
const BOTH: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;

/// A download and a datagram stream of each family.
struct Flows {
    downloads: Vec<Download>,
    streams: Vec<UdpStream>,
}

impl Flows {
    fn open(stage: &Stage) -> Result<Flows> {
        let downloads = BIG.iter().map(|url| stage.a.download(url)).collect::<Result<_>>()?;
        let streams = vec![stage.a.udp_stream(WEB, 9000)?, stage.a.udp_stream(WEB6, 9000)?];
        let flows = Flows { downloads, streams };
        flows.go_on();
        Ok(flows)
    }

    #[track_caller]
    fn go_on(&self) {
        for (download, url) in self.downloads.iter().zip(BIG) {
            assert!(download.grows(SOON), "{url} stands still");
        }
        for stream in &self.streams {
            assert!(stream.grows(SOON), "a stream stands still: {stream:?}");
        }
    }

    /// No datagram was lost: at some moment all that were sent have come back.
    #[track_caller]
    fn lost_nothing(&mut self) {
        self.go_on();
        for stream in &self.streams {
            let complete = || stream.progress() == stream.sent();
            assert!(wait_until(SOON, complete), "{} of {} came back", stream.progress(), stream.sent());
            assert_eq!(stream.rejected(), 0);
        }
        for download in &mut self.downloads {
            let ended = download.ended(Duration::ZERO).expect("curl runs");
            assert!(ended.is_none(), "{ended:?}");
        }
    }
}

#[test]
fn a_tightened_policy_cuts_at_once() -> Result<()> {
    let stage = Stage::new("tighten")?;
    stage.apply(&stage.a, BOTH)?;
    let mut flows = Flows::open(&stage)?;
    let applied = stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"]"#)?;
    // From here on nothing leaves: the call has returned.
    let mut wire = stage.world.host().sniff("up0")?;
    assert_eq!((applied.change, applied.generation), (Change::Updated, 2));
    for download in &flows.downloads {
        assert!(download.stops(QUIET, SOON));
    }
    for stream in &flows.streams {
        assert!(stream.stops(QUIET, SOON));
        assert!(wait_until(SOON, || stream.rejected() > 0), "the sandbox is told: {stream:?}");
        let sent = stream.sent();
        assert!(wait_until(SOON, || stream.sent() > sent + 10), "the sandbox goes on trying");
    }
    for own in [stage.a.v4.into(), stage.a.v6.into()] {
        assert_eq!(wire.count_from(own)?, 0, "packets of {own} left after the update");
    }
    // The same sockets go on once they may.
    stage.apply(&stage.a, BOTH)?;
    for stream in &flows.streams {
        assert!(stream.grows(SOON));
    }
    for download in &mut flows.downloads {
        assert!(download.ended(Duration::ZERO)?.is_none() && download.grows(Duration::from_secs(10)));
    }
    Ok(())
}

#[test]
fn tightening_one_family_leaves_the_other() -> Result<()> {
    let stage = Stage::new("halftight")?;
    stage.apply(&stage.a, "")?;
    let flows = Flows::open(&stage)?;
    stage.apply(&stage.a, r#"denyOut: ["::/0"]"#)?;
    assert!(flows.downloads[1].stops(QUIET, SOON) && flows.streams[1].stops(QUIET, SOON));
    assert!(flows.downloads[0].grows(SOON) && flows.streams[0].grows(SOON));
    let complete = || flows.streams[0].progress() == flows.streams[0].sent();
    assert!(wait_until(SOON, complete), "IPv4 loses nothing: {:?}", flows.streams[0]);
    Ok(())
}

#[test]
fn what_does_not_concern_a_flow_cuts_nothing() -> Result<()> {
    let stage = Stage::new("unrelated")?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&stage.a, BOTH)?;
    let mut flows = Flows::open(&stage)?;
    // Another sandbox comes, changes and goes.
    for network in ["", r#"denyOut: ["0.0.0.0/0"]"#, r#"denyOut: ["203.0.113.10"]"#] {
        stage.apply(&b, network)?;
    }
    stage.daemon.delete("b")?;
    stage.daemon.detach("b")?;
    flows.lost_nothing();
    // The same again, then looser, then as tight again elsewhere, then allowed by another line of the policy.
    let unchanged = stage.apply(&stage.a, BOTH)?;
    assert_eq!((unchanged.change, unchanged.generation), (Change::Unchanged, 1));
    for network in [
        r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.0/24", "2001:db8::/32"]"#,
        r#"denyOut: ["192.0.2.0/24"]"#,
        "",
        r#"denyOut: ["1.1.1.1", "203.0.113.10"], allowOut: ["203.0.113.10/31"]"#,
        BOTH,
    ] {
        assert_eq!(stage.apply(&stage.a, network)?.change, Change::Updated);
    }
    // What is beside the lists: the name, the gateway's addresses, the MAC.
    stage.daemon.apply(&format!("name: other\nmac: {}\n{}", stage.a.mac, test_scenarios::document(&stage.a, BOTH)))?;
    stage.world.host().ip("address add 192.88.77.1/24 dev up0")?;
    stage.daemon.explain("a", "203.0.113.10")?;
    flows.lost_nothing();
    Ok(())
}

#[test]
fn two_hundred_updates_disturb_nothing() -> Result<()> {
    let stage = Stage::new("updates")?;
    stage.apply(&stage.a, BOTH)?;
    let mut flows = Flows::open(&stage)?;
    for round in 0..200_u32 {
        let network = BOTH.replace("allowOut: [", &format!("allowOut: [\"9.{}.0.0/16\", ", round % 256));
        let applied = stage.apply(&stage.a, &network)?;
        assert_eq!((applied.change, applied.generation), (Change::Updated, round + 2));
        if round % 50 == 0 {
            flows.go_on();
        }
    }
    flows.lost_nothing();
    assert_eq!(stage.daemon.status("a")?.generation, 201);
    Ok(())
}
