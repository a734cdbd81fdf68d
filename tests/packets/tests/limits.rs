//! What is told of denials when there are too many, and what becomes of packets that belong to nobody.

use anyhow::Result;
use aya::maps::{Array, Map, MapData};
use filter_core::Reason;
use filter_core::abi::{self, Counter, Event};
use filter_dataplane::{Counters, Place};
use std::time::Instant;
use test_packets::{Profile, Stage, arp, row, tcp};

const WEB: &str = "203.0.113.10";

#[test]
fn events_beyond_the_limit_are_counted_as_suppressed() -> Result<()> {
    const PACKETS: u64 = 40;
    let mut stage = Stage::new("quiet", &[Profile::Free, Profile::Quiet])?;
    let place = stage.attached(Profile::Quiet).place;
    let denied = tcp("10.0.0.9", 443);
    let start = Instant::now();
    assert_eq!(stage.run_often(place, &denied.bytes(), PACKETS as u32)?, 0);
    let seconds = start.elapsed().as_secs() + 1;

    let counters = read(&mut stage, place)?;
    let (sent, suppressed) = (counters.get(Counter::EventsSent), counters.get(Counter::EventsSuppressed));
    let cpus = std::thread::available_parallelism()?.get() as u64;
    assert_eq!(sent + suppressed, PACKETS, "every denial is told or counted");
    assert!(sent >= 3 && sent <= cpus * (3 + seconds), "{sent} were told");
    assert_eq!(stage.ring().take()?.len() as u64, sent);
    assert_eq!(
        rows(&counters),
        [
            (u32::from(Reason::ProtectedRange.number()), PACKETS),
            (Counter::BytesDenied as u32, PACKETS * 54),
            (Counter::EventsSent as u32, sent),
            (Counter::EventsSuppressed as u32, suppressed),
        ]
    );

    stage.check(&row("another sandbox's denial is told", Profile::Free, denied, Reason::ProtectedRange)).map(drop)
}

#[test]
fn a_limit_of_zero_tells_nothing() -> Result<()> {
    let mut stage = Stage::new("silent", &[Profile::Silent])?;
    let place = stage.attached(Profile::Silent).place;
    assert_eq!(stage.run_often(place, &tcp("10.0.0.9", 443).bytes(), 7)?, 0);
    assert_eq!(stage.run_often(place, &tcp(WEB, 443).bytes(), 2)?, 2);
    assert!(stage.ring().take()?.is_empty());
    assert_eq!(
        rows(&read(&mut stage, place)?),
        [
            (Counter::BytesAllowed as u32, 2 * 54),
            (u32::from(Reason::AllowedByDefault.number()), 2),
            (u32::from(Reason::ProtectedRange.number()), 7),
            (Counter::BytesDenied as u32, 7 * 54),
            (Counter::EventsSuppressed as u32, 7),
        ]
    );
    Ok(())
}

#[test]
fn events_that_find_the_ring_full_are_counted_as_lost() -> Result<()> {
    /// The kernel puts eight bytes in front of each event.
    const ROOM: u64 = abi::EVENT_RING_BYTES as u64 / (size_of::<Event>() as u64 + 8);
    const LOST: u64 = 500;
    let mut stage = Stage::new("full", &[Profile::Free])?;
    let place = stage.attached(Profile::Free).place;
    let denied = tcp("10.0.0.9", 443);
    assert_eq!(stage.run_often(place, &denied.bytes(), (ROOM + LOST) as u32)?, 0, "denied whether told or not");
    assert_eq!(stage.run_often(place, &tcp(WEB, 443).bytes(), 1)?, 1, "what is allowed goes on");

    let counters = read(&mut stage, place)?;
    let (sent, lost) = (counters.get(Counter::EventsSent), counters.get(Counter::EventsLost));
    assert_eq!(sent + lost, ROOM + LOST);
    assert!(lost.abs_diff(LOST) <= 1, "{lost} were lost");
    assert_eq!(counters.get(Counter::EventsSuppressed), 0);
    assert_eq!(counters.packets(Reason::ProtectedRange), ROOM + LOST);
    assert_eq!(stage.ring().take()?.len() as u64, sent);

    stage.check(&row("told again once there is room", Profile::Free, denied, Reason::ProtectedRange)).map(drop)
}

#[test]
fn a_device_without_a_sandbox_passes_nothing() -> Result<()> {
    // One stays, so that the namespace keeps its program.
    let mut stage = Stage::new("stray", &[Profile::Free, Profile::Crowded, Profile::Shut])?;
    let place = stage.attached(Profile::Free).place;
    let crowded = stage.attached(Profile::Crowded).place;
    assert_eq!(crowded.ifindex, place.ifindex + abi::SLOTS, "the two devices share a place");
    for frame in [tcp(WEB, 443), arp(1, "198.51.100.2", "198.51.100.1")] {
        // Loopback; then devices whose sandbox has left, one with its place to itself and one in the overflow hash.
        for ifindex in [1, place.ifindex, crowded.ifindex] {
            let nobody = Place { ifindex, ..place };
            if ifindex != 1 {
                let whose = if ifindex == place.ifindex { place } else { crowded };
                stage.dataplane().detach(whose)?;
            }
            let before = stage.state()?;
            let strays = stage.dataplane().strays()?;
            assert_eq!(stage.run_often(nobody, &frame.bytes(), 3)?, 0);
            assert_eq!(stage.dataplane().strays()?, strays + 3);
            let changes = before.changes(&stage.state()?);
            assert!(changes.iter().all(|change| change.starts_with("STRAYS")), "{changes:#?}");
            assert!(stage.ring().take()?.is_empty());
        }
    }
    Ok(())
}

#[test]
fn a_slot_without_an_attachment_passes_nothing() -> Result<()> {
    const EMPTY: u32 = 9_999;
    let mut stage = Stage::new("empty", &[Profile::Free])?;
    let place = stage.attached(Profile::Free).place;
    let path = stage.pin_dir().join(format!("abi-{}/netns/{}/SLOTS", abi::VERSION, place.netns_inode));
    let mut slots: Array<_, [u32; 2]> = Array::try_from(Map::Array(MapData::from_pin(path)?))?;
    slots.set(place.ifindex & (abi::SLOTS - 1), [place.ifindex, EMPTY], 0)?;
    let before = stage.state()?;
    assert_eq!(stage.run_often(place, &tcp(WEB, 443).bytes(), 2)?, 0);
    let changes = before.changes(&stage.state()?);
    assert!(changes.iter().all(|change| change.starts_with("STRAYS")), "{changes:#?}");
    assert_eq!(stage.dataplane().strays()?, 2);
    assert!(stage.ring().take()?.is_empty());
    Ok(())
}

#[test]
fn the_daemon_reads_the_events_that_were_written() -> Result<()> {
    let mut stage = Stage::new("reader", &[Profile::Shut])?;
    let place = stage.attached(Profile::Shut).place;
    let frame = tcp("2001:db8:10::10", 443).bytes();
    stage.run(place, &frame)?;
    let [by_bytes] = stage.ring().take()?[..] else { panic!("not one event") };

    stage.run(place, &frame)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut read = Vec::new();
    runtime.block_on(async { stage.dataplane().events()?.drain(|event| read.push(event)).await })?;
    let [by_daemon] = read[..] else { panic!("{read:?}") };
    assert!(by_daemon.ktime > by_bytes.ktime);
    assert_eq!(Event { ktime: by_bytes.ktime, ..by_daemon }, by_bytes);
    assert_eq!(Reason::from_number(by_daemon.reason), Some(Reason::AddressDenied));
    Ok(())
}

#[test]
fn a_switch_replaces_one_policy_and_nothing_else() -> Result<()> {
    let mut stage = Stage::new("switch", &[Profile::Shut, Profile::Free])?;
    let place = stage.attached(Profile::Shut).place;
    let open = stage.attached(Profile::Free).compiled.clone();
    let frame = tcp(WEB, 443).bytes();
    assert!(!stage.run(place, &frame)?);
    let [old] = stage.ring().take()?[..] else { panic!("not one event") };
    let before = stage.state()?;
    stage.dataplane().switch(place.slot, &open)?;
    let changes = before.without_sandbox(place.slot).changes(&stage.state()?.without_sandbox(place.slot));
    assert!(changes.is_empty(), "{changes:#?}");

    assert!(stage.run(place, &frame)?, "open from the next packet on");
    assert!(!stage.run(place, &tcp("10.0.0.9", 443).bytes())?);
    let [new] = stage.ring().take()?[..] else { panic!("not one event") };
    let generations = (stage.attached(Profile::Shut).generation, stage.attached(Profile::Free).generation);
    assert_eq!((old.generation, new.generation), generations);
    Ok(())
}

fn read(stage: &mut Stage, place: Place) -> Result<Counters> {
    Ok(stage.dataplane().counters(place.slot)?.expect("the slot has counters"))
}

/// All rows that are not zero, but for the state of the rate limit.
fn rows(counters: &Counters) -> Vec<(u32, u64)> {
    let limit = [Counter::BucketTokens as u32, Counter::BucketStamp as u32];
    let rows = (0..).zip(counters.rows().iter().copied());
    rows.filter(|(row, count)| *count > 0 && !limit.contains(row)).collect()
}
