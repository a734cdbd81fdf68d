//! Somebody else tears down what the daemon has put up. It is made again, or the sandbox is marked, within a second; nothing denied
//! leaves meanwhile but where the kernel cannot prevent it; and the log tells of it as an error. The times are printed: the last
//! table is whole (`--nocapture`).
#![forbid(unsafe_code)]

mod devices;
mod handing;
mod hooks;
mod pins;
mod scene;
mod times;
