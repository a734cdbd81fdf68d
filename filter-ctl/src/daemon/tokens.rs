//! The tokens of a sandbox: derived from the host's secret and its id, so that they outlive the daemon and are kept nowhere.

use super::keys::hex;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What is derived.
#[derive(Clone, Copy)]
pub(super) enum Token {
    /// For commands inside the sandbox.
    Envd,
    /// For public URLs of a sandbox without public traffic.
    Traffic,
}

/// The host's secret.
#[derive(Clone)]
pub(super) struct Tokens([u8; 32]);

impl Tokens {
    pub(super) fn new(secret: [u8; 32]) -> Tokens {
        Tokens(secret)
    }

    /// A token of a sandbox: HMAC-SHA256 (RFC 2104) of what it is for and the id, hexadecimal. `created` tells sandboxes apart that
    /// have an id one after the other.
    pub(super) fn of(&self, token: Token, id: &str, created: u64) -> String {
        let purpose = match token {
            Token::Envd => "envd",
            Token::Traffic => "traffic",
        };
        self.derive(&format!("{purpose}\n{id}\n{created}"))
    }

    /// What this host is called towards clients.
    pub(super) fn client_id(&self) -> String {
        self.derive("client")[..8].to_owned()
    }

    fn derive(&self, text: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length will do");
        mac.update(text.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}
