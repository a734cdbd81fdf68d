//! What both providers do with devices.

use filter_dataplane::netlink::ask;
use filter_dataplane::{Error, Namespace};
use rtnetlink::{Handle, LinkUnspec};

/// Switches a device on.
pub(crate) fn switch_on(namespace: &Namespace, name: &str) -> Result<(), Error> {
    ask(namespace, "switch a device on", async |handle: Handle| {
        handle.link().set(LinkUnspec::new_with_name(name).up().build()).execute().await
    })
}
