//! An update that changes the attachment and the lists: no packet meets one of them new and the other one old.

use anyhow::Result;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use test_packets::{self as packet, Offload, RawSocket};
use test_scenarios::{SOON, Stage, document};
use test_world::internet::{WEB, WEB_NEIGHBOUR};
use test_world::wait_until;

const SWAPS: u32 = 60;

#[test]
fn attachment_and_lists_change_together() -> Result<()> {
    let stage = Stage::new("whole")?;
    let a = &stage.a;
    let (first, second) = (a.v4.to_string(), "198.51.100.200".to_owned());
    let apply = |own: &str, allowed: IpAddr| {
        let text = document(a, &format!("denyOut: [\"0.0.0.0/0\"], allowOut: [\"{allowed}\"]"));
        stage.daemon.apply(&text.replace(&first, own))
    };
    apply(&first, WEB.into())?;
    let mac = |text: &str| -> Result<[u8; 6]> {
        let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
        Ok(bytes.try_into().expect("six bytes"))
    };
    let (from, to) = (mac(&a.mac)?, mac(&a.gateway_mac)?);
    let frame = |own: &str, remote: IpAddr| {
        packet::udp(&remote.to_string(), 9000).link_from(from).link_to(to).from(own).bytes()
    };
    // Each is denied by both documents: by the one for its source, by the other for its destination.
    let mixed = [frame(&second, WEB.into()), frame(&first, WEB_NEIGHBOUR.into())];
    let mut socket = a.within(|| RawSocket::open("eth0"))??;
    let mut wire = stage.world.internet().sniff("host0")?;
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| -> Result<()> {
        let sender = scope.spawn(|| -> Result<RawSocket> {
            while !done.load(Ordering::Relaxed) {
                for frame in &mixed {
                    socket.send(frame, Offload::default())?;
                }
                sent.fetch_add(2, Ordering::Relaxed);
            }
            Ok(socket)
        });
        let swapped = (0..SWAPS).try_for_each(|_| -> Result<()> {
            apply(&second, WEB_NEIGHBOUR.into())?;
            apply(&first, WEB.into())?;
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        let mut socket = sender.join().expect("the sender does not panic")?;
        swapped?;
        for own in [&first, &second] {
            assert_eq!(wire.count_from(own.parse()?)?, 0, "from {own}, of {}", sent.load(Ordering::Relaxed));
        }
        assert!(sent.load(Ordering::Relaxed) > 10 * u64::from(SWAPS), "{sent:?} packets are too few to see anything");
        // What the document allows does pass, and is seen.
        socket.send(&frame(&first, WEB.into()), Offload::default())?;
        assert!(wait_until(SOON, || wire.count_from(a.v4.into()).is_ok_and(|seen| seen > 0)));
        Ok(())
    })
}
