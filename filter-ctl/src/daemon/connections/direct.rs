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
    let mut now = Ids::new();
    loop {
        now.clear();
        now.extend(names.read().expect("no panic under the lock").iter().map(|(of, heard)| (*of, heard.id.clone())));
        // Asked behind the others: who ends meanwhile is among one of the two.
        let ended: Ids = log.take_ended().into_iter().collect();
        let telling = log.clone();
        let looked = spawn_blocking(move || {
            let began = Instant::now();
            let failed = look(&mut account, &now, &ended, &telling).err();
            (account, now, began.elapsed(), failed)
        });
        let Ok((looked_at, same, took, failed)) = looked.await else { return };
        (account, now) = (looked_at, same);
        if let Some(error) = failed {
            tracing::error!(%error, "direct connections are not told");
        }
        sleep(PAUSE.max(took * (PARTS - 1))).await;
    }
}

fn look(account: &mut Connections, now: &Ids, ended: &Ids, log: &Log) -> Result<(), filter_dataplane::Error> {
    let looked = account.take_ended(|of| now.contains_key(&of) && !ended.contains_key(&of))?;
    if looked.lost > 0 {
        log.lose(looked.lost);
    }
    for (key, value) in looked.ended {
        let of = (key.slot, key.incarnation);
        match now.get(&of).or_else(|| ended.get(&of)) {
            Some(id) => log.tell(line(id.clone(), &key, &value)),
            // It is of an earlier daemon's sandbox, or more have ended than are kept in mind.
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
