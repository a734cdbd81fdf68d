//! Looks, again and again, whether what the provider has put up on the host is there.

use super::api::Api;
use super::providing::with_provider;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Between looks, each of which costs a few system calls.
const INTERVAL: Duration = Duration::from_millis(250);

/// Has the provider make again what somebody has removed. Does not return.
pub(super) async fn watch(api: Api) {
    let mut beat = tokio::time::interval(INTERVAL);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        beat.tick().await;
        match with_provider(&api, |provider| provider.look()).await {
            Ok(mended) => {
                failed = false;
                for what in mended {
                    tracing::error!("somebody has removed {what}; it is made again");
                }
            }
            Err(refusal) if !failed => {
                failed = true;
                tracing::error!("cannot look at what the provider has made: {}; trying again", refusal.reply().message);
            }
            Err(_) => {}
        }
    }
}
