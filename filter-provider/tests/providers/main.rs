//! Providers with real namespaces, devices and programs. Needs root.

mod exec;
mod host;
mod netns;
mod place;
