//! Connections that the sidecar did not carry, as the kernel has accounted them.

use super::{By, Connection, Log};
use crate::daemon::events::wall_ms;
use crate::daemon::node::Names;
use filter_core::abi::{ConnectionKey, ConnectionValue};
use filter_core::packet::protocol;
use filter_dataplane::Connections;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Between two looks; more where a look takes long.
const PAUSE: Duration = Duration::from_secs(1);
/// A look takes one part of so many of the time.
const PARTS: u32 = 20;

/// Sandboxes by slot and incarnation.
type Ids = HashMap<(u32, u32), String>;

/// Tells of them, for as long as the daemon runs.
pub(in super::super) async fn watch(mut account: Connections, names: Names, log: Log) {
    // Those that were there at the last look: who has ended since may have left connections.
    let (mut before, mut now) = (Ids::new(), Ids::new());
    loop {
        now.clear();
        now.extend(names.read().expect("no panic under the lock").iter().map(|(of, heard)| (*of, heard.id.clone())));
        let telling = log.clone();
        let looked = spawn_blocking(move || {
            let began = Instant::now();
            let failed = look(&mut account, &before, &now, &telling).err();
            (account, before, now, began.elapsed(), failed)
        });
        let Ok((looked_at, older, newer, took, failed)) = looked.await else { return };
        (account, before, now) = (looked_at, newer, older);
        if let Some(error) = failed {
            tracing::error!(%error, "direct connections are not told");
        }
        sleep(PAUSE.max(took * (PARTS - 1))).await;
    }
}

fn look(account: &mut Connections, before: &Ids, now: &Ids, log: &Log) -> Result<(), filter_dataplane::Error> {
    let looked = account.take_ended(|of| now.contains_key(&of))?;
    if looked.lost > 0 {
        log.lose(looked.lost);
    }
    for (key, value) in looked.ended {
        let of = (key.slot, key.incarnation);
        match now.get(&of).or_else(|| before.get(&of)) {
            Some(id) => log.tell(line(id.clone(), &key, &value)),
            // It has come and gone between two looks.
            None => log.lose(1),
        }
    }
    Ok(())
}

fn line(id: String, key: &ConnectionKey, value: &ConnectionValue) -> Connection {
    Connection {
        time_ms: wall_ms(value.last),
        id,
        by: By::Kernel,
        protocol: if key.protocol == protocol::TCP { "tcp" } else { "udp" },
        name: None,
        address: IpAddr::from(key.peer),
        port: key.peer_port,
        sent_bytes: value.sent,
        received_bytes: value.received,
        generation: value.generation,
        duration_ms: value.last.saturating_sub(value.began) / 1_000_000,
    }
}
