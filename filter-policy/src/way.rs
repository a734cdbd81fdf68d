//! Where a connection may go that was handed over: by the name that it is for, or where it was sent.

use filter_core::Reason;

/// What a policy says of such a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedOver {
    /// All is for a proxy.
    pub is_proxied: bool,
    /// It is for a name.
    pub has_name: bool,
    /// A rule is about that name.
    pub is_ruled: bool,
    /// An entry covers that name.
    pub is_named: bool,
    /// The lists allow the address that it was sent to.
    pub is_listed: bool,
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Where its name leads.
    Name,
    /// Where it was sent.
    Address,
}

impl HandedOver {
    /// Where it goes: by name before by address.
    ///
    /// # Errors
    /// Why it goes nowhere. What rules and proxies are to have a hand in goes nowhere as long as they are not enforced.
    pub const fn way(self) -> Result<Way, Reason> {
        if self.is_proxied || self.has_name && self.is_ruled {
            Err(Reason::NotEnforced)
        } else if self.has_name && self.is_named {
            Ok(Way::Name)
        } else if self.is_listed {
            Ok(Way::Address)
        } else if self.has_name {
            Err(Reason::NameDenied)
        } else {
            Err(Reason::NoName)
        }
    }
}
