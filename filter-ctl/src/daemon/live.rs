//! What the configuration says, for who must not wait for the node: replaced as a whole when the configuration is read again.

use std::sync::{Arc, RwLock};

/// A value that may be replaced. Clones are the same.
pub(super) struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Live<T> {
    pub(super) fn new(value: T) -> Live<T> {
        Live(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// What holds now.
    pub(super) fn now(&self) -> Arc<T> {
        self.0.read().expect("no panic under the lock").clone()
    }

    /// From now on this holds.
    pub(super) fn set(&self, value: T) {
        *self.0.write().expect("no panic under the lock") = Arc::new(value);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Live<T> {
        Live(self.0.clone())
    }
}
