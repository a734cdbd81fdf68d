//! A question to the kernel, from inside a namespace.

use crate::{Error, Namespace};
use rtnetlink::Handle;
use std::future::Future;

/// Asks by a connection of its own, on a thread that has entered the namespace. `action` names the question in errors.
///
/// # Errors
/// When the namespace cannot be entered, or what the kernel refused.
pub fn ask<T, F>(
    namespace: &Namespace,
    action: &'static str,
    question: impl FnOnce(Handle) -> F + Send,
) -> Result<T, Error>
where
    T: Send,
    F: Future<Output = Result<T, rtnetlink::Error>>,
{
    ask_by(false, namespace, action, question)
}

/// [`ask`], where the kernel minds what a question is about instead of listing everything (`NETLINK_GET_STRICT_CHK`, Linux 4.20).
pub(super) fn ask_strictly<T, F>(
    namespace: &Namespace,
    action: &'static str,
    question: impl FnOnce(Handle) -> F + Send,
) -> Result<T, Error>
where
    T: Send,
    F: Future<Output = Result<T, rtnetlink::Error>>,
{
    ask_by(true, namespace, action, question)
}

fn ask_by<T, F>(
    strictly: bool,
    namespace: &Namespace,
    action: &'static str,
    question: impl FnOnce(Handle) -> F + Send,
) -> Result<T, Error>
where
    T: Send,
    F: Future<Output = Result<T, rtnetlink::Error>>,
{
    let failed = |reason: String| Error::Netlink { action, reason };
    let work = move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|e| failed(e.to_string()))?;
        runtime.block_on(async {
            let connected =
                if strictly { rtnetlink::new_connection_with_strict_check() } else { rtnetlink::new_connection() };
            let (connection, handle, _) = connected.map_err(|e| failed(e.to_string()))?;
            let connection = tokio::spawn(connection);
            let answer = question(handle).await.map_err(|e| failed(e.to_string()));
            connection.abort();
            answer
        })
    };
    // A thread of its own also where the namespace is ours: the caller may be inside another runtime.
    std::thread::scope(|scope| scope.spawn(|| namespace.enter(work)).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
}
