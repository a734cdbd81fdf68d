//! Providers with real namespaces, devices and programs. Needs root.

mod exec;
mod netns;
mod place;
