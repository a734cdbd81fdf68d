//! The daemon under real traffic. One program, so that all scenarios run beside each other.
#![forbid(unsafe_code)]

mod attach;
mod bridge;
mod daemons;
mod explain;
mod lifecycle;
mod lists;
mod live;
mod names;
mod operator;
mod protected;
mod refusals;
mod restart;
mod together;
mod tricks;
mod watch;
