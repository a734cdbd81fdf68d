//! Flows that go on, and stop when they are cut.

use std::time::Duration;

use anyhow::Result;
use test_world::{Live, World, internet};

const SOON: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(300);

#[test]
fn a_download_goes_on_until_it_is_cut() -> Result<()> {
    let world = World::new("download")?;
    let _nginx = world.internet().nginx()?;
    let a = world.sandbox("a")?;
    for url in ["http://203.0.113.10/big", "https://[2001:db8:10::10]/big"] {
        let mut download = a.download(url)?;
        for _ in 0..10 {
            assert!(download.grows(SOON), "{url}");
        }
        assert!(!download.stops(QUIET, Duration::from_millis(500)), "it flows evenly, so silence means a cut: {url}");
        assert!(download.ended(Duration::ZERO)?.is_none());

        world.host().ip(&format!("link set {} down", a.device))?;
        assert!(download.stops(QUIET, SOON), "{url}");
        assert!(download.ended(Duration::ZERO)?.is_none(), "nothing told curl");
        world.host().ip(&format!("link set {} up", a.device))?;
        // Taking a device down removed its IPv6 address and the default routes through it.
        world.host().ip(&format!("address replace {}/64 dev {} nodad", a.gateway6, a.device))?;
    }
    Ok(())
}

#[test]
fn a_download_tells_how_it_ended() -> Result<()> {
    let world = World::new("ended")?;
    let nginx = world.internet().nginx()?;
    let a = world.sandbox("a")?;
    let mut download = a.download("http://203.0.113.10/big")?;
    assert!(download.grows(SOON));
    drop(nginx);
    let curl = download.ended(SOON)?.expect("it ends with its server");
    assert!(curl.failure.is_some() && curl.status == 200, "{:?}", curl.failure);
    Ok(())
}

#[test]
fn a_udp_stream_goes_on_until_it_is_cut() -> Result<()> {
    let world = World::new("stream")?;
    let _echo = world.internet().udp_echo(9000)?;
    let a = world.sandbox("a")?;
    let (v4, v6) = (a.udp_stream(internet::WEB, 9000)?, a.udp_stream(internet::WEB6, 9000)?);
    for _ in 0..10 {
        assert!(v4.grows(SOON) && v6.grows(SOON));
    }
    assert_eq!(v4.rejected(), 0);

    world.host().ip("route add prohibit 203.0.113.10")?;
    assert!(v4.stops(QUIET, SOON));
    assert!(v6.grows(SOON));
    assert!(v4.rejected() > 0);

    world.host().ip("route del prohibit 203.0.113.10")?;
    assert!(v4.grows(SOON));
    Ok(())
}
