//! What a program built with logging says. Ordinary builds have no logs and nothing happens here.

use aya::Ebpf;
use aya_log::EbpfLogger;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

const MAP: &str = "AYA_LOGS";

/// Hands the program's log records to the `log` crate for as long as the runtime lives. Logs are a help and never a reason to fail.
pub(crate) fn follow(ebpf: &mut Ebpf) {
    let (Some(_), Ok(runtime)) = (ebpf.map(MAP), Handle::try_current()) else {
        return;
    };
    let logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => return tracing::warn!(%error, "the program's log cannot be read"),
    };
    let _runtime = runtime.enter();
    // SAFETY: the logger owns its descriptor, never replaces it, and lives as long as the registration.
    let mut logger = match unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) } {
        Ok(logger) => logger,
        Err(error) => return tracing::warn!(error = %io::Error::from(error), "the program's log cannot be watched"),
    };
    runtime.spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
}
