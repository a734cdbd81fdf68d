//! stub
use crate::{Address, Reason, abi::PolicyValue};
/// x
pub trait Tables {
    /// y
    fn policy(&self, address: &Address) -> Option<PolicyValue>;
}
/// z
pub struct Verdict {
    /// r
    pub reason: Reason,
}
/// d
pub fn decide() {}
