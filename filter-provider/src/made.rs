//! What is asked of a provider, and what it answers.

use filter_policy::document::{Addresses, Attach, Network, OnDeny};
use filter_policy::{Document, Limits, Problems, Sandbox, validate};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A sandbox that is wanted.
#[derive(Clone)]
pub struct Ask {
    /// Its id.
    pub id: String,
    /// The name of its template.
    pub template: String,
    /// What the operator's configuration says of the template.
    pub settings: Value,
    /// The call that asks for it, as it came.
    pub body: Value,
}

/// The body may hold secrets.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("id", &self.id).field("template", &self.template).finish_non_exhaustive()
    }
}

/// A sandbox as a provider has made it: what a document says besides version, id, name and network. Both have the fields: serde cannot
/// refuse unknown ones where a part is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Made {
    /// Where its packets come from.
    pub attach: Attach,
    /// What it may send from.
    pub addresses: Addresses,
    /// The MAC address it must send from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mac: Option<String>,
    /// Addresses of its gateway; none: those of the device or of its bridge.
    #[serde(default)]
    pub gateway: Vec<String>,
    /// Whether DHCP and router solicitation with the gateway pass.
    #[serde(default)]
    pub dhcp: bool,
    /// Who may open connections to it.
    #[serde(default)]
    pub inbound_from: Vec<String>,
    /// What a denied packet gets.
    #[serde(default)]
    pub on_deny: OnDeny,
}

impl Made {
    /// The document of this sandbox with this network.
    #[must_use]
    pub fn document(&self, id: &str, network: Network) -> Document {
        let Made { attach, addresses, mac, gateway, dhcp, inbound_from, on_deny } = self.clone();
        let (version, id, name) = (1, id.to_owned(), None);
        Document { version, id, name, attach, addresses, mac, gateway, dhcp, inbound_from, on_deny, network }
    }

    /// What of a document a provider has made.
    #[must_use]
    pub fn of(document: &Document) -> Made {
        let Document { attach, addresses, mac, gateway, dhcp, inbound_from, on_deny, .. } = document.clone();
        Made { attach, addresses, mac, gateway, dhcp, inbound_from, on_deny }
    }

    /// Checks all that can be checked without looking at the host.
    pub(crate) fn check(&self, id: &str) -> Result<Sandbox, Problems> {
        validate(&self.document(id, Network::default()), None, &Limits::default())
    }
}
