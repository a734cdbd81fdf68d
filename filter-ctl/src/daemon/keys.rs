//! The keys of the API: kept as hashes, several at once, revocable.
//!
//! A key is 160 random bits, so one pass of SHA-256 is as good as any slower hash: there is nothing to guess.

use super::node::now;
use super::origin::Caller;
use super::refusal::Refusal;
use super::store::{Store, Table};
use crate::api::{Key, NewKey};
use anyhow::{Context, ensure};
use filter_dataplane::fail_point;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, RwLock};
use subtle::ConstantTimeEq;

/// Keys that there may be.
const MOST: usize = 1_000;
/// Longest name of a key, in characters.
const NAME_CHARACTERS: usize = 100;

/// A key as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    name: String,
    operator: bool,
    /// SHA-256 of the key, hexadecimal.
    hash: String,
    /// Seconds since 1970.
    created: u64,
}

/// All keys, by id.
#[derive(Clone, Default)]
pub(super) struct Keys(Arc<RwLock<BTreeMap<String, Kept>>>);

impl Keys {
    /// Those that the store has.
    pub(super) fn load(store: &Store) -> anyhow::Result<Keys> {
        let kept = store.all(Table::Keys)?.into_iter().collect();
        Ok(Keys(Arc::new(RwLock::new(kept))))
    }

    /// Who calls with this key, if it is one. Takes as long for a wrong key as for a right one.
    pub(super) fn caller(&self, presented: &[u8]) -> Option<Caller> {
        let hash = hash(presented);
        let keys = self.0.read().expect("no panic under the lock");
        keys.iter().fold(None, |found, (id, kept)| {
            let is_it = bool::from(kept.hash.as_bytes().ct_eq(hash.as_bytes()));
            let caller = if kept.operator { Caller::Operator } else { Caller::Key(id.clone()) };
            if is_it { Some(caller) } else { found }
        })
    }

    /// Makes a key. Its text is told once, here.
    pub(super) fn create(&self, store: &Store, asked: &NewKey) -> Result<Key, Refusal> {
        let NewKey { name, operator } = asked;
        if name.is_empty() || name.chars().count() > NAME_CHARACTERS || name.chars().any(char::is_control) {
            let message =
                format!("a key's name has 1 to {NAME_CHARACTERS} characters, none of them a control character");
            return Err(Refusal::Request { message, hint: None });
        }
        let mut keys = self.0.write().expect("no panic under the lock");
        if keys.len() >= MOST {
            let hint = Some("filter-ctl key revoke those that nobody uses".to_owned());
            return Err(Refusal::Conflict { message: format!("there are {MOST} keys already"), hint });
        }
        let key = format!("e2b_{}", hex(&random::<20>()?));
        let id = hex(&random::<4>()?);
        let kept = Kept { name: name.clone(), operator: *operator, hash: hash(key.as_bytes()), created: now() };
        store.put(Table::Keys, &id, &kept)?;
        fail_point("key.kept");
        let told = told(&id, &kept, Some(key));
        keys.insert(id, kept);
        Ok(told)
    }

    /// All keys, without what they are.
    pub(super) fn list(&self) -> Vec<Key> {
        let keys = self.0.read().expect("no panic under the lock");
        keys.iter().map(|(id, kept)| told(id, kept, None)).collect()
    }

    /// Makes a key useless from now on. The sandboxes that were made with it stay, for the operator.
    pub(super) fn revoke(&self, store: &Store, id: &str) -> Result<Key, Refusal> {
        let mut keys = self.0.write().expect("no panic under the lock");
        let Some(kept) = keys.get(id).cloned() else {
            let hint = Some("filter-ctl key list shows those that there are".to_owned());
            return Err(Refusal::Request { message: format!("no key has the id {id:?}"), hint });
        };
        store.take(Table::Keys, id)?;
        fail_point("key.revoked");
        keys.remove(id);
        Ok(told(id, &kept, None))
    }
}

fn told(id: &str, kept: &Kept, key: Option<String>) -> Key {
    Key { id: id.to_owned(), name: kept.name.clone(), operator: kept.operator, created: kept.created, key }
}

/// SHA-256, hexadecimal.
pub(super) fn hash(key: &[u8]) -> String {
    hex(&Sha256::digest(key))
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty()).context("the kernel gives no random bytes")?;
    ensure!(filled == N, "the kernel gives too few random bytes");
    Ok(bytes)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
